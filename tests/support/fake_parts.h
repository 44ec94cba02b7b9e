/* SPDX-License-Identifier: BSD-3-Clause */
/* Inside of the fake server: shared by fake.c (thread and sockets), fake_answer.c
 * (what to say) and fake_request.c (bytes to commands). */
#ifndef SUPPORT_FAKE_PARTS_H
#define SUPPORT_FAKE_PARTS_H

#include <pthread.h>

#include "support/fake.h"

/* A command as it was read. */
typedef struct fake_command {
    struct fake_command *next;
    size_t argc;
    char **argv; /* each followed by a zero byte */
    size_t *lens;
    char text[256]; /* as kw_fake_entry has it */
} fake_command;

/* Growing bytes; used from at to len. */
typedef struct fake_bytes {
    char *data;
    size_t at, len, cap;
} fake_bytes;

/* Copied steps; kept until the fake is freed, because connections point into them. */
typedef struct fake_steps {
    struct fake_steps *next;
    kw_fake_step *steps; /* ended by KW_FAKE_DO_END */
} fake_steps;

typedef struct fake_rule {
    struct fake_rule *next;
    char *pattern;  /* NULL for accept rules */
    unsigned turns; /* left; meaningless where is_endless */
    bool is_endless;
    const kw_fake_step *steps;
} fake_rule;

typedef struct fake_script {
    struct fake_script *next;
    unsigned connection;
    bool with_greeting;
    const kw_fake_step *steps;
} fake_script;

/* Steps being done. */
typedef struct fake_frame {
    const kw_fake_step *steps; /* NULL: none */
    size_t at;                 /* the step that is next */
    size_t piece_at;           /* bytes of a PIECES step that are done */
} fake_frame;

typedef struct fake_conn {
    struct fake_conn *next;
    int fd;
    unsigned number;
    fake_bytes in, out;
    fake_command *first, *last; /* read and not yet answered */
    fake_frame script, rule;
    bool with_greeting;
    uint64_t wake_ms;  /* nothing is done before; 0: now */
    bool is_stalled;   /* no answers */
    bool is_deaf;      /* no answers, no reading */
    bool is_partial;   /* no reading before the next gate */
    bool is_closing;   /* close when out is sent */
    bool is_resetting; /* and with RST */
    bool is_gone;      /* to be taken off the list */
} fake_conn;

typedef enum fake_order_kind {
    FAKE_ORDER_NONE,
    FAKE_ORDER_DOWN,
    FAKE_ORDER_UP,
    FAKE_ORDER_CLOSE,
    FAKE_ORDER_RESET,
    FAKE_ORDER_PUSH,
    FAKE_ORDER_PASS,
    FAKE_ORDER_STOP
} fake_order_kind;

struct kw_fake {
    pthread_t thread;
    uint16_t port;
    char address[32];
    char uri[48];
    int wake[2]; /* a byte in the pipe ends the thread's poll */

    pthread_mutex_t lock;   /* guards all below; not held while the responder runs */
    pthread_cond_t changed; /* the log grew, or an order is done */
    int listener;           /* -1 while down, where the system has it closed for that */
    bool is_away;           /* down */
    fake_conn *conns;
    unsigned accepted, mismatches;
    unsigned passes_n; /* gates that may be passed */
    fake_rule *rules, *accept_rules;
    fake_script *scripts;
    fake_steps *pool;
    kw_fake_fn respond;
    void *respond_arg;
    char *slots, *shards; /* answers of the protocol, or NULL */
    bool is_cluster;
    unsigned id; /* what its names are made of; 0: the port */
    kw_fake_entry *log;
    size_t log_n, log_cap;
    fake_order_kind order; /* what a caller waits for the thread to do */
    const char *order_bytes;
    size_t order_len;
    unsigned order_connection; /* 0: all */
};

struct kw_fake_call {
    const fake_command *command;
    fake_conn *conn;
};

void fake_bytes_add(fake_bytes *bytes, const char *data, size_t len);

/* The next whole command of conn->in: 1 with *command (freed with
 * fake_command_free), 0 where more bytes are needed, -1 where it is no request. */
int fake_request_next(fake_bytes *in, fake_command **out);
void fake_command_free(fake_command *command);

bool fake_matches(const char *pattern, const char *text);

/* Steps, commands and answers of a connection as far as they go now. Call with the lock
 * held. */
void fake_conn_accept(kw_fake *fake, fake_conn *conn);
void fake_conn_advance(kw_fake *fake, fake_conn *conn, uint64_t now_ms);

/* True where the connection waits at a gate; its step is the next. */
bool fake_conn_is_at_gate(const fake_conn *conn);

/* True where all that was read is answered, and the answers have left. */
bool fake_conn_is_at_rest(const fake_conn *conn);

/* True where fake_conn_advance has more to do at conn->wake_ms. */
bool fake_conn_is_busy(const fake_conn *conn);

/* Hands an order to the thread and waits until it is done. Not from the fake's own
 * thread. */
void fake_order(kw_fake *fake, fake_order_kind order, const char *bytes, size_t len);

/* An order for one connection; 0: all. */
void fake_order_one(kw_fake *fake, fake_order_kind order, unsigned connection, const char *bytes,
                    size_t len);

void fake_pool_free(kw_fake *fake);

/* Answers a command of the greeting; false where it is none. */
bool fake_greet(kw_fake *fake, fake_conn *conn, const fake_command *command);
bool fake_is_greeting(const fake_command *command);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* Fetch ask: one server that is asked for the map: a connection, questions, their answers. A
 * fetch has several under way, where the first to answer will do. */
#ifndef NET_FETCH_ASK_H
#define NET_FETCH_ASK_H

#include "net/fetch.h"

/* At once, of one fetch. */
#define KW_FETCH_ASKS_MAX 4u

/* Only the driver of the fetch touches it. */
typedef struct kw_fetch_ask {
    kw_node *server; /* whose turn it is, borrowed; NULL: this ask is free */
    kw_node
        *led_to;   /* the server that answers led to, asked now instead: a reference; NULL: none */
    kw_conn *conn; /* NULL: none */
    bool is_sent;  /* the questions are the connection's */
    bool is_read;  /* .. and have left, which the driver has counted */
    bool is_counted; /* the node knows that conn became ready */
    kw_fetch_questions questions;
    kw_request requests[KW_FETCH_QUESTIONS_MAX];
    kw_buf encoded;
    uint64_t sent_ns; /* when the questions were */
    uint64_t seen_ns; /* when somebody went on with it last */
    uint64_t deadline_ns;
} kw_fetch_ask;

/* How the asks of a fetch are made. */
typedef struct kw_fetch_manner {
    const kw_fetch_way *way;
    void *way_arg;
    kw_env *env;
    bool is_probe;     /* fetches have failed for so long that there is but one a second */
    unsigned patience; /* what a server is given is doubled so often: all were too slow */
} kw_fetch_manner;

static inline kw_node *kw_fetch_ask_node(const kw_fetch_ask *ask)
{
    return ask->led_to != NULL ? ask->led_to : ask->server;
}

/* True where the questions, or some of them, have left for the server. */
bool kw_fetch_ask_has_left(const kw_fetch_ask *ask);

void kw_fetch_ask_init(kw_fetch_ask *ask, const kw_allocator *mem);
void kw_fetch_ask_fini(kw_fetch_ask *ask); /* it is free */

/* What a poll of the socket said, and when. */
typedef struct kw_fetch_ask_event {
    uint64_t now_ns;
    short revents;
} kw_fetch_ask_event;

/* Takes the node's turn, or goes to where an answer led (a reference). What a look-up of its name
 * takes is no part of the time in which it is to answer. */
kw_err kw_fetch_ask_open(kw_fetch_ask *ask, const kw_fetch_manner *manner, kw_error *error);

/* Goes on as far as it can without waiting, after poll said revents. KW_OK with step->map NULL:
 * not there yet. */
kw_err kw_fetch_ask_go_on(kw_fetch_ask *ask, const kw_fetch_manner *manner, kw_fetch_step *step,
                          kw_error *error, const kw_fetch_ask_event *event);

/* Gives the connection back. failure: why it led to nothing; NULL: it is not needed any more. A
 * connect that is under way stays so, for whoever asks next. */
void kw_fetch_ask_drop(kw_fetch_ask *ask, uint64_t now_ns, const kw_error *failure);

#endif

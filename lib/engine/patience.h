/* SPDX-License-Identifier: BSD-3-Clause */
/* Patience: how long an answer that is late is waited for. A wait says what it sent, heard and
 * sees; this says whether to wait on, to look after the map, or to give the connection up. */
#ifndef ENGINE_PATIENCE_H
#define ENGINE_PATIENCE_H

#include <stdbool.h>
#include <stdint.h>

typedef struct kw_patience_rule {
    uint64_t stall_ns;   /* a silence so long makes the map suspect */
    uint64_t grace_ns;   /* so long an answer may come after its node has lost the slot */
    uint64_t timeout_ns; /* of a call: stall and grace are parts of it where it is short */
    bool has_others;     /* sent to one that owns no slot, as others are: a silence so long as stall
                            is enough to ask them */
    bool is_blocking;    /* the command waits for something: silence means little, and a server
                            that loses the slot says so */
} kw_patience_rule;

typedef enum kw_patience_kind {
    KW_PATIENCE_WAIT,   /* until_ns, or until something happens */
    KW_PATIENCE_LOOK,   /* the map is to be asked for; then as WAIT */
    KW_PATIENCE_GIVE_UP /* no answer is to be expected: the connection is given up */
} kw_patience_kind;

typedef struct kw_patience_step {
    kw_patience_kind kind;
    uint64_t until_ns;
} kw_patience_step;

/* What one connection, or one call, is waited for. */
typedef struct kw_patience {
    uint64_t stall_ns; /* of the rule, as parts of its timeout */
    uint64_t grace_ns;
    uint64_t heard_ns;    /* the last answer, or the last send into silence */
    uint64_t look_ns;     /* when the map is asked for next */
    uint64_t pause_ns;    /* between that and the next time */
    uint64_t lost_ns;     /* as on_time was told last; 0: it has its owner */
    uint64_t owed_ns;     /* since when an answer is owed to nobody; 0: none is */
    uint64_t owed_max_ns; /* and how long it may stay so */
    bool has_others;
    bool is_blocking;
} kw_patience;

void kw_patience_init(kw_patience *self, const kw_patience_rule *rule, uint64_t now_ns);

/* An answer came. */
void kw_patience_on_heard(kw_patience *self, uint64_t now_ns);

/* The caller of the oldest command has left: its answer is owed to nobody. What comes behind it
 * is not to wait for that as long as for its own. */
void kw_patience_on_left(kw_patience *self, uint64_t now_ns);

/* What to do now. lost_ns: when the map was published by which another node owns what is
 * awaited; 0: it is where it belongs. Of no meaning where it was not sent to its owner. */
kw_patience_step kw_patience_on_time(kw_patience *self, uint64_t now_ns, uint64_t lost_ns);

/* Before that there is nothing to do, as far as the map stays as it is. */
uint64_t kw_patience_next_ns(const kw_patience *self);

#endif

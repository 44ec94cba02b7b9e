/* SPDX-License-Identifier: BSD-3-Clause */
/* Connection diary: connections that were opened or lost, near values that go off and on, and maps,
 * kept until somebody tells the host of them with no lock held. */
#ifndef NET_CONN_DIARY_H
#define NET_CONN_DIARY_H

#include "net/env.h"

struct kw_topology;

/* Those that nobody has told yet; the oldest ones are given up. */
#define KW_CONN_DIARY_MAX 64

typedef struct kw_conn_event {
    kw_event_kind kind;
    char node[128];
    char why[80];
} kw_conn_event;

typedef struct kw_conn_diary {
    kw_conn_event at[KW_CONN_DIARY_MAX];
    size_t first;
    size_t n;
} kw_conn_diary;

/* What hangs on the host's callback for events: a program without one carries none of it. */
typedef struct kw_event_part {
    void (*note_fn)(kw_env *env, kw_event_kind kind, const char *node, const char *why);
    void (*note_map_fn)(kw_env *env);
    void (*tend_fn)(struct kw_topology *topology);
} kw_event_part;

/* What happened to the node, and why. Under any lock, by any thread. */
void kw_conn_diary_note(kw_env *env, kw_event_kind kind, const char *node, const char *why);

/* Another map is in use. */
void kw_conn_diary_note_map(kw_env *env);

/* The oldest one; false: there is none. */
bool kw_conn_diary_next(kw_env *env, kw_conn_event *event);

/* True where a map was noted since it was asked last. */
bool kw_conn_diary_take_map(kw_env *env);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* Track read: a value and its life, asked for on a connection that tracks. */
#ifndef CACHE_TRACK_READ_H
#define CACHE_TRACK_READ_H

#include "cache/near.h"
#include "net/conn.h"

/* One read, of whoever waits for it and of the pair. */
typedef struct kw_track_read {
    struct kw_track_read *next;
    struct kw_track_read *before;
    unsigned refs; /* guarded by the pair's monitor, as all below */
    bool is_taken; /* by who leads: it may be on the connection */
    bool is_done;
    bool is_lost;    /* with its connection */
    kw_request get;  /* the value */
    kw_request pttl; /* and what is left of its life: asked behind it */
    kw_near_place place;
    kw_buf encoded;
    char space[256];
} kw_track_read;

/* A list of reads, in their order. */
typedef struct kw_track_reads {
    kw_track_read *first;
    kw_track_read *last;
} kw_track_reads;

void kw_track_reads_push(kw_track_reads *list, kw_track_read *read);

/* The first, taken off the list; NULL: none is left. */
kw_track_read *kw_track_reads_pop(kw_track_reads *list);

/* Takes it off the list that it is on. */
void kw_track_reads_remove(kw_track_reads *list, kw_track_read *read);

/* Both answers are there, and such as their questions have. Others belong to other questions:
 * something came on the connection that nobody had asked for. */
bool kw_track_read_has_answers(const kw_track_read *read);

#endif

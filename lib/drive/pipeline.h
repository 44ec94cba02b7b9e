/* SPDX-License-Identifier: BSD-3-Clause */
/* Pipeline: the driver of the op machine for many commands at once. */
#ifndef DRIVE_PIPELINE_H
#define DRIVE_PIPELINE_H

#include "drive/driver.h"

/* What is only needed once a command did not simply get its reply. */
typedef struct kw_retry_state {
    kw_op op;
    kw_error failure; /* what stood in the way last; in the end the story of the failure */
} kw_retry_state;

typedef enum kw_item_state {
    KW_ITEM_NEW,
    KW_ITEM_QUEUED,     /* on a channel, not on its connection yet */
    KW_ITEM_SENT,       /* on a connection */
    KW_ITEM_SLEEPING,   /* its op sleeps */
    KW_ITEM_BEHIND,     /* an earlier command of its slot sleeps */
    KW_ITEM_REFRESHING, /* its op waits for a map */
    KW_ITEM_ENDED,      /* with a reply, or without: see code */
    KW_ITEM_GONE        /* ended by its deadline, and still on a connection */
} kw_item_state;

/* One command of a pipeline. What the end of a command touches comes first: thousands are under
 * way at once, and not in the processor's first cache. */
typedef struct kw_item {
    struct kw_item *next;        /* in the list that its state says */
    void *owner;                 /* for whoever made it */
    uint64_t order;              /* its place among the pipeline's commands */
    kw_retry_state *retry_state; /* NULL: none yet */
    kw_node *node;               /* the last one; its channel has the reference */
    kw_request request;          /* its reply is the caller's, in the end */
    kw_item_state state;
    kw_err code; /* of an ended one: KW_OK, it has a reply */
    unsigned sends_n;
    bool is_redirected; /* as the last SEND step said */
    bool is_asking;
    bool wakes_on_map;
    bool is_fenced;   /* BEHIND one that is on a connection */
    bool is_map_only; /* ends with KW_OK, and without a reply, once there is a map */
    kw_plan plan;     /* of kind SLOT, ANY or NODE, with its deadline */
    kw_bytes encoded; /* borrowed */
    uint64_t wake_ns;
    uint64_t fetch;
    uint64_t changes_n;
} kw_item;

/* Sends all commands, in their order to each node, to all nodes before any is read, and
 * waits until each has ended: with a reply, or with a code and (where there was memory for
 * it) a retry_state that tells the story. deadline_ns is for all of them. Plans and encoded
 * bytes are set; everything else is zero. KW_OK where each has a reply, else the code of
 * the first that has none. */
kw_err kw_pipeline_all(kw_topology *topology, kw_item *items, size_t items_n, uint64_t deadline_ns);

/* Frees what a pipeline left in an item: reply, retry_state and plan. */
void kw_item_fini(kw_item *item, const kw_allocator *mem);

#endif

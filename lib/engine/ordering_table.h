/* SPDX-License-Identifier: BSD-3-Clause */
/* Ordering table: commands under way by the hash of their key. Of a hash that only one command
 * has, its own link is the entry; a second one makes a kw_order_key. */
#ifndef ENGINE_ORDERING_TABLE_H
#define ENGINE_ORDERING_TABLE_H

#include "engine/ordering.h"

/* The bit of an entry's hash that tells a kw_order_key from a link. */
#define KW_ORDER_IS_KEY ((uint64_t)1)

/* Pending ones of a kind, by their numbers. */
typedef struct kw_order_list {
    kw_order_link *head;
    kw_order_link *tail;
    kw_order_link *latest; /* that was put between others; NULL: none, or gone */
} kw_order_list;

/* The commands under way that have one key. Numbers are greater by one than the commands', 0
 * stands for none. */
struct kw_order_key {
    kw_order_entry entry;
    kw_order_list writes;
    kw_order_list reads;
    const void *place;        /* of those that have left */
    uint64_t last_left;       /* no number of one that has left is greater; likewise .. */
    uint64_t last_left_write; /* .. of writes alone */
    uint64_t ran;             /* greatest number that has run, or may have; likewise .. */
    uint64_t ran_write;
    uint32_t members_n;
    uint32_t left_n; /* have left, and not ended */
    uint32_t left_writes_n;
    bool is_spread;  /* those that have left are at several places: reads */
    bool is_suspect; /* one at a time, until one has run */
};

/* The entry as a key; NULL: it is a link. */
static inline kw_order_key *kw_order_key_of(kw_order_entry *entry)
{
    return (entry->hash & KW_ORDER_IS_KEY) != 0 ? (kw_order_key *)entry : NULL;
}

/* Where the table points at the hash's entry, or would point at it: at the end of its bucket. NULL
 * when there is no memory. */
kw_order_entry **kw_order_table_place(kw_ordering *self, uint64_t hash);

/* A new entry at its place. */
static inline void kw_order_table_add(kw_ordering *ordering, kw_order_entry **place,
                                      kw_order_entry *entry)
{
    entry->next = NULL;
    *place = entry;
    ordering->entries_n++;
}

/* Puts a new key of one member, which is not counted further, in the place of a link. NULL when
 * there is no memory. */
kw_order_key *kw_order_table_share(kw_ordering *self, kw_order_entry **place);

void kw_order_table_remove(kw_ordering *self, kw_order_entry *entry);

/* Removes a key without members. */
void kw_order_table_drop(kw_ordering *self, kw_order_key *key);

/* Frees the table, which is empty. */
void kw_order_table_fini(kw_ordering *self);

#endif

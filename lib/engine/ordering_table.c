/* SPDX-License-Identifier: BSD-3-Clause */
/* The hash table behind the ordering, which grows by one bucket at a time: no single command pays
 * for all that are under way. */
#include "engine/ordering_table.h"

#include <string.h>

#define BUCKETS_MIN 64

/* Keys that are kept for others. */
#define SPARE_MAX 256

static size_t index_of(const kw_ordering *self, uint64_t hash)
{
    /* The capacity is a power of two, of which more than one half is in use. */
    size_t at = (size_t)(hash >> 1) & (self->capacity - 1);
    return at < self->buckets_n ? at : at & (self->capacity / 2 - 1);
}

static bool reserve(kw_ordering *self)
{
    if (self->buckets_n < self->capacity) {
        return true;
    }
    size_t capacity = self->capacity > 0 ? 2 * self->capacity : BUCKETS_MIN;
    kw_order_entry **buckets =
        kw_mem_resize(self->mem, self->buckets, capacity, sizeof(buckets[0]));
    if (buckets == NULL) {
        return self->capacity > 0; /* it does with what it has */
    }
    if (self->capacity == 0) {
        memset(buckets, 0, capacity * sizeof(buckets[0]));
        self->buckets_n = capacity;
    }
    self->buckets = buckets;
    self->capacity = capacity;
    return true;
}

/* One more bucket takes its share of the one that it is split from. */
static void split(kw_ordering *self)
{
    size_t fresh = self->buckets_n++;
    size_t from = fresh - self->capacity / 2;
    kw_order_entry **link = &self->buckets[from];
    self->buckets[fresh] = NULL;
    while (*link != NULL) {
        kw_order_entry *entry = *link;
        if (index_of(self, entry->hash) == from) {
            link = &entry->next;
            continue;
        }
        *link = entry->next;
        entry->next = self->buckets[fresh];
        self->buckets[fresh] = entry;
    }
}

/* Room for one more entry; false when there is no memory. */
static bool grow(kw_ordering *self)
{
    if (!reserve(self)) {
        return false;
    }
    if (self->buckets_n < self->capacity) {
        split(self);
    }
    return true;
}

kw_order_entry **kw_order_table_place(kw_ordering *self, uint64_t hash)
{
    if (self->entries_n >= self->buckets_n && !grow(self)) {
        return NULL;
    }
    kw_order_entry **link = &self->buckets[index_of(self, hash)];
    while (*link != NULL && ((*link)->hash | KW_ORDER_IS_KEY) != (hash | KW_ORDER_IS_KEY)) {
        link = &(*link)->next;
    }
    return link;
}

kw_order_key *kw_order_table_share(kw_ordering *self, kw_order_entry **place)
{
    kw_order_key *key = self->spare;
    if (key != NULL) {
        self->spare = (kw_order_key *)key->entry.next;
        self->spare_n--;
    } else if ((key = kw_mem_alloc(self->mem, sizeof(*key))) == NULL) {
        return NULL;
    }
    memset(key, 0, sizeof(*key));
    key->entry.hash = (*place)->hash | KW_ORDER_IS_KEY;
    key->entry.next = (*place)->next;
    key->members_n = 1;
    *place = &key->entry;
    return key;
}

/* An empty table that was large gives its memory back. */
static void shrink(kw_ordering *self)
{
    if (self->entries_n == 0 && self->capacity > 16 * BUCKETS_MIN) {
        kw_mem_free(self->mem, self->buckets);
        self->buckets = NULL;
        self->buckets_n = 0;
        self->capacity = 0;
    }
}

void kw_order_table_remove(kw_ordering *self, kw_order_entry *entry)
{
    kw_order_entry **link = &self->buckets[index_of(self, entry->hash)];
    while (*link != entry) {
        link = &(*link)->next;
    }
    *link = entry->next;
    self->entries_n--;
    shrink(self);
}

void kw_order_table_drop(kw_ordering *self, kw_order_key *key)
{
    kw_order_table_remove(self, &key->entry);
    if (self->spare_n >= SPARE_MAX) {
        kw_mem_free(self->mem, key);
        return;
    }
    key->entry.next = (kw_order_entry *)self->spare;
    self->spare = key;
    self->spare_n++;
}

void kw_order_table_fini(kw_ordering *self)
{
    while (self->spare != NULL) {
        kw_order_key *key = self->spare;
        self->spare = (kw_order_key *)key->entry.next;
        kw_mem_free(self->mem, key);
    }
    kw_mem_free(self->mem, self->buckets);
    self->buckets = NULL;
    self->buckets_n = 0;
    self->capacity = 0;
}

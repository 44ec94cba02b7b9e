/* SPDX-License-Identifier: BSD-3-Clause */
/* Queues and ghosts of S3-FIFO. */
#include "cache/s3fifo.h"

#include <string.h>

/* The small queue's part of the room: a tenth. */
#define SMALL_PART 10

#define ROW 4

bool kw_s3fifo_init(kw_s3fifo *self, const kw_allocator *mem, uint64_t room, uint64_t names_n)
{
    memset(self, 0, sizeof(*self));
    self->room = room;
    uint64_t rows_n = 1;
    while (rows_n * ROW < names_n) {
        rows_n *= 2;
    }
    self->rows_mask = rows_n - 1;
    self->ghosts = kw_mem_calloc(mem, (size_t)rows_n * ROW, sizeof(self->ghosts[0]));
    return self->ghosts != NULL;
}

void kw_s3fifo_fini(kw_s3fifo *self, const kw_allocator *mem)
{
    kw_mem_free(mem, self->ghosts);
    self->ghosts = NULL;
}

size_t kw_s3fifo_bytes(const kw_s3fifo *self)
{
    return (size_t)(self->rows_mask + 1) * ROW * sizeof(self->ghosts[0]);
}

static void push(kw_s3_queue *queue, kw_s3_link *link)
{
    link->newer = NULL;
    link->older = queue->newest;
    if (queue->newest != NULL) {
        queue->newest->newer = link;
    } else {
        queue->oldest = link;
    }
    queue->newest = link;
    queue->size += link->size;
    queue->n++;
}

static void take_out(kw_s3_queue *queue, kw_s3_link *link)
{
    if (link->newer != NULL) {
        link->newer->older = link->older;
    } else {
        queue->newest = link->older;
    }
    if (link->older != NULL) {
        link->older->newer = link->newer;
    } else {
        queue->oldest = link->newer;
    }
    queue->size -= link->size;
    queue->n--;
}

static kw_s3_ghost *row_of(const kw_s3fifo *self, uint64_t hash)
{
    return &self->ghosts[(hash & self->rows_mask) * ROW];
}

static uint32_t mark_of(uint64_t hash)
{
    uint32_t mark = (uint32_t)(hash >> 32);
    return mark != 0 ? mark : 1;
}

/* A name is remembered while as many others as the main queue has were let go after it. */
static bool is_remembered(const kw_s3fifo *self, const kw_s3_ghost *ghost)
{
    return ghost->mark != 0 && self->ghosts_n - ghost->time <= self->main.n;
}

static void remember(kw_s3fifo *self, uint64_t hash)
{
    kw_s3_ghost *row = row_of(self, hash);
    kw_s3_ghost *place = row;
    for (int i = 0; i < ROW; i++) {
        bool is_older = self->ghosts_n - row[i].time > self->ghosts_n - place->time;
        if (row[i].mark == 0 || (place->mark != 0 && is_older)) {
            place = &row[i];
        }
    }
    place->mark = mark_of(hash);
    place->time = self->ghosts_n++;
}

/* True where the name was let go lately; it is forgotten then. */
static bool recall(kw_s3fifo *self, uint64_t hash)
{
    kw_s3_ghost *row = row_of(self, hash);
    for (int i = 0; i < ROW; i++) {
        if (row[i].mark == mark_of(hash) && is_remembered(self, &row[i])) {
            row[i].mark = 0;
            return true;
        }
    }
    return false;
}

void kw_s3fifo_insert(kw_s3fifo *self, kw_s3_link *link)
{
    atomic_store_explicit(&link->hits, 0, memory_order_relaxed);
    link->is_main = recall(self, link->hash);
    push(link->is_main ? &self->main : &self->small, link);
}

void kw_s3fifo_remove(kw_s3fifo *self, kw_s3_link *link)
{
    take_out(link->is_main ? &self->main : &self->small, link);
}

/* The oldest of the main queue that was not wanted since it came there; others come to its end
 * again, with one hit less. */
static kw_s3_link *evict_main(kw_s3fifo *self)
{
    for (;;) {
        kw_s3_link *link = self->main.oldest;
        take_out(&self->main, link);
        unsigned char hits = atomic_load_explicit(&link->hits, memory_order_relaxed);
        if (hits == 0) {
            return link;
        }
        atomic_store_explicit(&link->hits, (unsigned char)(hits - 1), memory_order_relaxed);
        push(&self->main, link);
    }
}

/* The oldest of the small queue that was not wanted twice; others go to the main one. */
static kw_s3_link *evict_small(kw_s3fifo *self)
{
    while (self->small.n > 0) {
        kw_s3_link *link = self->small.oldest;
        take_out(&self->small, link);
        if (atomic_load_explicit(&link->hits, memory_order_relaxed) <= 1) {
            remember(self, link->hash);
            return link;
        }
        atomic_store_explicit(&link->hits, 0, memory_order_relaxed);
        link->is_main = true;
        push(&self->main, link);
    }
    return NULL;
}

kw_s3_link *kw_s3fifo_evict(kw_s3fifo *self)
{
    if (kw_s3fifo_size(self) <= self->room) {
        return NULL;
    }
    kw_s3_link *link = NULL;
    if (self->small.size > self->room / SMALL_PART || self->main.n == 0) {
        link = evict_small(self);
    }
    return link != NULL ? link : evict_main(self);
}

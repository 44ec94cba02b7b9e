/* SPDX-License-Identifier: BSD-3-Clause */
/* Simulations of S3-FIFO and of LRU, with entries of one size. */
#include "support/eviction.h"

#include <stdint.h>
#include <stdlib.h>

#include "support/check.h"

static void *zeros(size_t n, size_t size)
{
    void *block = calloc(n, size);
    if (block == NULL) {
        kw_test_die("no memory for a simulation");
    }
    return block;
}

/* Names in the order in which they came. */
typedef struct ring {
    size_t *names;
    size_t size;
    size_t head;
    size_t n;
} ring;

static void ring_push(ring *self, size_t name)
{
    self->names[(self->head + self->n++) % self->size] = name;
}

static size_t ring_pop(ring *self)
{
    size_t name = self->names[self->head];
    self->head = (self->head + 1) % self->size;
    self->n--;
    return name;
}

struct kw_test_s3fifo {
    ring small;
    ring main;
    ring ghosts;        /* the last names that were let go, as many as main has */
    uint8_t *where;     /* 0: nowhere, 1: small, 2: main */
    uint8_t *hits;      /* 3 at most */
    uint32_t *ghosts_n; /* how often a name is among the ghosts */
    size_t room;
};

kw_test_s3fifo *kw_test_s3fifo_new(size_t names_n, size_t room)
{
    kw_test_s3fifo *self = zeros(1, sizeof(*self));
    ring *const rings[] = {&self->small, &self->main, &self->ghosts};
    for (size_t i = 0; i < 3; i++) {
        rings[i]->size = 2 * room + 4;
        rings[i]->names = zeros(rings[i]->size, sizeof(size_t));
    }
    self->where = zeros(names_n, 1);
    self->hits = zeros(names_n, 1);
    self->ghosts_n = zeros(names_n, sizeof(self->ghosts_n[0]));
    self->room = room;
    return self;
}

void kw_test_s3fifo_free(kw_test_s3fifo *self)
{
    free(self->small.names);
    free(self->main.names);
    free(self->ghosts.names);
    free(self->where);
    free(self->hits);
    free(self->ghosts_n);
    free(self);
}

static void remember(kw_test_s3fifo *self, size_t name)
{
    ring_push(&self->ghosts, name);
    self->ghosts_n[name]++;
    while (self->ghosts.n > self->main.n) {
        self->ghosts_n[ring_pop(&self->ghosts)]--;
    }
}

static void evict_main(kw_test_s3fifo *self)
{
    for (;;) {
        size_t name = ring_pop(&self->main);
        if (self->hits[name] == 0) {
            self->where[name] = 0;
            return;
        }
        self->hits[name]--;
        ring_push(&self->main, name);
    }
}

/* True where one had to go. */
static bool evict_small(kw_test_s3fifo *self)
{
    while (self->small.n > 0 && self->small.n > self->room / 10) {
        size_t name = ring_pop(&self->small);
        if (self->hits[name] <= 1) {
            self->where[name] = 0;
            remember(self, name);
            return true;
        }
        self->hits[name] = 0;
        self->where[name] = 2;
        ring_push(&self->main, name);
    }
    return false;
}

bool kw_test_s3fifo_request(kw_test_s3fifo *self, size_t name)
{
    if (self->where[name] != 0) {
        self->hits[name] = (uint8_t)(self->hits[name] < 3 ? self->hits[name] + 1 : 3);
        return true;
    }
    self->hits[name] = 0;
    self->where[name] = self->ghosts_n[name] > 0 ? 2 : 1;
    ring_push(self->where[name] == 2 ? &self->main : &self->small, name);
    while (self->small.n + self->main.n > self->room) {
        if (!evict_small(self)) {
            evict_main(self);
        }
    }
    return false;
}

#define NO_NAME UINT32_MAX

/* A list through all names that are there. */
struct kw_test_lru {
    uint32_t *newer;
    uint32_t *older;
    bool *is_in;
    uint32_t newest;
    uint32_t oldest;
    size_t n;
    size_t room;
};

kw_test_lru *kw_test_lru_new(size_t names_n, size_t room)
{
    kw_test_lru *self = zeros(1, sizeof(*self));
    self->newer = zeros(names_n, sizeof(self->newer[0]));
    self->older = zeros(names_n, sizeof(self->older[0]));
    self->is_in = zeros(names_n, sizeof(self->is_in[0]));
    self->newest = self->oldest = NO_NAME;
    self->room = room;
    return self;
}

void kw_test_lru_free(kw_test_lru *self)
{
    free(self->newer);
    free(self->older);
    free(self->is_in);
    free(self);
}

static void take_out(kw_test_lru *self, uint32_t name)
{
    uint32_t newer = self->newer[name];
    uint32_t older = self->older[name];
    *(newer != NO_NAME ? &self->older[newer] : &self->newest) = older;
    *(older != NO_NAME ? &self->newer[older] : &self->oldest) = newer;
}

bool kw_test_lru_request(kw_test_lru *self, size_t request)
{
    uint32_t name = (uint32_t)request;
    bool is_hit = self->is_in[name];
    if (is_hit) {
        take_out(self, name);
    } else if (self->n == self->room) {
        uint32_t victim = self->oldest;
        take_out(self, victim);
        self->is_in[victim] = false;
    } else {
        self->n++;
    }
    self->is_in[name] = true;
    self->newer[name] = NO_NAME;
    self->older[name] = self->newest;
    *(self->newest != NO_NAME ? &self->newer[self->newest] : &self->oldest) = name;
    self->newest = name;
    return is_hit;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* What caches of so many entries would hit: the algorithm of S3-FIFO as its paper has it
 * ("FIFO queues are all you need for cache eviction", SOSP 2023), by arrays and without any of the
 * library's code, and LRU. */
#ifndef SUPPORT_EVICTION_H
#define SUPPORT_EVICTION_H

#include <stdbool.h>
#include <stddef.h>

/* names_n: names are below it. Stops the program where there is no memory. */
typedef struct kw_test_s3fifo kw_test_s3fifo;
kw_test_s3fifo *kw_test_s3fifo_new(size_t names_n, size_t room);
void kw_test_s3fifo_free(kw_test_s3fifo *self);

/* A name is asked for: true where it is there; it is from now on. */
bool kw_test_s3fifo_request(kw_test_s3fifo *self, size_t name);

typedef struct kw_test_lru kw_test_lru;
kw_test_lru *kw_test_lru_new(size_t names_n, size_t room);
void kw_test_lru_free(kw_test_lru *self);
bool kw_test_lru_request(kw_test_lru *self, size_t name);

#endif

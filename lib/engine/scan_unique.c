/* SPDX-License-Identifier: BSD-3-Clause */
/* A set of keys, byte by byte, that stops growing at its limit. */
#include "engine/scan_unique.h"

#include "engine/ordering.h"

#include <string.h>

#define SLOTS_FIRST ((size_t)1024)

void kw_scan_unique_init(kw_scan_unique *self, const kw_allocator *mem, size_t bytes_max,
                         uint64_t seed)
{
    memset(self, 0, sizeof(*self));
    self->mem = mem;
    self->bytes_max = bytes_max;
    self->seed = seed;
    kw_buf_init(&self->keys, mem, NULL, 0);
}

void kw_scan_unique_fini(kw_scan_unique *self)
{
    kw_buf_fini(&self->keys);
    kw_mem_free(self->mem, self->slots);
    self->slots = NULL;
    self->slots_n = 0;
}

static kw_bytes key_at(const kw_scan_unique *self, size_t at)
{
    uint32_t len;
    memcpy(&len, self->keys.data + at, sizeof(len));
    return (kw_bytes){self->keys.data + at + sizeof(len), len};
}

/* Where the key is, or would be. */
static size_t place_of(const kw_scan_unique *self, kw_bytes key)
{
    uint64_t hash = kw_order_hash(key, self->seed);
    size_t at = (size_t)(hash ^ hash >> 32) & (self->slots_n - 1);
    while (self->slots[at] != 0 && !kw_bytes_equal(key_at(self, self->slots[at] - 1), key)) {
        at = (at + 1) & (self->slots_n - 1);
    }
    return at;
}

/* Twice as many slots, where they are allowed, and there is memory. */
static bool grow(kw_scan_unique *self)
{
    size_t *before = self->slots;
    size_t before_n = self->slots_n;
    size_t slots_n = before_n > 0 ? 2 * before_n : SLOTS_FIRST;
    bool is_allowed = slots_n <= self->bytes_max / sizeof(before[0]) &&
                      self->keys.capacity <= self->bytes_max - slots_n * sizeof(before[0]);
    size_t *slots = is_allowed ? kw_mem_calloc(self->mem, slots_n, sizeof(slots[0])) : NULL;
    if (slots == NULL) {
        return false;
    }
    self->slots = slots;
    self->slots_n = slots_n;
    for (size_t i = 0; i < before_n; i++) {
        if (before[i] != 0) {
            self->slots[place_of(self, key_at(self, before[i] - 1))] = before[i];
        }
    }
    kw_mem_free(self->mem, before);
    return true;
}

/* Room for one more key of so many bytes; the buffer doubles when it grows. */
static bool has_room(kw_scan_unique *self, size_t len)
{
    size_t needed = self->keys.len + len + sizeof(uint32_t);
    size_t capacity = self->keys.capacity;
    if (needed > capacity) {
        capacity = needed > 2 * capacity ? needed : 2 * capacity;
    }
    size_t slots_len = self->slots_n * sizeof(self->slots[0]);
    return len <= UINT32_MAX && slots_len <= self->bytes_max &&
           capacity <= self->bytes_max - slots_len;
}

bool kw_scan_unique_is_new(kw_scan_unique *self, kw_bytes key)
{
    if (self->bytes_max == 0 || (self->slots_n == 0 && !grow(self))) {
        return true;
    }
    size_t at = place_of(self, key);
    if (self->slots[at] != 0) {
        return false;
    }
    if (self->n >= self->slots_n / 4 * 3) {
        if (!grow(self)) {
            return true;
        }
        at = place_of(self, key);
    }
    uint32_t len = (uint32_t)key.len;
    if (!has_room(self, key.len) || !kw_buf_reserve(&self->keys, sizeof(len) + key.len)) {
        return true;
    }
    size_t start = self->keys.len;
    (void)kw_buf_append(&self->keys, (const char *)&len, sizeof(len));
    (void)kw_buf_append(&self->keys, key.data, key.len);
    self->slots[at] = start + 1;
    self->n++;
    return true;
}

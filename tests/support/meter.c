/* SPDX-License-Identifier: BSD-3-Clause */
/* Blocks with their length before them. */
#include "support/meter.h"

#include "support/check.h"

#include <stdlib.h>
#include <string.h>

typedef union head {
    size_t len;
    max_align_t align;
} head;

static void *meter_malloc(void *ctx, size_t len)
{
    kw_test_meter *self = ctx;
    head *block = malloc(sizeof(head) + len);
    if (block == NULL) {
        kw_test_die("no memory");
    }
    block->len = len;
    self->len += len;
    self->most_len = self->len > self->most_len ? self->len : self->most_len;
    return block + 1;
}

static void meter_free(void *ctx, void *data)
{
    kw_test_meter *self = ctx;
    if (data != NULL) {
        head *block = (head *)data - 1;
        self->len -= block->len;
        free(block);
    }
}

static void *meter_realloc(void *ctx, void *data, size_t len)
{
    void *moved = meter_malloc(ctx, len);
    if (data != NULL) {
        size_t before_len = ((head *)data - 1)->len;
        memcpy(moved, data, before_len < len ? before_len : len);
        meter_free(ctx, data);
    }
    return moved;
}

kw_allocator kw_test_meter_allocator(kw_test_meter *meter)
{
    kw_allocator allocator = {sizeof(allocator), meter, meter_malloc, meter_realloc, meter_free};
    return allocator;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Write stamps: which keys this handle has written, or is writing, as far as values in the process'
 * memory need to know. Keys share stamps by their hash; a stamp changes when a write of one of its
 * keys is about to be sent, and when it has ended, in whatever way. Filled in by the room of
 * caches: a program without one does not carry what notes writes. */
#ifndef TOPOLOGY_WRITE_STAMPS_H
#define TOPOLOGY_WRITE_STAMPS_H

#include "base/bytes.h"
#include "route/command.h"

#include <stdatomic.h>

#define KW_WRITE_STAMPS_N 16384

/* A write that is under way. */
typedef struct kw_own_write kw_own_write;
struct kw_own_write {
    kw_own_write *next;                  /* for whoever keeps several */
    void (*end_fn)(kw_own_write *write); /* it has ended: frees it */
};

/* A command that may write; command is NULL where it is not known. */
typedef struct kw_own_command {
    const kw_command_info *command;
    const kw_bytes *argv;
    size_t argc;
} kw_own_command;

typedef struct kw_write_stamps {
    atomic_size_t refs; /* the handle's, and one for each write that is under way */
    kw_allocator mem;
    /* The command is about to be sent; NULL where there is no memory. */
    kw_own_write *(*begin_fn)(struct kw_write_stamps *stamps, const kw_own_command *command);
    atomic_uint_fast64_t at[KW_WRITE_STAMPS_N]; /* writes under way in the lower 24 bits, changes
                                                   above */
} kw_write_stamps;

/* NULL is allowed. */
static inline void kw_write_stamps_unref(kw_write_stamps *stamps)
{
    if (stamps != NULL && atomic_fetch_sub_explicit(&stamps->refs, 1, memory_order_acq_rel) == 1) {
        kw_allocator mem = stamps->mem;
        kw_mem_free(&mem, stamps);
    }
}

static inline uint64_t kw_write_stamps_read(const kw_write_stamps *stamps, uint64_t hash)
{
    return atomic_load_explicit(&stamps->at[hash % KW_WRITE_STAMPS_N], memory_order_acquire);
}

/* True where a write is under way. */
static inline bool kw_write_stamps_is_open(uint64_t stamp)
{
    return (stamp & 0xffffff) != 0;
}

#endif

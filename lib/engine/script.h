/* SPDX-License-Identifier: BSD-3-Clause */
/* Script: a text that is run by its SHA1, and sent whole to a server that lacks it; and what is
 * known of what a server has. The policy of all scripts, the quorum's among them:
 *
 * - A run leaves by its name (EVALSHA). NOSCRIPT has done nothing, and is answered by sending the
 *   run again with its text (EVAL).
 * - Of many runs that NOSCRIPT was said to, one brings the text, and those that leave behind it by
 *   its connection go by the name again: replies come in the order of sending, so that the server
 *   has the text by then. A run that NOSCRIPT is said to once more brings the text itself.
 * - An eager run, of a batch, brings the text to a server that is not known to have it: else all of
 *   the batch would come back.
 * What is known of servers decides of bytes and round trips alone, never of what is run. */
#ifndef ENGINE_SCRIPT_H
#define ENGINE_SCRIPT_H

#include "base/bytes.h"
#include "base/memory.h"
#include "base/sha1.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct kw_script kw_script;
struct kw_script {
    kw_allocator mem;
    atomic_size_t refs; /* 0: a constant, which is never freed */
    bool is_read_only;
    kw_bytes text;
    char sha1[KW_SHA1_TEXT + 1];
};

/* A copy of the text, with its SHA1. NULL when there is no memory. */
kw_script *kw_script_make(const kw_allocator *mem, kw_bytes text, bool is_read_only);
void kw_script_unref(const kw_script *script);

/* True where the error is of that code ("WRONGTYPE"), said by the server or by a command that a
 * script ran: servers before Redis 7 put that behind a text of their own, later ones put "ERR" or
 * "-" before it at times. */
bool kw_script_error_is(kw_bytes text, const char *code);

/* One run of a script, on its way; a part of its command's plan. What is done with it hangs on two
 * pointers, so that a program without scripts carries nothing of them. */
typedef struct kw_script_run_state kw_script_run_state;
struct kw_script_run_state {
    /* It leaves for the node now, by the place (kw_script_memory_ask): its bytes. */
    void (*choose)(kw_script_run_state *run, void *node, kw_bytes *bytes, const void *place);
    void (*free)(kw_script_run_state *run);
    kw_allocator mem;
    const kw_script *script; /* a reference */
    kw_bytes named;          /* the encoded command by its name, which its owner keeps */
    kw_buf full;             /* with the text; empty: it was not needed yet */
    uint64_t stamp;          /* the server's, when the run left last */
    unsigned missed_n;       /* NOSCRIPT answered so often */
    bool has_missed;         /* and it was the last answer */
    bool is_eager;
};

/* Whoever makes it sets choose. NULL when there is no memory. */
kw_script_run_state *kw_script_run_state_new(const kw_allocator *mem, const kw_script *script);

/* The like in memory of its owner, which stays where it is: free leaves that alone. */
void kw_script_run_state_init(kw_script_run_state *run, const kw_allocator *mem,
                              const kw_script *script);

/* NULL is allowed. */
void kw_script_run_state_free(kw_script_run_state *run);

/* The server has said NOSCRIPT. */
static inline void kw_script_run_missed(kw_script_run_state *run)
{
    run->missed_n++;
    run->has_missed = true;
}

/* The command with the text in the place of its name; without memory by the name. */
kw_bytes kw_script_run_full(kw_script_run_state *run);

/* What is known of one server, of the scripts that were brought last. Zero knows of none. */
#define KW_SCRIPTS_KNOWN_MAX 16u

typedef struct kw_script_known {
    uint64_t mark;     /* of the SHA1; 0: none */
    uint64_t stamp;    /* when it was brought */
    const void *place; /* by which connection; only compared */
} kw_script_known;

typedef struct kw_script_memory {
    uint64_t stamps_n;
    kw_script_known known[KW_SCRIPTS_KNOWN_MAX];
} kw_script_memory;

/* True where the run, which leaves by the place now, brings the text, which is noted. place is NULL
 * where nothing is known of what leaves before it. memory is NULL where nothing is known. */
bool kw_script_memory_ask(kw_script_memory *memory, kw_script_run_state *run, const void *place);

#endif

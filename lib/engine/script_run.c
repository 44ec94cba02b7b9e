/* SPDX-License-Identifier: BSD-3-Clause */
/* Runs of scripts, and the choice between name and text. */
#include "engine/script.h"

#include <string.h>

/* A run that NOSCRIPT was said to so often brings the text, whatever is known. */
#define MISSED_MAX 2u

/* Constants are shared as they are; of all others the count is the one thing that changes. */
static kw_script *counted(const kw_script *script)
{
    bool is_constant = atomic_load_explicit(&script->refs, memory_order_relaxed) == 0;
    return is_constant ? NULL : (kw_script *)(uintptr_t)script;
}

void kw_script_unref(const kw_script *script)
{
    kw_script *self = script != NULL ? counted(script) : NULL;
    if (self != NULL && atomic_fetch_sub_explicit(&self->refs, 1, memory_order_acq_rel) == 1) {
        kw_allocator mem = self->mem;
        kw_mem_free(&mem, self);
    }
}

static void fini(kw_script_run_state *run)
{
    kw_buf_fini(&run->full);
    kw_script_unref(run->script);
}

void kw_script_run_state_init(kw_script_run_state *run, const kw_allocator *mem,
                              const kw_script *script)
{
    memset(run, 0, sizeof(*run));
    kw_script *self = counted(script);
    if (self != NULL) {
        atomic_fetch_add_explicit(&self->refs, 1, memory_order_relaxed);
    }
    run->free = fini;
    run->mem = *mem;
    run->script = script;
    kw_buf_init(&run->full, &run->mem, NULL, 0);
}

kw_script_run_state *kw_script_run_state_new(const kw_allocator *mem, const kw_script *script)
{
    kw_script_run_state *run = kw_mem_alloc(mem, sizeof(*run));
    if (run != NULL) {
        kw_script_run_state_init(run, mem, script);
        run->free = kw_script_run_state_free;
    }
    return run;
}

void kw_script_run_state_free(kw_script_run_state *run)
{
    if (run == NULL) {
        return;
    }
    kw_allocator mem = run->mem;
    fini(run);
    kw_mem_free(&mem, run);
}

/* Behind the next line of an encoded command. */
static size_t behind_line(kw_bytes command, size_t at)
{
    const char *end = memchr(command.data + at, '\n', command.len - at);
    return end != NULL ? (size_t)(end - command.data) + 1 : command.len;
}

static bool append_text(kw_buf *buf, kw_bytes text)
{
    char line[24] = "$";
    size_t len = 1 + kw_uint_to_text(line + 1, text.len);
    line[len++] = '\r';
    line[len++] = '\n';
    return kw_buf_append(buf, line, len) && kw_buf_append(buf, text.data, text.len) &&
           kw_buf_append(buf, "\r\n", 2);
}

kw_bytes kw_script_run_full(kw_script_run_state *run)
{
    const kw_script *script = run->script;
    kw_bytes named = run->named;
    size_t count_len = behind_line(named, 0);
    size_t rest = count_len;
    for (unsigned i = 0; i < 4; i++) { /* "$7", "EVALSHA", "$40", the digits */
        rest = behind_line(named, rest);
    }
    if (run->full.len == 0 &&
        !(kw_buf_append(&run->full, named.data, count_len) &&
          append_text(&run->full, kw_bytes_of(script->is_read_only ? "EVAL_RO" : "EVAL")) &&
          append_text(&run->full, script->text) &&
          kw_buf_append(&run->full, named.data + rest, named.len - rest))) {
        run->full.len = 0;
        return named;
    }
    kw_bytes full = {run->full.data, run->full.len};
    return full;
}

/* A hash of the name; never 0. */
static uint64_t mark_of(const kw_script *script)
{
    uint64_t halves[2];
    memcpy(halves, script->sha1, sizeof(halves));
    return (halves[0] * UINT64_C(0x9e3779b97f4a7c15) ^ halves[1]) | 1;
}

/* The script's entry; else the oldest one, to be written anew. */
static kw_script_known *find(kw_script_memory *memory, uint64_t mark)
{
    kw_script_known *oldest = &memory->known[0];
    for (unsigned i = 0; i < KW_SCRIPTS_KNOWN_MAX; i++) {
        kw_script_known *known = &memory->known[i];
        if (known->mark == mark) {
            return known;
        }
        oldest = known->stamp < oldest->stamp ? known : oldest;
    }
    return oldest;
}

bool kw_script_memory_ask(kw_script_memory *memory, kw_script_run_state *run, const void *place)
{
    uint64_t mark = mark_of(run->script);
    kw_script_known *known = memory != NULL ? find(memory, mark) : NULL;
    bool is_known = known != NULL && known->mark == mark;
    bool brings_text = run->is_eager && !is_known;
    if (run->has_missed) {
        /* It was brought behind the name that came in vain, and by this connection. */
        bool is_ahead = is_known && known->stamp > run->stamp && place != NULL &&
                        known->place == place && run->missed_n < MISSED_MAX;
        brings_text = brings_text || !is_ahead;
    }
    run->has_missed = false;
    if (brings_text && known != NULL) {
        known->mark = mark;
        known->stamp = ++memory->stamps_n;
        known->place = place;
    }
    run->stamp = memory != NULL ? memory->stamps_n : 0;
    return brings_text;
}

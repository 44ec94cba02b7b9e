/* SPDX-License-Identifier: BSD-3-Clause */
/* Many keys at once: tracked reads to all their servers before any is waited for, and what cannot
 * be tracked in one pipeline. */
#include "cache/cache_fetch.h"

#include "base/error.h"
#include "base/resp.h"
#include "drive/pipeline.h"

#include <string.h>

typedef struct many_keys {
    kw_cache *cache;
    kw_error *error;
    kw_cache_value *values; /* those to be read are KW_CACHE_UNKNOWN */
    const kw_cache_bytes *keys;
    size_t n;
    kw_err code; /* the first failure */
    uint64_t deadline_ns;
} many_keys;

static bool is_open(const many_keys *self, size_t at)
{
    return self->values[at].source == KW_CACHE_UNKNOWN;
}

static kw_bytes key_at(const many_keys *self, size_t at)
{
    return kw_cache_bytes_of(self->keys[at]);
}

/* The first failure is told. */
static void note_failure(many_keys *self, kw_err code, const kw_error *failure)
{
    if (code != KW_OK && self->code == KW_OK) {
        kw_error_copy(self->error, failure);
        self->code = code;
    }
}

/* Takes over what was found of a key. */
static void give(many_keys *self, size_t at, kw_tracked *found)
{
    kw_error failure = kw_error_none();
    kw_err code = kw_cache_give_read(self->cache, &failure, &self->values[at], found);
    note_failure(self, code, &failure);
}

/* So that they may be near from now on. What was not read is left. */
static void read_tracked(many_keys *self)
{
    kw_cache *cache = self->cache;
    kw_tracking *readings = kw_mem_calloc(&cache->mem, self->n, sizeof(readings[0]));
    if (readings == NULL) {
        return;
    }
    uint64_t extra_ms = kw_cache_options_extra_ms(&cache->options);
    for (size_t i = 0; i < self->n; i++) {
        if (is_open(self, i)) {
            (void)kw_tracker_begin(cache->tracker, &readings[i], key_at(self, i), key_at(self, i));
        }
    }
    for (size_t i = 0; i < self->n; i++) {
        if (readings[i].read != NULL) {
            kw_tracker_send(&readings[i]);
        }
    }
    for (size_t i = 0; i < self->n; i++) {
        kw_tracked found;
        if (readings[i].read != NULL &&
            kw_tracker_end(cache->tracker, &readings[i], &found, self->deadline_ns, extra_ms)) {
            give(self, i, &found);
        }
    }
    kw_mem_free(&cache->mem, readings);
}

/* What is left: GET, and PTTL behind it where lives matter. */
typedef struct rest {
    many_keys *many;
    kw_item *items;
    size_t width; /* items a key */
    size_t n;
    kw_buf encoded;
} rest;

static kw_err add(rest *self, kw_error *error, const char *name, kw_bytes key)
{
    kw_cache *cache = self->many->cache;
    kw_bytes argv[2] = {kw_bytes_of(name), key};
    kw_call_options options = kw_cache_read_options(cache, key);
    kw_plan_task task = {.options = &options, .argv = argv, .argc = 2, .takes_acks = true};
    task.closing = cache->closing;
    kw_item *item = &self->items[self->n];
    kw_item_init(item);
    kw_err code = kw_plan_make(&item->plan, cache->topology, error, &task);
    if (code != KW_OK) {
        return code;
    }
    self->n++;
    size_t before = self->encoded.len;
    if (!kw_resp_append(&self->encoded, argv, 2)) {
        return kw_error_set(error, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory to encode %s", name);
    }
    item->request.bytes.len = self->encoded.len - before;
    return KW_OK;
}

static kw_err add_all(rest *self, kw_error *error)
{
    many_keys *many = self->many;
    kw_err code = KW_OK;
    for (size_t i = 0; i < many->n && code == KW_OK; i++) {
        if (is_open(many, i)) {
            code = add(self, error, "GET", key_at(many, i));
            code = code == KW_OK && self->width == 2 ? add(self, error, "PTTL", key_at(many, i))
                                                     : code;
        }
    }
    if (code != KW_OK) {
        return code;
    }
    const char *at = self->encoded.data;
    for (size_t i = 0; i < self->n; i++) {
        self->items[i].request.bytes.data = at;
        at += self->items[i].request.bytes.len;
    }
    return KW_OK;
}

/* Of one key: *found, or a failure. */
static kw_err take_answer(rest *self, kw_tracked *found, kw_error *error, kw_item *items)
{
    for (size_t i = 0; i < self->width; i++) {
        if (items[i].code != KW_OK) {
            kw_item_tell(&items[i], error);
            return items[i].code;
        }
    }
    for (size_t i = 0; i < self->width; i++) {
        if (kw_reply_is_error(items[i].request.reply)) {
            kw_reply *reply = items[i].request.reply;
            items[i].request.reply = NULL;
            return kw_cache_take_error(error, NULL, reply);
        }
    }
    found->left_ms = self->width == 2 ? kw_reply_int(items[1].request.reply) : -1;
    found->value = items[0].request.reply;
    items[0].request.reply = NULL;
    return KW_OK;
}

static void give_all(rest *self)
{
    many_keys *many = self->many;
    size_t failures_n = 0;
    kw_item *items = self->items;
    for (size_t i = 0; i < many->n; i++) {
        if (!is_open(many, i)) {
            continue;
        }
        kw_tracked found;
        kw_error failure = kw_error_none();
        kw_err code = take_answer(self, &found, &failure, items);
        if (code == KW_OK) {
            give(many, i, &found);
        } else {
            failures_n++;
            note_failure(many, code, &failure);
        }
        items += self->width;
    }
    kw_topology_count(many->cache->topology, self->n, failures_n);
}

static void read_rest(many_keys *many, size_t open_n)
{
    const kw_allocator *mem = &many->cache->mem;
    rest self = {.many = many};
    self.width = kw_cache_options_extra_ms(&many->cache->options) > 0 ? 2 : 1;
    self.items = kw_mem_resize(mem, NULL, open_n * self.width, sizeof(self.items[0]));
    kw_buf_init(&self.encoded, mem, NULL, 0);
    kw_error failure = kw_error_none();
    kw_err code = self.items != NULL ? add_all(&self, &failure)
                                     : kw_error_set(&failure, KW_ERR_NOMEM, KW_EFFECT_NONE,
                                                    "no memory for so many keys");
    if (code == KW_OK) {
        kw_commands commands = {self.items, self.n, 0, many->deadline_ns, NULL};
        (void)kw_pipeline_all(many->cache->topology, &commands);
        give_all(&self);
    } else {
        note_failure(many, code, &failure);
    }
    for (size_t i = 0; i < self.n; i++) {
        kw_item_fini(&self.items[i], mem);
    }
    kw_mem_free(mem, self.items);
    kw_buf_fini(&self.encoded);
}

kw_err kw_cache_do_get_many(kw_cache *cache, kw_error *error, kw_cache_value *values,
                            const kw_cache_bytes *keys, size_t n)
{
    many_keys self = {.cache = cache, .error = error, .values = values, .keys = keys, .n = n};
    self.deadline_ns = kw_cache_deadline_ns(cache);
    if (cache->near != NULL) {
        read_tracked(&self);
    }
    size_t open_n = 0;
    for (size_t i = 0; i < n; i++) {
        open_n += is_open(&self, i) ? 1 : 0;
    }
    if (open_n > 0) {
        read_rest(&self, open_n);
    }
    return self.code;
}

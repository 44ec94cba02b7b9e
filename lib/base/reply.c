/* SPDX-License-Identifier: BSD-3-Clause */
/* Replies in arenas: a root and all below it in as few pieces of memory as its size allows. */
#include "base/reply.h"

#include <keyway/hiredis.h>

#include "base/apart.h"

#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

/* More memory of a reply that did not fit into its first piece. */
typedef struct arena_block {
    struct arena_block *next;
} arena_block;

/* The first piece: the root lives inside, so that a plain reply is a single
 * allocation. */
typedef struct arena {
    arena_block *blocks; /* further pieces, newest first */
    char *at;            /* free bytes of the newest piece: at .. end */
    char *end;
    size_t next_len; /* size of the next piece; doubles */
    void *mem_arg;   /* how to get and to free memory */
    void *(*malloc_fn)(void *arg, size_t len);
    void (*free_fn)(void *arg, void *block);
    kw_reply_slab *slab; /* NULL: the arena has memory of its own */
    kw_reply root;
} arena;

/* Memory of many arenas. While a pool fills it, the pool holds SLAB_FILLING references, more than
 * there can be arenas: so an arena costs the pool no atomic operation, and the difference is given
 * back at the end. */
struct kw_reply_slab {
    atomic_size_t refs; /* arenas in it, and SLAB_FILLING while a pool fills it */
    void *mem_arg;
    void (*free_fn)(void *arg, void *block);
};

#define SLAB_FILLING (SIZE_MAX / 2)
#define SLAB_MAX_LEN ((size_t)16 * 1024) /* of the arenas in it */

#define ARENA_PIECE     ((size_t)1024)
#define ARENA_PIECE_MAX ((size_t)64 * 1024)

/* An array that is read has room for so many elements at first, a power of two; then for twice as
 * many each time it is full. */
#define ARRAY_FIRST ((size_t)8)

static arena *arena_of(kw_reply *root)
{
    return (arena *)(void *)((char *)root - offsetof(arena, root));
}

static bool align_up(size_t *aligned, size_t len)
{
    *aligned = kw_reply_room(len);
    return *aligned >= len;
}

/* Makes reply a kind without text, number and elements of what it was before. */
static void reset(kw_reply *reply, kw_reply_kind kind)
{
    memset(&reply->hiredis, 0, sizeof(reply->hiredis));
    reply->hiredis.type = (int)kind;
}

/* All but the root, which is to be set. */
static inline arena *start_arena(arena *self, const kw_allocator *mem, char *end,
                                 kw_reply_slab *slab)
{
    self->blocks = NULL;
    self->at = (char *)self + kw_reply_room(sizeof(arena));
    self->end = end;
    self->next_len = ARENA_PIECE;
    self->mem_arg = mem->arg;
    self->malloc_fn = mem->malloc_fn;
    self->free_fn = mem->free_fn;
    self->slab = slab;
    return self;
}

/* Its root, as a nil. */
static kw_reply *root_of(arena *self)
{
    if (self == NULL) {
        return NULL;
    }
    reset(&self->root, KW_REPLY_NIL);
    return &self->root;
}

/* Bytes of an arena with that room, its head first. */
static bool arena_size(size_t *total, size_t room)
{
    return align_up(&room, room) && kw_size_add(total, kw_reply_room(sizeof(arena)), room);
}

static inline arena *new_arena(const kw_allocator *mem, size_t total)
{
    arena *self = mem->malloc_fn(mem->arg, total);
    return self != NULL ? start_arena(self, mem, (char *)self + total, NULL) : NULL;
}

kw_reply *kw_reply_new(const kw_allocator *mem, size_t room)
{
    size_t total;
    return arena_size(&total, room) ? root_of(new_arena(mem, total)) : NULL;
}

static void slab_unref(kw_reply_slab *slab, size_t n)
{
    if (atomic_fetch_sub_explicit(&slab->refs, n, memory_order_acq_rel) == n) {
        slab->free_fn(slab->mem_arg, slab);
    }
}

void kw_reply_pool_close(kw_reply_pool *pool)
{
    if (pool->slab != NULL) {
        slab_unref(pool->slab, SLAB_FILLING - pool->used_n);
    }
    memset(pool, 0, sizeof(*pool));
}

static bool pool_grow(kw_reply_pool *pool, const kw_allocator *mem, size_t len)
{
    kw_reply_pool_close(pool);
    kw_reply_slab *slab = kw_mem_alloc(mem, kw_reply_room(sizeof(*slab)) + len);
    if (slab == NULL) {
        return false;
    }
    atomic_init(&slab->refs, SLAB_FILLING);
    slab->mem_arg = mem->arg;
    slab->free_fn = mem->free_fn;
    pool->slab = slab;
    pool->at = (char *)slab + kw_reply_room(sizeof(*slab));
    pool->end = pool->at + len;
    return true;
}

static inline arena *start_in_pool(kw_reply_pool *pool, const kw_allocator *mem, size_t total)
{
    arena *self = (arena *)(void *)pool->at;
    pool->at += total;
    pool->used_n++;
    return start_arena(self, mem, pool->at, pool->slab);
}

/* An arena in a new piece; or alone, where nothing like it is there besides. */
KW_APART static arena *start_anew(kw_reply_pool *pool, const kw_allocator *mem, size_t total,
                                  kw_reply_stream stream)
{
    size_t n = stream.len / stream.reply_len;
    n = n < SLAB_MAX_LEN / total ? n : SLAB_MAX_LEN / total;
    return n < 2                             ? new_arena(mem, total)
           : pool_grow(pool, mem, n * total) ? start_in_pool(pool, mem, total)
                                             : NULL;
}

/* An arena of that many bytes from the pool. */
static inline arena *arena_from(kw_reply_pool *pool, const kw_allocator *mem, size_t total,
                                kw_reply_stream stream)
{
    return total <= (size_t)(pool->end - pool->at) ? start_in_pool(pool, mem, total)
                                                   : start_anew(pool, mem, total, stream);
}

kw_reply *kw_reply_pool_new(kw_reply_pool *pool, const kw_allocator *mem, size_t room,
                            kw_reply_stream stream)
{
    size_t total;
    return arena_size(&total, room) ? root_of(arena_from(pool, mem, total, stream)) : NULL;
}

static bool arena_grow(arena *self, size_t len)
{
    size_t head_len;
    size_t total;
    size_t room = len > self->next_len ? len : self->next_len;
    if (!align_up(&head_len, sizeof(arena_block)) || !kw_size_add(&total, head_len, room)) {
        return false;
    }
    arena_block *block = self->malloc_fn(self->mem_arg, total);
    if (block == NULL) {
        return false;
    }
    block->next = self->blocks;
    self->blocks = block;
    self->at = (char *)block + head_len;
    self->end = (char *)block + total;
    if (self->next_len < ARENA_PIECE_MAX) {
        self->next_len *= 2;
    }
    return true;
}

static inline void *take(arena *self, size_t len)
{
    size_t room;
    if (!align_up(&room, len) ||
        (room > (size_t)(self->end - self->at) && !arena_grow(self, room))) {
        return NULL;
    }
    void *block = self->at;
    self->at += room;
    return block;
}

void *kw_reply_alloc(kw_reply *root, size_t len)
{
    return take(arena_of(root), len);
}

static inline void put_string(kw_reply *reply, char *copy, kw_reply_kind kind, kw_bytes text)
{
    if (text.len > 0) {
        memcpy(copy, text.data, text.len);
    }
    copy[text.len] = '\0';
    reset(reply, kind);
    reply->hiredis.str = copy;
    reply->hiredis.len = text.len;
}

/* Bytes of an arena whose root is a string; 0: no arena has so many. */
static inline size_t string_size(kw_bytes text)
{
    return text.len < SIZE_MAX / 2 ? kw_reply_room(sizeof(arena)) + kw_reply_room(text.len + 1) : 0;
}

static inline kw_reply *string_of(arena *self, kw_reply_kind kind, kw_bytes text)
{
    if (self == NULL) {
        return NULL;
    }
    put_string(&self->root, self->at, kind, text);
    self->at = self->end;
    return &self->root;
}

kw_reply *kw_reply_new_string(const kw_allocator *mem, kw_reply_kind kind, kw_bytes text)
{
    size_t total = string_size(text);
    return total > 0 ? string_of(new_arena(mem, total), kind, text) : NULL;
}

kw_reply *kw_reply_pool_string(kw_reply_pool *pool, const kw_allocator *mem, kw_reply_stream stream,
                               kw_reply_kind kind, kw_bytes text)
{
    size_t total = string_size(text);
    return total > 0 ? string_of(arena_from(pool, mem, total, stream), kind, text) : NULL;
}

bool kw_reply_set_string(kw_reply *root, kw_reply *reply, kw_reply_kind kind, kw_bytes text)
{
    char *copy = text.len < SIZE_MAX ? take(arena_of(root), text.len + 1) : NULL;
    if (copy == NULL) {
        return false;
    }
    put_string(reply, copy, kind, text);
    return true;
}

bool kw_reply_set_array(kw_reply *root, kw_reply *reply, kw_reply_kind kind, size_t count)
{
    size_t pointers_len;
    size_t elements_len;
    if (!kw_size_mul(&pointers_len, count, sizeof(redisReply *)) ||
        !kw_size_mul(&elements_len, count, sizeof(kw_reply))) {
        return false;
    }
    redisReply **pointers = NULL;
    if (count > 0) {
        pointers = kw_reply_alloc(root, pointers_len);
        kw_reply *elements = pointers != NULL ? kw_reply_alloc(root, elements_len) : NULL;
        if (elements == NULL) {
            return false;
        }
        for (size_t i = 0; i < count; i++) {
            reset(&elements[i], KW_REPLY_NIL);
            pointers[i] = &elements[i].hiredis;
        }
    }
    reset(reply, kind);
    reply->hiredis.elements = count;
    reply->hiredis.element = pointers;
    return true;
}

/* Elements at .. end of an array whose pointers have room for them, in one piece of memory. */
static bool add_elements(kw_reply *root, kw_reply *reply, size_t at, size_t end)
{
    kw_reply *elements = kw_reply_alloc(root, (end - at) * sizeof(kw_reply));
    if (elements == NULL) {
        return false;
    }
    for (size_t i = at; i < end; i++) {
        reset(&elements[i - at], KW_REPLY_NIL);
        reply->hiredis.element[i] = &elements[i - at].hiredis;
    }
    return true;
}

/* Makes room for elements at .. end; those before stay where they are. */
static bool grow_array(kw_reply *root, kw_reply *reply, size_t at, size_t end)
{
    redisReply **pointers = kw_reply_alloc(root, end * sizeof(redisReply *));
    if (pointers == NULL) {
        return false;
    }
    if (at > 0) {
        memcpy(pointers, reply->hiredis.element, at * sizeof(redisReply *));
    }
    reply->hiredis.element = pointers;
    return add_elements(root, reply, at, end);
}

bool kw_reply_begin_array(kw_reply *root, kw_reply *reply, kw_reply_kind kind, size_t count)
{
    size_t len;
    if (!kw_size_mul(&len, count, sizeof(kw_reply) + sizeof(redisReply *))) {
        return false;
    }
    reset(reply, kind);
    reply->hiredis.elements = count;
    size_t end = count < ARRAY_FIRST ? count : ARRAY_FIRST;
    return count == 0 || grow_array(root, reply, 0, end);
}

kw_reply *kw_reply_next_slot(kw_reply *root, kw_reply *reply, size_t index)
{
    size_t count = reply->hiredis.elements;
    if (index >= count) {
        return NULL;
    }
    bool is_full = index >= ARRAY_FIRST && (index & (index - 1)) == 0; /* a power of two */
    if (is_full) {
        size_t end = index < count / 2 ? 2 * index : count;
        if (!grow_array(root, reply, index, end)) {
            return NULL;
        }
    }
    return kw_reply_slot(reply, index);
}

void kw_reply_set_integer(kw_reply *reply, kw_reply_kind kind, long long value)
{
    reset(reply, kind);
    reply->hiredis.integer = value;
}

size_t kw_reply_array_room(size_t count)
{
    return kw_reply_room(count * sizeof(redisReply *)) + kw_reply_room(count * sizeof(kw_reply));
}

bool kw_reply_is_pooled(kw_reply *root)
{
    return arena_of(root)->slab != NULL;
}

bool kw_reply_make_error(kw_reply *root, kw_bytes text)
{
    redisReply before = root->hiredis;
    if (!kw_reply_set_string(root, root, KW_REPLY_ERROR, text)) {
        return false;
    }
    root->hiredis.elements = before.elements;
    root->hiredis.element = before.element;
    return true;
}

/* What an error's elements point to that has none, and is marked. */
static const kw_reply partial;

void kw_reply_mark_partial(kw_reply *error)
{
    if (error->hiredis.elements == 0) {
        error->hiredis.element = (redisReply **)(uintptr_t)&partial;
    }
}

bool kw_reply_is_partial(const kw_reply *error)
{
    bool is_partial = error->hiredis.element == (redisReply **)(uintptr_t)&partial;
    for (size_t i = 0; !is_partial && i < error->hiredis.elements; i++) {
        const kw_reply *element = kw_reply_at(error, i);
        is_partial = !kw_reply_is_error(element) || kw_reply_is_partial(element);
    }
    return is_partial;
}

kw_reply *kw_reply_slot(kw_reply *reply, size_t index)
{
    return (kw_reply *)(void *)reply->hiredis.element[index];
}

kw_bytes kw_reply_bytes(const kw_reply *reply)
{
    kw_bytes bytes = {NULL, 0};
    bytes.data = kw_reply_str(reply, &bytes.len);
    return bytes;
}

kw_reply_kind kw_reply_type(const kw_reply *reply)
{
    return reply != NULL ? (kw_reply_kind)reply->hiredis.type : KW_REPLY_NONE;
}

bool kw_reply_is_error(const kw_reply *reply)
{
    return kw_reply_type(reply) == KW_REPLY_ERROR;
}

bool kw_reply_is_nil(const kw_reply *reply)
{
    return kw_reply_type(reply) == KW_REPLY_NIL;
}

const char *kw_reply_str(const kw_reply *reply, size_t *len)
{
    bool has_text = reply != NULL && reply->hiredis.str != NULL;
    if (len != NULL) {
        *len = has_text ? (size_t)reply->hiredis.len : 0;
    }
    return has_text ? reply->hiredis.str : NULL;
}

long long kw_reply_int(const kw_reply *reply)
{
    return reply != NULL ? reply->hiredis.integer : 0;
}

size_t kw_reply_count(const kw_reply *reply)
{
    return reply != NULL ? reply->hiredis.elements : 0;
}

const kw_reply *kw_reply_at(const kw_reply *reply, size_t index)
{
    if (index >= kw_reply_count(reply)) {
        return NULL;
    }
    return (const kw_reply *)(const void *)reply->hiredis.element[index];
}

static const kw_reply sunk = {.hiredis = {.type = KW_REPLY_ARRAY}};

kw_reply *kw_reply_sunk(void)
{
    return (kw_reply *)(uintptr_t)&sunk;
}

void kw_reply_free(kw_reply *reply)
{
    if (reply == NULL || reply == &sunk) {
        return;
    }
    arena *self = arena_of(reply);
    void *mem_arg = self->mem_arg;
    void (*free_fn)(void *arg, void *block) = self->free_fn;
    while (self->blocks != NULL) {
        arena_block *block = self->blocks;
        self->blocks = block->next;
        free_fn(mem_arg, block);
    }
    if (self->slab != NULL) {
        slab_unref(self->slab, 1);
    } else {
        free_fn(mem_arg, self);
    }
}

const struct redisReply *kw_reply_hiredis(const kw_reply *reply)
{
    return reply != NULL ? &reply->hiredis : NULL;
}

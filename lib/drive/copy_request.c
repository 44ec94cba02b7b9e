/* SPDX-License-Identifier: BSD-3-Clause */
/* Requests to single copies: made from what a quorum op asks, or for hints; and freed. */
#include "drive/copy_request.h"

#include <keyway/quorum.h>

#include "base/error.h"
#include "engine/quorum_script.h"

#include <stddef.h>
#include <string.h>

/* So many blocks are kept, and none that is longer. */
#define BLOCKS_MAX    256u
#define BLOCK_LEN_MAX 16384u

/* A block of len bytes or more, with its length set; NULL when there is no memory. One that was
 * kept and is too short makes room for one that is not. */
static kw_quorum_call *take_block(kw_quorum_blocks *blocks, size_t len)
{
    kw_quorum_call *block = blocks->head;
    if (block != NULL) {
        blocks->head = block->next;
        blocks->n--;
        if (block->block_len >= len) {
            return block;
        }
        kw_mem_free(blocks->mem, block);
    }
    block = kw_mem_alloc(blocks->mem, len);
    if (block != NULL) {
        block->block_len = len;
    }
    return block;
}

static void give_block(kw_quorum_blocks *blocks, kw_quorum_call *block)
{
    if (blocks->n == BLOCKS_MAX || block->block_len > BLOCK_LEN_MAX) {
        kw_mem_free(blocks->mem, block);
        return;
    }
    block->next = blocks->head;
    blocks->head = block;
    blocks->n++;
}

void kw_quorum_blocks_fini(kw_quorum_blocks *blocks)
{
    while (blocks->head != NULL) {
        kw_quorum_call *block = blocks->head;
        blocks->head = block->next;
        kw_mem_free(blocks->mem, block);
    }
}

kw_quorum_call *kw_quorum_call_new(kw_quorum_blocks *blocks, kw_bytes key, size_t requests_n,
                                   kw_quorum_ask_kind kind, size_t value_len)
{
    size_t len;
    size_t room_len = 0;
    size_t requests_len;
    if (kw_size_add(&len, key.len, value_len) &&
        kw_size_add(&len, len, sizeof(KW_QUORUM_MARKER) - 1)) {
        room_len = kw_quorum_script_room(kind, len);
    }
    if (room_len == 0 || !kw_size_mul(&requests_len, requests_n, sizeof(kw_copy_request)) ||
        !kw_size_add(&len, sizeof(kw_quorum_call), requests_len) ||
        !kw_size_add(&len, len, room_len) || !kw_size_add(&len, len, key.len)) {
        return NULL;
    }
    kw_quorum_call *call = take_block(blocks, len);
    if (call == NULL) {
        return NULL;
    }
    size_t block_len = call->block_len;
    memset(call, 0, offsetof(kw_quorum_call, failure));
    call->blocks = blocks;
    call->block_len = block_len;
    call->refs = 1;
    call->free = (kw_copy_request *)(void *)(call + 1);
    call->free_n = requests_n;
    call->room = (char *)(call + 1) + requests_len;
    call->room_len = room_len;
    char *place = call->room + room_len;
    if (key.len > 0) {
        memcpy(place, key.data, key.len);
    }
    call->key.data = place;
    call->key.len = key.len;
    call->failure.size = sizeof(call->failure);
    call->failure.code = KW_OK;
    call->failure.node[0] = '\0';
    return call;
}

static void unref_call(kw_quorum_call *call)
{
    if (--call->refs == 0) {
        give_block(call->blocks, call);
    }
}

void kw_copy_request_free(kw_copy_request *request, const kw_allocator *mem)
{
    kw_quorum_call *home = request->home;
    kw_item_fini(&request->item, mem);
    kw_buf_fini(&request->encoded);
    kw_buf_fini(&request->key);
    kw_hint_round_unref(request->round, mem);
    if (home != NULL) {
        unref_call(home);
    } else {
        kw_mem_free(mem, request);
    }
}

void kw_hint_round_unref(kw_hint_round *round, const kw_allocator *mem)
{
    if (round == NULL || --round->refs > 0) {
        return;
    }
    for (size_t i = 0; i < round->targets_n; i++) {
        kw_node_unref(round->targets[i]);
    }
    kw_node_unref(round->keeper);
    kw_buf_fini(&round->hint_keys);
    kw_mem_free(mem, round);
}

void kw_quorum_call_free(kw_quorum_call *call, const kw_allocator *mem)
{
    if (call == NULL) {
        return;
    }
    while (call->requests != NULL) {
        kw_copy_request *request = call->requests;
        call->requests = request->next;
        kw_copy_request_free(request, mem);
    }
    for (size_t i = 0; i <= KW_QUORUM_COPIES_MAX; i++) {
        kw_node_unref(call->nodes[i]);
    }
    unref_call(call);
}

void kw_copy_request_use_script(kw_copy_request *request, const kw_allocator *mem)
{
    kw_node_init_script_run(&request->run, mem, kw_quorum_script());
    request->item.plan.script = &request->run;
}

static bool is_same_record(const kw_record *a, const kw_record *b)
{
    return kw_stamp_equal(a->stamp, b->stamp) && kw_stamp_equal(a->origin, b->origin) &&
           kw_stamp_equal(a->promise, b->promise) && a->floor == b->floor &&
           a->recent == b->recent && a->linger_ms == b->linger_ms &&
           a->is_tombstone == b->is_tombstone && a->is_copied == b->is_copied &&
           a->is_mortal == b->is_mortal && a->is_kept == b->is_kept &&
           a->value.data == b->value.data && a->value.len == b->value.len;
}

/* The request that the call made last, where it asks another copy for the same: its bytes are sent
 * as well, since to write them takes several times as long. NULL: there is none. */
static const kw_copy_request *find_like(const kw_copy_request *request)
{
    const kw_copy_request *last = request->call->requests;
    const kw_quorum_ask *ask = &request->ask;
    if (last == NULL || last->way != request->way) {
        return NULL;
    }
    if (request->way == KW_COPY_REQUEST_PLAIN) {
        return last;
    }
    bool is_like = last->ask.kind == ask->kind && last->ask.round == ask->round &&
                   last->ask.life_ms == ask->life_ms && last->ask.linger_ms == ask->linger_ms &&
                   last->ask.behind_ms == ask->behind_ms &&
                   last->ask.wants_value == ask->wants_value &&
                   is_same_record(&last->ask.record, &ask->record);
    return is_like ? last : NULL;
}

static bool write_command(kw_topology *topology, kw_copy_request *request)
{
    kw_quorum_call *call = request->call;
    kw_quorum_place place = {call->key, {NULL, 0}, request->way == KW_COPY_REQUEST_PLAIN};
    if (topology->env.options.has_quorum_guard && !call->op.spec.is_repair) {
        place.marker = kw_bytes_of(KW_QUORUM_MARKER);
    }
    return kw_quorum_script_encode(&request->encoded, &place, &request->ask);
}

/* The bytes of a request like this one, or its own, in the call's room where that is free. A
 * request that is not in the call's memory may outlive it. */
static bool find_bytes(kw_topology *topology, kw_copy_request *request)
{
    kw_quorum_call *home = request->home;
    const kw_allocator *mem = &topology->env.mem;
    const kw_copy_request *like = find_like(request);
    if (like != NULL && home != NULL && like->encoded.data == home->room) {
        kw_buf_init(&request->encoded, mem, home->room, like->encoded.len);
        request->encoded.len = like->encoded.len;
        return true;
    }
    kw_buf_init(&request->encoded, mem, home != NULL ? home->room : NULL,
                home != NULL ? home->room_len : 0);
    if (home != NULL) {
        home->room_len = 0;
    }
    return like != NULL ? kw_buf_append(&request->encoded, like->encoded.data, like->encoded.len)
                        : write_command(topology, request);
}

static bool encode(kw_topology *topology, kw_copy_request *request)
{
    if (!find_bytes(topology, request)) {
        kw_buf_fini(&request->encoded);
        return false;
    }
    if (request->way == KW_COPY_REQUEST_SCRIPT) {
        kw_copy_request_use_script(request, &topology->env.mem);
    }
    request->item.request.bytes.data = request->encoded.data;
    request->item.request.bytes.len = request->encoded.len;
    return true;
}

static const char *name_of(kw_quorum_ask_kind kind)
{
    switch (kind) {
    case KW_QUORUM_GET:
        return "quorum read";
    case KW_QUORUM_PUT:
        return "quorum write";
    case KW_QUORUM_PREPARE:
        return "quorum ballot";
    case KW_QUORUM_SEAL:
        return "quorum seal";
    }
    return "quorum";
}

/* Memory for a request of the call: in the call's, or, where that is used up, a block of its own.
 * NULL when there is none. */
static kw_copy_request *place_request(kw_quorum_call *call, const kw_allocator *mem)
{
    kw_copy_request *request = call->free;
    if (call->free_n == 0) {
        request = kw_mem_alloc(mem, sizeof(*request));
        if (request != NULL) {
            request->home = NULL;
        }
        return request;
    }
    call->free++;
    call->free_n--;
    call->refs++;
    request->home = call;
    return request;
}

/* Each field by itself: most of what is in a request is written later, if ever. */
static void init_request(kw_copy_request *request, kw_quorum_call *call, const kw_allocator *mem)
{
    static const kw_plan blank;
    kw_item_init(&request->item);
    request->item.plan = blank;
    request->call = call;
    request->aim = KW_COPY_REQUEST_OF_OP;
    request->round = NULL;
    request->target = 0;
    kw_buf_init(&request->key, mem, NULL, 0);
    request->next = NULL;
    request->next_ended = NULL;
    request->is_listed = false;
    request->is_dropped = false;
    request->is_owed = false;
}

kw_copy_request *kw_copy_request_new(kw_topology *topology, kw_quorum_call *call,
                                     const kw_quorum_ask *ask, kw_copy_request_way way)
{
    const kw_allocator *mem = &topology->env.mem;
    kw_copy_request *request = place_request(call, mem);
    if (request == NULL) {
        return NULL;
    }
    bool needs_script = topology->env.options.has_quorum_guard;
    init_request(request, call, mem);
    request->ask = *ask;
    request->way = way == KW_COPY_REQUEST_PLAIN && needs_script ? KW_COPY_REQUEST_SCRIPT : way;
    if (!encode(topology, request)) {
        kw_copy_request_free(request, mem);
        return NULL;
    }
    kw_plan *plan = &request->item.plan;
    plan->kind = KW_PLAN_NODE;
    plan->node = kw_node_ref(call->nodes[ask->copy]);
    plan->name = name_of(ask->kind);
    plan->is_script = true;
    plan->is_internal = true; /* also to a node that is down: its keys are served without it */
    plan->is_repeatable = ask->kind == KW_QUORUM_GET;
    plan->deadline_ns = call->deadline_ns;
    request->item.request.pools = true; /* freed with the call, as are the others' */
    request->next = call->requests;
    call->requests = request;
    call->open_n++;
    return request;
}

kw_copy_request *kw_copy_request_new_hint(kw_topology *topology, kw_copy_request_aim aim,
                                          kw_node *node, kw_buf *encoded, uint64_t now_ns)
{
    const kw_allocator *mem = &topology->env.mem;
    kw_copy_request *request = kw_mem_calloc(mem, 1, sizeof(*request));
    if (request == NULL) {
        return NULL;
    }
    request->aim = aim;
    request->encoded = *encoded;
    kw_buf_init(encoded, mem, NULL, 0);
    kw_buf_init(&request->key, mem, NULL, 0);
    request->item.request.bytes.data = request->encoded.data;
    request->item.request.bytes.len = request->encoded.len;
    kw_plan *plan = &request->item.plan;
    plan->kind = KW_PLAN_NODE;
    plan->node = kw_node_ref(node);
    plan->name = "quorum hint";
    plan->is_script = true;
    plan->is_internal = true;
    plan->deadline_ns = kw_plan_deadline_ns(now_ns, topology->env.options.timeout_ms);
    return request;
}

void kw_copy_request_forget(kw_copy_request *request)
{
    kw_copy_request **link = &request->call->requests;
    while (*link != request) {
        link = &(*link)->next;
    }
    *link = request->next;
    request->call = NULL;
}

void kw_copy_request_send(kw_copy_request *request, kw_pipeline *pipeline,
                          const kw_snapshot *snapshot)
{
    request->item.plan.start_ns = pipeline->scan.now_ns;
    kw_pipeline_add(pipeline, &request->item, snapshot);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Requests to single copies: made from what a quorum op asks, or for hints; and freed. */
#include "drive/copy_request.h"

#include <keyway/quorum.h>

#include "base/error.h"
#include "engine/quorum_script.h"

#include <stddef.h>
#include <string.h>

/* The length of a request with the room for what is encoded, a multiple of what structs need; 0:
 * too long. */
static size_t request_len_of(kw_quorum_ask_kind kind, size_t lens)
{
    size_t len;
    size_t room = kw_quorum_script_room(kind, lens);
    size_t unit = _Alignof(max_align_t);
    return room > 0 && kw_size_add(&len, sizeof(kw_copy_request) + unit - 1, room)
               ? len / unit * unit
               : 0;
}

kw_quorum_call *kw_quorum_call_new(const kw_allocator *mem, kw_bytes key, size_t requests_n,
                                   kw_quorum_ask_kind kind, size_t value_len)
{
    size_t len;
    size_t request_len = 0;
    size_t requests_len;
    if (kw_size_add(&len, key.len, value_len) &&
        kw_size_add(&len, len, sizeof(KW_QUORUM_MARKER) - 1)) {
        request_len = request_len_of(kind, len);
    }
    if (request_len == 0 || !kw_size_mul(&requests_len, requests_n, request_len) ||
        !kw_size_add(&len, sizeof(kw_quorum_call), requests_len) ||
        !kw_size_add(&len, len, key.len)) {
        return NULL;
    }
    kw_quorum_call *call = kw_mem_alloc(mem, len);
    if (call == NULL) {
        return NULL;
    }
    memset(call, 0, offsetof(kw_quorum_call, failure));
    call->refs = 1;
    call->free = (kw_copy_request *)(void *)(call + 1);
    call->free_n = requests_n;
    call->request_len = request_len;
    char *place = (char *)(call + 1) + requests_len;
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

static void unref_call(kw_quorum_call *call, const kw_allocator *mem)
{
    if (--call->refs == 0) {
        kw_mem_free(mem, call);
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
        unref_call(home, mem);
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
    unref_call(call, mem);
}

bool kw_copy_request_use_script(kw_copy_request *request, const kw_allocator *mem)
{
    request->item.plan.script = kw_node_new_script_run(mem, kw_quorum_script());
    return request->item.plan.script != NULL;
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

/* The request that the call made last, where it asks another copy to run the script likewise: its
 * bytes are copied, since to write them takes several times as long. NULL: there is none. */
static const kw_copy_request *find_like(const kw_copy_request *request)
{
    const kw_copy_request *last = request->call->requests;
    const kw_quorum_ask *ask = &request->ask;
    if (last == NULL || request->way == KW_COPY_REQUEST_PLAIN || last->way != request->way ||
        last->ask.kind != ask->kind || last->ask.round != ask->round) {
        return NULL;
    }
    bool is_like = last->ask.life_ms == ask->life_ms && last->ask.linger_ms == ask->linger_ms &&
                   last->ask.behind_ms == ask->behind_ms &&
                   last->ask.wants_value == ask->wants_value &&
                   is_same_record(&last->ask.record, &ask->record);
    return is_like ? last : NULL;
}

static bool write_command(kw_topology *topology, kw_copy_request *request)
{
    const kw_copy_request *like = find_like(request);
    if (like != NULL) {
        return kw_buf_append(&request->encoded, like->encoded.data, like->encoded.len);
    }
    kw_quorum_call *call = request->call;
    kw_quorum_place place = {call->key, {NULL, 0}, request->way == KW_COPY_REQUEST_PLAIN};
    if (topology->env.options.has_quorum_guard && !call->op.spec.is_repair) {
        place.marker = kw_bytes_of(KW_QUORUM_MARKER);
    }
    return kw_quorum_script_encode(&request->encoded, &place, &request->ask);
}

static bool encode(kw_topology *topology, kw_copy_request *request)
{
    const kw_quorum_call *call = request->call;
    char *room = request->home != NULL ? (char *)(request + 1) : NULL;
    size_t room_len = room != NULL ? call->request_len - sizeof(*request) : 0;
    kw_buf_init(&request->encoded, &topology->env.mem, room, room_len);
    bool is_whole = write_command(topology, request) &&
                    (request->way == KW_COPY_REQUEST_PLAIN ||
                     kw_copy_request_use_script(request, &topology->env.mem));
    if (!is_whole) {
        kw_buf_fini(&request->encoded);
        return false;
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

/* A request in the call's room, or, where that is used up, in a block of its own; zeros. NULL
 * when there is no memory. */
static kw_copy_request *place_request(kw_quorum_call *call, const kw_allocator *mem)
{
    kw_copy_request *request = call->free;
    if (call->free_n == 0) {
        return kw_mem_calloc(mem, 1, sizeof(*request));
    }
    call->free = (kw_copy_request *)(void *)((char *)request + call->request_len);
    call->free_n--;
    call->refs++;
    memset(request, 0, sizeof(*request));
    request->home = call;
    return request;
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
    kw_buf_init(&request->key, mem, NULL, 0);
    request->call = call;
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

void kw_copy_request_send(kw_copy_request *request, kw_pipeline *pipeline)
{
    request->item.plan.start_ns = pipeline->scan.now_ns;
    kw_snapshot *snapshot = kw_topology_snapshot(pipeline->topology);
    kw_pipeline_add(pipeline, &request->item, snapshot);
    kw_snapshot_unref(snapshot);
}

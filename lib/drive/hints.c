/* SPDX-License-Identifier: BSD-3-Clause */
/* Leaves hints for copies that are away, looks for them, and hands them over. */
#include "drive/hints.h"

#include <keyway/quorum.h>

#include "base/error.h"
#include "engine/hint.h"
#include "engine/quorum_script.h"
#include "engine/script.h"

#include <string.h>

/* A handle looks for hints this often. */
#define LOOK_NS (1000 * KW_NS_PER_MS)

/* Requests of one exchange; beyond that no hint is left, and nobody looks. */
#define OPEN_MAX 512u

void kw_hints_init(kw_hints *self, kw_pipeline *pipeline, const kw_owed_replies *owed_replies,
                   atomic_uint_fast64_t *look_ns)
{
    memset(self, 0, sizeof(*self));
    self->topology = pipeline->topology;
    self->pipeline = pipeline;
    self->owed_replies = owed_replies;
    self->look_ns = look_ns;
}

void kw_hints_fini(kw_hints *self)
{
    while (self->open != NULL) {
        kw_copy_request *request = self->open;
        self->open = request->next;
        kw_copy_request_free(request, &self->topology->env.mem);
    }
}

static kw_buf empty_buf(const kw_hints *self)
{
    kw_buf buf;
    kw_buf_init(&buf, &self->topology->env.mem, NULL, 0);
    return buf;
}

static void send_out(kw_hints *self, kw_copy_request *request)
{
    request->next = self->open;
    self->open = request;
    self->open_n++;
    kw_snapshot *snapshot = kw_topology_snapshot(self->topology);
    kw_copy_request_send(request, self->pipeline, snapshot);
    kw_snapshot_unref(snapshot);
}

/* True for a node that is connected, and owes no answer that nobody waits for. */
static bool is_up(const kw_hints *self, const kw_node *node)
{
    if (kw_owed_replies_count(self->owed_replies, node) > 0) {
        return false;
    }
    for (size_t i = 0; i < self->pipeline->channels_n; i++) {
        const kw_channel *channel = self->pipeline->channels[i];
        if (channel->node == node && !channel->is_exclusive) {
            return channel->conn != NULL && channel->conn->state == KW_CONN_READY;
        }
    }
    return false;
}

static kw_node *node_at(const kw_snapshot *snapshot, uint32_t number)
{
    return snapshot->nodes[kw_map_shard_at(snapshot->map, number)->primary];
}

static bool append_hint_key(kw_buf *buf, const kw_ring *ring, uint32_t number)
{
    size_t len = 0;
    size_t before = buf->len;
    const char *name = kw_ring_node_name(ring, &len, number);
    if (!kw_buf_append(buf, KW_QUORUM_HINTS, sizeof(KW_QUORUM_HINTS) - 1) ||
        !kw_buf_append(buf, name, len)) {
        buf->len = before;
        return false;
    }
    return true;
}

/* Appends the name of the hash with hints for the node; false where the ring does not have the node
 * any more. */
static bool find_hint_key(const kw_hints *self, kw_buf *buf, const kw_node *node)
{
    kw_snapshot *snapshot = kw_topology_snapshot(self->topology);
    const kw_ring *ring = kw_map_ring(snapshot->map);
    bool is_found = false;
    for (uint32_t i = 0; i < kw_ring_nodes_n(ring) && !is_found; i++) {
        is_found = node_at(snapshot, i) == node && append_hint_key(buf, ring, i);
    }
    kw_snapshot_unref(snapshot);
    return is_found;
}

/* The record of an ask that no request carries. */
static bool append_record(kw_buf *buf, const kw_record *record)
{
    unsigned char head[KW_RECORD_HEAD_MAX];
    size_t head_len = kw_record_put_head(head, record);
    return kw_buf_append(buf, (const char *)head, head_len) &&
           (record->value.len == 0 || kw_buf_append(buf, record->value.data, record->value.len));
}

bool kw_hints_leave(kw_hints *self, const kw_quorum_call *call, const kw_quorum_ask *ask,
                    const kw_copy_request *request, uint64_t now_ns)
{
    const kw_quorum_rule *rule = &call->op.spec.rule;
    kw_node *keeper = call->nodes[rule->copies_n];
    kw_hint hint = {.key = call->key};
    uint64_t passed_ns = request != NULL ? now_ns - request->item.plan.start_ns : 0;
    if (self->is_over || atomic_load(&self->topology->env.is_closing) || keeper == NULL ||
        self->open_n >= OPEN_MAX || !kw_hint_age(&hint.life_ms, ask, passed_ns / KW_NS_PER_MS)) {
        return false;
    }
    kw_buf hint_key = empty_buf(self);
    kw_buf record = empty_buf(self);
    kw_buf encoded = empty_buf(self);
    kw_copy_request *fresh = NULL;
    if (find_hint_key(self, &hint_key, call->nodes[ask->copy]) &&
        (request != NULL || append_record(&record, &ask->record))) {
        kw_bytes built = {record.data, record.len};
        kw_bytes name = {hint_key.data, hint_key.len};
        hint.hint_key = name;
        hint.record =
            request != NULL ? kw_quorum_script_record(request->item.request.bytes) : built;
        if (kw_hint_encode_leave(&encoded, &hint, rule->linger_ms)) {
            fresh = kw_copy_request_new_hint(self->topology, KW_COPY_REQUEST_LEAVE, keeper,
                                             &encoded, now_ns);
        }
    }
    kw_buf_fini(&hint_key);
    kw_buf_fini(&record);
    kw_buf_fini(&encoded);
    if (fresh == NULL) {
        return false;
    }
    send_out(self, fresh);
    return true;
}

static kw_bytes box_at(const kw_hint_round *round, size_t index)
{
    size_t from = index > 0 ? round->hint_key_ends[index - 1] : 0;
    kw_bytes name = {round->hint_keys.data + from, round->hint_key_ends[index] - from};
    return name;
}

/* Sends the look of the round. */
static void look(kw_hints *self, kw_hint_round *round, uint64_t now_ns)
{
    kw_bytes hint_keys[KW_HINT_TARGETS_MAX];
    for (size_t i = 0; i < round->targets_n; i++) {
        hint_keys[i] = box_at(round, i);
    }
    kw_buf encoded = empty_buf(self);
    kw_copy_request *request = NULL;
    if (kw_hint_encode_look(&encoded, hint_keys, round->targets_n)) {
        request = kw_copy_request_new_hint(self->topology, KW_COPY_REQUEST_LOOK, round->keeper,
                                           &encoded, now_ns);
    }
    kw_buf_fini(&encoded);
    if (request != NULL) {
        request->round = round;
        round->refs++;
        send_out(self, request);
    }
}

/* A look at the keeper, for all others that are up. */
static void look_at(kw_hints *self, const kw_snapshot *snapshot, uint32_t keeper, uint64_t now_ns)
{
    const kw_allocator *mem = &self->topology->env.mem;
    const kw_ring *ring = kw_map_ring(snapshot->map);
    kw_hint_round *round = kw_mem_calloc(mem, 1, sizeof(*round));
    if (round == NULL) {
        return;
    }
    uint32_t nodes_n = (uint32_t)kw_ring_nodes_n(ring);
    round->refs = 1;
    round->keeper = kw_node_ref(node_at(snapshot, keeper));
    round->hint_keys = empty_buf(self);
    for (uint32_t i = 1; i < nodes_n && round->targets_n < KW_HINT_TARGETS_MAX; i++) {
        uint32_t number = (keeper + i) % nodes_n;
        kw_node *node = node_at(snapshot, number);
        if (is_up(self, node) && append_hint_key(&round->hint_keys, ring, number)) {
            round->hint_key_ends[round->targets_n] = round->hint_keys.len;
            round->targets[round->targets_n++] = kw_node_ref(node);
        }
    }
    if (round->targets_n > 0) {
        look(self, round, now_ns);
    }
    kw_hint_round_unref(round, mem);
}

void kw_hints_look(kw_hints *self, uint64_t now_ns)
{
    uint64_t look_ns = atomic_load(self->look_ns);
    if (now_ns < look_ns || self->open_n >= OPEN_MAX / 2 ||
        !atomic_compare_exchange_strong(self->look_ns, &look_ns, now_ns + LOOK_NS)) {
        return;
    }
    kw_snapshot *snapshot = kw_topology_snapshot(self->topology);
    uint32_t nodes_n = (uint32_t)kw_ring_nodes_n(kw_map_ring(snapshot->map));
    for (uint32_t i = 0; i < nodes_n; i++) {
        if (is_up(self, node_at(snapshot, i))) {
            look_at(self, snapshot, i, now_ns);
        }
    }
    kw_snapshot_unref(snapshot);
}

/* Hands one hint over; false where that cannot be. */
static bool hand(kw_hints *self, kw_copy_request *from, size_t index, size_t target,
                 uint64_t now_ns)
{
    kw_hint_round *round = from->round;
    kw_quorum_place place = {.is_plain = false};
    kw_quorum_ask ask;
    if (!kw_hint_at(from->item.request.reply, index, &place.key, &ask)) {
        return false;
    }
    ask.linger_ms = self->topology->env.options.tombstone_ms;
    ask.behind_ms = ask.linger_ms / 2;
    if (self->topology->env.options.has_quorum_guard) {
        place.marker = kw_bytes_of(KW_QUORUM_MARKER);
    }
    kw_buf encoded = empty_buf(self);
    kw_copy_request *request =
        kw_quorum_script_encode(&encoded, &place, &ask)
            ? kw_copy_request_new_hint(self->topology, KW_COPY_REQUEST_HAND, round->targets[target],
                                       &encoded, now_ns)
            : NULL;
    kw_buf_fini(&encoded);
    if (request == NULL) {
        return false;
    }
    request->ask = ask;
    memset(&request->ask.record.value, 0, sizeof(request->ask.record.value));
    request->target = target;
    if (place.key.len > 0 && !kw_buf_append(&request->key, place.key.data, place.key.len)) {
        kw_copy_request_free(request, &self->topology->env.mem);
        return false;
    }
    kw_copy_request_use_script(request, &self->topology->env.mem);
    request->round = round;
    round->refs++;
    send_out(self, request);
    return true;
}

static void hand_all(kw_hints *self, kw_copy_request *request, uint64_t now_ns)
{
    size_t target = 0;
    kw_hint_round *round = request->round;
    size_t n = kw_hint_count(request->item.request.reply, &target, round->targets_n);
    bool may_go_on = n > 0;
    for (size_t i = 0; i < n; i++) {
        may_go_on = hand(self, request, i, target, now_ns) && may_go_on;
    }
    round->has_failed = !may_go_on;
}

/* The copy has the hint's record, or something newer, or what is no copy at all. */
static bool is_settled(const kw_reply *reply)
{
    kw_quorum_answer answer;
    kw_error failure = kw_error_none();
    kw_bytes text = kw_reply_bytes(reply);
    return kw_quorum_script_read(&answer, &failure, KW_QUORUM_PUT, reply) == KW_OK ||
           (kw_reply_is_error(reply) &&
            (kw_script_error_is(text, "KWFORMAT") || kw_script_error_is(text, "WRONGTYPE")));
}

static void drop(kw_hints *self, const kw_copy_request *request, uint64_t now_ns)
{
    kw_hint_round *round = request->round;
    kw_buf encoded = empty_buf(self);
    kw_bytes key = {request->key.data, request->key.len};
    kw_copy_request *fresh = NULL;
    if (kw_hint_encode_drop(&encoded, box_at(round, request->target), key,
                            request->ask.record.stamp)) {
        fresh = kw_copy_request_new_hint(self->topology, KW_COPY_REQUEST_DROP, round->keeper,
                                         &encoded, now_ns);
    }
    kw_buf_fini(&encoded);
    if (fresh == NULL) {
        round->has_failed = true;
        return;
    }
    send_out(self, fresh);
}

static void close_request(kw_hints *self, const kw_copy_request *request)
{
    kw_copy_request **link = &self->open;
    while (*link != request) {
        link = &(*link)->next;
    }
    *link = request->next;
    self->open_n--;
}

void kw_hints_take_back(kw_hints *self, kw_copy_request *request, uint64_t now_ns)
{
    const kw_reply *reply = request->item.code == KW_OK ? request->item.request.reply : NULL;
    kw_hint_round *round = request->round;
    close_request(self, request);
    if (self->is_over || round == NULL) {
        return;
    }
    if (request->aim == KW_COPY_REQUEST_LOOK) {
        round->has_failed = true;
        if (reply != NULL) {
            hand_all(self, request, now_ns);
        }
        return;
    }
    if (reply != NULL && is_settled(reply)) {
        drop(self, request, now_ns);
    } else {
        round->has_failed = true;
    }
    /* The last one of the page: there may be more. */
    if (round->refs == 1 && !round->has_failed) {
        look(self, round, now_ns);
    }
}

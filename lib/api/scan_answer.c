/* SPDX-License-Identifier: BSD-3-Clause */
/* What answers to a scan's commands mean, and what it means that there is none. */
#include "api/scan_private.h"

#include "base/error.h"
#include "base/reply.h"
#include "engine/glob.h"

#include <string.h>

/* Types of keys of one slot that are asked for at once. */
#define TYPES_MAX 32u

static const char *host_of(const kw_scan_request *request)
{
    const kw_scan_walk *walk = &request->scan->walk;
    bool is_of_host = request->need == KW_SCAN_NEEDS_STEP && request->step.host < walk->hosts_n;
    return is_of_host ? walk->hosts[request->step.host].name : "";
}

/* True for what may be well soon: a host is asked again, until the caller's deadline. */
static bool is_passing(const kw_scan *scan, kw_err code)
{
    switch (code) {
    case KW_ERR_ARGUMENT: /* no such node: it has left the map meanwhile */
        return scan->wish.node.data == NULL;
    case KW_ERR_CONNECT:
    case KW_ERR_RESOLVE:
    case KW_ERR_HANDSHAKE:
    case KW_ERR_QUEUE_TIMEOUT:
    case KW_ERR_POOL_FULL:
    case KW_ERR_TIMEOUT:
    case KW_ERR_CLOSED:
    case KW_ERR_REDIRECT:
    case KW_ERR_NOT_SERVED:
    case KW_ERR_CLUSTER_DOWN:
    case KW_ERR_TRY_AGAIN:
    case KW_ERR_LOADING:
    case KW_ERR_MASTER_DOWN:
    case KW_ERR_READONLY:
    case KW_ERR_BUSY:
    case KW_ERR_TOPOLOGY:
    case KW_ERR_QUEUE_FULL:
    case KW_ERR_NO_SENTINEL:
    case KW_ERR_NO_SERVICE:
    case KW_ERR_ROLE:
    case KW_ERR_IDENTITY:
        return true;
    default:
        return false;
    }
}

/* A scan inside a key knows no host, and a server's error does not say whose it is: the owner of
 * the key, by the map that its commands go by. */
static void name_owner(const kw_scan *scan, kw_error *error)
{
    if (error->node[0] != '\0' || scan->walk.spec.kind != KW_SCAN_OF_KEY) {
        return;
    }
    kw_node *owner = kw_topology_owner_of(scan->client->topology, scan->wish.key);
    if (owner != NULL) {
        kw_error_set_node(error, owner->name);
        kw_node_unref(owner);
    }
}

/* What failed, with whom it was asked of in front. */
static void take_trouble(kw_scan_request *request, const kw_error *error)
{
    kw_scan *scan = request->scan;
    const char *host = host_of(request);
    scan->trouble = *error;
    scan->trouble.size = sizeof(scan->trouble);
    name_owner(scan, &scan->trouble);
    if (host[0] != '\0') {
        kw_error_set(&scan->trouble, error->code, KW_EFFECT_NONE,
                     "%.100s stays away from the scan: %.250s", host, error->text);
        kw_error_set_node(&scan->trouble, error->node[0] != '\0' ? error->node : host);
        scan->trouble.attempts = error->attempts;
        scan->trouble.elapsed_ms = error->elapsed_ms;
    }
}

/* All types that were asked for are told, and one of them not at all. */
static void fail_types(kw_scan_request *request)
{
    if (request->types_open_n > 0) {
        return;
    }
    kw_scan_walk_on_failed(&request->scan->walk, &request->step, false);
    kw_scan_request_free(request);
}

void kw_scan_on_failure(kw_scan_request *request, const kw_error *error)
{
    kw_scan *scan = request->scan;
    take_trouble(request, error);
    if (error->code == KW_ERR_CANCELLED || error->code == KW_ERR_FORKED ||
        error->code == KW_ERR_NOMEM || request->need == KW_SCAN_NEEDS_MAP) {
        scan->failure = scan->trouble;
    }
    kw_scan_request *parent = request->parent;
    if (request->need == KW_SCAN_NEEDS_STEP) {
        kw_scan_walk_on_failed(&scan->walk, &request->step, !is_passing(scan, error->code));
    }
    kw_scan_request_free(request);
    if (parent != NULL) {
        parent->types_open_n--;
        parent->has_failed = true;
        fail_types(parent);
    }
}

/* The answer makes no sense. */
static void refuse(kw_scan_request *request, const char *text, size_t at)
{
    kw_error error = kw_error_none();
    kw_error_set(&error, KW_ERR_PROTOCOL, KW_EFFECT_NONE, "%s (at %zu)", text, at);
    kw_scan_on_failure(request, &error);
}

/* Sends the next command of the request; false, and the request has ended, where that fails. */
static bool send_next(kw_scan_request *request)
{
    kw_error error = kw_error_none();
    bool is_sent = kw_scan_send(request, &error);
    if (!is_sent) {
        kw_scan_on_failure(request, &error);
    }
    return is_sent;
}

static void on_info(kw_scan_request *request, const kw_reply *reply)
{
    kw_scan *scan = request->scan;
    if (!kw_scan_seen_info(request->seen, kw_reply_bytes(reply))) {
        refuse(request, "its INFO server has no run_id", 0);
        return;
    }
    bool is_known = scan->walk.hosts[request->step.host].keys_n > 0;
    if (scan->walk.spec.kind == KW_SCAN_OF_KEY || is_known) {
        uint64_t keys_n = scan->walk.hosts[request->step.host].keys_n;
        kw_scan_walk_on_told(&scan->walk, request->step.host, request->seen, keys_n);
        kw_scan_request_free(request);
        return;
    }
    request->question = KW_SCAN_ASKS_SIZE;
    (void)send_next(request);
}

static void on_question(kw_scan_request *request, const kw_reply *reply)
{
    kw_scan *scan = request->scan;
    size_t at;
    switch (request->question) {
    case KW_SCAN_ASKS_NODES:
        if (!kw_scan_seen_nodes(request->seen, &at, kw_reply_bytes(reply))) {
            refuse(request, "its CLUSTER NODES does not say what it is", at);
            return;
        }
        request->question = KW_SCAN_ASKS_INFO;
        (void)send_next(request);
        return;
    case KW_SCAN_ASKS_INFO:
        on_info(request, reply);
        return;
    case KW_SCAN_ASKS_SIZE: {
        long long keys_n = kw_reply_int(reply);
        kw_scan_walk_on_told(&scan->walk, request->step.host, request->seen,
                             keys_n > 0 ? (uint64_t)keys_n : 0);
        kw_scan_request_free(request);
        return;
    }
    }
}

/* The first of the elements, from index from on, that is no text; their number where all are. */
static size_t first_other(const kw_reply *array, size_t from)
{
    size_t n = kw_reply_count(array);
    while (from < n && kw_reply_str(kw_reply_at(array, from), NULL) != NULL) {
        from++;
    }
    return from;
}

/* Keeps a reply whose elements are keys; false, and the request has ended, where they are not. */
static bool take_keys(kw_scan_request *request, kw_reply *reply, const kw_reply *keys)
{
    size_t n = kw_reply_count(keys);
    size_t at = first_other(keys, 0);
    if (kw_reply_type(keys) != KW_REPLY_ARRAY || at < n) {
        kw_reply_free(reply);
        refuse(request, "it answers with something else than keys", at);
        return false;
    }
    request->reply = reply;
    request->keys = keys;
    return true;
}

static void on_page(kw_scan_request *request, kw_reply *reply)
{
    const kw_reply *keys = kw_reply_at(reply, 1);
    kw_scan_of of = request->scan->wish.of;
    bool has_values = of == KW_SCAN_FIELDS || of == KW_SCAN_SORTED_SET;
    kw_bytes cursor =
        kw_reply_count(reply) == 2 ? kw_reply_bytes(kw_reply_at(reply, 0)) : (kw_bytes){NULL, 0};
    if (!kw_bytes_to_uint(&request->cursor, cursor, UINT64_MAX) ||
        (has_values && kw_reply_count(keys) % 2 != 0)) {
        kw_reply_free(reply);
        refuse(request, "its page has no cursor, or a name without a value", 0);
    } else if (take_keys(request, reply, keys)) {
        kw_scan_request_is_ready(request);
    }
}

/* True where a key of a slot is wanted, but for its type. */
static bool is_wanted(const kw_scan_request *request, size_t index)
{
    const kw_scan_wish *wish = &request->scan->wish;
    kw_bytes key = kw_reply_bytes(kw_reply_at(request->keys, index));
    return wish->match.data == NULL || kw_glob_matches(wish->match, key);
}

static void ask_types(kw_scan_request *request)
{
    kw_scan *scan = request->scan;
    size_t keys_n = kw_reply_count(request->keys);
    while (!request->has_failed && request->types_open_n < TYPES_MAX && request->types_n < keys_n) {
        size_t index = request->types_n++;
        if (!is_wanted(request, index)) {
            continue;
        }
        kw_scan_request *child = kw_scan_request_new(scan, KW_SCAN_NEEDS_TYPE, NULL);
        if (child == NULL) {
            request->has_failed = true;
            break;
        }
        child->parent = request;
        child->index = index;
        request->types_open_n++;
        bool is_last = request->types_open_n == 1;
        if (!send_next(child) && is_last) {
            return; /* the request has ended with it */
        }
    }
    if (request->has_failed) {
        fail_types(request);
    } else if (request->types_open_n == 0) {
        kw_scan_request_is_ready(request);
    }
}

static void on_type(kw_scan_request *child, const kw_reply *reply)
{
    kw_scan_request *request = child->parent;
    bool is_it = kw_bytes_equal_nocase(kw_reply_bytes(reply), child->scan->wish.type);
    request->is_kept[child->index] = is_it ? 1 : 0;
    kw_scan_request_free(child);
    request->types_open_n--;
    ask_types(request);
}

static void on_slot(kw_scan_request *request, kw_reply *reply)
{
    kw_scan *scan = request->scan;
    size_t n = kw_reply_count(reply);
    if (!take_keys(request, reply, reply)) {
        return;
    }
    if (!kw_scan_walk_is_whole(&scan->walk, request->step.job, n)) {
        kw_scan_request_free(request);
        return;
    }
    if (scan->wish.type.data == NULL) {
        kw_scan_request_is_ready(request);
        return;
    }
    request->is_kept = kw_mem_calloc(&scan->mem, n + 1, 1);
    if (request->is_kept == NULL) {
        kw_error error = kw_error_none();
        kw_error_set(&error, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory for types of keys");
        kw_scan_on_failure(request, &error);
        return;
    }
    ask_types(request);
}

static void on_step(kw_scan_request *request, kw_reply *reply)
{
    kw_scan *scan = request->scan;
    switch (request->step.act) {
    case KW_SCAN_ASK:
        on_question(request, reply);
        kw_reply_free(reply);
        return;
    case KW_SCAN_PAGE:
    case KW_SCAN_LARGE:
        on_page(request, reply);
        return;
    case KW_SCAN_SLOT:
        on_slot(request, reply);
        return;
    case KW_SCAN_COUNT: {
        long long n = kw_reply_int(reply);
        kw_reply_free(reply);
        kw_scan_walk_on_count(&scan->walk, request->step.job, n > 0 ? (uint64_t)n : 0);
        kw_scan_request_free(request);
        return;
    }
    case KW_SCAN_ROSTER:
    case KW_SCAN_WAIT:
    case KW_SCAN_PAUSE:
    case KW_SCAN_FAIL_HOST:
    case KW_SCAN_FAIL_SLOT:
    case KW_SCAN_END:
        break;
    }
    kw_reply_free(reply);
}

void kw_scan_on_answer(kw_scan_request *request, kw_reply *reply)
{
    if (kw_reply_is_error(reply)) {
        kw_error error = kw_error_none();
        (void)kw_reply_outcome(reply, &error);
        kw_reply_free(reply);
        kw_scan_on_failure(request, &error);
    } else if (request->need == KW_SCAN_NEEDS_STEP) {
        on_step(request, reply);
    } else if (request->need == KW_SCAN_NEEDS_TYPE) {
        on_type(request, reply);
        kw_reply_free(reply);
    } else {
        kw_reply_free(reply);
        kw_scan_request_free(request);
    }
}

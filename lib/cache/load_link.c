/* SPDX-License-Identifier: BSD-3-Clause */
/* WATCH before the load, then MULTI, the script and EXEC in one send. */
#include "cache/load_link.h"

#include "base/error.h"
#include "base/resp.h"
#include "drive/plan.h"
#include "net/node.h"

#include <string.h>

static void release(kw_load_link *link, bool is_clean)
{
    if (link->conn == NULL) {
        return;
    }
    kw_error none = kw_error_none();
    kw_error_set(&none, KW_ERR_CANCELLED, KW_EFFECT_NONE, "a load was given up");
    kw_poller_remove(link->poller, &link->watch);
    if (!is_clean) {
        link->conn->state = KW_CONN_DEAD; /* what it watches goes with it */
    }
    kw_node_release_shared(link->node, link->conn, kw_env_now(&link->cache->topology->env),
                           link->is_known ? NULL : &none);
    link->conn = NULL;
}

static void end(kw_load_link *link, kw_load_link_state state)
{
    release(link, state == KW_LOAD_LINK_STORED);
    link->state = state;
    if (link->write != NULL) {
        link->write->end_fn(link->write);
        link->write = NULL;
    }
}

void kw_load_link_close(kw_load_link *link, bool has_forked)
{
    if (link->state == KW_LOAD_LINK_NONE) {
        return;
    }
    if (has_forked) {
        link->conn = NULL;
    }
    end(link, KW_LOAD_LINK_FAILED);
    for (size_t i = 0; i < 3; i++) {
        kw_reply_free(link->requests[i].reply);
        link->requests[i].reply = NULL;
    }
    kw_buf_fini(&link->encoded);
    kw_node_unref(link->node);
    link->node = NULL;
    link->state = KW_LOAD_LINK_NONE;
}

/* Appends a command, and has the request be it; its bytes are set by queue_all. */
static bool add(kw_load_link *link, size_t at, const kw_bytes *argv, size_t argc)
{
    size_t before = link->encoded.len;
    kw_request_init(&link->requests[at]);
    link->requests[at].is_shared = true;
    bool is_whole = kw_resp_append(&link->encoded, argv, argc);
    link->requests[at].bytes.len = link->encoded.len - before;
    return is_whole;
}

static kw_err queue_all(kw_load_link *link, size_t n)
{
    const char *at = link->encoded.data;
    kw_err code = KW_OK;
    for (size_t i = 0; i < n && code == KW_OK; i++) {
        link->requests[i].bytes.data = at;
        at += link->requests[i].bytes.len;
        code = kw_conn_queue(link->conn, NULL, &link->requests[i], false);
    }
    return code == KW_OK ? kw_conn_flush(link->conn, NULL) : code;
}

void kw_load_link_begin(kw_load_link *link, kw_cache *cache, kw_poller *poller, kw_bytes key,
                        uint64_t until_ns)
{
    uint64_t retry_ns;
    uint64_t now_ns = kw_env_now(&cache->topology->env);
    memset(link, 0, sizeof(*link));
    link->cache = cache;
    link->poller = poller;
    link->watch.socket = -1;
    link->until_ns = until_ns;
    kw_buf_init(&link->encoded, &cache->mem, NULL, 0);
    link->state = KW_LOAD_LINK_OPENING;
    link->node = kw_topology_owner_of(cache->topology, key);
    kw_bytes argv[2] = {kw_bytes_of("WATCH"), key};
    kw_err code = link->node != NULL && add(link, 0, argv, 2)
                      ? kw_node_open_shared(link->node, &link->conn, NULL, &retry_ns, now_ns)
                      : KW_ERR_NOMEM;
    if (code != KW_OK) {
        link->conn = NULL;
        end(link, KW_LOAD_LINK_FAILED);
        return;
    }
    link->is_known = link->conn->state == KW_CONN_READY;
    kw_load_link_go_on(link);
}

/* EXEC's answer is nil where the key was written, else what the script said. */
static bool is_stored(const kw_reply *reply)
{
    return kw_reply_type(reply) == KW_REPLY_ARRAY && kw_reply_count(reply) == 1 &&
           kw_reply_int(kw_reply_at(reply, 0)) == 1;
}

static void take_answers(kw_load_link *link)
{
    if (link->state == KW_LOAD_LINK_WATCHING && link->requests[0].is_done) {
        bool is_good = !kw_reply_is_error(link->requests[0].reply);
        kw_reply_free(link->requests[0].reply);
        link->requests[0].reply = NULL;
        link->state = KW_LOAD_LINK_OPEN;
        if (!is_good) {
            end(link, KW_LOAD_LINK_FAILED);
        }
    } else if (link->state == KW_LOAD_LINK_STORING && link->requests[2].is_done) {
        end(link, is_stored(link->requests[2].reply) ? KW_LOAD_LINK_STORED : KW_LOAD_LINK_FAILED);
    }
}

static kw_err progress(kw_load_link *link, uint64_t now_ns)
{
    kw_conn *conn = link->conn;
    short revents = link->watch.revents;
    link->watch.revents = 0;
    if (kw_conn_is_racing(conn, now_ns) || (revents != 0 && conn->state == KW_CONN_CONNECTING)) {
        kw_poller_remove(link->poller, &link->watch); /* it may go on with another socket */
    }
    kw_err code = kw_conn_check_overdue(conn, NULL, now_ns);
    if (code == KW_OK && (revents != 0 || conn->state != KW_CONN_READY)) {
        code = kw_conn_progress(conn, NULL, revents);
    }
    if (conn->was_ready && !link->is_known) {
        kw_node_on_ready(link->node, conn);
        link->is_known = true;
    }
    if (code == KW_OK && link->state == KW_LOAD_LINK_OPENING && kw_conn_is_settled(conn)) {
        link->state = KW_LOAD_LINK_WATCHING;
        code = queue_all(link, 1);
    }
    return code;
}

void kw_load_link_go_on(kw_load_link *link)
{
    uint64_t now_ns = kw_env_now(&link->cache->topology->env);
    bool is_under_way = link->state == KW_LOAD_LINK_OPENING ||
                        link->state == KW_LOAD_LINK_WATCHING || link->state == KW_LOAD_LINK_STORING;
    if (link->conn == NULL || (!is_under_way && link->watch.revents == 0)) {
        return;
    }
    kw_err code = is_under_way && now_ns >= link->until_ns ? KW_ERR_TIMEOUT : KW_OK;
    code = code == KW_OK ? progress(link, now_ns) : code;
    if (code == KW_OK) {
        take_answers(link);
    }
    if (code == KW_OK && link->conn != NULL) {
        code = kw_poller_set(link->poller, NULL, &link->watch, link->conn->socket,
                             kw_conn_events(link->conn));
    }
    if (code != KW_OK) {
        end(link, KW_LOAD_LINK_FAILED);
    }
}

/* Values near are told of the write before it is sent. */
static bool begin_write(kw_load_link *link, const kw_bytes *argv)
{
    kw_plan plan;
    memset(&plan, 0, sizeof(plan));
    plan.command = kw_command_find(argv, KW_LEASE_ARGC);
    kw_plan_task task = {.argv = argv, .argc = KW_LEASE_ARGC};
    bool is_told = kw_plan_begin_write(&plan, link->cache->topology, NULL, &task) == KW_OK;
    link->write = plan.write;
    return is_told;
}

void kw_load_link_store(kw_load_link *link, const kw_lease_ask *ask, uint64_t until_ns)
{
    kw_bytes argv[KW_LEASE_ARGC];
    kw_lease_space space;
    kw_bytes multi = kw_bytes_of("MULTI");
    kw_bytes exec = kw_bytes_of("EXEC");
    if (link->state != KW_LOAD_LINK_OPEN) {
        return;
    }
    kw_lease_argv(argv, &space, ask, false);
    link->encoded.len = 0;
    link->until_ns = until_ns;
    link->state = KW_LOAD_LINK_STORING;
    bool is_sent = begin_write(link, argv) && add(link, 0, &multi, 1) &&
                   add(link, 1, argv, KW_LEASE_ARGC) && add(link, 2, &exec, 1) &&
                   queue_all(link, 3) == KW_OK;
    if (!is_sent) {
        end(link, KW_LOAD_LINK_FAILED);
        return;
    }
    kw_load_link_go_on(link);
}

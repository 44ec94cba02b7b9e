/* SPDX-License-Identifier: BSD-3-Clause */
/* Sets up a lane to a scripted server, and sends numbered commands on it. */
#include "support/lane_stage.h"

#include "api/client.h"
#include "support/ask.h"

#include <keyway.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool echo(void *arg, kw_fake_call *call)
{
    kw_test_stage *stage = arg;
    size_t len;
    const char *name = kw_fake_call_argc(call) == 2 ? kw_fake_call_arg(call, 0, NULL) : "";
    if (strcmp(name, "ECHO") != 0) {
        return false;
    }
    if (atomic_load(&stage->is_mute)) {
        return true;
    }
    if (kw_test_strain_below(&stage->strain, 1000) < atomic_load(&stage->slow_permille)) {
        kw_test_sleep_ms(3);
    }
    const char *text = kw_fake_call_arg(call, 1, &len);
    kw_fake_call_bulk(call, text, len);
    if (kw_test_strain_below(&stage->strain, 1000) < atomic_load(&stage->close_permille)) {
        kw_fake_call_close(call);
    }
    return true;
}

void kw_test_stage_open(kw_test_stage *stage, const char *options, uint64_t seed)
{
    char uri[300];
    kw_error error = KW_ERROR_INIT;
    stage->fake = kw_fake_start();
    atomic_init(&stage->slow_permille, 0);
    atomic_init(&stage->is_mute, false);
    atomic_init(&stage->close_permille, 0);
    kw_fake_respond(stage->fake, echo, stage);
    kw_test_memory_init(&stage->memory, 0);
    kw_test_strain_init(&stage->strain, seed);
    kw_config *config = kw_test_config_new(&stage->memory.allocator);
    snprintf(uri, sizeof(uri), "%s?%s", kw_fake_uri(stage->fake), options);
    if (kw_config_set_uri(config, &error, uri) != KW_OK) {
        kw_test_die("%s: %s", uri, error.text);
    }
    stage->client = kw_open_config(config, &error);
    kw_config_free(config);
    if (stage->client == NULL) {
        kw_test_die("%s: %s", uri, error.text);
    }
    kw_env *env = &stage->client->topology->env;
    env->transport = &stage->strain.transport;
    stage->node = kw_node_new(env, &env->options.seeds[0]);
    stage->lane = &stage->node->lane;
}

void kw_test_stage_close(kw_test_stage *stage)
{
    kw_node_unref(stage->node);
    kw_close(stage->client);
    kw_fake_free(stage->fake);
    if (kw_test_memory_live(&stage->memory) != 0) {
        kw_test_die("%ld blocks of memory are left", kw_test_memory_live(&stage->memory));
    }
    if (kw_test_strain_count(&stage->strain, KW_TEST_OPEN) <
        kw_test_strain_count(&stage->strain, KW_TEST_CLOSE)) {
        kw_test_die("more sockets were closed than opened");
    }
}

void kw_test_stage_count(kw_test_stage *stage, unsigned char *counts, size_t n)
{
    kw_fake_entry entry;
    memset(counts, 0, n);
    for (size_t i = 0; kw_fake_log_at(stage->fake, i, &entry); i++) {
        unsigned number;
        if (sscanf(entry.text, "ECHO n:%u", &number) == 1 && number < n) {
            counts[number]++;
        }
    }
}

static size_t count_nobody(const kw_fifo *fifo)
{
    size_t n = 0;
    for (size_t i = 0; i < fifo->count; i++) {
        n += fifo->owners[(fifo->head + i) & (fifo->capacity - 1)].kind == KW_OWNER_NOBODY;
    }
    return n;
}

static const char *find_lane_leftover(const kw_lane *lane)
{
    if (lane->queue.head != NULL || lane->queue.n != 0 || lane->queue.len != 0) {
        return "a command in the queue";
    }
    if (lane->roles.reader.followers.first != NULL) {
        return "a sleeper";
    }
    if (!kw_lane_roles_are_free(&lane->roles)) {
        return "a role";
    }
    if (lane->stream.conn == NULL) {
        return lane->stream.tombstones_n != 0 ? "a tombstone" : NULL;
    }
    if (lane->stream.conn->owners.count > 0 && kw_lane_stream_is_dying(&lane->stream)) {
        return "a connection that was not buried";
    }
    return lane->stream.tombstones_n != count_nobody(&lane->stream.conn->owners)
               ? "a wrong count of tombstones"
               : NULL;
}

const char *kw_test_stage_find_leftover(kw_test_stage *stage)
{
    const kw_node *node = stage->node;
    const char *found = find_lane_leftover(stage->lane);
    if (found != NULL) {
        return found;
    }
    size_t idle_n = 0;
    bool is_opening = stage->lane->stream.conn != NULL && !stage->lane->stream.is_ready;
    for (const kw_conn *conn = node->idle; conn != NULL; conn = conn->next) {
        idle_n++;
        is_opening = is_opening || conn->state != KW_CONN_READY;
    }
    if (node->shared_n != (stage->lane->stream.conn != NULL)) {
        return "a shared connection";
    }
    if (node->conns_n != node->shared_n + idle_n) {
        return "a connection";
    }
    return node->health.dialling_n > 0 && !is_opening ? "a connect" : NULL;
}

kw_test_rider *kw_test_rider_new(unsigned number)
{
    kw_test_rider *rider = calloc(1, sizeof(*rider));
    if (rider == NULL) {
        kw_test_die("no memory");
    }
    rider->number = number;
    rider->failure.size = sizeof(rider->failure);
    int len = snprintf(rider->bytes, sizeof(rider->bytes), "*2\r\n$4\r\nECHO\r\n$8\r\nn:%06u\r\n",
                       number);
    rider->waiter.request.bytes = (kw_bytes){rider->bytes, (size_t)len};
    rider->waiter.failure = &rider->failure;
    return rider;
}

void kw_test_rider_free(kw_test_rider *rider)
{
    kw_reply_free(rider->waiter.request.reply);
    free(rider);
}

bool kw_test_rider_is_right(const kw_test_rider *rider)
{
    char text[20];
    snprintf(text, sizeof(text), "n:%06u", rider->number);
    const kw_reply *reply = rider->waiter.request.reply;
    const char *got = kw_reply_str(reply, NULL);
    return kw_reply_type(reply) == KW_REPLY_STRING && got != NULL && strcmp(got, text) == 0;
}

kw_err kw_test_rider_run(kw_test_stage *stage, kw_test_rider *rider, unsigned timeout_ms)
{
    uint64_t now_ns = kw_test_now_ns();
    uint64_t until_ns = now_ns + timeout_ms * (uint64_t)1000000;
    kw_err code = kw_lane_submit(stage->lane, &rider->failure, &rider->waiter, now_ns, until_ns);
    if (code != KW_OK) {
        return code;
    }
    code = kw_lane_wait(stage->lane, &rider->waiter, &now_ns, until_ns);
    if (code != KW_OK && kw_lane_abandon(stage->lane, &rider->waiter, now_ns)) {
        return KW_OK;
    }
    return code;
}

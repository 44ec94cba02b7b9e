/* SPDX-License-Identifier: BSD-3-Clause */
/* The harms: killed, stopped, cut off, slowed, emptied and repaired. */
#include "support/quorum_harm.h"

#include <keyway/client.h>
#include <keyway/quorum.h>

#include <hiredis.h>
#include <stdio.h>
#include <string.h>

#include "engine/quorum_script.h"
#include "support/ask.h"
#include "support/check.h"
#include "support/keeper.h"

uint32_t kw_test_crowd_epoch(const kw_test_board *shared)
{
    return (uint32_t)((kw_test_real_ns() - shared->begin_ns) / shared->epoch_ns);
}

bool kw_test_crowd_has_room(kw_test_board *shared, uint32_t key)
{
    atomic_uint_fast64_t *place = &shared->acts_n[key % (2 * KEYS_N)];
    uint_fast64_t old = atomic_load(place);
    uint64_t n;
    do {
        n = old >> 32 == key ? old & UINT32_MAX : 0;
    } while (n < LONG_N &&
             !atomic_compare_exchange_weak(place, &old, (uint64_t)key << 32 | (n + 1)));
    return n < LONG_N;
}

void kw_test_crowd_note(kw_test_board *shared, uint32_t key, const kw_test_act *act)
{
    size_t n = atomic_load(&shared->notes_n[act->client]);
    if (n == ACTS_MAX) {
        kw_test_die("more than %u acts of a client: what is not noted would be a violation",
                    ACTS_MAX);
    }
    shared->notes[act->client][n].key = key;
    shared->notes[act->client][n].act = *act;
    atomic_store(&shared->notes_n[act->client], n + 1);
}

static void harm(kw_test_crowd *self)
{
    unsigned at = (unsigned)kw_random_below(&self->random, SERVERS_N);
    unsigned span_ms = 20 + (unsigned)kw_random_below(&self->random, 400);
    kw_test_server *server = self->servers[at];
    kw_test_door *door = self->doors[at];
    self->faults_n++;
    switch (kw_random_below(&self->random, 4)) {
    case 0:
        kw_test_server_kill(server);
        kw_test_sleep_ms(span_ms);
        kw_test_server_restart(server);
        break;
    case 1:
        kw_test_server_pause(server);
        kw_test_sleep_ms(span_ms);
        kw_test_server_resume(server);
        break;
    case 2:
        kw_test_door_set(door, KW_TEST_DOOR_SLOW);
        kw_test_sleep_ms(span_ms);
        kw_test_door_set(door, KW_TEST_DOOR_OPEN);
        break;
    default:
        kw_test_door_set(door, KW_TEST_DOOR_SHUT);
        kw_test_sleep_ms(span_ms);
        if (kw_random_below(&self->random, 2) == 0) {
            kw_test_door_reset(door); /* what was under way is lost, and not just late */
        }
        kw_test_door_set(door, KW_TEST_DOOR_OPEN);
        break;
    }
    kw_test_sleep_ms(30 + (unsigned)kw_random_below(&self->random, 150));
}

void kw_test_crowd_mark(kw_test_server *server)
{
    kw_test_server_ok(server, "SET %s 1", KW_QUORUM_MARKER);
}

/* Each key that the server holds, on all its copies. */
static void repair_keys_of(kw_quorum *quorum, kw_test_server *server)
{
    redisReply *keys = kw_test_server_command(server, "KEYS key[0-9]*"); /* a few hundred */
    for (size_t i = 0; i < keys->elements;) {
        kw_quorum_request request = KW_QUORUM_REQUEST_INIT;
        request.act = KW_QUORUM_ACT_REPAIR;
        request.key = keys->element[i]->str;
        request.key_len = (size_t)keys->element[i]->len;
        kw_error error = KW_ERROR_INIT;
        kw_quorum_results *results = kw_quorum_run(quorum, &error, &request, 1, 0);
        bool is_done = results != NULL && kw_quorum_result(results, &error, 0) == KW_OK;
        i += is_done ? 1 : 0; /* else again */
        kw_quorum_results_free(results);
    }
    freeReplyObject(keys);
}

static void restart_empty(kw_test_server *server)
{
    char path[300];
    kw_test_server_kill(server);
    snprintf(path, sizeof(path), "%s/appendonlydir", kw_test_server_folder(server));
    kw_test_folder_remove(path);
    snprintf(path, sizeof(path), "%s/appendonly.aof", kw_test_server_folder(server));
    (void)remove(path); /* of Redis before 7 */
    kw_test_server_restart(server);
    if (kw_test_server_integer(server, "DBSIZE") != 0) {
        kw_test_die("the server is not empty");
    }
}

/* A server comes back without its data, and is repaired from the others. */
static void empty(kw_test_crowd *self)
{
    unsigned at = (unsigned)kw_random_below(&self->random, SERVERS_N);
    kw_test_server *server = self->servers[at];
    restart_empty(server);
    kw_test_sleep_ms((unsigned)kw_random_below(&self->random, 100));
    kw_error error = KW_ERROR_INIT;
    kw_client *client = kw_test_try_open(self->uri, &error);
    kw_quorum *quorum = client != NULL ? kw_quorum_new(client, &error) : NULL;
    if (quorum == NULL) {
        kw_test_die("%s", error.text);
    }
    for (unsigned i = 0; i < SERVERS_N; i++) {
        if (i != at) {
            repair_keys_of(quorum, self->servers[i]);
        }
    }
    kw_quorum_free(quorum);
    kw_close(client);
    kw_test_crowd_mark(server);
    self->faults_n++;
    kw_test_sleep_ms((unsigned)kw_random_below(&self->random, 100));
}

static uint32_t pick_key(kw_test_crowd *self)
{
    return kw_test_crowd_epoch(self->board) * KEYS_N +
           (uint32_t)kw_random_below(&self->random, KEYS_N);
}

/* Servers that have a copy of the key, in any order; how many. */
static unsigned find_holders(kw_test_crowd *self, unsigned holders[SERVERS_N], uint32_t key)
{
    unsigned n = 0;
    unsigned first = (unsigned)kw_random_below(&self->random, SERVERS_N);
    for (unsigned i = 0; i < SERVERS_N; i++) {
        unsigned at = (first + i) % SERVERS_N;
        if (kw_test_server_integer(self->servers[at], "EXISTS key%u", key) == 1) {
            holders[n++] = at;
        }
    }
    return n;
}

/* Empties a server that nobody repairs: it forgets writes that another copy has missed. */
static void forget(kw_test_crowd *self)
{
    unsigned at[SERVERS_N];
    if (find_holders(self, at, pick_key(self)) < 3) {
        kw_test_sleep_ms(2);
        return;
    }
    kw_test_door *behind = self->doors[at[0]];
    kw_test_server *emptied = self->servers[at[1]];
    kw_test_door_set(behind, KW_TEST_DOOR_SHUT);
    kw_test_sleep_ms(50);
    restart_empty(emptied);
    kw_test_door_set(self->doors[at[2]], KW_TEST_DOOR_SHUT);
    kw_test_crowd_mark(emptied);
    kw_test_door_reset(behind);
    kw_test_door_set(behind, KW_TEST_DOOR_OPEN);
    kw_test_sleep_ms(50);
    kw_test_door_set(self->doors[at[2]], KW_TEST_DOOR_OPEN);
    self->faults_n++;
}

/* What is left of a writer that dies midway: its write has come to one copy. */
static void write_to_one(kw_test_crowd *self, uint32_t key, kw_test_server *server)
{
    redisReply *old = kw_test_server_command(server, "GET key%u", key);
    kw_record record = {.stamp = {0, 1}};
    kw_bytes bytes = {old->str, (size_t)old->len};
    if (old->type == REDIS_REPLY_STRING && kw_record_get(&record, bytes)) {
        kw_test_act act = {.client = CLIENTS_N, .kind = KW_TEST_WRITE, .end = KW_TEST_NEVER};
        act.value = (uint64_t)(CLIENTS_N + 1) << 40 | ++self->faults_n;
        kw_record fresh = {.stamp = {record.stamp.time + 1, 1}};
        fresh.origin = fresh.stamp;
        unsigned char text[KW_RECORD_HEAD_MAX + sizeof(act.value)];
        size_t len = kw_record_put_head(text, &fresh);
        memcpy(text + len, &act.value, sizeof(act.value));
        act.begin = kw_test_real_ns();
        kw_test_crowd_note(self->board, key, &act);
        freeReplyObject(
            kw_test_server_command(server, "EVAL %s 1 key%u %s %b", kw_quorum_script()->text.data,
                                   key, "s0 h 86400000 43200000", text, len + sizeof(act.value)));
    }
    freeReplyObject(old);
}

/* For a while the other copies take no writes, and answer reads: what one copy has is read
 * or not, as it happens, unless a read brings it to others before it is answered. */
static void halve(kw_test_crowd *self)
{
    unsigned at[SERVERS_N];
    uint32_t key = pick_key(self);
    unsigned n = find_holders(self, at, key);
    for (unsigned i = 1; i < n; i++) {
        kw_test_server_ok(self->servers[at[i]], "CONFIG SET min-replicas-to-write 1");
    }
    if (n > 0) {
        write_to_one(self, key, self->servers[at[0]]);
    }
    kw_test_sleep_ms(15);
    for (unsigned i = 1; i < n; i++) {
        kw_test_server_ok(self->servers[at[i]], "CONFIG SET min-replicas-to-write 0");
    }
    kw_test_sleep_ms(5);
}

/* Puts what a server held a while ago back, past the script and its check of versions. */
static void roll_back(kw_test_crowd *self)
{
    uint32_t key = kw_test_crowd_epoch(self->board) * KEYS_N;
    redisReply *old[SERVERS_N];
    for (unsigned i = 0; i < SERVERS_N; i++) {
        old[i] = kw_test_server_command(self->servers[i], "GET key%u", key);
    }
    kw_test_sleep_ms(20);
    for (unsigned i = 0; i < SERVERS_N; i++) {
        if (old[i]->type == REDIS_REPLY_STRING) {
            freeReplyObject(kw_test_server_command(self->servers[i], "SET key%u %b", key,
                                                   old[i]->str, (size_t)old[i]->len));
        }
        freeReplyObject(old[i]);
    }
    self->faults_n++;
}

void kw_test_crowd_harm(kw_test_crowd *self)
{
    const kw_test_crowd_plan *plan = self->plan;
    if (plan->rolls_back) {
        roll_back(self);
    } else if (plan->skips_repair) {
        forget(self);
    } else if (plan->has_halves) {
        halve(self);
    } else if (plan->empties) {
        empty(self);
    } else if (plan->is_calm) {
        kw_test_sleep_ms(50);
    } else {
        harm(self);
    }
}

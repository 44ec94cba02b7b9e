/* SPDX-License-Identifier: BSD-3-Clause */
/* Moves slots between the nodes of a test's cluster, as operators do. */
#include "support/cluster.h"

#include <hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/check.h"
#include "support/cluster_heal.h"
#include "support/cluster_view.h"
#include "support/link.h"

enum { KEYS_A_ROUND = 100, NODES_MAX = 64, OWNER_WAIT_MS = 60000, OWNER_POLL_MS = 20 };

/* The move of slots to one node: its connections, opened when they are needed. */
typedef struct mover {
    kw_test_cluster *cluster;
    size_t to; /* number of the node that gets the slots */
    kw_test_link *links[NODES_MAX];
} mover;

static size_t node_number(const kw_test_cluster *cluster, const char *id)
{
    for (size_t i = 0; i < kw_test_cluster_count(cluster); i++) {
        if (strcmp(kw_test_cluster_id(cluster, kw_test_cluster_node(cluster, i)), id) == 0) {
            return i;
        }
    }
    kw_test_die("the cluster has no node %s", id);
}

static const char *id_of(const mover *it, size_t index)
{
    return kw_test_cluster_id(it->cluster, kw_test_cluster_node(it->cluster, index));
}

static void mover_init(mover *it, kw_test_cluster *cluster, const kw_test_server *to)
{
    memset(it, 0, sizeof(*it));
    it->cluster = cluster;
    it->to = node_number(cluster, kw_test_cluster_id(cluster, to));
}

static void mover_fini(mover *it)
{
    for (size_t i = 0; i < NODES_MAX; i++) {
        kw_test_link_close(it->links[i]);
    }
}

static kw_test_link *link_to(mover *it, size_t index)
{
    if (it->links[index] == NULL) {
        it->links[index] = kw_test_server_link(kw_test_cluster_node(it->cluster, index));
    }
    return it->links[index];
}

/* CLUSTER SETSLOT with what becomes of the slot and with whom, at a node. Valkey 8 asks its
 * replicas first: where they are late, it is asked again. */
static redisReply *ask_set_slot(mover *it, size_t index, unsigned slot, const char *what,
                                const char *id)
{
    redisReply *reply = NULL;
    bool is_late = true;
    for (unsigned tries = 0; is_late && tries < OWNER_WAIT_MS / OWNER_POLL_MS; tries++) {
        if (reply != NULL) {
            freeReplyObject(reply);
            kw_test_sleep_ms(OWNER_POLL_MS);
        }
        reply =
            id == NULL
                ? kw_test_link_ask(link_to(it, index), "CLUSTER SETSLOT %u %s", slot, what)
                : kw_test_link_ask(link_to(it, index), "CLUSTER SETSLOT %u %s %s", slot, what, id);
        if (reply == NULL) {
            kw_test_die("SETSLOT %u %s: no answer", slot, what);
        }
        is_late = reply->type == REDIS_REPLY_ERROR && strncmp(reply->str, "NOREPLICAS", 10) == 0;
    }
    return reply;
}

/* Stops the program where the answer is no status. */
static void expect_ok(redisReply *reply, const char *what, unsigned slot)
{
    if (reply == NULL || reply->type != REDIS_REPLY_STATUS) {
        kw_test_die("%s of slot %u: %s", what, slot, reply == NULL ? "no answer" : reply->str);
    }
    freeReplyObject(reply);
}

static void set_slot(mover *it, size_t index, unsigned slot, const char *what, const char *id)
{
    expect_ok(ask_set_slot(it, index, slot, what, id), what, slot);
}

static size_t source_of(mover *it, unsigned slot)
{
    kw_test_server *owner = kw_test_cluster_owner(it->cluster, slot);
    if (owner == NULL) {
        kw_test_die("nobody serves slot %u", slot);
    }
    return node_number(it->cluster, kw_test_cluster_id(it->cluster, owner));
}

static void begin(mover *it, unsigned slot, size_t from)
{
    set_slot(it, it->to, slot, "IMPORTING", id_of(it, from));
    set_slot(it, from, slot, "MIGRATING", id_of(it, it->to));
}

typedef struct arguments {
    int argc;
    const char *argv[KEYS_A_ROUND + 16];
    size_t lens[KEYS_A_ROUND + 16];
} arguments;

static void add(arguments *args, const char *bytes, size_t len)
{
    args->argv[args->argc] = bytes;
    args->lens[args->argc] = len;
    args->argc++;
}

static void add_word(arguments *args, const char *word)
{
    add(args, word, strlen(word));
}

static void migrate(mover *it, unsigned slot, size_t from, const redisReply *keys)
{
    arguments args;
    char port[8];
    kw_test_server *to = kw_test_cluster_node(it->cluster, it->to);
    const char *password = kw_test_server_password(to);
    snprintf(port, sizeof(port), "%u", kw_test_server_port(to));
    args.argc = 0;
    add_word(&args, "MIGRATE");
    add_word(&args, "127.0.0.1");
    add_word(&args, port);
    add_word(&args, "");
    add_word(&args, "0");
    add_word(&args, "5000");
    if (password != NULL) {
        add_word(&args, "AUTH");
        add_word(&args, password);
    }
    add_word(&args, "KEYS");
    for (size_t i = 0; i < keys->elements; i++) {
        add(&args, keys->element[i]->str, (size_t)keys->element[i]->len);
    }
    expect_ok(kw_test_link_argv(link_to(it, from), args.argc, args.argv, args.lens), "MIGRATE",
              slot);
}

/* At most keys_max keys; how many there were. */
static size_t move_keys(mover *it, unsigned slot, size_t from, size_t keys_max)
{
    size_t moved = 0;
    while (moved < keys_max) {
        size_t ask = keys_max - moved < KEYS_A_ROUND ? keys_max - moved : KEYS_A_ROUND;
        redisReply *keys =
            kw_test_link_ask(link_to(it, from), "CLUSTER GETKEYSINSLOT %u %u", slot, (unsigned)ask);
        if (keys == NULL || keys->type != REDIS_REPLY_ARRAY) {
            kw_test_die("GETKEYSINSLOT %u: %s", slot, keys == NULL ? "no answer" : keys->str);
        }
        size_t count = keys->elements;
        if (count > 0) {
            migrate(it, slot, from, keys);
        }
        freeReplyObject(keys);
        moved += count;
        if (count == 0) {
            break;
        }
    }
    return moved;
}

/* The new owner first: it must know before anybody is sent there. */
static void end(mover *it, unsigned slot, size_t from)
{
    const char *id = id_of(it, it->to);
    set_slot(it, it->to, slot, "NODE", id);
    set_slot(it, from, slot, "NODE", id);
    for (size_t i = 0; i < kw_test_cluster_count(it->cluster); i++) {
        if (i == from || i == it->to || !kw_test_cluster_is_living(it->cluster, i)) {
            continue;
        }
        /* Replicas refuse, and learn of it from their primary. */
        freeReplyObject(ask_set_slot(it, i, slot, "NODE", id));
    }
}

/* For each slot from first to last the number of its node, once all living nodes agree on it: what
 * goes on before that may end with two nodes that take each other for it. */
static void await_owners(const kw_test_cluster *cluster, int *owners, unsigned first, unsigned last)
{
    uint64_t end_ms = kw_test_now_ms() + OWNER_WAIT_MS;
    uint64_t since_ms = kw_test_now_ms();
    kw_test_views *views = kw_test_views_fetch(cluster);
    for (unsigned slot = first; slot <= last;) {
        const char *id = kw_test_views_owner(views, slot);
        size_t owner = id == NULL ? 0 : node_number(cluster, id);
        if (id != NULL && kw_test_cluster_is_living(cluster, owner)) {
            owners[slot] = (int)owner;
            slot++;
            continue;
        }
        if (kw_test_now_ms() >= end_ms) {
            kw_test_cluster_tell(cluster);
            kw_test_die("nodes do not agree on slot %u", slot);
        }
        kw_test_cluster_heal_late(cluster, &since_ms);
        kw_test_sleep_ms(OWNER_POLL_MS);
        free(views);
        views = kw_test_views_fetch(cluster);
        slot = first;
    }
    free(views);
}

void kw_test_cluster_move(kw_test_cluster *cluster, unsigned first, unsigned last,
                          kw_test_server *to)
{
    mover it;
    int owners[KW_TEST_SLOTS];
    mover_init(&it, cluster, to);
    await_owners(cluster, owners, first, last);
    for (unsigned slot = first; slot <= last; slot++) {
        size_t from = (size_t)owners[slot];
        if (from != it.to) {
            begin(&it, slot, from);
            move_keys(&it, slot, from, (size_t)-1);
            end(&it, slot, from);
        }
    }
    mover_fini(&it);
}

void kw_test_cluster_move_begin(kw_test_cluster *cluster, unsigned slot, kw_test_server *to)
{
    mover it;
    int owners[KW_TEST_SLOTS];
    mover_init(&it, cluster, to);
    await_owners(cluster, owners, slot, slot);
    begin(&it, slot, (size_t)owners[slot]);
    mover_fini(&it);
}

size_t kw_test_cluster_move_keys(kw_test_cluster *cluster, unsigned slot, kw_test_server *to,
                                 size_t keys_max)
{
    mover it;
    mover_init(&it, cluster, to);
    size_t moved = move_keys(&it, slot, source_of(&it, slot), keys_max);
    mover_fini(&it);
    return moved;
}

void kw_test_cluster_move_end(kw_test_cluster *cluster, unsigned slot, kw_test_server *to)
{
    mover it;
    mover_init(&it, cluster, to);
    end(&it, slot, source_of(&it, slot));
    mover_fini(&it);
}

void kw_test_cluster_move_cancel(kw_test_cluster *cluster, unsigned slot, kw_test_server *to)
{
    mover it;
    mover_init(&it, cluster, to);
    size_t from = source_of(&it, slot);
    set_slot(&it, from, slot, "STABLE", NULL);
    set_slot(&it, it.to, slot, "STABLE", NULL);
    mover_fini(&it);
}

/* Whether the server has that subcommand of CLUSTER. */
static bool has_command(kw_test_server *server, const char *name)
{
    redisReply *reply = kw_test_server_command(server, "COMMAND INFO cluster|%s", name);
    bool has = reply->type == REDIS_REPLY_ARRAY && reply->elements == 1 &&
               reply->element[0]->type == REDIS_REPLY_ARRAY && reply->element[0]->elements > 0;
    freeReplyObject(reply);
    return has;
}

bool kw_test_cluster_move_whole(kw_test_cluster *cluster, unsigned first, unsigned last,
                                kw_test_server *to)
{
    kw_test_server *from = kw_test_cluster_owner(cluster, first);
    if (has_command(to, "migrateslots")) {
        kw_test_server_ok(from, "CLUSTER MIGRATESLOTS SLOTSRANGE %u %u NODE %s", first, last,
                          kw_test_cluster_id(cluster, to));
    } else if (has_command(to, "migration")) {
        redisReply *task =
            kw_test_server_command(to, "CLUSTER MIGRATION IMPORT %u %u", first, last);
        if (task->type == REDIS_REPLY_ERROR) {
            kw_test_die("CLUSTER MIGRATION IMPORT: %s", task->str);
        }
        freeReplyObject(task);
    } else {
        return false;
    }
    return kw_test_cluster_wait_owner(cluster, first, from, 60000) == to &&
           kw_test_cluster_wait_owner(cluster, last, from, 60000) == to;
}

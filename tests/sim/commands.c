/* SPDX-License-Identifier: BSD-3-Clause */
/* What servers answer, and what they run: each run of a command is accounted, and its number is in
 * the reply where the reply has room for it. */
#include "sim/leases.h"

#include "route/slot.h"

#include <stdio.h>
#include <string.h>

#define KEYS_MAX 8

unsigned sim_account_run(sim_server *server, unsigned id)
{
    if (id == 0 || id >= SIM_IDS) {
        sim_fail("a server got a command of nobody: number %u", id);
    }
    if (sim_the_world.runs_n + 1 >= SIM_RUNS) {
        sim_fail("the servers have run %u commands: more than were given", SIM_RUNS);
    }
    sim_strangers_check(server, id);
    sim_account *account = &sim_the_world.accounts[id];
    unsigned run = ++sim_the_world.runs_n;
    sim_the_world.run_ids[run] = id;
    account->first_run = account->runs_n == 0 ? run : account->first_run;
    account->last_run = run;
    account->runs_n++;
    sim_say("server %u runs command %u (run %u)", server->number, id, run);
    sim_mix_in(id);
    return run;
}

static const struct {
    const char *text;
} conditions[SIM_CONDITIONS_N] = {
    [SIM_LOADING] = {"-LOADING Redis is loading the dataset in memory\r\n"},
    [SIM_BUSY] = {"-BUSY Redis is busy running a script.\r\n"},
    [SIM_READONLY] = {"-READONLY You can't write against a read only replica.\r\n"},
    [SIM_MASTER_DOWN] = {"-MASTERDOWN Link with MASTER is down\r\n"},
    [SIM_CLUSTER_DOWN] = {"-CLUSTERDOWN The cluster is down\r\n"},
    [SIM_TRY_AGAIN] = {"-TRYAGAIN Multiple keys request during rehashing of slot\r\n"},
    [SIM_OUT_OF_MEMORY] = {"-OOM command not allowed when used memory > 'maxmemory'.\r\n"},
    [SIM_NO_AUTH] = {"-NOAUTH Authentication required.\r\n"},
};

/* A command on data, as far as checks go. */
typedef struct request {
    bool reads;
    unsigned ids[KEYS_MAX];
    unsigned slots[KEYS_MAX];
    size_t keys_n;
} request;

static void add_key(request *self, const sim_word *key, unsigned id)
{
    if (self->keys_n == KEYS_MAX) {
        sim_fail("a command of many keys");
    }
    self->slots[self->keys_n] = kw_slot_of(key->data, key->len);
    self->ids[self->keys_n++] = id;
}

/* Keys of their own have the command's number behind the colon: "{k3}:17". */
static unsigned key_id(const sim_word *key)
{
    const char *colon = memchr(key->data, ':', key->len);
    if (colon == NULL) {
        return 0;
    }
    sim_word rest = {colon + 1, key->len - (size_t)(colon + 1 - key->data)};
    return sim_word_number(&rest);
}

/* True for a command on data. */
static bool read_request(request *self, const sim_word *argv, size_t argc)
{
    memset(self, 0, sizeof(*self));
    self->reads = sim_word_is(&argv[0], "HGET") || sim_word_is(&argv[0], "MGET");
    if (argc > 2 && (sim_word_is(&argv[0], "HGET") || sim_word_is(&argv[0], "RPUSH") ||
                     sim_word_is(&argv[0], "SET"))) {
        add_key(self, &argv[1], sim_word_number(&argv[2]));
    } else if (argc > 1 && sim_word_is(&argv[0], "MGET")) {
        for (size_t i = 1; i < argc; i++) {
            add_key(self, &argv[i], key_id(&argv[i]));
        }
    } else if (argc > 2 && sim_word_is(&argv[0], "MSET")) {
        for (size_t i = 1; i < argc; i += 2) {
            add_key(self, &argv[i], key_id(&argv[i]));
        }
    } else if (argc > 2 && sim_word_is(&argv[0], "BLPOP")) {
        add_key(self, &argv[1], key_id(&argv[1]));
    }
    return self->keys_n > 0;
}

/* True where the server runs nothing of the kind just now, and has said why. */
bool sim_peer_is_unwell(sim_peer *peer, bool reads)
{
    const sim_server *server = peer->server;
    sim_condition condition = server->condition;
    bool concerns_all = condition != SIM_READONLY && condition != SIM_OUT_OF_MEMORY;
    if ((condition == SIM_TRY_AGAIN || server->is_fitful) && !sim_one_in(2)) {
        condition = SIM_WELL;
    }
    if (condition != SIM_WELL && (concerns_all || !reads)) {
        sim_peer_say(peer, "%s", conditions[condition].text);
        return true;
    }
    return false;
}

bool sim_peer_is_refused(sim_peer *peer, const unsigned *slots, size_t slots_n, bool reads)
{
    const sim_server *server = peer->server;
    bool is_replica = server->primary != server->number;
    if (sim_peer_is_unwell(peer, reads)) {
        return true;
    }
    if (sim_the_world.plan->kind == SIM_CLUSTER) {
        return sim_cluster_redirects(peer, slots, slots_n, reads);
    }
    if (is_replica && !reads) {
        sim_peer_say(peer, "%s", conditions[SIM_READONLY].text);
        return true;
    }
    return false;
}

/* True where the server does not run it, and has said why. */
static bool is_refused(sim_peer *peer, const request *asked)
{
    return sim_peer_is_refused(peer, asked->slots, asked->keys_n, asked->reads);
}

static void answer_values(sim_peer *peer, const request *asked)
{
    char text[1024];
    int len = snprintf(text, sizeof(text), "*%zu\r\n", asked->keys_n);
    for (size_t i = 0; i < asked->keys_n; i++) {
        char value[40];
        int value_len = snprintf(value, sizeof(value), "%u.%u", asked->ids[i],
                                 sim_account_run(peer->server, asked->ids[i]));
        len += snprintf(text + len, sizeof(text) - (size_t)len, "$%d\r\n%s\r\n", value_len, value);
    }
    sim_peer_say(peer, "%s", text);
}

static void answer_value(sim_peer *peer, unsigned id)
{
    char value[40];
    int len = snprintf(value, sizeof(value), "%u.%u", id, sim_account_run(peer->server, id));
    sim_peer_say(peer, "$%d\r\n%s\r\n", len, value);
}

/* An element comes, or nothing does: the client's time is over. */
static void unblock(void *arg, uint64_t blocks_n)
{
    sim_peer *peer = arg;
    if (peer->server == NULL || !peer->is_blocked || peer->blocks_n != blocks_n / 2 ||
        !peer->server->is_there) {
        return;
    }
    if (peer->server->is_stopped) {
        sim_at(sim_now() + 10 * SIM_MS, unblock, peer, blocks_n);
        return;
    }
    if (peer->socket->up.is_reset || peer->socket->up.is_ended) {
        blocks_n |= 1; /* nobody is there: nothing is taken */
    }
    peer->is_blocked = false;
    peer->has_more = true;
    if (blocks_n % 2 == 0) {
        char value[40];
        int len = snprintf(value, sizeof(value), "%u.%u", peer->blocked_id,
                           sim_account_run(peer->server, peer->blocked_id));
        sim_peer_say(peer, "*2\r\n$1\r\nk\r\n$%d\r\n%s\r\n", len, value);
    } else {
        sim_peer_say(peer, "%s", peer->is_resp3 ? "_\r\n" : "*-1\r\n");
    }
    peer->server->host->on_bytes(peer->server, peer->socket);
}

static uint64_t ms_of(const sim_word *seconds)
{
    double value = 0;
    char text[32];
    snprintf(text, sizeof(text), "%.*s", (int)seconds->len, seconds->data);
    return sscanf(text, "%lf", &value) == 1 ? (uint64_t)(value * 1000) : 0;
}

static void block(sim_peer *peer, unsigned id, const sim_word *timeout)
{
    uint64_t wait_ms = ms_of(timeout);
    uint64_t comes_ms = sim_between(0, 600);
    bool comes = wait_ms == 0 || comes_ms < wait_ms;
    peer->is_blocked = true;
    peer->blocked_id = id;
    peer->blocks_n++;
    sim_say("server %u blocks command %u", peer->server->number, id);
    sim_at(sim_now() + (comes ? comes_ms : wait_ms) * SIM_MS, unblock, peer,
           2 * peer->blocks_n + (comes ? 0 : 1));
}

static void run_data(sim_peer *peer, const sim_word *argv, size_t argc, const request *asked)
{
    sim_server *server = peer->server;
    if (sim_word_is(&argv[0], "HGET")) {
        answer_value(peer, asked->ids[0]);
    } else if (sim_word_is(&argv[0], "RPUSH")) {
        sim_peer_say(peer, ":%u\r\n", sim_account_run(server, asked->ids[0]));
    } else if (sim_word_is(&argv[0], "SET")) {
        sim_account_run(server, asked->ids[0]);
        sim_peer_say(peer, "+OK\r\n");
    } else if (sim_word_is(&argv[0], "MGET")) {
        answer_values(peer, asked);
    } else if (sim_word_is(&argv[0], "MSET")) {
        for (size_t i = 0; i < asked->keys_n; i++) {
            sim_account_run(server, asked->ids[i]);
        }
        sim_peer_say(peer, "+OK\r\n");
    } else {
        block(peer, asked->ids[0], &argv[argc - 1]);
    }
}

/* Transactions. */

static void queue(sim_peer *peer, const sim_word *argv, const request *asked)
{
    if (is_refused(peer, asked)) {
        peer->is_spoilt = true;
        return;
    }
    if (peer->queued_n == SIM_QUEUED || !sim_word_is(&argv[0], "RPUSH")) {
        sim_fail("only RPUSH is queued, and not that often");
    }
    peer->queued[peer->queued_n++] = asked->ids[0];
    sim_peer_say(peer, "+QUEUED\r\n");
}

static void exec(sim_peer *peer)
{
    char text[512];
    bool is_spoilt = peer->is_spoilt;
    int len = snprintf(text, sizeof(text), "*%u\r\n", peer->queued_n);
    if (!peer->is_in_multi) {
        sim_peer_say(peer, "-ERR EXEC without MULTI\r\n");
        return;
    }
    for (unsigned i = 0; i < peer->queued_n && !is_spoilt; i++) {
        len += snprintf(text + len, sizeof(text) - (size_t)len, ":%u\r\n",
                        sim_account_run(peer->server, peer->queued[i]));
    }
    peer->is_in_multi = false;
    peer->is_spoilt = false;
    peer->queued_n = 0;
    sim_peer_say(peer, "%s",
                 is_spoilt ? "-EXECABORT Transaction discarded because of previous errors.\r\n"
                           : text);
}

/* Greetings and what else concerns the connection. */

static void hello(sim_peer *peer, const sim_word *argv, size_t argc)
{
    if (sim_the_world.plan->hangs_up) {
        sim_peer_hang_up(peer);
        return;
    }
    if (sim_the_world.plan->is_old) {
        sim_peer_say(peer, "-ERR unknown command 'HELLO'\r\n");
        return;
    }
    if (peer->server->condition == SIM_NO_AUTH) {
        sim_peer_say(peer,
                     "-NOAUTH HELLO must be called with the client already authenticated\r\n");
        return;
    }
    peer->is_resp3 = argc > 1 && sim_word_is(&argv[1], "3");
    bool is_sentinel =
        sim_server_is_sentinel(peer->server) && peer->server->stranger != SIM_PLAIN_SERVER;
    const char *mode = sim_the_world.plan->kind == SIM_CLUSTER ? "cluster"
                       : is_sentinel                           ? "sentinel"
                                                               : "standalone";
    sim_peer_say(peer,
                 "%s\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$5\r\n7.0.0\r\n$5\r\n"
                 "proto\r\n:%d\r\n$2\r\nid\r\n:1\r\n$4\r\nmode\r\n$%zu\r\n%s\r\n$4\r\nrole\r\n$6"
                 "\r\nmaster\r\n$7\r\nmodules\r\n*0\r\n",
                 peer->is_resp3 ? "%7" : "*14", peer->is_resp3 ? 3 : 2, strlen(mode), mode);
}

static void info(sim_peer *peer, const sim_word *argv, size_t argc)
{
    char text[256];
    unsigned number = peer->server->number;
    bool is_server = argc > 1 && sim_word_is(&argv[1], "server");
    int len = is_server ? snprintf(text, sizeof(text), "# Server\r\nrun_id:%040u\r\n",
                                   1000 * (number + 1) + peer->server->lives_n)
                        : snprintf(text, sizeof(text),
                                   "# Replication\r\nrole:%s\r\nmaster_replid:%040u\r\n"
                                   "master_replid2:%040u\r\nmaster_repl_offset:100\r\n",
                                   peer->server->primary == number ? "master" : "slave",
                                   peer->server->replid, peer->server->replid2);
    sim_peer_say(peer, "$%d\r\n%s\r\n", len, text);
}

static void role(sim_peer *peer)
{
    const sim_server *server = peer->server;
    if (server->primary == server->number) {
        sim_peer_say(peer, "*3\r\n$6\r\nmaster\r\n:100\r\n*0\r\n");
        return;
    }
    char ip[24];
    uint32_t at = sim_the_world.servers[server->primary].host->ip;
    snprintf(ip, sizeof(ip), "10.0.%u.%u", at >> 8 & 255, at & 255);
    sim_peer_say(peer, "*5\r\n$5\r\nslave\r\n$%zu\r\n%s\r\n:%u\r\n$9\r\nconnected\r\n:100\r\n",
                 strlen(ip), ip, sim_the_world.servers[server->primary].host->port);
}

static bool run_plain(sim_peer *peer, const sim_word *argv, size_t argc)
{
    static const char *const ok[] = {"CLIENT",    "SELECT", "READONLY",
                                     "READWRITE", "AUTH",   "UNWATCH"};
    for (size_t i = 0; i < sizeof(ok) / sizeof(ok[0]); i++) {
        if (sim_word_is(&argv[0], ok[i])) {
            peer->is_readonly = peer->is_readonly || sim_word_is(&argv[0], "READONLY");
            sim_peer_say(peer, "+OK\r\n");
            return true;
        }
    }
    if (sim_word_is(&argv[0], "HELLO")) {
        hello(peer, argv, argc);
    } else if (sim_word_is(&argv[0], "PING")) {
        sim_peer_say(peer, peer->server->condition == SIM_LOADING ? "-LOADING\r\n" : "+PONG\r\n");
    } else if (sim_word_is(&argv[0], "INFO")) {
        info(peer, argv, argc);
    } else if (sim_word_is(&argv[0], "ROLE")) {
        role(peer);
    } else if (sim_word_is(&argv[0], "CONFIG")) {
        sim_peer_say(peer, "*2\r\n$20\r\ncluster-node-timeout\r\n$4\r\n1000\r\n");
    } else {
        return false;
    }
    return true;
}

static bool run_transaction(sim_peer *peer, const sim_word *argv)
{
    if (sim_word_is(&argv[0], "MULTI")) {
        peer->is_in_multi = true;
        peer->is_spoilt = false;
        peer->queued_n = 0;
        sim_peer_say(peer, "+OK\r\n");
    } else if (sim_word_is(&argv[0], "EXEC")) {
        exec(peer);
    } else if (sim_word_is(&argv[0], "DISCARD")) {
        peer->is_in_multi = false;
        sim_peer_say(peer, "+OK\r\n");
    } else {
        return false;
    }
    return true;
}

void sim_peer_run(sim_peer *peer, const sim_word *argv, size_t argc)
{
    request asked;
    if (sim_word_is(&argv[0], "ASKING")) {
        peer->is_asking = true;
        sim_peer_say(peer, "+OK\r\n");
        return;
    }
    if (sim_stranger_run(peer, argv, argc)) {
        return;
    }
    if (sim_server_is_sentinel(peer->server)) {
        if (!sim_sentinel_run(peer, argv, argc) && !run_plain(peer, argv, argc)) {
            sim_peer_say(peer, "-ERR unknown command '%.*s'\r\n", (int)argv[0].len, argv[0].data);
        }
        return;
    }
    if (sim_near_run(peer, argv, argc) || sim_lease_run(peer, argv, argc)) {
        peer->is_asking = false;
        return;
    }
    if (sim_messages_run(peer, argv, argc)) {
        return;
    }
    bool is_walked = sim_word_is(&argv[0], "SCAN") || sim_word_is(&argv[0], "DBSIZE");
    if (is_walked && (sim_peer_is_unwell(peer, true) || sim_keyspace_run(peer, argv, argc))) {
        return;
    }
    if (read_request(&asked, argv, argc)) {
        if (peer->is_in_multi) {
            queue(peer, argv, &asked);
        } else if (!is_refused(peer, &asked)) {
            run_data(peer, argv, argc, &asked);
        }
    } else if (sim_word_is(&argv[0], "CLUSTER")) {
        sim_cluster_answer(peer, argv, argc);
    } else if (!run_transaction(peer, argv) && !run_plain(peer, argv, argc)) {
        sim_peer_say(peer, "-ERR unknown command '%.*s'\r\n", (int)argv[0].len, argv[0].data);
    }
    peer->is_asking = false;
}

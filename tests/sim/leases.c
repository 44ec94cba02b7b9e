/* SPDX-License-Identifier: BSD-3-Clause */
/* What servers answer caches that load: the script of leases, and connections that watch a key. */
#include "sim/lease_store.h"

#include <stdio.h>
#include <string.h>

#define W sim_the_world

static unsigned script_lives[SIM_SERVERS]; /* in which life a server has the script */

/* The script. */

static uint64_t left_ms(const sim_store *self)
{
    return self->end_ns > sim_now() ? (self->end_ns - sim_now()) / SIM_MS : 0;
}

/* {state, value, what is left of it}, and more where there is. */
static void say_value(sim_peer *peer, const sim_store *self, unsigned state, unsigned parts_n)
{
    char text[16];
    char left[24] = ":-2\r\n";
    int len = snprintf(text, sizeof(text), "%u", self->value);
    if (self->value != 0 && self->end_ns == SIM_NEVER) {
        snprintf(left, sizeof(left), ":-1\r\n");
    } else if (self->value != 0) {
        snprintf(left, sizeof(left), ":%lu\r\n", (unsigned long)left_ms(self));
    }
    if (self->value != 0) {
        sim_peer_say(peer, "*%u\r\n:%u\r\n$%d\r\n%s\r\n%s", parts_n, state, len, text, left);
    } else {
        sim_peer_say(peer, "*%u\r\n:%u\r\n%s\r\n%s", parts_n, state, peer->is_resp3 ? "_" : "$-1",
                     left);
    }
}

static void acquire(sim_peer *peer, const sim_held *ask, bool is_refresh)
{
    sim_store *self = sim_store_of(peer->server, ask->key);
    if (self->value != 0 && !is_refresh) {
        say_value(peer, self, 1, 3);
    } else if (self->lease == 'N' && self->value == 0) {
        sim_peer_say(peer, "*1\r\n:2\r\n");
    } else if (self->lease == 'L') {
        say_value(peer, self, 3, 5);
        sim_peer_say(peer, "$%d\r\n%.*s\r\n:%lu\r\n", SIM_TOKEN_LEN, SIM_TOKEN_LEN, self->token,
                     (unsigned long)((self->lease_ns - sim_now()) / SIM_MS));
    } else {
        sim_store_lease(peer->server, ask->key, 'L', ask->ms);
        sim_store_grant(peer->server, ask->key, ask->token);
        say_value(peer, self, 0, 3);
    }
}

/* By the lease: what was there when it was taken is there still, or nothing is stored. */
static void give_back(sim_peer *peer, const sim_held *ask)
{
    const sim_server *server = peer->server;
    sim_store *self = sim_store_of(server, ask->key);
    bool is_same = self->before == self->value;
    bool is_none = strcmp(ask->op, "none") == 0;
    bool is_fill = strcmp(ask->op, "fill") == 0;
    sim_store_lease(server, ask->key, is_none && is_same && ask->ms > 0 ? 'N' : 0, ask->ms);
    if ((!is_none && !is_fill) || !is_same) {
        sim_peer_say(peer, ":0\r\n");
        return;
    }
    if (is_fill) {
        sim_store_check_fill(self, ask->value);
        sim_store_set(server, ask->key, ask->value, ask->ms);
    } else if (self->value != 0) {
        sim_store_set(server, ask->key, 0, 0);
    }
    sim_peer_say(peer, ":1\r\n");
}

static void run_script(sim_peer *peer, const sim_held *ask)
{
    sim_store *self = sim_store_of(peer->server, ask->key);
    if (script_lives[peer->server->number] != peer->server->lives_n) {
        sim_peer_say(peer, "-NOSCRIPT No matching script. Please use EVAL.\r\n");
        return;
    }
    sim_store_expire(peer->server, ask->key);
    sim_say("server %u: %s of key c%u", peer->server->number, ask->op, ask->key);
    if (strcmp(ask->op, "put") == 0 || strcmp(ask->op, "forget") == 0) {
        sim_store_lease(peer->server, ask->key, 0, 0);
        sim_store_set(peer->server, ask->key, ask->value, ask->ms);
        sim_peer_say(peer, ":1\r\n");
    } else if (strcmp(ask->op, "read") == 0) {
        if (self->value == 0) {
            sim_peer_say(peer, "*1\r\n:2\r\n");
        } else {
            say_value(peer, self, 1, 3);
        }
    } else if (strcmp(ask->op, "acquire") == 0 || strcmp(ask->op, "refresh") == 0) {
        acquire(peer, ask, ask->op[0] == 'r');
    } else if (self->lease != 'L' || memcmp(self->token, ask->token, SIM_TOKEN_LEN) != 0) {
        sim_peer_say(peer, ":0\r\n");
    } else if (strcmp(ask->op, "extend") == 0) {
        sim_store_extend(peer->server, ask->key, ask->ms);
        sim_peer_say(peer, ":1\r\n");
    } else {
        sim_store_check_loaded(ask->token, ask->op);
        give_back(peer, ask);
    }
}

/* EVALSHA sha1 2 key lease op token ms value */
static bool read_ask(sim_held *ask, const sim_word *argv, size_t argc)
{
    bool is_lease;
    memset(ask, 0, sizeof(*ask));
    if (argc != 9 || argv[5].len >= sizeof(ask->op) || argv[6].len > SIM_TOKEN_LEN) {
        return false;
    }
    ask->key = sim_loaded_key(&argv[3], &is_lease);
    memcpy(ask->op, argv[5].data, argv[5].len);
    memcpy(ask->token, argv[6].data, argv[6].len);
    ask->ms = sim_word_number(&argv[7]);
    ask->value = sim_word_number(&argv[8]);
    if (ask->key < SIM_LOADED_KEYS) {
        sim_store_name(ask->key, &argv[4]);
    }
    return ask->key < SIM_LOADED_KEYS;
}

/* Connections that watch. */

static void exec(sim_peer *peer)
{
    const sim_store *self = sim_store_of(peer->server, peer->held.key);
    bool is_spoilt = peer->is_spoilt;
    bool is_changed = peer->watched != 0 && self->changes_n != peer->watch_n;
    peer->is_in_multi = peer->is_spoilt = peer->has_held = false;
    peer->watched = 0;
    if (is_spoilt) {
        sim_peer_say(peer, "-EXECABORT Transaction discarded because of previous errors.\r\n");
    } else if (!sim_peer_is_refused(peer, &W.key_slots[peer->held.key], 1, false)) {
        if (is_changed) {
            sim_peer_say(peer, "%s", peer->is_resp3 ? "_\r\n" : "*-1\r\n");
        } else {
            sim_peer_say(peer, "*1\r\n");
            run_script(peer, &peer->held);
        }
    }
}

static bool run_watch(sim_peer *peer, const sim_word *argv, size_t argc)
{
    bool is_lease;
    if (argc == 2 && sim_word_is(&argv[0], "WATCH")) {
        unsigned key = sim_loaded_key(&argv[1], &is_lease);
        if (key < SIM_LOADED_KEYS && !sim_peer_is_refused(peer, &W.key_slots[key], 1, true)) {
            sim_store_expire(peer->server, key);
            peer->watched = key + 1;
            peer->watch_n = sim_store_of(peer->server, key)->changes_n;
            sim_peer_say(peer, "+OK\r\n");
        }
        return key < SIM_LOADED_KEYS;
    }
    if (sim_word_is(&argv[0], "UNWATCH") || sim_word_is(&argv[0], "DISCARD")) {
        peer->watched = 0;
        peer->has_held = false;
    } else if (peer->is_in_multi && (peer->has_held || peer->watched != 0) &&
               sim_word_is(&argv[0], "EXEC")) {
        exec(peer);
        return true;
    }
    return false;
}

/* GET, and then PTTL of what was stored in between. */
static void note_life(sim_peer *peer, const sim_store *self, bool is_life)
{
    if (is_life && peer->got != 0 && self->value != 0 && self->value != peer->got &&
        sim_the_values[peer->got].key == sim_the_values[self->value].key) {
        sim_the_values[peer->got].has_others_life = true;
    }
    peer->got = is_life ? 0 : self->value;
}

static bool run_read(sim_peer *peer, const sim_word *argv, size_t argc)
{
    bool is_lease;
    bool is_life = sim_word_is(&argv[0], "PTTL");
    if (argc != 2 || (!is_life && !sim_word_is(&argv[0], "GET"))) {
        return false;
    }
    unsigned key = sim_loaded_key(&argv[1], &is_lease);
    if (key == SIM_LOADED_KEYS || sim_peer_is_refused(peer, &W.key_slots[key], 1, true)) {
        return key < SIM_LOADED_KEYS;
    }
    const sim_store *self = sim_store_of(peer->server, key);
    sim_store_expire(peer->server, key);
    sim_store_track(peer, key, is_lease);
    if (!is_lease) {
        note_life(peer, self, is_life);
    }
    bool is_there = is_lease ? self->lease != 0 : self->value != 0;
    uint64_t end_ns = is_lease ? self->lease_ns : self->end_ns;
    if (is_life && (!is_there || end_ns == SIM_NEVER)) {
        sim_peer_say(peer, is_there ? ":-1\r\n" : ":-2\r\n");
    } else if (is_life) {
        sim_peer_say(peer, ":%lu\r\n", (unsigned long)((end_ns - sim_now()) / SIM_MS));
    } else if (!is_there) {
        sim_peer_say(peer, "%s", peer->is_resp3 ? "_\r\n" : "$-1\r\n");
    } else if (is_lease) {
        sim_peer_say(peer, "$1\r\nL\r\n");
    } else {
        char text[16];
        int len = snprintf(text, sizeof(text), "%u", self->value);
        sim_peer_say(peer, "$%d\r\n%s\r\n", len, text);
    }
    return true;
}

bool sim_lease_run(sim_peer *peer, const sim_word *argv, size_t argc)
{
    sim_held ask;
    bool is_whole = sim_word_is(&argv[0], "EVAL");
    if (run_watch(peer, argv, argc) || run_read(peer, argv, argc)) {
        return true;
    }
    if ((!is_whole && !sim_word_is(&argv[0], "EVALSHA")) || !read_ask(&ask, argv, argc)) {
        return false;
    }
    if (sim_peer_is_refused(peer, &W.key_slots[ask.key], 1, false)) {
        peer->is_spoilt = peer->is_in_multi;
        return true;
    }
    if (is_whole) {
        script_lives[peer->server->number] = peer->server->lives_n;
    }
    if (peer->is_in_multi) {
        peer->held = ask;
        peer->has_held = true;
        sim_peer_say(peer, "+QUEUED\r\n");
    } else {
        run_script(peer, &ask);
    }
    return true;
}

void sim_leases_begin(void)
{
    memset(script_lives, 0, sizeof(script_lives));
    sim_stores_begin();
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Keys that are kept near: servers that track who has read them, and tell of each write by the
 * connection that the reader has named; and who writes beside the program. */
#include "sim/near.h"

#include "sim/callers.h"

#include <stdio.h>
#include <string.h>

#define W sim_the_world

/* Between two writes. */
#define PAUSE_LEAST SIM_MS
#define PAUSE_MOST  (300 * SIM_MS)

#define CHANNEL "__redis__:invalidate"

static struct {
    unsigned ids_n; /* numbers of connections */
    sim_near_written own[SIM_NEAR_OWN];
} near;

void sim_near_name(char *text, size_t len, unsigned key)
{
    snprintf(text, len, "{k%u}n", key); /* in a slot that moves alone */
}

/* The key; SIM_NEAR_KEYS: another one. */
static unsigned key_of(const sim_word *word)
{
    for (unsigned key = 0; key < SIM_NEAR_KEYS; key++) {
        char name[8];
        sim_near_name(name, sizeof(name), key);
        if (sim_word_is(word, name)) {
            return key;
        }
    }
    return SIM_NEAR_KEYS;
}

void sim_near_tell(const sim_server *server, unsigned keys, const char *body)
{
    for (unsigned i = 0; i < W.peers_n; i++) {
        sim_peer *reader = &W.peers[i];
        if (reader->server != server || (reader->tracked & keys) == 0) {
            continue;
        }
        reader->tracked &= ~keys;
        for (unsigned k = 0; k < W.peers_n; k++) {
            sim_peer *ear = &W.peers[k];
            if (ear->server == server && ear->hears_keys && ear->id == reader->redirect) {
                sim_peer_say(ear, "*3\r\n$7\r\nmessage\r\n$20\r\n" CHANNEL "\r\n%s", body);
            }
        }
    }
}

void sim_near_tell_of(const sim_server *server, unsigned key)
{
    char body[40];
    snprintf(body, sizeof(body), "*1\r\n$5\r\n{k%u}n\r\n", key);
    sim_near_tell(server, 1u << key, body);
}

void sim_near_track(sim_peer *peer, unsigned keys)
{
    peer->tracked |= peer->redirect != 0 ? keys : 0;
}

static unsigned write_one(const sim_server *server, unsigned key)
{
    unsigned version = sim_near_put(server, key, false);
    if (version > 0) {
        sim_say("n%u has version %u at server %u", key, version, server->number);
        sim_near_tell_of(server, key);
        sim_near_replicate(server, key);
    }
    return version;
}

static void flush_all(const sim_server *server)
{
    sim_say("FLUSHALL at server %u", server->number);
    for (unsigned i = 0; i < SIM_NEAR_KEYS; i++) {
        bool is_there = W.plan->kind == SIM_RING || sim_near_home(i) == server;
        if (is_there && sim_near_put(server, i, true) > 0) {
            sim_near_replicate(server, i);
        }
    }
    sim_near_tell(server, SIM_NEAR_ALL, "*-1\r\n");
}

/* Where others write the key: of a ring, by another ring perhaps. */
static sim_server *target_of(unsigned key)
{
    unsigned members_n = W.plan->primaries_n + W.plan->spares_n;
    return W.plan->kind == SIM_RING ? &W.servers[sim_random(members_n)] : sim_near_home(key);
}

static void on_write(void *arg, uint64_t value)
{
    (void)arg;
    (void)value;
    unsigned key = (unsigned)sim_random(SIM_NEAR_KEYS);
    const sim_server *server = target_of(key);
    /* Once all is well keys have values, which are to be near: what is not there cannot be. */
    bool flushes = sim_one_in(20) && sim_the_crew.heal_ns == SIM_NEVER;
    if (server->is_there && !server->is_stopped && flushes) {
        flush_all(server);
    } else if (server->is_there && !server->is_stopped) {
        (void)write_one(server, key);
    }
    sim_at(sim_now() + sim_between(PAUSE_LEAST, PAUSE_MOST), on_write, NULL, 0);
}

void sim_near_begin_world(void)
{
    memset(&near, 0, sizeof(near));
    if (W.plan->nears_n > 0 || W.plan->loads_n > 0) {
        sim_near_begin_lines();
    }
    if (W.plan->nears_n > 0) {
        sim_at(sim_now() + sim_random(PAUSE_MOST), on_write, NULL, 0);
    }
}

sim_near_written sim_near_own(unsigned number)
{
    return near.own[number];
}

static void answer_client(sim_peer *peer, const sim_word *argv, size_t argc)
{
    if (argc == 2) { /* ID */
        peer->id = peer->id != 0 ? peer->id : ++near.ids_n;
        sim_peer_say(peer, ":%u\r\n", peer->id);
        return;
    }
    unsigned wanted = argc > 4 ? sim_word_number(&argv[4]) : 0;
    for (unsigned i = 0; i < W.peers_n; i++) {
        if (W.peers[i].server == peer->server && W.peers[i].id == wanted && wanted != 0) {
            peer->redirect = wanted;
            sim_peer_say(peer, "+OK\r\n");
            return;
        }
    }
    sim_peer_say(peer, "-ERR The client ID you want redirect to does not exist\r\n");
}

static void answer_data(sim_peer *peer, const sim_word *argv, size_t argc, unsigned key)
{
    if (sim_word_is(&argv[0], "SET") && argc > 2) {
        near.own[sim_word_number(&argv[2]) % SIM_NEAR_OWN] =
            (sim_near_written){write_one(peer->server, key), peer->server->number};
        sim_peer_say(peer, "+OK\r\n");
        return;
    }
    unsigned version = sim_near_at(peer->server, key);
    sim_near_track(peer, 1u << key);
    if (sim_word_is(&argv[0], "PTTL")) {
        sim_peer_say(peer, version == SIM_NEAR_NONE ? ":-2\r\n" : ":-1\r\n");
    } else if (version == SIM_NEAR_NONE) {
        sim_peer_say(peer, peer->is_resp3 ? "_\r\n" : "$-1\r\n");
    } else {
        char text[16];
        int len = snprintf(text, sizeof(text), "%u", version);
        sim_peer_say(peer, "$%d\r\n%s\r\n", len, text);
    }
}

bool sim_near_run(sim_peer *peer, const sim_word *argv, size_t argc)
{
    bool is_client = argc > 1 && sim_word_is(&argv[0], "CLIENT");
    if (is_client && (sim_word_is(&argv[1], "ID") || sim_word_is(&argv[1], "TRACKING"))) {
        answer_client(peer, argv, argc);
        return true;
    }
    if (argc == 2 && sim_word_is(&argv[0], "SUBSCRIBE") && sim_word_is(&argv[1], CHANNEL)) {
        peer->hears_keys = true;
        sim_peer_say(peer, "*3\r\n$9\r\nsubscribe\r\n$20\r\n" CHANNEL "\r\n:1\r\n");
        return true;
    }
    if (peer->hears_keys && sim_word_is(&argv[0], "PING")) {
        sim_peer_say(peer, "*2\r\n$4\r\npong\r\n$0\r\n\r\n");
        return true;
    }
    bool is_data = argc > 1 && (sim_word_is(&argv[0], "GET") || sim_word_is(&argv[0], "PTTL") ||
                                sim_word_is(&argv[0], "SET"));
    unsigned key = is_data ? key_of(&argv[1]) : SIM_NEAR_KEYS;
    if (key == SIM_NEAR_KEYS) {
        return false;
    }
    if (!sim_peer_is_refused(peer, &W.key_slots[key], 1, !sim_word_is(&argv[0], "SET"))) {
        answer_data(peer, argv, argc, key);
    }
    return true;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Keys that are kept near: a server that tracks who has read them, and tells of each write by the
 * connection that the reader has named; who writes beside the program; and what was true when. */
#include "sim/near.h"

#include "sim/callers.h"

#include <stdio.h>
#include <string.h>

#define W sim_the_world

/* Between two writes. */
#define PAUSE_LEAST SIM_MS
#define PAUSE_MOST  (300 * SIM_MS)

#define CHANNEL "__redis__:invalidate"

typedef struct near_key {
    unsigned version; /* the last one; the first is 0 */
    uint64_t from_ns[SIM_NEAR_VERSIONS];
    bool is_gone[SIM_NEAR_VERSIONS]; /* there is no value: FLUSHALL */
} near_key;

static struct {
    near_key keys[SIM_NEAR_KEYS];
    unsigned ids_n; /* numbers of connections */
    unsigned own_version[SIM_NEAR_OWN];
} near;

void sim_near_name(char *text, size_t len, unsigned key)
{
    snprintf(text, len, "n%u", key);
}

/* The key; SIM_NEAR_KEYS: another one. */
static unsigned key_of(const sim_word *word)
{
    unsigned key =
        word->len == 2 && word->data[0] == 'n' ? (unsigned)(word->data[1] - '0') : SIM_NEAR_KEYS;
    return key < SIM_NEAR_KEYS ? key : SIM_NEAR_KEYS;
}

/* Who has read the keys, by one bit each, hears of it once. */
static void tell(const sim_server *server, unsigned keys, const char *body)
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

/* The key has another value from now on, or none; false where there is no room for more. */
static bool write_key(unsigned key, bool is_gone)
{
    near_key *self = &near.keys[key];
    if (self->version + 1 == SIM_NEAR_VERSIONS) {
        return false;
    }
    self->version++;
    self->from_ns[self->version] = sim_now();
    self->is_gone[self->version] = is_gone;
    return true;
}

static void write_one(const sim_server *server, unsigned key)
{
    char body[40];
    if (write_key(key, false)) {
        snprintf(body, sizeof(body), "*1\r\n$2\r\nn%u\r\n", key);
        sim_say("n%u has version %u", key, near.keys[key].version);
        tell(server, 1u << key, body);
    }
}

static void flush_all(const sim_server *server)
{
    sim_say("FLUSHALL");
    for (unsigned i = 0; i < SIM_NEAR_KEYS; i++) {
        (void)write_key(i, true);
    }
    tell(server, (1u << SIM_NEAR_KEYS) - 1, "*-1\r\n");
}

static void on_write(void *arg, uint64_t value)
{
    sim_server *server = arg;
    (void)value;
    /* Once all is well keys have values, which are to be near: what is not there cannot be. */
    bool flushes = sim_one_in(20) && sim_the_crew.heal_ns == SIM_NEVER;
    if (server->is_there && !server->is_stopped && flushes) {
        flush_all(server);
    } else if (server->is_there && !server->is_stopped) {
        write_one(server, (unsigned)sim_random(SIM_NEAR_KEYS));
    }
    sim_at(sim_now() + sim_between(PAUSE_LEAST, PAUSE_MOST), on_write, server, 0);
}

void sim_near_begin_world(void)
{
    memset(&near, 0, sizeof(near));
    if (W.plan->nears_n > 0) {
        sim_at(sim_now() + sim_random(PAUSE_MOST), on_write, &W.servers[0], 0);
    }
}

bool sim_near_was(unsigned key, unsigned version, uint64_t from_ns)
{
    const near_key *self = &near.keys[key];
    if (version == SIM_NEAR_NONE) {
        for (unsigned i = 0; i <= self->version; i++) {
            if (self->is_gone[i] && sim_near_was(key, i, from_ns)) {
                return true;
            }
        }
        return false;
    }
    return version <= self->version &&
           (version == self->version || self->from_ns[version + 1] > from_ns);
}

unsigned sim_near_own(unsigned number)
{
    return near.own_version[number];
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
    const near_key *self = &near.keys[key];
    peer->tracked |= peer->redirect != 0 && !sim_word_is(&argv[0], "SET") ? 1u << key : 0;
    if (sim_word_is(&argv[0], "SET") && argc > 2) {
        write_one(peer->server, key);
        near.own_version[sim_word_number(&argv[2]) % SIM_NEAR_OWN] = self->version;
        sim_peer_say(peer, "+OK\r\n");
    } else if (sim_word_is(&argv[0], "PTTL")) {
        sim_peer_say(peer, self->is_gone[self->version] ? ":-2\r\n" : ":-1\r\n");
    } else if (self->is_gone[self->version]) {
        sim_peer_say(peer, peer->is_resp3 ? "_\r\n" : "$-1\r\n");
    } else {
        char text[16];
        int len = snprintf(text, sizeof(text), "%u", self->version);
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
    if (!sim_peer_is_unwell(peer, !sim_word_is(&argv[0], "SET"))) {
        answer_data(peer, argv, argc, key);
    }
    return true;
}

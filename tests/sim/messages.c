/* SPDX-License-Identifier: BSD-3-Clause */
/* Channels: numbered messages, published all the time by whoever can, and who hears them. Each of
 * them reaches the other servers after the same time, in order, or with its server's life is lost.
 */
#include "sim/world.h"

#include <stdio.h>
#include <string.h>

#define W sim_the_world

/* On its way between servers. */
#define BUS_NS (20 * SIM_MS)

/* Between two messages of a channel. */
#define PAUSE_LEAST (10 * SIM_MS)
#define PAUSE_MOST  (200 * SIM_MS)

static bool is_alive(const sim_server *server)
{
    return server->is_there && !server->is_stopped;
}

/* True where what is published reaches the server. */
static bool hears(const sim_server *server)
{
    if (W.plan->kind != SIM_SENTINEL) {
        return !server->is_gone;
    }
    bool is_of_group = !sim_server_is_sentinel(server) && server->primary == W.group_primary;
    return is_of_group && server->is_apart == W.servers[W.group_primary].is_apart;
}

static void deliver(const sim_server *server, unsigned channel, unsigned number)
{
    for (unsigned i = 0; i < W.peers_n; i++) {
        sim_peer *peer = &W.peers[i];
        char text[16];
        if (peer->server != server || (peer->channels & 1u << channel) == 0) {
            continue;
        }
        int len = snprintf(text, sizeof(text), "%u", number);
        sim_peer_say(peer, "%c3\r\n$7\r\nmessage\r\n$2\r\nc%u\r\n$%d\r\n%s\r\n",
                     peer->is_resp3 ? '>' : '*', channel, len, text);
    }
}

/* All that has come up to the number, in order; a server that stands still gets it later. */
static void on_bus(void *arg, uint64_t value)
{
    sim_server *server = arg;
    unsigned channel = (unsigned)(value & 255);
    unsigned number = (unsigned)(value >> 8);
    if (server->is_there && server->is_stopped) {
        sim_at(sim_now() + BUS_NS, on_bus, server, value);
        return;
    }
    for (; server->heard[channel] < number; server->heard[channel]++) {
        if (server->is_there && hears(server)) {
            deliver(server, channel, server->heard[channel] + 1);
        }
    }
}

static const sim_server *publisher(void)
{
    if (W.plan->kind == SIM_SENTINEL) {
        const sim_server *primary = &W.servers[W.group_primary];
        return is_alive(primary) ? primary : NULL;
    }
    for (unsigned i = 0; i < W.servers_n; i++) {
        if (is_alive(&W.servers[i]) && !W.servers[i].is_gone) {
            return &W.servers[i];
        }
    }
    return NULL;
}

static void publish(void *arg, uint64_t channel)
{
    (void)arg;
    if (publisher() != NULL) {
        unsigned number = ++W.published[channel];
        for (unsigned i = 0; i < W.servers_n; i++) {
            sim_at(sim_now() + BUS_NS, on_bus, &W.servers[i], (uint64_t)number << 8 | channel);
        }
    }
    sim_at(sim_now() + sim_between(PAUSE_LEAST, PAUSE_MOST), publish, NULL, channel);
}

void sim_messages_begin(void)
{
    memset(W.published, 0, sizeof(W.published));
    for (unsigned i = 0; i < W.plan->channels_n; i++) {
        sim_at(sim_now(), publish, NULL, i);
    }
}

/* What was published while it did not run is lost to it. */
void sim_messages_on_start(sim_server *server)
{
    memcpy(server->heard, W.published, sizeof(server->heard));
}

static void answer(sim_peer *peer, const char *what, const sim_word *name)
{
    unsigned n = (unsigned)__builtin_popcount(peer->channels);
    sim_peer_say(peer, "%c3\r\n$%zu\r\n%s\r\n$%zu\r\n%.*s\r\n:%u\r\n", peer->is_resp3 ? '>' : '*',
                 strlen(what), what, name->len, (int)name->len, name->data, n);
}

bool sim_messages_run(sim_peer *peer, const sim_word *argv, size_t argc)
{
    bool begins = sim_word_is(&argv[0], "SUBSCRIBE");
    bool is_ours = argc == 2 && (begins || sim_word_is(&argv[0], "UNSUBSCRIBE"));
    if (is_ours) {
        unsigned bit = 1u << (argv[1].data[1] - '0');
        peer->channels = begins ? peer->channels | bit : peer->channels & ~bit;
        sim_say("server %u: %s", peer->server->number, begins ? "a subscriber" : "one less");
        answer(peer, begins ? "subscribe" : "unsubscribe", &argv[1]);
    } else if (peer->channels != 0 && !peer->is_resp3 && sim_word_is(&argv[0], "PING")) {
        sim_peer_say(peer, "*2\r\n$4\r\npong\r\n$0\r\n\r\n");
        is_ours = true;
    }
    return is_ours;
}

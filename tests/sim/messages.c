/* SPDX-License-Identifier: BSD-3-Clause */
/* Channels: numbered messages, published all the time by whoever can, and who hears them. Each of
 * them reaches the other servers after the same time, in order, or with its server's life is lost:
 * in a cluster all of them, of a sharded channel those of its owner's shard. The servers of a ring
 * know nothing of each other: each has messages of its own. */
#include "sim/world.h"

#include "route/slot.h"

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

void sim_messages_name(char *text, size_t len, unsigned channel)
{
    snprintf(text, len, W.plan->is_sharded ? "s%u{k%u}" : "c%u", channel, channel);
}

static void deliver(const sim_server *server, unsigned channel, unsigned number)
{
    unsigned source = W.plan->kind == SIM_RING ? server->number : 0;
    const char *type = W.plan->is_sharded ? "smessage" : "message";
    for (unsigned i = 0; i < W.peers_n; i++) {
        sim_peer *peer = &W.peers[i];
        char name[16];
        char text[32];
        if (peer->server != server || (peer->channels & 1u << channel) == 0) {
            continue;
        }
        sim_messages_name(name, sizeof(name), channel);
        int len = snprintf(text, sizeof(text), "%u.%u", source, number);
        sim_peer_say(peer, "%c3\r\n$%zu\r\n%s\r\n$%zu\r\n%s\r\n$%d\r\n%s\r\n",
                     peer->is_resp3 ? '>' : '*', strlen(type), type, strlen(name), name, len, text);
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

/* By each of the ring's servers, to those who hear it there. */
static void publish_in_ring(unsigned channel)
{
    for (unsigned i = 0; i < W.servers_n; i++) {
        if (is_alive(&W.servers[i])) {
            deliver(&W.servers[i], channel, ++W.published[i][channel]);
        }
    }
}

static unsigned slot_of(unsigned channel)
{
    char name[16];
    sim_messages_name(name, sizeof(name), channel);
    return kw_slot_of(name, strlen(name));
}

/* The owner as everybody will know it, who knows it, too. */
static sim_server *shard_owner(unsigned channel)
{
    sim_server *owner = sim_cluster_owner(sim_cluster_unit(slot_of(channel)));
    bool is_there = owner != NULL && is_alive(owner) && !owner->is_gone &&
                    owner->primary == owner->number && !owner->is_apart;
    return is_there && sim_cluster_owns(owner, slot_of(channel)) ? owner : NULL;
}

/* At a replica: value is the channel, and behind it the message's number. */
static void on_shard_bus(void *arg, uint64_t value)
{
    const sim_server *replica = arg;
    if (is_alive(replica) && replica->primary != replica->number) {
        deliver(replica, (unsigned)(value & 255), (unsigned)(value >> 8));
    }
}

static void publish_in_shard(unsigned channel)
{
    const sim_server *owner = shard_owner(channel);
    for (unsigned i = 0; i < W.servers_n; i++) {
        if (is_alive(&W.servers[i])) {
            sim_messages_on_learnt(&W.servers[i]);
        }
    }
    if (owner == NULL) {
        return;
    }
    unsigned number = ++W.published[0][channel];
    deliver(owner, channel, number);
    for (unsigned i = 0; i < W.servers_n; i++) {
        if (W.servers[i].primary == owner->number && i != owner->number) {
            sim_at(sim_now() + BUS_NS, on_shard_bus, &W.servers[i],
                   (uint64_t)number << 8 | channel);
        }
    }
}

static void publish_on_bus(unsigned channel)
{
    if (publisher() == NULL) {
        return;
    }
    unsigned number = ++W.published[0][channel];
    for (unsigned i = 0; i < W.servers_n; i++) {
        sim_at(sim_now() + BUS_NS, on_bus, &W.servers[i], (uint64_t)number << 8 | channel);
    }
}

static void publish(void *arg, uint64_t channel)
{
    (void)arg;
    if (W.plan->kind == SIM_RING) {
        publish_in_ring((unsigned)channel);
    } else if (W.plan->is_sharded) {
        publish_in_shard((unsigned)channel);
    } else {
        publish_on_bus((unsigned)channel);
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
    memcpy(server->heard, W.published[0], sizeof(server->heard));
}

static void answer(sim_peer *peer, const char *what, const sim_word *name)
{
    unsigned n = (unsigned)__builtin_popcount(peer->channels);
    sim_peer_say(peer, "%c3\r\n$%zu\r\n%s\r\n$%zu\r\n%.*s\r\n:%u\r\n", peer->is_resp3 ? '>' : '*',
                 strlen(what), what, name->len, (int)name->len, name->data, n);
}

/* A slot that has gone takes its channels along: who hears them is told so. */
void sim_messages_on_learnt(sim_server *server)
{
    for (unsigned i = 0; W.plan->is_sharded && i < W.peers_n; i++) {
        sim_peer *peer = &W.peers[i];
        for (unsigned channel = 0; peer->server == server && channel < SIM_CHANNELS; channel++) {
            char name[16];
            bool has_it = (peer->channels & 1u << channel) != 0;
            if (!has_it || sim_cluster_hears(server, slot_of(channel))) {
                continue;
            }
            peer->channels &= ~(1u << channel);
            sim_messages_name(name, sizeof(name), channel);
            sim_word word = {name, strlen(name)};
            sim_say("server %u: %s is not heard here any more", server->number, name);
            answer(peer, "sunsubscribe", &word);
        }
    }
}

/* True where the server has not got the channel, and has said who has. */
static bool is_elsewhere(sim_peer *peer, const sim_word *name)
{
    unsigned slot = kw_slot_of(name->data, name->len);
    bool is_here = !W.plan->is_sharded || sim_cluster_hears(peer->server, slot);
    return !is_here && sim_cluster_redirects(peer, &slot, 1, false);
}

bool sim_messages_run(sim_peer *peer, const sim_word *argv, size_t argc)
{
    const char *verbs[2] = {W.plan->is_sharded ? "SSUBSCRIBE" : "SUBSCRIBE",
                            W.plan->is_sharded ? "SUNSUBSCRIBE" : "UNSUBSCRIBE"};
    const char *words[2] = {W.plan->is_sharded ? "ssubscribe" : "subscribe",
                            W.plan->is_sharded ? "sunsubscribe" : "unsubscribe"};
    bool begins = sim_word_is(&argv[0], verbs[0]);
    bool is_ours = argc == 2 && (begins || sim_word_is(&argv[0], verbs[1]));
    if (is_ours && begins && is_elsewhere(peer, &argv[1])) {
        return true;
    }
    if (is_ours) {
        unsigned bit = 1u << (argv[1].data[1] - '0');
        peer->channels = begins ? peer->channels | bit : peer->channels & ~bit;
        sim_say("server %u: %s", peer->server->number, begins ? "a subscriber" : "one less");
        answer(peer, words[begins ? 0 : 1], &argv[1]);
    } else if (peer->channels != 0 && !peer->is_resp3 && sim_word_is(&argv[0], "PING")) {
        sim_peer_say(peer, "*2\r\n$4\r\npong\r\n$0\r\n\r\n");
        is_ours = true;
    }
    return is_ours;
}

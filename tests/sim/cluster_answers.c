/* SPDX-License-Identifier: BSD-3-Clause */
/* What nodes of a cluster answer: redirects, maps, and what they are. */
#include "sim/world.h"

#include <stdio.h>
#include <string.h>

#define W sim_the_world

/* So many maps a second are read by a handle, at most. */
#define MAPS_MAX 10

static void redirect(sim_peer *peer, const char *word, unsigned slot, unsigned to)
{
    const sim_host *host = W.servers[to].host;
    sim_say("server %u: %s %u to %u", peer->server->number, word, slot, to);
    sim_peer_say(peer, "-%s %u 10.0.%u.%u:%u\r\n", word, slot, host->ip >> 8 & 255, host->ip & 255,
                 host->port);
}

bool sim_cluster_redirects(sim_peer *peer, const unsigned *slots, size_t slots_n, bool reads)
{
    sim_server *self = peer->server;
    unsigned unit = sim_cluster_unit(slots[0]);
    const sim_unit *moved = &W.units[unit];
    unsigned owner = self->owners[unit];
    bool is_moving = moved->from != SIM_NO_SERVER;
    for (size_t i = 1; i < slots_n; i++) {
        if (slots[i] != slots[0]) {
            sim_peer_say(peer, "-CROSSSLOT Keys in request don't hash to the same slot\r\n");
            return true;
        }
    }
    if (owner == SIM_NO_SERVER) {
        sim_peer_say(peer, "-CLUSTERDOWN Hash slot not served\r\n");
        return true;
    }
    if (owner == self->number) {
        if (is_moving && moved->from == self->number && moved->is_gone) {
            redirect(peer, "ASK", slots[0], moved->to);
            return true;
        }
        return false;
    }
    if (is_moving && moved->to == self->number && peer->is_asking) {
        if (sim_one_in(4)) {
            sim_peer_say(peer, "-TRYAGAIN Multiple keys request during rehashing of slot\r\n");
            return true;
        }
        return false;
    }
    if (reads && peer->is_readonly && self->primary == owner && self->primary != self->number) {
        return false;
    }
    redirect(peer, "MOVED", slots[0], owner);
    return true;
}

/* An answer that grows. */
typedef struct answer {
    char bytes[15000];
    size_t len;
} answer;

static void add_node(answer *to, const sim_server *server)
{
    char ip[24];
    snprintf(ip, sizeof(ip), "10.0.%u.%u", server->host->ip >> 8 & 255, server->host->ip & 255);
    to->len += (size_t)snprintf(to->bytes + to->len, sizeof(to->bytes) - to->len,
                                "*4\r\n$%zu\r\n%s\r\n:%u\r\n$40\r\n%040u\r\n*0\r\n", strlen(ip), ip,
                                server->host->port, server->number + 1);
}

static unsigned replicas_of(unsigned primary)
{
    unsigned n = 0;
    for (unsigned i = 0; i < W.servers_n; i++) {
        n += i != primary && W.servers[i].primary == primary && !W.servers[i].is_gone ? 1 : 0;
    }
    return n;
}

/* The map of that server is given: those that have gone, and are not in it, have left. Those that
 * began with slots, and have none in it, have lost them. */
static void note_left(const sim_server *self)
{
    for (unsigned i = 0; i < W.servers_n; i++) {
        bool is_owner = false;
        for (unsigned unit = 0; unit < W.units_n; unit++) {
            is_owner = is_owner || self->owners[unit] == i;
        }
        bool has_left = W.servers[i].is_gone && !is_owner && W.servers[i].left_ns == SIM_NEVER;
        W.servers[i].left_ns = has_left ? sim_now() : W.servers[i].left_ns;
        bool has_lost = i < W.plan->primaries_n && !is_owner && W.servers[i].lost_ns == SIM_NEVER;
        W.servers[i].lost_ns = has_lost ? sim_now() : W.servers[i].lost_ns;
    }
}

static void answer_slots(sim_peer *peer)
{
    static answer all;
    const sim_server *self = peer->server;
    unsigned entries_n = 0;
    all.len = 0;
    for (unsigned unit = 0; unit < W.units_n; unit++) {
        bool has_owner = self->owners[unit] != SIM_NO_SERVER;
        bool goes_on = unit > 0 && self->owners[unit] == self->owners[unit - 1];
        if (!has_owner || goes_on) {
            continue;
        }
        unsigned last = unit;
        while (last + 1 < W.units_n && self->owners[last + 1] == self->owners[unit]) {
            last++;
        }
        unsigned owner = self->owners[unit];
        entries_n++;
        all.len += (size_t)snprintf(all.bytes + all.len, sizeof(all.bytes) - all.len,
                                    "*%u\r\n:%u\r\n:%u\r\n", 3 + replicas_of(owner),
                                    W.units[unit].first, W.units[last].last);
        add_node(&all, &W.servers[owner]);
        for (unsigned i = 0; i < W.servers_n; i++) {
            if (i != owner && W.servers[i].primary == owner && !W.servers[i].is_gone) {
                add_node(&all, &W.servers[i]);
            }
        }
    }
    W.maps_n++;
    note_left(self);
    sim_say("server %u gives its map", self->number);
    if (!sim_system_is_short()) { /* byte by byte, what has come is not read in time */
        sim_rate_note_at(&W.maps, MAPS_MAX, "maps are read", self->number, peer->socket->sent_ns);
    }
    sim_peer_say(peer, "*%u\r\n%.*s", entries_n, (int)all.len, all.bytes);
}

static void answer_info(sim_peer *peer)
{
    char text[400];
    const sim_server *self = peer->server;
    bool is_down = self->condition == SIM_CLUSTER_DOWN;
    int len = snprintf(text, sizeof(text),
                       "cluster_enabled:1\r\ncluster_state:%s\r\ncluster_slots_assigned:16384\r\n"
                       "cluster_slots_ok:16384\r\ncluster_slots_pfail:0\r\n"
                       "cluster_slots_fail:0\r\ncluster_known_nodes:%u\r\ncluster_size:%u\r\n"
                       "cluster_current_epoch:%u\r\ncluster_my_epoch:%u\r\n",
                       is_down ? "fail" : "ok", W.servers_n, W.plan->primaries_n, self->epoch,
                       self->epoch);
    sim_peer_say(peer, "$%d\r\n%s\r\n", len, text);
}

/* "[93->-id]" where the slot leaves, "[93-<-id]" where it comes. */
static void add_marks(answer *to, const sim_server *self)
{
    for (unsigned unit = 0; unit < W.units_n; unit++) {
        const sim_unit *moved = &W.units[unit];
        bool leaves = moved->from == self->number;
        for (unsigned slot = moved->first; moved->from != SIM_NO_SERVER && slot <= moved->last &&
                                           (leaves || moved->to == self->number);
             slot++) {
            to->len += (size_t)snprintf(to->bytes + to->len, sizeof(to->bytes) - to->len,
                                        leaves ? " [%u->-%040u]" : " [%u-<-%040u]", slot,
                                        (leaves ? moved->to : moved->from) + 1u);
        }
    }
}

/* CLUSTER NODES: the line of the server itself alone says what it has. */
static void answer_nodes(sim_peer *peer)
{
    static answer all;
    const sim_server *self = peer->server;
    const sim_host *host = self->host;
    char primary[48] = "-";
    bool is_primary = self->primary == self->number;
    if (!is_primary) {
        snprintf(primary, sizeof(primary), "%040u", self->primary + 1u);
    }
    all.len = (size_t)snprintf(
        all.bytes, sizeof(all.bytes), "%040u 10.0.%u.%u:%u@%u myself,%s %s 0 0 %u connected",
        self->number + 1, host->ip >> 8 & 255, host->ip & 255, host->port, host->port + 10000u,
        is_primary ? "master" : "slave", primary, W.servers[self->primary].config_epoch);
    for (unsigned unit = 0; unit < W.units_n && is_primary; unit++) {
        if (self->owners[unit] == self->number) {
            all.len += (size_t)snprintf(all.bytes + all.len, sizeof(all.bytes) - all.len, " %u-%u",
                                        W.units[unit].first, W.units[unit].last);
        }
    }
    if (is_primary) {
        add_marks(&all, self);
    }
    sim_peer_say(peer, "$%zu\r\n%s\n\r\n", all.len + 1, all.bytes);
}

/* What is being read has no keys that anybody could count. */
static bool is_refused(sim_peer *peer)
{
    bool is_loading = peer->server->condition == SIM_LOADING;
    if (is_loading) {
        sim_peer_say(peer, "-LOADING Redis is loading the dataset in memory\r\n");
    }
    return is_loading;
}

void sim_cluster_answer(sim_peer *peer, const sim_word *argv, size_t argc)
{
    if (W.plan->kind != SIM_CLUSTER) {
        sim_peer_say(peer, "-ERR This instance has cluster support disabled\r\n");
    } else if (argc > 1 && sim_word_is(&argv[1], "SLOTS")) {
        answer_slots(peer);
    } else if (argc > 1 && sim_word_is(&argv[1], "INFO")) {
        answer_info(peer);
    } else if (argc > 1 && sim_word_is(&argv[1], "MYID")) {
        sim_peer_say(peer, "$40\r\n%040u\r\n", peer->server->number + 1);
    } else if (argc > 1 && sim_word_is(&argv[1], "NODES")) {
        answer_nodes(peer);
    } else if (argc > 3 && sim_word_is(&argv[1], "GETKEYSINSLOT")) {
        if (!is_refused(peer)) {
            sim_keyspace_slot(peer, sim_word_number(&argv[2]), sim_word_number(&argv[3]));
        }
    } else if (argc > 2 && sim_word_is(&argv[1], "COUNTKEYSINSLOT")) {
        if (!is_refused(peer)) {
            sim_keyspace_count(peer, sim_word_number(&argv[2]));
        }
    } else {
        sim_peer_say(peer, "-ERR unknown subcommand\r\n");
    }
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* The world of a run: its servers, made by the plan, and made well at the end. */
#include "sim/leases.h"

#include "route/slot.h"

#include <stdio.h>
#include <string.h>

#define W sim_the_world

sim_world sim_the_world;

/* Another address of the server, a longer way, and one that swallows packets. */
static void add_late(sim_name *name, const sim_server *server)
{
    uint32_t ip = 0x0a000200u + server->number;
    sim_host *host = sim_host_add(ip, server->host->port);
    host->latency_ns = W.plan->late_ns;
    host->is_listening = true;
    host->owner = server->host->owner;
    host->on_open = server->host->on_open;
    host->on_bytes = server->host->on_bytes;
    name->ips[name->ips_n++] = ip;
    ip = 0x0a000100u + server->number;
    sim_host_add(ip, server->host->port)->is_cut = true;
    name->ips[name->ips_n++] = ip;
}

void sim_world_begin(const sim_plan *plan)
{
    W.plan = plan;
    W.servers_n = 0;
    W.units_n = 0;
    W.epoch = 0;
    W.runs_n = 0;
    W.connects_n = 0;
    W.maps_n = 0;
    W.maps.n = 0;
    memset(W.peers, 0, W.peers_n * sizeof(W.peers[0]));
    W.peers_n = 0;
    memset(W.accounts, 0, sizeof(W.accounts));
    for (unsigned i = 0; i < SIM_KEYS; i++) {
        char key[8];
        int len = snprintf(key, sizeof(key), "k%u", i);
        W.key_slots[i] = kw_slot_of(key, (size_t)len);
    }
    W.replids_n = SIM_SERVERS;
    W.foreign = SIM_NO_SERVER;
    W.is_unknown = false;
    for (unsigned i = 0; i < plan->primaries_n + plan->spares_n; i++) {
        sim_server_add();
    }
    if (plan->kind == SIM_CLUSTER) {
        sim_cluster_begin();
    } else if (plan->kind == SIM_SENTINEL) {
        sim_sentinel_begin();
    }
    sim_keyspace_begin();
    sim_messages_begin();
    sim_near_begin_world();
    sim_leases_begin();
    for (unsigned i = 0; i < W.servers_n; i++) {
        char name[16];
        snprintf(name, sizeof(name), "host%u", i);
        sim_name *entry = sim_name_add(name);
        if (plan->has_dead_address) {
            uint32_t ip = 0x0a000100u + i;
            sim_host_add(ip, W.servers[i].host->port)->is_cut = true;
            entry->ips[entry->ips_n++] = ip;
        }
        if (plan->late_ns > 0) {
            add_late(entry, &W.servers[i]);
        } else {
            entry->ips[entry->ips_n++] = W.servers[i].host->ip;
        }
        entry->wait_ns = plan->latency_ns;
        sim_server_start(&W.servers[i]);
    }
}

static size_t add_server(char *text, size_t len, const sim_server *server)
{
    const sim_host *host = server->host;
    if (W.plan->has_names) {
        return (size_t)snprintf(text, len, "host%u:%u", server->number, host->port);
    }
    return (size_t)snprintf(text, len, "10.0.%u.%u:%u", host->ip >> 8 & 255, host->ip & 255,
                            host->port);
}

void sim_world_uri(char *text, size_t len)
{
    static const char *const schemes[SIM_KINDS_N] = {"redis", "redis-cluster", "redis-ring",
                                                     "redis-sentinel"};
    size_t at = (size_t)snprintf(text, len, "%s://", schemes[W.plan->kind]);
    unsigned n = W.plan->kind == SIM_PLAIN ? 1 : W.plan->primaries_n;
    unsigned first = 0;
    if (W.plan->kind == SIM_SENTINEL) { /* the last one is learnt from the others */
        first = W.sentinels_from;
        n = W.plan->sentinels_n > 1 ? W.plan->sentinels_n - 1 : 1;
    }
    for (unsigned i = 0; i < n; i++) {
        if (i > 0) {
            text[at++] = ',';
        }
        if (W.plan->kind == SIM_RING) {
            at += (size_t)snprintf(text + at, len - at, "m%u=", i);
        }
        at += add_server(text + at, len - at, &W.servers[first + i]);
    }
    if (W.plan->kind == SIM_SENTINEL) {
        snprintf(text + at, len - at, "/group");
    }
}

void sim_world_heal(void)
{
    sim_say("all is well from here on");
    sim_net_heal();
    for (unsigned i = 0; i < W.servers_n; i++) {
        sim_server *server = &W.servers[i];
        server->host->is_cut = server->is_gone && server->host->is_cut;
        server->is_apart = false;
        server->host->latency_ns = W.plan->latency_ns;
        server->condition = SIM_WELL;
        sim_server_start(server);
        sim_server_stop(server, false);
    }
    if (W.plan->kind == SIM_CLUSTER) {
        sim_cluster_heal();
    } else if (W.plan->kind == SIM_SENTINEL) {
        sim_sentinel_heal();
        sim_strangers_heal();
    }
}

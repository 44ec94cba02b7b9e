/* SPDX-License-Identifier: BSD-3-Clause */
/* A cluster whose parts do not see each other, and nodes that come back at each other's address. */
#include "sim/world.h"

#include <stdio.h>

#define W sim_the_world

/* A primary that sees no majority of the others serves so long (cluster-node-timeout). */
#define NODE_TIMEOUT SIM_S

static void on_timeout(void *arg, uint64_t life)
{
    sim_server *server = arg;
    if (server->is_apart && server->lives_n == life) {
        sim_say("server %u sees too few others", server->number);
        server->condition = SIM_CLUSTER_DOWN;
        server->is_fitful = false;
    }
}

static void on_election(void *arg, uint64_t life)
{
    const sim_server *server = arg;
    if (server->is_apart && server->lives_n == life) {
        sim_cluster_failover(server->number);
    }
}

void sim_cluster_cut_off(sim_server *server, uint64_t value)
{
    if (server->is_gone || server->primary != server->number || !server->is_there) {
        return;
    }
    sim_say("server %u is cut off from the others", server->number);
    server->is_apart = true;
    sim_at(sim_now() + NODE_TIMEOUT, on_timeout, server, server->lives_n);
    sim_at(sim_now() + 200 * SIM_MS + value % SIM_S, on_election, server, server->lives_n);
}

/* All at once, as where a whole installation moves: the old addresses swallow packets, names lead
 * to the new ones. */
void sim_cluster_replace_all(void)
{
    unsigned n = W.servers_n;
    for (unsigned i = 0; i < n; i++) {
        if (W.servers[i].is_gone) {
            return;
        }
    }
    if (!W.plan->has_names || 2 * n > SIM_SERVERS) {
        return;
    }
    sim_say("all servers are replaced");
    W.epoch++;
    for (unsigned i = 0; i < n; i++) {
        char name[16];
        sim_server *old = &W.servers[i];
        sim_server *fresh = sim_server_add();
        fresh->host->port = old->host->port;
        fresh->primary = (unsigned char)(old->primary + n);
        fresh->epoch = W.epoch;
        fresh->config_epoch = W.epoch;
        for (unsigned unit = 0; unit < W.units_n; unit++) {
            const sim_server *owner = sim_cluster_owner(unit);
            W.units[unit].from = SIM_NO_SERVER;
            unsigned number = owner == NULL ? 0 : owner->number % n;
            fresh->owners[unit] = (unsigned char)(number + n);
            fresh->epochs[unit] = W.epoch;
            if (number == i) {
                sim_keyspace_take(fresh, &W.units[unit]);
                sim_near_take(fresh, &W.units[unit], false);
            }
        }
        snprintf(name, sizeof(name), "host%u", i);
        sim_name_set(name, fresh->host->ip);
        sim_server_start(fresh);
    }
    for (unsigned i = 0; i < n; i++) {
        W.servers[i].host->is_cut = true;
        sim_server_kill(&W.servers[i]);
        W.servers[i].is_gone = true;
    }
}

void sim_cluster_swap(unsigned first, unsigned second)
{
    sim_server *one = &W.servers[first];
    sim_server *other = &W.servers[second];
    if (one == other || one->is_gone || other->is_gone || W.plan->has_names) {
        return;
    }
    sim_say("servers %u and %u change places", first, second);
    sim_server_kill(one);
    sim_server_kill(other);
    sim_host *host = one->host;
    one->host = other->host;
    other->host = host;
    one->host->owner = one;
    other->host->owner = other;
}

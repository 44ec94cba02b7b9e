/* SPDX-License-Identifier: BSD-3-Clause */
/* A cluster whose parts do not see each other, and nodes that come back at each other's address. */
#include "sim/world.h"

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

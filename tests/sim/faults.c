/* SPDX-License-Identifier: BSD-3-Clause */
/* What goes wrong in a run, each with the end of it. */
#include "sim/callers.h"
#include "sim/run.h"
#include "sim/world.h"

#include <stdio.h>
#include <string.h>

#define W sim_the_world

static const sim_plan *the_plan;

static sim_server *target_of(const sim_fault *fault)
{
    return &W.servers[fault->target % W.servers_n];
}

/* Whom a server of a cluster changes places with. */
static unsigned other_of(const sim_fault *fault)
{
    return (unsigned)(fault->value % W.servers_n);
}

static void begin_birth(const sim_fault *fault)
{
    sim_server *server = target_of(fault);
    if (the_plan->kind == SIM_CLUSTER) {
        sim_cluster_swap(server->number, other_of(fault));
        return;
    }
    sim_server_kill(server);
    server->births_n++;
}

static void end_birth(const sim_fault *fault)
{
    sim_server *server = target_of(fault);
    sim_server_start(server);
    if (the_plan->kind == SIM_CLUSTER) {
        sim_server_start(&W.servers[other_of(fault)]);
    } else if (the_plan->kind == SIM_SENTINEL) {
        sim_sentinel_renew(server);
        sim_sentinel_on_back(server);
    } else {
        server->replid = ++W.replids_n;
    }
}

static void end_fault(void *arg, uint64_t number)
{
    (void)number;
    const sim_fault *fault = arg;
    sim_server *server = target_of(fault);
    switch (fault->kind) {
    case SIM_SWALLOW:
        server->host->is_cut = false;
        server->heard_ns = sim_now();
        return;
    case SIM_SLOWNESS:
        server->host->latency_ns = the_plan->latency_ns;
        return;
    case SIM_KILL:
        sim_server_start(server);
        sim_sentinel_on_back(server);
        return;
    case SIM_STOP:
        sim_server_stop(server, false);
        sim_sentinel_on_back(server);
        return;
    case SIM_APART:
        server->is_apart = false;
        server->condition = server->condition == SIM_CLUSTER_DOWN ? SIM_WELL : server->condition;
        sim_sentinel_on_back(server);
        return;
    case SIM_REBORN:
        end_birth(fault);
        return;
    case SIM_FORGET:
        sim_sentinel_confuse(fault->target, fault->value, false);
        return;
    case SIM_STRANGER:
        sim_stranger_leave(&W.servers[sim_stranger_of(fault->target)]);
        return;
    case SIM_STATE:
        server->condition = SIM_WELL;
        return;
    case SIM_TRICKLE:
        sim_system_shorten(0);
        return;
    case SIM_NUMBERS:
        sim_fds_left = -1;
        return;
    case SIM_NAMES_AWAY:
        sim_names_wait(the_plan->latency_ns);
        sim_names_forget(false);
        return;
    default:
        return;
    }
}

/* Streams of the target, by chance; one in so many. */
static void harm_streams(const sim_fault *fault, unsigned one_in)
{
    const sim_host *host = target_of(fault)->host;
    for (unsigned i = 0; i < sim_net_sockets_n(); i++) {
        sim_socket *socket = sim_net_socket_at(i);
        if (socket->host != host || socket->state != SIM_OPEN || !sim_one_in(one_in)) {
            continue;
        }
        if (fault->kind == SIM_SILENCE) {
            sim_say("socket %u to port %u is half open", i, host->port);
            socket->is_silent = true;
        } else if (sim_one_in(2)) {
            socket->up.cut_after = (size_t)sim_random(120);
        } else {
            socket->down.cut_after = (size_t)sim_random(120);
        }
    }
}

/* Nothing is outstanding, and what was answered last was read a while ago: whoever asks next looks
 * at the connection before. */
static bool is_at_rest(const sim_socket *socket)
{
    return sim_net_is_quiet(socket) && sim_now() > socket->quiet_ns + 2 * SIM_MS;
}

/* And nobody is about to ask: none runs, and nothing that blocks is to be answered. */
static bool may_come_unasked(const sim_socket *socket)
{
    const sim_peer *peer = socket->session;
    return is_at_rest(socket) && peer != NULL && !peer->is_blocked && sim_ready_n() == 0;
}

/* What ends no reply would swallow those behind it, and be a reply then, which nobody can tell: it
 * comes where none is on its way, and is there at once. */
static void send_garbage(const sim_fault *fault)
{
    static const char *const texts[] = {"\x16\x03\x01", "HTTP/1.1 400\r\n", "*1073741824\r\n",
                                        "$-7\r\n",      ":12x\r\n",         "*3\r\n*3\r\n"};
    const sim_host *host = target_of(fault)->host;
    for (unsigned i = 0; i < sim_net_sockets_n(); i++) {
        sim_socket *socket = sim_net_socket_at(i);
        const sim_peer *peer = socket->session;
        if (socket->host == host && socket->state == SIM_OPEN && peer != NULL && sim_one_in(2)) {
            bool is_unasked = may_come_unasked(socket);
            const char *text = texts[fault->value % (is_unasked ? 6 : 5)];
            sim_say("garbage on socket %u of port %u", i, host->port);
            if (is_unasked) {
                sim_net_inject(socket, text, strlen(text));
            } else {
                sim_net_answer(socket, text, strlen(text));
            }
        }
    }
}

/* The last reply of the stream, once more; "" where it is not whole any more. Messages are none. */
static size_t copy_last(char *text, size_t len, const sim_socket *socket)
{
    const sim_pipe *down = &socket->down;
    bool is_there = socket->answer_len <= down->begin && socket->answer_len <= len;
    size_t n = is_there ? socket->answer_len : 0;
    memcpy(text, down->data + down->begin - n, n);
    return n > 0 && text[0] == '>' ? 0 : n;
}

/* A reply that nobody has asked for: any, or one that was given already. */
static void send_unasked(const sim_fault *fault)
{
    static const char *const texts[] = {"+OK\r\n", ":1\r\n", "$1\r\nx\r\n", "-ERR what\r\n"};
    for (unsigned i = 0; i < sim_net_sockets_n() && sim_ready_n() == 0; i++) {
        sim_socket *socket = sim_net_socket_at(i);
        const sim_peer *peer = socket->session;
        if (socket->state == SIM_OPEN && may_come_unasked(socket) && peer->served_n > 0 &&
            sim_one_in(2)) {
            char last[256];
            bool is_twice = fault->value / 4 % 2 == 0 && peer->channels == 0 && !peer->is_listening;
            size_t last_len = is_twice ? copy_last(last, sizeof(last), socket) : 0;
            const char *text = last_len > 0 ? last : texts[fault->value % 4];
            size_t len = last_len > 0 ? last_len : strlen(text);
            sim_say("unasked: %.3s on socket %u%s", text, i, last_len > 0 ? ", once more" : "");
            sim_net_inject(socket, text, len);
        }
    }
}

/* Mostly slots of keys, that somebody notices. */
static unsigned unit_of(const sim_fault *fault)
{
    unsigned unit = (unsigned)(fault->value / 64 % W.units_n);
    for (unsigned i = 0; i < W.units_n; i++) {
        if (W.units[i].first == W.key_slots[fault->target % SIM_KEYS]) {
            unit = i;
        }
    }
    return unit;
}

/* Dead or still: its replica takes over after a while. */
static void on_election(void *arg, uint64_t number)
{
    const sim_server *server = arg;
    (void)number;
    bool is_away = !server->is_there || server->is_stopped || server->is_apart;
    if (is_away && the_plan->kind == SIM_CLUSTER) {
        sim_cluster_failover(server->number);
    } else if (is_away && server->number == W.group_primary) {
        sim_sentinel_failover();
    }
}

static void elect_later(sim_server *server, const sim_fault *fault)
{
    bool has_replicas = the_plan->kind == SIM_CLUSTER || the_plan->kind == SIM_SENTINEL;
    if (has_replicas && fault->value % 2 == 0) {
        sim_at(sim_now() + 200 * SIM_MS + fault->value % SIM_S, on_election, server, 0);
    }
}

static void harm_group(const sim_fault *fault)
{
    if (fault->kind == SIM_FORGET) {
        sim_sentinel_confuse(fault->target, fault->value, true);
        return;
    }
    if (fault->kind == SIM_APART) {
        target_of(fault)->is_apart = true;
        sim_at(sim_now() + 200 * SIM_MS + fault->value % SIM_S, on_election, target_of(fault), 0);
    } else {
        sim_sentinel_failover();
    }
}

static void harm_cluster(const sim_fault *fault)
{
    unsigned first = fault->target % W.servers_n;
    unsigned second = (unsigned)(fault->value % W.servers_n);
    if (fault->kind == SIM_MOVE) {
        sim_cluster_move(unit_of(fault), second, fault->length_ns);
    } else if (fault->kind == SIM_APART) {
        sim_cluster_cut_off(&W.servers[first], fault->value);
    } else if (fault->kind == SIM_UNSERVED) {
        sim_cluster_unserve(unit_of(fault), fault->length_ns);
    } else if (fault->kind == SIM_MOVE_ALL) {
        sim_cluster_move_all(first, second);
    } else if (fault->kind == SIM_FAILOVER) {
        sim_cluster_failover(W.servers[first].primary);
    } else if (fault->kind == SIM_REPLACE_ALL) {
        sim_cluster_replace_all();
    } else if (W.servers_n < SIM_SERVERS && fault->kind == SIM_REPLACE) {
        sim_cluster_replace(first);
    }
}

/* Failures are a row while none is further from the one before than the library says: two seconds,
 * and what a call may wait before it fails. */
#define ROW_NS (5 * SIM_S / 2)

/* What is over when the fault is: all that was counted against servers is forgotten some time
 * later. */
static bool passes(sim_fault_kind kind)
{
    return kind == SIM_KILL || kind == SIM_STOP || kind == SIM_SWALLOW;
}

/* Since when something is wrong: what went before, and was over long ago, is nothing of now. */
static void note_outage(const sim_fault *fault)
{
    sim_crew *crew = &sim_the_crew;
    if (crew->fault_ns == SIM_NEVER || sim_now() > crew->outage_ns) {
        crew->fault_ns = sim_now();
        crew->outage_ns = 0;
    }
    uint64_t end_ns = passes(fault->kind)
                          ? sim_now() + fault->length_ns + ROW_NS + the_plan->timeout_ms * SIM_MS
                          : SIM_NEVER;
    crew->outage_ns = end_ns > crew->outage_ns ? end_ns : crew->outage_ns;
}

static void begin_fault(void *arg, uint64_t number)
{
    sim_fault *fault = arg;
    sim_server *server = target_of(fault);
    if (sim_the_crew.heal_ns != SIM_NEVER) { /* in a forked child all was well earlier */
        return;
    }
    sim_say("fault %lu: %s at server %u", (unsigned long)number, sim_fault_name(fault->kind),
            server->number);
    note_outage(fault);
    switch (fault->kind) {
    case SIM_RESETS:
        sim_host_reset(server->host);
        break;
    case SIM_CUTS:
    case SIM_SILENCE:
        harm_streams(fault, the_plan->owes || the_plan->well_ns > 0 ? 1 : 2);
        break;
    case SIM_SWALLOW:
        server->host->is_cut = true;
        server->silent_ns = sim_now();
        server->heard_ns = SIM_NEVER;
        break;
    case SIM_SLOWNESS:
        server->host->latency_ns = the_plan->latency_ns * 4 + fault->value % (400 * SIM_MS);
        break;
    case SIM_KILL:
        sim_server_kill(server);
        elect_later(server, fault);
        break;
    case SIM_STOP:
        sim_server_stop(server, true);
        elect_later(server, fault);
        break;
    case SIM_STATE:
        server->is_fitful = fault->value / 64 % 2 == 0;
        server->condition = (sim_condition)(1 + fault->value % (SIM_CONDITIONS_N - 1));
        if (server->condition == SIM_CLUSTER_DOWN && the_plan->kind != SIM_CLUSTER) {
            server->condition = SIM_LOADING;
        }
        break;
    case SIM_GARBAGE:
        send_garbage(fault);
        break;
    case SIM_UNASKED:
        send_unasked(fault);
        break;
    case SIM_TRICKLE:
        sim_system_shorten(1 + fault->value % 20);
        break;
    case SIM_CLOCK:
        sim_wall_step((int64_t)(fault->value % 200000000) - 100000000);
        break;
    case SIM_NUMBERS:
        sim_fds_left = (long)(fault->value % 3);
        break;
    case SIM_NAMES_AWAY:
        sim_names_wait(fault->value % (3 * SIM_S));
        sim_names_forget(fault->value / 8 % 4 == 0);
        break;
    case SIM_MOVE:
    case SIM_MOVE_ALL:
    case SIM_FAILOVER:
    case SIM_UNSERVED:
    case SIM_REPLACE:
    case SIM_REPLACE_ALL:
    case SIM_APART:
    case SIM_FORGET:
        if (the_plan->kind == SIM_SENTINEL) {
            harm_group(fault);
        } else {
            harm_cluster(fault);
        }
        break;
    case SIM_REBORN:
        begin_birth(fault);
        break;
    case SIM_STRANGER:
        sim_stranger_come(&W.servers[sim_stranger_of(fault->target)], fault->value);
        break;
    case SIM_FORK:
        sim_fork();
        break;
    case SIM_MEMBERS:
        sim_members_change(fault->target, fault->value);
        break;
    case SIM_NO_FAULT:
    case SIM_MEMORY:
    case SIM_CLOSE:
    case SIM_DRAIN:
    case SIM_FAULTS_N:
        break;
    }
    sim_at(sim_now() + fault->length_ns, end_fault, fault, number);
}

void sim_faults_begin(const sim_plan *plan)
{
    static sim_fault begun[SIM_FAULTS];
    the_plan = plan;
    memcpy(begun, plan->faults, sizeof(begun));
    for (unsigned i = 0; i < plan->faults_n; i++) {
        if (!plan->faults[i].is_off) {
            sim_at(sim_now() + plan->faults[i].at_ns, begin_fault, &begun[i], i);
        }
    }
}

void sim_faults_end(void)
{
    sim_system_shorten(0);
    sim_fds_left = -1;
    sim_names_wait(the_plan->latency_ns);
    sim_names_forget(false);
}

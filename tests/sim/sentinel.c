/* SPDX-License-Identifier: BSD-3-Clause */
/* A Sentinel group: whom each sentinel names, by which configuration; failovers, and who hears of
 * them when; sentinels that are behind, disagree, or have forgotten the group. */
#include "sim/world.h"

#include <stdio.h>
#include <string.h>

#define W     sim_the_world
#define GROUP "group"

/* A replica that was promoted is named by the sentinel that did so, then by the others. */
#define LEAD_MOST  SIM_S
#define NEWS_LEAST (5 * SIM_MS)
#define NEWS_MOST  (300 * SIM_MS)

/* A server that comes back as what it is not any more is told so after a while. */
#define DEMOTE_LEAST (200 * SIM_MS)
#define DEMOTE_MOST  (3 * SIM_S)

/* A server of the group is given up after so long. */
#define DOWN_AFTER_MS 1000

bool sim_server_is_sentinel(const sim_server *server)
{
    return W.plan->kind == SIM_SENTINEL && server->number >= W.sentinels_from &&
           server->number < W.sentinels_end;
}

static bool is_reachable(const sim_server *server)
{
    return server->is_there && !server->is_stopped && !server->is_apart && !server->host->is_cut;
}

void sim_sentinel_begin(void)
{
    for (unsigned i = 0; i < W.plan->replicas_n; i++) {
        sim_server *replica = sim_server_add();
        replica->primary = 0;
        replica->replid = W.servers[0].replid;
    }
    W.sentinels_from = W.servers_n;
    W.group_primary = 0;
    W.epoch = 1;
    for (unsigned i = 0; i < W.plan->sentinels_n; i++) {
        sim_server *sentinel = sim_server_add();
        sentinel->named = 0;
        sentinel->epoch = W.epoch;
        sentinel->heir = SIM_NO_SERVER;
    }
    W.sentinels_end = W.servers_n;
    sim_strangers_begin();
}

static void ip_of(char *text, size_t len, const sim_server *server)
{
    uint32_t ip = server->host->ip;
    snprintf(text, len, "10.0.%u.%u", ip >> 8 & 255, ip & 255);
}

/* What the sentinel publishes, to all who listen. */
static void publish(const sim_server *sentinel, const char *channel, const char *text)
{
    for (unsigned i = 0; i < W.peers_n; i++) {
        sim_peer *peer = &W.peers[i];
        if (peer->server == sentinel && peer->is_listening) {
            sim_peer_say(peer, "*4\r\n$8\r\npmessage\r\n$1\r\n*\r\n$%zu\r\n%s\r\n$%zu\r\n%s\r\n",
                         strlen(channel), channel, strlen(text), text);
        }
    }
}

static void learn(sim_server *sentinel, unsigned primary, unsigned epoch)
{
    char text[120];
    char before[24];
    char now[24];
    ip_of(before, sizeof(before), &W.servers[sentinel->named]);
    ip_of(now, sizeof(now), &W.servers[primary]);
    snprintf(text, sizeof(text), GROUP " %s %u %s %u", before,
             W.servers[sentinel->named].host->port, now, W.servers[primary].host->port);
    sim_say("server %u, a sentinel, names %u from here on", sentinel->number, primary);
    sentinel->named = (unsigned char)primary;
    sentinel->epoch = epoch;
    sentinel->heir = SIM_NO_SERVER;
    publish(sentinel, "+switch-master", text);
}

/* value: the primary, and the epoch above it. */
static void on_news(void *arg, uint64_t value)
{
    sim_server *sentinel = arg;
    unsigned epoch = (unsigned)(value >> 8);
    if (epoch <= sentinel->epoch || sentinel->stranger != SIM_NO_STRANGER) {
        return;
    }
    if (!is_reachable(sentinel)) {
        sim_at(sim_now() + NEWS_MOST, on_news, sentinel, value);
        return;
    }
    learn(sentinel, (unsigned)(value & 255), epoch);
}

static void follow(sim_server *server, unsigned primary)
{
    sim_say("server %u follows %u", server->number, primary);
    server->primary = (unsigned char)primary;
    server->replid = W.servers[primary].replid;
    server->replid2 = W.servers[primary].replid2;
    sim_near_follow(server);
    if (sim_one_in(2)) { /* CLIENT KILL */
        sim_host_reset(server->host);
    }
}

/* Servers that are away, or that nobody can tell, follow later: sim_sentinel_on_back. */
static void follow_all(void)
{
    for (unsigned i = 0; i < W.sentinels_from; i++) {
        if (i != W.group_primary && W.servers[i].primary != W.group_primary &&
            is_reachable(&W.servers[i])) {
            follow(&W.servers[i], W.group_primary);
        }
    }
}

static void on_demote(void *arg, uint64_t value)
{
    sim_server *server = arg;
    (void)value;
    if (server->primary != W.group_primary && is_reachable(server)) {
        follow(server, W.group_primary);
    }
}

void sim_sentinel_on_back(sim_server *server)
{
    if (W.plan->kind == SIM_SENTINEL && server->number < W.sentinels_from) {
        sim_at(sim_now() + sim_between(DEMOTE_LEAST, DEMOTE_MOST), on_demote, server, 0);
    }
}

void sim_sentinel_failover(void)
{
    sim_server *heir = NULL;
    for (unsigned i = 0; i < W.sentinels_from; i++) {
        bool is_replica = W.servers[i].primary == W.group_primary && i != W.group_primary;
        heir = is_replica && is_reachable(&W.servers[i]) ? &W.servers[i] : heir;
    }
    sim_server *leader = NULL;
    for (unsigned i = W.sentinels_from; i < W.sentinels_end && leader == NULL; i++) {
        sim_server *one = &W.servers[i];
        bool is_well = is_reachable(one) && one->stranger == SIM_NO_STRANGER;
        leader = is_well && !one->has_forgotten && one->epoch == W.epoch ? one : NULL;
    }
    if (heir == NULL || leader == NULL) {
        return;
    }
    sim_say("server %u is promoted in the place of %u", heir->number, W.group_primary);
    sim_server *before = &W.servers[W.group_primary];
    heir->primary = (unsigned char)heir->number;
    heir->replid2 = heir->replid;
    heir->replid = ++W.replids_n;
    sim_near_inherit(heir, W.group_primary);
    W.group_primary = heir->number;
    W.epoch++;
    if (sim_one_in(2)) {
        sim_host_reset(heir->host);
    }
    if (is_reachable(before)) { /* it was asked to: by SENTINEL FAILOVER */
        sim_sentinel_on_back(before);
    }
    follow_all();
    leader->heir = (unsigned char)heir->number;
    uint64_t told_ns = sim_now() + sim_random(LEAD_MOST);
    for (unsigned i = W.sentinels_from; i < W.sentinels_end; i++) {
        uint64_t later_ns = &W.servers[i] == leader ? 0 : sim_between(NEWS_LEAST, NEWS_MOST);
        sim_at(told_ns + later_ns, on_news, &W.servers[i], heir->number | (uint64_t)W.epoch << 8);
    }
}

/* One that believes less, or something else. */
void sim_sentinel_confuse(unsigned target, uint64_t value, bool begins)
{
    unsigned n = W.sentinels_end - W.sentinels_from;
    for (unsigned i = 0; i < n; i++) {
        sim_server *sentinel = &W.servers[W.sentinels_from + i];
        bool is_meant = value % 5 == 0 || i == target % n; /* 0: the group has another name */
        if (!is_meant || sentinel->stranger != SIM_NO_STRANGER) {
            continue;
        }
        if (!begins) {
            sentinel->has_forgotten = false;
            sentinel->is_blind = false;
            on_news(sentinel, W.group_primary | (uint64_t)W.epoch << 8);
        } else if (value % 5 < 2) {
            sentinel->has_forgotten = true;
        } else if (value % 5 == 2) {
            sentinel->is_blind = true;
        } else { /* behind: it names one of before */
            sentinel->named = (unsigned char)(value / 5 % W.sentinels_from);
            sentinel->epoch = sentinel->epoch > 0 ? sentinel->epoch - 1 : 0;
        }
    }
}

/* The server has lost its data, and stands where it stood. */
void sim_sentinel_renew(sim_server *server)
{
    if (server->number >= W.sentinels_from) {
        return;
    }
    if (server->primary != server->number) {
        follow(server, server->primary);
        return;
    }
    server->replid = ++W.replids_n;
    server->replid2 = 0;
    for (unsigned i = 0; i < W.sentinels_from; i++) {
        if (i != server->number && W.servers[i].primary == server->number) {
            follow(&W.servers[i], server->number);
        }
    }
}

void sim_sentinel_heal(void)
{
    for (unsigned i = 0; i < W.sentinels_from; i++) {
        if (i != W.group_primary) {
            follow(&W.servers[i], W.group_primary);
        }
    }
    for (unsigned i = W.sentinels_from; i < W.sentinels_end; i++) {
        W.servers[i].has_forgotten = false;
        W.servers[i].is_blind = false;
        W.servers[i].heir = SIM_NO_SERVER;
        W.servers[i].named = (unsigned char)W.group_primary;
        W.servers[i].epoch = W.epoch;
    }
}

/* Answers. */

typedef struct answer {
    char bytes[4096];
    size_t len;
} answer;

static void add_text(answer *to, const char *text)
{
    to->len += (size_t)snprintf(to->bytes + to->len, sizeof(to->bytes) - to->len, "$%zu\r\n%s\r\n",
                                strlen(text), text);
}

static void add_number(answer *to, const char *name, unsigned number)
{
    char text[16];
    snprintf(text, sizeof(text), "%u", number);
    add_text(to, name);
    add_text(to, text);
}

/* A server as a list of names and values. */
static void add_server(answer *to, const sim_server *self, const sim_server *server)
{
    char text[48];
    bool is_down = !server->is_there || server->is_stopped || server->host->is_cut ||
                   server->is_apart != self->is_apart;
    bool is_sentinel = sim_server_is_sentinel(server);
    const char *role = is_sentinel                     ? "sentinel"
                       : server->number == self->named ? "master"
                       : server->number == self->heir  ? "slave,promoted"
                                                       : "slave";
    to->len += (size_t)snprintf(to->bytes + to->len, sizeof(to->bytes) - to->len, "*12\r\n");
    add_text(to, "ip");
    ip_of(text, sizeof(text), server);
    add_text(to, text);
    add_number(to, "port", server->host->port);
    add_text(to, "runid");
    snprintf(text, sizeof(text), "%040u", 1000 * (server->number + 1) + server->births_n);
    add_text(to, text);
    add_text(to, "flags");
    snprintf(text, sizeof(text), "%s%s", role, is_down ? ",s_down,disconnected" : "");
    add_text(to, text);
    add_number(to, "down-after-milliseconds", DOWN_AFTER_MS);
    add_number(to, "config-epoch", self->epoch);
}

/* The others: replicas, or sentinels. */
static void answer_list(sim_peer *peer, bool wants_sentinels)
{
    const sim_server *self = peer->server;
    bool is_blind = self->is_blind || self->stranger != SIM_NO_STRANGER;
    static answer all;
    unsigned n = 0;
    all.len = 0;
    for (unsigned i = 0; i < W.sentinels_end && !is_blind; i++) {
        const sim_server *server = &W.servers[i];
        if (sim_server_is_sentinel(server) == wants_sentinels && server != self &&
            (wants_sentinels || i != self->named)) {
            add_server(&all, self, server);
            n++;
        }
    }
    sim_peer_say(peer, "*%u\r\n%.*s", n, (int)all.len, all.bytes);
}

static void answer_sentinel(sim_peer *peer, const sim_word *argv, size_t argc)
{
    static answer one;
    const sim_server *self = peer->server;
    bool is_foreign = self->stranger != SIM_NO_STRANGER;
    const sim_server *named = &W.servers[is_foreign ? W.foreign : self->named];
    bool is_known =
        argc > 2 && sim_word_is(&argv[2], GROUP) && (!self->has_forgotten || is_foreign);
    one.len = 0;
    if (argc == 2 && sim_word_is(&argv[1], "MYID")) {
        unsigned id = 1000 * (self->number + 1) + self->births_n + (is_foreign ? 500 : 0);
        sim_peer_say(peer, "$40\r\n%040u\r\n", id);
    } else if (argc > 1 && sim_word_is(&argv[1], "GET-MASTER-ADDR-BY-NAME")) {
        char ip[24];
        char port[16];
        ip_of(ip, sizeof(ip), named);
        snprintf(port, sizeof(port), "%u", named->host->port);
        add_text(&one, ip);
        add_text(&one, port);
        sim_say("server %u, a sentinel, names %u", self->number, named->number);
        sim_peer_say(peer, is_known ? "*2\r\n%s" : "*-1\r\n", one.bytes);
    } else if (!is_known) {
        sim_peer_say(peer, "-ERR No such master with that name\r\n");
    } else if (sim_word_is(&argv[1], "REPLICAS") || sim_word_is(&argv[1], "SLAVES")) {
        answer_list(peer, false);
    } else if (sim_word_is(&argv[1], "SENTINELS")) {
        answer_list(peer, true);
    } else if (sim_word_is(&argv[1], "MASTER")) {
        add_server(&one, self, named);
        sim_peer_say(peer, "%s", one.bytes);
    } else {
        sim_peer_say(peer, "-ERR Unknown sentinel subcommand\r\n");
    }
}

bool sim_sentinel_run(sim_peer *peer, const sim_word *argv, size_t argc)
{
    if (sim_word_is(&argv[0], "SENTINEL")) {
        answer_sentinel(peer, argv, argc);
        return true;
    }
    if (sim_word_is(&argv[0], "PSUBSCRIBE")) {
        peer->is_listening = true;
        sim_peer_say(peer, "*3\r\n$10\r\npsubscribe\r\n$1\r\n*\r\n:1\r\n");
        return true;
    }
    return false;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* A cluster: what each node knows of who owns which slots, by epochs; moves, failovers, and news
 * that travel from node to node. */
#include "sim/world.h"

#include "route/slot.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define W sim_the_world

/* News between two nodes take so long. */
#define NEWS_LEAST (5 * SIM_MS)
#define NEWS_MOST  (300 * SIM_MS)

/* So many maps a second are read by a handle, at most. */
#define MAPS_MAX 10

static unsigned unit_of(unsigned slot)
{
    unsigned unit = 0;
    while (W.units[unit].last < slot) {
        unit++;
    }
    return unit;
}

/* Slots of the keys are units of their own, so that they can move alone. */
static void make_units(void)
{
    bool is_key[16384] = {false};
    for (unsigned i = 0; i < SIM_KEYS; i++) {
        is_key[W.key_slots[i]] = true;
    }
    unsigned begin = 0;
    unsigned share = 16384 / W.plan->primaries_n;
    for (unsigned slot = 0; slot < 16384; slot++) {
        bool ends = slot == 16383 || is_key[slot] || is_key[slot + 1] || (slot + 1) % share == 0;
        if (ends) {
            if (W.units_n == SIM_UNITS) {
                sim_fail("too many units of slots");
            }
            W.units[W.units_n++] = (sim_unit){begin, slot, SIM_NO_SERVER, SIM_NO_SERVER, false};
            begin = slot + 1;
        }
    }
}

void sim_cluster_begin(void)
{
    unsigned n = W.plan->primaries_n;
    make_units();
    W.epoch = n;
    for (unsigned i = 0; i < n * W.plan->replicas_n; i++) {
        sim_server_add()->primary = (unsigned char)(i % n);
    }
    for (unsigned i = 0; i < W.servers_n; i++) {
        W.servers[i].epoch = W.epoch;
        for (unsigned unit = 0; unit < W.units_n; unit++) {
            unsigned owner = W.units[unit].first / (16384 / n);
            W.servers[i].owners[unit] = (unsigned char)(owner < n ? owner : n - 1);
            W.servers[i].epochs[unit] = 1;
        }
    }
}

/* What is true: the word of the greatest epoch. */
sim_server *sim_cluster_owner(unsigned unit)
{
    const sim_server *best = &W.servers[0];
    for (unsigned i = 1; i < W.servers_n; i++) {
        if (W.servers[i].epochs[unit] > best->epochs[unit]) {
            best = &W.servers[i];
        }
    }
    unsigned char owner = best->owners[unit];
    return owner == SIM_NO_SERVER ? NULL : &W.servers[owner];
}

/* News: a node learns all that another one knows better. */

static void learn(sim_server *to, const sim_server *from)
{
    for (unsigned unit = 0; unit < W.units_n; unit++) {
        if (from->epochs[unit] > to->epochs[unit]) {
            to->owners[unit] = from->owners[unit];
            to->epochs[unit] = from->epochs[unit];
        }
    }
    to->epoch = from->epoch > to->epoch ? from->epoch : to->epoch;
}

static void on_news(void *arg, uint64_t from)
{
    sim_server *to = arg;
    const sim_server *source = &W.servers[from];
    if (!to->is_there || to->is_stopped || !source->is_there || source->is_stopped ||
        to->host->is_cut || source->host->is_cut || to->is_apart != source->is_apart) {
        if (!to->is_gone && !source->is_gone) {
            sim_at(sim_now() + NEWS_MOST, on_news, to, from);
        }
        return;
    }
    learn(to, source);
    /* Who lost its slots to another is that one's replica. */
    unsigned char primary = source->primary == source->number ? to->primary : source->primary;
    if (primary == source->number && to->primary == to->number && to != source) {
        to->primary = primary;
    }
}

static void spread(const sim_server *source)
{
    for (unsigned i = 0; i < W.servers_n; i++) {
        if (i != source->number && !W.servers[i].is_gone) {
            sim_at(sim_now() + sim_between(NEWS_LEAST, NEWS_MOST), on_news, &W.servers[i],
                   source->number);
        }
    }
}

static void own(sim_server *server, unsigned unit, unsigned epoch)
{
    server->owners[unit] = (unsigned char)server->number;
    server->epochs[unit] = epoch;
    server->epoch = epoch;
}

/* One slot: its keys go first, then the new owner says that it is, then everybody learns it. */

static void end_move(void *arg, uint64_t unit)
{
    sim_unit *self = arg;
    if (self->from == SIM_NO_SERVER) {
        return;
    }
    sim_server *to = &W.servers[self->to];
    sim_server *from = &W.servers[self->from];
    self->from = SIM_NO_SERVER;
    if (to->is_there && !to->is_stopped && to->primary == to->number && !to->is_apart &&
        from->owners[unit] == from->number) {
        sim_say("slots %u to %u are server %u's", self->first, self->last, to->number);
        own(to, (unsigned)unit, ++W.epoch);
        if (from->is_there && !from->is_stopped) {
            learn(from, to);
        }
        spread(to);
    }
}

static void move_keys(void *arg, uint64_t value)
{
    sim_unit *self = arg;
    (void)value;
    self->is_gone = true;
}

void sim_cluster_move(unsigned unit, unsigned to, uint64_t length_ns)
{
    sim_unit *self = &W.units[unit];
    sim_server *from = sim_cluster_owner(unit);
    if (self->from != SIM_NO_SERVER || from == NULL || from->number == to ||
        W.servers[to].primary != to) {
        return;
    }
    sim_say("slots %u to %u begin to move from server %u to %u", self->first, self->last,
            from->number, to);
    self->from = (unsigned char)from->number;
    self->to = (unsigned char)to;
    self->is_gone = false;
    sim_at(sim_now() + length_ns / 2, move_keys, self, 0);
    sim_at(sim_now() + length_ns, end_move, self, unit);
}

/* As a whole (Valkey 9): in one moment all is the other one's. */
void sim_cluster_move_all(unsigned from, unsigned to)
{
    sim_server *source = &W.servers[from];
    sim_server *target = &W.servers[to];
    if (from == to || target->primary != to || !target->is_there || target->is_stopped ||
        !source->is_there || source->is_stopped || source->is_apart || target->is_apart) {
        return;
    }
    W.epoch++;
    for (unsigned unit = 0; unit < W.units_n; unit++) {
        if (W.units[unit].from == SIM_NO_SERVER && source->owners[unit] == from &&
            sim_cluster_owner(unit) == source) {
            own(target, unit, W.epoch);
        }
    }
    sim_say("all slots of server %u are server %u's", from, to);
    learn(source, target);
    spread(target);
}

void sim_cluster_failover(unsigned primary)
{
    for (unsigned i = 0; i < W.servers_n; i++) {
        sim_server *replica = &W.servers[i];
        if (replica->primary == primary && i != primary && replica->is_there &&
            !replica->is_stopped && !replica->is_gone && !replica->is_apart) {
            sim_say("server %u takes over from %u", i, primary);
            replica->primary = (unsigned char)i;
            W.epoch++;
            for (unsigned unit = 0; unit < W.units_n; unit++) {
                const sim_server *owner = sim_cluster_owner(unit);
                if (owner != NULL && owner->number == primary) {
                    W.units[unit].from = SIM_NO_SERVER;
                    own(replica, unit, W.epoch);
                }
            }
            for (unsigned k = 0; k < W.servers_n; k++) {
                if (W.servers[k].primary == primary && k != primary) {
                    W.servers[k].primary = (unsigned char)i;
                }
            }
            spread(replica);
            return;
        }
    }
}

/* A slot has no owner: its last one says so, and everybody hears it at once. */
static void serve_again(void *arg, uint64_t owner)
{
    unsigned unit = (unsigned)((const sim_unit *)arg - W.units);
    for (unsigned i = 0;
         i < W.servers_n && (W.servers[owner].is_gone || W.servers[owner].primary != owner); i++) {
        owner = i; /* it was replaced, or is a replica now */
    }
    W.epoch++;
    sim_say("slots from %u are served again", W.units[unit].first);
    for (unsigned i = 0; i < W.servers_n; i++) {
        W.servers[i].owners[unit] = (unsigned char)owner;
        W.servers[i].epochs[unit] = W.epoch;
    }
}

void sim_cluster_unserve(unsigned unit, uint64_t length_ns)
{
    const sim_server *owner = sim_cluster_owner(unit);
    if (owner == NULL || W.units[unit].from != SIM_NO_SERVER) {
        return;
    }
    sim_say("slots from %u are nobody's", W.units[unit].first);
    sim_at(sim_now() + length_ns, serve_again, &W.units[unit], owner->number);
    W.epoch++;
    for (unsigned i = 0; i < W.servers_n; i++) {
        W.servers[i].owners[unit] = SIM_NO_SERVER;
        W.servers[i].epochs[unit] = W.epoch;
    }
}

/* True where no other server of the settings would be left: nobody could find the cluster any more.
 */
static bool is_last_seed(unsigned number)
{
    unsigned left_n = 0;
    for (unsigned i = 0; i < W.plan->primaries_n; i++) {
        left_n += i != number && !W.servers[i].is_gone ? 1 : 0;
    }
    return left_n == 0;
}

/* Another server takes all that this one had, which goes for good. */
void sim_cluster_replace(unsigned number)
{
    if (W.servers_n == SIM_SERVERS || W.servers[number].primary != number ||
        W.servers[number].is_gone || is_last_seed(number)) {
        return;
    }
    sim_server *fresh = sim_server_add();
    memcpy(fresh->owners, W.servers[number].owners, sizeof(fresh->owners));
    memcpy(fresh->epochs, W.servers[number].epochs, sizeof(fresh->epochs));
    fresh->epoch = ++W.epoch;
    sim_server_start(fresh);
    sim_say("server %u comes in the place of %u", fresh->number, number);
    for (unsigned unit = 0; unit < W.units_n; unit++) {
        const sim_server *owner = sim_cluster_owner(unit);
        if (owner != NULL && owner->number == number) {
            W.units[unit].from = SIM_NO_SERVER;
            own(fresh, unit, W.epoch);
        }
    }
    for (unsigned i = 0; i < W.servers_n; i++) {
        W.servers[i].primary = W.servers[i].primary == number && i != number
                                   ? (unsigned char)fresh->number
                                   : W.servers[i].primary;
    }
    sim_server_kill(&W.servers[number]);
    W.servers[number].is_gone = true;
    spread(fresh);
}

void sim_cluster_heal(void)
{
    for (unsigned unit = 0; unit < W.units_n; unit++) {
        W.units[unit].from = SIM_NO_SERVER;
    }
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < W.servers_n; i++) {
            for (unsigned k = 0; k < W.servers_n; k++) {
                learn(&W.servers[i], &W.servers[k]);
            }
        }
    }
    for (unsigned i = 0; i < W.servers_n; i++) {
        sim_server *server = &W.servers[i];
        bool owns = false;
        for (unsigned unit = 0; unit < W.units_n; unit++) {
            owns = owns || server->owners[unit] == i;
        }
        for (unsigned k = 0; k < W.servers_n && !owns && server->primary == i; k++) {
            bool is_owner = false;
            for (unsigned unit = 0; unit < W.units_n; unit++) {
                is_owner = is_owner || W.servers[0].owners[unit] == k;
            }
            server->primary = is_owner ? (unsigned char)k : server->primary;
        }
    }
}

/* Answers. */

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
    unsigned unit = unit_of(slots[0]);
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

/* The map of that server is given: those that have gone, and are not in it, have left. */
static void note_left(const sim_server *self)
{
    for (unsigned i = 0; i < W.servers_n; i++) {
        bool is_owner = false;
        for (unsigned unit = 0; unit < W.units_n; unit++) {
            is_owner = is_owner || self->owners[unit] == i;
        }
        bool has_left = W.servers[i].is_gone && !is_owner && W.servers[i].left_ns == SIM_NEVER;
        W.servers[i].left_ns = has_left ? sim_now() : W.servers[i].left_ns;
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
    } else {
        sim_peer_say(peer, "-ERR unknown subcommand\r\n");
    }
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* A cluster: what each node knows of who owns which slots, by epochs; moves, failovers, and news
 * that travel from node to node. */
#include "sim/world.h"

#include "route/slot.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define W sim_the_world

/* News between two nodes take so long, and are told again after so long where they cannot. */
#define NEWS_LEAST (5 * SIM_MS)
#define NEWS_AGAIN (300 * SIM_MS)

unsigned sim_cluster_unit(unsigned slot)
{
    unsigned unit = 0;
    while (W.units[unit].last < slot) {
        unit++;
    }
    return unit;
}

static void add_unit(unsigned first, unsigned last)
{
    if (W.units_n == SIM_UNITS) {
        sim_fail("too many units of slots");
    }
    W.units[W.units_n++] = (sim_unit){first, last, SIM_NO_SERVER, SIM_NO_SERVER, false, 0};
}

/* Slots of the keys are units of their own, so that they can move alone. */
static void make_units(void)
{
    unsigned share = 16384 / W.plan->primaries_n;
    for (unsigned begin = 0; begin < 16384;) {
        unsigned last = begin / share * share + share - 1;
        last = last < 16383 ? last : 16383;
        for (unsigned i = 0; i < SIM_KEYS; i++) {
            unsigned slot = W.key_slots[i];
            last = slot == begin ? begin : slot > begin && slot <= last ? slot - 1 : last;
        }
        add_unit(begin, last);
        begin = last + 1;
    }
}

unsigned sim_cluster_first_owner(const sim_plan *plan, unsigned slot)
{
    unsigned owner = slot / (16384 / plan->primaries_n);
    return owner < plan->primaries_n ? owner : plan->primaries_n - 1;
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
        W.servers[i].config_epoch = i + 1;
        for (unsigned unit = 0; unit < W.units_n; unit++) {
            W.servers[i].owners[unit] =
                (unsigned char)sim_cluster_first_owner(W.plan, W.units[unit].first);
            W.servers[i].epochs[unit] = 1;
        }
    }
}

bool sim_cluster_hears(const sim_server *server, unsigned slot)
{
    return server->owners[sim_cluster_unit(slot)] == server->primary;
}

bool sim_cluster_owns(const sim_server *server, unsigned slot)
{
    return server->owners[sim_cluster_unit(slot)] == server->number;
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
            if (to->owners[unit] == to->number && from->owners[unit] != to->number) {
                sim_keyspace_drop(to, &W.units[unit]);
            }
            to->owners[unit] = from->owners[unit];
            to->epochs[unit] = from->epochs[unit];
        }
    }
    to->epoch = from->epoch > to->epoch ? from->epoch : to->epoch;
    sim_messages_on_learnt(to);
}

static void on_news(void *arg, uint64_t from)
{
    sim_server *to = arg;
    const sim_server *source = &W.servers[from];
    if (!to->is_there || to->is_stopped || !source->is_there || source->is_stopped ||
        to->host->is_cut || source->host->is_cut || to->is_apart != source->is_apart) {
        if (!to->is_gone && !source->is_gone) {
            sim_at(sim_now() + NEWS_AGAIN, on_news, to, from);
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
            sim_at(sim_now() + sim_between(NEWS_LEAST, W.plan->news_ns), on_news, &W.servers[i],
                   source->number);
        }
    }
}

static void own(sim_server *server, unsigned unit, unsigned epoch)
{
    server->owners[unit] = (unsigned char)server->number;
    server->epochs[unit] = epoch;
    server->epoch = epoch;
    server->config_epoch = epoch;
    sim_keyspace_take(server, &W.units[unit]);
    sim_near_take(server, &W.units[unit], sim_one_in(2));
}

/* One slot: its keys go first, then the new owner says that it is, then everybody learns it. */

/* The new owner has to be there, and the old one to have the slots still. */
static bool may_end(const sim_unit *self, unsigned unit)
{
    const sim_server *to = &W.servers[self->to];
    return to->is_there && !to->is_stopped && to->primary == to->number && !to->is_apart &&
           W.servers[self->from].owners[unit] == self->from;
}

static void end_move(void *arg, uint64_t unit)
{
    sim_unit *self = arg;
    if (self->from == SIM_NO_SERVER || unit >> 16 != self->moves_n) {
        return;
    }
    unit &= 0xffff;
    sim_server *to = &W.servers[self->to];
    sim_server *from = &W.servers[self->from];
    if (may_end(self, (unsigned)unit)) {
        sim_say("slots %u to %u are server %u's", self->first, self->last, to->number);
        self->from = SIM_NO_SERVER;
        own(to, (unsigned)unit, ++W.epoch);
        if (from->is_there && !from->is_stopped) {
            learn(from, to);
        }
        spread(to);
    } else if (W.servers[self->from].owners[unit] == self->from && sim_keyspace_is_split(self)) {
        sim_at(sim_now() + NEWS_AGAIN, end_move, self, unit | (uint64_t)self->moves_n << 16);
    } else {
        sim_near_take(from, self, true);
        self->from = SIM_NO_SERVER;
    }
}

static void move_keys(void *arg, uint64_t value)
{
    sim_unit *self = arg;
    if (self->moves_n == value && self->from != SIM_NO_SERVER && !self->is_gone) {
        self->is_gone = true;
        sim_near_take(&W.servers[self->to], self, true);
    }
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
    sim_keyspace_move(self, length_ns);
    sim_at(sim_now() + length_ns / 2, move_keys, self, self->moves_n);
    sim_at(sim_now() + length_ns, end_move, self, unit | (uint64_t)self->moves_n << 16);
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

/* Slots that were on their way to a server are to the one that has its keys now. */
static void inherit(sim_server *heir, unsigned from)
{
    heir->keys |= W.servers[from].keys;
    sim_near_inherit(heir, from);
    for (unsigned unit = 0; unit < W.units_n; unit++) {
        sim_unit *moved = &W.units[unit];
        bool comes = moved->from != SIM_NO_SERVER && moved->to == from;
        moved->to = comes ? (unsigned char)heir->number : moved->to;
    }
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
            inherit(replica, primary);
            bool was_split = false;
            for (unsigned unit = 0; unit < W.units_n; unit++) {
                const sim_server *owner = sim_cluster_owner(unit);
                if (owner != NULL && owner->number == primary) {
                    was_split = was_split || (W.units[unit].from != SIM_NO_SERVER &&
                                              sim_keyspace_is_split(&W.units[unit]));
                    W.units[unit].from = SIM_NO_SERVER;
                    own(replica, unit, W.epoch);
                }
            }
            for (unsigned k = 0; k < W.servers_n; k++) {
                if (W.servers[k].primary == primary && k != primary) {
                    W.servers[k].primary = (unsigned char)i;
                }
            }
            if (was_split) { /* it knows of no motion any more, and that it owns nothing */
                learn(&W.servers[primary], replica);
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
    W.servers[owner].config_epoch = W.epoch;
    sim_keyspace_take(&W.servers[owner], &W.units[unit]);
    sim_near_take(&W.servers[owner], &W.units[unit], sim_one_in(2));
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
    inherit(fresh, number);
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

/* What has begun to move stays where it is, or is wholly the new owner's: as all its keys are. */
static void end_motion(unsigned unit)
{
    sim_unit *self = &W.units[unit];
    sim_server *owner = sim_cluster_owner(unit);
    if (self->from != SIM_NO_SERVER && sim_keyspace_is_split(self) && owner != NULL) {
        own(owner, unit, ++W.epoch);
        sim_keyspace_drop(&W.servers[self->to], self);
    }
    self->from = SIM_NO_SERVER;
}

void sim_cluster_heal(void)
{
    for (unsigned unit = 0; unit < W.units_n; unit++) {
        end_motion(unit);
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

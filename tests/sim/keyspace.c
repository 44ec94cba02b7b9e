/* SPDX-License-Identifier: BSD-3-Clause */
/* Keys that are there all the time, for those who walk them: which servers have them, while slots
 * move and primaries change, and what SCAN and its like say of them. No server loses one. */
#include "sim/world.h"

#include "route/slot.h"

#include <stdio.h>
#include <string.h>

#define W sim_the_world

/* Between two tries to move a key whose servers are away. */
#define AGAIN_NS (10 * SIM_MS)

/* Three of four are in slots that move alone. */
void sim_keyspace_name(char *text, size_t len, unsigned key)
{
    if (key % 4 == 3) {
        snprintf(text, len, "w:%u", key);
    } else {
        snprintf(text, len, "{k%u}w:%u", key % SIM_KEYS, key);
    }
}

static unsigned slots[SIM_WALKED];
static bool has_slots; /* they are the same in every life */

unsigned sim_keyspace_slot_of(unsigned key)
{
    return slots[key];
}

void sim_keyspace_begin(void)
{
    bool is_spread = W.plan->kind == SIM_RING;
    for (unsigned key = 0; key < SIM_WALKED && !has_slots; key++) {
        char name[24];
        sim_keyspace_name(name, sizeof(name), key);
        slots[key] = kw_slot_of(name, strlen(name));
    }
    has_slots = true;
    for (unsigned key = 0; key < SIM_WALKED; key++) {
        for (unsigned i = 0; i < W.servers_n; i++) {
            sim_server *server = &W.servers[i];
            bool has_it = W.plan->kind == SIM_CLUSTER
                              ? sim_cluster_owns(server, slots[key])
                              : !is_spread || key % W.plan->primaries_n == i;
            server->keys |= has_it ? (uint64_t)1 << key : 0;
        }
    }
}

/* Its keys among the slots first to last. */
static uint64_t keys_in(unsigned first, unsigned last)
{
    uint64_t keys = 0;
    for (unsigned key = 0; key < SIM_WALKED; key++) {
        keys |= slots[key] >= first && slots[key] <= last ? (uint64_t)1 << key : 0;
    }
    return keys;
}

void sim_keyspace_take(sim_server *server, const sim_unit *unit)
{
    server->keys |= keys_in(unit->first, unit->last);
}

void sim_keyspace_drop(sim_server *server, const sim_unit *unit)
{
    server->keys &= ~keys_in(unit->first, unit->last);
}

/* One key goes, as by MIGRATE: in one moment, while both are there. value: the key, and behind it
 * which motion of the slots it is. */
static void on_move(void *arg, uint64_t value)
{
    const sim_unit *unit = arg;
    uint64_t key = (uint64_t)1 << (value & 63);
    if (unit->from == SIM_NO_SERVER || unit->moves_n != value >> 6) {
        return;
    }
    sim_server *from = &W.servers[unit->from];
    sim_server *to = &W.servers[unit->to];
    if (!from->is_there || from->is_stopped || !to->is_there || to->is_stopped) {
        sim_at(sim_now() + AGAIN_NS, on_move, arg, value);
        return;
    }
    sim_say("key %u goes from server %u to %u", (unsigned)(value & 63), from->number, to->number);
    from->keys &= ~key;
    to->keys |= key;
}

void sim_keyspace_move(sim_unit *unit, uint64_t length_ns)
{
    uint64_t keys = W.plan->walks_n > 0 ? keys_in(unit->first, unit->last) : 0;
    unit->moves_n++;
    for (unsigned key = 0; key < SIM_WALKED; key++) {
        if ((keys & (uint64_t)1 << key) != 0) {
            sim_at(sim_now() + sim_random(length_ns + 1), on_move, unit,
                   (uint64_t)unit->moves_n << 6 | key);
        }
    }
}

bool sim_keyspace_is_split(const sim_unit *unit)
{
    uint64_t keys = keys_in(unit->first, unit->last);
    return (W.servers[unit->from].keys & keys) != keys;
}

/* A replica has what its primary has. */
static uint64_t keys_of(const sim_server *server)
{
    return W.servers[server->primary].keys;
}

/* Where a key stands in the table of this process: elsewhere in that of another one. */
static unsigned place_of(const sim_server *server, unsigned key)
{
    uint64_t hash = (key + 1) * 0x9e3779b97f4a7c15u ^ (server->number + 1) * 0xbf58476d1ce4e5b9u;
    hash = (hash ^ hash >> 30) * 0x94d049bb133111ebu + server->lives_n * 0xd6e8feb86659fd93u;
    hash = (hash ^ hash >> 27) * 0xbf58476d1ce4e5b9u;
    return 1 + (unsigned)(hash >> 40);
}

/* The first key at or behind that place; SIM_WALKED: none. */
static unsigned next_key(const sim_server *server, unsigned place)
{
    unsigned best = SIM_WALKED;
    for (unsigned key = 0; key < SIM_WALKED; key++) {
        unsigned at = place_of(server, key);
        bool has_it = (keys_of(server) & (uint64_t)1 << key) != 0 && at >= place;
        best = has_it && (best == SIM_WALKED || at < place_of(server, best)) ? key : best;
    }
    return best;
}

static size_t add_key(char *text, size_t len, unsigned key)
{
    char name[24];
    sim_keyspace_name(name, sizeof(name), key);
    return (size_t)snprintf(text, len, "$%zu\r\n%s\r\n", strlen(name), name);
}

/* SCAN cursor COUNT n */
static void answer_scan(sim_peer *peer, const sim_word *argv, size_t argc)
{
    char keys[4096];
    char cursor[16];
    size_t len = 0;
    unsigned n = 0;
    unsigned most = argc > 3 ? sim_word_number(&argv[3]) : 10;
    unsigned key = next_key(peer->server, sim_word_number(&argv[1]));
    keys[0] = '\0';
    while (key < SIM_WALKED && n < most) {
        len += add_key(keys + len, sizeof(keys) - len, key);
        n++;
        key = next_key(peer->server, place_of(peer->server, key) + 1);
    }
    int cursor_len =
        snprintf(cursor, sizeof(cursor), "%u", key < SIM_WALKED ? place_of(peer->server, key) : 0);
    sim_peer_say(peer, "*2\r\n$%d\r\n%s\r\n*%u\r\n%s", cursor_len, cursor, n, keys);
}

void sim_keyspace_slot(sim_peer *peer, unsigned slot, unsigned most)
{
    char text[4096];
    size_t len = 0;
    unsigned n = 0;
    uint64_t keys = keys_of(peer->server) & keys_in(slot, slot);
    text[0] = '\0';
    for (unsigned key = 0; key < SIM_WALKED && n < most; key++) {
        if ((keys & (uint64_t)1 << key) != 0) {
            len += add_key(text + len, sizeof(text) - len, key);
            n++;
        }
    }
    sim_peer_say(peer, "*%u\r\n%s", n, text);
}

void sim_keyspace_count(sim_peer *peer, unsigned slot)
{
    uint64_t keys = keys_of(peer->server) & keys_in(slot, slot);
    sim_peer_say(peer, ":%d\r\n", __builtin_popcountll(keys));
}

bool sim_keyspace_run(sim_peer *peer, const sim_word *argv, size_t argc)
{
    if (sim_word_is(&argv[0], "SCAN") && argc > 1) {
        answer_scan(peer, argv, argc);
    } else if (sim_word_is(&argv[0], "DBSIZE")) {
        sim_peer_say(peer, ":%d\r\n", __builtin_popcountll(keys_of(peer->server)));
    } else {
        return false;
    }
    return true;
}

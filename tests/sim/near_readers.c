/* SPDX-License-Identifier: BSD-3-Clause */
/* Who reads by a cache with values near: none is older than the cache's promise, by the map that
 * the program had, one's own writes are seen, every call ends by its deadline, and once all is well
 * values are near again. */
#include "sim/callers.h"
#include "sim/near.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define C sim_the_crew

/* How much later than its deadline a call may return, as results.c grants. */
#define GRAIN_NS (2 * SIM_MS)

/* And a read in the loop, which may be a command behind another one, each in whole milliseconds. */
#define LOOP_NS (2 * SIM_MS)

/* Once all is well values are near again within this, and some round trips. */
#define NEAR_NS (3 * SIM_S)

/* A window for hits is left where near-staleness is so many times the way there. */
#define WINDOW 16
#define FAR_NS (20 * SIM_MS)

/* Of several servers each is read more rarely: a shorter one is mostly over until the next read. */
#define SPREAD_NS (200 * SIM_MS)

typedef struct near_reader {
    unsigned number;
    kw_cache *cache;
    uint64_t staleness_ns;
    sim_near_written own[SIM_NEAR_KEYS]; /* that its own writes have made */
    unsigned maps_n[SIM_NEAR_KEYS];      /* that the program had seen then */
    uint64_t near_ns;                    /* when a value was near last; 0: none was */
} near_reader;

static struct {
    unsigned own_n;
    uint64_t until_ns[SIM_NEAR_KEYS][SIM_SERVERS]; /* until when the program has taken the server
                                                      for the key's owner; 0: never */
    unsigned owners[SIM_NEAR_KEYS];                /* SIM_NO_SERVER: none is known */
} all;

/* The server of "10.0.0.1:7000". */
static const sim_server *server_of(const char *node)
{
    uint32_t ip = 0;
    char *end = (char *)(uintptr_t)node;
    for (unsigned i = 0; i < 4; i++) {
        ip = ip << 8 | (uint32_t)strtoul(i == 0 ? node : end + 1, &end, 10);
    }
    const sim_host *host =
        *end == ':' ? sim_host_find(ip, (uint16_t)strtoul(end + 1, NULL, 10)) : NULL;
    if (host == NULL) {
        sim_fail("the owner of a key is \"%s\"", node);
    }
    return host->owner;
}

/* The owner by the map that the program has now, or had until now. */
static void note_owner(unsigned key)
{
    char name[16];
    char node[40];
    kw_error error = KW_ERROR_INIT;
    sim_near_name(name, sizeof(name), key);
    if (!C.has_map ||
        kw_client_key_node(C.client, &error, node, sizeof(node), name, strlen(name)) != KW_OK) {
        return;
    }
    const sim_server *server = server_of(node);
    if (all.owners[key] != SIM_NO_SERVER) {
        all.until_ns[key][all.owners[key]] = sim_now();
    }
    all.owners[key] = server->number;
    all.until_ns[key][server->number] = sim_now();
}

/* True where a server had the version at that time or later; of a value from memory, one that the
 * program took for the owner then. */
static bool was_true(unsigned key, unsigned version, uint64_t from_ns, bool is_near)
{
    bool was = false;
    for (unsigned i = 0; i < sim_the_world.servers_n && !was; i++) {
        bool is_owner = all.until_ns[key][i] > 0 && all.until_ns[key][i] >= from_ns;
        was = (is_owner || !is_near) && sim_near_was(i, key, version, from_ns);
    }
    return was;
}

static void pause_for(uint64_t span_ns)
{
    uint64_t until_ns = sim_now() + span_ns;
    while (sim_now() < until_ns && !C.is_closing) {
        sim_park(until_ns);
    }
}

static void check_time(uint64_t begin_ns, bool is_in_loop, const char *what)
{
    uint64_t limit_ns = C.plan->timeout_ms * SIM_MS + GRAIN_NS + (is_in_loop ? LOOP_NS : 0);
    if (sim_now() > begin_ns + limit_ns) {
        sim_fail("%s of a key that is kept near took %lu us; its deadline was %lu ms", what,
                 (unsigned long)((sim_now() - begin_ns) / SIM_US),
                 (unsigned long)C.plan->timeout_ms);
    }
}

static unsigned version_of(const kw_cache_value *value)
{
    char text[16] = "";
    if (value->data == NULL) {
        return SIM_NEAR_NONE;
    }
    memcpy(text, value->data, value->len < sizeof(text) ? value->len : sizeof(text) - 1);
    return (unsigned)strtoul(text, NULL, 10);
}

/* A read in the host's loop, and what has come of it. */
typedef struct loop_read {
    unsigned ends_n;
    kw_err code;
    kw_cache_value value;
    sim_tasks reader;
} loop_read;

static void on_read(void *arg, const kw_error *error, kw_cache_value *value)
{
    loop_read *read = arg;
    if (read->ends_n++ > 0) {
        sim_fail("a read in the loop ends twice");
    }
    read->code = error != NULL ? error->code : KW_OK;
    if (value != NULL) {
        read->value = *value;
    }
    sim_wake(read->reader);
}

static kw_err read_in_loop(kw_cache *cache, kw_error *error, kw_cache_value *value,
                           const char *name)
{
    loop_read read = {.value = KW_CACHE_VALUE_INIT, .reader = sim_self_bit()};
    kw_err code =
        kw_cache_get_async(cache, error, kw_cache_text(name), (kw_cache_callback){on_read, &read});
    while (code == KW_OK && read.ends_n == 0) {
        sim_park(SIM_NEVER);
    }
    *value = read.value;
    return code == KW_OK ? read.code : code;
}

/* What was written there is there still: no failover has lost it, and nothing leads elsewhere, as
 * other members of a ring and another installation do. */
static bool is_kept(const near_reader *self, unsigned key)
{
    if (sim_the_world.foreign != SIM_NO_SERVER && !sim_strangers_have_a_witness()) {
        return false;
    }
    if (C.plan->kind == SIM_RING) {
        return !C.plan->moves_keys && self->maps_n[key] == C.maps_n;
    }
    return !sim_near_is_lost(key, self->own[key].version);
}

static void read_key(near_reader *self, unsigned key)
{
    char name[16];
    kw_error error = KW_ERROR_INIT;
    kw_cache_value value = KW_CACHE_VALUE_INIT;
    sim_near_name(name, sizeof(name), key);
    note_owner(key);
    uint64_t begin_ns = sim_now();
    sim_near_written own = self->own[key];
    bool is_in_loop = C.plan->reads_in_loop && sim_one_in(2);
    kw_err code = is_in_loop ? read_in_loop(self->cache, &error, &value, name)
                             : kw_cache_get(self->cache, &error, &value, kw_cache_text(name));
    check_time(begin_ns, is_in_loop, is_in_loop ? "a read in the loop" : "a read");
    if (code != KW_OK) {
        sim_say("reader %u: %s: %s", self->number, name, error.text);
        return;
    }
    bool is_near = value.source == KW_CACHE_FROM_NEAR;
    unsigned version = version_of(&value);
    uint64_t granted_ns = is_near ? self->staleness_ns : 0;
    uint64_t from_ns = begin_ns > granted_ns ? begin_ns - granted_ns : 0;
    sim_say("reader %u: %s has version %u%s", self->number, name, version, is_near ? ", near" : "");
    self->near_ns = is_near ? sim_now() : self->near_ns;
    note_owner(key);
    if (!was_true(key, version, from_ns, is_near)) {
        sim_fail("version %u of %s, from %s, was over %lu us before the read began", version, name,
                 is_near ? "memory" : "the server", (unsigned long)(granted_ns / SIM_US));
    }
    if (version < own.version && is_kept(self, key)) {
        sim_fail("version %u of %s is read behind the own write of version %u", version, name,
                 own.version);
    }
    kw_cache_release(&value);
}

static void write_key(near_reader *self, unsigned key)
{
    char name[16];
    char text[16];
    kw_error error = KW_ERROR_INIT;
    unsigned number = 1 + all.own_n++ % (SIM_NEAR_OWN - 1);
    unsigned maps_n = C.maps_n;
    sim_near_name(name, sizeof(name), key);
    snprintf(text, sizeof(text), "%u", number);
    const char *argv[] = {"SET", name, text};
    uint64_t begin_ns = sim_now();
    kw_ticket *ticket =
        sim_one_in(2) ? kw_submit_call(C.client, &error, NULL, (kw_argv){3, argv, NULL}) : NULL;
    kw_reply *reply = ticket != NULL ? kw_ticket_await(ticket, &error)
                                     : kw_command_argv(C.client, &error, 3, argv, NULL);
    check_time(begin_ns, false, "a write");
    if (reply != NULL && !kw_reply_is_error(reply)) {
        self->own[key] = sim_near_own(number);
        self->maps_n[key] = maps_n;
    }
    kw_reply_free(reply);
    kw_ticket_free(ticket);
}

/* True where the reader has seen all that it is to see. */
static bool is_over(const near_reader *self)
{
    uint64_t trips_ns = SIM_TRIPS * C.plan->latency_ns;
    if (C.is_closing) {
        return true;
    }
    if (C.heal_ns == SIM_NEVER || sim_now() < C.heal_ns + SIM_RECOVERY_NS + trips_ns) {
        return false;
    }
    /* A read that takes longer than the option stall is given up, and the key read as any other. */
    bool is_spread = C.plan->kind == SIM_CLUSTER || C.plan->kind == SIM_RING;
    bool has_window = self->staleness_ns > WINDOW * C.plan->latency_ns &&
                      C.plan->latency_ns <= FAR_NS &&
                      (!is_spread || self->staleness_ns >= SPREAD_NS);
    bool is_near_again = self->near_ns > C.heal_ns;
    if (has_window && !is_near_again &&
        sim_now() > C.heal_ns + SIM_RECOVERY_NS + NEAR_NS + 2 * trips_ns) {
        sim_fail("all is well for %lu ms, and nothing is near",
                 (unsigned long)((sim_now() - C.heal_ns) / SIM_MS));
    }
    return is_near_again || !has_window;
}

static void run_reader(void *arg)
{
    near_reader self = {.number = (unsigned)(uintptr_t)arg};
    char options[80];
    kw_error error = KW_ERROR_INIT;
    self.staleness_ns = C.plan->staleness_ms * SIM_MS;
    snprintf(options, sizeof(options), "near-bytes=1mb&near-staleness=%lums",
             (unsigned long)C.plan->staleness_ms);
    self.cache = kw_cache_open(C.client, &error, options);
    while (self.cache != NULL && !is_over(&self)) {
        unsigned key = (unsigned)sim_random(SIM_NEAR_KEYS);
        if (sim_one_in(12)) {
            write_key(&self, key);
        } else {
            read_key(&self, key);
        }
        pause_for(sim_random(sim_one_in(8) ? 400 * SIM_MS : 8 * SIM_MS));
    }
    kw_cache_close(self.cache);
    C.callers_left--;
    sim_wake(C.keeper);
}

void sim_near_readers_begin(const sim_plan *plan)
{
    memset(&all, 0, sizeof(all));
    for (unsigned i = 0; i < SIM_NEAR_KEYS; i++) {
        all.owners[i] = SIM_NO_SERVER;
    }
    for (unsigned i = 0; i < plan->nears_n; i++) {
        C.callers_left++;
        sim_spawn("reader", run_reader, (void *)(uintptr_t)i);
    }
}

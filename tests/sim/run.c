/* SPDX-License-Identifier: BSD-3-Clause */
/* One run: world, handle, callers, faults, the end of the faults, and whether all is well then. */
#include "sim/run.h"

#include "sim/arena.h"
#include "sim/callers.h"
#include "sim/system.h"
#include "sim/leases.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define C sim_the_crew

#define FAR_NS      (8 * SIM_MS)
#define VERY_FAR_NS (150 * SIM_MS)
#define PROBE_STEPS 12
#define DOWN_STEPS  3 /* of a server that is down: its name, the connect, the answer */
#define UP_STEPS    2 /* and the answers that a ring wants of it (option up-after) */

/* What is under way at the end of a run has arrived by then. */
#define AFTER_NS (6 * SIM_S)

sim_tally sim_the_tally;

/* Memory of the handle: counted, and refused once where the plan says so. */

static struct {
    long live;
    unsigned asked_n;
    unsigned refused_at;
} memory;

static bool is_refused(void)
{
    memory.asked_n++;
    if (memory.asked_n == memory.refused_at) {
        sim_say("allocation %u fails", memory.asked_n);
    }
    return memory.asked_n == memory.refused_at;
}

static void *give(void *arg, size_t len)
{
    (void)arg;
    void *block = is_refused() ? NULL : sim_arena_give(len);
    memory.live += block != NULL ? 1 : 0;
    return block;
}

static void *change(void *arg, void *block, size_t len)
{
    (void)arg;
    void *other = is_refused() ? NULL : sim_arena_change(block, len);
    memory.live += other != NULL && block == NULL ? 1 : 0;
    return other;
}

static void take_back(void *arg, void *block)
{
    (void)arg;
    memory.live -= block != NULL ? 1 : 0;
    sim_arena_take_back(block);
}

static void on_log(void *arg, kw_log_level level, const char *text)
{
    (void)arg;
    (void)level;
    if (sim_locks_n() > 0) {
        sim_fail("a log line with a lock held: %s", text);
    }
    bool is_map = strncmp(text, "new map:", 8) == 0;
    C.has_map = C.has_map || is_map;
    C.maps_n += is_map ? 1 : 0;
    sim_say("log: %s", text);
}

/* The handle. */

static const char *on_node_down(const sim_plan *plan)
{
    if (plan->waits_for_down) {
        return "wait";
    }
    if (!plan->moves_keys) {
        return "fail";
    }
    return plan->ejects ? "eject" : "next";
}

static kw_client *open_handle(const sim_plan *plan)
{
    char text[1024];
    kw_error error = KW_ERROR_INIT;
    kw_allocator allocator = {sizeof(allocator), NULL, give, change, take_back};
    kw_config *config = kw_config_new(&allocator);
    sim_world_uri(text, sizeof(text));
    if (config == NULL || kw_config_set_uri(config, &error, text) != KW_OK) {
        sim_fail("settings: %s", error.text);
    }
    snprintf(text, sizeof(text), "%lums", (unsigned long)plan->timeout_ms);
    (void)kw_config_set(config, &error, "timeout", text);
    (void)kw_config_set(config, &error, "protocol", plan->protocol == 3 ? "3" : "2");
    (void)kw_config_set(config, &error, "resolver", plan->has_thread ? "thread" : "system");
    (void)kw_config_set(config, &error, "on-node-down", on_node_down(plan));
    (void)kw_config_set(config, &error, "order", plan->is_strict ? "strict" : "pipelined");
    (void)kw_config_set(config, &error, "after-fork", plan->reopens ? "reopen" : "refuse");
    if (plan->share_above > 0) {
        snprintf(text, sizeof(text), "%u", plan->share_above);
        (void)kw_config_set(config, &error, "share-above", text);
    }
    if (plan->pool_max > 0) {
        snprintf(text, sizeof(text), "%u", plan->pool_max);
        (void)kw_config_set(config, &error, "pool-max", text);
    }
    kw_config_set_log(config, KW_LOG_DEBUG, on_log, NULL);
    kw_client *client = kw_open_config(config, &error);
    if (client == NULL) {
        sim_fail("no handle: %s", error.text);
    }
    kw_config_free(config);
    return client;
}

static void open_handles(const sim_plan *plan)
{
    kw_error error = KW_ERROR_INIT;
    C.client = open_handle(plan);
    C.clients[0] = C.client;
    C.clients[1] = plan->has_shared ? kw_open_shared(C.client, &error) : C.client;
    if (C.clients[1] == NULL) {
        sim_fail("no second handle: %s", error.text);
    }
}

/* Callers. */

static void run_caller(void *arg)
{
    const sim_caller *caller = arg;
    uint64_t until_ns = sim_now() + caller->begin_ns;
    while (sim_now() < until_ns) {
        sim_park(until_ns);
    }
    sim_caller_run(caller);
    C.callers_left--;
    sim_wake(C.keeper);
}

/* A turn of the loop does bounded work, whatever is under way: a connection that is lost under four
 * thousand commands has taken 12 ms of what is counted, and what was sent before it in that turn 5.
 */
#define TURN_NS (17 * SIM_MS)

static void check_turn(uint64_t blocks_n)
{
    uint64_t took_ns = blocks_n * C.plan->mix.block_ns;
    if (took_ns > TURN_NS) {
        sim_fail("one kw_process has worked for %lu us", (unsigned long)(took_ns / SIM_US));
    }
}

/* Some hosts look now and then, the others when they are to. */
#define LOOK_NS (20 * SIM_MS)

/* The host's poll, which whoever ends the loop ends, too. */
static void poll_loop(int fd, int wait_ms)
{
    uint64_t span_ns = wait_ms < 0 ? SIM_NEVER / 2 : (uint64_t)wait_ms * SIM_MS;
    bool looks = C.plan->seed % 4 == 1 && span_ns > LOOK_NS;
    uint64_t until_ns = sim_now() + (looks ? LOOK_NS : span_ns);
    while (sim_net_events(fd, POLLIN) == 0 && sim_now() < until_ns && C.callers_left > 0 &&
           !C.is_closing) {
        sim_net_wait_for(fd, true);
        sim_park(until_ns);
        sim_net_wait_for(fd, false);
    }
}

/* The host's loop, for those who have callbacks. */
static void run_loop(void *arg)
{
    kw_error error = KW_ERROR_INIT;
    kw_client *client = arg;
    C.keeper |= sim_self_bit();
    int fd = kw_fd(client, &error);
    while (fd < 0 && C.callers_left > 0 && !C.is_closing) { /* no descriptor just now */
        sim_park(sim_now() + SIM_MS);
        fd = C.is_closing ? -1 : kw_fd(client, &error);
    }
    while (fd >= 0 && C.callers_left > 0 && !C.is_closing) {
        poll_loop(fd, kw_timeout(client));
        if (C.is_closing) {
            break;
        }
        uint64_t blocks = sim_blocks();
        (void)kw_process(client, &error);
        check_turn(sim_blocks() - blocks);
    }
    C.loops_left--;
    sim_wake(C.keeper);
}

/* After the faults: each key is read and written, by a thread of its own. */
static unsigned probes_left;

/* All keys are asked for at once, not by one call after the other: so some plans want it. */
static bool comes_together(const sim_plan *plan)
{
    return plan->seed % 4 == 0 && plan->latency_ns < FAR_NS;
}

static void wait_for(uint64_t span_ns)
{
    uint64_t until_ns = sim_now() + span_ns;
    while (sim_now() < until_ns) {
        sim_park(until_ns);
    }
}

/* Who comes while another call finds out whether a server is back may be told that it is not. */
static bool is_down_for_others(const kw_error *error, unsigned tries_n)
{
    bool is_unfound = error->code == KW_ERR_NO_SENTINEL || error->code == KW_ERR_NO_SERVICE ||
                      (error->code == KW_ERR_UNSUPPORTED && sim_plan_has(C.plan, SIM_STRANGER));
    /* Of several sentinels, each behind a dead address or far away, and asked twice whether a
     * primary that has lost its data is to be believed, one call does not reach enough, or has no
     * time left for its own answer. */
    bool is_slow = C.plan->has_dead_address || C.plan->latency_ns > FAR_NS;
    bool is_doubted = error->code == KW_ERR_ROLE || error->code == KW_ERR_HANDSHAKE ||
                      error->code == KW_ERR_IDENTITY || error->code == KW_ERR_CONNECT ||
                      (error->code == KW_ERR_TIMEOUT && sim_plan_has(C.plan, SIM_REBORN));
    is_doubted = is_doubted && C.plan->kind == SIM_SENTINEL && is_slow;
    /* Names of sentinels are looked up one after the other by the one who asks: dials wait. */
    bool waits_for_names = is_unfound && C.plan->has_names && !C.plan->has_thread;
    unsigned down_steps = DOWN_STEPS + (C.plan->kind == SIM_RING ? UP_STEPS : 0);
    /* Callers have all the places, by commands that block. */
    bool is_full = error->code == KW_ERR_POOL_FULL && C.plan->pool_max > 0 && C.callers_left > 0;
    return is_full || C.plan->latency_ns > VERY_FAR_NS || /* the first call learns how far */
           (tries_n < down_steps && strstr(error->text, " waited for until it answers") != NULL) ||
           strstr(error->text, "none is waited for until a server answers") != NULL ||
           waits_for_names || is_doubted ||
           ((error->code == KW_ERR_CONNECT || error->code == KW_ERR_IDENTITY || is_unfound) &&
            comes_together(C.plan));
}

/* Of an installation that has moved: the first call learns that its connection is silent, and does
 * not go on with the fetch of the map while its own connect goes on. */
#define MOVED_TRIES 3

static bool is_moved(unsigned tries_n)
{
    return tries_n < MOVED_TRIES && sim_plan_has(C.plan, SIM_REPLACE_ALL);
}

static void probe_key(unsigned key, bool writes)
{
    kw_error error = KW_ERROR_INIT;
    kw_call_options options = KW_CALL_OPTIONS_INIT;
    char name[8];
    char value[16];
    snprintf(name, sizeof(name), "k%u", key);
    snprintf(value, sizeof(value), "%u", C.plan->ids_n + 1 + 2 * key + (writes ? 1 : 0));
    const char *argv[] = {writes ? "RPUSH" : "HGET", name, value};
    options.timeout_ms = (SIM_RECOVERY_NS + 2 * SIM_TRIPS * C.plan->latency_ns) / SIM_MS;
    kw_reply *reply = kw_call(C.client, &error, &options, (kw_argv){3, argv, NULL});
    /* A server that was silent is tried by a probe that calls drive, and nobody has called lately:
     * each call, a second later, takes it one step on (name, connect, answer). */
    for (unsigned i = 0;
         i < PROBE_STEPS && reply == NULL && (is_down_for_others(&error, i) || is_moved(i)); i++) {
        wait_for(SIM_RECOVERY_NS + SIM_TRIPS * C.plan->latency_ns);
        reply = kw_call(C.client, &error, &options, (kw_argv){3, argv, NULL});
    }
    /* Far away, the time between a new map and the answer of an old owner (option grace) is over
     * before that comes. */
    bool is_far = C.plan->kind == SIM_CLUSTER && C.plan->latency_ns > FAR_NS &&
                  error.effect == KW_EFFECT_MAYBE;
    if ((reply == NULL && !is_far) || kw_reply_is_error(reply)) {
        sim_fail("all is well for %lu ms, and a call on k%u fails: %s",
                 (unsigned long)(SIM_RECOVERY_NS / SIM_MS), key,
                 reply != NULL ? kw_reply_str(reply, NULL) : error.text);
    }
    kw_reply_free(reply);
}

static void run_probe(void *arg)
{
    unsigned key = (unsigned)(uintptr_t)arg;
    probe_key(key, false);
    probe_key(key, true);
    probes_left--;
    sim_wake(C.keeper);
}

/* Keys that are tried after a life. */
static const unsigned keys_of[SIM_SIZES_N] = {2, 3, SIM_KEYS};

static void probe(const sim_plan *plan)
{
    wait_for(SIM_RECOVERY_NS + SIM_TRIPS * plan->latency_ns);
    unsigned keys_n = keys_of[plan->size];
    for (unsigned i = 0; !comes_together(plan) && i < keys_n; i++) {
        probe_key(i, false);
    }
    probes_left = keys_n;
    for (unsigned i = 0; i < keys_n; i++) {
        sim_spawn("probe", run_probe, (void *)(uintptr_t)i);
    }
    while (probes_left > 0) {
        sim_park(SIM_NEVER);
    }
}

/* How long a handle that ends early is drained before; 0: it is not. */
static uint64_t drain_ms;

/* Closes while calls are under way: at a moment when each that has begun is inside. */
static bool closes_early(const sim_plan *plan, uint64_t *at_ns)
{
    for (unsigned i = 0; i < plan->faults_n; i++) {
        const sim_fault *fault = &plan->faults[i];
        bool ends = fault->kind == SIM_CLOSE || fault->kind == SIM_DRAIN;
        if (ends && !fault->is_off) {
            *at_ns = fault->at_ns;
            drain_ms = fault->kind == SIM_DRAIN ? 1 + fault->length_ns / SIM_MS : 0;
            return true;
        }
    }
    return false;
}

static void close_handle(void)
{
    kw_error error = KW_ERROR_INIT;
    uint64_t before_ns = sim_now();
    C.is_closing = true;
    sim_wake(C.keeper);
    if (drain_ms > 0) {
        (void)kw_drain(C.client, &error, drain_ms);
        uint64_t granted_ns = C.plan->has_names ? SIM_NEVER / 2 : SIM_MS; /* of poll(2) */
        granted_ns += C.plan->mix.block_ns > 0 ? TURN_NS : 0;
        if (sim_now() > before_ns + drain_ms * SIM_MS + granted_ns) {
            sim_fail("kw_drain of %lu ms took %lu us", (unsigned long)drain_ms,
                     (unsigned long)((sim_now() - before_ns) / SIM_US));
        }
    }
    if (C.plan->has_shared) { /* one of them, in which calls come to their own end */
        unsigned first = C.plan->seed / 8 % 2;
        kw_close(C.clients[first]);
        C.client = C.clients[1 - first];
        while (sim_ready_n() > 0) {
            sim_park(sim_now() + SIM_US);
        }
    }
    before_ns = sim_now();
    kw_close(C.client);
    C.is_closed = true;
    if (sim_now() > before_ns + 100 * SIM_MS && (C.plan->has_thread || !C.plan->has_names)) {
        sim_fail("kw_close took %lu us", (unsigned long)((sim_now() - before_ns) / SIM_US));
    }
}

static void heal(const sim_plan *plan, uint64_t begin_ns)
{
    uint64_t heal_ns = begin_ns + plan->heal_ns;
    while (sim_now() < heal_ns) {
        sim_park(heal_ns);
    }
    memory.refused_at = 0;
    sim_faults_end();
    sim_world_heal();
    C.heal_ns = sim_now();
}

static void wait_for_callers(void)
{
    while (C.callers_left > 0 || C.loops_left > 0) {
        sim_park(SIM_NEVER);
    }
}

/* The host's loop is over, and each call that has begun is inside: nobody runs. */
static void wait_to_close(uint64_t close_ns)
{
    while (sim_now() < close_ns) {
        sim_park(close_ns);
    }
    C.is_closing = true;
    sim_wake(C.keeper);
    while (C.loops_left > 0) {
        sim_park(SIM_NEVER);
    }
    while (sim_ready_n() > 0) {
        sim_park(sim_now() + SIM_US);
    }
}

/* Sees the run through: the main thread of the program. */
static void keep(void *arg)
{
    const sim_plan *plan = arg;
    uint64_t begin_ns = sim_now();
    uint64_t close_ns = SIM_NEVER;
    drain_ms = 0;
    bool is_early = closes_early(plan, &close_ns);
    close_ns = is_early ? begin_ns + close_ns : SIM_NEVER;
    C.keeper |= sim_self_bit();
    if (!is_early) {
        heal(plan, begin_ns);
        probe(plan);
    }
    if (is_early) {
        wait_to_close(close_ns);
    } else {
        wait_for_callers();
    }
    close_handle();
    wait_for_callers();
    if (is_early) {
        heal(plan, begin_ns);
    }
    uint64_t end_ns = sim_now() + AFTER_NS;
    while (sim_now() < end_ns) {
        sim_park(end_ns);
    }
}

static void begin_crew(const sim_plan *plan)
{
    memset(&C, 0, sizeof(C));
    C.plan = plan;
    C.begin_ns = sim_now();
    C.fault_ns = SIM_NEVER;
    C.heal_ns = SIM_NEVER;
    C.has_loop[0] = plan->reads_in_loop || plan->loads_in_loop;
    for (unsigned i = 0; i < plan->callers_n; i++) {
        if (!plan->callers[i].is_off) {
            C.callers_left++;
            unsigned handle = plan->commands[plan->callers[i].first].handle;
            C.has_loop[handle] = C.has_loop[handle] || plan->callers[i].way == SIM_CALLBACK ||
                                 plan->callers[i].is_in_loop;
        }
    }
}

void sim_run(const sim_plan *plan)
{
    memset(&memory, 0, sizeof(memory));
    sim_arena_begin();
    sim_sched_begin(&plan->mix);
    sim_system_begin();
    sim_net_begin();
    sim_world_begin(plan);
    begin_crew(plan);
    open_handles(plan);
    memory.asked_n = 0;
    for (unsigned i = 0; i < plan->faults_n; i++) {
        bool is_memory = plan->faults[i].kind == SIM_MEMORY && !plan->faults[i].is_off;
        memory.refused_at = is_memory ? plan->memory_at : memory.refused_at;
    }
    sim_spawn("keeper", keep, (void *)(uintptr_t)plan);
    for (unsigned i = 0; i < plan->callers_n; i++) {
        if (!plan->callers[i].is_off) {
            sim_spawn(sim_way_name(plan->callers[i].way), run_caller,
                      (void *)(uintptr_t)&plan->callers[i]);
        }
    }
    sim_listener_begin(plan);
    sim_walks_begin(plan);
    sim_near_readers_begin(plan);
    sim_loads_begin(plan);
    for (unsigned i = 0; i < 2; i++) {
        if (C.has_loop[i]) {
            C.loops_left++;
            sim_spawn("loop", run_loop, C.clients[i]);
        }
    }
    sim_faults_begin(plan);
    uint64_t begin_ns = sim_now();
    sim_sched_run();
    sim_the_tally.virtual_s += (sim_now() - begin_ns) / SIM_S;
    sim_judge(plan);
    sim_net_end();
    sim_system_end();
    sim_sched_end();
    if (memory.live != 0) {
        sim_fail("%ld blocks of memory are left", memory.live);
    }
}

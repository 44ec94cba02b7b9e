/* SPDX-License-Identifier: BSD-3-Clause */
/* Failovers as clients see them: how long from the servers' own promotion to the first answer
 * of the new primary, and what became of each call, by how it ended. Eight threads call all
 * the time, four of them INCR and four GET, with a deadline of ten seconds. */
#include <hiredis.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/ask.h"
#include "support/bench.h"
#include "support/calm.h"
#include "support/crew.h"
#include "support/group.h"
#include "support/link.h"

enum { ROUNDS_N = 5, THREADS_N = 8, TIMEOUT_MS = 10000, CALM_MS = 200 };

/* Before a cluster's node may be elected again (cluster.h). */
enum { WIN_PAUSE_MS = 4500, NODES_MAX = 6 };

/* Counts of calls: answered, and failed by effect. */
typedef enum outcome { REPLIED, NONE, MAYBE, DONE, OUTCOMES_N } outcome;

/* What a call was, and when it began. */
typedef enum batch { WRITES_HELD, READS_HELD, WRITES_LATER, READS_LATER, BATCHES_N } batch;

typedef struct world {
    kw_test_group *group; /* of the two .. */
    kw_test_cluster *cluster;
    kw_client *client; /* .. this one's */
    kw_test_server *old;
    kw_test_server *heir;
    char tag[32]; /* of the round's keys */
    unsigned round;
    uint64_t won_ms[NODES_MAX]; /* when the cluster's node won an election */
    atomic_bool is_over;
    atomic_uint_fast64_t event_ns; /* when the disturbance began; 0: not yet */
    atomic_uint_fast64_t done_ns;  /* when it was done: killed, stopped, commanded */
    atomic_uint_fast64_t first_ns; /* first answer of the heir; 0: not yet */
    atomic_ulong counts[BATCHES_N][OUTCOMES_N];
    unsigned long acked[THREADS_N];
} world;

/* One kind of failover. */
typedef struct scenario {
    const char *name;
    bool is_cluster;
    void (*begin)(world *self); /* the disturbance */
} scenario;

static void make_key(char *key, size_t len, const world *self, unsigned number)
{
    snprintf(key, len, "%s:%u", self->tag, number);
}

/* True once the map of the client has another primary than the old one. */
static bool has_moved(const world *self, const char *key)
{
    char node[128] = "";
    return kw_client_key_node(self->client, NULL, node, sizeof(node), key, strlen(key)) == KW_OK &&
           strcmp(node, kw_test_server_address(self->old)) != 0;
}

static void count(world *self, bool is_write, uint64_t began_ns, outcome how)
{
    uint64_t done_ns = atomic_load(&self->done_ns);
    if (atomic_load(&self->event_ns) > 0) { /* what ended before is no part of it */
        bool is_held = done_ns == 0 || began_ns < done_ns;
        batch which = is_held ? (is_write ? WRITES_HELD : READS_HELD)
                              : (is_write ? WRITES_LATER : READS_LATER);
        atomic_fetch_add(&self->counts[which][how], 1);
    }
}

static void work(void *arg, unsigned number)
{
    world *self = arg;
    char key[80];
    bool is_write = number % 2 == 0;
    make_key(key, sizeof(key), self, number);
    const char *argv[] = {is_write ? "INCR" : "GET", key};
    bool is_moved = false;
    while (!atomic_load(&self->is_over)) {
        kw_error error = KW_ERROR_INIT;
        is_moved = is_moved || has_moved(self, key);
        uint64_t began_ns = kw_test_now_ns();
        kw_reply *reply = kw_call(self->client, &error, NULL, (kw_argv){2, argv, NULL});
        uint64_t none_ns = 0;
        bool is_answered = reply != NULL && !kw_reply_is_error(reply);
        if (is_answered && is_moved) {
            atomic_compare_exchange_strong(&self->first_ns, &none_ns, kw_test_now_ns());
        }
        self->acked[number] += is_answered && is_write ? 1 : 0;
        kw_bench_die_if(kw_reply_is_error(reply), "an error of a server");
        count(self, is_write, began_ns, is_answered ? REPLIED : (outcome)(NONE + error.effect));
        kw_reply_free(reply);
    }
}

static void mark(world *self)
{
    atomic_store(&self->event_ns, kw_test_now_ns());
}

static void kill_old(world *self)
{
    mark(self);
    kw_test_server_kill(self->old);
}

static void stop_old(world *self)
{
    mark(self);
    kw_test_server_pause(self->old);
}

/* Refused while the failover before this one is not at its end. */
static void order_sentinel(world *self)
{
    uint64_t end_ms = kw_test_now_ms() + 30000;
    bool has_begun = false;
    while (!has_begun) {
        mark(self);
        redisReply *reply = kw_test_server_command(kw_test_group_sentinel(self->group, 0),
                                                   "SENTINEL FAILOVER mymaster");
        has_begun = reply->type == REDIS_REPLY_STATUS;
        freeReplyObject(reply);
        if (!has_begun) {
            atomic_store(&self->event_ns, 0);
            kw_bench_die_if(kw_test_now_ms() > end_ms, "SENTINEL FAILOVER is refused");
            kw_test_sleep_ms(20);
        }
    }
}

static void order_cluster(world *self)
{
    mark(self);
    kw_test_server_ok(self->heir, "CLUSTER FAILOVER");
}

static void take_over(world *self)
{
    mark(self);
    kw_test_server_kill(self->old);
    kw_test_server_ok(self->heir, "CLUSTER FAILOVER TAKEOVER");
}

static const scenario scenarios[] = {
    {"Sentinel: the primary is killed", false, kill_old},
    {"Sentinel: the primary is stopped (SIGSTOP)", false, stop_old},
    {"Sentinel: SENTINEL FAILOVER", false, order_sentinel},
    {"cluster: the primary is killed", true, kill_old},
    {"cluster: CLUSTER FAILOVER", true, order_cluster},
    {"cluster: killed, then CLUSTER FAILOVER TAKEOVER", true, take_over},
};

/* When the heir says that it is the primary. */
static uint64_t wait_promotion(world *self)
{
    uint64_t promoted_ns = 0;
    if (self->group != NULL) {
        self->heir = kw_test_group_wait_promotion(self->group, self->old, &promoted_ns);
        return promoted_ns;
    }
    kw_test_link *link = kw_test_server_link(self->heir);
    bool is_primary = false;
    uint64_t end_ms = kw_test_now_ms() + 30000;
    while (!is_primary) {
        redisReply *role = link != NULL ? kw_test_link_ask(link, "ROLE") : NULL;
        promoted_ns = kw_test_now_ns();
        kw_bench_die_if(role == NULL || kw_test_now_ms() > end_ms, "no promotion");
        is_primary = role->elements > 0 && strcmp(role->element[0]->str, "master") == 0;
        freeReplyObject(role);
        kw_test_sleep_ms(is_primary ? 0 : 2);
    }
    kw_test_link_close(link);
    return promoted_ns;
}

static size_t index_of(const world *self, const kw_test_server *node)
{
    size_t i = 0;
    while (i + 1 < NODES_MAX && kw_test_cluster_node(self->cluster, i) != node) {
        i++;
    }
    return i;
}

/* The primary of this round; in a cluster another one than last time, and its heir. */
static void choose(world *self, const scenario *what)
{
    if (self->group != NULL) {
        snprintf(self->tag, sizeof(self->tag), "{%td:%u}", what - scenarios, self->round);
        self->old = kw_test_group_primary(self->group);
        kw_bench_die_if(self->old == NULL, "no primary");
        return;
    }
    unsigned slot = KW_SLOTS_N;
    for (unsigned i = 0; slot * 3 / KW_SLOTS_N != self->round % 3; i++) {
        snprintf(self->tag, sizeof(self->tag), "{%td:%u:%u}", what - scenarios, self->round, i);
        slot = kw_slot(self->tag, strlen(self->tag));
    }
    self->old = kw_test_cluster_owner(self->cluster, slot);
    kw_bench_die_if(self->old == NULL, "no owner");
    self->heir = kw_test_cluster_replica(self->cluster, self->old);
    kw_bench_die_if(self->heir == NULL, "no replica");
    uint64_t won_ms = self->won_ms[index_of(self, self->heir)];
    while (won_ms > 0 && kw_test_now_ms() < won_ms + WIN_PAUSE_MS) {
        kw_test_sleep_ms(10);
    }
}

/* The old primary is back, as a replica. Sentinels would see to that themselves, after ten
 * seconds in which they trust it. */
static void recover(world *self)
{
    if (kw_test_server_is_dead(self->old)) {
        kw_test_server_restart(self->old);
    } else if (kw_test_server_is_paused(self->old)) {
        kw_test_server_resume(self->old);
    }
    if (self->group != NULL) {
        kw_test_server_ok(self->old, "REPLICAOF 127.0.0.1 %u",
                          (unsigned)kw_test_server_port(self->heir));
        kw_test_group_wait(self->group, 60000);
    } else {
        self->won_ms[index_of(self, self->heir)] = kw_test_now_ms();
        kw_test_cluster_wait(self->cluster, 60000);
    }
}

/* Acknowledged INCRs that the heir never got. */
static unsigned long count_lost(world *self)
{
    unsigned long lost = 0;
    for (unsigned number = 0; number < THREADS_N; number += 2) {
        char key[80];
        make_key(key, sizeof(key), self, number);
        char *text = kw_test_ask_text(self->client, "GET %s", key);
        unsigned long kept = text != NULL ? strtoul(text, NULL, 10) : 0;
        lost += self->acked[number] > kept ? self->acked[number] - kept : 0;
        free(text);
    }
    return lost;
}

/* Times of one scenario, in milliseconds. */
typedef struct figures {
    double outage[ROUNDS_N]; /* from the disturbance to the promotion */
    double first[ROUNDS_N];  /* from there to the first answer of the heir */
    unsigned long lost;
} figures;

static void run_round(world *self, const scenario *what, figures *out)
{
    choose(self, what);
    atomic_store(&self->event_ns, 0);
    atomic_store(&self->done_ns, 0);
    atomic_store(&self->first_ns, 0);
    atomic_store(&self->is_over, false);
    memset(self->acked, 0, sizeof(self->acked));
    kw_test_crew *crew = kw_test_crew_start(THREADS_N, work, self);
    kw_test_sleep_ms(CALM_MS);
    what->begin(self);
    atomic_store(&self->done_ns, kw_test_now_ns());
    uint64_t event_ns = atomic_load(&self->event_ns);
    uint64_t promoted_ns = wait_promotion(self);
    while (atomic_load(&self->first_ns) == 0) {
        kw_bench_die_if(kw_test_now_ns() > promoted_ns + 20000000000u, "no answer of the heir");
        kw_test_sleep_ms(1);
    }
    kw_test_sleep_ms(CALM_MS);
    atomic_store(&self->is_over, true);
    (void)kw_test_crew_join(crew);
    uint64_t first_ns = atomic_load(&self->first_ns);
    out->outage[self->round] = (double)(promoted_ns - event_ns) / 1e6;
    out->first[self->round] = first_ns > promoted_ns ? (double)(first_ns - promoted_ns) / 1e6 : 0;
    recover(self);
    out->lost += count_lost(self);
}

static void print_counts(const char *name, atomic_ulong *counts)
{
    printf("    %-34s reply %6lu   none %3lu   maybe %3lu   done %3lu\n", name,
           atomic_load(&counts[REPLIED]), atomic_load(&counts[NONE]), atomic_load(&counts[MAYBE]),
           atomic_load(&counts[DONE]));
}

static void run_scenario(world *self, kw_bench *bench, const scenario *what)
{
    static const char *const names[BATCHES_N] = {
        "writes under way when it began", "reads under way when it began",
        "writes that began later", "reads that began later"};
    figures found = {.lost = 0};
    for (size_t i = 0; i < BATCHES_N; i++) {
        for (size_t k = 0; k < OUTCOMES_N; k++) {
            atomic_store(&self->counts[i][k], 0);
        }
    }
    for (self->round = 0; self->round < ROUNDS_N; self->round++) {
        run_round(self, what, &found);
    }
    double outage_ms = kw_bench_median(found.outage, ROUNDS_N);
    double first_ms = kw_bench_median(found.first, ROUNDS_N);
    printf("%s, %d rounds: promotion after %.0f ms (median); acknowledged writes lost: %lu\n",
           what->name, ROUNDS_N, outage_ms, found.lost);
    for (size_t i = 0; i < BATCHES_N; i++) {
        print_counts(names[i], self->counts[i]);
    }
    kw_bench_goal(bench, "first answer after the promotion, median ms", first_ms, "<=", 300);
    kw_bench_goal(bench, "first answer after the promotion, worst ms", found.first[ROUNDS_N - 1],
                  "<=", 1000);
    fflush(stdout);
}

static void run_all(kw_bench *bench, bool is_cluster)
{
    static world self;
    memset(&self, 0, sizeof(self));
    if (is_cluster) {
        self.cluster = kw_test_cluster_start(3, 1, 1000, NULL);
    } else {
        self.group = kw_test_group_start(2, NULL, NULL);
    }
    const char *uri =
        is_cluster ? kw_test_cluster_uri(self.cluster) : kw_test_group_uri(self.group);
    self.client = kw_test_open("%s?timeout=%dms", uri, TIMEOUT_MS);
    for (size_t i = 0; i < sizeof(scenarios) / sizeof(scenarios[0]); i++) {
        if (scenarios[i].is_cluster == is_cluster) {
            run_scenario(&self, bench, &scenarios[i]);
        }
    }
    kw_close(self.client);
    kw_test_cluster_free(self.cluster);
    kw_test_group_free(self.group);
}

int main(int argc, char **argv)
{
    static kw_bench bench; /* for its goals alone */
    kw_test_calm_forbid();
    printf("failovers, %d threads, a deadline of %d s\n", THREADS_N, TIMEOUT_MS / 1000);
    run_all(&bench, false);
    run_all(&bench, true);
    bool is_gate = argc > 1 && strcmp(argv[1], "--gate") == 0;
    return is_gate && bench.is_missed ? EXIT_FAILURE : EXIT_SUCCESS;
}

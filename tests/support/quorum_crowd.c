/* SPDX-License-Identifier: BSD-3-Clause */
/* Processes that read and write one ring while its servers are harmed. */
#include "support/quorum_crowd.h"

#include <keyway/client.h>
#include <keyway/quorum.h>

#include <hiredis.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "support/calm.h"
#include "support/check.h"
#include "support/keeper.h"
#include "support/quorum_harm.h"

/* What was perhaps done, and lives, make many orders of a busy machine's history. */
#define STATES_MAX 3000000u
#define SKEW_MS    5000

/* What a client last saw of a key. */
typedef struct sight {
    uint32_t key;
    uint64_t value; /* 0: none */
    kw_quorum_version version;
} sight;

typedef struct person {
    kw_test_crowd *crowd;
    unsigned number;
    kw_quorum *quorum;
    kw_random random;
    int64_t skew_ms;
    uint64_t values_n;
    sight sights[KEYS_N];
} person;

static uint64_t skewed_clock(void *arg)
{
    const person *self = arg;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)((int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000 + self->skew_ms);
}

static void jump(person *self)
{
    uint64_t most_ms = self->crowd->plan->skew_ms > 0 ? self->crowd->plan->skew_ms : SKEW_MS;
    self->skew_ms = (int64_t)kw_random_below(&self->random, 2 * most_ms + 1) - (int64_t)most_ms;
}

static uint64_t number_of(const kw_quorum_results *results)
{
    size_t len = 0;
    const char *value = kw_quorum_value(results, &len, 0);
    uint64_t number = 0;
    if (value != NULL && len == sizeof(number)) {
        memcpy(&number, value, sizeof(number));
    }
    return number;
}

static void finish_act(person *self, sight *seen, kw_test_act *act, kw_quorum_results *results,
                       kw_error *error)
{
    kw_test_board *shared = self->crowd->board;
    kw_err code = results != NULL ? kw_quorum_result(results, error, 0) : error->code;
    act->end = kw_test_real_ns();
    if (code != KW_OK) {
        bool is_maybe = error->effect != KW_EFFECT_NONE;
        atomic_fetch_add(is_maybe ? &shared->maybe_n : &shared->none_n, 1);
        act->end = KW_TEST_NEVER;
        if (is_maybe) {
            kw_test_crowd_note(shared, seen->key, act);
        }
        return;
    }
    atomic_fetch_add(&shared->done_n, 1);
    seen->version = kw_quorum_version_of(results, 0);
    if (act->kind == KW_TEST_READ) {
        act->value = number_of(results);
    } else if (!kw_quorum_is_written(results, 0)) {
        act->kind = KW_TEST_MISMATCH;
        act->value = number_of(results);
    }
    seen->value = act->value;
    kw_test_crowd_note(shared, seen->key, act);
}

static void act_once(person *self)
{
    unsigned place = (unsigned)kw_random_below(&self->random, KEYS_N);
    uint32_t key = kw_test_crowd_epoch(self->crowd->board) * KEYS_N + place;
    if (!kw_test_crowd_has_room(self->crowd->board, key)) {
        kw_test_sleep_ms(1);
        return;
    }
    sight *seen = &self->sights[place];
    if (seen->key != key) {
        memset(seen, 0, sizeof(*seen));
        seen->key = key;
    }
    char name[24];
    kw_quorum_request request = KW_QUORUM_REQUEST_INIT;
    request.key = name;
    request.key_len = (size_t)snprintf(name, sizeof(name), "key%u", key);
    uint64_t dice = kw_random_below(&self->random, self->crowd->plan->has_checked ? 14 : 10);
    kw_test_act act = {.client = self->number, .kind = KW_TEST_READ};
    uint64_t reads = self->crowd->plan->skips_repair ? 8 : 5; /* of ten; writes hide old values */
    if (dice >= reads) {
        bool is_deletion = kw_random_below(&self->random, 8) == 0;
        act.kind = dice < 10 ? KW_TEST_WRITE : KW_TEST_SWAP;
        act.value = is_deletion ? 0 : (uint64_t)(self->number + 1) << 40 | ++self->values_n;
        request.act = is_deletion ? KW_QUORUM_ACT_DELETE : KW_QUORUM_ACT_SET;
        request.value = is_deletion ? NULL : (const char *)&act.value;
        request.value_len = is_deletion ? 0 : sizeof(act.value);
    }
    if (dice >= 10) {
        act.expected = seen->value;
        request.condition = seen->value == 0 ? KW_QUORUM_IF_ABSENT : KW_QUORUM_IF_VERSION;
        request.expected = seen->version;
    }
    if (self->crowd->plan->has_lives && act.value != 0 && kw_random_below(&self->random, 2) == 0) {
        request.ttl_ms =
            1 + kw_random_below(&self->random, kw_random_below(&self->random, 4) == 0 ? 3000 : 100);
    }
    uint64_t written = act.value; /* request.value points to it until the call is over */
    request.value = request.value != NULL ? (const char *)&written : NULL;
    kw_error error = KW_ERROR_INIT;
    act.begin = kw_test_real_ns();
    kw_quorum_results *results = kw_quorum_run(self->quorum, &error, &request, 1, 0);
    bool has_life = request.ttl_ms > 0;
    finish_act(self, seen, &act, results, &error);
    if (has_life) { /* at some time, if it was written at all */
        act.kind = KW_TEST_EXPIRE;
        act.value = written;
        act.end = KW_TEST_NEVER;
        kw_test_crowd_note(self->crowd->board, key, &act);
    }
    kw_quorum_results_free(results);
}

static void live(kw_test_crowd *self, unsigned number)
{
    person who = {.crowd = self, .number = number};
    kw_random_init(&who.random, kw_random_next(&self->random) + number);
    kw_error error = KW_ERROR_INIT;
    kw_client *client = kw_open(self->uri, &error);
    who.quorum = client != NULL ? kw_quorum_new(client, &error) : NULL;
    if (who.quorum == NULL) {
        fprintf(stderr, "client: %s\n", error.text);
        _exit(1);
    }
    jump(&who);
    kw_quorum_set_clock(who.quorum, skewed_clock, &who);
    while (!atomic_load(&self->board->ends)) {
        act_once(&who);
        if (kw_random_below(&who.random, 500) == 0) {
            jump(&who);
        }
    }
    kw_quorum_free(who.quorum);
    kw_close(client);
    _exit(0);
}

static void start_clients(kw_test_crowd *self)
{
    size_t room = sizeof(self->uri);
    size_t len = (size_t)snprintf(self->uri, room, "redis-ring://");
    for (unsigned i = 0; i < SERVERS_N; i++) {
        len += (size_t)snprintf(self->uri + len, room - len, "%s%c=%s", i > 0 ? "," : "",
                                (char)('a' + (int)i), kw_test_door_address(self->doors[i]));
    }
    snprintf(self->uri + len, room - len, "?timeout=500ms&%s", self->plan->options);
    fflush(NULL);
    for (unsigned i = 0; i < CLIENTS_N; i++) {
        self->clients[i] = fork();
        if (self->clients[i] == 0) {
            live(self, i);
        }
        kw_test_keeper_add(self->clients[i]);
    }
}

static void let_live(kw_test_crowd *self)
{
    const kw_test_crowd_plan *plan = self->plan;
    uint64_t end_ns = kw_test_now_ns() + plan->seconds * UINT64_C(1000000000);
    while (kw_test_now_ns() < end_ns &&
           (plan->acts_n == 0 || atomic_load(&self->board->done_n) < plan->acts_n)) {
        kw_test_crowd_harm(self);
    }
    atomic_store(&self->board->ends, true);
    for (unsigned i = 0; i < CLIENTS_N; i++) {
        int status = kw_test_wait_child(self->clients[i]);
        kw_test_keeper_drop(self->clients[i]);
        if (status != 0) {
            kw_test_die("a client ended with status %d", status);
        }
    }
}

static int by_key(const void *a, const void *b)
{
    const kw_test_note *x = a;
    const kw_test_note *y = b;
    return x->key < y->key ? -1 : x->key > y->key ? 1 : 0;
}

static void judge_key(kw_test_crowd_result *result, const kw_test_act *acts, size_t n, bool prints)
{
    kw_test_verdict verdict = kw_test_history_check(acts, n, STATES_MAX);
    result->keys_n++;
    result->hard_n += verdict == KW_TEST_TOO_HARD ? 1 : 0;
    result->violations_n += verdict == KW_TEST_VIOLATION ? 1 : 0;
    if (verdict == KW_TEST_VIOLATION && prints && result->violations_n == 1) {
        kw_test_history_print(acts, n);
    }
}

static void judge(const kw_test_crowd *self, kw_test_crowd_result *result, bool prints)
{
    size_t n = 0;
    size_t total = 0;
    for (unsigned i = 0; i <= CLIENTS_N; i++) {
        total += atomic_load(&self->board->notes_n[i]);
    }
    kw_test_note *all = calloc(total + 1, sizeof(all[0]));
    kw_test_act *acts = calloc(total + 1, sizeof(acts[0]));
    if (all == NULL || acts == NULL) {
        kw_test_die("no memory for histories");
    }
    for (unsigned i = 0; i <= CLIENTS_N; i++) {
        size_t here = atomic_load(&self->board->notes_n[i]);
        memcpy(all + n, self->board->notes[i], here * sizeof(all[0]));
        n += here;
    }
    qsort(all, n, sizeof(all[0]), by_key);
    for (size_t from = 0; from < n;) {
        size_t to = from;
        for (; to < n && all[to].key == all[from].key; to++) {
            acts[to - from] = all[to].act;
        }
        judge_key(result, acts, to - from, prints);
        from = to;
    }
    free(all);
    free(acts);
}

kw_test_crowd_result kw_test_crowd_run(const kw_test_crowd_plan *plan, const char *name,
                                       bool prints)
{
    kw_test_crowd self = {.plan = plan};
    kw_test_calm_start(); /* for the harm: acts of several processes have one clock */
    kw_random_init(&self.random, kw_test_seed(name));
    self.board = mmap(NULL, sizeof(kw_test_board), PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (self.board == MAP_FAILED) {
        kw_test_die("no memory for a board");
    }
    self.board->begin_ns = kw_test_real_ns();
    self.board->epoch_ns = kw_test_stretch_ms(EPOCH_MS) * UINT64_C(1000000);
    for (unsigned i = 0; i < SERVERS_N; i++) {
        self.servers[i] = kw_test_server_start("save \"\"\nappendonly yes\nappendfsync no\n");
        kw_test_crowd_mark(self.servers[i]);
        self.doors[i] = kw_test_door_new(kw_test_server_port(self.servers[i]));
    }
    start_clients(&self); /* before there are threads */
    for (unsigned i = 0; i < SERVERS_N; i++) {
        kw_test_door_run(self.doors[i]);
    }
    let_live(&self);
    kw_test_crowd_result result = {.done_n = atomic_load(&self.board->done_n),
                                   .none_n = atomic_load(&self.board->none_n),
                                   .maybe_n = atomic_load(&self.board->maybe_n),
                                   .faults_n = self.faults_n};
    judge(&self, &result, prints);
    printf("  %s: %llu done, %llu none, %llu maybe, %llu faults, %llu keys, %llu violations, %llu "
           "too hard\n",
           name, (unsigned long long)result.done_n, (unsigned long long)result.none_n,
           (unsigned long long)result.maybe_n, (unsigned long long)result.faults_n,
           (unsigned long long)result.keys_n, (unsigned long long)result.violations_n,
           (unsigned long long)result.hard_n);
    for (unsigned i = 0; i < SERVERS_N; i++) {
        kw_test_door_free(self.doors[i]);
        kw_test_server_free(self.servers[i]);
    }
    munmap(self.board, sizeof(kw_test_board));
    return result;
}

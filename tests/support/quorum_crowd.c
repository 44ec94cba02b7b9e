#include "support/quorum_crowd.h"

#include <keyway/client.h>
#include <keyway/quorum.h>

#include <hiredis.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/random.h"
#include "support/check.h"
#include "support/door.h"
#include "support/keeper.h"
#include "support/server.h"

#define SERVERS_N  KW_TEST_CROWD_SERVERS
#define CLIENTS_N  4u
#define KEYS_N     5u    /* at a time */
#define EPOCH_MS   1000u /* then there are others, so that no history is long */
#define ACTS_MAX   200000u
#define STATES_MAX 300000u
#define SKEW_MS    5000

typedef struct note {
    uint32_t key;
    kw_test_act act;
} note;

/* What all processes see. */
typedef struct board {
    atomic_bool ends;
    atomic_uint_fast64_t done_n;
    atomic_uint_fast64_t none_n;
    atomic_uint_fast64_t maybe_n;
    uint64_t begin_ns;
    atomic_size_t notes_n[CLIENTS_N];
    note notes[CLIENTS_N][ACTS_MAX];
} board;

typedef struct crowd {
    const kw_test_crowd_plan *plan;
    board *board;
    kw_test_server *servers[SERVERS_N];
    kw_test_door *doors[SERVERS_N];
    pid_t clients[CLIENTS_N];
    char uri[600];
    kw_random random;
    uint64_t faults_n;
} crowd;

/* What a client last saw of a key. */
typedef struct sight {
    uint32_t key;
    uint64_t value; /* 0: none */
    kw_quorum_version version;
} sight;

typedef struct person {
    crowd *crowd;
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

static uint32_t epoch_of(const board *shared)
{
    return (uint32_t)((kw_test_now_ns() - shared->begin_ns) / (EPOCH_MS * UINT64_C(1000000)));
}

static void jump(person *self)
{
    self->skew_ms = (int64_t)kw_random_below(&self->random, 2 * SKEW_MS + 1) - SKEW_MS;
}

static void write_down(person *self, uint32_t key, const kw_test_act *act)
{
    board *shared = self->crowd->board;
    size_t n = atomic_load(&shared->notes_n[self->number]);
    if (n == ACTS_MAX) {
        return;
    }
    shared->notes[self->number][n].key = key;
    shared->notes[self->number][n].act = *act;
    atomic_store(&shared->notes_n[self->number], n + 1);
}

static uint64_t number_of(const kw_quorum_results *results)
{
    size_t len = 0;
    const char *value = kw_quorum_value(results, 0, &len);
    uint64_t number = 0;
    if (value != NULL && len == sizeof(number)) {
        memcpy(&number, value, sizeof(number));
    }
    return number;
}

static void finish_act(person *self, sight *seen, kw_test_act *act, kw_quorum_results *results,
                       kw_error *error)
{
    board *shared = self->crowd->board;
    kw_err code = results != NULL ? kw_quorum_result(results, 0, error) : error->code;
    act->end = kw_test_now_ns();
    if (code != KW_OK) {
        bool is_maybe = error->effect != KW_EFFECT_NONE;
        atomic_fetch_add(is_maybe ? &shared->maybe_n : &shared->none_n, 1);
        act->end = KW_TEST_NEVER;
        if (is_maybe) {
            write_down(self, seen->key, act);
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
    write_down(self, seen->key, act);
}

static void act_once(person *self)
{
    unsigned place = (unsigned)kw_random_below(&self->random, KEYS_N);
    uint32_t key = epoch_of(self->crowd->board) * KEYS_N + place;
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
    if (dice >= 5) {
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
    uint64_t written = act.value; /* request.value points to it until the call is over */
    request.value = request.value != NULL ? (const char *)&written : NULL;
    kw_error error = KW_ERROR_INIT;
    act.begin = kw_test_now_ns();
    kw_quorum_results *results = kw_quorum_run(self->quorum, &error, &request, 1, 0);
    finish_act(self, seen, &act, results, &error);
    kw_quorum_results_free(results);
}

static void live(crowd *self, unsigned number)
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

static void start_clients(crowd *self)
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
    }
}

static void harm(crowd *self)
{
    unsigned at = (unsigned)kw_random_below(&self->random, SERVERS_N);
    unsigned span_ms = 20 + (unsigned)kw_random_below(&self->random, 400);
    kw_test_server *server = self->servers[at];
    kw_test_door *door = self->doors[at];
    self->faults_n++;
    switch (kw_random_below(&self->random, 4)) {
    case 0:
        kw_test_server_kill(server);
        kw_test_sleep_ms(span_ms);
        kw_test_server_restart(server);
        break;
    case 1:
        kw_test_server_pause(server);
        kw_test_sleep_ms(span_ms);
        kw_test_server_resume(server);
        break;
    case 2:
        kw_test_door_set(door, KW_TEST_DOOR_SLOW);
        kw_test_sleep_ms(span_ms);
        kw_test_door_set(door, KW_TEST_DOOR_OPEN);
        break;
    default:
        kw_test_door_set(door, KW_TEST_DOOR_SHUT);
        kw_test_sleep_ms(span_ms);
        if (kw_random_below(&self->random, 2) == 0) {
            kw_test_door_reset(door); /* what was under way is lost, and not just late */
        }
        kw_test_door_set(door, KW_TEST_DOOR_OPEN);
        break;
    }
    kw_test_sleep_ms(30 + (unsigned)kw_random_below(&self->random, 150));
}

static void mark(kw_test_server *server)
{
    kw_test_server_ok(server, "SET %s 1", KW_QUORUM_MARKER);
}

/* Each key that the server holds, on all its copies. */
static void repair_keys_of(kw_quorum *quorum, kw_test_server *server)
{
    redisReply *keys = kw_test_server_command(server, "KEYS key[0-9]*"); /* a few hundred */
    for (size_t i = 0; i < keys->elements;) {
        kw_quorum_request request = KW_QUORUM_REQUEST_INIT;
        request.act = KW_QUORUM_ACT_REPAIR;
        request.key = keys->element[i]->str;
        request.key_len = (size_t)keys->element[i]->len;
        kw_error error = KW_ERROR_INIT;
        kw_quorum_results *results = kw_quorum_run(quorum, &error, &request, 1, 0);
        bool is_done = results != NULL && kw_quorum_result(results, 0, &error) == KW_OK;
        i += is_done ? 1 : 0; /* else again */
        kw_quorum_results_free(results);
    }
    freeReplyObject(keys);
}

static void restart_empty(kw_test_server *server)
{
    char path[300];
    kw_test_server_kill(server);
    snprintf(path, sizeof(path), "%s/appendonlydir", kw_test_server_folder(server));
    kw_test_folder_remove(path);
    kw_test_server_restart(server);
    if (kw_test_server_integer(server, "DBSIZE") != 0) {
        kw_test_die("the server is not empty");
    }
}

/* A server comes back without its data, and is repaired from the others. */
static void empty(crowd *self)
{
    unsigned at = (unsigned)kw_random_below(&self->random, SERVERS_N);
    kw_test_server *server = self->servers[at];
    restart_empty(server);
    kw_test_sleep_ms((unsigned)kw_random_below(&self->random, 100));
    kw_error error = KW_ERROR_INIT;
    kw_client *client = kw_open(self->uri, &error);
    kw_quorum *quorum = client != NULL ? kw_quorum_new(client, &error) : NULL;
    if (quorum == NULL) {
        kw_test_die("%s", error.text);
    }
    for (unsigned i = 0; i < SERVERS_N; i++) {
        if (i != at) {
            repair_keys_of(quorum, self->servers[i]);
        }
    }
    kw_quorum_free(quorum);
    kw_close(client);
    mark(server);
    self->faults_n++;
    kw_test_sleep_ms((unsigned)kw_random_below(&self->random, 100));
}

/* The same, but nobody repairs it: it forgets writes that another copy has missed. */
static void forget(crowd *self)
{
    unsigned at = (unsigned)kw_random_below(&self->random, SERVERS_N);
    kw_test_door *behind = self->doors[at];
    kw_test_server *emptied = self->servers[(at + 1) % SERVERS_N];
    kw_test_door_set(behind, KW_TEST_DOOR_SHUT);
    kw_test_sleep_ms(50);
    restart_empty(emptied);
    mark(emptied);
    kw_test_door_set(self->doors[(at + 2) % SERVERS_N], KW_TEST_DOOR_SHUT);
    kw_test_door_reset(behind);
    kw_test_door_set(behind, KW_TEST_DOOR_OPEN);
    kw_test_sleep_ms(50);
    kw_test_door_set(self->doors[(at + 2) % SERVERS_N], KW_TEST_DOOR_OPEN);
    self->faults_n++;
}

static void tremble(crowd *self)
{
    unsigned at = (unsigned)kw_random_below(&self->random, SERVERS_N);
    bool is_slow = kw_random_below(&self->random, 2) == 0;
    kw_test_door_set(self->doors[at], is_slow ? KW_TEST_DOOR_SLOW : KW_TEST_DOOR_OPEN);
    kw_test_sleep_ms(3);
    self->faults_n++;
}

/* Puts what a server held a while ago back, past the script and its check of versions. */
static void roll_back(crowd *self)
{
    uint32_t key = epoch_of(self->board) * KEYS_N;
    redisReply *old[SERVERS_N];
    for (unsigned i = 0; i < SERVERS_N; i++) {
        old[i] = kw_test_server_command(self->servers[i], "GET key%u", key);
    }
    kw_test_sleep_ms(20);
    for (unsigned i = 0; i < SERVERS_N; i++) {
        if (old[i]->type == REDIS_REPLY_STRING) {
            freeReplyObject(kw_test_server_command(self->servers[i], "SET key%u %b", key,
                                                   old[i]->str, (size_t)old[i]->len));
        }
        freeReplyObject(old[i]);
    }
    self->faults_n++;
}

static void let_live(crowd *self)
{
    const kw_test_crowd_plan *plan = self->plan;
    uint64_t end_ns = kw_test_now_ns() + plan->seconds * UINT64_C(1000000000);
    while (kw_test_now_ns() < end_ns &&
           (plan->acts_n == 0 || atomic_load(&self->board->done_n) < plan->acts_n)) {
        if (plan->rolls_back) {
            roll_back(self);
        } else if (plan->skips_repair) {
            forget(self);
        } else if (plan->trembles) {
            tremble(self);
        } else if (plan->empties) {
            empty(self);
        } else if (plan->is_calm) {
            kw_test_sleep_ms(50);
        } else {
            harm(self);
        }
    }
    atomic_store(&self->board->ends, true);
    for (unsigned i = 0; i < CLIENTS_N; i++) {
        int status = 0;
        if (waitpid(self->clients[i], &status, 0) < 0 || status != 0) {
            kw_test_die("a client ended with status %d", status);
        }
    }
}

static int by_key(const void *a, const void *b)
{
    const note *x = a;
    const note *y = b;
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

static void judge(const crowd *self, kw_test_crowd_result *result, bool prints)
{
    size_t n = 0;
    size_t total = 0;
    for (unsigned i = 0; i < CLIENTS_N; i++) {
        total += atomic_load(&self->board->notes_n[i]);
    }
    note *all = calloc(total + 1, sizeof(all[0]));
    kw_test_act *acts = calloc(total + 1, sizeof(acts[0]));
    if (all == NULL || acts == NULL) {
        kw_test_die("no memory for histories");
    }
    for (unsigned i = 0; i < CLIENTS_N; i++) {
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
    crowd self = {.plan = plan};
    kw_random_init(&self.random, kw_test_seed(name));
    self.board =
        mmap(NULL, sizeof(board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (self.board == MAP_FAILED) {
        kw_test_die("no memory for a board");
    }
    self.board->begin_ns = kw_test_now_ns();
    for (unsigned i = 0; i < SERVERS_N; i++) {
        self.servers[i] = kw_test_server_start("save \"\"\nappendonly yes\nappendfsync no\n");
        mark(self.servers[i]);
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
    munmap(self.board, sizeof(board));
    return result;
}

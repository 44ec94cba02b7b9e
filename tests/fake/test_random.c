/* SPDX-License-Identifier: BSD-3-Clause */
/* Servers that do a random one of many wrong things with each command, under threads that
 * know what each of their commands must answer. Every reply is its own command's, no
 * write runs twice, and the effect of each failure is true. */
#include "fake/fixture.h"
#include "base/random.h"

#include <stdatomic.h>

#define TIMEOUT_MS 120
#define LATEST_MS  2500

#define SPAN_MS   1500
#define THREADS_N 6

#define COMMANDS_MAX 400000
#define BATCH_N      8

#define STRAY 999999999u

/* What became of one command; each has a number of its own, which it asks for. */
typedef enum outcome { NEVER_SENT, REPLIED, FAILED_NONE, FAILED_MAYBE, FAILED_DONE } outcome;

typedef struct story {
    atomic_uint runs_n; /* how often a server ran it */
    outcome outcome;    /* what the caller was told; written by his thread alone */
    bool may_repeat;
    atomic_bool is_alone; /* has a connection of its own */
} story;

typedef struct world {
    story *stories;
    atomic_uint next;
    kw_fake *fakes[3];
    kw_client *kw;
    uint64_t until_ms;
    bool redirects;
    atomic_uint wrong_n; /* replies that were another command's */
    atomic_uint late_n;
} world;

/* One server; its random numbers are its thread's alone. */
typedef struct server {
    world *all;
    kw_random random;
} server;

typedef struct caller {
    pthread_t thread;
    world *all;
    kw_random random;
    unsigned replies_n;
    unsigned failures_n;
} caller;

static void reply_number(kw_fake_call *call, unsigned number)
{
    kw_fake_call_replyf(call, ":%u\r\n", number);
}

/* "INCRBY slot-key number", "STRLEN slot-key:number" or BLPOP: runs it, or does worse. */
static void serve_command(server *self, kw_fake_call *call, unsigned number)
{
    world *all = self->all;
    story *it = &all->stories[number];
    const kw_fake *other = all->fakes[kw_random_below(&self->random, 3)];
    int fault = (int)kw_random_below(&self->random, 120);
    if (!all->redirects && (fault == 3 || fault == 4)) {
        fault = 0;
    }
    switch (fault) {
    case 0:
        kw_fake_call_replyf(call, "-LOADING data\r\n");
        break;
    case 1:
        kw_fake_call_replyf(call, "-TRYAGAIN later\r\n");
        break;
    case 2:
        kw_fake_call_replyf(call, "-CLUSTERDOWN down\r\n");
        break;
    case 3:
        kw_fake_call_replyf(call, "-MOVED 12182 %s\r\n", kw_fake_address(other));
        break;
    case 4:
        kw_fake_call_replyf(call, "-ASK 12182 %s\r\n", kw_fake_address(other));
        break;
    case 5:
        kw_fake_call_close(call); /* not run */
        break;
    case 6:
        atomic_fetch_add(&it->runs_n, 1);
        kw_fake_call_close(call); /* run, not answered */
        break;
    case 7:
        atomic_fetch_add(&it->runs_n, 1);
        reply_number(call, number);
        kw_fake_call_close(call);
        break;
    case 8:
        atomic_fetch_add(&it->runs_n, 1);
        reply_number(call, number);
        if (atomic_load(&it->is_alone)) {
            reply_number(call, STRAY); /* one too many; among others' it cannot be told */
        }
        break;
    case 9:
        atomic_fetch_add(&it->runs_n, 1);
        kw_fake_call_replyf(call, "HTTP/1.1 400\r\n");
        break;
    case 10:
        atomic_fetch_add(&it->runs_n, 1);
        kw_fake_call_replyf(call, "$20\r\nhalf");
        kw_fake_call_close(call);
        break;
    case 11:
        atomic_fetch_add(&it->runs_n, 1);
        if (kw_random_below(&self->random, 10) == 0) {
            kw_test_sleep_ms(TIMEOUT_MS + 20); /* everybody here is late */
        }
        reply_number(call, number);
        break;
    default:
        atomic_fetch_add(&it->runs_n, 1);
        reply_number(call, number);
        break;
    }
}

static bool serve_greeting(server *self, kw_fake_call *call)
{
    switch ((int)kw_random_below(&self->random, 40)) {
    case 0:
        kw_fake_call_close(call);
        return true;
    case 1:
        kw_fake_call_replyf(call, "-ERR max number of clients reached\r\n");
        kw_fake_call_close(call);
        return true;
    default:
        return false;
    }
}

static bool serve(void *arg, kw_fake_call *call)
{
    server *self = arg;
    const char *name = kw_fake_call_arg(call, 0, NULL);
    if (strcmp(name, "HELLO") == 0) {
        return serve_greeting(self, call);
    }
    if (strcmp(name, "CLUSTER") == 0) {
        if (kw_random_below(&self->random, 8) == 0) {
            kw_fake_call_replyf(call, "*1\r\n*3\r\n:0\r\n:99999\r\n*0\r\n");
            return true;
        }
        return false;
    }
    if (strcmp(name, "INCRBY") == 0) {
        serve_command(self, call, (unsigned)atoi(kw_fake_call_arg(call, 2, NULL)));
        return true;
    }
    if (strcmp(name, "STRLEN") == 0 || strcmp(name, "BLPOP") == 0) {
        const char *number = strchr(kw_fake_call_arg(call, 1, NULL), ':');
        serve_command(self, call, (unsigned)atoi(number + 1));
        return true;
    }
    return false;
}

static unsigned new_number(caller *self, bool may_repeat, bool is_alone)
{
    unsigned number = atomic_fetch_add(&self->all->next, 1);
    if (number >= COMMANDS_MAX) {
        return 0;
    }
    self->all->stories[number].may_repeat = may_repeat;
    atomic_store(&self->all->stories[number].is_alone, is_alone);
    return number;
}

static void tell(caller *self, unsigned number, const kw_reply *reply, const kw_error *error)
{
    story *it = &self->all->stories[number];
    if (reply == NULL) {
        it->outcome = error->effect == KW_EFFECT_NONE    ? FAILED_NONE
                      : error->effect == KW_EFFECT_MAYBE ? FAILED_MAYBE
                                                         : FAILED_DONE;
        self->failures_n++;
        return;
    }
    it->outcome = REPLIED;
    self->replies_n++;
    if (kw_reply_int(reply) != (long long)number || kw_reply_is_error(reply)) {
        fprintf(stderr, "command %u: :%lld %s\n", number, kw_reply_int(reply),
                kw_reply_is_error(reply) ? kw_reply_str(reply, NULL) : "");
        atomic_fetch_add(&self->all->wrong_n, 1);
    }
}

static const char *key_of(caller *self, char *key)
{
    snprintf(key, 24, "key%u", (unsigned)kw_random_below(&self->random, 100));
    return key;
}

static void call_once(caller *self)
{
    char key[24];
    char text[24];
    kw_error error = KW_ERROR_INIT;
    kw_reply *reply = NULL;
    unsigned kind = (unsigned)kw_random_below(&self->random, 4);
    unsigned number = new_number(self, kind == 1 || kind == 2, kind == 3);
    if (number == 0) {
        return;
    }
    key_of(self, key);
    snprintf(text, sizeof(text), "%u", number);
    if (kind == 0) {
        reply = kw_command(self->all->kw, &error, "INCRBY %s %s", key, text);
    } else if (kind == 1) {
        reply = kw_command(self->all->kw, &error, "STRLEN %s:%s", key, text);
    } else if (kind == 3) {
        reply = kw_command(self->all->kw, &error, "BLPOP %s:%s 0.01", key, text);
    } else {
        const char *argv[] = {"INCRBY", key, text};
        kw_call_options options = KW_CALL_OPTIONS_INIT;
        options.idempotent = true;
        reply = kw_call(self->all->kw, &error, &options, (kw_argv){3, argv, NULL});
    }
    tell(self, number, reply, &error);
    kw_reply_free(reply);
}

static void call_batch(caller *self)
{
    char key[24];
    unsigned numbers[BATCH_N];
    kw_batch *batch = kw_batch_new(self->all->kw, NULL);
    for (size_t i = 0; i < BATCH_N; i++) {
        numbers[i] = new_number(self, i % 2 == 1, false);
        key_of(self, key);
        if (i % 2 == 0) {
            kw_batch_add(batch, NULL, "INCRBY %s %u", key, numbers[i]);
        } else {
            kw_batch_add(batch, NULL, "STRLEN %s:%u", key, numbers[i]);
        }
    }
    if (numbers[BATCH_N - 1] != 0) {
        (void)kw_batch_run(batch, NULL, 0);
        for (size_t i = 0; i < BATCH_N; i++) {
            kw_error error = KW_ERROR_INIT;
            tell(self, numbers[i], kw_batch_reply(batch, &error, i), &error);
        }
    }
    kw_batch_free(batch);
}

static void *run_caller(void *arg)
{
    caller *self = arg;
    for (uint64_t now_ms = kw_test_now_ms(); now_ms < self->all->until_ms;) {
        if (kw_random_below(&self->random, 5) == 0) {
            call_batch(self);
        } else {
            call_once(self);
        }
        uint64_t end_ms = kw_test_now_ms();
        if (end_ms - now_ms > TIMEOUT_MS + LATEST_MS) {
            atomic_fetch_add(&self->all->late_n, 1);
        }
        now_ms = end_ms;
    }
    return NULL;
}

/* The servers are gone: what they ran, against what the callers were told. */
static void check_stories(const world *all)
{
    unsigned counts[5] = {0};
    unsigned bad_n = 0;
    unsigned n = atomic_load(&all->next) < COMMANDS_MAX ? atomic_load(&all->next) : COMMANDS_MAX;
    for (unsigned i = 1; i < n; i++) {
        const story *it = &all->stories[i];
        unsigned runs_n = atomic_load(&it->runs_n);
        bool is_bad = runs_n > 1 && !it->may_repeat;
        is_bad = is_bad || (it->outcome == FAILED_NONE && runs_n > 0);
        is_bad = is_bad || (it->outcome == REPLIED && runs_n == 0);
        is_bad = is_bad || (it->outcome == FAILED_DONE && runs_n == 0);
        if (is_bad && bad_n++ < 10) {
            fprintf(stderr, "command %u: outcome %d, run %u times%s\n", i, (int)it->outcome, runs_n,
                    it->may_repeat ? ", may be repeated" : "");
        }
        counts[it->outcome]++;
    }
    fprintf(stderr, "%u commands: %u replies, failures: %u none, %u maybe, %u done\n", n,
            counts[REPLIED], counts[FAILED_NONE], counts[FAILED_MAYBE], counts[FAILED_DONE]);
    assert_int_equal(bad_n, 0);
    assert_true(counts[REPLIED] > n / 2);
}

static void run_world(const char *scheme, int share_above, uint64_t seed)
{
    world all = {.redirects = strstr(scheme, "cluster") != NULL};
    server servers[3];
    caller callers[THREADS_N];
    kw_random seeds;
    kw_random_init(&seeds, seed);
    all.stories = calloc(COMMANDS_MAX, sizeof(all.stories[0]));
    assert_non_null(all.stories);
    atomic_store(&all.next, 1);
    int descriptors_n = kw_test_fd_count();
    for (size_t i = 0; i < 3; i++) {
        all.fakes[i] = kw_fake_start();
    }
    const kw_fake_range ranges[] = {{0, 5000, all.fakes[0], NULL},
                                    {5001, 10000, all.fakes[1], NULL},
                                    {10001, 16383, all.fakes[2], NULL}};
    kw_fake_set_cluster(all.fakes, 3, ranges, 3);
    char uri[200];
    snprintf(uri, sizeof(uri), "%s://%s?timeout=%dms&pool-max=8&share-above=%d", scheme,
             kw_fake_address(all.fakes[0]), TIMEOUT_MS, share_above);
    kw_test_memory memory;
    kw_test_memory_init(&memory, 0);
    kw_config *config = kw_test_config_new(&memory.allocator);
    assert_int_equal(kw_config_set_uri(config, NULL, uri), KW_OK);
    all.kw = kw_open_config(config, NULL);
    kw_config_free(config);
    assert_non_null(all.kw);
    assert_int_equal(kw_connect(all.kw, NULL), KW_OK);
    for (size_t i = 0; i < 3; i++) {
        servers[i].all = &all;
        kw_random_init(&servers[i].random, kw_random_next(&seeds));
        kw_fake_respond(all.fakes[i], serve, &servers[i]);
    }
    all.until_ms = kw_test_now_ms() + SPAN_MS;
    for (size_t i = 0; i < THREADS_N; i++) {
        callers[i] = (caller){.all = &all};
        kw_random_init(&callers[i].random, kw_random_next(&seeds));
        assert_int_equal(pthread_create(&callers[i].thread, NULL, run_caller, &callers[i]), 0);
    }
    for (size_t i = 0; i < THREADS_N; i++) {
        kw_test_join(callers[i].thread);
    }
    assert_in_range(kw_test_memory_live(&memory), 1, 2000); /* a few connections */
    kw_close(all.kw);
    assert_int_equal(kw_test_memory_live(&memory), 0);
    for (size_t i = 0; i < 3; i++) {
        kw_fake_free(all.fakes[i]);
    }
    assert_int_equal(atomic_load(&all.wrong_n), 0);
    assert_int_equal(atomic_load(&all.late_n), 0);
    check_stories(&all);
    free(all.stories);
    assert_in_range(kw_test_fd_count(), 0, descriptors_n);
}

static void test_random_faults_of_a_cluster_keep_every_promise(void **state)
{
    (void)state;
    uint64_t seed = kw_test_seed("test_random_faults_of_a_cluster");
    run_world("redis-cluster", 3, seed);
    run_world("redis-cluster", 0, seed + 1);
}

static void test_random_faults_of_one_server_keep_every_promise(void **state)
{
    (void)state;
    uint64_t seed = kw_test_seed("test_random_faults_of_one_server");
    run_world("redis", 3, seed);
    run_world("redis", 0, seed + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_faults_of_one_server_keep_every_promise),
        cmocka_unit_test(test_random_faults_of_a_cluster_keep_every_promise),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Callers of a quorum who meet: one carries the calls of all on one exchange. The handle's clock
 * goes on when the test says so, and each read is answered when the test lets it pass. */
#include "fake/fakes.h"

#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#include "api/client.h"
#include "api/quorum_private.h"

/* Longer than anybody waits to be taken along. */
#define QUEUE_MS 3u

#define CALLERS_MAX 8

static atomic_uint_fast64_t told_ns;

static uint64_t tell_time(void *arg)
{
    (void)arg;
    return atomic_load(&told_ns);
}

typedef struct stage {
    kw_client *kw;
    kw_quorum *quorum;
} stage;

typedef struct caller {
    pthread_t thread;
    kw_quorum *quorum;
    char key[8];
    kw_quorum_act act;
    uint64_t timeout_ms;
    kw_err code;
    kw_error error;
    atomic_bool has_ended;
} caller;

static stage open_stage(const char *options)
{
    stage self = {.kw = kw_test_open("redis-ring://a=%s,b=%s,c=%s?copies=3&share-above=0&%s",
                                     kw_fake_address(fakes[0]), kw_fake_address(fakes[1]),
                                     kw_fake_address(fakes[2]), options)};
    kw_env *env = &self.kw->topology->env;
    atomic_store(&told_ns, kw_env_now(env));
    env->clock = (kw_clock){tell_time, NULL};
    self.quorum = kw_quorum_new(self.kw, NULL);
    assert_non_null(self.quorum);
    return self;
}

static void close_stage(stage *self)
{
    kw_quorum_free(self->quorum);
    kw_close(self->kw);
    for (size_t i = 0; i < FAKES_N; i++) {
        kw_fake_disconnect(fakes[i], false); /* also those that wait at gates */
    }
}

static void pass_ms(uint64_t ms)
{
    atomic_fetch_add(&told_ns, ms * KW_NS_PER_MS);
}

/* Nobody holds the key: its reads are answered at once, or once they may pass. */
static void answer_reads(const char *pattern, bool waits)
{
    for (size_t i = 0; i < FAKES_N; i++) {
        kw_fake_on(fakes[i], KW_FAKE_ALWAYS, pattern,
                   waits ? KW_FAKE_STEPS(KW_FAKE_GATE, KW_FAKE_SEND("$-1\r\n"))
                         : KW_FAKE_STEPS(KW_FAKE_SEND("$-1\r\n")));
    }
}

static void *call(void *arg)
{
    caller *self = arg;
    kw_quorum_request request = KW_QUORUM_REQUEST_INIT;
    request.act = self->act;
    request.key = self->key;
    request.key_len = strlen(self->key);
    kw_quorum_results *results =
        kw_quorum_run(self->quorum, &self->error, &request, 1, self->timeout_ms);
    self->code = results != NULL ? kw_quorum_result(results, NULL, 0) : self->error.code;
    kw_quorum_results_free(results);
    atomic_store(&self->has_ended, true);
    return NULL;
}

static void begin(caller *self, const stage *of, const char *key, uint64_t timeout_ms)
{
    memset(self, 0, sizeof(*self));
    self->quorum = of->quorum;
    self->timeout_ms = timeout_ms;
    snprintf(self->key, sizeof(self->key), "%s", key);
    assert_int_equal(pthread_create(&self->thread, NULL, call, self), 0);
}

static void end(caller *self, kw_err code)
{
    kw_test_join(self->thread);
    if (self->code != code) {
        fail_msg("%s: %s: %s", self->key, kw_err_name(self->code), self->error.text);
    }
}

/* The clock goes on meanwhile. */
static void end_in_time(caller *self, kw_err code)
{
    KW_TEST_UNTIL(atomic_load(&self->has_ended))
    {
        pass_ms(1);
        kw_test_sleep_ms(1);
    }
    end(self, code);
}

static size_t count_queued(const stage *self)
{
    kw_monitor *monitor = &self->quorum->exchanges.monitor;
    size_t n = 0;
    kw_monitor_lock(monitor);
    for (kw_quorum_caller *one = self->quorum->carrier.queue; one != NULL; one = one->next) {
        n++;
    }
    kw_monitor_unlock(monitor);
    return n;
}

static size_t count_carried(const stage *self)
{
    kw_monitor_lock(&self->quorum->exchanges.monitor);
    size_t n = self->quorum->carrier.carried_n;
    kw_monitor_unlock(&self->quorum->exchanges.monitor);
    return n;
}

/* The leader waits for answers, and has asked all for its key. */
static void begin_leader(caller *self, const stage *of, uint64_t timeout_ms)
{
    begin(self, of, "lead", timeout_ms);
    KW_TEST_AWAIT(received("GET lead") == FAKES_N)
    KW_TEST_AWAIT(count_carried(of) == 1)
}

/* Others come while the leader waits; the first of its answers lets it take them along. */
static void take_along(const stage *self, caller *others, size_t n, uint64_t timeout_ms)
{
    for (size_t i = 0; i < n; i++) {
        char key[24];
        snprintf(key, sizeof(key), "k%zu", i);
        begin(&others[i], self, key, timeout_ms);
        KW_TEST_AWAIT(count_queued(self) + count_carried(self) == i + 2)
    }
    kw_fake_pass(fakes[0]);
    KW_TEST_AWAIT(count_carried(self) == n + 1)
}

/* Lets all reads of a fake pass: of one more than others there are. */
static void pass_all(size_t fake, size_t others_n)
{
    for (size_t i = 0; i <= others_n; i++) {
        kw_fake_pass(fakes[fake]);
    }
}

/* Whoever comes while another waits is taken along on its connections, and a copy that is slow to
 * all of them keeps nobody. */
static void test_carrier_takes_along_who_comes_meanwhile(void **state)
{
    (void)state;
    renew_servers();
    answer_reads("GET *", true);
    stage self = open_stage("timeout=60s");
    caller lead;
    caller others[3];
    begin_leader(&lead, &self, 0);
    take_along(&self, others, 3, 0);
    pass_all(0, 2); /* one has passed */
    KW_TEST_AWAIT(kw_fake_count(fakes[0], "GET k*") == 3)
    assert_false(atomic_load(&lead.has_ended));
    kw_fake_pass(fakes[1]);
    end(&lead, KW_OK);
    for (size_t i = 0; i < 3; i++) {
        assert_false(atomic_load(&others[i].has_ended));
        kw_fake_pass(fakes[1]);
        end(&others[i], KW_OK);
    }
    assert_int_equal(self.quorum->exchanges.n, 1);
    assert_int_equal(kw_fake_at_gates(fakes[2]), 1);
    assert_int_equal(count_carried(&self), 0);
    assert_null(self.quorum->carrier.exchange);
    close_stage(&self);
}

/* Each has its own deadline, whoever carries it. */
static void test_carrier_ends_each_at_its_own_deadline(void **state)
{
    (void)state;
    renew_servers();
    answer_reads("GET *", true);
    stage self = open_stage("timeout=60s&stall-timeout=50s");
    caller lead;
    caller others[2];
    begin_leader(&lead, &self, 0);
    take_along(&self, others, 2, 500);
    pass_ms(499);
    kw_test_sleep_ms(60);
    assert_false(atomic_load(&others[0].has_ended));
    pass_ms(2);
    end(&others[0], KW_ERR_QUORUM);
    end(&others[1], KW_ERR_QUORUM);
    assert_int_equal(others[0].error.effect, KW_EFFECT_NONE);
    assert_false(atomic_load(&lead.has_ended));
    kw_fake_pass(fakes[1]);
    end(&lead, KW_OK);
    close_stage(&self);
}

/* Who carries ends at its own deadline, and another one carries on. */
static void test_carrier_that_is_late_leaves_and_another_goes_on(void **state)
{
    (void)state;
    renew_servers();
    answer_reads("GET *", true);
    stage self = open_stage("timeout=60s&stall-timeout=50s");
    caller lead;
    caller others[2];
    begin_leader(&lead, &self, 500);
    take_along(&self, others, 2, 0);
    pass_ms(501);
    end(&lead, KW_ERR_QUORUM);
    assert_false(atomic_load(&others[0].has_ended));
    pass_all(0, 1); /* one has passed */
    pass_all(1, 2);
    end(&others[0], KW_OK);
    end(&others[1], KW_OK);
    assert_int_equal(self.quorum->exchanges.n, 1);
    close_stage(&self);
}

/* False where the leader took it along before it began to wait. */
static bool try_without_answers(void)
{
    renew_servers();
    answer_reads("GET lead", true);
    answer_reads("GET *", false);
    stage self = open_stage("timeout=60s&stall-timeout=50s");
    caller lead;
    caller others[2];
    begin_leader(&lead, &self, 0);
    begin(&others[0], &self, "queued", 0);
    KW_TEST_AWAIT(count_queued(&self) + count_carried(&self) == 2)
    pass_ms(QUEUE_MS);
    KW_TEST_AWAIT(atomic_load(&others[0].has_ended) || count_carried(&self) == 2)
    bool was_queued = count_carried(&self) == 1;
    if (was_queued) {
        end(&others[0], KW_OK);
        begin(&others[1], &self, "later", 0);
        end(&others[1], KW_OK);
        assert_false(atomic_load(&lead.has_ended));
        assert_int_equal(self.quorum->exchanges.n, 2);
    }
    pass_all(0, 0);
    pass_all(1, 0);
    end(&lead, KW_OK);
    if (!was_queued) {
        end(&others[0], KW_OK);
    }
    close_stage(&self);
    return was_queued;
}

/* Nobody waits for a leader that has no answers: whoever was queued, and whoever comes, has an
 * exchange of its own. */
static void test_carrier_without_answers_keeps_nobody(void **state)
{
    (void)state;
    KW_TEST_UNTIL(try_without_answers())
    {
    }
}

/* A copy that refuses connections is no reason for anybody to fail. */
static void test_carrier_with_a_dead_copy_brings_all_answers(void **state)
{
    (void)state;
    renew_servers();
    kw_fake_down(fakes[2]);
    answer_reads("GET lead", true);
    answer_reads("GET *", false);
    stage self = open_stage("timeout=60s");
    caller lead;
    caller others[CALLERS_MAX];
    begin(&lead, &self, "lead", 0);
    KW_TEST_AWAIT(received("GET lead") == FAKES_N - 1)
    take_along(&self, others, CALLERS_MAX, 0);
    pass_all(1, 0);
    for (size_t i = 0; i < CALLERS_MAX; i++) {
        end_in_time(&others[i], KW_OK);
    }
    end_in_time(&lead, KW_OK);
    close_stage(&self);
    kw_fake_up(fakes[2]);
}

static void *close_handle(void *arg)
{
    kw_close(arg);
    return NULL;
}

/* A handle that is closed ends those who are carried, and those who wait to be. */
static void test_carrier_under_close_ends_all(void **state)
{
    (void)state;
    renew_servers();
    answer_reads("GET *", true);
    stage self = open_stage("timeout=60s&stall-timeout=50s");
    caller lead;
    caller others[3];
    begin_leader(&lead, &self, 0);
    take_along(&self, others, 2, 0);
    begin(&others[2], &self, "last", 0);
    KW_TEST_AWAIT(count_queued(&self) + count_carried(&self) == 4)
    kw_client_count_in(self.kw); /* for the quorum, until it is freed */
    pthread_t closer;
    assert_int_equal(pthread_create(&closer, NULL, close_handle, self.kw), 0);
    end(&lead, KW_ERR_CANCELLED);
    for (size_t i = 0; i < 3; i++) {
        end(&others[i], KW_ERR_CANCELLED);
    }
    kw_quorum_free(self.quorum);
    kw_client_leave(self.kw);
    kw_test_join(closer);
}

/* A forked child has no part in what its parent's threads carry. */
static void test_carrier_under_fork_is_refused_and_goes_on_in_the_parent(void **state)
{
    (void)state;
    renew_servers();
    answer_reads("GET *", true);
    stage self = open_stage("timeout=60s&stall-timeout=50s");
    caller lead;
    caller others[2];
    begin_leader(&lead, &self, 0);
    take_along(&self, others, 2, 0);
    pid_t child = fork();
    if (child == 0) {
        kw_error error = KW_ERROR_INIT;
        bool is_refused =
            kw_quorum_get(self.quorum, &error, "k", 1) == NULL && error.code == KW_ERR_FORKED;
        kw_quorum_free(self.quorum);
        kw_close(self.kw);
        _exit(is_refused ? 0 : 1);
    }
    assert_int_equal(kw_test_wait_child(child), 0);
    pass_all(0, 1);
    pass_all(1, 2);
    end(&lead, KW_OK);
    end(&others[0], KW_OK);
    end(&others[1], KW_OK);
    assert_int_equal(received("GET k"), 0);
    close_stage(&self);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_carrier_takes_along_who_comes_meanwhile),
        cmocka_unit_test(test_carrier_ends_each_at_its_own_deadline),
        cmocka_unit_test(test_carrier_that_is_late_leaves_and_another_goes_on),
        cmocka_unit_test(test_carrier_without_answers_keeps_nobody),
        cmocka_unit_test(test_carrier_with_a_dead_copy_brings_all_answers),
        cmocka_unit_test(test_carrier_under_close_ends_all),
        cmocka_unit_test(test_carrier_under_fork_is_refused_and_goes_on_in_the_parent),
    };
    return cmocka_run_group_tests(tests, start_fakes, stop_fakes);
}

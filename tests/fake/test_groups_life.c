/* SPDX-License-Identifier: BSD-3-Clause */
/* A handle with a Sentinel group in its ring, without memory, in a forked child, and used by
 * many threads while the group switches and members change. */

#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fake/group_fakes.h"
#include "support/parts.h"

/* One life of a handle, in which an allocation fails; true where one did. */
static bool live_with(unsigned long fail_at)
{
    char uri[400];
    kw_test_memory memory;
    kw_error error = KW_ERROR_INIT;
    kw_test_memory_init(&memory, 0);
    kw_config *config = kw_test_config_new(&memory.allocator);
    assert_int_equal(kw_config_set_uri(config, &error, uri_of(uri, sizeof(uri), "timeout=5s")),
                     KW_OK);
    unsigned long before = kw_test_memory_calls(&memory);
    unsigned long calls_n = 0;
    memory.fail_at = before + fail_at;
    kw_client *kw = kw_open_config(config, &error);
    if (kw != NULL) {
        const char *argv[] = {"GET", "key:1"}; /* of whichever member */
        kw_members *members = kw_members_begin(kw, NULL);
        kw_reply_free(kw_call(kw, NULL, NULL, (kw_argv){2, argv, NULL}));
        (void)kw_connect(kw, NULL);
        if (members != NULL) {
            snprintf(uri, sizeof(uri), "c=%s;service=other", kw_fake_address(sentinels[0]));
            bool is_added = kw_members_add(members, &error, uri) == KW_OK;
            bool is_done = kw_members_commit(members, &error) == KW_OK;
            kw_ring *ring = kw_client_ring(kw, NULL);
            assert_int_equal(kw_ring_nodes_n(ring), is_added && is_done ? 3 : 2);
            kw_ring_unref(ring);
            kw_reply_free(kw_call(kw, NULL, NULL, (kw_argv){2, argv, NULL}));
        }
        kw_members_free(members);
        calls_n = kw_test_memory_calls(&memory) - before;
        memory.fail_at = 0;
        expect(kw, "GET", 'b', 1); /* what failed has left nothing behind */
        kw_close(kw);
    }
    bool has_failed = kw == NULL || calls_n >= fail_at;
    kw_config_free(config);
    assert_int_equal(kw_test_memory_live(&memory), 0);
    return has_failed;
}

static void test_every_allocation_may_fail(void **state)
{
    (void)state;
    reset_fakes();
    for (size_t i = 0; i < SENTINELS; i++) {
        kw_fake_on_reply(sentinels[i], KW_FAKE_ALWAYS, "SENTINEL GET-* other", "*-1");
        kw_fake_on_reply(sentinels[i], KW_FAKE_ALWAYS, "SENTINEL * other", "-ERR No such master");
    }
    unsigned long n = 1;
    while (n < 400 && live_with(n)) {
        n++;
    }
    assert_in_range(n, 60, 399);
}

static void test_forked_child_finds_the_group_itself(void **state)
{
    (void)state;
    reset_fakes();
    kw_client *kw = open_ring("timeout=5s&after-fork=reopen");
    expect(kw, "INCR", 'b', 1);
    const char *key = key_of(kw, 'b');
    pid_t child = fork();
    if (child == 0) {
        const char *argv[] = {"GET", key};
        kw_reply *reply = kw_call(kw, NULL, NULL, (kw_argv){2, argv, NULL});
        _exit(reply != NULL && kw_reply_int(reply) == 1 ? 0 : 1);
    }
    int status = kw_test_wait_child(child);
    assert_int_equal(status, 0);
    expect(kw, "INCR", 'b', 1);
    kw_close(kw);
}

typedef struct crowd {
    kw_client *kw;
    char keys[2][32];
    atomic_bool is_over;
    atomic_uint answers_n;
} crowd;

/* Reads, which are sent again: each is answered, by whoever is the primary. */
static void *read_on(void *arg)
{
    crowd *self = arg;
    for (unsigned i = 0; !atomic_load(&self->is_over); i++) {
        const char *argv[] = {"GET", self->keys[i % 2]};
        kw_error error = KW_ERROR_INIT;
        kw_reply *reply = kw_call(self->kw, &error, NULL, (kw_argv){2, argv, NULL});
        if (reply == NULL || kw_reply_is_error(reply)) {
            kw_test_die("GET: %s", error.text);
        }
        bool is_own = (kw_reply_int(reply) == 0) == (i % 2 == 0);
        if (!is_own) {
            kw_test_die("GET %s went to server %lld", argv[1], (long long)kw_reply_int(reply));
        }
        atomic_fetch_add(&self->answers_n, 1);
        kw_reply_free(reply);
    }
    return NULL;
}

static void wait_for_answers(crowd *self, unsigned n)
{
    unsigned before = atomic_load(&self->answers_n);
    KW_TEST_AWAIT(atomic_load(&self->answers_n) - before >= n)
}

static void test_threads_go_on_through_switches_and_commits(void **state)
{
    (void)state;
    reset_fakes();
    pthread_t threads[4];
    kw_error error = KW_ERROR_INIT;
    crowd self = {.kw = open_ring("timeout=20s")};
    atomic_init(&self.is_over, false);
    atomic_init(&self.answers_n, 0);
    snprintf(self.keys[0], sizeof(self.keys[0]), "%s", key_of(self.kw, 'a'));
    snprintf(self.keys[1], sizeof(self.keys[1]), "%s", key_of(self.kw, 'b'));
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, read_on, &self), 0);
    }
    for (int round = 0; round < 6; round++) {
        kw_fake *up = round % 2 == 0 ? OTHER : PRIMARY;
        kw_fake *down = round % 2 == 0 ? PRIMARY : OTHER;
        kw_fake_up(up);
        name(sentinels[0], up);
        name(sentinels[1], up);
        kw_fake_down(down);
        kw_members *members = kw_members_begin(self.kw, &error);
        assert_int_equal(kw_members_set_zone(members, &error, "b", 1, round % 2 == 0 ? "z" : ""),
                         KW_OK);
        assert_int_equal(kw_members_commit(members, &error), KW_OK);
        kw_members_free(members);
        wait_for_answers(&self, 100);
    }
    atomic_store(&self.is_over, true);
    for (size_t i = 0; i < 4; i++) {
        kw_test_join(threads[i]);
    }
    assert_int_equal(kw_test_stats(self.kw).downs, 0);
    kw_close(self.kw);
}

static int run(size_t part)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_allocation_may_fail),
        cmocka_unit_test(test_forked_child_finds_the_group_itself),
        cmocka_unit_test(test_threads_go_on_through_switches_and_commits),
    };
    (void)part;
    return KW_TEST_RUN_SHARE(tests, set_up, tear_down);
}

int main(int argc, char **argv)
{
    (void)argc;
    return kw_test_parts(argv, 3, run);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Commands that only a server knows: looked up once for all who wait, and survived where the
 * look-up goes wrong. */
#include "fake/argument_fakes.h"
#include "route/command_table.h"

#include <stdatomic.h>

static void test_unknown_command_is_looked_up_once(void **state)
{
    (void)state;
    renew_cluster();
    static const char info[] =
        "*1\r\n*6\r\n$8\r\nmod.incr\r\n:-2\r\n*1\r\n+write\r\n:2\r\n:2\r\n:1\r\n";
    for (size_t i = 0; i < 2; i++) {
        kw_fake_on(fakes[i], KW_FAKE_ALWAYS, "COMMAND INFO mod.incr",
                   KW_FAKE_STEPS(KW_FAKE_BYTES(info, sizeof(info) - 1)));
        kw_fake_on_reply(fakes[i], KW_FAKE_ALWAYS, "mod.incr *", ":%zu", i);
    }
    kw_error error = KW_ERROR_INIT;
    for (int i = 0; i < 5; i++) {
        kw_reply *foo = kw_command(kw, &error, "mod.incr x foo");
        kw_reply *bar = kw_command(kw, &error, "MOD.INCR x bar");
        assert_int_equal(kw_reply_int(foo), 1);
        assert_int_equal(kw_reply_int(bar), 0);
        kw_reply_free(foo);
        kw_reply_free(bar);
    }
    assert_int_equal(received("COMMAND INFO *"), 1);
    /* Keys that only the server can find. */
    static const char movable[] =
        "*1\r\n*6\r\n$7\r\nmod.mov\r\n:-2\r\n*2\r\n+readonly\r\n+movablekeys\r\n:0\r\n:0\r\n:0\r\n";
    for (size_t i = 0; i < 2; i++) {
        kw_fake_on(fakes[i], KW_FAKE_ALWAYS, "COMMAND INFO mod.mov",
                   KW_FAKE_STEPS(KW_FAKE_BYTES(movable, sizeof(movable) - 1)));
        kw_fake_on(fakes[i], KW_FAKE_ALWAYS, "COMMAND GETKEYS mod.mov KEY foo",
                   KW_FAKE_STEPS(KW_FAKE_SEND("*1\r\n$3\r\nfoo\r\n")));
        kw_fake_on_reply(fakes[i], KW_FAKE_ALWAYS, "mod.mov *", ":%zu", i);
    }
    kw_reply *reply = kw_command(kw, &error, "mod.mov KEY foo");
    assert_int_equal(kw_reply_int(reply), 1);
    kw_reply_free(reply);
    /* What no server knows is a server's to refuse. */
    for (size_t i = 0; i < 2; i++) {
        kw_fake_on(fakes[i], KW_FAKE_ALWAYS, "COMMAND INFO nonsense",
                   KW_FAKE_STEPS(KW_FAKE_SEND("*1\r\n*-1\r\n")));
    }
    reply = kw_command(kw, &error, "nonsense a b");
    assert_true(kw_reply_is_error(reply));
    kw_reply_free(reply);
}

static void *call_module(void *arg)
{
    kw_error error = KW_ERROR_INIT;
    kw_reply *reply = kw_command(kw, &error, "mod.many foo");
    atomic_fetch_add((atomic_uint *)arg, kw_reply_int(reply) == 1 ? 1 : 0);
    kw_reply_free(reply);
    return NULL;
}

static void test_unknown_command_is_learnt_by_many_at_once(void **state)
{
    (void)state;
    renew_cluster();
    for (size_t i = 0; i < 3; i++) {
        kw_fake_on(
            fakes[i], KW_FAKE_ALWAYS, "COMMAND INFO *",
            KW_FAKE_STEPS(KW_FAKE_DELAY(20),
                          KW_FAKE_SEND("*1\r\n*6\r\n$8\r\nmod.many\r\n:-2\r\n*1\r\n+write\r\n"
                                       ":1\r\n:1\r\n:1\r\n")));
        kw_fake_on_reply(fakes[i], KW_FAKE_ALWAYS, "mod.many *", ":%zu", i);
    }
    pthread_t threads[16];
    atomic_uint good_n = 0;
    for (size_t i = 0; i < 16; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, call_module, &good_n), 0);
    }
    for (size_t i = 0; i < 16; i++) {
        kw_test_join(threads[i]);
    }
    assert_int_equal(atomic_load(&good_n), 16);
    assert_in_range(received("COMMAND INFO *"), 1, 16);
    renew_cluster();
    kw_fake_on_reply(fakes[1], KW_FAKE_ALWAYS, "mod.many *", ":1");
    atomic_store(&good_n, 0);
    call_module(&good_n);
    assert_int_equal(atomic_load(&good_n), 1);
    assert_int_equal(received("COMMAND *"), 0); /* remembered */
}

/* COMMAND is forbidden, fails, or answers nonsense: the command goes all the same, and MOVED
 * says where to. */
static void test_unknown_command_goes_where_nobody_can_tell(void **state)
{
    (void)state;
    static const char *const answers[] = {"-NOPERM no COMMAND for you",
                                          "-ERR unknown command",
                                          "*0",
                                          ":1",
                                          "*1\r\n*2\r\n:1\r\n:2",
                                          "*1\r\n*6\r\n:1\r\n:1\r\n:1\r\n:99\r\n:-99\r\n:0"};
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        renew_cluster();
        for (size_t k = 0; k < 3; k++) {
            kw_fake_on_reply(fakes[k], KW_FAKE_ALWAYS, "COMMAND *", "%s", answers[i]);
        }
        kw_fake_on_reply(fakes[0], KW_FAKE_ALWAYS, "mod.x*", "-MOVED 12182 %s",
                         kw_fake_address(fakes[1]));
        kw_fake_on_reply(fakes[1], KW_FAKE_ALWAYS, "mod.x*", ":1");
        kw_error error = KW_ERROR_INIT;
        kw_reply *reply = kw_command(kw, &error, "mod.x%zu foo", i);
        if (reply == NULL || kw_reply_int(reply) != 1) {
            fail_msg("%s: %s", answers[i], error.text);
        }
        kw_reply_free(reply);
    }
}

static void *call_waiting(void *arg)
{
    kw_error error = KW_ERROR_INIT;
    kw_reply_free(kw_command(arg, &error, "mod.wait foo"));
    return NULL;
}

/* What may wait in the server holds up nobody: it is on no connection that is shared. */
static void test_unknown_command_that_blocks_has_its_own_connection(void **state)
{
    (void)state;
    kw_client *client = open_anew("&share-above=0&stall-timeout=60s");
    for (size_t i = 0; i < FAKES_N; i++) {
        kw_fake_on(fakes[i], KW_FAKE_ALWAYS, "COMMAND INFO mod.wait",
                   KW_FAKE_STEPS(KW_FAKE_SEND("*1\r\n*6\r\n$8\r\nmod.wait\r\n:2\r\n*2\r\n+write\r\n"
                                              "+blocking\r\n:1\r\n:1\r\n:1\r\n")));
        kw_fake_on(fakes[i], KW_FAKE_ALWAYS, "mod.wait *", KW_FAKE_STEPS(KW_FAKE_STALL));
    }
    kw_error error = KW_ERROR_INIT;
    kw_batch *batch = kw_batch_new(client, &error);
    assert_int_equal(kw_batch_add(batch, &error, "mod.wait foo"), KW_ERR_REFUSED);
    kw_batch_free(batch);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, call_waiting, client), 0);
    assert_true(kw_fake_wait(fakes[1], "mod.wait foo", 1, 5000));
    kw_reply *reply = kw_command(client, &error, "GET foo");
    if (reply == NULL) {
        fail_msg("%s", error.text);
    }
    kw_reply_free(reply);
    kw_test_join(thread);
    kw_close(client);
}

static void test_unknown_command_over_slots_is_refused(void **state)
{
    (void)state;
    renew_cluster();
    for (size_t i = 0; i < FAKES_N; i++) {
        kw_fake_on(fakes[i], KW_FAKE_ALWAYS, "COMMAND INFO mod.two",
                   KW_FAKE_STEPS(KW_FAKE_SEND("*1\r\n*6\r\n$7\r\nmod.two\r\n:-2\r\n*1\r\n+write\r\n"
                                              ":1\r\n:-1\r\n:1\r\n")));
        kw_fake_on(fakes[i], KW_FAKE_ALWAYS, "COMMAND INFO mod.far",
                   KW_FAKE_STEPS(KW_FAKE_SEND("*1\r\n*6\r\n$7\r\nmod.far\r\n:-2\r\n*2\r\n+write\r\n"
                                              "+movablekeys\r\n:0\r\n:0\r\n:0\r\n")));
        kw_fake_on(fakes[i], KW_FAKE_ALWAYS, "COMMAND GETKEYS mod.far *",
                   KW_FAKE_STEPS(KW_FAKE_SEND("*2\r\n$3\r\nfoo\r\n$3\r\nbar\r\n")));
    }
    static const char *const commands[] = {"mod.two foo bar", "mod.far foo bar"};
    for (size_t i = 0; i < 2; i++) {
        kw_error error = KW_ERROR_INIT;
        assert_null(kw_command(kw, &error, commands[i]));
        if (error.code != KW_ERR_CROSSSLOT || error.effect != KW_EFFECT_NONE) {
            fail_msg("%s: %s", commands[i], error.text);
        }
        assert_int_equal(received(commands[i]), 0);
    }
}

static void *ask_module(void *arg)
{
    assert_int_equal(kw_test_ask_integer(arg, "mod.incr x foo"), 1);
    return NULL;
}

static const char module_info[] =
    "*1\r\n*6\r\n$8\r\nmod.incr\r\n:-2\r\n*1\r\n+write\r\n:2\r\n:2\r\n:1\r\n";

static void know_module(void)
{
    for (size_t i = 0; i < 2; i++) {
        kw_fake_on(fakes[i], KW_FAKE_ALWAYS, "COMMAND INFO mod.incr",
                   KW_FAKE_STEPS(KW_FAKE_BYTES(module_info, sizeof(module_info) - 1)));
        kw_fake_on_reply(fakes[i], KW_FAKE_ALWAYS, "mod.incr *", ":%zu", i);
    }
}

static void test_unknown_command_of_many_threads_is_looked_up(void **state)
{
    (void)state;
    kw_client *client = open_anew("");
    know_module();
    pthread_t threads[16];
    for (int k = 0; k < 3; k++) {
        for (size_t i = 0; i < 16; i++) {
            assert_int_equal(pthread_create(&threads[i], NULL, ask_module, client), 0);
        }
        for (size_t i = 0; i < 16; i++) {
            kw_test_join(threads[i]);
        }
        assert_in_range(received("COMMAND INFO *"), 1, 16); /* those who were first */
    }
    assert_int_equal(kw_fake_count(fakes[1], "mod.incr x foo"), 48);
    kw_close(client);
}

/* Whatever comes for COMMAND INFO: a number of keys that cannot be, no answer, no permission. */
static void test_lookup_that_goes_wrong_is_survived(void **state)
{
    (void)state;
    static const char *const answers[] = {
        "*1\r\n*6\r\n$1\r\nm\r\n:-2\r\n*1\r\n+write\r\n:9223372036854775807\r\n:-1\r\n:1\r\n",
        "*1\r\n*6\r\n$1\r\nm\r\n:-2\r\n*1\r\n+write\r\n:1\r\n:-9223372036854775808\r\n:1\r\n",
        "*1\r\n*6\r\n$1\r\nm\r\n:-2\r\n*0\r\n:1\r\n:999999999999999999\r\n:999999999999999999\r\n",
        "*1\r\n*6\r\n$1\r\nm\r\n:-2\r\n*1\r\n+write\r\n:-1\r\n:-1\r\n:-1\r\n",
        "*1\r\n*6\r\n$1\r\nm\r\n:-2\r\n:5\r\n$1\r\nx\r\n*0\r\n$-1\r\n",
        "*1\r\n*2\r\n$1\r\nm\r\n:-2\r\n",
        "*1\r\n*-1\r\n",
        "*0\r\n",
        "*3\r\n:1\r\n:2\r\n:3\r\n",
        ":5\r\n",
        "-NOPERM this user has no permissions to run 'command|info'\r\n",
        "-ERR unknown command 'COMMAND'\r\n",
    };
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        kw_client *client = open_anew("");
        for (size_t k = 0; k < 2; k++) {
            kw_fake_on(fakes[k], KW_FAKE_ALWAYS, "COMMAND INFO *",
                       KW_FAKE_STEPS(KW_FAKE_BYTES(answers[i], strlen(answers[i]))));
            kw_fake_on_reply(fakes[k], KW_FAKE_ALWAYS, "mod.x *", ":7");
        }
        kw_error error = KW_ERROR_INIT;
        kw_reply *reply = kw_command(client, &error, "mod.x foo foo");
        if (reply == NULL) {
            fail_msg("%zu: %s", i, error.text);
        }
        assert_int_equal(kw_reply_int(reply), 7);
        kw_reply_free(reply);
        assert_int_equal(received("mod.x *"), 1);
        kw_close(client);
    }
    /* No answer: the deadline, and nothing run. */
    kw_client *client = open_anew("&stall-timeout=50ms");
    for (size_t k = 0; k < 2; k++) {
        kw_fake_on(fakes[k], KW_FAKE_ALWAYS, "COMMAND INFO *", KW_FAKE_STEPS(KW_FAKE_STALL));
    }
    const char *argv[] = {"mod.y", "foo"};
    kw_call_options options = KW_CALL_OPTIONS_INIT;
    options.timeout_ms = 150;
    kw_error error = KW_ERROR_INIT;
    uint64_t start_ms = kw_test_now_ms();
    assert_null(kw_call(client, &error, &options, (kw_argv){2, argv, NULL}));
    assert_in_range(kw_test_now_ms() - start_ms, 148, 150 + LATE_MS);
    assert_int_equal(error.effect, KW_EFFECT_NONE);
    assert_int_equal(received("mod.y *"), 0);
    kw_close(client);
}

/* More names than are remembered: each works, and no memory is piled up. */
static void test_unknown_names_without_end_are_bounded(void **state)
{
    (void)state;
    kw_client *client = open_anew("");
    know_module();
    for (size_t k = 0; k < 2; k++) {
        kw_fake_on(fakes[k], KW_FAKE_ALWAYS, "COMMAND INFO many*",
                   KW_FAKE_STEPS(KW_FAKE_BYTES(module_info, sizeof(module_info) - 1)));
        kw_fake_on_reply(fakes[k], KW_FAKE_ALWAYS, "many*", ":%zu", k);
    }
    for (int i = 0; i < 2000; i++) {
        assert_int_equal(kw_test_ask_integer(client, "many%d x foo", i), 1);
    }
    assert_int_equal(kw_test_ask_integer(client, "mod.incr x foo"), 1);
    assert_int_equal(kw_test_ask_integer(client, "mod.incr x bar"), 0);
    assert_int_equal(received("COMMAND INFO mod.incr"), 1);
    kw_close(client);
}

/* A session refuses it for its key, once its keys are known: the write that it was to be has ended,
 * as far as near values are concerned. */
static void test_unknown_command_that_a_session_refuses_leaves_no_write(void **state)
{
    (void)state;
    char uri[200];
    kw_error error = KW_ERROR_INIT;
    kw_test_memory memory;
    know_module();
    kw_test_memory_init(&memory, 0);
    kw_config *config = kw_config_new(&memory.allocator);
    assert_non_null(config);
    snprintf(uri, sizeof(uri), "redis-cluster://%s?timeout=5s", kw_fake_address(fakes[0]));
    assert_int_equal(kw_config_set_uri(config, &error, uri), KW_OK);
    kw_client *client = kw_open_config(config, &error);
    kw_config_free(config);
    kw_cache *cache = kw_cache_open(client, &error, "near-bytes=1mb");
    assert_non_null(cache);
    kw_session *session = kw_session_open(client, &error, "bar", 3);
    assert_non_null(session);
    assert_null(kw_session_command(session, &error, "mod.incr x foo"));
    assert_int_equal(error.code, KW_ERR_CROSSSLOT);
    kw_session_close(session);
    kw_cache_close(cache);
    kw_close(client);
    assert_int_equal(kw_test_memory_live(&memory), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unknown_command_is_looked_up_once),
        cmocka_unit_test(test_unknown_command_is_learnt_by_many_at_once),
        cmocka_unit_test(test_unknown_command_goes_where_nobody_can_tell),
        cmocka_unit_test(test_unknown_command_that_blocks_has_its_own_connection),
        cmocka_unit_test(test_unknown_command_over_slots_is_refused),
        cmocka_unit_test(test_unknown_command_of_many_threads_is_looked_up),
        cmocka_unit_test(test_lookup_that_goes_wrong_is_survived),
        cmocka_unit_test(test_unknown_names_without_end_are_bounded),
        cmocka_unit_test(test_unknown_command_that_a_session_refuses_leaves_no_write),
    };
    return cmocka_run_group_tests(tests, start_cluster, stop_cluster);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Scans of servers that answer what real ones do not: nonsense, without end, from another process,
 * not at all; and scans that are given up, closed, forked, or without memory. */
#include "fake/fakes.h"

#include <poll.h>
#include <unistd.h>

/* What fake number index says of itself: id, epoch and slots, as CLUSTER NODES has them. */
static void say_nodes(size_t index, unsigned epoch, const char *slots)
{
    char line[200];
    int len =
        snprintf(line, sizeof(line), "%040zu 127.0.0.1:1@2 myself,master - 0 0 %u connected %s\n",
                 index + 1, epoch, slots);
    kw_fake_on_reply(fakes[index], KW_FAKE_ALWAYS, "CLUSTER NODES", "$%d\r\n%s", len, line);
}

/* A page of one key that was asked for by a cursor. */
static void say_page(kw_fake *fake, const char *asked, const char *next, const char *key)
{
    char pattern[60];
    snprintf(pattern, sizeof(pattern), "SCAN %s *", asked);
    kw_fake_on_reply(fake, KW_FAKE_ALWAYS, pattern, "*2\r\n$%zu\r\n%s\r\n*1\r\n$%zu\r\n%s",
                     strlen(next), next, strlen(key), key);
}

/* A cluster of the first two, with one key each: "bar" and "foo". */
static void begin_cluster(void)
{
    renew_fakes();
    for (size_t i = 0; i < 2; i++) {
        answer(fakes[i], "DBSIZE", ":1");
        say_page(fakes[i], "0", "0", i == 0 ? "bar" : "foo");
    }
}

static void say_all_nodes(void)
{
    say_nodes(0, 1, "0-8000");
    say_nodes(1, 2, "8001-16383");
}

/* Keys of a whole walk, one character each and sorted by nothing: their number; what failed is in
 * error. */
static size_t walk(kw_client *kw, kw_error *error, const kw_scan_options *options)
{
    kw_scan_batch batch = KW_SCAN_BATCH_INIT;
    size_t n = 0;
    kw_scan *scan = kw_scan_open(kw, error, options);
    assert_non_null(scan);
    error->code = KW_OK;
    while (kw_scan_next(scan, error, &batch) == KW_OK && !batch.is_end) {
        n += batch.count;
    }
    kw_scan_close(scan);
    return n;
}

static void test_scan_of_two_gives_both(void **state)
{
    (void)state;
    begin_cluster();
    say_all_nodes();
    kw_client *kw = open_cluster("timeout=2s");
    kw_error error = KW_ERROR_INIT;
    assert_int_equal(walk(kw, &error, NULL), 2);
    assert_int_equal(error.code, KW_OK);
    assert_int_equal(received("SCAN *"), 2);
    assert_int_equal(received("CLUSTER NODES"), 4);
    assert_int_equal(received("CLUSTER GETKEYSINSLOT *"), 0);
    kw_close(kw);
}

/* All that a walk has to ask takes longer than a batch may: the next batch goes on with it. */
static void test_scan_of_servers_far_away_gets_on(void **state)
{
    (void)state;
    renew_fakes();
    for (size_t i = 0; i < 2; i++) {
        kw_fake_on(fakes[i], KW_FAKE_ALWAYS, "INFO server",
                   KW_FAKE_STEPS(KW_FAKE_DELAY(150), KW_FAKE_SEND("$12\r\nrun_id:abc\r\n\r\n")));
        kw_fake_on(fakes[i], KW_FAKE_ALWAYS, "DBSIZE",
                   KW_FAKE_STEPS(KW_FAKE_DELAY(150), KW_FAKE_SEND(":1\r\n")));
        say_page(fakes[i], "0", "0", i == 0 ? "bar" : "foo");
    }
    say_all_nodes();
    kw_client *kw = open_cluster("timeout=500ms");
    kw_error error = KW_ERROR_INIT;
    kw_scan_options options = KW_SCAN_OPTIONS_INIT;
    kw_scan_batch batch = KW_SCAN_BATCH_INIT;
    options.parallel = 1;
    kw_scan *scan = kw_scan_open(kw, &error, &options);
    assert_non_null(scan);
    size_t keys_n = 0;
    for (int i = 0; i < 60 && !batch.is_end; i++) { /* one that the machine makes late goes on */
        (void)kw_scan_next(scan, &error, &batch);
        keys_n += batch.count;
    }
    assert_true(batch.is_end);
    assert_true(keys_n >= 2);
    kw_scan_close(scan);
    kw_close(kw);
}

/* An epoch that rises makes the node's slots be asked for by themselves; nobody else's. */
static void test_scan_walks_slots_again_where_the_epoch_rose(void **state)
{
    (void)state;
    begin_cluster();
    say_nodes(0, 1, "0-8000");
    kw_fake_on_reply(
        fakes[1], 1, "CLUSTER NODES", "$%d\r\n%s", 80,
        "0000000000000000000000000000000000000002 :1@2 myself,master - 0 0 2 c 8001-16383");
    say_nodes(1, 3, "8001-16383");
    answer(fakes[1], "CLUSTER GETKEYSINSLOT 12182 *", "*1\r\n$3\r\nfoo");
    answer(fakes[1], "CLUSTER GETKEYSINSLOT *", "*0");
    kw_client *kw = open_cluster("timeout=20s");
    kw_error error = KW_ERROR_INIT;
    kw_scan_options options = KW_SCAN_OPTIONS_INIT;
    assert_int_equal(walk(kw, &error, &options), 3); /* one of them twice */
    assert_int_equal(error.code, KW_OK);
    assert_int_equal(received("CLUSTER GETKEYSINSLOT *"), 16383 - 8000);
    assert_int_equal(kw_fake_count(fakes[0], "CLUSTER GETKEYSINSLOT *"), 0);
    kw_close(kw);
}

/* A key that the slot does not have is none of its keys. */
static void test_scan_gives_no_key_of_another_slot(void **state)
{
    (void)state;
    begin_cluster();
    say_all_nodes();
    answer(fakes[1], "CLUSTER GETKEYSINSLOT 12182 *", "*2\r\n$3\r\nfoo\r\n$3\r\nbar");
    kw_client *kw = open_cluster("timeout=2s");
    kw_error error = KW_ERROR_INIT;
    kw_scan_options options = KW_SCAN_OPTIONS_INIT;
    options.has_slots = true;
    options.first_slot = FOO_SLOT;
    options.last_slot = FOO_SLOT;
    assert_int_equal(walk(kw, &error, &options), 1);
    assert_int_equal(error.code, KW_OK);
    kw_close(kw);
}

/* A slot that always has as many keys as were asked for is walked by SCAN in the end. */
static void test_scan_of_a_slot_that_never_ends_ends(void **state)
{
    (void)state;
    begin_cluster();
    say_all_nodes();
    char *all = malloc(40000);
    size_t len = (size_t)sprintf(all, "*2000\r\n");
    for (size_t i = 0; i < 2000; i++) {
        len += (size_t)sprintf(all + len, "$3\r\nfoo\r\n");
    }
    kw_fake_on(fakes[1], KW_FAKE_ALWAYS, "CLUSTER GETKEYSINSLOT *",
               KW_FAKE_STEPS(KW_FAKE_BYTES(all, len)));
    answer(fakes[1], "CLUSTER COUNTKEYSINSLOT *", ":7");
    free(all);
    kw_client *kw = open_cluster("timeout=2s");
    kw_error error = KW_ERROR_INIT;
    kw_scan_options options = KW_SCAN_OPTIONS_INIT;
    options.tag = "foo";
    options.tag_len = 3;
    assert_int_equal(walk(kw, &error, &options), 1);
    assert_int_equal(error.code, KW_OK);
    assert_in_range(received("CLUSTER GETKEYSINSLOT *"), 2, 20);
    assert_int_equal(received("SCAN *"), 1);
    kw_close(kw);
}

static const struct {
    const char *command;
    const char *answer;
    kw_err code;
    const char *text;
} nonsense[] = {
    {"CLUSTER NODES", "$3\r\nabc", KW_ERR_PROTOCOL, "CLUSTER NODES"},
    {"CLUSTER NODES", "*0", KW_ERR_PROTOCOL, "CLUSTER NODES"},
    {"CLUSTER NODES", "-ERR This instance has cluster support disabled", KW_ERR_SERVER, "disabled"},
    {"CLUSTER NODES", "-NOPERM no permissions", KW_ERR_SERVER, "NOPERM"},
    {"INFO server", "$4\r\na:b\n", KW_ERR_PROTOCOL, "run_id"},
    {"INFO server", ":1", KW_ERR_PROTOCOL, "run_id"},
    {"SCAN 0 *", "*0", KW_ERR_PROTOCOL, "cursor"},
    {"SCAN 0 *", "+OK", KW_ERR_PROTOCOL, "cursor"},
    {"SCAN 0 *", "*2\r\n$2\r\n-1\r\n*0", KW_ERR_PROTOCOL, "cursor"},
    {"SCAN 0 *", "*2\r\n$20\r\n18446744073709551616\r\n*0", KW_ERR_PROTOCOL, "cursor"},
    {"SCAN 0 *", "*2\r\n$1\r\n0\r\n:1", KW_ERR_PROTOCOL, "keys"},
    {"SCAN 0 *", "*2\r\n$1\r\n0\r\n*2\r\n$1\r\na\r\n*0", KW_ERR_PROTOCOL, "keys"},
    {"SCAN 0 *", "*2\r\n$1\r\n0\r\n*1\r\n:1", KW_ERR_PROTOCOL, "keys"},
    {"SCAN 0 *", "-ERR unknown command", KW_ERR_SERVER, "unknown"},
    {"SCAN 0 *", "*2\r\n$1\r\n7\r\n*0", KW_ERR_PROTOCOL, "circle"},
};

/* The other node's keys are given, the failure names the node, and the cursor goes on from there.
 */
static void test_scan_of_a_node_that_talks_nonsense_names_it(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(nonsense) / sizeof(nonsense[0]); i++) {
        renew_fakes();
        answer(fakes[1], nonsense[i].command, nonsense[i].answer);
        answer(fakes[1], "SCAN 7 *", nonsense[i].answer);
        for (size_t k = 0; k < 2; k++) {
            answer(fakes[k], "DBSIZE", ":1");
            say_page(fakes[k], "0", "0", k == 0 ? "bar" : "foo");
        }
        say_all_nodes();
        kw_client *kw = open_cluster("timeout=2s");
        kw_error error = KW_ERROR_INIT;
        kw_scan_batch batch = KW_SCAN_BATCH_INIT;
        kw_scan *scan = kw_scan_open(kw, NULL, NULL);
        size_t n = 0;
        kw_err code;
        while ((code = kw_scan_next(scan, &error, &batch)) == KW_OK && !batch.is_end) {
            n += batch.count;
        }
        if (code != nonsense[i].code || strstr(error.text, nonsense[i].text) == NULL ||
            strcmp(error.node, kw_fake_address(fakes[1])) != 0 || error.effect != KW_EFFECT_NONE ||
            n != 1) {
            fail_msg("%s %s: %s at %s, %s; %zu keys", nonsense[i].command, nonsense[i].answer,
                     kw_err_name(code), error.node, error.text, n);
        }
        kw_fake_reset(fakes[1]);
        answer(fakes[1], "DBSIZE", ":1");
        say_page(fakes[1], "0", "0", "foo");
        say_page(fakes[1], "7", "0", "foo");
        say_nodes(1, 2, "8001-16383");
        answer(fakes[1], "CLUSTER GETKEYSINSLOT 12182 *", "*1\r\n$3\r\nfoo");
        answer(fakes[1], "CLUSTER GETKEYSINSLOT *", "*0");
        kw_scan_options options = KW_SCAN_OPTIONS_INIT;
        options.cursor = kw_scan_cursor(scan, NULL);
        options.timeout_ms = 20000;
        assert_int_equal(walk(kw, &error, &options), 1);
        assert_int_equal(error.code, KW_OK);
        kw_scan_close(scan);
        kw_close(kw);
    }
}

/* Inside a key it is the key's owner, of whichever topology. */
static void test_scan_inside_a_key_that_is_refused_names_its_owner(void **state)
{
    (void)state;
    static const char *const forms[] = {"redis-cluster://%s?timeout=5s", "redis://%s?timeout=5s",
                                        "redis-ring://a=%s?timeout=5s"};
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        begin_cluster();
        say_all_nodes();
        answer(fakes[1], "HSCAN *", "-WRONGTYPE Operation against a key");
        kw_client *kw = kw_test_open(forms[i], kw_fake_address(fakes[1]));
        kw_error error = KW_ERROR_INIT;
        kw_scan_options options = KW_SCAN_OPTIONS_INIT;
        options.of = KW_SCAN_FIELDS;
        options.key = "foo";
        options.key_len = 3;
        (void)walk(kw, &error, &options);
        assert_int_equal(error.code, KW_ERR_SERVER);
        assert_non_null(strstr(error.text, "WRONGTYPE"));
        assert_string_equal(error.node, kw_fake_address(fakes[1]));
        kw_close(kw);
    }
}

/* A node that is away fails at the deadline, not before all others were walked, and not much later.
 */
static void test_scan_of_a_node_that_is_away_names_it_in_time(void **state)
{
    (void)state;
    for (size_t is_silent = 0; is_silent < 2; is_silent++) {
        begin_cluster();
        kw_client *kw = open_connected("timeout=1s");
        if (is_silent != 0) {
            kw_fake_on(fakes[1], KW_FAKE_ALWAYS, "*", KW_FAKE_STEPS(KW_FAKE_STALL));
        } else {
            kw_fake_down(fakes[1]);
        }
        say_all_nodes();
        kw_error error = KW_ERROR_INIT;
        kw_scan_batch batch = KW_SCAN_BATCH_INIT;
        kw_scan *scan = kw_scan_open(kw, NULL, NULL);
        size_t n = 0;
        kw_err code;
        do {
            uint64_t start_ms = kw_test_now_ms();
            code = kw_scan_next(scan, &error, &batch);
            assert_true(kw_test_now_ms() - start_ms < 1000 + LATE_MS);
            n += batch.count;
        } while (code == KW_OK && !batch.is_end);
        assert_int_equal(n, 1);
        if (code != KW_ERR_CONNECT && code != KW_ERR_TIMEOUT && code != KW_ERR_QUEUE_TIMEOUT &&
            code != KW_ERR_HANDSHAKE) {
            fail_msg("%s: %s", kw_err_name(code), error.text);
        }
        assert_non_null(strstr(error.text, kw_fake_address(fakes[1])));
        kw_fake_up(fakes[1]);
        begin_cluster();
        say_all_nodes();
        n = 0;
        answer(fakes[1], "CLUSTER GETKEYSINSLOT 12182 *", "*1\r\n$3\r\nfoo");
        answer(fakes[1], "CLUSTER GETKEYSINSLOT *", "*0");
        KW_TEST_UNTIL(batch.is_end)
        {
            n += kw_scan_next(scan, &error, &batch) == KW_OK ? batch.count : 0;
        }
        assert_int_equal(n, 1);
        kw_scan_close(scan);
        kw_close(kw);
    }
}

/* A slot that nobody claims, and one that two claim. */
static void test_scan_of_slots_without_one_owner_names_them(void **state)
{
    (void)state;
    for (size_t are_two = 0; are_two < 2; are_two++) {
        begin_cluster();
        say_nodes(0, 1, are_two != 0 ? "0-8001" : "0-7999");
        say_nodes(1, 2, "8001-16383");
        kw_client *kw = open_cluster("timeout=1s");
        kw_error error = KW_ERROR_INIT;
        assert_int_equal(walk(kw, &error, NULL), 2);
        assert_int_equal(error.code, KW_ERR_NOT_SERVED);
        assert_non_null(strstr(error.text, are_two != 0 ? "slot 8001" : "slot 8000"));
        kw_close(kw);
    }
}

/* Page "5" is of a process that is another one than that of page "0", as INFO says then. */
static void say_process(const char *run_id)
{
    kw_fake_reset(fakes[0]);
    answer(fakes[0], "DBSIZE", ":2");
    kw_fake_on_reply(fakes[0], KW_FAKE_ALWAYS, "INFO server", "$13\r\nrun_id:%s\r\n", run_id);
    say_page(fakes[0], "0", "5", "a");
    say_page(fakes[0], "5", "0", "b");
}

static void test_scan_begins_again_where_another_process_answers(void **state)
{
    (void)state;
    renew_servers();
    kw_client *kw = kw_test_open("redis://%s?timeout=2s", kw_fake_address(fakes[0]));
    for (size_t is_unique = 0; is_unique < 2; is_unique++) {
        kw_scan_options options = KW_SCAN_OPTIONS_INIT;
        kw_scan_batch batch = KW_SCAN_BATCH_INIT;
        options.unique_bytes = is_unique != 0 ? 100000 : 0;
        say_process("aaaa");
        kw_scan *scan = kw_scan_open(kw, NULL, &options);
        assert_int_equal(kw_scan_next(scan, NULL, &batch), KW_OK);
        assert_string_equal(batch.keys[0], "a");
        say_process("bbbb");
        size_t n = 1;
        while (!batch.is_end) {
            assert_int_equal(kw_scan_next(scan, NULL, &batch), KW_OK);
            n += batch.count;
        }
        assert_int_equal(n, is_unique != 0 ? 2 : 4);
        kw_scan_close(scan);
    }
    kw_close(kw);
}

static void test_scan_cursors_of_strangers_are_refused(void **state)
{
    (void)state;
    begin_cluster();
    kw_client *kw = open_cluster("timeout=2s");
    kw_scan_options options = KW_SCAN_OPTIONS_INIT;
    kw_error error = KW_ERROR_INIT;
    kw_scan *scan = kw_scan_open(kw, NULL, NULL);
    char cursor[5000];
    snprintf(cursor, sizeof(cursor), "%s", kw_scan_cursor(scan, NULL));
    kw_scan_close(scan);
    options.cursor = cursor;
    options.match = "x*";
    options.match_len = 2;
    assert_null(kw_scan_open(kw, &error, &options));
    assert_int_equal(error.code, KW_ERR_ARGUMENT);
    assert_non_null(strstr(error.text, "another walk"));
    options.match = NULL;
    cursor[8]++;
    assert_null(kw_scan_open(kw, &error, &options));
    assert_non_null(strstr(error.text, "the cursor is wrong at byte"));
    options.cursor = "";
    assert_null(kw_scan_open(kw, &error, &options));
    options.cursor = NULL;
    options.node = "x:1";
    options.tag = "t";
    assert_null(kw_scan_open(kw, &error, &options));
    options.node = NULL;
    options.tag = NULL;
    options.has_slots = true;
    options.last_slot = 16384;
    assert_null(kw_scan_open(kw, &error, &options));
    options.size = 3;
    assert_null(kw_scan_open(kw, &error, &options));
    kw_close(kw);
}

/* A scan of it waits for one node, which does not answer. */
static kw_client *open_stalled(void)
{
    begin_cluster();
    kw_fake_on(fakes[1], KW_FAKE_ALWAYS, "CLUSTER NODES", KW_FAKE_STEPS(KW_FAKE_STALL));
    say_all_nodes();
    return open_cluster("timeout=60s");
}

/* The act of another thread ends what waits. */
static void expect_cancelled(kw_scan *scan, void *(*act)(void *), void *arg)
{
    kw_scan_batch batch = KW_SCAN_BATCH_INIT;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, act, arg), 0);
    assert_int_equal(kw_scan_next(scan, NULL, &batch), KW_ERR_CANCELLED);
    kw_test_join(thread);
}

static void *cancel_later(void *arg)
{
    KW_TEST_AWAIT(received("CLUSTER NODES") > 0);
    kw_scan_cancel(arg);
    return NULL;
}

static void test_scan_is_cancelled_by_another_thread(void **state)
{
    (void)state;
    kw_client *kw = open_stalled();
    kw_scan *scan = kw_scan_open(kw, NULL, NULL);
    expect_cancelled(scan, cancel_later, scan);
    kw_scan_batch batch = KW_SCAN_BATCH_INIT;
    assert_int_equal(kw_scan_next(scan, NULL, &batch), KW_ERR_CANCELLED);
    kw_scan_close(scan);
    kw_close(kw);
}

static void *close_later(void *arg)
{
    KW_TEST_AWAIT(received("CLUSTER NODES") > 0);
    kw_close(arg);
    return NULL;
}

static void test_scan_ends_with_its_handle(void **state)
{
    (void)state;
    kw_client *kw = open_stalled();
    kw_scan *scan = kw_scan_open(kw, NULL, NULL);
    expect_cancelled(scan, close_later, kw);
    assert_non_null(kw_scan_cursor(scan, NULL));
    kw_scan_close(scan);
}

static void test_scan_of_the_parent_is_refused_in_a_child(void **state)
{
    (void)state;
    begin_cluster();
    say_all_nodes();
    kw_client *kw = open_cluster("timeout=5s&after-fork=reopen");
    kw_scan_batch batch = KW_SCAN_BATCH_INIT;
    kw_scan *scan = kw_scan_open(kw, NULL, NULL);
    assert_int_equal(kw_scan_next(scan, NULL, &batch), KW_OK);
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        kw_error error = KW_ERROR_INIT;
        bool ok = kw_scan_next(scan, &error, &batch) == KW_ERR_FORKED;
        kw_scan_close(scan);
        kw_close(kw);
        _exit(ok ? 0 : 1);
    }
    wait_for_child(child);
    kw_scan_close(scan);
    kw_close(kw);
}

/* In a loop: what is told, and when. */
typedef struct told {
    kw_scan *scan;
    unsigned calls_n;
    size_t keys_n;
    kw_err code;
    bool is_end;
    bool closes;
} told;

static void on_batch(void *arg, const kw_scan_batch *batch, const kw_error *error)
{
    told *self = arg;
    self->calls_n++;
    self->code = error != NULL ? error->code : KW_OK;
    self->keys_n += batch != NULL ? batch->count : 0;
    self->is_end = batch != NULL && batch->is_end;
    if (self->closes) {
        kw_scan_close(self->scan);
        self->scan = NULL;
    }
}

static kw_err ask(told *self)
{
    return kw_scan_next_async(self->scan, NULL, (kw_scan_callback){on_batch, self});
}

static void turn(kw_client *kw)
{
    struct pollfd entry = {kw_fd(kw, NULL), POLLIN, 0};
    int wait_ms = kw_timeout(kw);
    (void)poll(&entry, 1, wait_ms < 0 || wait_ms > 20 ? 20 : wait_ms);
    assert_int_equal(kw_process(kw, NULL), KW_OK);
}

static void test_scan_in_a_loop_gives_what_is_asked_for(void **state)
{
    (void)state;
    begin_cluster();
    say_all_nodes();
    kw_client *kw = open_cluster("timeout=2s");
    told self = {.scan = kw_scan_open(kw, NULL, NULL)};
    for (unsigned n = 1; !self.is_end; n++) {
        assert_int_equal(ask(&self), KW_OK);
        assert_int_equal(ask(&self), KW_ERR_REFUSED);
        assert_int_equal(self.calls_n, n - 1);
        KW_TEST_UNTIL(self.calls_n == n)
        {
            turn(kw);
        }
        turn(kw);
        assert_int_equal(self.calls_n, n);
        assert_int_equal(self.code, KW_OK);
    }
    assert_int_equal(self.keys_n, 2);
    kw_scan_batch batch = KW_SCAN_BATCH_INIT;
    assert_int_equal(kw_scan_next(self.scan, NULL, &batch), KW_ERR_REFUSED);
    kw_scan_close(self.scan);
    kw_close(kw);
}

static void test_scan_in_a_loop_fails_in_time_and_goes_on(void **state)
{
    (void)state;
    begin_cluster();
    kw_client *kw = open_connected("timeout=1s");
    kw_fake_down(fakes[1]);
    say_all_nodes();
    told self = {.scan = kw_scan_open(kw, NULL, NULL)};
    while (self.code == KW_OK) {
        unsigned before = self.calls_n;
        uint64_t start_ms = kw_test_now_ms();
        assert_int_equal(ask(&self), KW_OK);
        KW_TEST_UNTIL(self.calls_n > before)
        {
            turn(kw);
        }
        assert_true(kw_test_now_ms() - start_ms < 1000 + LATE_MS);
    }
    assert_int_equal(self.keys_n, 1);
    kw_fake_up(fakes[1]);
    begin_cluster();
    say_all_nodes();
    answer(fakes[1], "CLUSTER GETKEYSINSLOT 12182 *", "*1\r\n$3\r\nfoo");
    answer(fakes[1], "CLUSTER GETKEYSINSLOT *", "*0");
    KW_TEST_UNTIL(self.is_end)
    {
        (void)ask(&self);
        turn(kw);
    }
    assert_int_equal(self.keys_n, 2);
    kw_scan_close(self.scan);
    kw_close(kw);
}

static void test_scan_in_a_loop_is_closed_and_cancelled(void **state)
{
    (void)state;
    for (unsigned way = 0; way < 4; way++) {
        begin_cluster();
        say_all_nodes();
        kw_client *kw = open_cluster("timeout=5s");
        told self = {.scan = kw_scan_open(kw, NULL, NULL), .closes = way == 1};
        assert_int_equal(ask(&self), KW_OK);
        if (way == 0) { /* closed before anything has come */
            turn(kw);
            kw_scan_close(self.scan);
            turn(kw);
            assert_int_equal(self.calls_n, 0);
        } else if (way == 1) { /* in its callback */
            KW_TEST_UNTIL(self.calls_n > 0)
            {
                turn(kw);
            }
        } else if (way == 2) {
            kw_scan_cancel(self.scan);
            turn(kw);
            assert_int_equal(self.code, KW_ERR_CANCELLED);
            kw_scan_close(self.scan);
        }
        kw_close(kw);
        if (way == 3) {
            assert_int_equal(self.calls_n, 1);
            assert_int_equal(self.code, KW_ERR_CANCELLED);
            kw_scan_close(self.scan);
        }
    }
}

/* The n-th allocation of the scan fails, for each n: an error, or what there is, and nothing is
 * lost: another call goes on. */
typedef struct meter {
    bool is_on;
    unsigned long left;
} meter;

static void *meter_realloc(void *arg, void *block, size_t len)
{
    meter *self = arg;
    if (self->is_on && self->left > 0 && --self->left == 0) {
        return NULL;
    }
    return realloc(block, len);
}

static void *meter_malloc(void *arg, size_t len)
{
    return meter_realloc(arg, NULL, len);
}

static void meter_free(void *arg, void *block)
{
    (void)arg;
    free(block);
}

static bool walk_without(meter *self, kw_client *kw, unsigned long fail_at)
{
    kw_scan_batch batch = KW_SCAN_BATCH_INIT;
    kw_scan_options options = KW_SCAN_OPTIONS_INIT;
    kw_error error = KW_ERROR_INIT;
    size_t n = 0;
    options.type = "string";
    options.unique_bytes = 20000;
    self->left = fail_at;
    self->is_on = true;
    kw_scan *scan = kw_scan_open(kw, &error, &options);
    if (scan == NULL) {
        assert_int_equal(error.code, KW_ERR_NOMEM);
        self->is_on = false;
        return true;
    }
    KW_TEST_UNTIL(batch.is_end)
    {
        if (kw_scan_next(scan, &error, &batch) == KW_OK) {
            n += batch.count;
        }
        (void)kw_scan_cursor(scan, NULL);
    }
    assert_in_range(n, 2, 4);
    kw_scan_close(scan);
    self->is_on = false;
    return self->left == 0;
}

static void test_scan_without_memory_loses_nothing(void **state)
{
    (void)state;
    meter self = {.is_on = false};
    const kw_allocator mem = {sizeof(mem), &self, meter_malloc, meter_realloc, meter_free};
    begin_cluster();
    say_nodes(0, 1, "0-8000 [5061->-0000000000000000000000000000000000000002]");
    say_nodes(1, 2, "8001-16383 [5061-<-0000000000000000000000000000000000000001]");
    answer(fakes[0], "CLUSTER GETKEYSINSLOT *", "*1\r\n$3\r\nbar");
    answer(fakes[1], "CLUSTER GETKEYSINSLOT 12182 *", "*1\r\n$3\r\nfoo");
    answer(fakes[1], "CLUSTER GETKEYSINSLOT *", "*0");
    answer(fakes[0], "TYPE *", "+string");
    answer(fakes[1], "TYPE *", "+string");
    kw_config *config = kw_test_config_new(&mem);
    char uri[100];
    snprintf(uri, sizeof(uri), "redis-cluster://%s?timeout=20s", kw_fake_address(fakes[0]));
    assert_int_equal(kw_config_set_uri(config, NULL, uri), KW_OK);
    kw_client *kw = kw_open_config(config, NULL);
    assert_int_equal(kw_connect(kw, NULL), KW_OK);
    unsigned long n = 1;
    while (walk_without(&self, kw, n)) {
        n++;
        assert_true(n < 2000);
    }
    assert_true(n > 30);
    kw_close(kw);
    kw_config_free(config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scan_of_two_gives_both),
        cmocka_unit_test(test_scan_of_servers_far_away_gets_on),
        cmocka_unit_test(test_scan_walks_slots_again_where_the_epoch_rose),
        cmocka_unit_test(test_scan_gives_no_key_of_another_slot),
        cmocka_unit_test(test_scan_of_a_slot_that_never_ends_ends),
        cmocka_unit_test(test_scan_of_a_node_that_talks_nonsense_names_it),
        cmocka_unit_test(test_scan_inside_a_key_that_is_refused_names_its_owner),
        cmocka_unit_test(test_scan_of_a_node_that_is_away_names_it_in_time),
        cmocka_unit_test(test_scan_of_slots_without_one_owner_names_them),
        cmocka_unit_test(test_scan_begins_again_where_another_process_answers),
        cmocka_unit_test(test_scan_cursors_of_strangers_are_refused),
        cmocka_unit_test(test_scan_is_cancelled_by_another_thread),
        cmocka_unit_test(test_scan_ends_with_its_handle),
        cmocka_unit_test(test_scan_of_the_parent_is_refused_in_a_child),
        cmocka_unit_test(test_scan_in_a_loop_gives_what_is_asked_for),
        cmocka_unit_test(test_scan_in_a_loop_fails_in_time_and_goes_on),
        cmocka_unit_test(test_scan_in_a_loop_is_closed_and_cancelled),
        cmocka_unit_test(test_scan_without_memory_loses_nothing),
    };
    return cmocka_run_group_tests(tests, start_fakes, stop_fakes);
}

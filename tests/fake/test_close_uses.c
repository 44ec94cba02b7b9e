/* SPDX-License-Identifier: BSD-3-Clause */
/* Closing a handle under callers of all that waits in it besides commands: caches, copies,
 * subscribers, scans, scripts, tickets, connects. They come back at once, cancelled, also where
 * another handle shares what is known of the servers, whose own callers wait on. */
#include "fake/fakes.h"

#include "api/client.h"

#define CLOSE_MS (100 * KW_TEST_SLOWNESS)
#define USERS_N  6

/* What the users of one handle have in common. */
typedef struct stage {
    kw_client *kw;
    kw_cache *cache;
    kw_quorum *quorum;
    kw_subscriber *subscriber;
    kw_script *script;
    atomic_uint ended_n;
    atomic_uint loading_n; /* users whose loader runs, until may_load */
    atomic_bool may_load;
} stage;

typedef struct user {
    pthread_t thread;
    stage *stage;
    kw_err (*use)(struct user *self);
    unsigned number;
    bool is_loading;
    kw_err code;
    kw_error error;
} user;

typedef struct use_row {
    const char *name;
    const char *scheme;
    const char *options;
    const char *pattern; /* what the fakes never answer, or answer by steps */
    const kw_fake_step *steps;
    void (*open)(stage *self);
    kw_err (*use)(user *self);
} use_row;

static kw_err end_of(const user *self, kw_reply *reply)
{
    bool has_reply = reply != NULL;
    kw_reply_free(reply);
    return has_reply ? KW_OK : self->error.code;
}

static void open_cache(stage *self)
{
    self->cache = kw_cache_open(self->kw, NULL, NULL);
    assert_non_null(self->cache);
}

static void open_narrow_cache(stage *self)
{
    self->cache = kw_cache_open(self->kw, NULL, "loads-max=1");
    assert_non_null(self->cache);
}

static void open_quorum(stage *self)
{
    self->quorum = kw_quorum_new(self->kw, NULL);
    assert_non_null(self->quorum);
}

static void open_subscriber(stage *self)
{
    self->subscriber = kw_subscriber_open(self->kw, NULL, NULL);
    assert_non_null(self->subscriber);
    assert_int_equal(kw_subscribe(self->subscriber, NULL, KW_TOPIC_CHANNEL, "foo", 3), KW_OK);
}

static void open_script(stage *self)
{
    self->script = kw_script_new(NULL, NULL, KW_SCRIPT_WRITES, "return 1", 8);
    assert_non_null(self->script);
}

static void open_nothing(stage *self)
{
    (void)self;
}

static void close_stage(stage *self)
{
    kw_cache_close(self->cache);
    kw_quorum_free(self->quorum);
    kw_subscriber_close(self->subscriber);
    kw_script_free(self->script);
}

static kw_err get(user *self)
{
    kw_cache_value value = KW_CACHE_VALUE_INIT;
    return kw_cache_get(self->stage->cache, &self->error, &value, kw_cache_text("foo"));
}

static kw_err get_many(user *self)
{
    kw_cache_value values[2] = {KW_CACHE_VALUE_INIT, KW_CACHE_VALUE_INIT};
    kw_cache_bytes keys[2] = {kw_cache_text("foo"), kw_cache_text("bar")};
    return kw_cache_get_many(self->stage->cache, &self->error, values, keys, 2);
}

static kw_err put(user *self)
{
    return kw_cache_put(self->stage->cache, &self->error, kw_cache_text("foo"), kw_cache_text("1"));
}

/* Goes on only when the test says so. */
static kw_cache_loaded load(void *arg, kw_cache_load *one)
{
    user *self = arg;
    (void)one;
    self->is_loading = true;
    atomic_fetch_add(&self->stage->loading_n, 1);
    KW_TEST_AWAIT(atomic_load(&self->stage->may_load))
    return KW_CACHE_FAILED;
}

static kw_err fetch(user *self)
{
    kw_cache_value value = KW_CACHE_VALUE_INIT;
    kw_cache_loader loader = {load, self};
    return kw_cache_fetch(self->stage->cache, &self->error, &value, kw_cache_text("foo"), loader);
}

static kw_err fetch_own(user *self)
{
    char key[20];
    snprintf(key, sizeof(key), "{foo}%u", self->number);
    kw_cache_value value = KW_CACHE_VALUE_INIT;
    kw_cache_loader loader = {load, self};
    return kw_cache_fetch(self->stage->cache, &self->error, &value, kw_cache_text(key), loader);
}

static kw_err get_copies(user *self)
{
    kw_quorum_results *results = kw_quorum_get(self->stage->quorum, &self->error, "foo", 3);
    bool has_results = results != NULL;
    kw_quorum_results_free(results);
    return has_results ? KW_OK : self->error.code;
}

static kw_err set_copies(user *self)
{
    return kw_quorum_set(self->stage->quorum, &self->error, "foo", 3, "1", 1);
}

static kw_err take_message(user *self)
{
    kw_message *message = kw_subscriber_take(self->stage->subscriber, &self->error, 5000);
    bool has_message = message != NULL;
    kw_message_free(message);
    return has_message ? KW_OK : self->error.code;
}

static kw_err await_topics(user *self)
{
    return kw_subscriber_wait(self->stage->subscriber, &self->error, 5000);
}

static kw_err walk(user *self)
{
    kw_scan_batch batch = KW_SCAN_BATCH_INIT;
    kw_scan *scan = kw_scan_open(self->stage->kw, &self->error, NULL);
    kw_err code = scan != NULL ? kw_scan_next(scan, &self->error, &batch) : KW_ERR_NOMEM;
    kw_scan_close(scan);
    return code;
}

static kw_err run_script(user *self)
{
    return end_of(self,
                  kw_script_run(self->stage->kw, &self->error, self->stage->script, 1, "foo"));
}

static kw_err load_library(user *self)
{
    static const char text[] = "#!lua name=own\nredis.register_function('one', function() end)";
    kw_library *library = kw_library_new(NULL, NULL, text, strlen(text));
    assert_non_null(library);
    kw_err code = kw_library_load(self->stage->kw, &self->error, library);
    kw_library_free(library);
    return code;
}

static kw_err await_ticket(user *self)
{
    kw_ticket *ticket = kw_submit(self->stage->kw, &self->error, "INCR foo");
    assert_non_null(ticket);
    kw_err code = end_of(self, kw_ticket_await(ticket, &self->error));
    kw_ticket_free(ticket);
    return code;
}

static kw_err run_transaction(user *self)
{
    kw_transaction *transaction = kw_transaction_new(self->stage->kw, NULL);
    assert_int_equal(kw_transaction_add(transaction, NULL, "INCR foo"), KW_OK);
    kw_err code = end_of(self, kw_transaction_run(transaction, &self->error, NULL));
    kw_transaction_free(transaction);
    return code;
}

static kw_err call_with(user *self, kw_call_options *options, const char *name)
{
    const char *argv[] = {name, "foo"};
    kw_argv whole = {options->route == KW_ROUTE_ALL_NODES ? 1 : 2, argv, NULL};
    return end_of(self, kw_call(self->stage->kw, &self->error, options, whole));
}

static kw_err write_with_acks(user *self)
{
    kw_call_options options = KW_CALL_OPTIONS_INIT;
    options.acks = 1;
    options.acks_timeout_ms = 4000;
    return call_with(self, &options, "INCR");
}

static kw_err write_with_token(user *self)
{
    kw_token token = KW_TOKEN_INIT;
    kw_call_options options = KW_CALL_OPTIONS_INIT;
    options.token_out = &token;
    return call_with(self, &options, "INCR");
}

static kw_err ask_all(user *self)
{
    kw_call_options options = KW_CALL_OPTIONS_INIT;
    options.route = KW_ROUTE_ALL_NODES;
    return call_with(self, &options, "DBSIZE");
}

static kw_err connect_all(user *self)
{
    return kw_connect(self->stage->kw, &self->error);
}

/* Fetches that end without a map follow each other. */
static kw_err refresh(user *self)
{
    kw_err code;
    do {
        code = kw_refresh(self->stage->kw, &self->error, 5000);
    } while (code == KW_ERR_TOPOLOGY);
    return code;
}

static kw_err find_owner(user *self)
{
    char node[100];
    return kw_client_slot_node(self->stage->kw, &self->error, node, sizeof(node), FOO_SLOT);
}

static void *run_user(void *arg)
{
    user *self = arg;
    self->code = self->use(self);
    atomic_fetch_add(&self->stage->ended_n, 1);
    return NULL;
}

static void begin_users(user *users, stage *of, const use_row *row)
{
    row->open(of);
    kw_client_count_in(of->kw); /* until what was opened on it is closed */
    for (unsigned i = 0; i < USERS_N; i++) {
        users[i] = (user){.stage = of, .use = row->use, .number = i, .error = KW_ERROR_INIT};
        assert_int_equal(pthread_create(&users[i].thread, NULL, run_user, &users[i]), 0);
    }
    KW_TEST_UNTIL(atomic_load(&of->kw->calls_n) == USERS_N + 1)
    {
        for (unsigned i = 0; i < USERS_N && atomic_load(&of->ended_n) > 0; i++) {
            fail_msg("%s: %s", kw_err_name(users[i].code), users[i].error.text);
        }
    }
}

static void *close_handle(void *arg)
{
    kw_close(arg);
    return NULL;
}

/* Closes the handle, under which the users are; the time until they have come back. */
static uint64_t close_under(user *users, stage *of, const use_row *row)
{
    pthread_t closer;
    uint64_t start_ms = kw_test_now_ms();
    assert_int_equal(pthread_create(&closer, NULL, close_handle, of->kw), 0);
    KW_TEST_AWAIT(atomic_load(&of->ended_n) + atomic_load(&of->loading_n) == USERS_N)
    uint64_t elapsed_ms = kw_test_now_ms() - start_ms;
    atomic_store(&of->may_load, true);
    for (size_t i = 0; i < USERS_N; i++) {
        kw_test_join(users[i].thread);
        if (!users[i].is_loading && users[i].code != KW_ERR_CANCELLED) {
            fail_msg("%s: %s: %s", row->name, kw_err_name(users[i].code), users[i].error.text);
        }
    }
    close_stage(of);
    kw_client_leave(of->kw);
    kw_test_join(closer);
    return elapsed_ms;
}

static void make_servers(const use_row *row)
{
    if (strcmp(row->scheme, "redis-cluster") == 0) {
        renew_fakes();
    } else {
        renew_servers();
    }
    for (size_t i = 0; i < FAKES_N; i++) {
        kw_fake_on(fakes[i], KW_FAKE_ALWAYS, row->pattern, row->steps);
    }
}

static kw_client *open_handle(const use_row *row)
{
    if (strcmp(row->scheme, "redis-ring") == 0) {
        return kw_test_open("redis-ring://a=%s,b=%s,c=%s?%s", kw_fake_address(fakes[0]),
                            kw_fake_address(fakes[1]), kw_fake_address(fakes[2]), row->options);
    }
    return kw_test_open("%s://%s?%s", row->scheme, kw_fake_address(fakes[0]), row->options);
}

/* The first handle is closed, beside another that was opened by it, or the other way round. */
static uint64_t close_beside(const use_row *row, bool is_first)
{
    user users[USERS_N];
    user others[USERS_N];
    make_servers(row);
    kw_client *first = open_handle(row);
    kw_client *second = kw_open_shared(first, NULL);
    stage closed = {.kw = is_first ? first : second};
    stage left = {.kw = is_first ? second : first};
    begin_users(others, &left, row);
    begin_users(users, &closed, row);
    kw_test_sleep_ms(60 * KW_TEST_SLOWNESS);
    uint64_t elapsed_ms = close_under(users, &closed, row);
    kw_test_sleep_ms(20);
    if (atomic_load(&left.ended_n) > 0) {
        fail_msg("%s: %u of the other handle's users have come back", row->name,
                 atomic_load(&left.ended_n));
    }
    uint64_t last_ms = close_under(others, &left, row);
    return elapsed_ms > last_ms ? elapsed_ms : last_ms;
}

static void test_close_of_one_shared_handle_ends_all_its_waits_at_once(void **state)
{
    (void)state;
#define SAY(text) KW_FAKE_STEPS(KW_FAKE_SEND(text "\r\n"))
#define STALL     KW_FAKE_STEPS(KW_FAKE_STALL)
#define SLOW      "timeout=5s&stall-timeout=4s"
#define COPIES    "copies=3&" SLOW
#define HEARD     "*3\r\n$9\r\nsubscribe\r\n$3\r\nfoo\r\n:1"
#define TAKEN     "*5\r\n:3\r\n$-1\r\n:-2\r\n$32\r\n0123456789abcdef0123456789abcdef\r\n:60000"
    const use_row rows[] = {
        {"cache, get", "redis", SLOW, "GET *", STALL, open_cache, get},
        {"cache, get in a cluster", "redis-cluster", SLOW, "GET *", STALL, open_cache, get},
        {"cache, get many", "redis-cluster", SLOW, "GET *", STALL, open_cache, get_many},
        {"cache, put", "redis", SLOW, "EVALSHA *", STALL, open_cache, put},
        {"cache, fetch", "redis", SLOW, "EVALSHA *", STALL, open_cache, fetch},
        {"cache, another process loads", "redis", SLOW, "EVALSHA *", SAY(TAKEN), open_cache, fetch},
        {"cache, another caller loads", "redis", SLOW, "EVALSHA *", SAY("-ERR no scripts"),
         open_cache, fetch},
        {"cache, loads-max", "redis", SLOW, "EVALSHA *", SAY("-ERR no scripts"), open_narrow_cache,
         fetch_own},
        {"copies, get", "redis-ring", COPIES "&pool-max=16", "GET *", STALL, open_quorum,
         get_copies},
        {"copies, set", "redis-ring", COPIES "&pool-max=16", "EVAL*", STALL, open_quorum,
         set_copies},
        {"copies, waiting for connections", "redis-ring", COPIES "&pool-max=2", "GET *", STALL,
         open_quorum, get_copies},
        {"copies, shared", "redis-ring", COPIES "&share-above=0", "GET *", STALL, open_quorum,
         get_copies},
        {"copies, greeting", "redis-ring", COPIES "&connect-timeout=5s", "HELLO *", STALL,
         open_quorum, set_copies},
        {"messages", "redis", SLOW, "SUBSCRIBE *", SAY(HEARD), open_subscriber, take_message},
        {"messages, in a cluster", "redis-cluster", SLOW, "SUBSCRIBE *", SAY(HEARD),
         open_subscriber, take_message},
        {"messages, no map", "redis-cluster", SLOW, "CLUSTER S*", STALL, open_subscriber,
         take_message},
        {"topics", "redis", SLOW, "SUBSCRIBE *", STALL, open_subscriber, await_topics},
        {"scan", "redis", SLOW, "DBSIZE", STALL, open_nothing, walk},
        {"scan, no map", "redis-cluster", SLOW, "CLUSTER S*", STALL, open_nothing, walk},
        {"scan, pausing", "redis", SLOW, "DBSIZE", SAY("-LOADING data"), open_nothing, walk},
        {"script", "redis-cluster", SLOW, "EVALSHA *", STALL, open_script, run_script},
        {"library", "redis-cluster", SLOW, "FUNCTION *", STALL, open_nothing, load_library},
        {"ticket", "redis-cluster", SLOW, "INCR *", STALL, open_nothing, await_ticket},
        {"transaction", "redis-cluster", SLOW, "EXEC", STALL, open_nothing, run_transaction},
        {"write with acks", "redis", SLOW "&pool-max=32", "INCR *", STALL, open_nothing,
         write_with_acks},
        {"write with a token", "redis", SLOW "&pool-max=32", "INCR *", STALL, open_nothing,
         write_with_token},
        {"all nodes", "redis-cluster", SLOW, "DBSIZE", STALL, open_nothing, ask_all},
        {"connect", "redis-cluster", SLOW, "PING", STALL, open_nothing, connect_all},
        {"connect, greeting", "redis-cluster", SLOW "&connect-timeout=5s", "HELLO *", STALL,
         open_nothing, connect_all},
        {"connect, no map", "redis-cluster", SLOW, "CLUSTER S*", STALL, open_nothing, connect_all},
        {"refresh", "redis-cluster", SLOW, "CLUSTER S*", STALL, open_nothing, refresh},
        {"owner", "redis-cluster", SLOW, "CLUSTER S*", STALL, open_nothing, find_owner},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint64_t best_ms = UINT64_MAX;
        for (int k = 0; k < 5 && best_ms > CLOSE_MS; k++) {
            uint64_t elapsed_ms = close_beside(&rows[i], (i + (size_t)k) % 2 == 0);
            best_ms = elapsed_ms < best_ms ? elapsed_ms : best_ms;
        }
        if (best_ms > CLOSE_MS) {
            fail_msg("%s: ended after %llu ms", rows[i].name, (unsigned long long)best_ms);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_close_of_one_shared_handle_ends_all_its_waits_at_once),
    };
    return cmocka_run_group_tests(tests, start_fakes, stop_fakes);
}

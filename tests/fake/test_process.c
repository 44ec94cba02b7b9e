/* SPDX-License-Identifier: BSD-3-Clause */
/* The handle as a guest of its process: forked, interrupted, and short of descriptors, with
 * scripted servers that see what arrives. */
#include "fake/fakes.h"

#include "api/client.h"
#include "drive/driver.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define STALL KW_FAKE_STEPS(KW_FAKE_STALL)

/* Descriptors that the program was started with. */
static int first_descriptors_n;

static kw_client *open_at(const char *scheme, const char *address, const char *options)
{
    return kw_test_open("%s://%s?%s", scheme, address, options);
}

/* One thread in a call. */
typedef struct waiter {
    pthread_t thread;
    kw_client *kw;
    const char *command;
    bool has_reply;
} waiter;

static void *wait_in_call(void *arg)
{
    waiter *self = arg;
    kw_reply *reply = kw_command(self->kw, NULL, self->command);
    self->has_reply = reply != NULL;
    kw_reply_free(reply);
    return NULL;
}

static void test_fork_child_leaves_the_parents_connections_alone(void **state)
{
    (void)state;
    renew_fakes();
    kw_fake_on_reply(fakes[0], KW_FAKE_ALWAYS, "INCR *", ":1");
    kw_client *kw = open_at("redis", kw_fake_address(fakes[0]), "timeout=2s");
    kw_reply_free(kw_command(kw, NULL, "INCR before"));
    size_t log_n = kw_fake_log_count(fakes[0]);
    unsigned accepted_n = kw_fake_accepted(fakes[0]);
    pid_t child = fork();
    if (child == 0) {
        kw_error error = KW_ERROR_INIT;
        bool is_refused = kw_command(kw, &error, "INCR child") == NULL &&
                          error.code == KW_ERR_FORKED && error.effect == KW_EFFECT_NONE &&
                          kw_connect(kw, &error) == KW_ERR_FORKED;
        kw_close(kw);
        _exit(is_refused ? 0 : 1);
    }
    wait_for_child(child);
    kw_test_sleep_ms(20);
    assert_int_equal(kw_fake_log_count(fakes[0]), log_n);
    kw_reply *reply = kw_command(kw, NULL, "INCR after");
    assert_int_equal(kw_reply_int(reply), 1);
    kw_reply_free(reply);
    kw_fake_entry entry;
    assert_true(kw_fake_log_at(fakes[0], log_n, &entry));
    assert_string_equal(entry.text, "INCR after"); /* on the same connection */
    assert_int_equal(kw_fake_accepted(fakes[0]), accepted_n);
    kw_close(kw);
}

/* What a handle still has under way when it is closed ends, in a forked child too, where nothing of
 * the parent's may be touched: its end is no reason to look at servers, however much that is due.
 */
static void test_close_ends_commands_and_looks_at_no_server(void **state)
{
    (void)state;
    renew_fakes();
    kw_client *kw = open_at("redis", kw_fake_address(fakes[0]), "timeout=2s");
    kw_env *env = &kw->topology->env;
    kw_step step = {.kind = KW_STEP_FAIL};
    atomic_store(&env->failure_watch_ns, 0); /* a look is due */
    atomic_store(&env->is_closing, true);
    (void)kw_driver_heed_more(kw->topology, NULL, &step);
    assert_int_equal(atomic_load(&env->failure_watch_ns), 0);
    atomic_store(&env->is_closing, false);
    (void)kw_driver_heed_more(kw->topology, NULL, &step);
    assert_int_not_equal(atomic_load(&env->failure_watch_ns), 0);
    kw_close(kw);
}

static void hear(void *arg, const kw_event *event)
{
    (void)event;
    ++*(size_t *)arg;
}

/* What was there for the host's event callback is of the parent's connections. */
static void test_fork_child_that_reopens_frees_the_parents_news(void **state)
{
    (void)state;
    kw_error error = KW_ERROR_INIT;
    kw_test_memory memory;
    size_t heard_n = 0;
    char uri[200];
    renew_fakes();
    kw_fake_on_reply(fakes[0], KW_FAKE_ALWAYS, "INCR *", ":1");
    kw_test_memory_init(&memory, 0);
    kw_config *config = kw_config_new(&memory.allocator);
    assert_non_null(config);
    kw_config_set_event(config, hear, &heard_n);
    snprintf(uri, sizeof(uri), "redis://%s?timeout=5s&after-fork=reopen",
             kw_fake_address(fakes[0]));
    assert_int_equal(kw_config_set_uri(config, &error, uri), KW_OK);
    kw_client *kw = kw_open_config(config, &error);
    assert_non_null(kw);
    kw_config_free(config);
    expect_number(kw, "INCR parent", 1);
    assert_true(heard_n > 0);
    pid_t child = fork();
    if (child == 0) {
        kw_reply *reply = kw_command(kw, NULL, "INCR child");
        bool is_good = kw_reply_int(reply) == 1;
        kw_reply_free(reply);
        kw_close(kw);
        _exit(is_good && kw_test_memory_live(&memory) == 0 ? 0 : 1);
    }
    wait_for_child(child);
    kw_close(kw);
    assert_int_equal(kw_test_memory_live(&memory), 0);
}

static void test_fork_child_reopens_while_the_parent_waits(void **state)
{
    (void)state;
    static const char *const schemes[] = {"redis", "redis-cluster"};
    for (size_t i = 0; i < 2; i++) {
        renew_fakes();
        kw_client *kw =
            open_at(schemes[i], kw_fake_address(fakes[0]), "timeout=5s&after-fork=reopen");
        for (size_t k = 0; k < 2; k++) {
            kw_fake_on(fakes[k], KW_FAKE_ALWAYS, "INCR parent",
                       KW_FAKE_STEPS(KW_FAKE_DELAY(150), KW_FAKE_SEND(":7\r\n")));
            kw_fake_on_reply(fakes[k], KW_FAKE_ALWAYS, "INCR child", ":8");
        }
        kw_fake *owner = i == 0 ? fakes[0] : NULL;
        waiter self = {.kw = kw, .command = "INCR parent"};
        assert_int_equal(pthread_create(&self.thread, NULL, wait_in_call, &self), 0);
        for (int k = 0;
             k < 1000 &&
             kw_fake_count(fakes[0], "INCR parent") + kw_fake_count(fakes[1], "INCR parent") == 0;
             k++) {
            kw_test_sleep_ms(1);
        }
        pid_t child = fork();
        if (child == 0) {
            bool is_good = true;
            for (int k = 0; k < 3; k++) {
                kw_reply *reply = kw_command(kw, NULL, "INCR child");
                is_good = is_good && kw_reply_int(reply) == 8;
                kw_reply_free(reply);
            }
            kw_close(kw);
            _exit(is_good ? 0 : 1);
        }
        wait_for_child(child);
        kw_test_join(self.thread);
        assert_true(self.has_reply); /* the child's end cost the parent nothing */
        assert_int_equal(
            kw_fake_count(fakes[0], "INCR child") + kw_fake_count(fakes[1], "INCR child"), 3);
        if (owner != NULL) {
            assert_int_equal(kw_fake_count(owner, "INCR parent"), 1);
        }
        kw_close(kw);
    }
}

static void on_alarm(int number)
{
    (void)number;
}

static void test_signals_change_no_call(void **state)
{
    (void)state;
    renew_fakes();
    struct sigaction action;
    struct sigaction old;
    const struct itimerval often = {{0, 1000}, {0, 1000}};
    const struct itimerval never = {{0, 0}, {0, 0}};
    memset(&action, 0, sizeof(action));
    action.sa_handler = on_alarm; /* without SA_RESTART */
    sigaction(SIGALRM, &action, &old);
    setitimer(ITIMER_REAL, &often, NULL);
    kw_client *kw = open_at("redis", kw_fake_address(fakes[0]), "timeout=400ms");
    kw_fake_on(fakes[0], KW_FAKE_ALWAYS, "GET slow",
               KW_FAKE_STEPS(KW_FAKE_PIECES("$5\r\nhello\r\n", 8)));
    kw_fake_on(fakes[0], KW_FAKE_ALWAYS, "INCR silent", STALL);
    kw_fake_on_reply(fakes[0], 3, "INCR loading", "-LOADING data");
    kw_fake_on_reply(fakes[0], KW_FAKE_ALWAYS, "INCR loading", ":1");
    kw_error error = KW_ERROR_INIT;
    kw_reply *slow = kw_command(kw, &error, "GET slow");
    kw_reply *loading = kw_command(kw, &error, "INCR loading");
    uint64_t start_ms = kw_test_now_ms();
    kw_reply *silent = kw_command(kw, &error, "INCR silent");
    uint64_t elapsed_ms = kw_test_now_ms() - start_ms;
    setitimer(ITIMER_REAL, &never, NULL);
    sigaction(SIGALRM, &old, NULL);
    assert_string_equal(kw_reply_str(slow, NULL), "hello");
    assert_int_equal(kw_reply_int(loading), 1);
    assert_null(silent);
    assert_int_equal(error.code, KW_ERR_TIMEOUT);
    assert_in_range(elapsed_ms, 398, 400 + LATE_MS);
    kw_reply_free(slow);
    kw_reply_free(loading);
    kw_close(kw);
}

/* Writing to a connection that was reset: no signal, by the default disposition. */
static void test_signals_sigpipe_is_never_raised(void **state)
{
    (void)state;
    static char value[4 << 20];
    struct sigaction before;
    struct sigaction after;
    renew_fakes();
    sigaction(SIGPIPE, NULL, &before);
    assert_true(before.sa_handler == SIG_DFL);
    kw_client *kw = open_at("redis", kw_fake_address(fakes[0]), "timeout=200ms");
    const kw_fake_step *const ends[] = {
        KW_FAKE_STEPS(KW_FAKE_SEND("+OK\r\n"), KW_FAKE_RESET),
        KW_FAKE_STEPS(KW_FAKE_SEND("+OK\r\n"), KW_FAKE_CLOSE),
    };
    for (size_t i = 0; i < 2; i++) {
        kw_fake_reset(fakes[0]);
        kw_fake_on(fakes[0], KW_FAKE_ALWAYS, "CLIENT SETINFO LIB-VER *", ends[i]);
        for (int k = 0; k < 3; k++) {
            kw_error error = KW_ERROR_INIT;
            assert_null(kw_command(kw, &error, "SET foo %b", value, sizeof(value)));
            assert_int_equal(error.effect, KW_EFFECT_NONE);
        }
    }
    kw_fake_reset(fakes[0]);
    kw_fake_on_reply(fakes[0], KW_FAKE_ALWAYS, "INCR *", ":1");
    for (int k = 0; k < 20; k++) {
        kw_reply_free(kw_command(kw, NULL, "INCR a"));
        kw_fake_disconnect(fakes[0], k % 2 == 0);
    }
    kw_close(kw);
    sigaction(SIGPIPE, NULL, &after);
    assert_true(after.sa_handler == SIG_DFL);
}

/* Duties of every connection: kept alive, without delay, and nobody's after exec. */
static void test_descriptors_have_their_options(void **state)
{
    (void)state;
    renew_fakes();
    kw_fake_on_reply(fakes[0], KW_FAKE_ALWAYS, "INCR *", ":1");
    char uri[200];
    snprintf(uri, sizeof(uri), "redis://%s?timeout=30s", kw_fake_address(fakes[0]));
    kw_client *kw = kw_open(uri, NULL); /* as programs do, with the options that they have */
    kw_reply_free(kw_command(kw, NULL, "INCR a"));
    size_t found_n = 0;
    for (int fd = 0; fd < 256; fd++) {
        struct sockaddr_in peer;
        socklen_t len = sizeof(peer);
        if (getpeername(fd, (struct sockaddr *)&peer, &len) != 0 || peer.sin_family != AF_INET ||
            ntohs(peer.sin_port) != kw_fake_port(fakes[0])) {
            continue;
        }
        int value = 0;
        found_n++;
        assert_true((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
        len = sizeof(value);
        assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &value, &len), 0);
        assert_true(value != 0);
        len = sizeof(value);
        assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &value, &len), 0);
        assert_true(value != 0);
#if defined(TCP_USER_TIMEOUT)
        len = sizeof(value);
        assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &value, &len), 0);
        assert_int_equal(value, 20000);
#endif
    }
    assert_int_equal(found_n, 1);
    kw_close(kw);
}

#define CHILD_THREADS 40

typedef struct user {
    pthread_t thread;
    kw_client *kw;
    unsigned replies_n;
    unsigned named_n; /* failures with effect none that say why */
    unsigned bad_n;
} user;

static void *use_handle(void *arg)
{
    user *self = arg;
    for (int i = 0; i < 4; i++) {
        kw_error error = KW_ERROR_INIT;
        kw_reply *reply = kw_command(self->kw, &error, "BLPOP slow 0"); /* on its own connection */
        self->replies_n += reply != NULL;
        bool is_named =
            error.effect == KW_EFFECT_NONE && (strstr(error.text, strerror(EMFILE)) != NULL ||
                                               strstr(error.text, "pool-max") != NULL);
        self->named_n += reply == NULL && is_named;
        self->bad_n += reply == NULL && !is_named;
        if (reply == NULL && !is_named) {
            fprintf(stderr, "%s, %s: %s\n", kw_err_name(error.code), kw_effect_name(error.effect),
                    error.text);
        }
        kw_reply_free(reply);
    }
    return NULL;
}

/* The child's program: 0 where all is well. */
static int run_with_few_descriptors(const char *address, int descriptors_n)
{
    if (kw_test_fd_count() != descriptors_n) {
        fprintf(stderr, "%d descriptors, not %d\n", kw_test_fd_count(), descriptors_n);
        return 2;
    }
    const struct rlimit few = {24, 24};
    char uri[100];
    user users[CHILD_THREADS];
    snprintf(uri, sizeof(uri), "redis://%s?timeout=600ms", address);
    kw_client *kw = kw_test_try_open(uri, NULL);
    if (kw == NULL || setrlimit(RLIMIT_NOFILE, &few) != 0) {
        return 3;
    }
    memset(users, 0, sizeof(users));
    for (size_t i = 0; i < CHILD_THREADS; i++) {
        users[i].kw = kw;
        if (pthread_create(&users[i].thread, NULL, use_handle, &users[i]) != 0) {
            return 4;
        }
    }
    unsigned replies_n = 0;
    unsigned named_n = 0;
    unsigned bad_n = 0;
    for (size_t i = 0; i < CHILD_THREADS; i++) {
        kw_test_join(users[i].thread);
        replies_n += users[i].replies_n;
        named_n += users[i].named_n;
        bad_n += users[i].bad_n;
    }
    fprintf(stderr, "24 descriptors: %u replies, %u refused by name\n", replies_n, named_n);
    kw_reply *reply = kw_command(kw, NULL, "INCR quick");
    bool is_usable = kw_reply_int(reply) == 1;
    kw_reply_free(reply);
    kw_close(kw);
    return bad_n == 0 && replies_n > 0 && is_usable ? 0 : 5;
}

static void test_descriptors_few_are_a_named_error(void **state)
{
    (void)state;
    renew_fakes();
    kw_fake_on(fakes[0], KW_FAKE_ALWAYS, "BLPOP slow 0",
               KW_FAKE_STEPS(KW_FAKE_DELAY(20), KW_FAKE_SEND("*-1\r\n")));
    kw_fake_on_reply(fakes[0], KW_FAKE_ALWAYS, "INCR quick", ":1");
    kw_client *kw = open_at("redis", kw_fake_address(fakes[0]), "timeout=2s");
    kw_reply_free(kw_command(kw, NULL, "INCR quick")); /* a connection that is not inherited */
    char count[20];
    snprintf(count, sizeof(count), "%d", first_descriptors_n);
    pid_t child = fork();
    if (child == 0) {
        char self[] = "/proc/self/exe";
        char *argv[] = {self, (char *)(uintptr_t)kw_fake_address(fakes[0]), count, NULL};
        execv(self, argv);
        _exit(errno == ENOENT ? 0 : 6); /* a system without /proc */
    }
    wait_for_child(child);
    kw_close(kw);
}

/* A key of the member, as the handle says. */
static void find_key(kw_client *kw, char *key, size_t room, const char *member)
{
    char node[100] = "";
    for (int i = 0; strcmp(node, member) != 0; i++) {
        snprintf(key, room, "key:%d", i);
        assert_int_equal(kw_client_key_node(kw, NULL, node, sizeof(node), key, strlen(key)), KW_OK);
    }
}

/* All up to this one are taken; poll refuses to look at more than there may be. */
#define LAST_DESCRIPTOR 20

/* The child's program: no descriptor is left for the second member of a ring that ejects those that
 * are down, longer than it takes to be down. 0 where its keys stay its own. */
static int run_without_descriptors(const char *first, const char *second)
{
    char key[20];
    struct rlimit before;
    kw_error error = KW_ERROR_INIT;
    kw_client *kw =
        kw_test_open("redis-ring://a=%s,b=%s?on-node-down=eject&timeout=200ms", first, second);
    find_key(kw, key, sizeof(key), first);
    kw_reply_free(kw_command(kw, NULL, "INCR %s", key)); /* a connection, which stays */
    find_key(kw, key, sizeof(key), second);
    if (getrlimit(RLIMIT_NOFILE, &before) != 0) {
        return 2;
    }
    int last = dup(STDERR_FILENO);
    while (last >= 0 && last < LAST_DESCRIPTOR) {
        last = dup(STDERR_FILENO);
    }
    const struct rlimit none = {(rlim_t)last + 1, before.rlim_max};
    if (last < 0 || setrlimit(RLIMIT_NOFILE, &none) != 0) {
        return 3;
    }
    uint64_t start_ms = kw_test_now_ms();
    for (int calls_n = 0; calls_n < 8 || kw_test_now_ms() - start_ms < 1500; calls_n++) {
        kw_reply *reply = kw_command(kw, &error, "INCR %s", key);
        if (reply != NULL || error.code != KW_ERR_CONNECT || error.effect != KW_EFFECT_NONE ||
            strstr(error.text, strerror(EMFILE)) == NULL) {
            fprintf(stderr, "%s: %s\n", reply != NULL ? "answered" : "refused", error.text);
            return 4;
        }
    }
    setrlimit(RLIMIT_NOFILE, &before);
    kw_reply *reply = kw_command(kw, &error, "INCR %s", key);
    int status = kw_reply_int(reply) == 2 ? 0 : 5;
    kw_reply_free(reply);
    kw_close(kw);
    return status;
}

/* What this process lacks says nothing of a server: its keys do not move. */
static void test_descriptors_lacking_are_no_fault_of_a_server(void **state)
{
    (void)state;
    renew_fakes();
    kw_fake_on_reply(fakes[0], KW_FAKE_ALWAYS, "INCR *", ":1");
    kw_fake_on_reply(fakes[1], KW_FAKE_ALWAYS, "INCR *", ":2");
    pid_t child = fork();
    if (child == 0) {
        char self[] = "/proc/self/exe";
        char way[] = "ring";
        char *argv[] = {self, (char *)(uintptr_t)kw_fake_address(fakes[0]), way,
                        (char *)(uintptr_t)kw_fake_address(fakes[1]), NULL};
        execv(self, argv);
        _exit(errno == ENOENT ? 0 : 6); /* a system without /proc */
    }
    wait_for_child(child);
    assert_int_equal(kw_fake_count(fakes[0], "INCR *"), 1);
}

int main(int argc, char **argv)
{
    if (argc > 3) {
        return run_without_descriptors(argv[1], argv[3]);
    }
    if (argc > 2) {
        return run_with_few_descriptors(argv[1], atoi(argv[2]));
    }
    first_descriptors_n = kw_test_fd_count();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fork_child_leaves_the_parents_connections_alone),
        cmocka_unit_test(test_close_ends_commands_and_looks_at_no_server),
        cmocka_unit_test(test_fork_child_that_reopens_frees_the_parents_news),
        cmocka_unit_test(test_fork_child_reopens_while_the_parent_waits),
        cmocka_unit_test(test_signals_change_no_call),
        cmocka_unit_test(test_signals_sigpipe_is_never_raised),
        cmocka_unit_test(test_descriptors_have_their_options),
        cmocka_unit_test(test_descriptors_few_are_a_named_error),
        cmocka_unit_test(test_descriptors_lacking_are_no_fault_of_a_server),
    };
    return cmocka_run_group_tests(tests, start_fakes, stop_fakes);
}

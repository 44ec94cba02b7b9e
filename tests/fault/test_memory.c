/* SPDX-License-Identifier: BSD-3-Clause */
/* Every allocation fails in turn, on the way from kw_open to kw_close: every malloc of the process
 * (hiredis', libc's, and by its allocator hook the library's) where the C library lets a program
 * take its place, else those of the library. Each topology is a part of the program. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <keyway/slot.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/ask.h"
#include "support/check.h"
#include "support/cluster.h"
#include "support/group.h"
#include "support/parts.h"
#include "support/server.h"

/* No pass has more allocations; a pass that does is one that never ends. */
#define ALLOCATIONS_MAX 2000ul

/* The process's malloc, while a thread says so. */
typedef struct gate {
    bool is_on;
    bool fails_on;
    unsigned long fail_at; /* 0: never */
    unsigned long calls;
    long live;
} gate;

static _Thread_local gate process;

#if defined(__GLIBC__) && !KW_TEST_IS_SANITIZED
#define HAS_OWN_MALLOC true

void *__libc_malloc(size_t len);
void *__libc_calloc(size_t n, size_t len);
void *__libc_realloc(void *block, size_t len);
void __libc_free(void *block);

/* Shared libraries must see the four: they are not hidden as the rest of the program. */
static bool fails(void)
{
    if (!process.is_on) {
        return false;
    }
    process.calls++;
    return process.fail_at != 0 && (process.calls == process.fail_at ||
                                    (process.fails_on && process.calls > process.fail_at));
}

static void *counted(void *block)
{
    process.live += process.is_on && block != NULL;
    return block;
}

static void *malloc_counted(size_t len)
{
    return fails() ? NULL : counted(__libc_malloc(len));
}

static void *calloc_counted(size_t n, size_t len)
{
    return fails() ? NULL : counted(__libc_calloc(n, len));
}

static void *realloc_counted(void *block, size_t len)
{
    if (fails()) {
        return NULL;
    }
    return block == NULL ? counted(__libc_malloc(len)) : __libc_realloc(block, len);
}

static void free_counted(void *block)
{
    process.live -= process.is_on && block != NULL;
    __libc_free(block);
}

KW_API void *malloc(size_t) __attribute__((alias("malloc_counted")));
KW_API void *calloc(size_t, size_t) __attribute__((alias("calloc_counted")));
KW_API void *realloc(void *, size_t) __attribute__((alias("realloc_counted")));
KW_API void free(void *) __attribute__((alias("free_counted")));
#else
#define HAS_OWN_MALLOC false
#endif

/* What happens around the calls of a pass, outside of the fault. */
typedef void (*pass_fn)(void *arg);

/* One pass: a handle, what it is asked, and where it is to fail. */
typedef struct pass {
    const char *uri;
    unsigned long fail_at;
    bool fails_on;
    bool is_late; /* counts only behind `between`, that is: with a map to compare with */
    bool is_ring; /* also keys of several nodes */
    kw_test_memory memory;
    char tag[16];               /* hash tag of all keys */
    unsigned long acked, maybe; /* INCRs of the tag's counter by what is known of them */
    unsigned long failed_n;
    pass_fn begin;   /* before all, or NULL */
    pass_fn between; /* behind the first call, or NULL */
    void *arg;
} pass;

static void enter(void)
{
    process.is_on = HAS_OWN_MALLOC;
}

static void leave(void)
{
    process.is_on = false;
}

static void set_fault(pass *self, unsigned long fail_at)
{
    process.fail_at = fail_at;
    process.fails_on = self->fails_on;
    self->memory.fail_at = HAS_OWN_MALLOC ? 0 : fail_at;
    self->memory.fail_on = self->fails_on;
}

static unsigned long calls_of(pass *self)
{
    return HAS_OWN_MALLOC ? process.calls : kw_test_memory_calls(&self->memory);
}

static void start(pass *self, unsigned long fail_at)
{
    kw_test_memory_init(&self->memory, 0);
    process.calls = 0;
    process.live = 0;
    self->failed_n = 0;
    set_fault(self, fail_at);
}

/* As kw_open does, but by the calm clock, so that no greeting is late because the machine is. */
static kw_client *open_client(pass *self, kw_error *error)
{
    kw_config *config = kw_test_config_new(&self->memory.allocator);
    kw_client *client = NULL;
    if (config == NULL) {
        error->code = KW_ERR_NOMEM;
    } else if (kw_config_set_uri(config, error, self->uri) == KW_OK) {
        client = kw_open_config(config, error);
    }
    kw_config_free(config);
    return client;
}

/* One call; a failure must say that it was for want of memory. */
static kw_reply *ask(pass *self, kw_client *client, const char *format, ...)
{
    kw_error error = KW_ERROR_INIT;
    va_list values;
    uint64_t start_ms = kw_test_now_ms();
    va_start(values, format);
    enter();
    kw_reply *reply = kw_vcommand(client, &error, format, values);
    leave();
    va_end(values);
    bool is_incr = strncmp(format, "INCR", 4) == 0;
    if (reply == NULL) {
        self->failed_n++;
        self->maybe += is_incr && error.effect != KW_EFFECT_NONE;
        if (error.code != KW_ERR_NOMEM || kw_test_now_ms() - start_ms > 1000) {
            fprintf(stderr, "allocation %lu%s, %s: %s after %lu ms, %s: %s\n", self->fail_at,
                    self->fails_on ? " on" : "", format, kw_err_name(error.code),
                    (unsigned long)(kw_test_now_ms() - start_ms), kw_effect_name(error.effect),
                    error.text);
        }
        assert_int_equal(error.code, KW_ERR_NOMEM);
    } else if (is_incr) {
        assert_int_equal(kw_reply_type(reply), KW_REPLY_INTEGER);
        self->acked++;
    }
    return reply;
}

static void drop(kw_reply *reply)
{
    enter();
    kw_reply_free(reply);
    leave();
}

/* What goes through every way that allocates: long commands, arrays, commands that the
 * table does not know, statistics. */
static void ask_all(pass *self, kw_client *client)
{
    char value[2000];
    memset(value, 'v', sizeof(value));
    drop(ask(self, client, "SET {%s}long %b", self->tag, value, sizeof(value)));
    kw_reply *reply = ask(self, client, "GET {%s}long", self->tag);
    size_t len;
    if (reply != NULL && !kw_reply_is_nil(reply)) {
        assert_non_null(kw_reply_str(reply, &len));
        assert_int_equal(len, sizeof(value));
    }
    drop(reply);
    drop(ask(self, client, "INCR {%s}n", self->tag));
    const char *t = self->tag;
    drop(ask(self, client,
             "MGET {%s}1 {%s}2 {%s}3 {%s}4 {%s}5 {%s}6 {%s}7 {%s}8 {%s}9 "
             "{%s}10 {%s}11 {%s}12 {%s}13 {%s}14 {%s}15 {%s}16 {%s}17 {%s}18",
             t, t, t, t, t, t, t, t, t, t, t, t, t, t, t, t, t, t));
    drop(ask(self, client, "EVAL %s 1 {%s}n", "return {1,{2,'three',{4}}}", t));
    drop(ask(self, client, "NOSUCH {%s}n", self->tag));
    if (self->is_ring) {
        drop(ask(self, client, "MSET a 1 b 2 c 3 d 4 e 5 f 6 g 7 h 8"));
        drop(ask(self, client, "MGET a b c d e f g h"));
    }
    drop(ask(self, client, "DBSIZE"));
    kw_stats stats = {.size = sizeof(stats)};
    enter();
    kw_err code = kw_client_stats(client, &stats);
    leave();
    assert_true(code == KW_OK || code == KW_ERR_NOMEM);
}

/* No INCR was lost, and none ran that was said to have no effect. */
static void assert_count(pass *self, kw_client *client)
{
    kw_reply *reply = ask(self, client, "INCR {%s}n", self->tag);
    unsigned long value = (unsigned long)kw_reply_int(reply);
    drop(reply);
    assert_true(value >= self->acked);
    assert_true(value <= self->acked + self->maybe);
}

/* Counts from here on. */
static void restart(pass *self)
{
    process.calls = 0;
    self->memory.calls = 0;
    set_fault(self, self->fail_at);
}

/* A pass that fails at allocation self->fail_at; false where there were fewer. */
static bool run(pass *self)
{
    kw_error error = KW_ERROR_INIT;
    if (self->begin != NULL) {
        self->begin(self->arg);
    }
    start(self, self->is_late ? 0 : self->fail_at);
    enter();
    kw_client *client = open_client(self, &error);
    leave();
    if (client == NULL) {
        self->failed_n++;
        assert_int_equal(error.code, KW_ERR_NOMEM);
    } else {
        kw_reply *first = ask(self, client, "INCR {%s}n", self->tag);
        bool is_lost = self->fails_on && first == NULL;
        drop(first);
        if (self->between != NULL) {
            self->between(self->arg);
        }
        if (self->is_late) {
            kw_test_sleep_ms(100); /* until the map may be fetched again */
            restart(self);
        }
        if (is_lost) { /* as all others would be, each where it first wants memory */
            drop(ask(self, client, "INCR {%s}n", self->tag));
        } else {
            ask_all(self, client);
        }
    }
    bool is_reached = calls_of(self) >= self->fail_at;
    if (client != NULL) {
        unsigned long failed_n = self->failed_n;
        set_fault(self, 0); /* there is memory again */
        ask_all(self, client);
        assert_int_equal(self->failed_n, failed_n);
        assert_count(self, client);
        enter();
        kw_close(client);
        leave();
    }
    long live = kw_test_memory_live(&self->memory);
    if (live != 0 || process.live != 0) {
        fprintf(stderr, "allocation %lu: %ld blocks are left, %ld of the process\n", self->fail_at,
                live, process.live);
    }
    assert_int_equal(live, 0);
    assert_int_equal(process.live, 0);
    return is_reached;
}

/* All passes, until one has fewer allocations than its number. */
static void run_all(pass *self, const char *what)
{
    int fds = kw_test_fd_count();
    unsigned long refused_n = 0;
    self->fail_at = 0;
    run(self); /* what is made once in a process */
    for (self->fail_at = 1; run(self); self->fail_at++) {
        refused_n += self->failed_n > 0;
        assert_true(self->fail_at < ALLOCATIONS_MAX);
    }
    fprintf(stderr, "%s: %lu allocations, %lu of them failed a call\n", what, self->fail_at - 1,
            refused_n);
    assert_true(refused_n > 0);
    assert_int_equal(kw_test_fd_count(), fds);
}

static void run_single(bool fails_on, const char *what)
{
    char uri[100];
    kw_test_server *server = kw_test_server_start(NULL);
    snprintf(uri, sizeof(uri), "%s?client-name=memory&timeout=2s", kw_test_server_uri(server));
    pass it = {.uri = uri, .tag = "c", .fails_on = fails_on};
    run_all(&it, what);
    kw_test_server_free(server);
}

/* kw_open by itself: it asks nobody, so that no time passes. */
static void open_without_memory(void)
{
    bool is_reached = true;
    for (unsigned long fail_at = 1; is_reached; fail_at++) {
        pass it = {0};
        kw_error error = KW_ERROR_INIT;
        start(&it, fail_at);
        enter();
        kw_client *client = kw_open("redis://127.0.0.1:1?client-name=memory", &error);
        leave();
        is_reached = process.calls >= fail_at;
        assert_true(client != NULL || error.code == KW_ERR_NOMEM);
        assert_true(is_reached || client != NULL);
        enter();
        kw_close(client);
        leave();
        assert_int_equal(process.live, 0);
    }
}

static void test_single_server_without_memory(void **state)
{
    (void)state;
    if (HAS_OWN_MALLOC) {
        open_without_memory();
    }
    run_single(false, "single");
    run_single(true, "single, all from there");
}

static void test_ring_without_memory(void **state)
{
    (void)state;
    char uri[200];
    kw_test_server *a = kw_test_server_start(NULL);
    kw_test_server *b = kw_test_server_start(NULL);
    snprintf(uri, sizeof(uri),
             "redis-ring://a=%s*2;zone=z,b=%s;replica=h:1?timeout=2s&placement=kw1/v20&"
             "on-node-down=eject",
             kw_test_server_address(a), kw_test_server_address(b));
    pass it = {.uri = uri, .tag = "c", .is_ring = true};
    run_all(&it, "ring");
    kw_test_server_free(a);
    kw_test_server_free(b);
}

static void run_sentinel(bool fails_on, const char *what)
{
    char uri[300];
    kw_test_group *group =
        kw_test_group_start(2, NULL, "sentinel down-after-milliseconds mymaster 30000\n");
    snprintf(uri, sizeof(uri), "%s?timeout=2s", kw_test_group_uri(group));
    pass it = {.uri = uri, .tag = "c", .fails_on = fails_on};
    run_all(&it, what);
    kw_test_group_free(group);
}

static void test_sentinel_group_without_memory(void **state)
{
    (void)state;
    run_sentinel(false, "sentinel");
}

static void test_sentinel_group_without_memory_any_more(void **state)
{
    (void)state;
    run_sentinel(true, "sentinel, all from there");
}

typedef struct mover {
    kw_test_cluster *cluster;
    pass *pass;
    unsigned tags_n;
} mover;

/* A tag that the first primary owns, and none had before: nodes that learn of two moves of
 * one slot at once may disagree for a while. */
static void next_tag(void *arg)
{
    mover *self = arg;
    do {
        snprintf(self->pass->tag, sizeof(self->pass->tag), "t%u", self->tags_n++);
    } while (kw_slot(self->pass->tag, strlen(self->pass->tag)) > 5460);
    self->pass->acked = 0;
    self->pass->maybe = 0;
}

/* The keys' slot goes to another node, so that the next call meets MOVED. */
static void move_slot(void *arg)
{
    mover *self = arg;
    unsigned slot = kw_slot(self->pass->tag, strlen(self->pass->tag));
    kw_test_cluster_move(self->cluster, slot, slot, kw_test_cluster_node(self->cluster, 1));
}

static void test_cluster_with_a_moved_slot_without_memory(void **state)
{
    (void)state;
    char uri[200];
    kw_test_cluster *cluster = kw_test_cluster_start(3, 0, 1500, NULL);
    snprintf(uri, sizeof(uri), "%s?timeout=2s", kw_test_cluster_uri(cluster));
    pass passes = {.uri = uri, .begin = next_tag, .between = move_slot};
    mover it = {cluster, &passes, 0};
    passes.arg = &it;
    run_all(&passes, "cluster");
    passes.is_late = true;
    run_all(&passes, "cluster, from the move on");
    kw_test_cluster_free(cluster);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_single_server_without_memory),
    cmocka_unit_test(test_ring_without_memory),
    cmocka_unit_test(test_sentinel_group_without_memory),
    cmocka_unit_test(test_sentinel_group_without_memory_any_more),
    cmocka_unit_test(test_cluster_with_a_moved_slot_without_memory),
};

static int run_part(size_t part)
{
    const struct CMUnitTest of_part[] = {tests[part]};
    return cmocka_run_group_tests(of_part, NULL, NULL);
}

int main(int argc, char **argv)
{
    (void)argc;
    return kw_test_parts(argv, sizeof(tests) / sizeof(tests[0]), run_part);
}

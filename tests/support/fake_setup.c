/* SPDX-License-Identifier: BSD-3-Clause */
/* How a test tells a scripted server its rules, and asks it what it has seen. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "support/check.h"
#include "support/fake_parts.h"

const char *kw_fake_address(const kw_fake *fake)
{
    return fake->address;
}

const char *kw_fake_uri(const kw_fake *fake)
{
    return fake->uri;
}

uint16_t kw_fake_port(const kw_fake *fake)
{
    return fake->port;
}

static void *copy_bytes(const char *bytes, size_t len)
{
    char *copy = malloc(len + 1);
    if (copy == NULL) {
        kw_test_die("no memory");
    }
    if (len > 0) {
        memcpy(copy, bytes, len);
    }
    copy[len] = '\0';
    return copy;
}

/* Call with the lock held. */
static const kw_fake_step *copy_steps(kw_fake *fake, const kw_fake_step *steps)
{
    size_t n = 1;
    while (steps[n - 1].act != KW_FAKE_DO_END) {
        n++;
    }
    fake_steps *kept = calloc(1, sizeof(*kept));
    kw_fake_step *copy = calloc(n, sizeof(*copy));
    if (kept == NULL || copy == NULL) {
        kw_test_die("no memory");
    }
    for (size_t i = 0; i < n; i++) {
        copy[i] = steps[i];
        copy[i].bytes = copy_bytes(steps[i].bytes, steps[i].bytes != NULL ? steps[i].len : 0);
    }
    kept->steps = copy;
    kept->next = fake->pool;
    fake->pool = kept;
    return copy;
}

void fake_pool_free(kw_fake *fake)
{
    while (fake->pool != NULL) {
        fake_steps *kept = fake->pool;
        fake->pool = kept->next;
        size_t i = 0;
        do {
            free((void *)(uintptr_t)kept->steps[i].bytes);
        } while (kept->steps[i++].act != KW_FAKE_DO_END);
        free(kept->steps);
        free(kept);
    }
}

static void add_rule(kw_fake *fake, fake_rule **list, unsigned times, const char *pattern,
                     const kw_fake_step *steps)
{
    fake_rule *rule = calloc(1, sizeof(*rule));
    if (rule == NULL) {
        kw_test_die("no memory");
    }
    rule->pattern = pattern == NULL ? NULL : copy_bytes(pattern, strlen(pattern));
    rule->turns = times;
    rule->is_endless = times == KW_FAKE_ALWAYS;
    pthread_mutex_lock(&fake->lock);
    rule->steps = copy_steps(fake, steps);
    while (*list != NULL) {
        list = &(*list)->next;
    }
    *list = rule;
    pthread_mutex_unlock(&fake->lock);
}

void kw_fake_on(kw_fake *fake, unsigned times, const char *pattern, const kw_fake_step *steps)
{
    add_rule(fake, &fake->rules, times, pattern, steps);
}

void kw_fake_on_reply(kw_fake *fake, unsigned times, const char *pattern, const char *format, ...)
{
    char line[1024];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(line, sizeof(line) - 2, format, args);
    va_end(args);
    if (len < 0 || (size_t)len >= sizeof(line) - 2) {
        kw_test_die("a fake reply of %d bytes by format", len);
    }
    memcpy(line + len, "\r\n", 3);
    kw_fake_on(fake, times, pattern, KW_FAKE_STEPS(KW_FAKE_BYTES(line, (size_t)len + 2)));
}

void kw_fake_on_accept(kw_fake *fake, unsigned times, const kw_fake_step *steps)
{
    add_rule(fake, &fake->accept_rules, times, NULL, steps);
}

void kw_fake_script(kw_fake *fake, unsigned connection, bool with_greeting,
                    const kw_fake_step *steps)
{
    fake_script *script = calloc(1, sizeof(*script));
    if (script == NULL) {
        kw_test_die("no memory");
    }
    script->connection = connection;
    script->with_greeting = with_greeting;
    pthread_mutex_lock(&fake->lock);
    script->steps = copy_steps(fake, steps);
    script->next = fake->scripts;
    fake->scripts = script;
    pthread_mutex_unlock(&fake->lock);
}

void kw_fake_respond(kw_fake *fake, kw_fake_fn fn, void *arg)
{
    pthread_mutex_lock(&fake->lock);
    fake->respond = fn;
    fake->respond_arg = arg;
    pthread_mutex_unlock(&fake->lock);
}

static void free_rules(fake_rule *rule)
{
    while (rule != NULL) {
        fake_rule *next = rule->next;
        free(rule->pattern);
        free(rule);
        rule = next;
    }
}

void kw_fake_reset(kw_fake *fake)
{
    pthread_mutex_lock(&fake->lock);
    free_rules(fake->rules);
    free_rules(fake->accept_rules);
    while (fake->scripts != NULL) {
        fake_script *script = fake->scripts;
        fake->scripts = script->next;
        free(script);
    }
    fake->rules = NULL;
    fake->accept_rules = NULL;
    fake->respond = NULL;
    fake->passes_n = 0;
    fake->id = 0;
    pthread_mutex_unlock(&fake->lock);
}

void kw_fake_set_id(kw_fake *fake, unsigned id)
{
    pthread_mutex_lock(&fake->lock);
    fake->id = id;
    pthread_mutex_unlock(&fake->lock);
}

unsigned kw_fake_id(kw_fake *fake)
{
    pthread_mutex_lock(&fake->lock);
    unsigned id = fake->id != 0 ? fake->id : fake->port;
    pthread_mutex_unlock(&fake->lock);
    return id;
}

void kw_fake_set_map(kw_fake *fake, const char *slots, const char *shards)
{
    pthread_mutex_lock(&fake->lock);
    free(fake->slots);
    free(fake->shards);
    fake->slots = slots == NULL ? NULL : copy_bytes(slots, strlen(slots));
    fake->shards = shards == NULL ? NULL : copy_bytes(shards, strlen(shards));
    fake->is_cluster = slots != NULL || shards != NULL;
    pthread_mutex_unlock(&fake->lock);
}

/* Orders to the thread; each returns when it is done. */

void kw_fake_down(kw_fake *fake)
{
    fake_order(fake, FAKE_ORDER_DOWN, NULL, 0);
}

void kw_fake_up(kw_fake *fake)
{
    fake_order(fake, FAKE_ORDER_UP, NULL, 0);
}

void kw_fake_disconnect(kw_fake *fake, bool with_reset)
{
    fake_order(fake, with_reset ? FAKE_ORDER_RESET : FAKE_ORDER_CLOSE, NULL, 0);
}

void kw_fake_disconnect_one(kw_fake *fake, unsigned connection, bool with_reset)
{
    fake_order_one(fake, with_reset ? FAKE_ORDER_RESET : FAKE_ORDER_CLOSE, connection, NULL, 0);
}

void kw_fake_pass(kw_fake *fake)
{
    fake_order(fake, FAKE_ORDER_PASS, NULL, 0);
}

unsigned kw_fake_at_gates(kw_fake *fake)
{
    unsigned waiting = 0;
    pthread_mutex_lock(&fake->lock);
    for (const fake_conn *conn = fake->conns; conn != NULL; conn = conn->next) {
        waiting += !conn->is_gone && fake_conn_is_at_gate(conn);
    }
    pthread_mutex_unlock(&fake->lock);
    return waiting;
}

bool kw_fake_is_at_rest(kw_fake *fake)
{
    bool is_at_rest = true;
    pthread_mutex_lock(&fake->lock);
    for (const fake_conn *conn = fake->conns; conn != NULL && is_at_rest; conn = conn->next) {
        int unread_n = 0;
        is_at_rest = conn->is_gone || (ioctl(conn->fd, FIONREAD, &unread_n) == 0 && unread_n == 0 &&
                                       fake_conn_is_at_rest(conn));
    }
    pthread_mutex_unlock(&fake->lock);
    return is_at_rest;
}

void kw_fake_push(kw_fake *fake, const char *bytes, size_t len)
{
    fake_order(fake, FAKE_ORDER_PUSH, bytes, len);
}

void kw_fake_push_to(kw_fake *fake, unsigned connection, const char *bytes, size_t len)
{
    fake_order_one(fake, FAKE_ORDER_PUSH, connection, bytes, len);
}

/* What happened. */

size_t kw_fake_log_count(kw_fake *fake)
{
    pthread_mutex_lock(&fake->lock);
    size_t count = fake->log_n;
    pthread_mutex_unlock(&fake->lock);
    return count;
}

bool kw_fake_log_at(kw_fake *fake, size_t index, kw_fake_entry *entry)
{
    pthread_mutex_lock(&fake->lock);
    bool is_there = index < fake->log_n;
    if (is_there) {
        *entry = fake->log[index];
    }
    pthread_mutex_unlock(&fake->lock);
    return is_there;
}

void kw_fake_log_clear(kw_fake *fake)
{
    pthread_mutex_lock(&fake->lock);
    fake->log_n = 0;
    pthread_mutex_unlock(&fake->lock);
}

static size_t count_matches(const kw_fake *fake, const char *pattern)
{
    size_t count = 0;
    for (size_t i = 0; i < fake->log_n; i++) {
        count += fake_matches(pattern, fake->log[i].text);
    }
    return count;
}

size_t kw_fake_count(kw_fake *fake, const char *pattern)
{
    pthread_mutex_lock(&fake->lock);
    size_t count = count_matches(fake, pattern);
    pthread_mutex_unlock(&fake->lock);
    return count;
}

bool kw_fake_wait(kw_fake *fake, const char *pattern, size_t n, unsigned timeout_ms)
{
    uint64_t end_ms = kw_test_now_ms() + timeout_ms;
    while (kw_fake_count(fake, pattern) < n) {
        if (kw_test_now_ms() >= end_ms) {
            return false;
        }
        kw_test_sleep_ms(1);
    }
    return true;
}

unsigned kw_fake_accepted(kw_fake *fake)
{
    pthread_mutex_lock(&fake->lock);
    unsigned accepted = fake->accepted;
    pthread_mutex_unlock(&fake->lock);
    return accepted;
}

unsigned kw_fake_open(kw_fake *fake)
{
    unsigned open = 0;
    pthread_mutex_lock(&fake->lock);
    for (const fake_conn *conn = fake->conns; conn != NULL; conn = conn->next) {
        open += !conn->is_gone;
    }
    pthread_mutex_unlock(&fake->lock);
    return open;
}

void kw_fake_await_open(kw_fake *fake, unsigned n)
{
    KW_TEST_AWAIT(kw_fake_open(fake) == n)
}

unsigned kw_fake_mismatches(kw_fake *fake)
{
    pthread_mutex_lock(&fake->lock);
    unsigned mismatches = fake->mismatches;
    pthread_mutex_unlock(&fake->lock);
    return mismatches;
}

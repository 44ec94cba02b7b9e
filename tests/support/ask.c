/* SPDX-License-Identifier: BSD-3-Clause */
/* Commands sent through a handle, with the reply or the program's end. */
#include "support/ask.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/client.h"
#include "support/calm.h"
#include "support/check.h"
#include "support/crew.h"

/* Set before any thread starts. */
static bool shares_always;

void kw_test_share_always(void)
{
    shares_always = true;
}

kw_config *kw_test_config_new(const kw_allocator *allocator)
{
    kw_config *config = kw_config_new(allocator);
    if (config != NULL && kw_test_calm_is_on()) {
        kw_config_set_clock(config, kw_test_calm_ns, NULL);
        /* By the system's clock, which does not wait for this machine. */
        (void)kw_config_set(config, NULL, "user-timeout", "600s");
    }
    return config;
}

kw_client *kw_test_try_open(const char *uri, kw_error *error)
{
    if (!kw_test_calm_is_on()) {
        return kw_open(uri, error);
    }
    kw_error failure = KW_ERROR_INIT;
    kw_config *config = kw_test_config_new(NULL);
    if (config == NULL) {
        kw_test_die("no memory");
    }
    bool is_good = kw_config_set_uri(config, error != NULL ? error : &failure, uri) == KW_OK;
    kw_client *client = is_good ? kw_open_config(config, error) : NULL;
    kw_config_free(config);
    return client;
}

kw_client *kw_test_open(const char *format, ...)
{
    char uri[1024];
    kw_error error = KW_ERROR_INIT;
    va_list values;
    va_start(values, format);
    vsnprintf(uri, sizeof(uri), format, values);
    va_end(values);
    bool shares = shares_always || getenv("KW_TEST_SHARE_ALWAYS") != NULL;
    if (shares && strstr(uri, "share-above") == NULL) {
        size_t len = strlen(uri);
        snprintf(uri + len, sizeof(uri) - len, "%cshare-above=0",
                 strchr(uri, '?') != NULL ? '&' : '?');
    }
    kw_client *client = kw_test_try_open(uri, &error);
    if (client == NULL) {
        kw_test_die("%s: %s", uri, error.text);
    }
    return client;
}

static kw_reply *ask(kw_client *client, const char *format, va_list values)
{
    kw_error error = KW_ERROR_INIT;
    kw_reply *reply = kw_vcommand(client, &error, format, values);
    if (reply == NULL) {
        kw_test_die("\"%s\": %s, %s: %s", format, kw_err_name(error.code),
                    kw_effect_name(error.effect), error.text);
    }
    return reply;
}

static void expect(const kw_reply *reply, bool is_good, const char *format)
{
    if (!is_good) {
        const char *text = kw_reply_str(reply, NULL);
        kw_test_die("\"%s\" is answered by type %d, %.200s", format, (int)kw_reply_type(reply),
                    text == NULL ? "" : text);
    }
}

kw_reply *kw_test_ask(kw_client *client, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    kw_reply *reply = ask(client, format, values);
    va_end(values);
    return reply;
}

void kw_test_ask_ok(kw_client *client, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    kw_reply *reply = ask(client, format, values);
    va_end(values);
    expect(reply,
           kw_reply_type(reply) == KW_REPLY_STATUS && strcmp(kw_reply_str(reply, NULL), "OK") == 0,
           format);
    kw_reply_free(reply);
}

long long kw_test_ask_integer(kw_client *client, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    kw_reply *reply = ask(client, format, values);
    va_end(values);
    expect(reply, kw_reply_type(reply) == KW_REPLY_INTEGER, format);
    long long value = kw_reply_int(reply);
    kw_reply_free(reply);
    return value;
}

static char *copy(const kw_reply *reply)
{
    char *text = strdup(kw_reply_str(reply, NULL));
    if (text == NULL) {
        kw_test_die("no memory");
    }
    return text;
}

char *kw_test_ask_text(kw_client *client, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    kw_reply *reply = ask(client, format, values);
    va_end(values);
    kw_reply_kind kind = kw_reply_type(reply);
    expect(reply, kind == KW_REPLY_STRING || kind == KW_REPLY_STATUS || kind == KW_REPLY_NIL,
           format);
    char *text = kind == KW_REPLY_NIL ? NULL : copy(reply);
    kw_reply_free(reply);
    return text;
}

char *kw_test_ask_error(kw_client *client, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    kw_reply *reply = ask(client, format, values);
    va_end(values);
    expect(reply, kw_reply_is_error(reply), format);
    char *text = copy(reply);
    kw_reply_free(reply);
    return text;
}

kw_stats kw_test_stats(kw_client *client)
{
    kw_stats stats = {.size = sizeof(stats)};
    if (kw_client_stats(client, &stats) != KW_OK) {
        kw_test_die("no statistics");
    }
    return stats;
}

void kw_test_await_calls(kw_client *client,
                         unsigned calls_n){KW_TEST_AWAIT(atomic_load(&client->calls_n) == calls_n)}

kw_reply *kw_test_call(kw_client *client, kw_error *error, kw_test_deadline deadline,
                       const char *const *argv)
{
    const char *copy[16];
    int argc = 0;
    while (argv[argc] != NULL && argc < 16) {
        copy[argc] = argv[argc];
        argc++;
    }
    kw_call_options options = KW_CALL_OPTIONS_INIT;
    options.timeout_ms = deadline.ms;
    uint64_t queued_ns = deadline.over != NULL ? kw_test_queued_ns() : 0;
    uint64_t start_ns = kw_test_now_ns();
    kw_reply *reply = kw_call(client, error, &options, (kw_argv){argc, copy, NULL});
    uint64_t spent_us = (kw_test_now_ns() - start_ns) / 1000;
    if (deadline.over != NULL) {
        uint64_t due_us = deadline.ms * 1000 + (kw_test_queued_ns() - queued_ns) / 1000;
        kw_test_times_add(deadline.over, spent_us > due_us ? spent_us - due_us : 0);
    }
    return reply;
}

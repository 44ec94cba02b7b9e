/* SPDX-License-Identifier: BSD-3-Clause */
/* The ways of sending that are counted. */
#include "counts/work.h"

#include "counts/measure.h"

#include <stdio.h>

#define KEYS_MAX 20000

static char keys[KEYS_MAX][COUNTS_KEY_LEN + 1];
static size_t keys_made;

void counts_work_init(size_t keys_n)
{
    counts_die_if(keys_n > KEYS_MAX, "too many keys");
    keys_made = keys_n;
    for (size_t i = 0; i < keys_n; i++) {
        snprintf(keys[i], sizeof(keys[i]), "key:%012u", (unsigned)i);
    }
}

const char *counts_key(size_t number)
{
    return keys[number % keys_made];
}

void counts_check_value(const kw_reply *reply)
{
    size_t len = 0;
    counts_die_if(kw_reply_type(reply) != KW_REPLY_STRING || kw_reply_str(reply, &len) == NULL ||
                      len != counts_network_servers.value_len,
                  "no value of a key");
}

kw_argv counts_get(size_t number)
{
    static const char *argv[] = {"GET", NULL};
    static const size_t lens[] = {3, COUNTS_KEY_LEN};
    argv[1] = counts_key(number);
    return (kw_argv){2, argv, lens};
}

void counts_run_calls(kw_client *kw, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        kw_argv get = counts_get(i);
        kw_reply *reply = kw_command_argv(kw, NULL, get.argc, get.argv, get.argvlen);
        counts_check_value(reply);
        kw_reply_free(reply);
    }
}

void counts_run_batches(kw_client *kw, size_t n, size_t batch_n)
{
    kw_batch *batch = kw_batch_new(kw, NULL);
    for (size_t at = 0; at < n; at += batch_n) {
        for (size_t i = 0; i < batch_n; i++) {
            kw_argv get = counts_get(at + i);
            counts_die_if(kw_batch_add_argv(batch, NULL, get.argc, get.argv, get.argvlen) != KW_OK,
                          "batch");
        }
        counts_die_if(kw_batch_run(batch, NULL, 0) != KW_OK, "batch");
        for (size_t i = 0; i < batch_n; i++) {
            counts_check_value(kw_batch_reply(batch, NULL, i));
        }
        kw_batch_clear(batch);
    }
    kw_batch_free(batch);
}

typedef struct loop {
    kw_client *client;
    const kw_call_options *options;
    size_t given;
    size_t answered;
    size_t n;
} loop;

static void give(loop *self);

static void on_reply(void *arg, kw_reply *reply, const kw_error *error)
{
    loop *self = arg;
    (void)error;
    counts_check_value(reply);
    kw_reply_free(reply);
    self->answered++;
    give(self);
}

static void give(loop *self)
{
    if (self->given == self->n) {
        return;
    }
    counts_die_if(kw_call_async(self->client, NULL, (kw_callback){on_reply, self}, self->options,
                                counts_get(self->given++)) != KW_OK,
                  "command in the loop");
}

void counts_run_loop(kw_client *kw, size_t n, size_t under_way_n, const kw_call_options *options)
{
    loop self = {kw, options, 0, 0, n};
    while (self.given < under_way_n) {
        give(&self);
    }
    while (self.answered < n) {
        counts_die_if(kw_process(kw, NULL) != KW_OK, "kw_process");
    }
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* The handle, its nodes, and what they say of themselves. */
#include "program.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

kw_client *client_open(const app *self, const char *uri)
{
    kw_error error = KW_ERROR_INIT;
    if (uri == NULL) {
        fprintf(stderr, "keyway %s: whom to ask? -u URI, or KEYWAY_URI in the environment\n",
                self->command);
        return NULL;
    }
    kw_client *client = kw_open(uri, &error);
    if (client == NULL) {
        fprintf(stderr, "keyway %s: %s\n", self->command, error.text);
    }
    return client;
}

kw_client *client_connect(const app *self, const char *uri)
{
    kw_error error = KW_ERROR_INIT;
    kw_client *client = client_open(self, uri);
    if (client != NULL && kw_connect(client, &error) != KW_OK) {
        fprintf(stderr, "keyway %s: %s\n", self->command, error.text);
        kw_close(client);
        client = NULL;
    }
    return client;
}

kw_reply *client_ask(kw_client *client, kw_error *error, const char *node, const char *const *words)
{
    const char *argv[16];
    int argc = 0;
    while (argc < 16 && words[argc] != NULL) {
        argv[argc] = words[argc];
        argc++;
    }
    kw_call_options options = KW_CALL_OPTIONS_INIT;
    options.route = KW_ROUTE_NODE;
    options.node = node;
    options.fail_fast = true;
    return kw_call(client, error, &options, (kw_argv){argc, argv, NULL});
}

/* Sentinels are known to the handle as well, and are no nodes of the map. */
static bool is_of_map(const kw_node_stats *node)
{
    return node->is_primary || node->primary[0] != '\0';
}

/* Puts the replicas of a primary behind it. */
static void take_shard(fleet *self, const kw_node_stats *all, size_t all_n, size_t primary)
{
    for (size_t i = 0; i < all_n; i++) {
        bool is_replica = !all[i].is_primary && strcmp(all[i].primary, all[primary].node) == 0;
        if (i == primary || is_replica) {
            bool is_first = i == primary;
            size_t at = self->n;
            while (is_first && at > 0 && strcmp(self->nodes[at - 1].primary, all[i].node) == 0) {
                self->nodes[at] = self->nodes[at - 1];
                self->numbers[at] = self->numbers[at - 1];
                at--;
            }
            self->nodes[at] = all[i];
            self->numbers[at] = i;
            self->n++;
        }
    }
}

bool fleet_load(fleet *self, kw_client *client)
{
    kw_stats stats = {.size = sizeof(stats)};
    memset(self, 0, sizeof(*self));
    if (kw_client_stats(client, &stats) != KW_OK) {
        return false;
    }
    size_t room = (size_t)stats.nodes + 64;
    kw_node_stats *all = calloc(room, sizeof(all[0]));
    self->nodes = calloc(room, sizeof(self->nodes[0]));
    self->numbers = calloc(room, sizeof(self->numbers[0]));
    if (all == NULL || self->nodes == NULL || self->numbers == NULL) {
        free(all);
        fleet_free(self);
        return false;
    }
    size_t n = 0;
    for (all[0].size = sizeof(all[0]);
         n + 1 < room && kw_client_node_stats(client, &all[n], n) == KW_OK; n++) {
        all[n + 1].size = sizeof(all[0]);
    }
    for (size_t i = 0; i < n; i++) {
        if (is_of_map(&all[i]) && all[i].is_primary) {
            take_shard(self, all, n, i);
        }
    }
    free(all);
    return true;
}

void fleet_free(fleet *self)
{
    free(self->nodes);
    free(self->numbers);
    memset(self, 0, sizeof(*self));
}

const char *node_name(const kw_node_stats *node)
{
    return node->node;
}

const char *info_text(char *out, size_t out_len, const kw_reply *info, const char *field)
{
    const char *text = kw_reply_str(info, NULL);
    size_t field_len = strlen(field);
    out[0] = '\0';
    for (; text != NULL && *text != '\0'; text = strchr(text, '\n')) {
        text += *text == '\n' ? 1 : 0;
        if (strncmp(text, field, field_len) == 0 && text[field_len] == ':') {
            size_t len = strcspn(text + field_len + 1, "\r\n");
            snprintf(out, out_len, "%.*s", (int)len, text + field_len + 1);
            return out;
        }
    }
    return NULL;
}

double number_of(const char *text)
{
    double number = strtod(text, NULL);
    return number > -1e300 && number < 1e300 ? number : 0;
}

double info_number(const kw_reply *info, const char *field)
{
    char text[64];
    return info_text(text, sizeof(text), info, field) != NULL ? number_of(text) : 0;
}

uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

void pause_ms(uint64_t ms)
{
    struct timespec span = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000000L};
    nanosleep(&span, NULL);
}

/* Set in a signal handler, and read by threads. */
static atomic_bool is_over;

static void on_signal(int number)
{
    (void)number;
    atomic_store(&is_over, true);
}

void catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

bool is_interrupted(void)
{
    return atomic_load(&is_over);
}

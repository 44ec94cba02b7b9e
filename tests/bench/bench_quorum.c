/* SPDX-License-Identifier: BSD-3-Clause */
/* Quorum: values on three copies against plain values, through handles on the same servers,
 * and with one of the three stopped. Rounds take turns; medians are shown. */
#include <keyway.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/bench.h"
#include "support/calm.h"
#include "support/server.h"

#define SERVERS_N 3u
#define ROUNDS_N  11u
#define OPS_N     2000u
#define KEYS_N    1000u

typedef struct world {
    kw_test_server *servers[SERVERS_N];
    kw_client *plain;
    kw_client *client;
    kw_quorum *quorum;
    double latencies[OPS_N];
} world;

typedef void (*act_fn)(world *self, const char *key);

static void plain_set(world *self, const char *key)
{
    kw_error error = KW_ERROR_INIT;
    kw_reply *reply = kw_command(self->plain, &error, "SET %s " KW_BENCH_VALUE, key);
    kw_bench_die_if(reply == NULL, error.text);
    kw_reply_free(reply);
}

static void plain_get(world *self, const char *key)
{
    kw_error error = KW_ERROR_INIT;
    kw_reply *reply = kw_command(self->plain, &error, "GET %s", key);
    kw_bench_die_if(reply == NULL, error.text);
    kw_reply_free(reply);
}

static void quorum_set(world *self, const char *key)
{
    kw_error error = KW_ERROR_INIT;
    kw_err code = kw_quorum_set(self->quorum, &error, key, strlen(key), KW_BENCH_VALUE,
                                strlen(KW_BENCH_VALUE));
    kw_bench_die_if(code != KW_OK, error.text);
}

static void quorum_get(world *self, const char *key)
{
    kw_error error = KW_ERROR_INIT;
    kw_quorum_results *results = kw_quorum_get(self->quorum, &error, key, strlen(key));
    kw_bench_die_if(results == NULL, error.text);
    kw_quorum_results_free(results);
}

typedef struct figure {
    double rate;   /* a second */
    double median; /* of one op, in seconds */
} figure;

static figure run_round(world *self, act_fn act, const char *prefix)
{
    double begin = kw_bench_now_s();
    double last = begin;
    for (unsigned i = 0; i < OPS_N; i++) {
        char key[32];
        snprintf(key, sizeof(key), "%s:%011u", prefix, i % KEYS_N);
        act(self, key);
        double here = kw_bench_now_s();
        self->latencies[i] = here - last;
        last = here;
    }
    figure found = {OPS_N / (last - begin), kw_bench_median(self->latencies, OPS_N)};
    return found;
}

static const act_fn acts[] = {plain_set, quorum_set, plain_get, quorum_get};
static const char *const prefixes[] = {"plai", "quor", "plai", "quor"};
static const char *const names[] = {"plain SET", "quorum set", "plain GET", "quorum get"};

static void measure(world *self, const char *title, figure out[4], bool has_plain)
{
    static double rates[4][ROUNDS_N];
    static double medians[4][ROUNDS_N];
    for (unsigned round = 0; round < ROUNDS_N; round++) {
        for (unsigned i = 0; i < 4; i++) {
            if (has_plain || i % 2 == 1) {
                figure found = run_round(self, acts[i], prefixes[i]);
                rates[i][round] = found.rate;
                medians[i][round] = found.median;
            }
        }
    }
    printf("%s\n", title);
    for (unsigned i = 0; i < 4; i++) {
        if (has_plain || i % 2 == 1) {
            out[i].rate = kw_bench_median(rates[i], ROUNDS_N);
            out[i].median = kw_bench_median(medians[i], ROUNDS_N);
            printf("  %-12s %8.0f a second, median %6.1f us\n", names[i], out[i].rate,
                   out[i].median * 1e6);
        }
    }
}

int main(int argc, char **argv)
{
    static world self;
    static kw_bench bench; /* for its goals alone */
    kw_test_calm_forbid();
    for (unsigned i = 0; i < SERVERS_N; i++) {
        self.servers[i] = kw_test_server_start("save \"\"\n");
    }
    self.plain = kw_bench_open_ring(self.servers, "");
    self.client = kw_bench_open_ring(self.servers, "?copies=3");
    self.quorum = kw_quorum_new(self.client, NULL);
    kw_bench_die_if(self.quorum == NULL, "no quorum");
    figure whole[4];
    figure less[4];
    measure(&self, "quorum of 2 of 3 copies, one thread", whole, true);
    kw_test_server_pause(self.servers[1]);
    measure(&self, "with one of the three stopped", less, false);
    kw_test_server_resume(self.servers[1]);
    kw_bench_goal(&bench, "quorum set / plain SET", whole[1].rate / whole[0].rate, ">=", 0.5);
    kw_bench_goal(&bench, "quorum get / plain GET", whole[3].rate / whole[2].rate, ">=", 0.5);
    kw_bench_goal(&bench, "set, one stopped / all up, median", less[1].median / whole[1].median,
                  "<=", 1.3);
    kw_bench_goal(&bench, "get, one stopped / all up, median", less[3].median / whole[3].median,
                  "<=", 1.3);
    kw_quorum_free(self.quorum);
    kw_close(self.client);
    kw_close(self.plain);
    for (unsigned i = 0; i < SERVERS_N; i++) {
        kw_test_server_free(self.servers[i]);
    }
    bool is_gate = argc > 1 && strcmp(argv[1], "--gate") == 0;
    return is_gate && bench.is_missed ? 1 : 0;
}

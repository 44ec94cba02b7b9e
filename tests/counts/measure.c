/* SPDX-License-Identifier: BSD-3-Clause */
/* Runs one way twice, and counts the second run: what it asks of the system, of the allocator and
 * of the clock; callgrind.sh has the instructions counted. */
#include "counts/measure.h"

#include <stdio.h>
#include <stdlib.h>

static unsigned long allocations_n;
static unsigned long clocks_n;

void counts_die(const char *what)
{
    fprintf(stderr, "counts: %s\n", what);
    exit(EXIT_FAILURE);
}

/* What the handle is given: an allocator that counts, and a clock that goes on by a microsecond
 * each time it is read, so that nothing depends on the machine's speed. */

static void *count_malloc(void *arg, size_t len)
{
    (void)arg;
    allocations_n++;
    return malloc(len);
}

static void *count_realloc(void *arg, void *block, size_t len)
{
    (void)arg;
    allocations_n++;
    return realloc(block, len);
}

static void count_free(void *arg, void *block)
{
    (void)arg;
    free(block);
}

static uint64_t count_clock(void *arg)
{
    (void)arg;
    return UINT64_C(1000000000) + (uint64_t)++clocks_n * 1000 + counts_network_slept_ns;
}

kw_client *counts_open(const char *uri)
{
    static const kw_allocator allocator = {sizeof(allocator), NULL, count_malloc, count_realloc,
                                           count_free};
    kw_config *config = kw_config_new(&allocator);
    counts_die_if(config == NULL, "no memory");
    kw_config_set_clock(config, count_clock, NULL);
    counts_die_if(kw_config_set_uri(config, NULL, uri) != KW_OK, "no URI");
    kw_client *client = kw_open_config(config, NULL);
    kw_config_free(config);
    kw_error error = KW_ERROR_INIT;
    counts_die_if(kw_connect(client, &error) != KW_OK, error.text);
    return client;
}

/* Callgrind, which callgrind.sh starts, knows these by name: it writes what it has counted at the
 * end of each. They are called by their addresses, so that no compiler makes them a part of others.
 */
void warm_up_counts(const counts_way *self, kw_client *client);
void measure_counts(const counts_way *self, kw_client *client);

/* Something to do behind the call, so that it is no jump, and that differs, so that the two are not
 * folded. */
static volatile unsigned warm_n;
static volatile unsigned measured_n;

void warm_up_counts(const counts_way *self, kw_client *client)
{
    self->run(client, self->n);
    warm_n++;
}

void measure_counts(const counts_way *self, kw_client *client)
{
    self->run(client, self->n);
    measured_n++;
}

static void (*volatile warm)(const counts_way *self, kw_client *client) = warm_up_counts;
static void (*volatile measure)(const counts_way *self, kw_client *client) = measure_counts;

static void print(const counts_way *self, const char *what, unsigned long count)
{
    printf("%s %s %.4f\n", self->name, what, (double)count / (double)self->n);
}

void counts_measure(const counts_way *self, const char *uri)
{
    kw_client *client = counts_open(uri);
    warm(self, client);
    allocations_n = 0;
    unsigned long clocks_before_n = clocks_n;
    counts_network_reset();
    measure(self, client);
    counts_calls calls = counts_network;
    printf("%s commands %zu\n", self->name, self->n);
    print(self, "sends", calls.sends);
    print(self, "receives", calls.receives);
    print(self, "polls", calls.polls);
    print(self, "other_system_calls", calls.others);
    print(self, "allocations", allocations_n);
    print(self, "clock_readings", clocks_n - clocks_before_n);
    kw_close(client);
}

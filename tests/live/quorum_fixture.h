/* SPDX-License-Identifier: BSD-3-Clause */
/* Five plain servers, and values on three of them. */
#ifndef LIVE_QUORUM_FIXTURE_H
#define LIVE_QUORUM_FIXTURE_H

#define RING_SERVERS 5

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <time.h>

#include <keyway/members.h>
#include <keyway/quorum.h>

#include "live/ring_servers.h"

typedef struct fixture {
    ring_servers *servers;
    kw_client *client;
    kw_quorum *quorum;
} fixture;

static inline fixture open_with(void **state, const char *tail)
{
    fixture fix = {.servers = *state};
    kw_error error = KW_ERROR_INIT;
    fix.client = ring_open(fix.servers, tail);
    fix.quorum = kw_quorum_new(fix.client, &error);
    if (fix.quorum == NULL) {
        kw_test_die("%s", error.text);
    }
    return fix;
}

static inline void shut(fixture *fix)
{
    kw_quorum_free(fix->quorum);
    kw_close(fix->client);
}

static inline void set(const fixture *fix, const char *key, const char *value)
{
    kw_error error = KW_ERROR_INIT;
    if (kw_quorum_set(fix->quorum, &error, key, strlen(key), value, strlen(value)) != KW_OK) {
        kw_test_die("set %s: %s", key, error.text);
    }
}

/* The value of key is this; NULL: none. */
static inline kw_quorum_version assert_value(const fixture *fix, const char *key, const char *value)
{
    kw_error error = KW_ERROR_INIT;
    kw_quorum_results *results = kw_quorum_get(fix->quorum, &error, key, strlen(key));
    if (results == NULL) {
        kw_test_die("get %s: %s", key, error.text);
    }
    const char *there = kw_quorum_value(results, NULL, 0);
    if (value == NULL) {
        assert_null(there);
    } else {
        assert_non_null(there);
        assert_string_equal(there, value);
    }
    kw_quorum_version version = kw_quorum_version_of(results, 0);
    kw_quorum_results_free(results);
    return version;
}

static inline kw_quorum_request request_of(kw_quorum_act act, const char *key, const char *value)
{
    kw_quorum_request request = KW_QUORUM_REQUEST_INIT;
    request.act = act;
    request.key = key;
    request.key_len = strlen(key);
    request.value = value;
    request.value_len = value != NULL ? strlen(value) : 0;
    return request;
}

/* Runs one request that does not fail; true where it was written. */
static inline bool is_written(const fixture *fix, const kw_quorum_request *request)
{
    kw_error error = KW_ERROR_INIT;
    kw_quorum_results *results = kw_quorum_run(fix->quorum, &error, request, 1, 0);
    if (results == NULL || kw_quorum_result(results, &error, 0) != KW_OK) {
        kw_test_die("%s", error.text);
    }
    bool was_written = kw_quorum_is_written(results, 0);
    kw_quorum_results_free(results);
    return was_written;
}

/* How many servers have the key. */
static inline size_t count_copies(const fixture *fix, const char *key)
{
    size_t n = 0;
    for (size_t i = 0; i < RING_SERVERS; i++) {
        n += (size_t)kw_test_server_integer(fix->servers->servers[i], "EXISTS %s", key);
    }
    return n;
}

static inline void pause_ms(unsigned ms)
{
    struct timespec span = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000000};
    nanosleep(&span, NULL);
}

/* The slowest copy may get a write only while another call is under way. */
static inline void wait_for_copies(const fixture *fix, const char *key, size_t copies_n)
{
    kw_error error = KW_ERROR_INIT;
    for (int i = 0; i < 1000 && count_copies(fix, key) != copies_n; i++) {
        kw_quorum_results_free(kw_quorum_get(fix->quorum, &error, key, strlen(key)));
        pause_ms(5);
    }
    assert_int_equal(count_copies(fix, key), copies_n);
}

/* Servers that have a copy of the key, in the order of its list. */
static inline kw_test_server *copy_of(const fixture *fix, const char *key, size_t index)
{
    kw_error error = KW_ERROR_INIT;
    kw_ring *ring = kw_client_ring(fix->client, &error);
    uint32_t nodes[RING_SERVERS];
    size_t n = kw_ring_preference(ring, nodes, RING_SERVERS, key, strlen(key));
    assert_int_equal(n, RING_SERVERS);
    const char *name = kw_ring_node_name(ring, NULL, nodes[index]);
    kw_test_server *server = fix->servers->servers[name[0] - 'a'];
    kw_ring_unref(ring);
    return server;
}

#endif

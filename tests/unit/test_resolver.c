/* SPDX-License-Identifier: BSD-3-Clause */
/* Look-ups of host names that end in time, with the system's resolver replaced. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "net/resolver.h"
#include "support/ask.h"
#include "support/calm.h"
#include "support/check.h"
#include "support/fake.h"

#include <keyway.h>

#include <netdb.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static atomic_bool is_stuck;
static atomic_uint port = 7000; /* of every address */
static int threads_before;      /* a sanitizer may have one of its own */

/* In the place of the C library's: "known.test" has an address, everything else has
 * none; while is_stuck, nothing is answered. */
/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name): the C library's */
int getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
                struct addrinfo **found)
{
    (void)service;
    (void)hints;
    while (atomic_load(&is_stuck) && strstr(host, "127.") != host) {
        kw_test_sleep_ms(1);
    }
    if (strstr(host, "known.test") != host) {
        return EAI_NONAME;
    }
    struct addrinfo *entry = calloc(1, sizeof(*entry));
    struct sockaddr_in *address = calloc(1, sizeof(*address));
    address->sin_family = AF_INET;
    address->sin_port = htons((uint16_t)atomic_load(&port));
    address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    entry->ai_family = AF_INET;
    entry->ai_addrlen = sizeof(*address);
    entry->ai_addr = (struct sockaddr *)address;
    *found = entry;
    return 0;
}

/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name): the C library's */
void freeaddrinfo(struct addrinfo *found)
{
    free(found->ai_addr);
    free(found);
}

static kw_endpoint endpoint_of(const char *text)
{
    kw_endpoint endpoint;
    assert_true(kw_endpoint_parse(&endpoint, kw_bytes_of(text)));
    return endpoint;
}

/* Lets the threads go that were left behind. */
static void wait_for_threads(void)
{
    atomic_store(&is_stuck, false);
    KW_TEST_AWAIT(kw_test_thread_count() <= threads_before)
}

/* Looks until there is an answer. */
static kw_err take(kw_lookup *lookup, kw_addresses *addresses, kw_error *error)
{
    kw_err code;
    KW_TEST_AWAIT((code = kw_lookup_take(lookup, addresses, error)) != KW_ERR_TIMEOUT)
    return code;
}

static void test_resolver_name_known_gives_addresses(void **state)
{
    (void)state;
    kw_resolver *resolver = kw_resolver_new(NULL, NULL);
    kw_addresses addresses = {.n = 0};
    kw_endpoint endpoint = endpoint_of("known.test:7000");
    assert_true(kw_address_is_name(&endpoint));
    kw_lookup *lookup = kw_resolver_begin(resolver, NULL, &endpoint);
    assert_int_equal(take(lookup, &addresses, NULL), KW_OK);
    assert_int_equal(addresses.n, 1);
    assert_int_equal(addresses.at[0].storage.ss_family, AF_INET);
    kw_lookup_unref(lookup);
    kw_resolver_free(resolver);
    wait_for_threads();
}

static void test_resolver_name_unknown_gives_reason(void **state)
{
    (void)state;
    kw_resolver *resolver = kw_resolver_new(NULL, NULL);
    kw_addresses addresses = {.n = 0};
    kw_error error = KW_ERROR_INIT;
    kw_endpoint endpoint = endpoint_of("unknown.test:7000");
    kw_lookup *lookup = kw_resolver_begin(resolver, &error, &endpoint);
    assert_int_equal(take(lookup, &addresses, &error), KW_ERR_RESOLVE);
    assert_non_null(strstr(error.text, "unknown.test"));
    kw_lookup_unref(lookup);
    kw_resolver_free(resolver);
    wait_for_threads();
}

/* Callers of one name share its look-up; names beyond so many are refused, and nobody waits. */
static void test_resolver_stuck_look_ups_are_shared_and_bounded(void **state)
{
    (void)state;
    kw_resolver *resolver = kw_resolver_new(NULL, NULL);
    kw_lookup *lookups[KW_RESOLVER_LOOKUPS_MAX];
    kw_addresses addresses = {.n = 0};
    kw_error error = KW_ERROR_INIT;
    atomic_store(&is_stuck, true);
    for (int i = 0; i < KW_RESOLVER_LOOKUPS_MAX; i++) {
        char text[] = "known.test:7000";
        text[sizeof(text) - 2] = (char)('0' + i);
        kw_endpoint endpoint = endpoint_of(text);
        lookups[i] = kw_resolver_begin(resolver, &error, &endpoint);
        kw_lookup *again = kw_resolver_begin(resolver, &error, &endpoint);
        assert_ptr_equal(again, lookups[i]);
        kw_lookup_unref(again);
        assert_int_equal(kw_lookup_take(lookups[i], &addresses, &error), KW_ERR_TIMEOUT);
    }
    kw_endpoint other = endpoint_of("other.test:7000");
    assert_null(kw_resolver_begin(resolver, &error, &other));
    assert_int_equal(error.code, KW_ERR_RESOLVE);
    assert_non_null(strstr(error.text, "already"));
    kw_resolver_free(resolver); /* before the threads that were left behind */
    for (int i = 0; i < KW_RESOLVER_LOOKUPS_MAX; i++) {
        kw_lookup_unref(lookups[i]);
    }
    wait_for_threads();
}

/* An answer that came when nobody looked is the next one's, once; a failure is nobody's. */
static void test_resolver_late_answer_serves_the_next(void **state)
{
    (void)state;
    kw_resolver *resolver = kw_resolver_new(NULL, NULL);
    kw_addresses addresses = {.n = 0};
    kw_endpoint known = endpoint_of("known.test:7000");
    kw_endpoint unknown = endpoint_of("unknown.test:7000");
    atomic_store(&is_stuck, true);
    kw_lookup *known_first = kw_resolver_begin(resolver, NULL, &known);
    kw_lookup *unknown_first = kw_resolver_begin(resolver, NULL, &unknown);
    wait_for_threads();
    kw_lookup *known_next = kw_resolver_begin(resolver, NULL, &known);
    kw_lookup *unknown_next = kw_resolver_begin(resolver, NULL, &unknown);
    assert_ptr_equal(known_next, known_first);
    assert_ptr_not_equal(unknown_next, unknown_first);
    assert_int_equal(kw_lookup_take(known_next, &addresses, NULL), KW_OK);
    kw_lookup *known_last = kw_resolver_begin(resolver, NULL, &known);
    assert_ptr_not_equal(known_last, known_next);
    kw_lookup *all[] = {known_first, known_next, known_last, unknown_first, unknown_next};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        kw_lookup_unref(all[i]);
    }
    kw_resolver_free(resolver);
    wait_for_threads();
}

static void test_resolver_thread_call_ends_at_its_deadline(void **state)
{
    (void)state;
    kw_error error = KW_ERROR_INIT;
    kw_client *kw =
        kw_test_try_open("redis://known.test:7000?resolver=thread&timeout=150ms", &error);
    assert_non_null(kw);
    atomic_store(&is_stuck, true);
    uint64_t start_ms = kw_test_now_ms();
    assert_null(kw_command(kw, &error, "GET a"));
    uint64_t elapsed_ms = kw_test_now_ms() - start_ms;
    assert_int_equal(error.code, KW_ERR_RESOLVE);
    assert_int_equal(error.effect, KW_EFFECT_NONE);
    assert_in_range(elapsed_ms, 100, 2000);
    kw_close(kw);
    wait_for_threads();
}

static unsigned count_ended(kw_ticket **tickets, int n)
{
    unsigned ended_n = 0;
    for (int i = 0; i < n; i++) {
        ended_n += kw_ticket_wait(tickets[i], 1) ? 1 : 0;
    }
    return ended_n;
}

/* While a name is looked up, commands by ticket to other nodes go on; kw_close waits for nothing;
 * and the late answer serves the call after it. */
static void test_resolver_silent_name_server_holds_nobody_else_up(void **state)
{
    (void)state;
    kw_fake *fake = kw_fake_start();
    kw_fake_on_reply(fake, KW_FAKE_ALWAYS, "GET *", "+v");
    atomic_store(&port, kw_fake_port(fake));
    kw_error error = KW_ERROR_INIT;
    char uri[300];
    snprintf(uri, sizeof(uri),
             "redis-ring://known.test:7000,%s?placement=kw1&resolver=thread&timeout=60s",
             kw_fake_address(fake));
    kw_client *kw = kw_test_try_open(uri, &error);
    if (kw == NULL) {
        kw_test_die("%s", error.text);
    }
    atomic_store(&is_stuck, true);
    enum { TICKETS = 20 };
    kw_ticket *tickets[TICKETS];
    for (int i = 0; i < TICKETS; i++) {
        tickets[i] = kw_submit(kw, &error, "GET key:%d", i);
        assert_non_null(tickets[i]);
    }
    KW_TEST_AWAIT(count_ended(tickets, TICKETS) > 0) /* those of the other node */
    atomic_store(&is_stuck, false);
    for (int i = 0; i < TICKETS; i++) {
        kw_reply *reply = kw_ticket_await(tickets[i], &error);
        assert_non_null(reply);
        kw_reply_free(reply);
        kw_ticket_free(tickets[i]);
    }
    kw_close(kw);
    atomic_store(&is_stuck, true);
    kw = kw_test_try_open("redis://known.test:7000?resolver=thread&timeout=300ms&down-after=1000",
                          &error);
    assert_null(kw_command(kw, &error, "GET a"));
    assert_int_equal(error.code, KW_ERR_RESOLVE);
    atomic_store(&is_stuck, false);
    kw_reply *reply;
    KW_TEST_AWAIT((reply = kw_command(kw, &error, "GET a")) != NULL) /* the answer has come */
    kw_reply_free(reply);
    kw_close(kw);
    kw_fake_free(fake);
}

int main(void)
{
    kw_test_calm_start();
    threads_before = kw_test_thread_count();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_resolver_name_known_gives_addresses),
        cmocka_unit_test(test_resolver_name_unknown_gives_reason),
        cmocka_unit_test(test_resolver_stuck_look_ups_are_shared_and_bounded),
        cmocka_unit_test(test_resolver_late_answer_serves_the_next),
        cmocka_unit_test(test_resolver_thread_call_ends_at_its_deadline),
        cmocka_unit_test(test_resolver_silent_name_server_holds_nobody_else_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

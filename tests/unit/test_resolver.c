/* SPDX-License-Identifier: BSD-3-Clause */
/* Look-ups of host names that end in time, with the system's resolver replaced. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "net/resolver.h"
#include "support/check.h"

#include <keyway.h>

#include <netdb.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static atomic_bool is_stuck;
static int threads_before; /* a sanitizer may have one of its own */

/* In the place of the C library's: "known.test" has an address, everything else has
 * none; while is_stuck, nothing is answered. */
int getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
                struct addrinfo **found)
{
    (void)service;
    (void)hints;
    while (atomic_load(&is_stuck)) {
        kw_test_sleep_ms(1);
    }
    if (strcmp(host, "known.test") != 0) {
        return EAI_NONAME;
    }
    struct addrinfo *entry = calloc(1, sizeof(*entry));
    struct sockaddr_in *address = calloc(1, sizeof(*address));
    address->sin_family = AF_INET;
    address->sin_port = htons(7000);
    entry->ai_family = AF_INET;
    entry->ai_addrlen = sizeof(*address);
    entry->ai_addr = (struct sockaddr *)address;
    *found = entry;
    return 0;
}

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
    for (int i = 0; i < 500 && kw_test_thread_count() > threads_before; i++) {
        kw_test_sleep_ms(1);
    }
}

static void test_resolver_name_known_gives_addresses(void **state)
{
    (void)state;
    kw_resolver *resolver = kw_resolver_new();
    kw_addresses addresses = {.n = 0};
    kw_endpoint endpoint = endpoint_of("known.test:7000");
    assert_true(kw_address_is_name(&endpoint));
    assert_int_equal(kw_resolver_find(resolver, &addresses, NULL, &endpoint, 10000000000u), KW_OK);
    assert_int_equal(addresses.n, 1);
    assert_int_equal(addresses.at[0].storage.ss_family, AF_INET);
    kw_resolver_unref(resolver);
}

static void test_resolver_name_unknown_gives_reason(void **state)
{
    (void)state;
    kw_resolver *resolver = kw_resolver_new();
    kw_addresses addresses = {.n = 0};
    kw_error error = KW_ERROR_INIT;
    kw_endpoint endpoint = endpoint_of("unknown.test:7000");
    assert_int_equal(kw_resolver_find(resolver, &addresses, &error, &endpoint, 10000000000u),
                     KW_ERR_RESOLVE);
    assert_non_null(strstr(error.text, "unknown.test"));
    kw_resolver_unref(resolver);
}

static void test_resolver_no_answer_ends_in_time_and_is_bounded(void **state)
{
    (void)state;
    kw_resolver *resolver = kw_resolver_new();
    kw_addresses addresses = {.n = 0};
    kw_error error = KW_ERROR_INIT;
    kw_endpoint endpoint = endpoint_of("known.test:7000");
    atomic_store(&is_stuck, true);
    for (int i = 0; i < KW_RESOLVER_JOBS_MAX; i++) {
        assert_int_equal(kw_resolver_find(resolver, &addresses, &error, &endpoint, 2000000u),
                         KW_ERR_RESOLVE);
        assert_non_null(strstr(error.text, "no answer in time"));
    }
    assert_int_equal(kw_resolver_find(resolver, &addresses, &error, &endpoint, 2000000u),
                     KW_ERR_RESOLVE);
    assert_non_null(strstr(error.text, "already"));
    kw_resolver_unref(resolver); /* before the threads that were left behind */
    wait_for_threads();
}

static void test_resolver_thread_call_ends_at_its_deadline(void **state)
{
    (void)state;
    kw_error error = KW_ERROR_INIT;
    kw_client *kw = kw_open("redis://known.test:7000?resolver=thread&timeout=150ms", &error);
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

int main(void)
{
    threads_before = kw_test_thread_count();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_resolver_name_known_gives_addresses),
        cmocka_unit_test(test_resolver_name_unknown_gives_reason),
        cmocka_unit_test(test_resolver_no_answer_ends_in_time_and_is_bounded),
        cmocka_unit_test(test_resolver_thread_call_ends_at_its_deadline),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* KW_TEST_FAST: patterns and keys by chance, compared here and by a real server's SCAN. */
#include "live/scan_keys.h"

#include "base/random.h"
#include "engine/glob.h"
#include "support/server.h"

#include <hiredis.h>

#define PATTERNS_N 3000
#define KEYS_N     200

static const char letters[] = "aab[]^-\\*?c\xff\x80z";

static size_t make(char *out, size_t max, kw_random *random)
{
    size_t n = (size_t)kw_random_below(random, max + 1);
    for (size_t i = 0; i < n; i++) {
        out[i] = letters[kw_random_below(random, sizeof(letters) - 1)];
    }
    return n;
}

static void test_glob_agrees_with_the_server(void **state)
{
    kw_test_server *server = *state;
    const char *seed = getenv("KW_TEST_SEED");
    kw_random random;
    uint64_t start = seed != NULL ? strtoull(seed, NULL, 10) : kw_test_real_ms();
    printf("seed %llu\n", (unsigned long long)start);
    kw_random_init(&random, start);
    kw_client *kw = kw_test_open("%s?timeout=20s", kw_test_server_uri(server));
    for (size_t i = 0; i < KEYS_N; i++) {
        char key[8];
        size_t len = make(key, 6, &random);
        kw_reply_free(kw_command(kw, NULL, "SET %b v", key, len));
    }
    kw_reply *all = kw_test_ask(kw, "KEYS *");
    assert_true(kw_reply_count(all) > KEYS_N / 2);
    size_t matches_n = 0;
    for (size_t i = 0; i < PATTERNS_N; i++) {
        char text[10];
        kw_bytes pattern = {text, make(text, 7, &random)};
        const char *words[] = {"SCAN", "0", "MATCH", pattern.data, "COUNT", "100000"};
        const size_t lens[] = {4, 1, 5, pattern.len, 5, 6};
        kw_reply *page = kw_command_argv(kw, NULL, 6, words, lens);
        const kw_reply *found = kw_reply_at(page, 1);
        size_t n = 0;
        for (size_t k = 0; k < kw_reply_count(all); k++) {
            kw_bytes key;
            key.data = kw_reply_str(kw_reply_at(all, k), &key.len);
            bool is_there = false;
            for (size_t f = 0; f < kw_reply_count(found) && !is_there; f++) {
                size_t len;
                const char *other = kw_reply_str(kw_reply_at(found, f), &len);
                is_there = len == key.len && memcmp(other, key.data, len) == 0;
            }
            if (kw_glob_matches(pattern, key) != is_there) {
                char shown[2][80];
                fail_msg("pattern \"%s\", key \"%s\": the server says %d",
                         kw_bytes_show(shown[0], 80, pattern), kw_bytes_show(shown[1], 80, key),
                         is_there);
            }
            n += is_there ? 1 : 0;
        }
        matches_n += n;
        kw_reply_free(page);
    }
    assert_true(matches_n > PATTERNS_N / 10);
    kw_reply_free(all);
    kw_close(kw);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_glob_agrees_with_the_server)};
    return cmocka_run_group_tests(tests, kw_test_server_begin, kw_test_server_end);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* SHA1 by the examples of FIPS 180-4, and every length around its blocks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/sha1.h"

#include <stdlib.h>
#include <string.h>

static void expect(kw_bytes text, const char *digest)
{
    char out[KW_SHA1_TEXT + 1];
    kw_sha1_text(out, text);
    assert_string_equal(out, digest);
}

static void test_sha1_examples_of_the_standard(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"", "da39a3ee5e6b4b0d3255bfef95601890afd80709"},
        {"abc", "a9993e364706816aba3e25717850c26c9cd0d89d"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "84983e441c3bd26ebaae4aa1f95129e5e54670f1"},
        {"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrl"
         "mnopqrsmnopqrstnopqrstu",
         "a49b2446a02c645bf419f995b67091253a04a259"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        expect(kw_bytes_of(rows[i][0]), rows[i][1]);
    }
    char *million = malloc(1000000);
    memset(million, 'a', 1000000);
    kw_bytes text = {million, 1000000};
    expect(text, "34aa973cd4c4daa4f61eeb2bdbad27316534016f");
    free(million);
}

/* The digests of 0 to 300 bytes, hashed: every way in which the last block can be filled. */
static void test_sha1_every_length_of_the_last_blocks(void **state)
{
    (void)state;
    unsigned char all[301 * KW_SHA1_BYTES];
    char bytes[300];
    for (size_t len = 0; len <= sizeof(bytes); len++) {
        kw_bytes text = {bytes, len};
        kw_sha1(all + len * KW_SHA1_BYTES, text);
        if (len < sizeof(bytes)) {
            bytes[len] = (char)(len * 7);
        }
    }
    kw_bytes whole = {(const char *)all, sizeof(all)};
    expect(whole, "2d095daa1437f7f4f361cd003710e0b4d4d9af37");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sha1_examples_of_the_standard),
        cmocka_unit_test(test_sha1_every_length_of_the_last_blocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

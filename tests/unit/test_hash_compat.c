/* SPDX-License-Identifier: BSD-3-Clause */
/* The hashes of other clients, against published values. */
#include "route/hash_compat.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "route/hash_md5.h"
#include "route/hash_xxh.h"

typedef struct answer {
    const char *hash;
    const char *key;
    uint32_t as_signed;
    uint32_t as_unsigned;
} answer;

static const char cafe[] = "caf\xc3\xa9";

/* The check values of the placement's specification; of "caf..." those it has not are
 * what nutcracker gives on x86 (test_twemproxy routes by them), and their unsigned pairs. */
static const answer answers[] = {
    {"one_at_a_time", "keyway", 2775121360, 2775121360},
    {"md5", "keyway", 985825517, 985825517},
    {"crc16", "keyway", 2344328462, 2344328462},
    {"crc32", "keyway", 4245, 4245},
    {"crc32a", "keyway", 2425726138, 2425726138},
    {"fnv1_64", "keyway", 1007238207, 1007238207},
    {"fnv1a_64", "keyway", 269720731, 269720731},
    {"fnv1_32", "keyway", 460696383, 460696383},
    {"fnv1a_32", "keyway", 1601849243, 1601849243},
    {"murmur", "keyway", 3108867359, 3108867359},
    {"jenkins", "keyway", 54776317, 54776317},
    {"fnv1a_64", cafe, 3472276361, 3483635081},
    {"one_at_a_time", cafe, 3650908318, 2425794034},
    {"fnv1_64", cafe, 2315714289, 2315665649},
    {"fnv1_32", cafe, 3598905713, 1719915377},
    {"fnv1a_32", cafe, 1970454601, 2821410889},
    {"crc16", cafe, 4129724007, 4129724007},
    {"crc32a", cafe, 2561491637, 2561491637},
};

static void test_hash_compat_gives_check_values(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        const answer *a = &answers[i];
        const kw_hash_compat *hash = kw_hash_compat_find(kw_bytes_of(a->hash));
        assert_non_null(hash);
        assert_int_equal(hash->fn(a->key, strlen(a->key), true), a->as_signed);
        assert_int_equal(hash->fn(a->key, strlen(a->key), false), a->as_unsigned);
    }
}

static void test_hash_compat_names_are_found(void **state)
{
    (void)state;
    size_t n = 0;
    for (; kw_hash_compat_at(n) != NULL; n++) {
        const kw_hash_compat *hash = kw_hash_compat_at(n);
        assert_ptr_equal(kw_hash_compat_find(kw_bytes_of(hash->name)), hash);
        hash->fn(NULL, 0, true);
    }
    assert_int_equal(n, 11);
    assert_null(kw_hash_compat_find(kw_bytes_of("hsieh")));
    assert_null(kw_hash_compat_find(kw_bytes_of("")));
    assert_null(kw_hash_compat_find(kw_bytes_of("md5 ")));
}

/* RFC 1321, appendix A.5. */
static void test_md5_gives_published_digests(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *digest;
    } vectors[] = {
        {"", "d41d8cd98f00b204e9800998ecf8427e"},
        {"a", "0cc175b9c0f1b6a831c399e269772661"},
        {"abc", "900150983cd24fb0d6963f7d28e17f72"},
        {"message digest", "f96b697d7cb7938d525a2f31aaf161d0"},
        {"abcdefghijklmnopqrstuvwxyz", "c3fcd3d76192e4007dfb496cca67e13b"},
        {"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
         "d174ab98d277d9f5a5611c2c9f419d9f"},
        {"12345678901234567890123456789012345678901234567890123456789012345678901234567890",
         "57edf4a22be3c955ac49da2e2107b67a"},
    };
    for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
        static const char hex[] = "0123456789abcdef";
        uint32_t words[4];
        char text[33] = "";
        kw_md5(words, vectors[i].text, strlen(vectors[i].text));
        for (size_t k = 0; k < 16; k++) {
            unsigned byte = words[k / 4] >> (8 * (k % 4)) & 0xff;
            text[2 * k] = hex[byte >> 4];
            text[2 * k + 1] = hex[byte & 0xf];
        }
        assert_string_equal(text, vectors[i].digest);
    }
}

/* Digests of 0 to 130 bytes "x", hashed once more: the padding of every length. */
static void test_md5_pads_every_length(void **state)
{
    (void)state;
    static char digests[131 * 16];
    char bytes[130];
    uint32_t words[4];
    memset(bytes, 'x', sizeof(bytes));
    for (size_t len = 0; len <= 130; len++) {
        kw_md5(words, bytes, len);
        for (size_t k = 0; k < 16; k++) {
            digests[16 * len + k] = (char)(unsigned char)(words[k / 4] >> (8 * (k % 4)));
        }
    }
    kw_md5(words, digests, sizeof(digests));
    assert_int_equal(words[0], 0x84c3ede4);
    assert_int_equal(words[1], 0x56cbabb1);
    assert_int_equal(words[2], 0x9a9fe096);
    assert_int_equal(words[3], 0x3cb21eca);
}

/* Whatever stands around the bytes, and wherever they begin. */
static void test_hash_compat_reads_only_its_bytes(void **state)
{
    (void)state;
    static const char text[] = "the quick brown fox jumps over the lazy dog";
    for (size_t i = 0; kw_hash_compat_at(i) != NULL; i++) {
        for (size_t len = 0; len < sizeof(text); len++) {
            char copy[sizeof(text) + 8];
            memset(copy, 0x55, sizeof(copy));
            memcpy(copy + 3, text, len);
            uint32_t whole = kw_hash_compat_at(i)->fn(text, len, true);
            assert_int_equal(whole, kw_hash_compat_at(i)->fn(copy + 3, len, true));
        }
    }
}

static void test_xxh_gives_known_answers(void **state)
{
    (void)state;
    char bytes[8];
    assert_true(kw_xxh_is_right());
    assert_true(kw_xxh3("", 0, 0) == 0x2d06800538d394c2);
    assert_true(kw_xxh3("keyway", 6, 0) == 0xfdadf32dfb7c859e);
    kw_store_le64(bytes, 0x0102030405060708);
    assert_memory_equal(bytes, "\x08\x07\x06\x05\x04\x03\x02\x01", 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hash_compat_gives_check_values),
        cmocka_unit_test(test_hash_compat_names_are_found),
        cmocka_unit_test(test_md5_gives_published_digests),
        cmocka_unit_test(test_md5_pads_every_length),
        cmocka_unit_test(test_hash_compat_reads_only_its_bytes),
        cmocka_unit_test(test_xxh_gives_known_answers),
    };
    return cmocka_run_group_tests_name("hash_compat", tests, NULL, NULL);
}

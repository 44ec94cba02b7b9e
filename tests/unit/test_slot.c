/* SPDX-License-Identifier: BSD-3-Clause */
/* Key to slot, by every way of computing it, against the definition. */
#include "route/slot.h"

#include <keyway/slot.h>

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "route/crc16.h"

#define LEN_MAX 300
#define SEED    20240229u

/* One way to compute: any bytes as they are, and the routed part of a key. */
typedef struct way {
    const char *name;
    uint16_t (*crc16)(const char *data, size_t len);
    uint16_t (*routed)(const char *key, size_t key_len);
} way;

static const way all_ways[] = {
    {"portable", kw_crc16_portable, kw_crc16_routed_portable},
    {"clmul", kw_crc16_clmul, kw_crc16_routed_clmul},
};

static size_t ways_n(void)
{
    return kw_crc16_has_clmul() ? 2 : 1;
}

/* The definition: one bit at a time. */
static uint16_t slow_crc16(const char *data, size_t len)
{
    unsigned crc = 0;
    for (size_t i = 0; i < len; i++) {
        crc ^= (unsigned)(unsigned char)data[i] << 8;
        for (int bit = 0; bit < 8; bit++) {
            crc = (crc << 1 ^ ((crc & 0x8000) != 0 ? 0x1021u : 0)) & 0xffff;
        }
    }
    return (uint16_t)crc;
}

/* The rule as the specification tells it, one byte at a time. */
static const char *slow_tag(const char *key, size_t key_len, size_t *tag_len)
{
    size_t open = 0;
    while (open < key_len && key[open] != '{') {
        open++;
    }
    size_t end = open + 1;
    while (end < key_len && key[end] != '}') {
        end++;
    }
    bool has_tag = end < key_len && end > open + 1;
    *tag_len = has_tag ? end - open - 1 : key_len;
    return has_tag ? key + open + 1 : key;
}

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 16;
}

static void check_key(const char *key, size_t key_len)
{
    size_t want_len;
    const char *want = slow_tag(key, key_len, &want_len);
    uint16_t crc = slow_crc16(want, want_len);
    size_t tag_len = SIZE_MAX;
    assert_ptr_equal(kw_hash_tag(key, key_len, &tag_len), want);
    assert_int_equal(tag_len, want_len);
    for (size_t i = 0; i < ways_n(); i++) {
        if (all_ways[i].routed(key, key_len) != crc) {
            fail_msg("%s differs for a key of %zu bytes", all_ways[i].name, key_len);
        }
    }
    assert_int_equal(kw_slot(key, key_len), crc % KW_SLOTS_N);
    assert_int_equal(kw_slot_of(key, key_len), crc % KW_SLOTS_N);
}

static void test_crc16_table_recomputed_is_equal(void **state)
{
    (void)state;
    for (size_t row = 0; row < 16; row++) {
        for (unsigned byte = 0; byte < 256; byte++) {
            char data[16] = {0};
            data[0] = (char)(unsigned char)byte;
            assert_int_equal(kw_crc16_table[row][byte], slow_crc16(data, row + 1));
        }
    }
}

static void test_crc16_check_value_is_known(void **state)
{
    (void)state;
    for (size_t i = 0; i < ways_n(); i++) {
        assert_int_equal(all_ways[i].crc16("123456789", 9), 0x31c3);
        assert_int_equal(all_ways[i].crc16(NULL, 0), 0);
    }
    assert_int_equal(kw_slot("123456789", 9), 12739);
}

static void test_crc16_any_length_and_alignment_equals_definition(void **state)
{
    (void)state;
    char bytes[LEN_MAX + 16];
    uint32_t random = SEED;
    print_message("seed %u\n", SEED);
    for (size_t len = 0; len <= LEN_MAX; len++) {
        for (size_t i = 0; i < sizeof(bytes); i++) {
            bytes[i] = (char)(unsigned char)next_random(&random);
        }
        for (size_t at = 0; at < 16; at++) {
            uint16_t crc = slow_crc16(bytes + at, len);
            for (size_t i = 0; i < ways_n(); i++) {
                assert_int_equal(all_ways[i].crc16(bytes + at, len), crc);
            }
        }
    }
}

/* Every single bit of every length: the checksum is linear, so this is all of it. */
static void test_crc16_single_bits_equal_definition(void **state)
{
    (void)state;
    char bytes[200] = {0};
    for (size_t len = 1; len <= sizeof(bytes); len += len < 80 ? 1 : 13) {
        for (size_t bit = 0; bit < 8 * len; bit++) {
            bytes[bit / 8] = (char)(1 << bit % 8);
            uint16_t crc = slow_crc16(bytes, len);
            for (size_t i = 0; i < ways_n(); i++) {
                assert_int_equal(all_ways[i].crc16(bytes, len), crc);
            }
            bytes[bit / 8] = 0;
        }
    }
}

static void test_slot_known_keys_have_known_slots(void **state)
{
    (void)state;
    static const struct {
        const char *key;
        unsigned slot;
    } known[] = {
        {"", 0},        {"foo", 12182},          {"bar", 5061},       {"hello", 866},
        {"a", 15495},   {"123456789", 12739},    {"{foo}bar", 12182}, {"x{foo}", 12182},
        {"{bar", 4015}, {"foo{bar}{zap}", 5061},
    };
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        assert_int_equal(kw_slot(known[i].key, strlen(known[i].key)), known[i].slot);
    }
    assert_int_equal(kw_slot(NULL, 0), 0);
}

static void test_hash_tag_table_follows_rule(void **state)
{
    (void)state;
    static const struct {
        const char *key;
        const char *tag;
    } table[] = {
        {"", ""},
        {"foo", "foo"},
        {"{user1000}.following", "user1000"},
        {"{user1000}.followers", "user1000"},
        {"foo{}{bar}", "foo{}{bar}"},
        {"foo{{bar}}zap", "{bar"},
        {"foo{bar}{zap}", "bar"},
        {"foo{bar", "foo{bar"},
        {"foo{", "foo{"},
        {"foo}", "foo}"},
        {"}foo{", "}foo{"},
        {"}foo{bar", "}foo{bar"},
        {"}x{bar}", "bar"},
        {"a}b}c}d}e}f{bar}", "bar"},
        {"{}", "{}"},
        {"{", "{"},
        {"}", "}"},
        {"}{", "}{"},
        {"{{", "{{"},
        {"{{}", "{"},
        {"{}}", "{}}"},
        {"{}{}{}{}{}{}{}{}{}{}", "{}{}{}{}{}{}{}{}{}{}"},
        {"{{{{{{{{{{{{{{{{{{{{}", "{{{{{{{{{{{{{{{{{{{"},
        {"{1234567}", "1234567"},
        {"{12345678}", "12345678"},
        {"{123456789}", "123456789"},
        {"{12345678", "{12345678"},
        {"z{|y}", "|y"},
        {"zz{{|}|zzzz", "{|"},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        size_t tag_len = SIZE_MAX;
        const char *tag = kw_hash_tag(table[i].key, strlen(table[i].key), &tag_len);
        assert_int_equal(tag_len, strlen(table[i].tag));
        assert_memory_equal(tag, table[i].tag, tag_len);
        check_key(table[i].key, strlen(table[i].key));
    }
    size_t tag_len = SIZE_MAX;
    assert_null(kw_hash_tag(NULL, 0, &tag_len));
    assert_int_equal(tag_len, 0);
}

static void test_hash_tag_zero_bytes_are_bytes(void **state)
{
    (void)state;
    static const char key[] = "a\0b{\0\0}\0c";
    size_t tag_len = SIZE_MAX;
    assert_ptr_equal(kw_hash_tag(key, sizeof(key) - 1, &tag_len), key + 4);
    assert_int_equal(tag_len, 2);
    check_key(key, sizeof(key) - 1);
    char zeros[40] = {0};
    for (size_t len = 0; len <= sizeof(zeros); len++) {
        check_key(zeros, len);
    }
}

/* Every place of both braces in a key of each length, in a heap block that ends with
 * the key, so that a sanitizer sees any read outside of it. */
static void test_slot_braces_everywhere_equal_rule(void **state)
{
    (void)state;
    for (size_t len = 1; len <= 100; len += len < 42 ? 1 : 11) {
        char *key = malloc(len);
        assert_non_null(key);
        for (size_t open = 0; open < len; open++) {
            for (size_t end = 0; end <= len; end++) {
                memset(key, 'z', len);
                key[open] = '{';
                if (end < len) {
                    key[end] = '}';
                }
                check_key(key, len);
            }
        }
        free(key);
    }
}

/* Bytes that differ from braces in one bit stand where borrows and carries of the
 * search could take them for braces. */
static void test_slot_random_bytes_near_braces_equal_rule(void **state)
{
    (void)state;
    static const char alphabet[] = {'{', '}', '|', 'z', '~', '\0', '\xfb', '\xfd', '\x80', 'a'};
    uint32_t random = SEED;
    print_message("seed %u\n", SEED);
    for (size_t round = 0; round < 20000; round++) {
        size_t len = 1 + next_random(&random) % 70;
        size_t rare = round % 3 == 0 ? 0 : 2;
        char *key = malloc(len);
        assert_non_null(key);
        for (size_t i = 0; i < len; i++) {
            size_t from = next_random(&random) % 8 == 0 ? 0 : rare;
            key[i] = alphabet[from + next_random(&random) % (sizeof(alphabet) - from)];
        }
        check_key(key, len);
        free(key);
    }
}

static void test_slot_key_at_page_end_reads_nothing_behind(void **state)
{
    (void)state;
    size_t page_len = (size_t)sysconf(_SC_PAGESIZE);
    int zero = open("/dev/zero", O_RDWR);
    assert_true(zero >= 0);
    char *pages = mmap(NULL, 3 * page_len, PROT_READ | PROT_WRITE, MAP_PRIVATE, zero, 0);
    close(zero);
    assert_true(pages != MAP_FAILED);
    assert_int_equal(mprotect(pages, page_len, PROT_NONE), 0);
    assert_int_equal(mprotect(pages + 2 * page_len, page_len, PROT_NONE), 0);
    char *first = pages + page_len;
    char *end = first + page_len;
    memset(first, 'k', page_len);
    for (size_t len = 0; len <= LEN_MAX; len++) {
        check_key(first, len);
        check_key(end - len, len);
    }
    for (size_t len = 3; len <= 64; len++) {
        char *key = end - len;
        for (size_t at = 0; at < len; at++) {
            key[at] = '{';
            check_key(key, len); /* a search for '}' to the last byte */
            key[len - 1] = at + 1 < len ? '}' : '{';
            check_key(key, len);
            memset(key, 'k', len);
        }
    }
    assert_int_equal(munmap(pages, 3 * page_len), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crc16_table_recomputed_is_equal),
        cmocka_unit_test(test_crc16_check_value_is_known),
        cmocka_unit_test(test_crc16_any_length_and_alignment_equals_definition),
        cmocka_unit_test(test_crc16_single_bits_equal_definition),
        cmocka_unit_test(test_slot_known_keys_have_known_slots),
        cmocka_unit_test(test_hash_tag_table_follows_rule),
        cmocka_unit_test(test_hash_tag_zero_bytes_are_bytes),
        cmocka_unit_test(test_slot_braces_everywhere_equal_rule),
        cmocka_unit_test(test_slot_random_bytes_near_braces_equal_rule),
        cmocka_unit_test(test_slot_key_at_page_end_reads_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

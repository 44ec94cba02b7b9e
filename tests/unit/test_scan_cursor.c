/* SPDX-License-Identifier: BSD-3-Clause */
/* Cursors of scans: what is written is read again, whatever it is; what nobody has written is
 * refused with where and what; and their length. */
#include "engine/scan_cursor.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/random.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SCOPE 77u

static const kw_scan_spec whole = {
    .kind = KW_SCAN_OF_CLUSTER, .last = 16383, .count = 500, .parallel_n = 8};

static void begin(kw_scan_walk *walk, const kw_scan_spec *spec)
{
    assert_true(kw_scan_walk_init(walk, kw_mem_default(), spec));
}

/* So many passes, each with as many slots as the other, in runs of that length. */
static void cover(kw_scan_walk *walk, size_t passes_n, unsigned run, kw_random *random)
{
    walk->passes = kw_mem_calloc(kw_mem_default(), passes_n + 1, sizeof(walk->passes[0]));
    walk->passes_n = passes_n;
    walk->is_begun = true;
    for (size_t i = 0; i < passes_n; i++) {
        walk->passes[i] = (kw_scan_pass){.print = kw_random_next(random),
                                         .cursor = kw_random_next(random),
                                         .seen_n = kw_random_below(random, 1 << 30),
                                         .is_known = true,
                                         .host = KW_SCAN_NONE};
        walk->passes[i].is_done = i % 3 == 0;
        walk->passes[i].cursor = walk->passes[i].is_done ? 0 : walk->passes[i].cursor;
    }
    for (unsigned slot = 0; slot < 16384; slot++) {
        walk->slots[slot] = (uint16_t)(slot / run % passes_n);
    }
}

static char *text_of(const kw_scan_walk *walk)
{
    kw_buf out;
    kw_buf_init(&out, kw_mem_default(), NULL, 0);
    assert_true(kw_scan_cursor_write(&out, walk, SCOPE));
    assert_true(kw_buf_append(&out, "", 1));
    assert_int_equal(strspn(out.data, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                      "0123456789-_."),
                     out.len - 1);
    return out.data;
}

static void test_cursor_is_read_as_it_was_written(void **state)
{
    (void)state;
    kw_random random;
    kw_random_init(&random, 3);
    for (size_t passes_n = 1; passes_n <= 40; passes_n += 13) {
        kw_scan_walk from;
        kw_scan_walk to;
        begin(&from, &whole);
        begin(&to, &whole);
        cover(&from, passes_n, 409, &random);
        from.slots[5] = KW_SCAN_SLOT_OPEN;
        from.slots[16383] = KW_SCAN_SLOT_GIVEN;
        char *text = text_of(&from);
        kw_scan_fault fault;
        assert_int_equal(kw_scan_cursor_read(&to, &fault, kw_bytes_of(text), SCOPE), KW_OK);
        assert_int_equal(to.passes_n, passes_n);
        for (size_t i = 0; i < passes_n; i++) {
            assert_true(to.passes[i].print == from.passes[i].print);
            assert_true(to.passes[i].cursor == from.passes[i].cursor);
            assert_true(to.passes[i].is_done == from.passes[i].is_done);
        }
        assert_memory_equal(to.slots, from.slots, 16384 * sizeof(to.slots[0]));
        free(text);
        kw_scan_walk_fini(&from);
        kw_scan_walk_fini(&to);
    }
}

/* Whatever the slots are, a hundred nodes take 4 KB; what is left out is open, never given. */
static void test_cursor_of_a_hundred_nodes_is_short(void **state)
{
    (void)state;
    kw_random random;
    kw_random_init(&random, 4);
    for (unsigned run = 1; run < 16384; run *= 2) {
        kw_scan_walk from;
        kw_scan_walk to;
        begin(&from, &whole);
        begin(&to, &whole);
        cover(&from, 100, run, &random);
        for (unsigned slot = 0; slot < 16384; slot += 1 + (unsigned)kw_random_below(&random, 4)) {
            from.slots[slot] = run % 3 == 1 ? KW_SCAN_SLOT_GIVEN : from.slots[slot];
        }
        char *text = text_of(&from);
        kw_scan_fault fault;
        assert_true(strlen(text) <= 4096);
        assert_int_equal(kw_scan_cursor_read(&to, &fault, kw_bytes_of(text), SCOPE), KW_OK);
        for (unsigned slot = 0; slot < 16384; slot++) {
            assert_true(to.slots[slot] == from.slots[slot] || to.slots[slot] == KW_SCAN_SLOT_OPEN);
        }
        free(text);
        kw_scan_walk_fini(&from);
        kw_scan_walk_fini(&to);
    }
}

/* A round of which all was given, at hosts in turn, each slot by itself. */
static void give_round(kw_scan_walk *walk, unsigned hosts_n, unsigned run, kw_random *random)
{
    uint64_t first = kw_random_next(random) | 1;
    for (unsigned slot = 0; walk->jobs_n < KW_SCAN_ROUND_MAX; slot++) {
        kw_scan_job *job = &walk->jobs[walk->jobs_n++];
        memset(job, 0, sizeof(*job));
        job->slot = (uint16_t)slot;
        job->stage = KW_SCAN_JOB_GIVEN;
        job->peer = KW_SCAN_UNOWNED;
        job->print = first + 2 * (slot / run % hosts_n);
    }
}

/* What was given of a round is in the cursor, all of it or as much as there is room for; never
 * nothing, as processes that end at once would not get on then. */
static void test_cursor_has_what_was_given_of_a_round(void **state)
{
    (void)state;
    kw_random random;
    kw_random_init(&random, 8);
    for (unsigned run = 1; run <= KW_SCAN_ROUND_MAX; run *= 2) {
        for (unsigned is_torn = 0; is_torn < 2; is_torn++) {
            kw_scan_walk from;
            kw_scan_walk to;
            begin(&from, &whole);
            begin(&to, &whole);
            cover(&from, 100, 1 + 1000 * (1 - is_torn), &random);
            give_round(&from, 100, run, &random);
            from.jobs[3].peer_print = 9;
            from.jobs[3].motion = 10;
            from.jobs[5].stage = KW_SCAN_JOB_BUSY;
            from.jobs[6].stage = KW_SCAN_JOB_NEW;
            from.jobs[6].is_large = true;
            from.jobs[6].cursor = 11;
            char *text = text_of(&from);
            kw_scan_fault fault;
            assert_true(strlen(text) <= 4096);
            assert_int_equal(kw_scan_cursor_read(&to, &fault, kw_bytes_of(text), SCOPE), KW_OK);
            assert_in_range(to.jobs_n, run < 8 ? 8 : 100, KW_SCAN_ROUND_MAX - 2);
            for (size_t i = 0; i < to.jobs_n; i++) {
                const kw_scan_job *job = &from.jobs[to.jobs[i].slot];
                assert_int_equal(to.jobs[i].stage, KW_SCAN_JOB_GIVEN);
                assert_int_equal(job->stage, KW_SCAN_JOB_GIVEN);
                assert_true(to.jobs[i].print == job->print && to.jobs[i].motion == job->motion &&
                            to.jobs[i].peer_print == job->peer_print);
            }
            assert_int_equal(to.halves_n, 1);
            assert_int_equal(to.halves[0].slot, 6);
            assert_true(to.halves[0].cursor == 11 && to.halves[0].print == from.jobs[6].print);
            free(text);
            kw_scan_walk_fini(&from);
            kw_scan_walk_fini(&to);
        }
    }
}

static void expect_refused(const char *text, size_t len, const char *what)
{
    kw_scan_walk walk;
    kw_scan_fault fault = {SIZE_MAX, NULL};
    begin(&walk, &whole);
    kw_err code = kw_scan_cursor_read(&walk, &fault, (kw_bytes){text, len}, SCOPE);
    if (code != KW_ERR_ARGUMENT || fault.at > len || fault.what == NULL ||
        (what != NULL && strstr(fault.what, what) == NULL)) {
        fail_msg("%.*s: %d, %s", (int)len, text, code, fault.what != NULL ? fault.what : "-");
    }
    kw_scan_walk_fini(&walk);
}

static void test_cursor_that_was_changed_is_refused(void **state)
{
    (void)state;
    kw_random random;
    kw_scan_walk walk;
    kw_random_init(&random, 5);
    begin(&walk, &whole);
    cover(&walk, 3, 5462, &random);
    char *text = text_of(&walk);
    size_t len = strlen(text);
    for (size_t i = 0; i < len; i++) {
        char *cut = malloc(i + 1);
        memcpy(cut, text, i);
        expect_refused(cut, i, NULL);
        free(cut);
        char before = text[i];
        text[i] = before == 'x' ? 'y' : 'x';
        expect_refused(text, len, NULL);
        text[i] = '%';
        expect_refused(text, len, i < 5 ? "begin" : "letter");
        text[i] = before;
    }
    expect_refused("0", 1, "begin");
    kw_scan_walk other;
    kw_scan_fault fault;
    begin(&other, &whole);
    assert_int_equal(kw_scan_cursor_read(&other, &fault, kw_bytes_of(text), SCOPE + 1),
                     KW_ERR_ARGUMENT);
    assert_non_null(strstr(fault.what, "another walk"));
    kw_scan_walk_fini(&other);
    kw_scan_walk_fini(&walk);
    free(text);
}

/* base64url of bytes, with the checksum that belongs to them: what somebody makes who knows how. */
static char *forge(const unsigned char *bytes, size_t len)
{
    static const char set[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    unsigned char all[4200];
    char *text = malloc(6000);
    size_t n = 5;
    uint64_t hash = kw_bytes_hash((kw_bytes){(const char *)bytes, len});
    hash ^= hash >> 32;
    memcpy(all, bytes, len);
    for (size_t i = 0; i < 4; i++) {
        all[len + i] = (unsigned char)(hash >> (8 * i));
    }
    memcpy(text, "kws1.", 5);
    for (size_t bit = 0; bit < 8 * (len + 4); bit += 6) {
        unsigned value = 0;
        for (size_t i = bit; i < bit + 6; i++) {
            value = value << 1 | (i < 8 * (len + 4) ? all[i / 8] >> (7 - i % 8) & 1u : 0);
        }
        text[n++] = set[value];
    }
    text[n] = '\0';
    return text;
}

/* Bytes by chance behind a right beginning: read, or refused, and nothing else. */
static void test_cursor_that_was_forged_does_no_harm(void **state)
{
    (void)state;
    kw_random random;
    kw_random_init(&random, 6);
    size_t taken_n = 0;
    for (size_t i = 0; i < 20000; i++) {
        unsigned char bytes[64] = {KW_SCAN_OF_CLUSTER, SCOPE};
        size_t len = 13 + (size_t)kw_random_below(&random, 51);
        for (size_t k = 13; k < len; k++) {
            bytes[k] =
                (unsigned char)(kw_random_below(&random, 3) == 0 ? kw_random_below(&random, 256)
                                                                 : kw_random_below(&random, 3));
        }
        char *text = forge(bytes, len);
        kw_scan_walk walk;
        kw_scan_fault fault = {0, NULL};
        begin(&walk, &whole);
        kw_err code = kw_scan_cursor_read(&walk, &fault, kw_bytes_of(text), SCOPE);
        assert_true(code == KW_OK || (code == KW_ERR_ARGUMENT && fault.at <= strlen(text)));
        taken_n += code == KW_OK ? 1 : 0;
        for (unsigned slot = 0; slot < 16384; slot++) {
            uint16_t at = walk.slots[slot];
            assert_true(at == KW_SCAN_SLOT_OPEN || at == KW_SCAN_SLOT_GIVEN || at < walk.passes_n);
        }
        kw_scan_walk_fini(&walk);
        free(text);
    }
    assert_true(taken_n < 20000);
}

static unsigned left;

static void *fail_realloc(void *arg, void *block, size_t len)
{
    (void)arg;
    return left > 0 && left-- > 0 ? realloc(block, len) : NULL;
}

static void *fail_malloc(void *arg, size_t len)
{
    return fail_realloc(arg, NULL, len);
}

static void plain_free(void *arg, void *block)
{
    (void)arg;
    free(block);
}

static void test_cursor_without_memory_says_so(void **state)
{
    (void)state;
    const kw_allocator mem = {sizeof(mem), NULL, fail_malloc, fail_realloc, plain_free};
    kw_random random;
    kw_scan_walk from;
    kw_random_init(&random, 7);
    begin(&from, &whole);
    cover(&from, 3, 5462, &random);
    char *text = text_of(&from);
    kw_err code = KW_ERR_NOMEM;
    for (unsigned n = 0; code == KW_ERR_NOMEM; n++) {
        kw_scan_walk walk;
        kw_scan_fault fault;
        left = n;
        if (kw_scan_walk_init(&walk, &mem, &whole)) {
            code = kw_scan_cursor_read(&walk, &fault, kw_bytes_of(text), SCOPE);
            kw_scan_walk_fini(&walk);
        }
        assert_true(n < 100);
    }
    assert_int_equal(code, KW_OK);
    from.mem = &mem;
    bool is_written = false;
    for (unsigned n = 0; !is_written; n++) {
        kw_buf out;
        left = n;
        kw_buf_init(&out, &mem, NULL, 0);
        is_written = kw_scan_cursor_write(&out, &from, SCOPE);
        kw_buf_fini(&out);
        assert_true(n < 100);
    }
    from.mem = kw_mem_default();
    kw_scan_walk_fini(&from);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cursor_is_read_as_it_was_written),
        cmocka_unit_test(test_cursor_of_a_hundred_nodes_is_short),
        cmocka_unit_test(test_cursor_has_what_was_given_of_a_round),
        cmocka_unit_test(test_cursor_that_was_changed_is_refused),
        cmocka_unit_test(test_cursor_that_was_forged_does_no_harm),
        cmocka_unit_test(test_cursor_without_memory_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

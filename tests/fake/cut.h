/* SPDX-License-Identifier: BSD-3-Clause */
/* Connections that end within the answers to ten commands: what the second fake does, and what each
 * command must be told, by batch and by callback. */
#ifndef FAKE_CUT_H
#define FAKE_CUT_H

#include "fake/fakes.h"

/* The connection ends with the third of ten answers, or behind it. */
typedef struct cut {
    const kw_fake_step *steps; /* the third answer, and what follows */
    size_t answered_n;         /* so many have a reply */
    kw_err first;              /* of the first without a reply */
    kw_effect first_effect;
    kw_err others;
} cut;

#define CUTS_N 4

static const cut cuts[CUTS_N] = {
    {KW_FAKE_STEPS(KW_FAKE_SEND(":3\r\n"), KW_FAKE_CLOSE), 3, KW_ERR_CLOSED, KW_EFFECT_MAYBE,
     KW_ERR_CLOSED},
    {KW_FAKE_STEPS(KW_FAKE_SEND(":3\r\n:"), KW_FAKE_STALL), 3, KW_ERR_TIMEOUT, KW_EFFECT_MAYBE,
     KW_ERR_TIMEOUT},
    /* Garbage that comes with answers takes them along. */
    {KW_FAKE_STEPS(KW_FAKE_SEND(":3\r\nHTTP/1.1 400\r\n"), KW_FAKE_STALL), 0, KW_ERR_PROTOCOL,
     KW_EFFECT_MAYBE, KW_ERR_PROTOCOL},
    {KW_FAKE_STEPS(KW_FAKE_SEND(":3\r\n*1073741824\r\n"), KW_FAKE_STALL), 3, KW_ERR_LIMIT,
     KW_EFFECT_DONE, KW_ERR_CLOSED},
};

/* "INCR foo{foo}0" to "INCR foo{foo}9" are cut off as the row says; others to foo get 100, to bar
 * 9. */
static inline void arrange_cut(const cut *row)
{
    kw_fake_on(fakes[1], 2, "INCR foo*", KW_FAKE_STEPS(KW_FAKE_END));
    kw_fake_step steps[8] = {KW_FAKE_SEND(":1\r\n:1\r\n")}; /* all three in one piece */
    size_t n = 1;
    for (size_t k = 0; row->steps[k].act != KW_FAKE_DO_END; k++) {
        steps[n++] = row->steps[k];
    }
    kw_fake_on(fakes[1], 1, "INCR foo*", steps);
    kw_fake_on(fakes[1], 7, "INCR foo*", KW_FAKE_STEPS(KW_FAKE_STALL));
    answer(fakes[1], "INCR foo*", ":100");
    answer(fakes[0], "INCR bar", ":9");
}

/* What command number at, which has no reply, is told. */
static inline void expect_cut(const cut *row, size_t at, const kw_error *error)
{
    char what[40];
    bool is_first = at == row->answered_n;
    snprintf(what, sizeof(what), "command %zu", at);
    expect_error(what, error, is_first ? row->first : row->others,
                 is_first ? row->first_effect : KW_EFFECT_MAYBE);
    assert_int_equal(error->attempts, 1);
    assert_string_equal(error->node, kw_fake_address(fakes[1]));
}

static inline void expect_each_sent_once(void)
{
    for (int i = 0; i < 10; i++) {
        char pattern[40];
        snprintf(pattern, sizeof(pattern), "INCR foo{foo}%d", i);
        assert_int_equal(kw_fake_count(fakes[1], pattern), 1);
    }
}

#endif

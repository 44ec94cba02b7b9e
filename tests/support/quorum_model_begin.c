/* SPDX-License-Identifier: BSD-3-Clause */
/* Quorum model: what a setup means, and what copies hold at first. */
#include "support/quorum_model_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void model_init(model *self, kw_model_result *result, const kw_model_setup *setup)
{
    memset(result, 0, sizeof(*result));
    memset(self, 0, sizeof(*self));
    self->setup = setup;
    self->result = result;
    if (!kw_quorum_rule_set(&self->rule, setup->copies_n, setup->write_n, setup->read_n, false)) {
        fputs("quorum_model: quorums do not meet\n", stderr);
        exit(1);
    }
    self->rule.linger_ms = LINGER_MS;
    self->salt = UINT64_C(0x9e3779b97f4a7c15) + (uint64_t)setup->start;
    for (unsigned i = 0; i < KW_MODEL_CLIENTS_MAX; i++) {
        for (unsigned k = 0; k < KW_MODEL_ACTS_MAX; k++) {
            self->salt = (self->salt ^ (uint64_t)setup->acts[i][k]) * UINT64_C(0xff51afd7ed558ccd);
            self->salt ^= self->salt >> 29;
        }
    }
}

static void put_first(model_copy *copy, uint64_t time, unsigned value, uint64_t life_ms)
{
    kw_quorum_ask ask;
    kw_test_copy_answer out;
    memset(&ask, 0, sizeof(ask));
    ask.kind = KW_QUORUM_PUT;
    ask.record.stamp.time = time;
    ask.record.origin = ask.record.stamp;
    ask.record.is_tombstone = value == 0;
    ask.record.is_mortal = life_ms == LIFE_MS;
    ask.record.linger_ms = ask.record.is_mortal ? LINGER_MS : 0;
    ask.record.value.data = model_value_byte(value);
    ask.record.value.len = value != 0 ? 1 : 0;
    ask.life_ms = life_ms + ask.record.linger_ms;
    kw_test_copy_do(&copy->key, &out, &ask, NOW_MS);
}

void model_begin(const model *self, model_state *state)
{
    static const kw_test_copy_planted faults[KW_MODEL_PLANTED_N] = {
        [KW_MODEL_NO_FLOOR] = KW_TEST_COPY_NO_FLOOR,
        [KW_MODEL_PROMISE_EXPIRES] = KW_TEST_COPY_PROMISE_EXPIRES,
        [KW_MODEL_NO_VERSION_CHECK] = KW_TEST_COPY_TAKES_ALL,
        [KW_MODEL_NO_BRINGING_HOME] = KW_TEST_COPY_KEEPS_NOTHING,
        [KW_MODEL_REFUSAL_EXPIRES] = KW_TEST_COPY_REFUSAL_EXPIRES,
        [KW_MODEL_BASE_ENDS] = KW_TEST_COPY_BASE_ENDS,
    };
    const kw_model_setup *setup = self->setup;
    memset(state, 0, sizeof(*state));
    state->time = FIRST_TIME;
    if (setup->has_join) {
        state->copies[setup->copies_n].key.planted = faults[setup->planted];
        state->copies[setup->copies_n].is_silent = setup->planted != KW_MODEL_UNREPAIRED;
    }
    for (unsigned i = 0; i < setup->copies_n; i++) {
        model_copy *copy = &state->copies[i];
        bool is_last = i + 1 == setup->copies_n;
        copy->key.planted = faults[setup->planted];
        switch (setup->start) {
        case KW_MODEL_EMPTY:
        case KW_MODEL_STARTS_N:
            break;
        case KW_MODEL_ALONE:
            if (is_last) {
                put_first(copy, FIRST_TIME - 2, 2, 0);
            }
            break;
        case KW_MODEL_VALUE:
            put_first(copy, FIRST_TIME, 1, 0);
            break;
        case KW_MODEL_MORTAL:
            put_first(copy, FIRST_TIME, 1, LIFE_MS);
            break;
        case KW_MODEL_ENDING:
            put_first(copy, FIRST_TIME, 0, 1);
            break;
        case KW_MODEL_BEHIND:
            put_first(copy, is_last ? FIRST_TIME - 2 : FIRST_TIME, is_last ? 2 : 1, 0);
            break;
        case KW_MODEL_MAD:
            put_first(copy, is_last ? BOUND : FIRST_TIME, is_last ? 3 : 1, 0);
            break;
        }
    }
}

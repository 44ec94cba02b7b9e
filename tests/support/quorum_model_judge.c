/* SPDX-License-Identifier: BSD-3-Clause */
/* Quorum model: whether one register could have told what clients saw, and how steps read. */
#include "support/quorum_model_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ACTS_MAX   64u
#define MEMORY_N   (1u << 20)
#define STATES_MAX 1000000u

const char *kw_model_act_name(kw_model_act act)
{
    static const char *const names[] = {"none", "get",     "set",  "set-ttl",   "delete",
                                        "add",  "add-ttl", "swap", "delete-if", "repair"};
    return names[act];
}

const char *kw_model_start_name(kw_model_start start)
{
    static const char *const names[] = {"empty",  "value", "mortal", "ending",
                                        "behind", "alone", "mad"};
    return names[start];
}

const char *kw_model_planted_name(kw_model_planted planted)
{
    static const char *const names[] = {"sound",
                                        "no floor",
                                        "no write back",
                                        "promise that expires",
                                        "no version check",
                                        "W=1",
                                        "tombstone shorter than a hint",
                                        "no bringing home",
                                        "stamp unchecked",
                                        "refusal that expires",
                                        "clock unchecked",
                                        "member that joins unrepaired",
                                        "repair that began before a loss",
                                        "repair that began beside a call",
                                        "value that ends below a swap"};
    return names[planted];
}

/* A write of value that began with the world. */
static void add_act(kw_test_act *acts, size_t *n, kw_test_act_kind kind, uint64_t value,
                    uint64_t expected, uint64_t begin, uint64_t end)
{
    kw_test_act act = {kind, value, expected, begin, end, 0};
    if (*n == ACTS_MAX) {
        fputs("quorum_model: too many acts\n", stderr);
        exit(1);
    }
    acts[(*n)++] = act;
}

static void add_start(const model *self, kw_test_act *acts, size_t *n)
{
    switch (self->setup->start) {
    case KW_MODEL_EMPTY:
    case KW_MODEL_ENDING:
    case KW_MODEL_STARTS_N:
        break;
    case KW_MODEL_ALONE:
        add_act(acts, n, KW_TEST_WRITE, 2, 0, 0, KW_TEST_NEVER);
        break;
    case KW_MODEL_MORTAL:
        add_act(acts, n, KW_TEST_EXPIRE, 1, 0, 2, KW_TEST_NEVER);
        add_act(acts, n, KW_TEST_WRITE, 1, 0, 2, 3);
        break;
    case KW_MODEL_BEHIND:
        add_act(acts, n, KW_TEST_WRITE, 2, 0, 0, 1);
        add_act(acts, n, KW_TEST_WRITE, 1, 0, 2, 3);
        break;
    case KW_MODEL_VALUE:
    case KW_MODEL_MAD:
        add_act(acts, n, KW_TEST_WRITE, 1, 0, 2, 3);
        break;
    }
}

static bool has_life(kw_model_act what)
{
    return what == KW_MODEL_SET_TTL || what == KW_MODEL_ADD_TTL;
}

/* The act that began with the event. */
static void make_act(const model *self, const model_state *state, size_t index, kw_test_act *act)
{
    const model_event *begin = &state->events[index];
    kw_model_act what =
        begin->client == LOOKER ? KW_MODEL_GET : self->setup->acts[begin->client][begin->act];
    memset(act, 0, sizeof(*act));
    act->client = begin->client;
    act->begin = 10 + index;
    act->end = KW_TEST_NEVER;
    act->value = model_value(begin->client, begin->act, what);
    bool is_read = what == KW_MODEL_GET || what == KW_MODEL_REPAIR;
    bool is_plain = what == KW_MODEL_SET || what == KW_MODEL_SET_TTL || what == KW_MODEL_DELETE;
    act->kind = is_read ? KW_TEST_READ : is_plain ? KW_TEST_WRITE : KW_TEST_SWAP;
    act->expected = what == KW_MODEL_SWAP || what == KW_MODEL_DELETE_IF ? 1 : 0;
    for (size_t i = index + 1; i < state->events_n; i++) {
        const model_event *end = &state->events[i];
        if (end->client != begin->client || end->act != begin->act) {
            continue;
        }
        act->end = 10 + i;
        act->kind = end->what == EVENT_MISMATCH ? KW_TEST_MISMATCH : act->kind;
        act->value = is_read || end->what == EVENT_MISMATCH ? end->value : act->value;
        break;
    }
}

/* The first value, once it was seen to be gone, is found by no swap that begins after that. */
static bool has_late_swap(const kw_test_act *acts, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < n; k++) {
            bool is_gone = (acts[k].kind == KW_TEST_READ || acts[k].kind == KW_TEST_MISMATCH) &&
                           acts[k].value == 0;
            if (acts[i].kind == KW_TEST_SWAP && acts[i].expected == 1 &&
                acts[i].end != KW_TEST_NEVER && is_gone && acts[k].end < acts[i].begin) {
                return true;
            }
        }
    }
    return false;
}

static bool judge(const model *self, const model_state *state)
{
    kw_test_act acts[ACTS_MAX];
    size_t n = 0;
    add_start(self, acts, &n);
    for (size_t i = 0; i < state->events_n; i++) {
        const model_event *event = &state->events[i];
        if (event->client == LOOKER && event->what == EVENT_MISMATCH) {
            return false; /* what was written can be read by nobody */
        }
        if (event->what != EVENT_BEGIN) {
            continue;
        }
        kw_test_act act;
        make_act(self, state, i, &act);
        add_act(acts, &n, act.kind, act.value, act.expected, act.begin, act.end);
        if (event->client != LOOKER && has_life(self->setup->acts[event->client][event->act])) {
            add_act(acts, &n, KW_TEST_EXPIRE, act.value, 0, act.begin, KW_TEST_NEVER);
        }
    }
    return !has_late_swap(acts, n) &&
           kw_test_history_check(acts, n, STATES_MAX) != KW_TEST_VIOLATION;
}

uint64_t model_told(const model_state *state)
{
    uint64_t hash = UINT64_C(0x9e3779b97f4a7c15);
    for (unsigned i = 0; i < state->events_n; i++) {
        uint32_t word = 0;
        memcpy(&word, &state->events[i], sizeof(word));
        hash = (hash ^ word) * UINT64_C(0xff51afd7ed558ccd);
        hash ^= hash >> 32;
    }
    return hash != 0 ? hash : 1;
}

/* Most histories were judged before. */
bool model_is_sound(const model *self, const model_state *state)
{
    static uint64_t known[MEMORY_N]; /* their last bit says how */
    uint64_t hash = model_told(state) ^ self->salt;
    uint64_t *place = &known[hash >> 44];
    if ((*place | 1u) == (hash | 1u)) {
        return (*place & 1u) != 0;
    }
    bool is_sound = judge(self, state);
    *place = (hash & ~UINT64_C(1)) | (is_sound ? 1u : 0u);
    self->result->checks_n++;
    return is_sound;
}

static void tell_record(char *out, size_t room, const model_message *sent)
{
    static const char *const kinds[] = {"get", "put", "prepare", "seal"};
    kw_record record = sent->record;
    if (!sent->has_record) {
        snprintf(out, room, "%s%s", kinds[sent->kind], sent->state == MESSAGE_BACK ? " back" : "");
        return;
    }
    snprintf(out, room, "%s%s %llu.%llu%s%s%s v%d promise %llu%s", kinds[sent->kind],
             sent->state == MESSAGE_BACK ? (sent->is_taken ? " taken" : " refused") : "",
             (unsigned long long)record.stamp.time, (unsigned long long)record.stamp.writer,
             record.is_tombstone ? " dead" : "", record.is_mortal ? " mortal" : "",
             record.is_copied ? " copied" : "",
             record.value.len > 0 ? (int)record.value.data[0] : 0,
             (unsigned long long)record.promise.time, sent->is_hint ? " hint" : "");
}

void model_tell_step(char *out, size_t room, const model_state *state, const model_step *step)
{
    static const char *const names[] = {"starts",     "reaches",    "answers",  "is refused by",
                                        "is lost",    "is doubled", "is late",  "is a hint",
                                        "is dropped", "has time",   "deadline", "dies",
                                        "life ends",  "key ends",   "remember", "stops",
                                        "back",       "back empty", "back old", "look"};
    bool is_message = step->kind >= STEP_REACH && step->kind <= STEP_DROP;
    if (!is_message) {
        snprintf(out, room, "  %s %u %s (%u)\n",
                 step->kind == STEP_START || (step->kind >= STEP_TIME && step->kind <= STEP_DIE)
                     ? "client"
                     : "copy",
                 step->who, names[step->kind], step->variant + 10u * step->clock);
        return;
    }
    const model_message *sent = &state->messages[step->who];
    char text[120];
    tell_record(text, sizeof(text), sent);
    snprintf(out, room, "  client %u act %u copy %u: %s %s (%u)\n", sent->client, sent->act,
             sent->copy, text, names[step->kind], step->variant + 10u * step->clock);
}

void model_tell_story(const model *self, const model_state *states, const model_step *steps,
                      unsigned depth)
{
    char *story = self->result->story;
    size_t room = sizeof(self->result->story);
    size_t len = 0;
    for (unsigned i = 0; i <= depth && len + 200 < room; i++) {
        model_tell_step(story + len, room - len, &states[i], &steps[i]);
        len += strlen(story + len);
    }
    const model_state *last = &states[depth + 1];
    for (unsigned i = 0; i < last->events_n && len + 60 < room; i++) {
        const model_event *event = &last->events[i];
        static const char *const names[] = {"begins", "done", "mismatch"};
        len += (size_t)snprintf(story + len, room - len, "    client %u act %u %s %u\n",
                                event->client, event->act, names[event->what], event->value);
    }
}

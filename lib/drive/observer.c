/* SPDX-License-Identifier: BSD-3-Clause */
/* Observer: measures tries, by node, class and slot, and keeps the story of calls that take long.
 */
#include "drive/observer.h"

#include <keyway/measure.h>
#include <keyway/slow.h>

#include "drive/driver.h"
#include "net/latencies.h"

#include <stdio.h>
#include <string.h>

#define NODE_SHOWN    100
#define VERDICT_SHOWN 96

typedef struct told_try {
    kw_slow_try told;
    char node[NODE_SHOWN];
    char verdict[VERDICT_SHOWN];
} told_try;

struct kw_story {
    uint64_t end_ns; /* of the last try */
    size_t n;
    uint64_t forgotten_us; /* of those that are past the bound, but the last */
    told_try tries[KW_SLOW_TRIES_MAX];
};

static kw_command_class class_of(const kw_plan *plan)
{
    unsigned flags = plan->command != NULL ? kw_command_flags(plan->command) : KW_COMMAND_WRITE;
    if (plan->is_script || (flags & KW_COMMAND_SCRIPT) != 0) {
        return strcmp(kw_plan_name(plan), "EXEC") == 0 ? KW_COMMAND_CLASS_MULTI
                                                       : KW_COMMAND_CLASS_SCRIPT;
    }
    if (plan->command != NULL && kw_command_request(plan->command) == KW_REQUEST_MULTI_SHARD) {
        return KW_COMMAND_CLASS_MULTI;
    }
    if ((flags & KW_COMMAND_WRITE) != 0) {
        return KW_COMMAND_CLASS_WRITE;
    }
    bool has_key = plan->kind == KW_PLAN_SLOT || plan->kind == KW_PLAN_POSITION;
    return has_key || (flags & KW_COMMAND_READ) != 0 ? KW_COMMAND_CLASS_READ
                                                     : KW_COMMAND_CLASS_OTHER;
}

/* The node's histograms, new if need be; NULL when there is no memory. */
static kw_latencies *need_latencies(const kw_topology *topology, kw_node *node)
{
    kw_latencies *known = atomic_load_explicit(&node->latencies, memory_order_acquire);
    if (known != NULL) {
        return known;
    }
    kw_latencies *fresh = kw_mem_calloc(&topology->env.mem, 1, sizeof(*fresh));
    if (fresh != NULL && !atomic_compare_exchange_strong(&node->latencies, &known, fresh)) {
        kw_mem_free(&topology->env.mem, fresh); /* another thread was faster */
        return known;
    }
    return fresh;
}

static void measure(kw_topology *topology, const kw_seen_try *seen, uint64_t begin_ns,
                    unsigned measures)
{
    const kw_plan *plan = seen->plan;
    kw_heat *heat = atomic_load_explicit(&topology->heat, memory_order_acquire);
    if ((measures & KW_MEASURE_HEAT) != 0 && heat != NULL && plan->kind == KW_PLAN_SLOT &&
        plan->slot < KW_SLOTS_N) {
        atomic_fetch_add_explicit(&heat->slots[plan->slot], 1, memory_order_relaxed);
    }
    kw_latencies *latencies =
        (measures & KW_MEASURE_LATENCY) != 0 ? need_latencies(topology, seen->node) : NULL;
    if (latencies != NULL) {
        kw_command_class of = class_of(plan);
        kw_histogram_add(&latencies->of[KW_LATENCY_QUEUE][of], seen->sent_ns - begin_ns);
        kw_histogram_add(&latencies->of[KW_LATENCY_SERVICE][of], seen->now_ns - seen->sent_ns);
    }
}

/* The first word of a server's error, and where it redirects to; the rest may be a user's data. */
static void write_verdict(char *out, size_t out_len, const kw_reply *reply)
{
    out[0] = '\0';
    if (reply == NULL || !kw_reply_is_error(reply)) {
        return;
    }
    kw_bytes text = kw_reply_bytes(reply);
    bool is_redirect = kw_bytes_starts(text, "MOVED ") || kw_bytes_starts(text, "ASK ") ||
                       kw_bytes_starts(text, "REDIRECT ");
    size_t len = 0;
    while (len < text.len && len < out_len - 1 && (is_redirect || text.data[len] != ' ') &&
           text.data[len] > 0x1f && text.data[len] < 0x7f) {
        out[len] = text.data[len];
        len++;
    }
    out[len] = '\0';
}

/* Keeps a try; without memory it is not told of. */
static void keep(kw_topology *topology, kw_story **story, const kw_seen_try *seen,
                 uint64_t begin_ns)
{
    if (*story == NULL) {
        *story = kw_mem_alloc(&topology->env.mem, sizeof(**story));
        if (*story == NULL) {
            return;
        }
        (*story)->n = 0;
        (*story)->forgotten_us = 0;
    }
    kw_story *self = *story;
    told_try *at = &self->tries[self->n < KW_SLOW_TRIES_MAX ? self->n : KW_SLOW_TRIES_MAX - 1];
    uint64_t sent_ns = seen->sent_ns > 0 ? seen->sent_ns : seen->now_ns;
    self->forgotten_us += self->n >= KW_SLOW_TRIES_MAX ? at->told.wait_us + at->told.service_us : 0;
    at->told.size = sizeof(at->told);
    at->told.code = seen->reply != NULL ? KW_OK : seen->code;
    at->told.wait_us = (sent_ns - begin_ns) / 1000;
    at->told.service_us = (seen->now_ns - sent_ns) / 1000;
    snprintf(at->node, sizeof(at->node), "%.99s", seen->node != NULL ? seen->node->name : "");
    write_verdict(at->verdict, sizeof(at->verdict), seen->reply);
    at->told.node = at->node;
    at->told.verdict = at->verdict;
    self->n++;
    self->end_ns = seen->now_ns;
}

/* Calls that take longer are told; UINT64_MAX: none is. */
static uint64_t slow_ns(const kw_topology *topology)
{
    uint64_t slow_ms = topology->slow != NULL ? topology->env.options.slow_ms : 0;
    return slow_ms > 0 ? slow_ms * KW_NS_PER_MS : UINT64_MAX;
}

static void on_try(kw_topology *topology, kw_story **story, const kw_seen_try *seen)
{
    if (seen->plan->is_internal) {
        return;
    }
    uint64_t begin_ns = *story != NULL ? (*story)->end_ns : seen->plan->start_ns;
    kw_seen_try ordered = *seen; /* clocks of threads are read in any order */
    begin_ns = begin_ns < seen->now_ns ? begin_ns : seen->now_ns;
    if (ordered.sent_ns > 0) {
        ordered.sent_ns = ordered.sent_ns > begin_ns ? ordered.sent_ns : begin_ns;
        ordered.sent_ns = ordered.sent_ns < seen->now_ns ? ordered.sent_ns : seen->now_ns;
    }
    unsigned measures = atomic_load_explicit(&topology->measures, memory_order_relaxed);
    if (measures != 0 && seen->reply != NULL && seen->node != NULL && ordered.sent_ns > 0) {
        measure(topology, &ordered, begin_ns, measures);
    }
    uint64_t limit_ns = slow_ns(topology);
    bool is_last = seen->reply != NULL && !kw_reply_is_error(seen->reply);
    bool is_fast = seen->now_ns - seen->plan->start_ns < limit_ns;
    if (limit_ns != UINT64_MAX && !(is_last && is_fast)) {
        keep(topology, story, &ordered, begin_ns);
    }
}

/* Adds to a line of which len bytes are written; the new length. */
KW_FORMAT(4, 5)
static size_t append(char *line, size_t max, size_t len, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    int n = vsnprintf(line + len, max - len, format, values);
    va_end(values);
    size_t more = n > 0 ? (size_t)n : 0;
    return len + more < max ? len + more : max - 1;
}

static double ms_of(uint64_t us)
{
    return (double)us / 1000;
}

static const char *end_of(const kw_slow_try *at)
{
    return at->code != KW_OK        ? kw_err_name(at->code)
           : at->verdict[0] != '\0' ? at->verdict
                                    : "answered";
}

/* Tries from there on that went to one node and ended alike; what they took. */
static size_t count_alike(const kw_slow_call *call, size_t from, size_t to, uint64_t *took_us)
{
    const kw_slow_try *first = call->tries[from];
    size_t at = from;
    *took_us = 0;
    while (at < to && strcmp(first->node, call->tries[at]->node) == 0 &&
           strcmp(end_of(first), end_of(call->tries[at])) == 0) {
        *took_us += call->tries[at]->wait_us + call->tries[at]->service_us;
        at++;
    }
    return at - from;
}

/* A line that is written, and how much of it is. */
typedef struct story_line {
    char *line;
    size_t max;
    size_t len;
} story_line;

static void write_tries(story_line *out, const kw_slow_call *call, size_t from, size_t to)
{
    for (size_t n; from < to; from += n) {
        const kw_slow_try *at = call->tries[from];
        uint64_t took_us;
        n = count_alike(call, from, to, &took_us);
        out->len = append(out->line, out->max, out->len, "%s %s", from == 0 ? ":" : ";",
                          at->node[0] != '\0' ? at->node : "no node");
        if (n > 1) {
            out->len = append(out->line, out->max, out->len, " %zu times %s in %.1f ms", n,
                              end_of(at), ms_of(took_us));
        } else {
            out->len = append(out->line, out->max, out->len, " waited %.1f ms, %s after %.1f ms",
                              ms_of(at->wait_us), end_of(at), ms_of(at->service_us));
        }
    }
}

/* more_n: tries before the last one that were not kept, and took more_us. */
static void write_line(story_line *out, const kw_slow_call *call, size_t more_n, uint64_t more_us)
{
    out->len =
        append(out->line, out->max, 0, "%s took %.1f ms", call->command, ms_of(call->elapsed_us));
    if (call->slot >= 0) {
        out->len = append(out->line, out->max, out->len, " (slot %d)", call->slot);
    }
    if (call->code != KW_OK) {
        out->len = append(out->line, out->max, out->len, ", %s, effect %s", kw_err_name(call->code),
                          kw_effect_name(call->effect));
    }
    size_t last = call->tries_n - (more_n > 0 ? 1 : 0);
    write_tries(out, call, 0, last);
    if (more_n > 0) {
        out->len = append(out->line, out->max, out->len, "; %zu more tries in %.1f ms", more_n,
                          ms_of(more_us));
        write_tries(out, call, last, call->tries_n);
    }
}

static void on_end(kw_topology *topology, const kw_story *story, const kw_seen_end *seen)
{
    const kw_plan *plan = seen->plan;
    uint64_t elapsed_ns = seen->now_ns > plan->start_ns ? seen->now_ns - plan->start_ns : 0;
    if (elapsed_ns < slow_ns(topology) || plan->is_internal || plan->start_ns == 0) {
        return;
    }
    const kw_slow_try *tries[KW_SLOW_TRIES_MAX];
    char line[1024];
    story_line out = {line, sizeof(line), 0};
    kw_slow_call call = {.size = sizeof(call), .command = kw_plan_name(plan), .slot = -1};
    call.slot = plan->kind == KW_PLAN_SLOT && kw_driver_has_slots(topology) ? plan->slot : -1;
    call.elapsed_us = elapsed_ns / 1000;
    call.code = seen->code;
    call.effect = seen->effect;
    call.tries = tries;
    call.text = line;
    size_t n = story != NULL ? story->n : 0;
    call.tries_n = n < KW_SLOW_TRIES_MAX ? n : KW_SLOW_TRIES_MAX;
    for (size_t i = 0; i < call.tries_n; i++) {
        tries[i] = &story->tries[i].told;
    }
    write_line(&out, &call, n - call.tries_n, n > 0 ? story->forgotten_us : 0);
    topology->slow(topology->slow_arg, &call);
}

const kw_observer *kw_observer_get(void)
{
    static const kw_observer observer = {on_try, on_end};
    return &observer;
}

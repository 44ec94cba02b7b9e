/* SPDX-License-Identifier: BSD-3-Clause */
/* A thread that hears the channels: each message once, in order, and a gap is told before the first
 * one behind what is missing. */
#include "sim/callers.h"
#include "sim/run.h"
#include "sim/world.h"

#include <stdio.h>
#include <string.h>

#define C sim_the_crew
#define W sim_the_world

#define TAKE_MS 300

/* Once all is well messages come again so soon: the longest pause between two connections, and what
 * it takes to open one. */
#define AGAIN_NS (6 * SIM_S)

static struct {
    unsigned source[SIM_CHANNELS]; /* whose the last message was, but of a ring 0 */
    unsigned last[SIM_CHANNELS];   /* its number; 0: none yet */
    unsigned last_of[SIM_SERVERS][SIM_CHANNELS];
    bool has_gap[SIM_CHANNELS];
    unsigned healed[SIM_SERVERS][SIM_CHANNELS]; /* what was published when all got well */
    uint64_t heal_ns;
} ears;

static void on_gap(const kw_message *message)
{
    sim_say("hears of a gap: %s", kw_message_bytes(message, NULL));
    size_t n = kw_message_topics_n(message);
    for (unsigned i = 0; i < SIM_CHANNELS && n == 0; i++) {
        ears.has_gap[i] = true;
    }
    for (size_t i = 0; i < n; i++) {
        const char *name = kw_message_topic(message, NULL, NULL, i);
        ears.has_gap[name[1] - '0'] = true;
    }
}

static void on_number(const kw_message *message)
{
    unsigned channel = (unsigned)(kw_message_channel(message, NULL)[1] - '0');
    unsigned source = 0;
    unsigned number = 0;
    (void)sscanf(kw_message_bytes(message, NULL), "%u.%u", &source, &number);
    unsigned last = ears.last[channel];
    sim_say("hears %u of channel %u, from %u", number, channel, source);
    if (number == 0 || source >= SIM_SERVERS || number > W.published[source][channel]) {
        sim_fail("a message of channel %u that nobody has published: %u", channel, number);
    }
    if (number <= ears.last_of[source][channel]) {
        sim_fail("message %u of channel %u comes behind %u", number, channel,
                 ears.last_of[source][channel]);
    }
    if (last != 0 && source != ears.source[channel] && !ears.has_gap[channel]) {
        sim_fail("channel %u was heard from server %u, now from %u, and no gap was told", channel,
                 ears.source[channel], source);
    }
    if (last != 0 && source == ears.source[channel] && number > last + 1 &&
        !ears.has_gap[channel]) {
        sim_fail("messages %u to %u of channel %u are missing, and no gap was told", last + 1,
                 number - 1, channel);
    }
    ears.source[channel] = source;
    ears.last[channel] = number;
    ears.last_of[source][channel] = number;
    ears.has_gap[channel] = false;
}

static bool is_number(const kw_message *message)
{
    return kw_message_type(message) ==
           (C.plan->is_sharded ? KW_MESSAGE_SHARDED : KW_MESSAGE_CHANNEL);
}

static void take(kw_subscriber *subscriber, kw_error *error)
{
    uint64_t begin_ns = sim_now();
    kw_message *message = kw_subscriber_take(subscriber, error, TAKE_MS);
    bool is_bound = C.plan->mix.block_ns == 0 && (!C.plan->has_names || C.plan->has_thread);
    if (is_bound && sim_now() > begin_ns + (TAKE_MS + 2) * SIM_MS) {
        sim_fail("kw_subscriber_take of %d ms took %lu us", TAKE_MS,
                 (unsigned long)((sim_now() - begin_ns) / SIM_US));
    }
    if (message != NULL && kw_message_type(message) == KW_MESSAGE_GAP) {
        on_gap(message);
    } else if (message != NULL && is_number(message)) {
        on_number(message);
    } else if (message == NULL && error->code != KW_ERR_TIMEOUT && error->code != KW_ERR_NOMEM &&
               error->code != KW_ERR_CANCELLED && error->code != KW_ERR_DRAINING) {
        sim_fail("a subscriber is told %s: %s", kw_err_name(error->code), error->text);
    }
    kw_message_free(message);
}

/* All is well, and each channel has been heard since. */
static bool has_heard_all(void)
{
    if (C.heal_ns == SIM_NEVER) {
        return false;
    }
    if (ears.heal_ns != C.heal_ns) {
        ears.heal_ns = C.heal_ns;
        memcpy(ears.healed, W.published, sizeof(ears.healed));
    }
    unsigned heard_n = 0;
    for (unsigned i = 0; i < C.plan->channels_n; i++) {
        heard_n += ears.last[i] > ears.healed[ears.source[i]][i] ? 1 : 0;
    }
    uint64_t limit_ns = AGAIN_NS + 2 * SIM_TRIPS * C.plan->latency_ns;
    bool is_slow = C.plan->has_names || C.plan->mix.block_ns > 0;
    if (heard_n < C.plan->channels_n && sim_now() > C.heal_ns + limit_ns && !is_slow) {
        sim_fail("all is well for %lu ms, and a subscriber hears nothing",
                 (unsigned long)(limit_ns / SIM_MS));
    }
    return heard_n == C.plan->channels_n || is_slow;
}

static void run_listener(void *arg)
{
    (void)arg;
    kw_error error = KW_ERROR_INIT;
    kw_subscriber *subscriber = kw_subscriber_open(C.clients[0], &error, NULL);
    bool has_all = subscriber != NULL;
    for (unsigned i = 0; i < C.plan->channels_n && has_all; i++) {
        char name[16];
        kw_topic_kind kind = C.plan->is_sharded ? KW_TOPIC_SHARDED : KW_TOPIC_CHANNEL;
        sim_messages_name(name, sizeof(name), i);
        has_all = kw_subscribe(subscriber, &error, kind, name, strlen(name)) == KW_OK;
    }
    error.code = KW_OK;
    while (has_all && error.code != KW_ERR_CANCELLED && error.code != KW_ERR_DRAINING &&
           !C.is_closing && !has_heard_all()) {
        error.code = KW_OK;
        take(subscriber, &error);
    }
    kw_subscriber_close(subscriber);
    C.callers_left--;
    sim_wake(C.keeper);
}

void sim_listener_begin(const sim_plan *plan)
{
    memset(&ears, 0, sizeof(ears));
    if (plan->channels_n > 0) {
        C.callers_left++;
        sim_spawn("listener", run_listener, NULL);
    }
}

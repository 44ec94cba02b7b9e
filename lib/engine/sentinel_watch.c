/* SPDX-License-Identifier: BSD-3-Clause */
/* Keeps the list of sentinels in the order in which to ask them, and counts what they said. */
#include "engine/sentinel_watch.h"

#include <string.h>

/* One in so many fetches asks a suspect with the usual time-out, the others with a short one. */
#define PATIENT_EVERY 4u

kw_err kw_sentinel_watch_init(kw_sentinel_watch *watch, const kw_allocator *mem,
                              const kw_endpoint *configured, size_t configured_n)
{
    memset(watch, 0, sizeof(*watch));
    watch->entries =
        kw_mem_calloc(mem, configured_n + KW_SENTINELS_LEARNT_MAX, sizeof(watch->entries[0]));
    if (watch->entries == NULL) {
        return KW_ERR_NOMEM;
    }
    watch->mem = *mem;
    watch->configured_n = configured_n;
    watch->entries_n = configured_n;
    for (size_t i = 0; i < configured_n; i++) {
        watch->entries[i].endpoint = configured[i];
        watch->entries[i].is_configured = true;
    }
    return KW_OK;
}

void kw_sentinel_watch_fini(kw_sentinel_watch *watch)
{
    if (watch->entries != NULL) {
        kw_mem_free(&watch->mem, watch->entries);
        watch->entries = NULL;
    }
}

void kw_sentinel_watch_on_start(kw_sentinel_watch *watch)
{
    memset(&watch->tally, 0, sizeof(watch->tally));
}

static bool find(const kw_sentinel_watch *watch, size_t *index, const kw_endpoint *endpoint)
{
    for (size_t i = 0; i < watch->entries_n; i++) {
        if (kw_endpoint_equal(&watch->entries[i].endpoint, endpoint)) {
            *index = i;
            return true;
        }
    }
    return false;
}

void kw_sentinel_watch_prefer(kw_sentinel_watch *watch, const kw_endpoint *sentinel)
{
    size_t index;
    if (find(watch, &index, sentinel) && index > 0) {
        kw_sentinel_entry front = watch->entries[index];
        memmove(&watch->entries[1], &watch->entries[0], index * sizeof(watch->entries[0]));
        watch->entries[0] = front;
    }
}

void kw_sentinel_watch_on_success(kw_sentinel_watch *watch, const kw_endpoint *sentinel)
{
    watch->suspect.host[0] = '\0';
    watch->suspect_n = 0;
    kw_sentinel_watch_prefer(watch, sentinel);
}

static bool is_named(const kw_endpoint *peers, size_t peers_n, const kw_endpoint *endpoint)
{
    for (size_t i = 0; i < peers_n; i++) {
        if (kw_endpoint_equal(&peers[i], endpoint)) {
            return true;
        }
    }
    return false;
}

void kw_sentinel_watch_learn(kw_sentinel_watch *watch, const kw_endpoint *peers, size_t peers_n)
{
    size_t index;
    size_t kept_n = 0;
    peers_n = peers_n < KW_SENTINELS_LEARNT_MAX ? peers_n : KW_SENTINELS_LEARNT_MAX;
    for (size_t i = 0; i < watch->entries_n; i++) {
        const kw_sentinel_entry *entry = &watch->entries[i];
        /* Nobody names itself: the one in front may have been learnt and have answered. */
        if (entry->is_configured || i == 0 || is_named(peers, peers_n, &entry->endpoint)) {
            watch->entries[kept_n++] = *entry;
        }
    }
    watch->entries_n = kept_n;
    size_t room_n = watch->configured_n + KW_SENTINELS_LEARNT_MAX;
    for (size_t i = 0; i < peers_n && watch->entries_n < room_n; i++) {
        if (!find(watch, &index, &peers[i])) {
            watch->entries[watch->entries_n].endpoint = peers[i];
            watch->entries[watch->entries_n++].is_configured = false;
        }
    }
}

void kw_sentinel_watch_on_failure(kw_sentinel_watch *watch, kw_err code, bool has_answered)
{
    kw_sentinel_tally *tally = &watch->tally;
    tally->asked_n++;
    tally->answered_n += has_answered ? 1 : 0;
    tally->unknown_n += code == KW_ERR_NO_SERVICE ? 1 : 0;
    tally->is_refused = tally->is_refused || (code == KW_ERR_AUTH && !has_answered);
}

bool kw_sentinel_watch_has_tried(const kw_sentinel_watch *watch, const kw_endpoint *primary)
{
    return kw_endpoint_equal(&watch->tally.tried, primary);
}

void kw_sentinel_watch_on_tried(kw_sentinel_watch *watch, const kw_endpoint *primary)
{
    watch->tally.tried = *primary;
}

kw_sentinel_advice kw_sentinel_watch_on_named(kw_sentinel_watch *watch, const kw_endpoint *primary,
                                              bool is_now)
{
    watch->tally.has_named = true;
    if (!kw_endpoint_equal(&watch->suspect, primary)) {
        return KW_SENTINEL_GO;
    }
    if (!is_now) {
        return KW_SENTINEL_LATER;
    }
    /* Now and then with patience: it may be far away, and no worse. */
    return watch->suspect_n % PATIENT_EVERY == 0 ? KW_SENTINEL_GO : KW_SENTINEL_GO_FAST;
}

/* Moves the first count entries behind the others. There are few, so one step at a time will do. */
static void rotate(kw_sentinel_watch *watch, size_t count)
{
    while (count-- > 0) {
        kw_sentinel_entry front = watch->entries[0];
        memmove(&watch->entries[0], &watch->entries[1],
                (watch->entries_n - 1) * sizeof(watch->entries[0]));
        watch->entries[watch->entries_n - 1] = front;
    }
}

kw_err kw_sentinel_watch_on_end(kw_sentinel_watch *watch, kw_err last)
{
    const kw_sentinel_tally *tally = &watch->tally;
    if (tally->tried.host[0] != '\0') {
        watch->suspect = tally->tried;
    }
    watch->suspect_n++;
    if (tally->asked_n < watch->entries_n) {
        rotate(watch, tally->asked_n);
    }
    if (last == KW_ERR_NOMEM) {
        return last;
    }
    if (tally->answered_n == 0) {
        return tally->is_refused ? KW_ERR_AUTH : KW_ERR_NO_SENTINEL;
    }
    if (tally->unknown_n > tally->asked_n / 2) {
        return KW_ERR_NO_SERVICE;
    }
    /* Most are out of reach, and what is left knows nothing. */
    return last == KW_ERR_NO_SERVICE ? KW_ERR_NO_SENTINEL : last;
}

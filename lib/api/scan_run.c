/* SPDX-License-Identifier: BSD-3-Clause */
/* Carries out what a walk says: its steps become requests, and what stands in their way failures.
 */
#include "api/scan_private.h"

#include "api/loop_calls.h"
#include "base/error.h"

static void begin(kw_scan_request *request)
{
    kw_error error = kw_error_none();
    if (!kw_scan_send(request, &error)) {
        kw_scan_on_failure(request, &error);
    }
}

/* The first command of a step; where it cannot be sent, the walk hears of that. */
static void begin_step(kw_scan *scan, const kw_scan_step *step)
{
    kw_scan_request *request = kw_scan_request_new(scan, KW_SCAN_NEEDS_STEP, step);
    if (request == NULL) {
        kw_scan_walk_on_failed(&scan->walk, step, false);
        return;
    }
    bool asks_nodes = scan->walk.spec.kind == KW_SCAN_OF_CLUSTER ||
                      (scan->walk.spec.kind == KW_SCAN_OF_KEY &&
                       scan->client->topology->env.options.scheme == KW_SCHEME_CLUSTER);
    request->question = asks_nodes ? KW_SCAN_ASKS_NODES : KW_SCAN_ASKS_INFO;
    begin(request);
}

/* Whom to ask; false where that is not known yet. */
static bool find_places(kw_scan *scan)
{
    if (scan->walk.wants_map && kw_env_has_fetch(&scan->client->topology->env)) {
        (void)kw_refresher_want(&scan->client->topology->refresher);
    }
    if (kw_scan_find_places(scan)) {
        return true;
    }
    if (scan->failure.code == KW_OK) {
        kw_scan_request *request = kw_scan_request_new(scan, KW_SCAN_NEEDS_MAP, NULL);
        if (request != NULL) {
            begin(request);
        }
    }
    return false;
}

bool kw_scan_need_call(kw_scan *scan, uint64_t at_ns)
{
    uint64_t until_ns = at_ns < scan->deadline_ns ? at_ns : scan->deadline_ns;
    if (scan->call_ns <= until_ns) {
        return true;
    }
    kw_scan_request *request = kw_scan_request_new(scan, KW_SCAN_NEEDS_TIME, NULL);
    if (request == NULL) {
        return false;
    }
    kw_callback callback = {scan->reply_fn, request};
    if (kw_client_pause(scan->client, &scan->failure, callback, until_ns) != KW_OK) {
        kw_scan_request_free(request);
        return false;
    }
    scan->call_ns = until_ns;
    return true;
}

/* What a pause is for in an event loop; who waits looks at until_ns itself. */
static void begin_pause(kw_scan *scan, uint64_t until_ns)
{
    scan->until_ns = until_ns;
    if (scan->is_async) {
        (void)kw_scan_need_call(scan, until_ns);
    }
}

static void fail_by_host(kw_scan *scan)
{
    scan->failure = scan->trouble;
}

static void fail_by_slot(kw_scan *scan, unsigned slot)
{
    const kw_scan_view *view = scan->walk.view;
    unsigned open_n = kw_scan_walk_open_n(&scan->walk);
    if (scan->walk.spec.kind == KW_SCAN_OF_HOSTS) {
        kw_error_set(&scan->failure, KW_ERR_NOT_SERVED, KW_EFFECT_NONE,
                     "there is no node whose keys could be walked");
        return;
    }
    if (view == NULL) { /* of one key */
        kw_error_set(&scan->failure, KW_ERR_TRY_AGAIN, KW_EFFECT_NONE,
                     "slot %u of the key is on its way to another node all the time; go on later",
                     scan->walk.spec.first);
        return;
    }
    bool is_owned = view->owner[slot] < KW_SCAN_TORN;
    kw_error_set(&scan->failure, is_owned ? KW_ERR_TRY_AGAIN : KW_ERR_NOT_SERVED, KW_EFFECT_NONE,
                 "slot %u %s; %u slots are still to be walked; go on later", slot,
                 is_owned ? "is in motion between nodes all the time, of which one is not known"
                          : "is served by no node, or by two",
                 open_n);
}

/* Does one step; false where nothing more can be done now. */
static bool do_step(kw_scan *scan, const kw_scan_step *step)
{
    switch (step->act) {
    case KW_SCAN_ROSTER:
        return find_places(scan);
    case KW_SCAN_ASK:
    case KW_SCAN_PAGE:
    case KW_SCAN_COUNT:
    case KW_SCAN_SLOT:
    case KW_SCAN_LARGE:
        begin_step(scan, step);
        return scan->failure.code == KW_OK;
    case KW_SCAN_WAIT:
        return false;
    case KW_SCAN_PAUSE:
        begin_pause(scan, step->until_ns);
        return false;
    case KW_SCAN_FAIL_HOST:
        fail_by_host(scan);
        return false;
    case KW_SCAN_FAIL_SLOT:
        fail_by_slot(scan, step->slot);
        return false;
    case KW_SCAN_END:
        scan->is_end = true;
        return false;
    }
    return false;
}

/* True while the first map is asked for. */
static bool is_mapless(const kw_scan *scan)
{
    const kw_scan_request *request = scan->under_way.head;
    while (request != NULL && request->need != KW_SCAN_NEEDS_MAP) {
        request = request->next;
    }
    return request != NULL;
}

void kw_scan_pump(kw_scan *scan)
{
    kw_scan_step step;
    scan->until_ns = 0;
    if (is_mapless(scan)) {
        return;
    }
    do {
        if (scan->failure.code != KW_OK || scan->is_end) {
            return;
        }
        step = kw_scan_walk_next(&scan->walk, kw_scan_now(scan));
    } while (do_step(scan, &step));
}

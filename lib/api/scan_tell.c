/* SPDX-License-Identifier: BSD-3-Clause */
/* What a scan has for its caller now: a batch, the end, or what stands in the way; and its
 * callback.
 */
#include "api/scan_private.h"

#include "base/error.h"
#include "drive/plan.h"

#include <string.h>

static kw_err take_failure(kw_scan *scan, kw_error *error)
{
    kw_error_copy(error, &scan->failure);
    kw_err code = scan->failure.code;
    kw_error_set(&scan->failure, KW_OK, KW_EFFECT_NONE, "%s", "");
    return code;
}

/* A batch of the size that the caller knows. */
static void clear(kw_scan_batch *batch)
{
    size_t size = batch->size;
    memset(batch, 0, sizeof(*batch));
    batch->size = size;
}

bool kw_scan_poll(kw_scan *scan, kw_error *error, kw_scan_batch *batch)
{
    kw_scan_taken taken;
    clear(batch);
    if (atomic_load_explicit(&scan->is_cancelled, memory_order_relaxed)) {
        kw_error_set(error, KW_ERR_CANCELLED, KW_EFFECT_NONE, "the scan was cancelled");
        return true;
    }
    do {
        kw_scan_pump(scan);
        taken = kw_scan_take(scan, batch);
    } while (taken == KW_SCAN_TOOK_EMPTY && kw_scan_now(scan) < scan->deadline_ns);
    if (taken == KW_SCAN_TOOK_KEYS) {
        scan->deadline_ns = kw_plan_deadline_ns(kw_scan_now(scan), scan->wish.timeout_ms);
        kw_scan_walk_stay(&scan->walk, scan->deadline_ns);
        kw_scan_pump(scan); /* for the next one */
        return true;
    }
    if (scan->failure.code != KW_OK) {
        (void)take_failure(scan, error);
        return true;
    }
    batch->is_end = scan->is_end;
    return scan->is_end || kw_scan_now(scan) >= scan->deadline_ns;
}

void kw_scan_free(kw_scan *scan)
{
    kw_allocator mem = scan->mem;
    kw_scan_end_requests(scan);
    kw_scan_wish_fini(scan);
    kw_scan_unique_fini(&scan->unique);
    kw_buf_fini(&scan->cursor);
    kw_mem_free(&mem, (void *)scan->texts);
    kw_mem_free(&mem, scan->lens);
    kw_mem_free(&mem, (void *)scan->tickets);
    kw_mem_free(&mem, scan);
}

void kw_scan_free_if_over(kw_scan *scan)
{
    bool is_awaited = scan->is_async && scan->under_way.n > 0;
    if (scan->is_closed && !scan->is_telling && !is_awaited) {
        kw_scan_free(scan);
    }
}

/* Calls the callback that is awaited, where there is something for it. The scan may be gone. */
static void tell(kw_scan *scan)
{
    kw_error error = kw_error_none();
    kw_scan_batch batch = KW_SCAN_BATCH_INIT;
    if (scan->callback.fn == NULL) {
        return; /* what has come is ready for the next call */
    }
    if (!kw_scan_poll(scan, &error, &batch)) {
        return;
    }
    kw_scan_callback callback = scan->callback;
    scan->callback.fn = NULL;
    scan->is_telling = true;
    bool is_well = error.code == KW_OK;
    callback.fn(callback.arg, is_well ? &batch : NULL, is_well ? NULL : &error);
    scan->is_telling = false;
    kw_scan_free_if_over(scan);
}

void kw_scan_on_end(void *arg, kw_reply *reply, const kw_error *error)
{
    kw_scan_request *request = arg;
    kw_scan *scan = request->scan;
    if (scan->is_closed) {
        kw_reply_free(reply);
        kw_scan_request_free(request);
        kw_scan_free_if_over(scan);
        return;
    }
    if (request->need == KW_SCAN_NEEDS_TIME) {
        scan->call_ns = UINT64_MAX; /* of others that are under way nothing depends */
        kw_scan_request_free(request);
        if (error != NULL && error->code != KW_ERR_TIMEOUT) {
            scan->failure = *error;
        }
    } else if (reply != NULL) {
        kw_scan_on_answer(request, reply);
    } else {
        kw_scan_on_failure(request, error);
    }
    if (scan->is_async) {
        tell(scan);
    }
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Requests of a scan: made, in one of three lists, freed. */
#include "api/scan_private.h"

#include "base/error.h"

static void push(kw_scan_requests *list, kw_scan_request *request)
{
    request->next = NULL;
    request->before = list->tail;
    *(list->tail != NULL ? &list->tail->next : &list->head) = request;
    list->tail = request;
    list->n++;
}

static void take_out(kw_scan_requests *list, kw_scan_request *request)
{
    *(request->before != NULL ? &request->before->next : &list->head) = request->next;
    *(request->next != NULL ? &request->next->before : &list->tail) = request->before;
    list->n--;
}

kw_scan_request *kw_scan_request_new(kw_scan *scan, kw_scan_need need, const kw_scan_step *step)
{
    kw_scan_request *request = kw_mem_calloc(&scan->mem, 1, sizeof(*request));
    bool wants_seen = need == KW_SCAN_NEEDS_STEP && step->act == KW_SCAN_ASK;
    kw_scan_seen *seen =
        request != NULL && wants_seen ? kw_mem_alloc(&scan->mem, sizeof(*seen)) : NULL;
    if (request == NULL || (wants_seen && seen == NULL)) {
        kw_mem_free(&scan->mem, request);
        kw_error_set(&scan->failure, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory for a scan");
        return NULL;
    }
    request->scan = scan;
    request->need = need;
    request->seen = seen;
    if (seen != NULL) {
        kw_scan_seen_init(seen);
    }
    if (step != NULL) {
        request->step = *step;
    }
    push(&scan->under_way, request);
    return request;
}

/* Frees it, which is in no list any more. */
static void destroy(kw_scan_request *request)
{
    const kw_allocator *mem = &request->scan->mem;
    kw_reply_free(request->reply);
    kw_mem_free(mem, request->seen);
    kw_mem_free(mem, request->is_kept);
    kw_ticket_free(request->ticket);
    kw_mem_free(mem, request);
}

void kw_scan_request_free(kw_scan_request *request)
{
    take_out(&request->scan->under_way, request);
    destroy(request);
}

void kw_scan_request_is_ready(kw_scan_request *request)
{
    take_out(&request->scan->under_way, request);
    push(&request->scan->ready, request);
}

kw_scan_request *kw_scan_request_give(kw_scan *scan)
{
    kw_scan_request *request = scan->ready.head;
    take_out(&scan->ready, request);
    push(&scan->given, request);
    return request;
}

static void end_list(kw_scan_requests *list)
{
    while (list->head != NULL) {
        kw_scan_request *request = list->head;
        take_out(list, request);
        destroy(request);
    }
}

void kw_scan_end_given(kw_scan *scan)
{
    end_list(&scan->given);
}

void kw_scan_end_requests(kw_scan *scan)
{
    end_list(&scan->under_way);
    end_list(&scan->ready);
    end_list(&scan->given);
}

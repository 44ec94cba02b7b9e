/* SPDX-License-Identifier: BSD-3-Clause */
/* keyway/quorum.h: what became of requests. */
#include "api/quorum_results.h"

#include "base/error.h"

#include <stddef.h>
#include <string.h>

kw_quorum_results *kw_quorum_results_new(const kw_allocator *mem, size_t n)
{
    size_t len;
    if (!kw_size_mul(&len, n, sizeof(kw_quorum_result_row)) ||
        !kw_size_add(&len, len, sizeof(kw_quorum_results))) {
        return NULL;
    }
    kw_quorum_results *results = kw_mem_alloc(mem, len);
    if (results == NULL) {
        return NULL;
    }
    results->mem = *mem;
    results->values = NULL;
    results->n = n;
    for (size_t i = 0; i < n; i++) {
        kw_quorum_result_row *row = &results->items[i];
        memset(row, 0, offsetof(kw_quorum_result_row, error));
        row->left_ms = -1;
    }
    return results;
}

kw_error *kw_quorum_result_fail(kw_quorum_result_row *row, kw_err code)
{
    row->code = code;
    memset(&row->error, 0, sizeof(row->error));
    row->error.size = sizeof(row->error);
    return &row->error;
}

static void fail_values(kw_quorum_results *results)
{
    for (size_t i = 0; i < results->n; i++) {
        kw_quorum_result_row *row = &results->items[i];
        if (row->value != NULL) {
            row->value = NULL;
            kw_error_set(kw_quorum_result_fail(row, KW_ERR_NOMEM), KW_ERR_NOMEM, KW_EFFECT_NONE,
                         "no memory for the value that was read");
        }
    }
}

void kw_quorum_results_own(kw_quorum_results *results)
{
    size_t len = 0;
    for (size_t i = 0; i < results->n; i++) { /* of what is in memory: no sum that overflows */
        const kw_quorum_result_row *row = &results->items[i];
        len += row->value != NULL ? row->value_len + 1 : 0;
    }
    char *place = len > 0 ? kw_mem_alloc(&results->mem, len) : NULL;
    if (place == NULL) {
        fail_values(results);
        return;
    }
    results->values = place;
    for (size_t i = 0; i < results->n; i++) {
        kw_quorum_result_row *row = &results->items[i];
        if (row->value != NULL) {
            memcpy(place, row->value, row->value_len);
            place[row->value_len] = '\0';
            row->value = place;
            place += row->value_len + 1;
        }
    }
}

void kw_quorum_results_tell(const kw_quorum_results *results, kw_error *error)
{
    for (size_t i = 0; i < results->n; i++) {
        if (results->items[i].code != KW_OK) {
            kw_error_copy(error, &results->items[i].error);
            return;
        }
    }
}

static const kw_quorum_result_row *item_at(const kw_quorum_results *results, size_t index)
{
    return results != NULL && index < results->n ? &results->items[index] : NULL;
}

kw_err kw_quorum_result(const kw_quorum_results *results, kw_error *error, size_t index)
{
    const kw_quorum_result_row *item = item_at(results, index);
    if (item == NULL) {
        return kw_error_set(error, KW_ERR_ARGUMENT, KW_EFFECT_NONE, "no request has that number");
    }
    if (item->code != KW_OK) {
        kw_error_copy(error, &item->error);
    }
    return item->code;
}

bool kw_quorum_is_written(const kw_quorum_results *results, size_t index)
{
    const kw_quorum_result_row *item = item_at(results, index);
    return item != NULL && item->is_written;
}

const char *kw_quorum_value(const kw_quorum_results *results, size_t *value_len, size_t index)
{
    const kw_quorum_result_row *item = item_at(results, index);
    if (item == NULL || item->value == NULL) {
        return NULL;
    }
    if (value_len != NULL) {
        *value_len = item->value_len;
    }
    return item->value;
}

kw_quorum_version kw_quorum_version_of(const kw_quorum_results *results, size_t index)
{
    kw_quorum_version version = KW_QUORUM_VERSION_INIT;
    const kw_quorum_result_row *item = item_at(results, index);
    if (item != NULL) {
        version.time = item->version.time;
        version.writer = item->version.writer;
    }
    return version;
}

int64_t kw_quorum_ttl_ms(const kw_quorum_results *results, size_t index)
{
    const kw_quorum_result_row *item = item_at(results, index);
    return item != NULL ? item->left_ms : -1;
}

void kw_quorum_results_free(kw_quorum_results *results)
{
    if (results == NULL) {
        return;
    }
    kw_allocator mem = results->mem;
    kw_mem_free(&mem, results->values);
    kw_mem_free(&mem, results);
}

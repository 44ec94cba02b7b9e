/* SPDX-License-Identifier: BSD-3-Clause */
/* Quorum results: what became of the requests of one call. */
#ifndef API_QUORUM_RESULTS_H
#define API_QUORUM_RESULTS_H

#include <keyway/quorum.h>

#include "base/memory.h"
#include "engine/stamp.h"

/* What became of one request. */
typedef struct kw_quorum_result_row {
    kw_err code;
    bool is_written;
    const char *value; /* NULL: none */
    size_t value_len;
    kw_stamp version;
    int64_t left_ms;
    kw_error error; /* set by kw_quorum_result_fail only: most need none, and it is long */
} kw_quorum_result_row;

struct kw_quorum_results {
    kw_allocator mem;
    char *values; /* memory of all rows' values; or NULL */
    size_t n;
    kw_quorum_result_row items[];
};

/* n rows that say that all went well; NULL when there is no memory. */
kw_quorum_results *kw_quorum_results_new(const kw_allocator *mem, size_t n);

/* Values, borrowed until then, become the results' own, with a zero byte behind each, in one piece
 * of memory; where there is none, their rows fail. */
void kw_quorum_results_own(kw_quorum_results *results);

/* The row has failed: its error, empty, is to be set. */
kw_error *kw_quorum_result_fail(kw_quorum_result_row *row, kw_err code);

/* The first failure, where there is one. */
void kw_quorum_results_tell(const kw_quorum_results *results, kw_error *error);

#endif

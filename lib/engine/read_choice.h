/* SPDX-License-Identifier: BSD-3-Clause */
/* Read choice: which of a primary and its replicas a read goes to. */
#ifndef ENGINE_READ_CHOICE_H
#define ENGINE_READ_CHOICE_H

#include "engine/read_preference.h"
#include "base/random.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* As much as one choice looks at: the primary, and that many replicas less one. */
#define KW_READ_CANDIDATES_MAX ((size_t)16)

typedef struct kw_read_candidate {
    bool is_available;   /* not loading, cut off or failed lately, as far as is known */
    bool is_barred;      /* never to be chosen */
    bool is_in_zone;     /* the one that is asked for */
    uint64_t latency_ns; /* measured; 0: not yet */
} kw_read_candidate;

/* No candidate will do. */
#define KW_READ_NOBODY SIZE_MAX

/* The candidate to read from; candidates[0] is the primary. Equals are chosen at random. A
 * replica that is not available is chosen only where nothing but replicas will do, one that is
 * barred never. With NEAREST those that were not measured come first, and now and then any, so that
 * figures do not grow old. */
size_t kw_read_choose(const kw_read_candidate *candidates, size_t n, kw_read_preference preference,
                      kw_random *random);

#endif

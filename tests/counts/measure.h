/* SPDX-License-Identifier: BSD-3-Clause */
/* What one command costs, in counts that are the same in each run. */
#ifndef COUNTS_MEASURE_H
#define COUNTS_MEASURE_H

#include <keyway.h>

#include "counts/network.h"

#include <stdbool.h>
#include <stddef.h>

/* Ends the program, with a line that says what is wrong. */
void counts_die(const char *what);

static inline void counts_die_if(bool is_wrong, const char *what)
{
    if (is_wrong) {
        counts_die(what);
    }
}

/* A handle whose allocations and readings of the clock are counted. */
kw_client *counts_open(const char *uri);

/* n commands of one kind. */
typedef struct counts_way {
    const char *name;
    void (*run)(kw_client *kw, size_t n);
    size_t n;
} counts_way;

/* Prints "NAME commands N", then a line "NAME WHAT VALUE" of each count of one command, by a handle
 * of its own that has run the way once before. */
void counts_measure(const counts_way *self, const char *uri);

#endif

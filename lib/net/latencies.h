/* SPDX-License-Identifier: BSD-3-Clause */
/* Latencies: how long the commands of one node took, by their class; where they are measured. */
#ifndef NET_LATENCIES_H
#define NET_LATENCIES_H

#include <keyway/measure.h>

#include "engine/histogram.h"

typedef struct kw_latencies {
    kw_histogram of[KW_LATENCY_PARTS_N][KW_COMMAND_CLASSES_N];
} kw_latencies;

#endif

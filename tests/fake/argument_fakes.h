/* SPDX-License-Identifier: BSD-3-Clause */
/* A cluster with a replica, and a handle that has its map: for what callers hand over. */
#ifndef FAKE_ARGUMENT_FAKES_H
#define FAKE_ARGUMENT_FAKES_H

#include "fake/fakes.h"

static kw_client *kw;

/* The third fake is the first one's replica. */
static inline void renew_cluster(void)
{
    const kw_fake_range ranges[] = {{0, 8000, fakes[0], fakes[2]}, {8001, 16383, fakes[1], NULL}};
    kw_fake_renew_all(fakes, FAKES_N);
    kw_fake_set_cluster(fakes, FAKES_N, ranges, 2);
}

static inline int start_cluster(void **state)
{
    start_fakes(state);
    renew_cluster();
    kw = open_connected("timeout=5s");
    return 0;
}

static inline int stop_cluster(void **state)
{
    kw_close(kw);
    return stop_fakes(state);
}

static inline void clear_logs(void)
{
    for (size_t i = 0; i < FAKES_N; i++) {
        kw_fake_log_clear(fakes[i]);
    }
}

/* A handle of its own, which has said nothing yet but what it needs for the map. */
static inline kw_client *open_anew(const char *options)
{
    char text[200];
    renew_cluster();
    snprintf(text, sizeof(text), "timeout=1s%s", options);
    kw_client *client = open_connected(text);
    clear_logs();
    return client;
}

#endif

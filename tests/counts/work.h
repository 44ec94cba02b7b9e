/* SPDX-License-Identifier: BSD-3-Clause */
/* What is counted: GETs of keys that spread over all slots, by each way of sending. */
#ifndef COUNTS_WORK_H
#define COUNTS_WORK_H

#include <keyway.h>

#include <stddef.h>

#define COUNTS_KEY_LEN 16

/* Makes so many keys, 20,000 at most, which the ways take in turns. */
void counts_work_init(size_t keys_n);

/* The key that is taken at that turn. */
const char *counts_key(size_t number);

/* Ends the program where the reply is no value of the network's servers. */
void counts_check_value(const kw_reply *reply);

/* The command that gets it; lens go with it. Good until the next call. */
kw_argv counts_get(size_t number);

/* n of them: calls by argv; batches of batch_n; in the event loop, where each reply gives the next
 * one, so that under_way_n are at each moment. */
void counts_run_calls(kw_client *kw, size_t n);
void counts_run_batches(kw_client *kw, size_t n, size_t batch_n);
void counts_run_loop(kw_client *kw, size_t n, size_t under_way_n, const kw_call_options *options);

#endif

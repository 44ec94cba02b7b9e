/* SPDX-License-Identifier: BSD-3-Clause */
/* Ketama as twemproxy has it. */
#ifndef ROUTE_KETAMA_H
#define ROUTE_KETAMA_H

#include "base/bytes.h"
#include "route/ring.h"

/* Counts the points of each node, from its weight against all others; returns their
 * sum. points_n of a node is written only where the sum is at most KW_RING_POINTS_MAX. */
uint64_t kw_ketama_count(kw_ring *ring);

/* Writes the points, as cells have them, as many as were counted. */
void kw_ketama_points(uint64_t *out, const kw_ring *ring);

/* Reads a server's line of nutcracker's configuration: its weight, and the text that is
 * hashed, without name "host:port", or the host alone where the port is 11211, or a path
 * and a colon. The text is at most name_max bytes. False, with nothing written, for
 * anything else. */
bool kw_ketama_server(char *name, size_t *name_len, uint32_t *weight, size_t name_max,
                      kw_bytes line);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* Track open: the steps until the two connections of a pair are ready. */
#ifndef CACHE_TRACK_OPEN_H
#define CACHE_TRACK_OPEN_H

#include "cache/track_pair.h"

/* One step, with what poll said of both. Failure: the pair is to be given up. */
kw_err kw_track_open_on(kw_track_pair *pair, kw_error *error, short on_inval, short on_data);

/* Asks by the pair's own request, of which there is one at a time. text is constant. */
kw_err kw_track_ask(kw_track_pair *pair, kw_conn *conn, kw_error *error, const char *text);

#endif

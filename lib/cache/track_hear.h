/* SPDX-License-Identifier: BSD-3-Clause */
/* Track hear: what a server tells of the keys that were read. */
#ifndef CACHE_TRACK_HEAR_H
#define CACHE_TRACK_HEAR_H

#include "cache/track_pair.h"

/* What has come on the connection for messages, without waiting. */
kw_err kw_track_hear(kw_track_pair *pair, kw_error *error);

#endif

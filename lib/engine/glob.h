/* SPDX-License-Identifier: BSD-3-Clause */
/* Glob: the patterns of SCAN's MATCH, for keys that a server has not compared. */
#ifndef ENGINE_GLOB_H
#define ENGINE_GLOB_H

#include "base/bytes.h"

/* True where text matches pattern, by the rules of stringmatchlen in Redis and Valkey, as SCAN
 * applies them: * ? [a-z] [^a] \x, in any bytes. One thing differs: a server gives up on patterns
 * with more than a thousand stars. Takes at most pattern.len x text.len steps, and no memory. */
bool kw_glob_matches(kw_bytes pattern, kw_bytes text);

#endif

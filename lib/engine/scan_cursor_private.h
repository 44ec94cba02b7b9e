/* SPDX-License-Identifier: BSD-3-Clause */
/* Scan cursor: the form of the text, which one source writes and another reads.
 *
 *   "kws1." and base64url (RFC 4648, without padding) of: kind, 1 byte; scope, 4 bytes; ring, 8
 *   bytes; whether a view has said what the passes are; number of passes; of each its print, 8
 *   bytes, level, keys gone through, and 0 where it is done, else 1 and its cursor; of a cluster
 * the slots, and the round under way; 4 bytes of a checksum of all before.
 *
 * The slots: 0 and runs of length and state (0 open, 1 given, 2 and more: a pass), or 1 and a bit
 * for each slot, set where it was given. The round: what of it was given, and counts once a view
 * says the same of it: 1, slot, how many, print; or of one in motion 2, slot, both prints, motion;
 * of a large one that is half given 3, slot, print, cursor; 0 behind the last. Prints and motions
 * have 8 bytes. Numbers without a size are varints, 7 bits a byte, lowest first; all others are
 * lowest first. */
#ifndef ENGINE_SCAN_CURSOR_PRIVATE_H
#define ENGINE_SCAN_CURSOR_PRIVATE_H

#include "engine/scan_cursor.h"

#define KW_SCAN_CURSOR_PREFIX     "kws1."
#define KW_SCAN_CURSOR_PREFIX_LEN (sizeof(KW_SCAN_CURSOR_PREFIX) - 1)

#define KW_SCAN_CURSOR_OPEN   0u
#define KW_SCAN_CURSOR_GIVEN  1u
#define KW_SCAN_CURSOR_PASSES 2u

#define KW_SCAN_CURSOR_END      0u
#define KW_SCAN_CURSOR_RESTING  1u
#define KW_SCAN_CURSOR_MOVING   2u
#define KW_SCAN_CURSOR_HALF     3u
#define KW_SCAN_CURSOR_PART_MAX KW_SCAN_CURSOR_HALF

extern const char kw_scan_cursor_letters[];

/* The last number of a cursor's bytes, of all before. */
uint64_t kw_scan_cursor_checksum(kw_bytes bytes);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* Scan cursor: a walk as text, to be gone on with later or elsewhere. At most 4096 letters where a
 * hundred hosts are walked, whatever their slots are. */
#ifndef ENGINE_SCAN_CURSOR_H
#define ENGINE_SCAN_CURSOR_H

#include <keyway/error.h>

#include "engine/scan_walk.h"

#define KW_SCAN_CURSOR_LEN ((size_t)4096)

/* Appends the text of the walk, letters that need no quoting in a shell, a URI or JSON. What was
 * asked for and not given yet is not counted as walked. scope: a number for what is walked. False
 * when there is no memory. */
bool kw_scan_cursor_write(kw_buf *out, const kw_scan_walk *walk, uint32_t scope);

/* What is wrong with a text, and at which byte of it. */
typedef struct kw_scan_fault {
    size_t at;
    const char *what;
} kw_scan_fault;

/* Makes a walk, new and of the same spec, what the text says of it. KW_ERR_ARGUMENT, with *fault,
 * and KW_ERR_NOMEM leave it as it was. Any bytes may come. */
kw_err kw_scan_cursor_read(kw_scan_walk *walk, kw_scan_fault *fault, kw_bytes text, uint32_t scope);

#endif

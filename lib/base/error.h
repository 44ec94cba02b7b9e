/* SPDX-License-Identifier: BSD-3-Clause */
/* Errors: filling in the caller's kw_error. */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

#include <keyway/error.h>

#include <stdarg.h>

/* Writes code, effect and a formatted text (cut to fit) into error, clears its
 * node, attempts and time, and returns code. error may be NULL; what its size
 * member does not reach is not written. Text of a server or a user goes in as an
 * argument, never as the format. */
KW_FORMAT(4, 5)
kw_err kw_error_set(kw_error *error, kw_err code, kw_effect effect, const char *format, ...);

/* Copies from into error, as far as its size reaches; error may be NULL. */
void kw_error_copy(kw_error *error, const kw_error *from);

/* Names the node of a failure; NULL gives "". */
void kw_error_set_node(kw_error *error, const char *node);

#endif

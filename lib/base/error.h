/* SPDX-License-Identifier: BSD-3-Clause */
/* Errors: filling in the caller's kw_error. */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

#include <keyway/error.h>

#include <stdarg.h>
#include <stdbool.h>

/* True where error may be written: it is there, and its size is 0 (then it is taken for the first
 * version of kw_error) or reaches to the end of that. */
bool kw_error_has_room(const kw_error *error);

/* One that says nothing yet, with room for all that there is to say. (KW_ERROR_INIT would be a copy
 * of its 552 bytes in each source that begins with one.) */
kw_error kw_error_none(void);

/* Writes code, effect and a formatted text (cut to fit) into error, clears its
 * node, attempts and time, and returns code. An error without room (kw_error_has_room),
 * NULL included, is left as it is. Text of a server or a user goes in as an
 * argument, never as the format. */
KW_FORMAT(4, 5)
kw_err kw_error_set(kw_error *error, kw_err code, kw_effect effect, const char *format, ...);

/* kw_error_set for what was not begun: its effect is none, and text is taken as it is. */
kw_err kw_error_refuse(kw_error *error, kw_err code, const char *text);

/* Copies all but the size from one error into another, as far as the size of that reaches; it may
 * be NULL, or from itself. */
void kw_error_copy(kw_error *error, const kw_error *from);

/* Names the node of a failure; NULL gives "". */
void kw_error_set_node(kw_error *error, const char *node);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* Format: a printf-like command text becomes arguments. */
#ifndef BASE_FORMAT_H
#define BASE_FORMAT_H

#include <keyway/error.h>

#include "base/bytes.h"

#include <stdarg.h>

/* What arguments take without the heap: so many of them, with so many bytes in all. */
#define KW_ARGS_INLINE       16
#define KW_ARGS_INLINE_BYTES 512

typedef struct kw_args {
    const kw_allocator *mem;
    size_t argc;
    kw_bytes *argv;  /* argc of them, pointing into text */
    kw_buf text;     /* the bytes of all arguments, one behind the other */
    size_t capacity; /* of argv */
    kw_bytes inline_argv[KW_ARGS_INLINE];
    char inline_text[KW_ARGS_INLINE_BYTES];
} kw_args;

/* args must not be moved or copied between init and fini: it points into itself. */
void kw_args_init(kw_args *args, const kw_allocator *mem);
void kw_args_fini(kw_args *args);

/* Splits format at spaces into arguments and fills them in by hiredis' rules: %s a
 * C string (NULL is an error), %b a pointer and a size_t, %% a percent sign, and the
 * integer and floating conversions of printf with flags, width, precision and the
 * lengths hh h l ll (and z j t). A conversion never splits an argument, whatever
 * bytes it brings; "%s" with an empty string is an empty argument. KW_ERR_ARGUMENT,
 * with an error that names the position in format, for anything else, and for a
 * format without any argument; KW_ERR_NOMEM. args is empty again after a failure. */
kw_err kw_args_format(kw_args *args, kw_error *error, const char *format, va_list values);

#endif

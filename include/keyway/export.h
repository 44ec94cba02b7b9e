/* SPDX-License-Identifier: BSD-3-Clause */
/* keyway: what is visible outside the shared library.
 *
 * KW_API marks the functions that a program may call. KW_FORMAT(form, args) lets compilers check a
 * printf-like format, argument number form, against its values, from number args on. */
#ifndef KEYWAY_EXPORT_H
#define KEYWAY_EXPORT_H

#if defined(__GNUC__) || defined(__clang__)
#define KW_API                __attribute__((visibility("default")))
#define KW_FORMAT(form, args) __attribute__((format(printf, form, args)))
#else
#define KW_API
#define KW_FORMAT(form, args)
#endif

#endif

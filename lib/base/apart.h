/* SPDX-License-Identifier: BSD-3-Clause */
/* Apart: what few calls need is kept out of functions that every command runs through. */
#ifndef BASE_APART_H
#define BASE_APART_H

/* Before a static function: the compiler does not put it into its caller, which then has fewer
 * registers to save and less to step over. */
#if defined(__GNUC__) || defined(__clang__)
#define KW_APART __attribute__((noinline))
#else
#define KW_APART
#endif

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* keyway: the arguments of one command. */
#ifndef KEYWAY_ARGV_H
#define KEYWAY_ARGV_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A command as a list of arguments, its name first. A small value, given as it is; what it points
 * to is borrowed for the call:
 *
 *   const char *words[] = {"SET", "greeting", "hello"};
 *   kw_reply *reply = kw_call(client, &error, &options, (kw_argv){3, words, NULL});
 */
typedef struct kw_argv {
    int argc;              /* how many arguments, 1 or more */
    const char **argv;     /* argc pointers to any bytes */
    const size_t *argvlen; /* their lengths in bytes; NULL: each ends with a zero byte */
} kw_argv;

#ifdef __cplusplus
}
#endif

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* keyway: the arguments of one command.
 *
 * A kw_argv is a command as a list of arguments, its name first. It is for arguments that are
 * ready, and for bytes that a format cannot carry:
 *
 *   const char *words[] = {"SET", "greeting", "hello"};
 *   kw_reply *reply = kw_call(client, &error, &options, (kw_argv){3, words, NULL});
 *
 * In C++ {3, words, nullptr} does it. */
#ifndef KEYWAY_ARGV_H
#define KEYWAY_ARGV_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A command's arguments. A small value, passed by value; what it points to is borrowed until the
 * function that it is given to returns. */
typedef struct kw_argv {
    int argc;              /* how many arguments, 1 or more */
    const char **argv;     /* argc pointers, each to any bytes; NULL only with length 0 */
    const size_t *argvlen; /* argc lengths in bytes; NULL: each argument ends with a zero byte */
} kw_argv;

#ifdef __cplusplus
}
#endif

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* Reads what base/resp.c has written: the bytes are the library's own, and well-formed. */
#include "drive/encoded_args.h"

/* The number behind one byte, up to "\r\n", which *at is put behind. */
static size_t read_count(const char **at)
{
    size_t count = 0;
    const char *digit = *at + 1;
    for (; *digit != '\r'; digit++) {
        count = 10 * count + (size_t)(*digit - '0');
    }
    *at = digit + 2;
    return count;
}

bool kw_encoded_args_take(kw_encoded_args *args, const kw_allocator *mem, kw_bytes *encoded)
{
    const char *at = encoded->data;
    args->mem = mem;
    args->argc = read_count(&at);
    args->argv = args->space;
    if (args->argc > KW_ENCODED_ARGS_INLINE) {
        args->argv = kw_mem_calloc(mem, args->argc, sizeof(args->argv[0]));
    }
    if (args->argv == NULL) {
        return false;
    }
    for (size_t i = 0; i < args->argc; i++) {
        args->argv[i].len = read_count(&at);
        args->argv[i].data = at;
        at += args->argv[i].len + 2;
    }
    encoded->len -= (size_t)(at - encoded->data);
    encoded->data = at;
    return true;
}

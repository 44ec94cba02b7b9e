/* SPDX-License-Identifier: BSD-3-Clause */
/* Fuzz entry: bytes as a command's format, with values that suit any conversion of one
 * word. */
#include "base/format.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static kw_err format(kw_args *args, const char *text, ...)
{
    va_list values;
    va_start(values, text);
    kw_err code = kw_args_format(args, NULL, text, values);
    va_end(values);
    return code;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    char text[256];
    if (len >= sizeof(text) || memchr(data, 's', len) != NULL || memchr(data, 'b', len) != NULL) {
        return 0; /* pointers need pointers */
    }
    if (len > 0) {
        memcpy(text, data, len);
    }
    text[len] = '\0';
    size_t conversions = 0;
    for (size_t i = 0; i < len; i++) {
        conversions += text[i] == '%' ? 1 : 0;
    }
    if (conversions > 4) {
        return 0;
    }
    kw_args args;
    kw_args_init(&args, kw_mem_default());
    if (format(&args, text, 1L, 2L, 3L, 4L, 5L, 6L, 7L, 8L) == KW_OK && args.argc == 0) {
        abort();
    }
    kw_args_fini(&args);
    return 0;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Scripts made from their texts, and the errors of what they ran. */
#include "engine/script.h"

#include <string.h>

kw_script *kw_script_make(const kw_allocator *mem, kw_bytes text, bool is_read_only)
{
    size_t len;
    kw_script *script =
        kw_size_add(&len, sizeof(*script) + 1, text.len) ? kw_mem_alloc(mem, len) : NULL;
    if (script == NULL) {
        return NULL;
    }
    char *copy = (char *)(script + 1);
    if (text.len > 0) {
        memcpy(copy, text.data, text.len);
    }
    copy[text.len] = '\0';
    script->mem = *mem;
    atomic_init(&script->refs, 1);
    script->is_read_only = is_read_only;
    script->text.data = copy;
    script->text.len = text.len;
    kw_sha1_text(script->sha1, text);
    return script;
}

static kw_bytes skip(kw_bytes text, size_t len)
{
    kw_bytes rest = {text.data + len, text.len - len};
    return rest;
}

/* What stands behind "ERR Error running script (call to f_SHA1): @user_script:LINE: ". */
static kw_bytes skip_place(kw_bytes text)
{
    static const char place[] = "@user_script:";
    kw_bytes rest = text;
    while (rest.len > 0 && !kw_bytes_starts(rest, place)) {
        rest = skip(rest, 1);
    }
    rest = skip(rest, rest.len > 0 ? sizeof(place) - 1 : 0);
    while (rest.len > 0 && rest.data[0] >= '0' && rest.data[0] <= '9') {
        rest = skip(rest, 1);
    }
    return kw_bytes_starts(rest, ": ") ? skip(rest, 2) : text;
}

bool kw_script_error_is(kw_bytes text, const char *code)
{
    if (kw_bytes_starts(text, "ERR Error running script")) {
        text = skip_place(text);
    } else if (kw_bytes_starts(text, "ERR ")) {
        text = skip(text, 4);
    } else if (kw_bytes_starts(text, "-")) {
        text = skip(text, 1);
    }
    return kw_bytes_starts(text, code);
}

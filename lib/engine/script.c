/* SPDX-License-Identifier: BSD-3-Clause */
/* Scripts made from their texts. */
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

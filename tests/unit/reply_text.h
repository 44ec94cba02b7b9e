/* SPDX-License-Identifier: BSD-3-Clause */
/* Replies of tests, written as short texts: [1, 'text', nil] is an array, {'a', 1} a
 * map (hiredis counts keys and values each), !'ERR no' an error. */
#ifndef UNIT_REPLY_TEXT_H
#define UNIT_REPLY_TEXT_H

#include <stdarg.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/reply.h"

static const char *reply_text_skip(const char *at)
{
    while (*at == ' ' || *at == ',' || *at == '\t') {
        at++;
    }
    return at;
}

/* Behind the value that begins at at. */
static const char *reply_text_behind(const char *at)
{
    at = reply_text_skip(at);
    size_t depth = 0;
    do {
        if (*at == '\'') {
            at = strchr(at + 1, '\'') + 1;
        } else if (*at == '[' || *at == '{') {
            depth++;
            at++;
        } else if (*at == ']' || *at == '}') {
            depth--;
            at++;
        } else if (*at == '!') {
            at++;
            continue;
        } else {
            at += strcspn(at, " ,[]{}");
        }
        at = reply_text_skip(at);
        assert_true(*at != '\0' || depth == 0);
    } while (depth > 0 || at[-1] == '!');
    return at;
}

static void reply_text_fill(kw_reply *root, kw_reply *reply, const char *at)
{
    at = reply_text_skip(at);
    if (*at == '[' || *at == '{') {
        kw_reply_kind kind = *at == '[' ? KW_REPLY_ARRAY : KW_REPLY_MAP;
        const char *first = reply_text_skip(at + 1);
        size_t count = 0;
        for (const char *p = first; *p != ']' && *p != '}'; p = reply_text_behind(p)) {
            count++;
        }
        assert_true(kw_reply_set_array(root, reply, kind, count));
        for (size_t i = 0; i < count; i++) {
            reply_text_fill(root, kw_reply_slot(reply, i), first);
            first = reply_text_behind(first);
        }
    } else if (*at == '\'' || *at == '!') {
        kw_reply_kind kind = *at == '!' ? KW_REPLY_ERROR : KW_REPLY_STRING;
        const char *first = strchr(at, '\'') + 1;
        kw_bytes text = {first, (size_t)(strchr(first, '\'') - first)};
        assert_true(kw_reply_set_string(root, reply, kind, text));
    } else if (strncmp(at, "nil", 3) == 0) {
        kw_reply_set_integer(reply, KW_REPLY_NIL, 0);
    } else {
        kw_reply_set_integer(reply, KW_REPLY_INTEGER, strtoll(at, NULL, 10));
    }
}

/* A new reply; the caller frees it. */
static kw_reply *reply_of(const char *text)
{
    kw_reply *root = kw_reply_new(kw_mem_default(), 0);
    assert_non_null(root);
    reply_text_fill(root, root, text);
    return root;
}

#endif

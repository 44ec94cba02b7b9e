/* SPDX-License-Identifier: BSD-3-Clause */
/* The answers to a whole transaction, joined into one. */
#include "engine/transaction.h"

#include <stdio.h>

/* As servers say it themselves, where EXEC is what they refuse. */
#define BECAUSE "EXECABORT Transaction discarded because of: "

/* What MULTI was refused with does not bind what came behind it. */
#define ALONE "ERR MULTI was refused, and what was to follow in it ran by itself, or not at all: "

/* So much of a server's words is kept: more than any redirect has. */
#define WORDS_MAX 600

static void make_error(kw_reply *reply, const char *before, const kw_reply *words)
{
    char text[WORDS_MAX + sizeof(ALONE)];
    kw_bytes said = kw_reply_bytes(words);
    int len = snprintf(text, sizeof(text), "%s%.*s", before,
                       (int)(said.len < WORDS_MAX ? said.len : WORDS_MAX), said.data);
    kw_bytes whole = {text, len > 0 && (size_t)len < sizeof(text) ? (size_t)len : 0};
    if (whole.len > 0) {
        (void)kw_reply_make_error(reply, whole);
    }
}

kw_reply *kw_transaction_reply(kw_reply *refusal, kw_reply *last)
{
    if (refusal != NULL && kw_reply_is(last, KW_REPLY_ERROR)) {
        kw_bytes text = kw_reply_bytes(last);
        if (kw_bytes_starts(text, "EXECABORT ") && !kw_transaction_cause(&text)) {
            make_error(last, BECAUSE, refusal);
        } else if (kw_bytes_starts(text, "ERR EXEC without MULTI")) {
            make_error(last, ALONE, refusal);
            kw_reply_mark_partial(last);
        }
    }
    kw_reply_free(refusal);
    return last;
}

bool kw_transaction_cause(kw_bytes *text)
{
    size_t len = sizeof(BECAUSE) - 1;
    if (!kw_bytes_starts(*text, BECAUSE)) {
        return false;
    }
    text->data += len;
    text->len -= len;
    return true;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Any bytes as a server's error: a verdict whose redirect stays inside the text and
 * names an address that can be dialled. The first byte says whether it was a script. */
#include <stdlib.h>

#include "base/endpoint.h"
#include "engine/verdict.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void expect(bool is_true)
{
    if (!is_true) {
        abort();
    }
}

static void check_redirect(kw_verdict verdict, kw_bytes text)
{
    expect(verdict.slot <= 16383 && verdict.port > 0);
    expect(verdict.host.data >= text.data &&
           verdict.host.data + verdict.host.len <= text.data + text.len);
    kw_endpoint endpoint;
    expect(verdict.host.len == 0 || kw_endpoint_set(&endpoint, verdict.host, verdict.port));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len == 0) {
        return 0;
    }
    kw_bytes text = {(const char *)data + 1, len - 1};
    kw_verdict verdict = kw_verdict_of(text, (data[0] & 1) != 0);
    expect(verdict.kind <= KW_VERDICT_FULL);
    if (verdict.kind == KW_VERDICT_MOVED || verdict.kind == KW_VERDICT_ASK ||
        verdict.kind == KW_VERDICT_REDIRECT) {
        check_redirect(verdict, text);
    } else {
        expect(verdict.host.len == 0 && verdict.port == 0 && !verdict.is_unknown);
    }
    (void)kw_verdict_code(verdict.kind);
    return 0;
}

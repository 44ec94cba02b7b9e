/* SPDX-License-Identifier: BSD-3-Clause */
/* Fuzz entry: bytes as a record of a quorum; what is read is written back the same. */
#include "engine/record.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    kw_bytes bytes = {(const char *)data, len};
    kw_record record;
    unsigned char head[KW_RECORD_HEAD_MAX];
    if (!kw_record_get(&record, bytes)) {
        return 0;
    }
    size_t head_len = kw_record_put_head(head, &record);
    if (head_len + record.value.len != len || memcmp(head, data, head_len) != 0) {
        abort();
    }
    return 0;
}

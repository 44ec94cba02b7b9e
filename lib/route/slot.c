/* SPDX-License-Identifier: BSD-3-Clause */
/* Key to slot and hash tag, as the public header has them. */
#include "route/slot.h"

#include <keyway/slot.h>

#include "route/crc16_word.h"

const char *kw_hash_tag(const char *key, size_t key_len, size_t *tag_len)
{
    size_t unwanted;
    tag_len = tag_len != NULL ? tag_len : &unwanted;
    size_t open = kw_find_byte(key, key_len, '{');
    if (open < key_len) {
        return kw_tag_at(key, key_len, open, tag_len);
    }
    *tag_len = key_len;
    return key;
}

unsigned kw_slot(const char *key, size_t key_len)
{
    return kw_slot_of(key, key_len);
}

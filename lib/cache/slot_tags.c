/* SPDX-License-Identifier: BSD-3-Clause */
/* Tries tags in their order; the first one of a slot is the slot's, in every process. */
#include "cache/slot_tags.h"

#include <string.h>

static const char letters[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_";

#define LETTERS_N (sizeof(letters) - 1)

void kw_slot_tags_init(kw_slot_tags *tags)
{
    memset(tags, 0, sizeof(*tags));
    size_t found_n = 0;
    for (size_t i = 0; i < LETTERS_N * LETTERS_N * LETTERS_N && found_n < KW_SLOTS_N; i++) {
        char tag[KW_SLOT_TAG_LEN] = {letters[i / LETTERS_N / LETTERS_N],
                                     letters[i / LETTERS_N % LETTERS_N], letters[i % LETTERS_N]};
        char *place = tags->at[kw_slot_of(tag, sizeof(tag))];
        if (place[0] == '\0') {
            memcpy(place, tag, sizeof(tag));
            found_n++;
        }
    }
}

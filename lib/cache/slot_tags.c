/* SPDX-License-Identifier: BSD-3-Clause */
/* Tries tags in their order; the first one of a slot is the slot's, in every process. */
#include "cache/slot_tags.h"

#include <string.h>

static const char letters[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_";

#define LETTERS_N (sizeof(letters) - 1)

/* CRC16-XMODEM begins with 0, and is linear: what a tag comes to is what its letters come to, each
 * at its place alone, together. 170,000 tags are tried until each slot has one. */
static void sum_letters(uint16_t sums[KW_SLOT_TAG_LEN][LETTERS_N])
{
    for (size_t place = 0; place < KW_SLOT_TAG_LEN; place++) {
        for (size_t i = 0; i < LETTERS_N; i++) {
            char alone[KW_SLOT_TAG_LEN] = {0};
            alone[place] = letters[i];
            sums[place][i] = kw_slot_of(alone, sizeof(alone));
        }
    }
}

void kw_slot_tags_init(kw_slot_tags *tags)
{
    uint16_t sums[KW_SLOT_TAG_LEN][LETTERS_N];
    sum_letters(sums);
    memset(tags, 0, sizeof(*tags));
    size_t found_n = 0;
    for (size_t i = 0; i < LETTERS_N * LETTERS_N && found_n < KW_SLOTS_N; i++) {
        unsigned sum = sums[0][i / LETTERS_N] ^ sums[1][i % LETTERS_N];
        for (size_t k = 0; k < LETTERS_N; k++) {
            char *place = tags->at[sum ^ sums[2][k]];
            if (place[0] == '\0') {
                char tag[] = {letters[i / LETTERS_N], letters[i % LETTERS_N], letters[k]};
                memcpy(place, tag, sizeof(tag));
                found_n++;
            }
        }
    }
}

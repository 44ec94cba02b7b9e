/* SPDX-License-Identifier: BSD-3-Clause */
/* Push: one message of a connection that has subscribed, read where it lies in the received bytes.
 * In RESP2 it is an array, in RESP3 a push; a status or an error is the answer to a command. */
#ifndef BASE_PUSH_H
#define BASE_PUSH_H

#include "base/bytes.h"

/* Elements that are looked at: "pmessage", pattern, channel, text. */
#define KW_PUSH_ITEMS_MAX 4

typedef enum kw_push_state {
    KW_PUSH_MORE,  /* not all there yet */
    KW_PUSH_WHOLE, /* one is there */
    KW_PUSH_BAD    /* no such thing, or longer than allowed */
} kw_push_state;

typedef enum kw_push_item_kind {
    KW_PUSH_TEXT,
    KW_PUSH_NUMBER,
    KW_PUSH_OTHER /* nil, or elements of its own, which are passed over */
} kw_push_item_kind;

typedef struct kw_push_item {
    kw_push_item_kind kind;
    kw_bytes text; /* borrowed from the input; of KW_PUSH_TEXT */
} kw_push_item;

typedef struct kw_push {
    char type;      /* first byte: '*', '>', or of one item '+' and '-' */
    size_t items_n; /* as it says; the first ones are in items */
    kw_push_item items[KW_PUSH_ITEMS_MAX];
    size_t len;        /* bytes that it takes */
    size_t wanted_len; /* KW_PUSH_MORE: so many bytes there are at least; 0: it is not known */
} kw_push;

/* Reads what stands at the beginning of input. len_max: bytes that it may take. Reading again, when
 * more is there, costs the same. */
kw_push_state kw_push_read(kw_push *push, kw_bytes input, size_t len_max);

#endif

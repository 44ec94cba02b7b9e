/* SPDX-License-Identifier: BSD-3-Clause */
/* Lists of reads, and what their answers may be. */
#include "cache/track_read.h"

void kw_track_reads_push(kw_track_reads *list, kw_track_read *read)
{
    read->next = NULL;
    read->before = list->last;
    if (list->last != NULL) {
        list->last->next = read;
    } else {
        list->first = read;
    }
    list->last = read;
}

kw_track_read *kw_track_reads_pop(kw_track_reads *list)
{
    kw_track_read *read = list->first;
    if (read != NULL) {
        kw_track_reads_remove(list, read);
    }
    return read;
}

void kw_track_reads_remove(kw_track_reads *list, kw_track_read *read)
{
    *(read->before != NULL ? &read->before->next : &list->first) = read->next;
    *(read->next != NULL ? &read->next->before : &list->last) = read->before;
}

bool kw_track_read_has_answers(const kw_track_read *read)
{
    if (!read->pttl.is_done) {
        return false;
    }
    kw_reply_kind value = kw_reply_type(read->get.reply);
    kw_reply_kind life = kw_reply_type(read->pttl.reply);
    return (value == KW_REPLY_STRING || value == KW_REPLY_NIL || value == KW_REPLY_ERROR) &&
           (life == KW_REPLY_INTEGER || life == KW_REPLY_ERROR);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Receiver, its parts: receiver_place.c chooses nodes, receiver_work.c works on the connections,
 * receiver.c lets callers wait. */
#ifndef DRIVE_RECEIVER_PRIVATE_H
#define DRIVE_RECEIVER_PRIVATE_H

#include "drive/receiver.h"

/* Without a server's word about the map it is looked at again after this. */
#define KW_RECEIVER_LOOK_NS (20 * KW_NS_PER_MS)

/* Gives topics that need a node one, and takes those away that belong elsewhere; place_ns says when
 * it is to be done again. snapshot may be NULL. For the leader, with the monitor held. */
void kw_receiver_place(kw_receiver *self, const kw_snapshot *snapshot, uint64_t now_ns);

/* One round of the leader: opens, sends, waits until until_ns where nothing has come, receives.
 * is_taker: what has come is left to kw_receiver_read_few; else it is read. */
void kw_receiver_work(kw_receiver *self, uint64_t until_ns, bool is_taker);

/* Where the queue is empty, and something was received, it becomes a few messages. For the leader,
 * with the monitor held, which may be left meanwhile. */
void kw_receiver_read_few(kw_receiver *self);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* Item keys: a pipeline's command takes its place behind those of the same keys. */
#ifndef DRIVE_ITEM_KEYS_H
#define DRIVE_ITEM_KEYS_H

#include "drive/pipeline.h"

/* Adds the command, whose keys are read from its encoded bytes; without keys it is ordered with
 * none, nor is one that blocks. False when there is no memory. */
bool kw_item_keys_add(kw_item *item, kw_ordering *ordering);

#endif

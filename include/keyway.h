/* SPDX-License-Identifier: BSD-3-Clause */
/* keyway: client-side sharding for Redis and Valkey. Every public header but
 * <keyway/hiredis.h>. */
#ifndef KEYWAY_H
#define KEYWAY_H

#include <keyway/argv.h>
#include <keyway/async_session.h>
#include <keyway/batch.h>
#include <keyway/cache.h>
#include <keyway/client.h>
#include <keyway/command.h>
#include <keyway/config.h>
#include <keyway/error.h>
#include <keyway/event.h>
#include <keyway/keys.h>
#include <keyway/loop.h>
#include <keyway/measure.h>
#include <keyway/members.h>
#include <keyway/memory.h>
#include <keyway/message.h>
#include <keyway/quorum.h>
#include <keyway/reply.h>
#include <keyway/ring.h>
#include <keyway/scan.h>
#include <keyway/script.h>
#include <keyway/session.h>
#include <keyway/slot.h>
#include <keyway/slow.h>
#include <keyway/stats.h>
#include <keyway/submit.h>
#include <keyway/subscriber.h>
#include <keyway/transaction.h>
#include <keyway/version.h>

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* Combine: several nodes' replies to one command become one reply. */
#ifndef ROUTE_COMBINE_H
#define ROUTE_COMBINE_H

#include "base/reply.h"
#include "route/command.h"

/* One reply from replies_n > 0 replies by the command's response policy (command
 * may be NULL: as default). A single reply is the result, whatever the policy.
 * default:         arrays (sets, maps) are appended, else the first error, else the
 *                  first reply
 * all succeeded:   the first error, else the first reply
 * one succeeded:   the first reply that is no error, else the error that says most
 * and, or, min, max, sum: of integers, or of arrays of integers element by element, a
 *                  sum that does not fit saturated; the first error where there is
 *                  one, and an error of our own where kinds or lengths differ
 * special:         an array of all replies, errors included, in the order given
 * *combined is new, the caller's; the replies stay the caller's too. KW_ERR_NOMEM is
 * the only failure. */
kw_err kw_combine(kw_reply **combined, const kw_allocator *mem, const kw_command_info *command,
                  kw_reply *const *replies, size_t replies_n);

#endif

/* Combine: several nodes' replies to one command become one reply. */
#ifndef ROUTE_COMBINE_H
#define ROUTE_COMBINE_H

#include "base/reply.h"
#include "route/command.h"

/* One reply from replies_n > 0 replies by the command's response policy (command
 * may be NULL: append arrays, else the first error, else the first reply). An error
 * in any reply is the result where the policy wants all to succeed. *combined is
 * new, the caller's; the replies stay the caller's too. KW_ERR_NOMEM is the only
 * failure. */
kw_err kw_combine(kw_reply **combined, const kw_allocator *mem, const kw_command_info *command,
                  kw_reply *const *replies, size_t replies_n);

#endif

/* Call: the blocking driver of the op machine. */
#ifndef API_CALL_H
#define API_CALL_H

#include "api/client.h"
#include "api/plan.h"

/* Sends one encoded command by its plan (of kind SLOT, ANY or NODE) and waits for its
 * reply, the caller's to free; NULL with error set. */
kw_reply *kw_call_run(kw_client *client, kw_error *error, const kw_plan *plan, kw_bytes encoded);

/* The same for a plan of kind ALL_PRIMARIES or ALL_NODES: one node after the other, the
 * replies combined by the command's policy. */
kw_reply *kw_call_run_all(kw_client *client, kw_error *error, const kw_plan *plan,
                          kw_bytes encoded);

#endif

#include "api/call.h"

#include "api/flight.h"

kw_reply *kw_call_run(kw_client *client, kw_error *error, const kw_plan *plan, kw_bytes encoded)
{
    kw_flight flight;
    kw_guard_help(client);
    kw_flight_init(&flight, client, plan, encoded);
    (void)kw_flight_wait(&flight, plan->deadline_ns);
    kw_reply *reply = kw_flight_take(&flight, error);
    kw_flight_fini(&flight);
    kw_client_tend(client, flight.await.now_ns);
    return reply;
}

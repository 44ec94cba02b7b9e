/* SPDX-License-Identifier: BSD-3-Clause */
/* Host events: what is noted of connections and maps, told to the host with no lock held. */
#ifndef TOPOLOGY_HOST_EVENTS_H
#define TOPOLOGY_HOST_EVENTS_H

#include "net/conn_diary.h"

/* For handles whose host listens. */
extern const kw_event_part kw_host_events;

#endif

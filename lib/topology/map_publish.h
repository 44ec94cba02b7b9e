/* SPDX-License-Identifier: BSD-3-Clause */
/* Map publish: another map becomes the one that calls are routed by. */
#ifndef TOPOLOGY_MAP_PUBLISH_H
#define TOPOLOGY_MAP_PUBLISH_H

#include "topology/topology.h"

/* For the refresher, of which arg is the topology: a reference to the map in use, or NULL. */
kw_map *kw_map_publish_map(void *arg);

/* Takes the map (and its reference) into use; *has_news: it differs from the one before.
 * KW_ERR_NOMEM: the one before stays. */
kw_err kw_map_publish(void *arg, bool *has_news, kw_map *map);

/* kw_map_publish for a thread that holds topology->publishing already. */
kw_err kw_map_publish_locked(kw_topology *topology, bool *has_news, kw_map *map);

/* Tells the host's log of the map in use; with no lock held. */
void kw_map_publish_tell(kw_topology *topology);

/* A server said that the slot now belongs to the primary at endpoint: the map in use says so, too,
 * from now on. */
void kw_topology_patch(kw_topology *topology, unsigned slot, const kw_endpoint *endpoint);

#endif

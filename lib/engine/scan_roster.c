/* SPDX-License-Identifier: BSD-3-Clause */
/* Whom the map names, as the hosts of a walk: those that were known keep what is known of them. */
#include "engine/scan_walk.h"

#include <string.h>

/* Hosts by their names and what else counts of them. */
static size_t find_host(const kw_scan_walk *self, const kw_scan_place *place)
{
    for (size_t i = 0; i < self->hosts_n; i++) {
        if (self->hosts[i].salt == place->salt && strcmp(self->hosts[i].name, place->name) == 0) {
            return i;
        }
    }
    return KW_SCAN_NONE;
}

/* The hosts of the roster: those that were known keep what is known of them. */
static bool take_hosts(kw_scan_walk *self, kw_scan_host *hosts, const kw_scan_place *places,
                       size_t places_n)
{
    for (size_t i = 0; i < places_n; i++) {
        size_t known = find_host(self, &places[i]);
        if (known != KW_SCAN_NONE) {
            hosts[i] = self->hosts[known];
        } else {
            hosts[i].salt = places[i].salt;
        }
        hosts[i].name = kw_mem_strndup(self->mem, places[i].name, strlen(places[i].name));
        if (hosts[i].name == NULL) {
            for (size_t k = 0; k < i; k++) {
                kw_mem_free(self->mem, hosts[k].name);
            }
            return false;
        }
        hosts[i].state = KW_SCAN_HOST_NEW;
        hosts[i].is_stopped = false;
        hosts[i].is_hopeless = false;
        hosts[i].busy_n = 0;
        hosts[i].pass = KW_SCAN_NONE;
    }
    return true;
}

static bool replace_hosts(kw_scan_walk *self, const kw_scan_place *places, size_t places_n)
{
    kw_scan_host *hosts = kw_mem_calloc(self->mem, places_n + 1, sizeof(hosts[0]));
    kw_scan_pass *passes =
        kw_mem_resize(self->mem, self->passes, self->passes_n + places_n + 1, sizeof(passes[0]));
    self->passes = passes != NULL ? passes : self->passes;
    if (hosts == NULL || passes == NULL || !take_hosts(self, hosts, places, places_n)) {
        kw_mem_free(self->mem, hosts);
        return false;
    }
    for (size_t i = 0; i < self->hosts_n; i++) {
        kw_mem_free(self->mem, self->hosts[i].name);
    }
    kw_mem_free(self->mem, self->hosts);
    self->hosts = hosts;
    self->hosts_n = places_n;
    return true;
}

bool kw_scan_walk_on_roster(kw_scan_walk *self, const kw_scan_place *places, size_t places_n,
                            uint64_t ring, bool keeps)
{
    places_n = places_n < KW_SCAN_HOSTS_MAX ? places_n : KW_SCAN_HOSTS_MAX;
    if (!replace_hosts(self, places, places_n)) {
        return false;
    }
    self->ring_now = ring;
    self->ring_keeps = keeps;
    self->host_at = 0;
    self->wants_map = false;
    kw_scan_view_begin(self);
    self->phase = KW_SCAN_IN_VIEW;
    return true;
}

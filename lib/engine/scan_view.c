/* SPDX-License-Identifier: BSD-3-Clause */
/* What the hosts of a view have said, beside the view before: which passes still count, which slots
 * were given, and which are to be walked by themselves. */
#include "engine/scan_walk.h"

#include <string.h>

void kw_scan_view_begin(kw_scan_walk *self)
{
    for (size_t i = 0; i < self->hosts_n; i++) {
        self->hosts[i].print = 0;
        self->hosts[i].id = 0;
    }
    if (self->spec.kind == KW_SCAN_OF_CLUSTER) {
        memset(self->view->owner, 0xff, sizeof(self->view->owner));
        memset(&self->view->moving, 0, sizeof(self->view->moving));
        self->view->motions_n = 0;
    }
}

void kw_scan_view_add(kw_scan_walk *self, size_t host, const kw_scan_seen *seen)
{
    kw_scan_view *view = self->view;
    if (!seen->is_primary) {
        self->wants_map = true; /* it was one, by the map */
        return;
    }
    for (unsigned slot = 0; slot < KW_SLOTS_N; slot++) {
        if (kw_scan_slots_has(&seen->owned, slot)) {
            bool is_free = view->owner[slot] == KW_SCAN_UNOWNED;
            view->owner[slot] = is_free ? (uint16_t)host : KW_SCAN_TORN;
        }
    }
    for (size_t i = 0; i < KW_SCAN_SLOTS_LEN; i++) {
        view->moving.bits[i] |= seen->moving.bits[i];
    }
    for (size_t i = 0; i < seen->marks_n && view->motions_n < KW_SCAN_MOTIONS_MAX; i++) {
        const kw_scan_mark *mark = &seen->marks[i];
        view->motions[view->motions_n++] =
            (kw_scan_motion){mark->slot, mark->is_import, host, seen->id, mark->peer};
    }
}

bool kw_scan_view_has_failed(const kw_scan_walk *self)
{
    for (size_t i = 0; i < self->hosts_n; i++) {
        if (self->hosts[i].state != KW_SCAN_HOST_TOLD) {
            return true;
        }
    }
    return self->hosts_n == 0;
}

/* A new pass, of which there is room since the roster. */
static size_t new_pass(kw_scan_walk *self, uint64_t print, unsigned level)
{
    size_t at = 0;
    while (at < self->passes_n && self->passes[at].is_known) {
        at++;
    }
    self->passes_n += at == self->passes_n ? 1 : 0;
    self->passes[at] =
        (kw_scan_pass){.print = print, .level = level, .is_known = true, .host = KW_SCAN_NONE};
    return at;
}

static size_t find_pass(const kw_scan_walk *self, uint64_t print)
{
    for (size_t i = 0; i < self->passes_n; i++) {
        if (self->passes[i].is_known && self->passes[i].print == print) {
            return i;
        }
    }
    return KW_SCAN_NONE;
}

/* Which passes are of which hosts now. True where each pass is of one. */
static bool match(kw_scan_walk *self)
{
    bool is_whole = true;
    for (size_t i = 0; i < self->passes_n; i++) {
        self->passes[i].host = KW_SCAN_NONE;
    }
    for (size_t i = 0; i < self->hosts_n; i++) {
        kw_scan_host *host = &self->hosts[i];
        host->pass = host->state == KW_SCAN_HOST_TOLD ? find_pass(self, host->print) : KW_SCAN_NONE;
        if (host->pass != KW_SCAN_NONE) {
            self->passes[host->pass].host = i;
        }
    }
    for (size_t i = 0; i < self->passes_n; i++) {
        is_whole = is_whole && (!self->passes[i].is_known || self->passes[i].host != KW_SCAN_NONE);
    }
    return is_whole;
}

static void forget_lost(kw_scan_walk *self)
{
    for (size_t i = 0; i < self->passes_n; i++) {
        bool is_lost = self->passes[i].host == KW_SCAN_NONE;
        self->passes[i].is_known = self->passes[i].is_known && !is_lost;
    }
}

/* Begins the passes above a level again: keys may have come to them from hosts below, which are
 * walked again themselves. */
static void begin_again_above(kw_scan_walk *self, unsigned level)
{
    for (size_t i = 0; i < self->passes_n; i++) {
        kw_scan_pass *pass = &self->passes[i];
        if (pass->is_known && pass->level > level) {
            pass->cursor = 0;
            pass->seen_n = 0;
            pass->pages_n = 0;
            pass->trap_pages_n = 0;
            pass->is_done = false;
        }
    }
}

/* Hosts by themselves: a process that was not known is walked from its beginning. Members that have
 * joined come last, since keys come to them from all others. */
static void end_hosts(kw_scan_walk *self)
{
    bool is_whole = match(self);
    bool is_changed = self->ring != 0 && self->ring != self->ring_now;
    bool is_away = kw_scan_view_has_failed(self);
    unsigned level = 0;
    if (is_changed && !(self->ring_keeps && (is_whole || is_away))) {
        for (size_t i = 0; i < self->passes_n; i++) {
            self->passes[i].host = KW_SCAN_NONE; /* keys went from anywhere to anywhere */
        }
        forget_lost(self);
        (void)match(self);
    } else if (self->is_begun && is_whole && self->passes_n > 0) {
        for (size_t i = 0; i < self->passes_n; i++) {
            bool is_higher = self->passes[i].is_known && self->passes[i].level >= level;
            level = is_higher ? self->passes[i].level + 1 : level;
        }
    } else if (!is_away) {
        forget_lost(self);
    }
    bool has_new = false;
    for (size_t i = 0; i < self->hosts_n; i++) {
        kw_scan_host *host = &self->hosts[i];
        if (host->state == KW_SCAN_HOST_TOLD && host->pass == KW_SCAN_NONE) {
            has_new = true;
            host->pass = new_pass(self, host->print, level);
            self->passes[host->pass].host = i;
        }
    }
    if (has_new) {
        begin_again_above(self, level);
    }
    self->ring = self->ring_now;
    self->is_begun = true;
}

/* Whether a slot is at the host whose pass covers it, and rests. */
static bool is_at_home(const kw_scan_walk *self, unsigned slot, size_t host)
{
    const kw_scan_view *view = self->view;
    return view->owner[slot] == host && !kw_scan_slots_has(&view->moving, slot);
}

/* The first view of a cluster: each slot that rests is covered by the pass of its host. */
static void begin_cluster(kw_scan_walk *self)
{
    for (size_t i = 0; i < self->hosts_n; i++) {
        kw_scan_host *host = &self->hosts[i];
        if (host->state == KW_SCAN_HOST_TOLD) {
            host->pass = new_pass(self, host->print, 0);
            self->passes[host->pass].host = i;
        }
    }
    for (unsigned slot = self->spec.first; slot <= self->spec.last; slot++) {
        uint16_t host = self->view->owner[slot];
        bool is_owned = host < self->hosts_n && is_at_home(self, slot, host);
        self->slots[slot] = is_owned ? (uint16_t)self->hosts[host].pass : KW_SCAN_SLOT_OPEN;
    }
    self->is_begun = true;
}

/* The state of a slot that a pass covers, by this view. */
static uint16_t covered_state(const kw_scan_walk *self, unsigned slot, bool is_away)
{
    uint16_t at = self->slots[slot];
    const kw_scan_pass *pass = &self->passes[at];
    if (pass->host == KW_SCAN_NONE) {
        return is_away ? at : KW_SCAN_SLOT_OPEN; /* it may be of the one that is away */
    }
    if (!is_at_home(self, slot, pass->host)) {
        return KW_SCAN_SLOT_OPEN;
    }
    return pass->is_done ? KW_SCAN_SLOT_GIVEN : at;
}

static void end_cluster(kw_scan_walk *self)
{
    bool is_away = kw_scan_view_has_failed(self);
    if (!self->is_begun) {
        begin_cluster(self);
    } else {
        (void)match(self);
        kw_scan_slots_confirm(self);
    }
    for (size_t i = 0; i < self->passes_n; i++) {
        self->passes[i].slots_n = 0;
    }
    for (unsigned slot = self->spec.first; slot <= self->spec.last; slot++) {
        uint16_t at = self->slots[slot];
        if (at == KW_SCAN_SLOT_OPEN || at == KW_SCAN_SLOT_GIVEN) {
            continue;
        }
        self->slots[slot] = covered_state(self, slot, is_away);
        self->given_n += self->slots[slot] == KW_SCAN_SLOT_GIVEN ? 1 : 0;
        self->passes[at].slots_n += self->slots[slot] == at ? 1 : 0;
    }
    for (size_t i = 0; i < self->passes_n; i++) {
        kw_scan_pass *pass = &self->passes[i];
        pass->is_known = pass->is_known && pass->slots_n > 0;
        if (!pass->is_known && pass->host != KW_SCAN_NONE) {
            self->hosts[pass->host].pass = KW_SCAN_NONE;
        }
    }
}

void kw_scan_view_end(kw_scan_walk *self)
{
    self->given_n = 0;
    if (self->spec.kind == KW_SCAN_OF_CLUSTER) {
        end_cluster(self);
    } else {
        end_hosts(self);
    }
}

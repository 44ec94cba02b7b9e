/* SPDX-License-Identifier: BSD-3-Clause */
/* The phases of a walk: who is asked what next, and what becomes of answers. */
#include "engine/scan_walk.h"

#include "engine/backoff.h"

#include <string.h>

/* Pauses while nothing can be done but to look again. */
#define PAUSE_FIRST_MS 5u
#define PAUSE_MAX_MS   1000u

/* Slots of the first round. */
#define ROUND_FIRST 64u

/* A SCAN of more pages than this, and than its keys explain, has no end: a page goes through ten
 * times COUNT empty places of a table at most, which may have been larger once. */
#define PAGES_MAX ((uint64_t)1 << 20)

bool kw_scan_walk_init(kw_scan_walk *self, const kw_allocator *mem, const kw_scan_spec *spec)
{
    memset(self, 0, sizeof(*self));
    self->mem = mem;
    self->spec = *spec;
    self->round_n = ROUND_FIRST;
    self->give_up_ns = UINT64_MAX;
    if (spec->kind != KW_SCAN_OF_CLUSTER) {
        return true;
    }
    self->slots = kw_mem_calloc(mem, KW_SLOTS_N, sizeof(self->slots[0]));
    self->view = kw_mem_calloc(mem, 1, sizeof(*self->view));
    self->jobs = kw_mem_calloc(mem, KW_SCAN_ROUND_MAX, sizeof(self->jobs[0]));
    if (self->slots == NULL || self->view == NULL || self->jobs == NULL) {
        kw_scan_walk_fini(self);
        return false;
    }
    memset(self->view->owner, 0xff, sizeof(self->view->owner));
    for (unsigned slot = 0; slot < KW_SLOTS_N; slot++) {
        bool is_wanted = slot >= spec->first && slot <= spec->last;
        self->slots[slot] = is_wanted ? KW_SCAN_SLOT_OPEN : KW_SCAN_SLOT_GIVEN;
    }
    self->is_begun = spec->is_by_slot;
    return true;
}

void kw_scan_walk_fini(kw_scan_walk *self)
{
    for (size_t i = 0; i < self->hosts_n; i++) {
        kw_mem_free(self->mem, self->hosts[i].name);
    }
    kw_mem_free(self->mem, self->hosts);
    kw_mem_free(self->mem, self->passes);
    kw_mem_free(self->mem, self->slots);
    kw_mem_free(self->mem, self->view);
    kw_mem_free(self->mem, self->jobs);
    memset(self, 0, sizeof(*self));
}

void kw_scan_walk_stay(kw_scan_walk *self, uint64_t give_up_ns)
{
    self->give_up_ns = give_up_ns;
}

/* True where pages of the host are to be asked, some time. */
static bool has_pages(const kw_scan_walk *self, const kw_scan_host *host)
{
    const kw_scan_pass *pass = host->pass != KW_SCAN_NONE ? &self->passes[host->pass] : NULL;
    bool is_wanted = pass != NULL && !pass->is_done && host->state == KW_SCAN_HOST_TOLD;
    return is_wanted && !host->is_stopped &&
           (self->spec.kind != KW_SCAN_OF_CLUSTER || pass->slots_n > 0);
}

/* The lowest level at which a host has pages; false where none has. */
static bool lowest_level(const kw_scan_walk *self, unsigned *level)
{
    bool has_any = false;
    for (size_t i = 0; i < self->hosts_n; i++) {
        if (has_pages(self, &self->hosts[i])) {
            unsigned at = self->passes[self->hosts[i].pass].level;
            *level = has_any && *level < at ? *level : at;
            has_any = true;
        }
    }
    return has_any;
}

/* True where a host of a lower level is away, or stopped: what comes behind it has to wait. */
static bool is_held_back(const kw_scan_walk *self, unsigned level)
{
    for (size_t i = 0; level > 0 && i < self->passes_n; i++) {
        const kw_scan_pass *pass = &self->passes[i];
        if (pass->is_known && !pass->is_done && pass->level < level) {
            return true;
        }
    }
    return false;
}

/* True where pages can be asked now. */
static bool may_page(const kw_scan_walk *self, unsigned *level)
{
    return lowest_level(self, level) && !is_held_back(self, *level);
}

static bool next_ask(kw_scan_walk *self, kw_scan_step *step)
{
    for (; self->busy_n < self->spec.parallel_n && self->host_at < self->hosts_n; self->host_at++) {
        kw_scan_host *host = &self->hosts[self->host_at];
        if (host->state == KW_SCAN_HOST_NEW) {
            host->state = KW_SCAN_HOST_ASKED;
            self->busy_n++;
            *step = (kw_scan_step){.act = KW_SCAN_ASK, .host = self->host_at};
            return true;
        }
    }
    return false;
}

static bool next_page(kw_scan_walk *self, kw_scan_step *step)
{
    unsigned level = 0;
    if (self->busy_n >= self->spec.parallel_n || !may_page(self, &level)) {
        return false;
    }
    for (size_t n = 0; n < self->hosts_n; n++) {
        size_t at = (self->host_at + n) % self->hosts_n;
        kw_scan_host *host = &self->hosts[at];
        if (host->busy_n == 0 && has_pages(self, host) && self->passes[host->pass].level == level) {
            host->busy_n++;
            self->busy_n++;
            self->host_at = at + 1;
            *step = (kw_scan_step){
                .act = KW_SCAN_PAGE, .host = at, .cursor = self->passes[host->pass].cursor};
            return true;
        }
    }
    return false;
}

/* True where nothing is left to be done. */
static bool is_complete(const kw_scan_walk *self)
{
    if (self->spec.kind == KW_SCAN_OF_CLUSTER) {
        unsigned slot = self->spec.first;
        while (slot <= self->spec.last && self->slots[slot] == KW_SCAN_SLOT_GIVEN) {
            slot++;
        }
        return slot > self->spec.last;
    }
    if (kw_scan_view_has_failed(self)) {
        return false;
    }
    for (size_t i = 0; i < self->hosts_n; i++) {
        size_t pass = self->hosts[i].pass;
        if (pass == KW_SCAN_NONE || !self->passes[pass].is_done) {
            return false;
        }
    }
    return true;
}

/* A pause, longer than the one before, before all hosts are asked again. */
static void begin_pause(kw_scan_walk *self, uint64_t now_ns)
{
    unsigned longer_ms = self->pause_ms > 0 ? 2 * self->pause_ms : PAUSE_FIRST_MS;
    self->pause_ms = longer_ms < PAUSE_MAX_MS ? longer_ms : PAUSE_MAX_MS;
    self->phase = KW_SCAN_IN_PAUSE;
    self->until_ns = now_ns + self->pause_ms * KW_NS_PER_MS;
}

/* Where to go on behind a view. */
static void choose(kw_scan_walk *self, uint64_t now_ns)
{
    unsigned level = 0;
    self->host_at = 0;
    self->pause_ms = self->given_n > 0 ? 0 : self->pause_ms;
    if (is_complete(self)) {
        self->phase = KW_SCAN_AT_END;
    } else if (self->must_pause) {
        begin_pause(self, now_ns);
    } else if (may_page(self, &level)) {
        self->phase = KW_SCAN_IN_PAGES;
    } else if (kw_scan_slots_begin(self)) {
        self->phase = KW_SCAN_IN_SLOTS;
    } else {
        self->wants_map = true;
        begin_pause(self, now_ns);
    }
}

/* A host that has failed: one that would again, or else any; hosts_n where none has. */
static size_t failed_host(const kw_scan_walk *self, bool is_hopeless)
{
    size_t i = 0;
    while (i < self->hosts_n &&
           !(is_hopeless ? self->hosts[i].is_hopeless : self->hosts[i].is_stopped)) {
        i++;
    }
    return i;
}

/* Nothing can be done now: says what stands in the way. The next step begins with a view. */
static kw_scan_step fail(kw_scan_walk *self)
{
    size_t host = failed_host(self, true);
    host = host < self->hosts_n ? host : failed_host(self, false);
    self->phase = KW_SCAN_IN_ROSTER;
    self->wants_map = true;
    if (host < self->hosts_n) {
        return (kw_scan_step){.act = KW_SCAN_FAIL_HOST, .host = host};
    }
    return (kw_scan_step){.act = KW_SCAN_FAIL_SLOT, .slot = self->stuck_slot};
}

/* Waits for the end of the pause, or fails where that would come too late. */
static kw_scan_step pause_on(kw_scan_walk *self)
{
    /* Behind a round in vain there are slots that can be walked once more. */
    bool has_work = self->must_pause && self->spec.kind == KW_SCAN_OF_CLUSTER;
    bool is_hopeless = failed_host(self, true) < self->hosts_n;
    if (!is_hopeless && (has_work || self->until_ns < self->give_up_ns)) {
        return (kw_scan_step){.act = KW_SCAN_PAUSE, .until_ns = self->until_ns};
    }
    return fail(self);
}

/* Pages, or slots, are over. What has failed is not tried again at once. */
static void end_asking(kw_scan_walk *self, uint64_t now_ns)
{
    if (failed_host(self, false) < self->hosts_n) {
        begin_pause(self, now_ns);
    } else {
        self->phase = KW_SCAN_IN_ROSTER;
    }
}

/* The step of the phase; false where the phase is over, and another one has begun. */
static bool step_of_phase(kw_scan_walk *self, kw_scan_step *step, uint64_t now_ns)
{
    *step = (kw_scan_step){.act = KW_SCAN_WAIT};
    switch (self->phase) {
    case KW_SCAN_IN_ROSTER:
        step->act = self->busy_n > 0 ? KW_SCAN_WAIT : KW_SCAN_ROSTER;
        return true;
    case KW_SCAN_IN_VIEW:
        if (next_ask(self, step) || self->busy_n > 0) {
            return true;
        }
        kw_scan_view_end(self);
        choose(self, now_ns);
        return false;
    case KW_SCAN_IN_PAGES:
        if (next_page(self, step) || self->busy_n > 0) {
            return true;
        }
        end_asking(self, now_ns);
        return false;
    case KW_SCAN_IN_SLOTS:
        if (kw_scan_slots_next(self, step) || self->busy_n > 0) {
            return true;
        }
        end_asking(self, now_ns);
        return false;
    case KW_SCAN_IN_PAUSE:
        if (now_ns < self->until_ns) {
            *step = pause_on(self);
            return true;
        }
        self->must_pause = false;
        self->phase = KW_SCAN_IN_ROSTER;
        return false;
    case KW_SCAN_AT_END:
        step->act = KW_SCAN_END;
        return true;
    }
    return true;
}

kw_scan_step kw_scan_walk_next(kw_scan_walk *self, uint64_t now_ns)
{
    kw_scan_step step;
    while (!step_of_phase(self, &step, now_ns)) {
    }
    return step;
}

void kw_scan_walk_on_told(kw_scan_walk *self, size_t host, const kw_scan_seen *seen,
                          uint64_t keys_n)
{
    kw_scan_host *told = &self->hosts[host];
    uint64_t salt = told->salt;
    self->busy_n--;
    if (self->spec.kind == KW_SCAN_OF_KEY && kw_scan_slots_has(&seen->moving, self->spec.first)) {
        salt += ++self->motion_n; /* what is seen of the key now is not enough */
        self->must_pause = self->motion_n > 1;
    }
    told->state = KW_SCAN_HOST_TOLD;
    told->id = seen->id;
    told->print = kw_scan_seen_print(seen, salt);
    told->keys_n = keys_n;
    if (self->spec.kind == KW_SCAN_OF_CLUSTER) {
        kw_scan_view_add(self, host, seen);
    }
}

/* True while a SCAN goes on as one can: at a cursor where it has been it goes in a circle. */
static bool goes_on(kw_scan_pass *pass, uint64_t keys_n, unsigned count)
{
    if (pass->pages_n > 1 && pass->cursor == pass->trap) {
        return false;
    }
    if (pass->pages_n >= 2 * pass->trap_pages_n) {
        pass->trap = pass->cursor;
        pass->trap_pages_n = pass->pages_n;
    }
    return pass->pages_n / 64 <= PAGES_MAX / 64 + keys_n / (count > 0 ? count : 1);
}

bool kw_scan_walk_on_page(kw_scan_walk *self, size_t host, uint64_t cursor)
{
    kw_scan_pass *pass = &self->passes[self->hosts[host].pass];
    self->busy_n--;
    self->hosts[host].busy_n--;
    pass->pages_n++;
    pass->seen_n += self->spec.count;
    pass->cursor = cursor;
    pass->is_done = cursor == 0;
    if (pass->is_done || goes_on(pass, self->hosts[host].keys_n, self->spec.count)) {
        return true;
    }
    self->hosts[host].is_stopped = true;
    self->hosts[host].is_hopeless = true;
    pass->cursor = 0; /* from its beginning, if ever */
    pass->pages_n = 0;
    pass->trap_pages_n = 0;
    return false;
}

void kw_scan_walk_on_failed(kw_scan_walk *self, const kw_scan_step *step, bool is_hopeless)
{
    kw_scan_host *host = &self->hosts[step->host];
    self->busy_n--;
    host->is_stopped = true;
    host->is_hopeless = host->is_hopeless || is_hopeless;
    if (step->act == KW_SCAN_ASK) {
        host->state = KW_SCAN_HOST_FAILED;
        return;
    }
    host->busy_n--;
    if (step->act != KW_SCAN_PAGE) {
        self->jobs[step->job].stage = KW_SCAN_JOB_FAILED;
    }
}

unsigned kw_scan_walk_open_n(const kw_scan_walk *self)
{
    unsigned n = 0;
    for (size_t slot = 0; self->slots != NULL && slot < KW_SLOTS_N; slot++) {
        n += self->slots[slot] == KW_SCAN_SLOT_OPEN ? 1 : 0;
    }
    return n;
}

/* How much of a pass is behind it. */
static double part_of(const kw_scan_walk *self, const kw_scan_pass *pass)
{
    if (pass->is_done) {
        return 1;
    }
    double keys_n = pass->host != KW_SCAN_NONE ? (double)self->hosts[pass->host].keys_n : 0;
    double part = keys_n > 0 ? (double)pass->seen_n / keys_n : 0;
    return part < 0.99 ? part : 0.99;
}

double kw_scan_walk_part(const kw_scan_walk *self)
{
    double sum = 0;
    if (self->spec.kind == KW_SCAN_OF_CLUSTER) {
        for (unsigned slot = self->spec.first; slot <= self->spec.last; slot++) {
            uint16_t at = self->slots[slot];
            bool is_covered = at != KW_SCAN_SLOT_OPEN && at != KW_SCAN_SLOT_GIVEN;
            sum += at == KW_SCAN_SLOT_GIVEN ? 1
                   : is_covered             ? 0.99 * part_of(self, &self->passes[at])
                                            : 0;
        }
        return sum / (self->spec.last - self->spec.first + 1);
    }
    size_t n = 0;
    for (size_t i = 0; i < self->passes_n; i++) {
        if (self->passes[i].is_known) {
            sum += part_of(self, &self->passes[i]);
            n++;
        }
    }
    return n > 0 ? sum / (double)n : 0;
}

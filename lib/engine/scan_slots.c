/* SPDX-License-Identifier: BSD-3-Clause */
/* Rounds of a walk by slots: which of them, at whom, and whether the view behind a round says the
 * same of them as the view before. */
#include "engine/scan_walk.h"

#include <string.h>

/* Keys of a slot that are asked for before it is known how many there are. */
#define COUNT_FIRST 1000u

/* A slot that has more keys than it says, again and again, is walked as a large one. */
#define COUNTS_MAX 8u

/* Slots of one host that are under way at once. */
#define BUSY_MAX 16u

/* A SCAN of a large slot has no more pages. */
#define PAGES_MAX ((uint64_t)1 << 24)

static size_t find_id(const kw_scan_walk *self, uint64_t id)
{
    for (size_t i = 0; i < self->hosts_n; i++) {
        if (self->hosts[i].state == KW_SCAN_HOST_TOLD && self->hosts[i].id == id) {
            return i;
        }
    }
    return KW_SCAN_NONE;
}

static bool may_ask(const kw_scan_walk *self, size_t host)
{
    return host < self->hosts_n && self->hosts[host].state == KW_SCAN_HOST_TOLD &&
           !self->hosts[host].is_stopped;
}

/* The other node of a slot in motion; KW_SCAN_NONE where it is not known, or there are several. */
static size_t find_peer(const kw_scan_walk *self, unsigned slot, size_t owner)
{
    const kw_scan_view *view = self->view;
    size_t peer = KW_SCAN_NONE;
    for (size_t i = 0; i < view->motions_n; i++) {
        const kw_scan_motion *motion = &view->motions[i];
        if (motion->slot != slot) {
            continue;
        }
        /* What the owner imports is on its way to where it is already. */
        size_t other = motion->host != owner ? motion->host : find_id(self, motion->peer);
        bool is_other = peer != KW_SCAN_NONE && peer != other;
        if (other == KW_SCAN_NONE || is_other || (motion->host == owner) == motion->is_import) {
            return KW_SCAN_NONE;
        }
        peer = other;
    }
    return peer;
}

/* A number for all that the hosts of a view say of the slot's motion, in whatever order. */
static uint64_t motion_of(const kw_scan_view *view, unsigned slot)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < view->motions_n; i++) {
        const kw_scan_motion *motion = &view->motions[i];
        if (motion->slot == slot) {
            sum += (motion->peer ^ (motion->by * 2 + motion->is_import)) *
                   UINT64_C(0x9e3779b97f4a7c15);
        }
    }
    return sum;
}

/* A large slot that rests is gone on with where another process has left it. */
static void take_half(kw_scan_walk *self, kw_scan_job *job)
{
    for (size_t i = 0; i < self->halves_n; i++) {
        const kw_scan_half *half = &self->halves[i];
        if (half->slot != job->slot) {
            continue;
        }
        if (half->print == job->print && job->peer == KW_SCAN_UNOWNED) {
            job->is_large = true;
            job->cursor = half->cursor;
        }
        self->halves[i] = self->halves[--self->halves_n];
        return;
    }
}

/* Adds a job for the slot, where it can be walked now. */
static void add_job(kw_scan_walk *self, unsigned slot)
{
    const kw_scan_view *view = self->view;
    uint16_t owner = view->owner[slot];
    bool is_moving = kw_scan_slots_has(&view->moving, slot);
    size_t peer = is_moving && owner < self->hosts_n ? find_peer(self, slot, owner) : KW_SCAN_NONE;
    if (!may_ask(self, owner) || (is_moving && !may_ask(self, peer))) {
        self->stuck_slot = slot;
        return;
    }
    if (self->hosts[owner].quota == 0) {
        return;
    }
    self->hosts[owner].quota--;
    kw_scan_job *job = &self->jobs[self->jobs_n++];
    memset(job, 0, sizeof(*job));
    job->slot = (uint16_t)slot;
    job->owner = owner;
    job->peer = is_moving ? (uint16_t)peer : KW_SCAN_UNOWNED;
    job->print = self->hosts[owner].print;
    job->peer_print = is_moving ? self->hosts[peer].print : 0;
    job->motion = is_moving ? motion_of(view, slot) : 0;
    job->count = COUNT_FIRST;
    take_half(self, job);
}

bool kw_scan_slots_begin(kw_scan_walk *self)
{
    self->jobs_n = 0;
    self->job_at = 0;
    if (self->spec.kind != KW_SCAN_OF_CLUSTER) {
        return false;
    }
    for (size_t i = 0; i < self->hosts_n; i++) {
        self->hosts[i].quota = self->round_n / self->hosts_n + 1;
    }
    for (unsigned slot = self->spec.first;
         slot <= self->spec.last && self->jobs_n < KW_SCAN_ROUND_MAX; slot++) {
        if (self->slots[slot] == KW_SCAN_SLOT_OPEN) {
            add_job(self, slot);
        }
    }
    return self->jobs_n > 0;
}

static size_t host_of(const kw_scan_job *job)
{
    return job->is_at_peer ? job->peer : job->owner;
}

static kw_scan_step step_of(kw_scan_job *job, size_t at)
{
    kw_scan_step step = {.act = KW_SCAN_SLOT, .host = host_of(job), .job = at};
    step.act = job->is_large ? KW_SCAN_LARGE : job->wants_count ? KW_SCAN_COUNT : KW_SCAN_SLOT;
    step.slot = job->slot;
    step.cursor = job->cursor;
    step.count = job->count;
    return step;
}

bool kw_scan_slots_next(kw_scan_walk *self, kw_scan_step *step)
{
    while (self->job_at < self->jobs_n && self->jobs[self->job_at].stage != KW_SCAN_JOB_NEW) {
        self->job_at++;
    }
    for (size_t i = self->job_at; i < self->jobs_n; i++) {
        kw_scan_job *job = &self->jobs[i];
        if (self->busy_n >= BUSY_MAX * self->spec.parallel_n) {
            return false;
        }
        if (job->stage != KW_SCAN_JOB_NEW || !may_ask(self, host_of(job)) ||
            self->hosts[host_of(job)].busy_n >= BUSY_MAX) {
            continue;
        }
        job->stage = KW_SCAN_JOB_BUSY;
        self->busy_n++;
        self->hosts[host_of(job)].busy_n++;
        *step = step_of(job, i);
        return true;
    }
    return false;
}

/* A step of the job is over; again: there is another one. */
static kw_scan_job *end_step(kw_scan_walk *self, size_t at, bool again)
{
    kw_scan_job *job = &self->jobs[at];
    self->busy_n--;
    self->hosts[host_of(job)].busy_n--;
    job->stage = again ? KW_SCAN_JOB_NEW : KW_SCAN_JOB_GIVEN;
    self->job_at = again && at < self->job_at ? at : self->job_at;
    return job;
}

bool kw_scan_walk_is_whole(kw_scan_walk *self, size_t job, size_t keys_n)
{
    if (keys_n < self->jobs[job].count) {
        return true;
    }
    end_step(self, job, true)->wants_count = true;
    return false;
}

void kw_scan_walk_on_count(kw_scan_walk *self, size_t at, uint64_t keys_n)
{
    kw_scan_job *job = end_step(self, at, true);
    job->wants_count = false;
    job->is_large = keys_n > KW_SCAN_SLOT_KEYS_MAX || ++job->counts_n > COUNTS_MAX;
    if (!job->is_large) {
        uint32_t n = (uint32_t)keys_n;
        job->count = n + n / 8 + COUNT_FIRST; /* more may come meanwhile */
    }
}

void kw_scan_walk_on_slot(kw_scan_walk *self, size_t at)
{
    bool has_peer = self->jobs[at].peer != KW_SCAN_UNOWNED && !self->jobs[at].is_at_peer;
    kw_scan_job *job = end_step(self, at, has_peer);
    if (has_peer) {
        job->is_at_peer = true;
        job->is_large = false;
        job->wants_count = false;
        job->counts_n = 0;
        job->cursor = 0;
        job->pages_n = 0;
        job->count = COUNT_FIRST;
    }
}

bool kw_scan_walk_on_large(kw_scan_walk *self, size_t at, uint64_t cursor)
{
    kw_scan_job *job = &self->jobs[at];
    job->cursor = cursor;
    if (cursor == 0) {
        kw_scan_walk_on_slot(self, at);
        return true;
    }
    job = end_step(self, at, true);
    if (++job->pages_n < PAGES_MAX) {
        return true;
    }
    job->stage = KW_SCAN_JOB_FAILED;
    self->hosts[host_of(job)].is_stopped = true;
    self->hosts[host_of(job)].is_hopeless = true;
    return false;
}

static bool is_there(const kw_scan_walk *self, uint64_t print)
{
    size_t i = 0;
    while (i < self->hosts_n && self->hosts[i].print != print) {
        i++;
    }
    return i < self->hosts_n;
}

/* True where the view says the same of the slot as the one in front of its walk, and whom it was
 * asked of is who he was. */
static bool is_confirmed(const kw_scan_walk *self, const kw_scan_job *job)
{
    uint16_t owner = self->view->owner[job->slot];
    bool is_moving = kw_scan_slots_has(&self->view->moving, job->slot);
    if (job->stage != KW_SCAN_JOB_GIVEN || owner >= self->hosts_n ||
        self->hosts[owner].print != job->print || is_moving != (job->peer_print != 0)) {
        return false;
    }
    return !is_moving ||
           (is_there(self, job->peer_print) && motion_of(self->view, job->slot) == job->motion);
}

void kw_scan_slots_confirm(kw_scan_walk *self)
{
    size_t n = 0;
    for (size_t i = 0; i < self->jobs_n; i++) {
        if (is_confirmed(self, &self->jobs[i])) {
            self->slots[self->jobs[i].slot] = KW_SCAN_SLOT_GIVEN;
            n++;
        }
    }
    if (self->jobs_n == 0) {
        return;
    }
    self->rounds_n++;
    unsigned round_n = n == self->jobs_n ? self->round_n * 2 : self->round_n / 2;
    self->round_n = round_n < KW_SCAN_ROUND_MIN   ? KW_SCAN_ROUND_MIN
                    : round_n > KW_SCAN_ROUND_MAX ? KW_SCAN_ROUND_MAX
                                                  : round_n;
    self->must_pause = n == 0;
    self->given_n += n;
    self->jobs_n = 0;
}

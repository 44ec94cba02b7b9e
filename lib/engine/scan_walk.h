/* SPDX-License-Identifier: BSD-3-Clause */
/* Scan walk: what is to be asked of whom, so that every key that is there from beginning to end is
 * given at least once.
 *
 * A walk goes through views and pages. A view asks each host who it is, and in a cluster which
 * slots it has and which are in motion. Between two views pages are asked: SCAN of each host, by
 * cursors. What the view behind them says decides what they were worth: a host that is another
 * process now, or whose config epoch rose, was walked in vain; in a cluster its slots are to be
 * walked again, in rounds: some slots, each as a whole, and a view behind them, which has to say of
 * each of them what the view before has said; it may be another process that asks, by the cursor.
 * On other topologies such a host is walked anew.
 *
 * Slots are never in two states at once: given for good (KW_SCAN_SLOT_GIVEN), to be walked by slot
 * (KW_SCAN_SLOT_OPEN), or covered by the SCAN of one host, as far as that goes. They never go back,
 * so that a walk comes to its end as soon as each slot has rested for a moment.
 *
 * A host that takes a slot raises its config epoch (Redis Cluster specification; with the highest
 * one already it does not, but then who takes the slot back does): a slot that went and came back
 * between two views is seen by that. A slot in motion is asked for at both its nodes, where it
 * leaves first; that counts where both views tell of the same motion. */
#ifndef ENGINE_SCAN_WALK_H
#define ENGINE_SCAN_WALK_H

#include "base/memory.h"
#include "engine/scan_seen.h"

/* The state of a slot: the number of the SCAN that covers it, or one of these. */
#define KW_SCAN_SLOT_OPEN  ((uint16_t)0xfffe) /* to be walked by itself */
#define KW_SCAN_SLOT_GIVEN ((uint16_t)0xffff) /* its keys were given, or are not wanted */

/* Hosts at most, as maps have nodes at most. */
#define KW_SCAN_HOSTS_MAX ((size_t)2000)
#define KW_SCAN_NONE      SIZE_MAX

/* A slot with more keys is not asked for as a whole: its node is walked by SCAN, for its keys. */
#define KW_SCAN_SLOT_KEYS_MAX 100000u

/* Slots of one round. */
#define KW_SCAN_ROUND_MIN 8u
#define KW_SCAN_ROUND_MAX 2048u

/* What is walked. */
typedef enum kw_scan_kind {
    KW_SCAN_OF_HOSTS,   /* each host, by itself */
    KW_SCAN_OF_CLUSTER, /* slots of a cluster */
    KW_SCAN_OF_KEY      /* the elements of one key, at whoever has it: hosts[0] stands for it */
} kw_scan_kind;

typedef struct kw_scan_spec {
    kw_scan_kind kind;
    unsigned first; /* slots, of a cluster */
    unsigned last;
    bool is_by_slot; /* no SCAN of hosts: the slots are few */
    unsigned count;  /* keys of a page, about */
    unsigned parallel_n;
} kw_scan_spec;

/* The SCAN of one process. */
typedef struct kw_scan_pass {
    uint64_t print;  /* whom it is of */
    uint64_t cursor; /* what was given ends here */
    uint64_t seen_n; /* keys that the server has gone through, about */
    unsigned level;  /* passes of a lower level come first */
    bool is_done;
    bool is_known; /* it is in use; others are free */
    size_t host;   /* whose it is by the last view, or KW_SCAN_NONE */
    size_t slots_n;
    uint64_t pages_n;
    uint64_t trap; /* a cursor that it passed: there again, it goes in a circle (Brent 1980) */
    uint64_t trap_pages_n;
} kw_scan_pass;

/* Who is to be asked, as the map says; borrowed. */
typedef struct kw_scan_place {
    const char *name; /* by which it is asked */
    uint64_t salt;    /* for kw_scan_seen_print */
} kw_scan_place;

typedef enum kw_scan_host_state {
    KW_SCAN_HOST_NEW,
    KW_SCAN_HOST_ASKED,
    KW_SCAN_HOST_TOLD,
    KW_SCAN_HOST_FAILED
} kw_scan_host_state;

typedef struct kw_scan_host {
    char *name;
    uint64_t salt;
    uint64_t id;
    uint64_t print;  /* by the last view; 0: not known */
    uint64_t keys_n; /* as DBSIZE says */
    kw_scan_host_state state;
    bool is_stopped; /* something of it has failed since the last view */
    bool is_hopeless;
    size_t busy_n; /* pages or slots under way */
    size_t pass;   /* or KW_SCAN_NONE */
    size_t quota;  /* slots of the next round that are its */
} kw_scan_host;

/* A slot's motion as the hosts of a view tell it. */
typedef struct kw_scan_motion {
    uint16_t slot;
    bool is_import;
    size_t host;   /* who tells it .. */
    uint64_t by;   /* .. and the hash of his id */
    uint64_t peer; /* hash of an id */
} kw_scan_motion;

/* Of those behind, nothing is known but that they move: they wait. */
#define KW_SCAN_MOTIONS_MAX ((size_t)512)

/* What a view says of slots. */
typedef struct kw_scan_view {
    uint16_t owner[KW_SLOTS_N]; /* a host, or .. */
    kw_scan_slots moving;
    kw_scan_motion motions[KW_SCAN_MOTIONS_MAX]; /* of some of these, motions_n of them */
    size_t motions_n;
} kw_scan_view;
#define KW_SCAN_UNOWNED ((uint16_t)0xffff)
#define KW_SCAN_TORN    ((uint16_t)0xfffe) /* two hosts claim it */

typedef enum kw_scan_job_stage {
    KW_SCAN_JOB_NEW,
    KW_SCAN_JOB_BUSY,
    KW_SCAN_JOB_GIVEN,
    KW_SCAN_JOB_FAILED
} kw_scan_job_stage;

/* One slot in a round. */
typedef struct kw_scan_job {
    uint16_t slot;
    uint16_t owner;
    uint16_t peer;       /* where it goes, or comes from; KW_SCAN_UNOWNED: it rests */
    uint64_t print;      /* of the owner, by the view in front of the round, .. */
    uint64_t peer_print; /* .. of the peer, or 0, .. */
    uint64_t motion;     /* .. and what the view says of its motion */
    kw_scan_job_stage stage;
    bool is_at_peer;   /* the owner was asked */
    bool wants_count;  /* it has more keys than it was asked for */
    unsigned counts_n; /* how often that was asked for */
    bool is_large;     /* by SCAN of its host, from cursor on */
    uint64_t cursor;
    uint64_t pages_n;
    uint32_t count; /* keys to be asked for */
} kw_scan_job;

/* A large slot of which another process has walked a part. */
typedef struct kw_scan_half {
    uint16_t slot;
    uint64_t print; /* whom it was asked of */
    uint64_t cursor;
} kw_scan_half;
#define KW_SCAN_HALVES_MAX ((size_t)16)

typedef enum kw_scan_phase {
    KW_SCAN_IN_ROSTER,
    KW_SCAN_IN_VIEW,
    KW_SCAN_IN_PAGES,
    KW_SCAN_IN_SLOTS,
    KW_SCAN_IN_PAUSE,
    KW_SCAN_AT_END
} kw_scan_phase;

typedef struct kw_scan_walk {
    const kw_allocator *mem;
    kw_scan_spec spec;
    kw_scan_phase phase;
    kw_scan_host *hosts;
    size_t hosts_n;
    size_t host_at; /* the next to be looked at */
    kw_scan_pass *passes;
    size_t passes_n;
    uint64_t ring;      /* which ring the passes are of; 0: not known */
    uint64_t ring_now;  /* by the last roster */
    bool ring_keeps;    /* members that join it take keys, and nobody else gets any */
    bool is_begun;      /* a view has said what the passes are */
    kw_scan_view *view; /* of a cluster: the last one */
    uint16_t *slots;    /* of a cluster: their states */
    uint64_t motion_n;  /* views in which the one key was in motion */
    kw_scan_job *jobs;  /* of a round, or what a cursor brought of one; room for
                           KW_SCAN_ROUND_MAX */
    size_t jobs_n;
    kw_scan_half halves[KW_SCAN_HALVES_MAX]; /* that a cursor brought */
    size_t halves_n;
    size_t job_at; /* those before it are under way or have ended */
    size_t busy_n; /* steps under way */
    unsigned round_n;
    unsigned rounds_n; /* rounds so far */
    size_t given_n;    /* slots that the last view brought to their end */
    unsigned pause_ms;
    uint64_t until_ns; /* of a pause */
    uint64_t give_up_ns;
    bool wants_map;      /* the map is to be fetched anew before the next roster */
    bool must_pause;     /* the last round was in vain */
    unsigned stuck_slot; /* an open one that nobody could be asked for */
} kw_scan_walk;

typedef enum kw_scan_act {
    KW_SCAN_ROSTER,    /* kw_scan_walk_on_roster, at once */
    KW_SCAN_ASK,       /* ask host who it is */
    KW_SCAN_PAGE,      /* host's SCAN, from cursor on */
    KW_SCAN_COUNT,     /* how many keys of slot host has */
    KW_SCAN_SLOT,      /* count keys of slot */
    KW_SCAN_LARGE,     /* host's SCAN, from cursor on, for slot alone */
    KW_SCAN_WAIT,      /* for a step under way */
    KW_SCAN_PAUSE,     /* until until_ns */
    KW_SCAN_FAIL_HOST, /* a host stays away, and nothing else is left */
    KW_SCAN_FAIL_SLOT, /* so does a slot: nobody has it, or it is in motion */
    KW_SCAN_END
} kw_scan_act;

typedef struct kw_scan_step {
    kw_scan_act act;
    size_t host;
    size_t job; /* of COUNT, SLOT, LARGE */
    unsigned slot;
    uint64_t cursor;
    uint32_t count;
    uint64_t until_ns;
} kw_scan_step;

/* A walk from the beginning; KW_ERR_NOMEM. After success kw_scan_walk_fini; mem outlives it. */
bool kw_scan_walk_init(kw_scan_walk *self, const kw_allocator *mem, const kw_scan_spec *spec);
void kw_scan_walk_fini(kw_scan_walk *self);

/* The next step. Of ASK, PAGE, COUNT, SLOT and LARGE one is under way until its event comes; the
 * others are over at once. */
kw_scan_step kw_scan_walk_next(kw_scan_walk *self, uint64_t now_ns);

/* The caller stays until then; what cannot be had fails there. */
void kw_scan_walk_stay(kw_scan_walk *self, uint64_t give_up_ns);

/* The answer to ROSTER: whom the map names. ring: which ring it is, 0 for none; keeps: members that
 * join it take keys from others, and nobody else gets any. False where there is no memory. */
bool kw_scan_walk_on_roster(kw_scan_walk *self, const kw_scan_place *places, size_t places_n,
                            uint64_t ring, bool keeps);

/* The answer to ASK; keys_n as DBSIZE says. */
void kw_scan_walk_on_told(kw_scan_walk *self, size_t host, const kw_scan_seen *seen,
                          uint64_t keys_n);

/* Keys of a page were given; cursor: the next one, 0 behind the last. False where the server goes
 * in a circle, or on without end: its SCAN cannot be trusted. */
bool kw_scan_walk_on_page(kw_scan_walk *self, size_t host, uint64_t cursor);

/* How many keys the slot of the job at that place has. */
void kw_scan_walk_on_count(kw_scan_walk *self, size_t at, uint64_t keys_n);

/* True where so many keys, as an answer to SLOT, are all; else there will be other steps for it. */
bool kw_scan_walk_is_whole(kw_scan_walk *self, size_t job, size_t keys_n);

/* All keys that the host of the job at that place has of its slot were given. */
void kw_scan_walk_on_slot(kw_scan_walk *self, size_t at);

/* Keys of a LARGE page were given; cursor: the next one. False as by kw_scan_walk_on_page. */
bool kw_scan_walk_on_large(kw_scan_walk *self, size_t job, uint64_t cursor);

/* A step has failed; hopeless: it would again. */
void kw_scan_walk_on_failed(kw_scan_walk *self, const kw_scan_step *step, bool is_hopeless);

/* How much of the walk is behind it, 0 to 1, about. */
double kw_scan_walk_part(const kw_scan_walk *self);

/* Slots that are to be walked by themselves, as of now. */
unsigned kw_scan_walk_open_n(const kw_scan_walk *self);

/* For the sources of the machine: */

/* A roster has come: the last view is that before, and a new one begins. */
void kw_scan_view_begin(kw_scan_walk *self);

/* What host has said of slots. */
void kw_scan_view_add(kw_scan_walk *self, size_t host, const kw_scan_seen *seen);

/* All hosts have said what they are, or have failed: what it means. */
void kw_scan_view_end(kw_scan_walk *self);

/* True where hosts of the view have failed. */
bool kw_scan_view_has_failed(const kw_scan_walk *self);

/* The slots of the next round; false where none can be walked. */
bool kw_scan_slots_begin(kw_scan_walk *self);

/* The next step of the round; false where nothing is left to be asked now. */
bool kw_scan_slots_next(kw_scan_walk *self, kw_scan_step *step);

/* What the view behind a round says of its slots. */
void kw_scan_slots_confirm(kw_scan_walk *self);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* Plan: all that a run will be, made of its seed: the world, the callers and their commands, and
 * what goes wrong. Parts of it can be left out, so that a failure is shown with what it needs
 * alone. */
#ifndef SIM_PLAN_H
#define SIM_PLAN_H

#include "sim/sched.h"

#define SIM_CALLERS  12
#define SIM_COMMANDS 160
#define SIM_PARTS    4
#define SIM_FAULTS   12
#define SIM_KEYS     8
#define SIM_CHANNELS 2
#define SIM_GROUP    8 /* commands that are given together */

typedef enum sim_kind { SIM_PLAIN, SIM_CLUSTER, SIM_RING, SIM_SENTINEL, SIM_KINDS_N } sim_kind;

/* How many callers, commands and faults, and probes behind them; and for how long. */
typedef enum sim_size { SIM_TINY, SIM_SMALL, SIM_LARGE, SIM_SIZES_N } sim_size;

typedef enum sim_way {
    SIM_CALL,
    SIM_BATCH,
    SIM_TICKET,
    SIM_CALLBACK,
    SIM_SESSION,
    SIM_WAYS_N
} sim_way;

typedef enum sim_act {
    SIM_READ,   /* HGET k id */
    SIM_PUSH,   /* RPUSH k id: runs once */
    SIM_STORE,  /* SET k id */
    SIM_MANY,   /* MGET of keys of several owners */
    SIM_STORES, /* MSET of such */
    SIM_BLOCK,  /* BLPOP */
    SIM_PINNED, /* HGET at a server that the caller names */
    SIM_WHOLE,  /* RPUSH several times, as a transaction given whole */
    SIM_ACTS_N
} sim_act;

typedef enum sim_fault_kind {
    SIM_NO_FAULT,
    SIM_RESETS,     /* all streams of a server */
    SIM_CUTS,       /* a stream, in the middle of what it carries */
    SIM_SILENCE,    /* streams that are half open */
    SIM_SWALLOW,    /* packets of a host, for a while */
    SIM_SLOWNESS,   /* a host is far away for a while */
    SIM_KILL,       /* a server dies, and comes back */
    SIM_STOP,       /* a server stands still for a while */
    SIM_STATE,      /* LOADING, BUSY and the like, for a while */
    SIM_GARBAGE,    /* bytes that are no reply */
    SIM_UNASKED,    /* a reply while nothing is asked */
    SIM_TRICKLE,    /* short sends and receives */
    SIM_CLOCK,      /* the wall clock jumps */
    SIM_MEMORY,     /* an allocation fails */
    SIM_NUMBERS,    /* descriptors are used up, for a while */
    SIM_NAMES_AWAY, /* the name server says nothing for a while, or knows nothing */
    SIM_MOVE,       /* a slot moves */
    SIM_MOVE_ALL,   /* slots move as a whole */
    SIM_FAILOVER,
    SIM_UNSERVED, /* a slot has no owner for a while */
    SIM_REPLACE,  /* a server goes for good, another one comes in its place */
    SIM_REPLACE_ALL,
    SIM_APART,    /* a primary is cut off from the others, and believes still to be it */
    SIM_REBORN,   /* a server goes, and another one is at its address */
    SIM_FORGET,   /* a sentinel is behind, knows little, or nothing of the group */
    SIM_MEMBERS,  /* a ring has others */
    SIM_FORK,     /* the program forks */
    SIM_CLOSE,    /* the handle is closed while calls are under way */
    SIM_DRAIN,    /* it takes nothing new, then is closed; the last one that is drawn of all */
    SIM_STRANGER, /* a sentinel's address is somebody else's */
    SIM_FAULTS_N
} sim_fault_kind;

typedef struct sim_command {
    sim_way way;
    sim_act act;
    unsigned key;
    unsigned parts_n; /* keys, or 1; each part has an id of its own */
    unsigned id;      /* of the first part */
    uint64_t pause_ns;
    uint64_t timeout_ms; /* 0: the handle's */
    unsigned times_n;    /* given so often: by calls one after the other, else at once; 0: once */
    bool is_given_up;    /* a ticket that nobody waits for */
    bool is_cancelled;   /* a ticket, or one with a callback, after cancel_ns */
    uint64_t cancel_ns;
    unsigned server;      /* that a pinned one names, from 1; 0: by its number */
    unsigned char handle; /* which of those that share what they know */
    bool is_off;
} sim_command;

typedef struct sim_caller {
    sim_way way;
    unsigned first; /* of its commands */
    unsigned commands_n;
    unsigned group_n;  /* commands that are given together */
    uint64_t begin_ns; /* after the run's begin */
    bool is_in_loop;   /* its sessions are the host's loop's */
    bool is_off;
} sim_caller;

typedef struct sim_fault {
    sim_fault_kind kind;
    uint64_t at_ns; /* after the run's begin */
    uint64_t length_ns;
    unsigned target;
    uint64_t value;
    bool is_off;
} sim_fault;

typedef struct sim_plan {
    uint64_t seed;
    sim_mix mix;
    sim_kind kind;
    unsigned primaries_n;
    unsigned replicas_n; /* of each */
    unsigned sentinels_n;
    unsigned spares_n; /* servers that a ring may take in */
    uint64_t latency_ns;
    uint64_t jitter_ns;
    uint64_t bandwidth;
    uint64_t news_ns;    /* from node to node, at most */
    uint64_t service_ns; /* of a command, at a server */
    bool has_names;
    uint64_t late_ns;      /* a name's first address is so far away, the second one dead; 0: no */
    bool has_dead_address; /* a name's first address swallows packets */
    bool waits_for_down;   /* on-node-down=wait */
    bool moves_keys;       /* on-node-down=next, of a ring; with the next one =eject */
    bool ejects;
    bool is_old;     /* HELLO is refused */
    bool hangs_up;   /* or hung up at */
    bool has_thread; /* resolver=thread */
    unsigned protocol;
    unsigned share_above; /* option lane-share-above, or as given; 0: default */
    unsigned pool_max;
    uint64_t timeout_ms;
    unsigned channels_n;   /* that a subscriber hears; 0: there is none */
    unsigned walks_n;      /* threads that walk all keys */
    unsigned nears_n;      /* threads that read by a cache with values near */
    bool reads_in_loop;    /* and some of them in the host's loop */
    uint64_t staleness_ms; /* near-staleness */
    unsigned loads_n;      /* threads that fetch by a cache, which loads */
    unsigned caches_n;     /* that they have, as several processes */
    bool loads_in_loop;    /* some fetch in the host's loop */
    bool loads_are_near;   /* and the caches keep values near */
    unsigned loads_max;    /* options of the caches */
    uint64_t lease_ms;
    uint64_t ttl_ms;
    uint64_t stale_ms;
    uint64_t stale_if_error_ms;
    uint64_t negative_ms;
    uint64_t load_ms;    /* what a load takes at most */
    unsigned fails_in;   /* one of so many loads fails, .. */
    unsigned changes_in; /* .. and one of so many times a key is changed by who fetches else */
    uint64_t writes_ms;  /* between two writes of others, at most */
    bool reopens;        /* after-fork=reopen */
    bool is_sharded;     /* the channels are sharded ones */
    bool has_shared;     /* every other caller has a handle of kw_open_shared */
    bool is_strict;      /* order=strict */
    bool is_long;        /* outages and deadlines of many seconds */
    bool loses_owners;   /* slots of a silent server are another one's, and nothing else is wrong */
    bool owes;           /* connections are silent once, with answers owed to nobody on them */
    bool meets;          /* callers meet on one connection, and nothing is wrong */
    uint64_t well_ns;    /* after the run's begin: who calls from here on meets nothing but what is
                            left of troubles that are over; 0: that is not so */
    uint64_t quick_ns;   /* and is answered within this, and some round trips; 0: in time */
    bool only_dies;      /* the one server dies and comes back, and nothing else is wrong */
    sim_size size;
    sim_caller callers[SIM_CALLERS];
    unsigned callers_n;
    sim_command commands[SIM_COMMANDS];
    unsigned commands_n;
    sim_fault faults[SIM_FAULTS];
    unsigned faults_n;
    unsigned ids_n;     /* from 1 */
    uint64_t heal_ns;   /* after the run's begin: all is well from here on */
    unsigned memory_at; /* the allocation that fails; 0: none */
} sim_plan;

/* What seeds are to be of. SIM_KINDS_N: any. */
void sim_plan_make(sim_plan *plan, uint64_t seed, sim_kind kind);

/* Options of caches that load. */
struct sim_chance;
void sim_plan_draw_loads(sim_plan *plan, struct sim_chance *random);

/* Prints it, for people. */
void sim_plan_show(const sim_plan *plan);

/* True where the plan has such a fault. */
bool sim_plan_has(const sim_plan *plan, sim_fault_kind kind);

const char *sim_kind_name(sim_kind kind);
const char *sim_way_name(sim_way way);
const char *sim_act_name(sim_act act);
const char *sim_fault_name(sim_fault_kind kind);

#endif

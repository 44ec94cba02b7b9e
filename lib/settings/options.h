/* SPDX-License-Identifier: BSD-3-Clause */
/* Options: the settings of a handle, read and checked, for every room to read. */
#ifndef SETTINGS_OPTIONS_H
#define SETTINGS_OPTIONS_H

#include "base/endpoint.h"
#include "base/memory.h"
#include "engine/read_preference.h"
#include "route/node_rules.h"
#include "route/ring_members.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum kw_scheme {
    KW_SCHEME_SINGLE,  /* redis://, redis+unix://, valkey... */
    KW_SCHEME_CLUSTER, /* redis-cluster:// */
    KW_SCHEME_SENTINEL,
    KW_SCHEME_RING
} kw_scheme;

/* What becomes of a server's keys while it is down. */
typedef enum kw_node_down_policy {
    KW_NODE_DOWN_FAIL,  /* an error at once, where no other server may take its place */
    KW_NODE_DOWN_NEXT,  /* a ring: the next node of each key's preference list has them */
    KW_NODE_DOWN_EJECT, /* a ring: it is built anew without the node */
    KW_NODE_DOWN_WAIT   /* calls wait for its return until their deadline */
} kw_node_down_policy;

/* What of a server's certificate is looked at. */
typedef enum kw_tls_verify {
    KW_TLS_VERIFY_FULL, /* who signed it, and whom it is for */
    KW_TLS_VERIFY_CA,   /* who signed it */
    KW_TLS_VERIFY_NONE
} kw_tls_verify;

/* What becomes of a server that answers in the place of another one. */
typedef enum kw_identity_rule {
    KW_IDENTITY_FOLLOW, /* it is used where all were replaced */
    KW_IDENTITY_STRICT, /* it is not, unless those that the settings name vouch for it */
    KW_IDENTITY_OFF     /* nobody is asked who it is */
} kw_identity_rule;

/* Whether sentinels speak TLS. */
typedef enum kw_sentinel_tls {
    KW_SENTINEL_TLS_SAME, /* as the servers do */
    KW_SENTINEL_TLS_OFF,
    KW_SENTINEL_TLS_ON
} kw_sentinel_tls;

/* The zone of a server, as the option zones gives it. */
typedef struct kw_zone_pair {
    kw_endpoint server;
    uint64_t zone; /* kw_zone_hash of its name */
} kw_zone_pair;

/* An address as servers announce it, and the one to dial instead. */
typedef struct kw_address_pair {
    kw_endpoint from;
    kw_endpoint to;
} kw_address_pair;

/* What this build of the library can do, told by who makes the options. */
typedef struct kw_build {
    bool has_tls;
    bool has_resp3;
} kw_build;

/* Said where TLS is asked for and the build has none. */
#define KW_TLS_MISSING                                                                             \
    "keyway was built without TLS; build it with hiredis 1.0 or later and its hiredis_ssl, or "    \
    "with make TLS=yes where OpenSSL's headers (libssl-dev) are"

/* The types of settings that may change while a handle is in use (kw_option_change): any thread
 * reads them. */
typedef _Atomic(uint64_t) kw_live_number;
typedef _Atomic(bool) kw_live_choice;
typedef _Atomic(kw_read_preference) kw_live_read;

typedef struct kw_options {
    kw_build build;
    kw_scheme scheme;
    kw_endpoint *seeds; /* servers named by the URI, in its order */
    size_t seeds_n;
    kw_ring_members ring_members; /* members of a ring, in place of seeds */
    char *placement;              /* of a ring; NULL: the default */
    uint64_t vnodes;              /* points for each unit of weight; 0: as placement says */
    kw_live_number down_after;    /* failures in a row that make a server one that is down */
    kw_live_number up_after;      /* answered probes in a row that bring a ring's node back */
    kw_node_down_policy on_node_down;
    uint64_t copies_n;         /* servers of a ring that keep a key; 1: one, as a plain value */
    uint64_t write_quorum;     /* copies that a write is done at; 0: more than half */
    uint64_t read_quorum;      /* copies that a read asks at least; 0: more than half */
    bool is_weak_quorum;       /* reads and writes need not meet */
    bool has_quorum_guard;     /* a copy without its marker has lost its data, and says nothing */
    bool has_quorum_hints;     /* what a copy misses is left with the next node */
    uint64_t version_ahead_ms; /* versions further ahead are not believed; 0: a quarter of: */
    uint64_t tombstone_ms;     /* how long what is deleted is remembered */
    char *user;                /* NULL: none */
    char *password;            /* NULL: none */
    uint64_t login_overlap_ms; /* how long a login is still tried that a newer one has replaced */
    char *client_name;         /* NULL: none */
    char *service;             /* what sentinels call the primary and its replicas; NULL: none */
    char *sentinel_user;
    char *sentinel_password; /* both of the sentinels alone, not of the servers; NULL: none */
    bool has_tls;            /* of the scheme: rediss:// and its like */
    kw_sentinel_tls sentinel_tls;
    kw_tls_verify tls_verify;
    kw_identity_rule identity;
    char *tls_ca;          /* file of authorities; NULL: none */
    char *tls_ca_dir;      /* folder of them; NULL: none; neither: the system's */
    char *tls_cert;        /* file of the client's own certificate; NULL: none */
    char *tls_key;         /* file of its key; NULL: none */
    char *tls_server_name; /* whom certificates must name; NULL: the host that is dialled */
    uint64_t database;
    uint64_t protocol;                  /* 2 or 3: RESP2 or RESP3 with the servers */
    kw_live_number timeout_ms;          /* deadline of a call, from its start */
    kw_live_number connect_timeout_ms;  /* as set; 0: see kw_options_connect_timeout_ms */
    kw_live_number slow_ms;             /* the host is told of calls that take longer; 0: of none */
    kw_live_number stall_ms;            /* an answer later than this asks for a new map */
    kw_live_number grace_ms;            /* life of calls on a node that lost their slot */
    kw_live_number refresh_interval_ms; /* slow periodic map refresh; 0: never */
    uint64_t keep_alive_ms;             /* TCP keep-alive idle time; 0: off */
    uint64_t user_timeout_ms;           /* TCP user timeout; 0: the system's */
    kw_live_number pool_min;            /* connections per node that are made ahead, and kept */
    kw_live_number pool_max;            /* connections per node */
    kw_live_number share_above;   /* callers of one node; more than these share a connection */
    kw_live_number pool_idle_ms;  /* an idle connection older than this is closed */
    kw_live_number redirects_max; /* MOVED and ASK per try */
    uint64_t reply_bytes_max;
    uint64_t reply_items_max; /* array elements in one reply, nested ones included */
    uint64_t reply_depth_max;
    kw_live_number queue_max;        /* commands under way of tickets and callbacks, each .. */
    kw_live_number queue_bytes_max;  /* .. and their bytes */
    bool is_order_strict;            /* of each key, one command is on its way at a time */
    bool repeats_reads;              /* a read whose reply was lost is sent again */
    kw_live_choice refuses_split;    /* keys in different slots are an error, always */
    bool has_resolver_thread;        /* names are looked up in threads of the library's own */
    bool is_reopened_after_fork;     /* a forked child opens connections of its own */
    kw_live_read read;               /* of commands that only read */
    kw_live_number read_zone;        /* kw_zone_hash of the zone that read names */
    kw_live_number acks;             /* replicas that acknowledge each single write; 0: none */
    kw_live_number acks_timeout_ms;  /* that they have for it */
    kw_live_number max_staleness_ms; /* what a replica that is read from may lack; 0: anything */
    kw_zone_pair *zones;
    size_t zones_n;
    kw_address_pair *address_map;
    size_t address_map_n;
    kw_node_rule *nodes_allowed; /* of addresses that somebody else than the settings names */
    size_t nodes_allowed_n;      /* 0: all are */
} kw_options;

/* True where the keys of a server that is down have another one meanwhile: each change moves
 * them. */
static inline bool kw_options_moves_keys(const kw_options *options)
{
    return options->on_node_down == KW_NODE_DOWN_NEXT ||
           options->on_node_down == KW_NODE_DOWN_EJECT;
}

static inline bool kw_options_has_sentinel_tls(const kw_options *options)
{
    return options->sentinel_tls == KW_SENTINEL_TLS_ON ||
           (options->sentinel_tls == KW_SENTINEL_TLS_SAME && options->has_tls);
}

/* True where servers are asked for the map, again and again. */
static inline bool kw_options_has_fetch(const kw_options *options)
{
    return options->scheme == KW_SCHEME_CLUSTER || options->scheme == KW_SCHEME_SENTINEL;
}

/* Cap for opening one connection, greeting included: as set, or a quarter of the call's
 * timeout and at most one second, so that a dead node leaves time for another. */
uint64_t kw_options_connect_timeout_ms(const kw_options *options);

/* Frees a text of len bytes that may be a secret, after writing over it. */
void kw_options_free_text(char *text, size_t len, const kw_allocator *mem);

/* As if none had been named. */
void kw_options_forget_servers(kw_options *options, const kw_allocator *mem);

/* Copies all of options with memory of mem; false (and nothing written) when there
 * is none. kw_options_fini frees what a copy or a config holds. */
bool kw_options_copy(kw_options *copy, const kw_options *options, const kw_allocator *mem);
void kw_options_fini(kw_options *options, const kw_allocator *mem);

#endif

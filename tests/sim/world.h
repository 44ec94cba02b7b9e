/* SPDX-License-Identifier: BSD-3-Clause */
/* World: the servers of a run, what they know of each other, and what they have run. */
#ifndef SIM_WORLD_H
#define SIM_WORLD_H

#include "sim/net.h"
#include "sim/plan.h"
#include "sim/system.h"

#include <string.h>

#define SIM_SERVERS 24
#define SIM_UNITS   40
#define SIM_PEERS   SIM_SOCKETS
#define SIM_IDS     (SIM_COMMANDS * SIM_PARTS + 64)
#define SIM_RUNS    16384
#define SIM_QUEUED  8
#define SIM_WALKED  48 /* keys that are there all the time, one bit each */

#define SIM_NO_SERVER 255

/* Slots that move together. */
typedef struct sim_unit {
    unsigned first;
    unsigned last;
    unsigned char from; /* SIM_NO_SERVER: it does not move */
    unsigned char to;
    bool is_gone; /* its keys have moved already */
    unsigned moves_n;
} sim_unit;

typedef enum sim_condition {
    SIM_WELL,
    SIM_LOADING,
    SIM_BUSY,
    SIM_READONLY,
    SIM_MASTER_DOWN,
    SIM_CLUSTER_DOWN,
    SIM_TRY_AGAIN,
    SIM_OUT_OF_MEMORY,
    SIM_NO_AUTH,
    SIM_CONDITIONS_N
} sim_condition;

/* Who is at a sentinel's address. */
typedef enum sim_stranger {
    SIM_NO_STRANGER,
    SIM_FOREIGN_SENTINEL, /* of another installation, which has a group of the name */
    SIM_PLAIN_SERVER,
    SIM_SILENT,
    SIM_GARBLED
} sim_stranger;

typedef struct sim_server {
    sim_host *host;
    unsigned number;
    bool is_there;      /* it runs */
    bool is_stopped;    /* it stands still */
    bool is_turning;    /* its next turn is due */
    bool is_gone;       /* for good */
    bool is_fitful;     /* its condition is that of every other command */
    bool is_apart;      /* cut off from the other servers, not from the program */
    uint64_t dead_ns;   /* when it died last; SIM_NEVER: it has not */
    uint64_t back_ns;   /* when it came back then; SIM_NEVER: it has not */
    uint64_t silent_ns; /* since when its packets were swallowed last; SIM_NEVER: they were not */
    uint64_t heard_ns;  /* when that was over; SIM_NEVER: it is not */
    uint64_t lost_ns; /* when it was first given one in which it owns nothing; SIM_NEVER: not yet */
    uint64_t left_ns; /* when the program was first given a map without it; SIM_NEVER: not yet */
    unsigned lives_n;
    unsigned births_n; /* how often it has come with nothing of what it was */
    unsigned replid;   /* of its data, and of those before a failover; 0: none */
    unsigned replid2;
    sim_condition condition;
    unsigned char primary; /* whom it replicates; itself: a primary */
    unsigned epoch;        /* the greatest that it knows, .. */
    unsigned config_epoch; /* .. and that by which it took slots last */
    uint64_t keys;         /* of those that are walked; of a replica its primary has them */
    unsigned char owners[SIM_UNITS]; /* as this server sees it; SIM_NO_SERVER: nobody */
    unsigned epochs[SIM_UNITS];
    unsigned heard[SIM_CHANNELS]; /* numbers of messages that have come from the other servers */
    /* Of a sentinel. */
    unsigned char named; /* the primary, by its epoch */
    unsigned char heir;  /* whom it has promoted; SIM_NO_SERVER: nobody */
    bool has_forgotten;  /* the group: it has another name, or is not watched */
    bool is_blind;       /* it knows of no other sentinels and replicas */
    sim_stranger stranger;
} sim_server;

/* What a connection has of a script that it will run. */
typedef struct sim_held {
    unsigned key;
    char op[12];
    char token[33];
    unsigned ms;
    unsigned value;
} sim_held;

/* A connection, at the server. */
typedef struct sim_peer {
    sim_server *server; /* NULL: no peer */
    sim_socket *socket;
    bool has_more; /* bytes that were not looked at */
    bool is_asking;
    bool is_readonly;
    bool is_resp3;
    bool is_in_multi;
    bool is_spoilt; /* EXEC will say EXECABORT */
    bool is_blocked;
    bool is_listening; /* a subscriber of a sentinel's */
    unsigned channels; /* that it has subscribed, one bit each */
    unsigned id;       /* its number, where it was asked for */
    unsigned redirect; /* that of whom what it reads is told to; 0: it tracks nothing */
    unsigned tracked;  /* keys that it has read, one bit each */
    unsigned got;      /* the value that it has read last by GET; 0: none */
    bool hears_keys;
    unsigned watched; /* the key, from 1; 0: none */
    unsigned watch_n; /* how often it had changed when it was watched */
    bool has_held;
    sim_held held;
    unsigned lives_n;
    unsigned queued[SIM_QUEUED];
    unsigned queued_n;
    unsigned blocked_id;
    uint64_t blocks_n;
    uint64_t served_n;
} sim_peer;

/* What came of one command. */
typedef struct sim_account {
    unsigned runs_n;
    unsigned first_run; /* numbers of runs, from 1, over all servers */
    unsigned last_run;
} sim_account;

typedef struct sim_world {
    const sim_plan *plan;
    sim_server servers[SIM_SERVERS];
    unsigned servers_n;
    sim_unit units[SIM_UNITS];
    unsigned units_n;
    unsigned epoch;          /* the greatest */
    unsigned sentinels_from; /* servers from here on are sentinels, .. */
    unsigned sentinels_end;  /* .. before this one */
    bool is_unknown;         /* the group was, when the first stranger came */
    unsigned foreign;        /* the primary of another installation; SIM_NO_SERVER: there is none */
    unsigned group_primary;
    unsigned replids_n; /* given so far */
    unsigned key_slots[SIM_KEYS];
    sim_peer peers[SIM_PEERS];
    unsigned peers_n; /* none is used from here on */
    sim_account accounts[SIM_IDS];
    unsigned run_ids[SIM_RUNS];
    unsigned runs_n;
    unsigned published[SIM_SERVERS][SIM_CHANNELS]; /* numbers of messages, from 1: of a ring by
                                                      server, else by the first */
    unsigned connects_n;
    unsigned maps_n;
    sim_rate maps; /* that were read */
} sim_world;

extern sim_world sim_the_world;

void sim_world_begin(const sim_plan *plan);

/* The URI of its servers; options follow behind '?'. */
void sim_world_uri(char *text, size_t len);

/* Whatever was wrong ends, and everybody learns the truth. */
void sim_world_heal(void);

/* Servers. */
sim_server *sim_server_add(void);
void sim_server_start(sim_server *server);
void sim_server_kill(sim_server *server);
void sim_server_stop(sim_server *server, bool stops);
void sim_server_peers(sim_server *server, void (*fn)(sim_peer *peer));

/* Commands: answers one, of argc words. */
typedef struct sim_word {
    const char *data;
    size_t len;
} sim_word;

void sim_peer_run(sim_peer *peer, const sim_word *argv, size_t argc);
void sim_peer_hang_up(sim_peer *peer); /* it runs nothing more */
void sim_peer_say(sim_peer *peer, const char *format, ...) KW_FORMAT(2, 3);
bool sim_peer_is_unwell(sim_peer *peer, bool reads); /* it was told why */
bool sim_peer_is_refused(sim_peer *peer, const unsigned *slots, size_t slots_n,
                         bool reads); /* it was told why, also that the keys are elsewhere */
static inline bool sim_word_is(const sim_word *word, const char *text)
{
    return word->len == strlen(text) && memcmp(word->data, text, word->len) == 0;
}
unsigned sim_word_number(const sim_word *word); /* 0: none */

/* Notes that the command runs now; the number of the run. */
unsigned sim_account_run(sim_server *server, unsigned id);

/* Cluster: what it says of a slot; true where it has answered with an error. */
bool sim_cluster_redirects(sim_peer *peer, const unsigned *slots, size_t slots_n, bool reads);
void sim_cluster_begin(void);
void sim_cluster_answer(sim_peer *peer, const sim_word *argv, size_t argc);
void sim_cluster_move(unsigned unit, unsigned to, uint64_t length_ns);
void sim_cluster_move_all(unsigned from, unsigned to);
void sim_cluster_failover(unsigned primary);
void sim_cluster_unserve(unsigned unit, uint64_t length_ns);
void sim_cluster_replace(unsigned number);
void sim_cluster_heal(void);
void sim_cluster_cut_off(sim_server *server, uint64_t value);
void sim_cluster_replace_all(void);
void sim_cluster_swap(unsigned first, unsigned second);
sim_server *sim_cluster_owner(unsigned unit); /* by the greatest epoch */

unsigned sim_cluster_unit(unsigned slot);
unsigned sim_cluster_first_owner(const sim_plan *plan, unsigned slot); /* when the run began */
bool sim_cluster_hears(const sim_server *server, unsigned slot); /* it, or its primary, owns it */
bool sim_cluster_owns(const sim_server *server, unsigned slot);  /* as it sees it */

/* Keys that are walked. */
void sim_keyspace_begin(void);
unsigned sim_keyspace_slot_of(unsigned key);
void sim_keyspace_name(char *text, size_t len, unsigned key);
void sim_keyspace_take(sim_server *server, const sim_unit *unit);
void sim_keyspace_drop(sim_server *server, const sim_unit *unit);
void sim_keyspace_move(sim_unit *unit, uint64_t length_ns);
bool sim_keyspace_is_split(const sim_unit *unit); /* some of its keys have moved */
void sim_keyspace_slot(sim_peer *peer, unsigned slot, unsigned most);
void sim_keyspace_count(sim_peer *peer, unsigned slot);
bool sim_keyspace_run(sim_peer *peer, const sim_word *argv,
                      size_t argc); /* false: other commands */

/* Channels. */
void sim_messages_begin(void);
void sim_messages_on_start(sim_server *server);
void sim_messages_name(char *text, size_t len, unsigned channel);
void sim_messages_on_learnt(sim_server *server); /* who has which slots */
bool sim_messages_run(sim_peer *peer, const sim_word *argv,
                      size_t argc); /* false: other commands */

/* Keys that are kept near: their data is the server's from now on; the one of before tells of it,
 * or not. */
void sim_near_take(const sim_server *server, const sim_unit *unit, bool tells);
void sim_near_inherit(const sim_server *server, unsigned from);
void sim_near_follow(const sim_server *server); /* it has what its primary has */

/* Sentinel group. */
bool sim_server_is_sentinel(const sim_server *server);
void sim_sentinel_begin(void);
bool sim_sentinel_run(sim_peer *peer, const sim_word *argv,
                      size_t argc); /* false: no such command */
void sim_sentinel_failover(void);
void sim_sentinel_on_back(sim_server *server); /* it may be what it is not any more */
void sim_sentinel_confuse(unsigned target, uint64_t value, bool begins);
void sim_sentinel_renew(sim_server *server);
void sim_sentinel_heal(void);

/* Strangers at addresses of sentinels. */
void sim_strangers_begin(void);
unsigned sim_stranger_of(unsigned target); /* the sentinel whose address it is */
void sim_stranger_come(sim_server *server, uint64_t value);
void sim_stranger_leave(sim_server *server);
bool sim_stranger_run(sim_peer *peer, const sim_word *argv,
                      size_t argc); /* false: it answers as others do */
void sim_strangers_check(const sim_server *server, unsigned id); /* it runs a command */
bool sim_strangers_have_a_witness(void); /* nobody is to be led to another installation */
void sim_strangers_heal(void);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* Callers: threads of a program that use one handle, each in its way, and what they got. */
#ifndef SIM_CALLERS_H
#define SIM_CALLERS_H

#include "sim/plan.h"

#include <keyway.h>

typedef enum sim_end {
    SIM_NOT_GIVEN,
    SIM_UNDER_WAY,
    SIM_ANSWERED, /* run, by its reply */
    SIM_REFUSED,  /* an error of the server's, which stands for not run */
    SIM_FAILED,   /* code and effect */
    SIM_FORGOTTEN /* given up: anything may have come of it */
} sim_end;

/* What came of one part of a command. */
typedef struct sim_result {
    sim_end end;
    kw_err code;
    kw_effect effect;
    unsigned run; /* the number in the reply; 0: there was no room */
    unsigned attempts;
    unsigned sends_n; /* of the whole program, before it began */
    uint64_t begin_ns;
    uint64_t end_ns;
    uint64_t limit_ns; /* from its begin to its deadline */
    unsigned server;   /* of one that names it, */
    bool is_known;     /* and which is in the map that the handle has */
    unsigned given;    /* in which order its caller gave them, from 1 */
} sim_result;

typedef struct sim_crew {
    const sim_plan *plan;
    bool has_map; /* the handle has had one */
    unsigned maps_n;
    kw_client *client;
    kw_client *clients[2]; /* the same one twice, or two that share what they know */
    bool is_closing;       /* no call begins any more */
    bool is_closed;        /* the handles are gone */
    sim_tasks keeper;      /* who waits for the callers, and the loops */
    unsigned callers_left;
    unsigned inside_n; /* callers that are in a call */
    bool has_loop[2];  /* of each handle */
    unsigned loops_left;
    sim_result results[SIM_COMMANDS * SIM_PARTS + 64];
    unsigned given_n;
    uint64_t begin_ns;
    uint64_t fault_ns;  /* since when something is wrong; SIM_NEVER: nothing was */
    uint64_t outage_ns; /* until when that is no other trouble; SIM_NEVER: for ever */
    uint64_t heal_ns;   /* since when all is well; SIM_NEVER: it is not */
} sim_crew;

extern sim_crew sim_the_crew;

/* One task a caller, one for the loop where there are callbacks. */
void sim_crew_begin(const sim_plan *plan, kw_client *client);

/* All have ended: the handle is closed by whoever is the last. */
bool sim_crew_is_over(void);

/* How the one way of each caller is done, in a task of its own. */
void sim_caller_run(const sim_caller *caller);

/* A session of its own for the commands; in the host's loop it has callbacks. */
void sim_session_run(kw_client *client, const sim_command *const *commands, unsigned n,
                     bool is_in_loop);

/* Commands as arguments. */
typedef struct sim_words {
    const char *argv[2 * SIM_PARTS + 2];
    char text[2 * SIM_PARTS + 2][24];
    int argc;
} sim_words;
void sim_words_of(sim_words *words, const sim_command *command);

/* What BLPOP is given, in milliseconds: a number of the command's own. */
uint64_t sim_block_ms(const sim_command *command);

/* The transaction that the command is; NULL where it cannot be made. */
kw_transaction *sim_whole_new(kw_client *client, kw_error *error, const sim_command *command);

/* Notes the end of a command, by its reply (which is not freed) or error. */
void sim_result_begin(const sim_command *command, uint64_t timeout_ms);
void sim_result_end(const sim_command *command, const kw_reply *reply, const kw_error *error);

/* Once the world is well calls succeed so soon: 1 s, and some round trips where those are long. */
#define SIM_RECOVERY_NS SIM_S
#define SIM_TRIPS       24

/* Until when the command must have ended: its deadline, as far as poll's milliseconds allow. */
void sim_result_check_time(const sim_command *command, uint64_t begin_ns, uint64_t timeout_ms);

#endif

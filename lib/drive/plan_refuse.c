/* SPDX-License-Identifier: BSD-3-Clause */
/* Texts for commands that change or bind their connection: each says what to use instead; and
 * options that a call cannot have. */
#include "drive/plan_refuse.h"

#include "base/error.h"

#include <string.h>

#define SHARED                                                                                     \
    "it changes or binds its connection, and the handle's connections are shared between calls"

#define IN_SESSION "open a session for it (kw_session_open)"
#define SUBSCRIBING                                                                                \
    "subscribe by a kw_subscriber (kw_subscriber_open, kw_subscribe); PUBLISH and SPUBLISH work "  \
    "here"
#define RAW       "use a connection of your own, for instance with redis-cli"
#define LOGIN     "give user and password in the URI, or by the options user and password"
#define BY_HANDLE "the handle does it by itself"

typedef struct advice_row {
    char name[18];
    const char *in_call;
    const char *in_session; /* NULL: the same text */
} advice_row;

static const advice_row rows[] = {
    {"SUBSCRIBE", SUBSCRIBING, NULL},
    {"PSUBSCRIBE", SUBSCRIBING, NULL},
    {"SSUBSCRIBE", SUBSCRIBING, NULL},
    {"UNSUBSCRIBE", SUBSCRIBING, NULL},
    {"PUNSUBSCRIBE", SUBSCRIBING, NULL},
    {"SUNSUBSCRIBE", SUBSCRIBING, NULL},
    {"MONITOR", RAW, NULL},
    {"SYNC", RAW, NULL},
    {"PSYNC", RAW, NULL},
    {"REPLCONF", RAW, NULL},
    {"SCRIPT DEBUG", RAW, NULL},
    {"CLUSTER SYNCSLOTS", RAW, NULL},
    {"HELLO",
     "each connection is greeted with the options protocol, user, password and client-name", NULL},
    {"AUTH", LOGIN, NULL},
    {"SELECT",
     "choose the database in the URI (redis://host/1) or by the option db, a handle for each, or "
     "open a session for it (kw_session_open)",
     NULL},
    {"WAIT",
     "give kw_call the option acks, or the handle (acks=1): the write then waits on its own "
     "connection; or write and wait in a session (kw_session_open)",
     NULL},
    {"WAITAOF",
     "give kw_call acks and acks_local: the write then waits on its own connection; or write and "
     "wait in a session (kw_session_open)",
     NULL},
    {"QUIT", "kw_close ends the connections", "kw_session_close ends it"},
    {"RESET", "each connection is given back as it was taken",
     "close the session, and open another"},
    {"CLIENT REPLY", "wait for no reply by kw_submit and kw_ticket_free", NULL},
    {"CLIENT SETNAME", "the option client-name names every connection", NULL},
    {"READONLY", "the option read-preference chooses replicas, and " BY_HANDLE, NULL},
    {"READWRITE", "the option read-preference chooses replicas, and " BY_HANDLE, NULL},
    {"ASKING", "redirects are followed, and " BY_HANDLE, NULL},
};

static const char *advice_of(const char *name, bool is_in_session)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (strcmp(rows[i].name, name) == 0) {
            bool is_own = is_in_session && rows[i].in_session != NULL;
            return is_own ? rows[i].in_session : rows[i].in_call;
        }
    }
    return is_in_session ? RAW : IN_SESSION;
}

kw_err kw_plan_refuse(const kw_plan *plan, kw_error *error, bool is_in_session)
{
    return kw_error_set(
        error, KW_ERR_REFUSED, KW_EFFECT_NONE, "%s cannot be sent here: %s; %s", kw_plan_name(plan),
        is_in_session ? "it changes who gets which reply on its connection" : SHARED,
        advice_of(kw_plan_name(plan), is_in_session));
}

kw_err kw_plan_refuse_route(kw_error *error, kw_route route)
{
    const char *what = route == KW_ROUTE_KEY    ? "key is NULL, and options.key_len is not 0"
                       : route == KW_ROUTE_SLOT ? "slot is past 16383"
                       : route == KW_ROUTE_NODE ? "node is NULL"
                                                : "route is none of kw_route";
    return kw_error_set(error, KW_ERR_ARGUMENT, KW_EFFECT_NONE, "options.%s", what);
}

kw_err kw_plan_check_acks(const kw_topology *topology, kw_error *error, const kw_plan_task *task,
                          const char *writer)
{
    const kw_call_options *options = task->options;
    if (options->acks_local > 1) {
        return kw_error_set(error, KW_ERR_ARGUMENT, KW_EFFECT_NONE,
                            "acks_local is %u, and there is but one primary: 1, or 0",
                            options->acks_local);
    }
    if (task->takes_acks) {
        return KW_OK;
    }
    if (options->token_out != NULL) {
        return kw_error_set(error, KW_ERR_UNSUPPORTED, KW_EFFECT_NONE,
                            "token_out asks the primary behind the write, which only kw_call does");
    }
    bool is_waived = options->acks == KW_ACKS_NONE;
    if ((options->acks > 0 && !is_waived) || options->acks_local > 0) {
        return kw_error_set(error, KW_ERR_UNSUPPORTED, KW_EFFECT_NONE,
                            "acks wait for replicas, which only kw_call does");
    }
    if (topology->env.options.acks > 0 && !is_waived && writer != NULL) {
        return kw_error_set(error, KW_ERR_UNSUPPORTED, KW_EFFECT_NONE,
                            "%s: the handle's acks=%u wait for replicas, which only single calls "
                            "do; call with acks = KW_ACKS_NONE, or use a handle without acks",
                            writer, (unsigned)topology->env.options.acks);
    }
    return KW_OK;
}

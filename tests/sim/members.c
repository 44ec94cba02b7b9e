/* SPDX-License-Identifier: BSD-3-Clause */
/* The members of a ring are changed while it is in use. */
#include "sim/callers.h"
#include "sim/run.h"
#include "sim/world.h"

#include <stdio.h>

#define C sim_the_crew
#define W sim_the_world

static void change(kw_members *members, unsigned target, uint64_t value)
{
    kw_error error = KW_ERROR_INIT;
    unsigned number = target % W.servers_n;
    bool may_go = number > 0; /* never all */
    const sim_host *host = W.servers[number].host;
    char name[16];
    char text[64];
    int len = snprintf(name, sizeof(name), "m%u", number);
    switch (may_go ? value % 4 : 1) {
    case 0:
        (void)kw_members_remove(members, &error, name, (size_t)len);
        break;
    case 1:
        (void)kw_members_reweight(members, &error, name, (size_t)len,
                                  (uint32_t)(1 + value / 4 % 3));
        break;
    default:
        snprintf(text, sizeof(text), "m%u=10.0.%u.%u:%u", number, host->ip >> 8 & 255,
                 host->ip & 255, host->port);
        (void)kw_members_add(members, &error, text);
        break;
    }
}

static struct {
    unsigned target;
    uint64_t value;
} wanted;

/* A ring without members, one that another thread has changed, no memory: the change is none. */
static void run_change(void *arg)
{
    (void)arg;
    kw_error error = KW_ERROR_INIT;
    kw_members *members = C.is_closing ? NULL : kw_members_begin(C.client, &error);
    if (members != NULL) {
        change(members, wanted.target, wanted.value);
        kw_err code = kw_members_commit(members, &error);
        sim_say("members are changed: %s", code == KW_OK ? "ok" : error.text);
        kw_members_free(members);
    }
    C.callers_left--;
    sim_wake(C.keeper);
}

void sim_members_change(unsigned target, uint64_t value)
{
    if (C.is_closing || C.heal_ns != SIM_NEVER) {
        return;
    }
    wanted.target = target;
    wanted.value = value;
    C.callers_left++;
    sim_spawn("members", run_change, NULL);
}

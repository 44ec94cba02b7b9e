/* SPDX-License-Identifier: BSD-3-Clause */
/* The wait for the first map: fetches follow each other until one brings it, or time is over. */
#include "topology/first_map.h"

#include "base/moment.h"
#include "base/error.h"

/* True for a reason for which there is no map that may be over soon. */
static bool may_pass(kw_err code)
{
    return code == KW_ERR_CONNECT || code == KW_ERR_TOPOLOGY || code == KW_ERR_HANDSHAKE ||
           code == KW_ERR_RESOLVE || code == KW_ERR_CLOSED || code == KW_ERR_NO_SENTINEL ||
           code == KW_ERR_ROLE || code == KW_ERR_IDENTITY;
}

/* failure: of the last fetch that ended, if one did. */
static kw_err no_map_in_time(const kw_topology *topology, kw_error *error, const kw_error *failure)
{
    bool is_sentinel = topology->env.options.scheme == KW_SCHEME_SENTINEL;
    kw_err code = failure->code == KW_ERR_RESOLVE ? KW_ERR_RESOLVE : KW_ERR_TOPOLOGY;
    if (is_sentinel) {
        code = failure->code != KW_OK ? failure->code : KW_ERR_NO_SENTINEL;
    }
    kw_error_set(error, code, KW_EFFECT_NONE, "%s before the deadline%s%s",
                 is_sentinel ? "no sentinel led to the primary"
                             : "no node of the cluster gave a map",
                 failure->text[0] != '\0' ? ": " : "", failure->text);
    kw_error_set_node(error, failure->node);
    return code;
}

/* Fetches have failed for so long that calls do not wait for the next. */
static kw_err no_map_for_long(kw_error *error, const kw_error *failure)
{
    kw_error_set(error, failure->code, KW_EFFECT_NONE,
                 "there is no map, and none is waited for until a server answers: %s%s%s",
                 failure->node, failure->node[0] != '\0' ? ": " : "", failure->text);
    kw_error_set_node(error, failure->node);
    return failure->code;
}

static kw_err wait_for_first(kw_topology *topology, kw_snapshot **snapshot, kw_error *error,
                             kw_map_wait wait)
{
    uint64_t deadline_ns = wait.deadline_ns;
    kw_error failure = kw_error_none(); /* of the last fetch that ended */
    for (;;) {
        uint64_t changes_n = kw_refresher_changes_n(&topology->refresher);
        *snapshot = kw_topology_snapshot(topology);
        if (*snapshot != NULL) {
            return KW_OK;
        }
        kw_admission admission =
            kw_refresher_admit(&topology->refresher, &failure, kw_env_now(&topology->env));
        if (admission == KW_ADMITTED_NOT) {
            return no_map_for_long(error, &failure);
        }
        kw_refresher_goal goal = {.until_ns = deadline_ns,
                                  .fetch = kw_refresher_want(&topology->refresher)};
        goal.wakes_on_map = true; /* the map of a fetch under way will do as well */
        goal.changes_n = changes_n;
        goal.closing = wait.closing;
        kw_err code = kw_refresher_wait(&topology->refresher, &failure, &goal);
        if (code == KW_OK) {
            continue;
        }
        if (code == KW_ERR_TIMEOUT) {
            return no_map_in_time(topology, error, &failure);
        }
        if (may_pass(code) && !kw_refresher_is_incompatible(&topology->refresher)) {
            kw_refresher_goal pause = {.until_ns = deadline_ns, .closing = wait.closing};
            uint64_t soon_ns = kw_env_now(&topology->env) + KW_REFRESH_FLOOR_NS;
            pause.until_ns = kw_sooner(soon_ns, deadline_ns);
            if (kw_env_now(&topology->env) < deadline_ns) {
                kw_err ended = kw_refresher_wait(&topology->refresher, &failure, &pause);
                if (ended == KW_ERR_TIMEOUT) {
                    continue;
                }
                code = ended; /* the handle was closed */
            }
        }
        kw_error_set(error, code, KW_EFFECT_NONE, "%s", failure.text);
        kw_error_set_node(error, failure.node);
        return code;
    }
}

kw_err kw_topology_need_snapshot(kw_topology *topology, kw_snapshot **snapshot, kw_error *error,
                                 kw_map_wait wait)
{
    *snapshot = kw_topology_snapshot(topology);
    return *snapshot != NULL ? KW_OK : wait_for_first(topology, snapshot, error, wait);
}

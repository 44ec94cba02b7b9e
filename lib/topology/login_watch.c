/* SPDX-License-Identifier: BSD-3-Clause */
/* What a changed login means to all nodes: another try, and an event where one refuses it. */
#include "topology/login_watch.h"

#include "topology/topology.h"

#include <stdio.h>
#include <string.h>

kw_err kw_login_watch_set(kw_topology *topology, const char *user, const char *password)
{
    kw_env *env = &topology->env;
    kw_err code = kw_logins_set(&env->logins, user, password, kw_env_now(env));
    if (code != KW_OK) {
        return code;
    }
    kw_monitor_lock(&env->nodes_monitor);
    for (kw_node *node = env->nodes; node != NULL; node = node->after) {
        kw_node_on_login(node);
    }
    kw_monitor_unlock(&env->nodes_monitor);
    if (kw_env_has_fetch(env)) {
        (void)kw_refresher_want(&topology->refresher);
    }
    return KW_OK;
}

/* The next node that refuses the login, and that the host was not told of. */
static bool take_news(kw_env *env, char *name)
{
    bool is_found = false;
    kw_monitor_lock(&env->nodes_monitor);
    for (kw_node *node = env->nodes; node != NULL && !is_found; node = node->after) {
        is_found = atomic_load(&node->login_doubt.is_news) &&
                   atomic_exchange(&node->login_doubt.is_news, false);
        if (is_found) {
            snprintf(name, KW_ENDPOINT_TEXT, "%s", node->name);
        }
    }
    kw_monitor_unlock(&env->nodes_monitor);
    return is_found;
}

static void tell(kw_topology *topology)
{
    char name[KW_ENDPOINT_TEXT];
    char text[KW_ENDPOINT_TEXT + 100];
    while (take_news(&topology->env, name)) {
        kw_event event = {.kind = KW_EVENT_LOGIN_REFUSED, .member = "", .node = name, .text = text};
        snprintf(text, sizeof(text),
                 "%s refuses the new login; that of before is used there until it takes it", name);
        kw_topology_tell(topology, &event);
    }
}

void kw_login_watch_tend(kw_topology *topology, uint64_t now_ns)
{
    kw_logins *logins = &topology->env.logins;
    kw_logins_due due = kw_logins_tend(logins, now_ns);
    if (due.renews && !kw_logins_ask(logins, now_ns)) {
        kw_env_log(&topology->env, KW_LOG_WARNING,
                   "the host gave no login when its own was to be renewed");
    }
    if (due.tells) {
        tell(topology);
    }
}

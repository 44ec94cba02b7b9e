/* SPDX-License-Identifier: BSD-3-Clause */
/* Events of connections and maps on their way to the host. */
#include "net/conn_diary.h"

#include <stdio.h>

/* The monitor is held. */
static void mark(kw_env *env)
{
    bool has_conns = env->conn_diary != NULL && env->conn_diary->n > 0;
    atomic_store_explicit(&env->has_noted, has_conns || env->has_new_map, memory_order_release);
}

void kw_conn_diary_note(kw_env *env, kw_event_kind kind, const char *node, const char *why)
{
    kw_monitor_lock(&env->told_monitor);
    if (env->conn_diary == NULL) { /* without memory nobody is told */
        env->conn_diary = kw_mem_calloc(&env->mem, 1, sizeof(*env->conn_diary));
    }
    kw_conn_diary *diary = env->conn_diary;
    if (diary != NULL) {
        if (diary->n == KW_CONN_DIARY_MAX) {
            diary->first = (diary->first + 1) % KW_CONN_DIARY_MAX;
            diary->n--;
        }
        kw_conn_event *event = &diary->at[(diary->first + diary->n++) % KW_CONN_DIARY_MAX];
        event->kind = kind;
        snprintf(event->node, sizeof(event->node), "%s", node);
        snprintf(event->why, sizeof(event->why), "%s", why);
    }
    mark(env);
    kw_monitor_unlock(&env->told_monitor);
}

void kw_conn_diary_note_map(kw_env *env)
{
    kw_monitor_lock(&env->told_monitor);
    env->has_new_map = true;
    mark(env);
    kw_monitor_unlock(&env->told_monitor);
}

bool kw_conn_diary_next(kw_env *env, kw_conn_event *event)
{
    kw_monitor_lock(&env->told_monitor);
    kw_conn_diary *diary = env->conn_diary;
    bool is_found = diary != NULL && diary->n > 0;
    if (is_found) {
        *event = diary->at[diary->first];
        diary->first = (diary->first + 1) % KW_CONN_DIARY_MAX;
        diary->n--;
    }
    mark(env);
    kw_monitor_unlock(&env->told_monitor);
    return is_found;
}

bool kw_conn_diary_take_map(kw_env *env)
{
    kw_monitor_lock(&env->told_monitor);
    bool is_new = env->has_new_map;
    env->has_new_map = false;
    mark(env);
    kw_monitor_unlock(&env->told_monitor);
    return is_new;
}

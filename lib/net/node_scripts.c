/* SPDX-License-Identifier: BSD-3-Clause */
/* What a node is known to have of scripts, asked for each run that leaves for it. */
#include "net/node.h"

/* bytes: those by its name, or that it has left by before. */
static void choose(kw_script_run_state *run, void *arg, kw_bytes *bytes, const void *place)
{
    kw_node *node = arg;
    if (run->named.data == NULL) {
        run->named = *bytes;
    }
    kw_monitor_lock(&node->monitor);
    if (node->scripts == NULL) { /* without memory nothing is known */
        node->scripts = kw_mem_calloc(&node->env->mem, 1, sizeof(*node->scripts));
    }
    bool brings_text = kw_script_memory_ask(node->scripts, run, place);
    kw_monitor_unlock(&node->monitor);
    *bytes = brings_text ? kw_script_run_full(run) : run->named;
}

void kw_node_init_script_run(kw_script_run_state *run, const kw_allocator *mem,
                             const kw_script *script)
{
    kw_script_run_state_init(run, mem, script);
    run->choose = choose;
}

kw_script_run_state *kw_node_new_script_run(const kw_allocator *mem, const kw_script *script)
{
    kw_script_run_state *run = kw_script_run_state_new(mem, script);
    if (run != NULL) {
        run->choose = choose;
    }
    return run;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Plans, shown as one line a part. */
#include "sim/plan.h"

#include <stdio.h>

static void show_caller(const sim_plan *plan, unsigned number)
{
    const sim_caller *caller = &plan->callers[number];
    if (caller->is_off) {
        return;
    }
    fprintf(stderr, "  caller %u: %s%s, up to %u at once, from %lu us:", number,
            sim_way_name(caller->way), caller->is_in_loop ? " in the loop" : "", caller->group_n,
            (unsigned long)(caller->begin_ns / SIM_US));
    for (unsigned i = caller->first; i < caller->first + caller->commands_n; i++) {
        const sim_command *command = &plan->commands[i];
        if (!command->is_off) {
            fprintf(stderr, " %u=%s(k%u", command->id, sim_act_name(command->act), command->key);
            if (command->parts_n > 1) {
                fprintf(stderr, " x%u", command->parts_n);
            }
            if (command->times_n > 0) {
                fprintf(stderr, " %u times", command->times_n);
            }
            if (command->timeout_ms > 0) {
                fprintf(stderr, " %lums", (unsigned long)command->timeout_ms);
            }
            if (command->is_cancelled) {
                fprintf(stderr, " cancelled after %lu us",
                        (unsigned long)(command->cancel_ns / SIM_US));
            }
            fprintf(stderr, "%s)", command->is_given_up ? " given up" : "");
        }
    }
    fputc('\n', stderr);
}

static const char *greeting_of(const sim_plan *plan)
{
    const char *text = plan->is_old ? ", no HELLO" : "";
    return plan->hangs_up ? ", hangs up at HELLO" : text;
}

void sim_plan_show(const sim_plan *plan)
{
    fprintf(stderr,
            "  seed %lu: %s, %u primaries, %u replicas each, latency %lu us, timeout %lu ms, "
            "protocol %u%s%s%s%s%s%s%s, share-above %u, pool-max %u, channels %u%s, walks %u%s, "
            "near %u%s (%lu ms), loads %u of %u%s%s\n",
            (unsigned long)plan->seed, sim_kind_name(plan->kind), plan->primaries_n,
            plan->replicas_n, (unsigned long)(plan->latency_ns / SIM_US),
            (unsigned long)plan->timeout_ms, plan->protocol, greeting_of(plan),
            plan->has_names ? ", names" : "", plan->has_thread ? ", resolver=thread" : "",
            plan->has_dead_address ? ", dead addresses" : "",
            plan->waits_for_down ? ", on-node-down=wait" : "",
            plan->is_strict ? ", order=strict" : "", plan->has_shared ? ", two handles" : "",
            plan->share_above, plan->pool_max, plan->channels_n,
            plan->is_sharded ? " (sharded)" : "", plan->walks_n,
            plan->reopens ? ", after-fork=reopen" : "", plan->nears_n,
            plan->reads_in_loop ? ", also in the loop" : "", (unsigned long)plan->staleness_ms,
            plan->loads_n, plan->caches_n, plan->loads_in_loop ? ", also in the loop" : "",
            plan->loads_are_near ? ", near" : "");
    if (plan->loads_n > 0) {
        fprintf(stderr,
                "  loads: at most %u at once, of %lu ms, lease %lu ms, ttl %lu ms, stale %lu ms, "
                "stale-if-error %lu ms, negative-ttl %lu ms\n",
                plan->loads_max, (unsigned long)plan->load_ms, (unsigned long)plan->lease_ms,
                (unsigned long)plan->ttl_ms, (unsigned long)plan->stale_ms,
                (unsigned long)plan->stale_if_error_ms, (unsigned long)plan->negative_ms);
    }
    for (unsigned i = 0; i < plan->callers_n; i++) {
        show_caller(plan, i);
    }
    for (unsigned i = 0; i < plan->faults_n; i++) {
        const sim_fault *fault = &plan->faults[i];
        if (!fault->is_off) {
            fprintf(stderr, "  fault %u: %s at %lu us for %lu us, target %u\n", i,
                    sim_fault_name(fault->kind), (unsigned long)(fault->at_ns / SIM_US),
                    (unsigned long)(fault->length_ns / SIM_US), fault->target);
        }
    }
}

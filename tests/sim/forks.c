/* SPDX-License-Identifier: BSD-3-Clause */
/* The program forks, in the middle of whatever its threads do: a real process with the one thread
 * that forked, in which the handle is of no use any more, or opened again (after-fork=reopen), and
 * touches none of the parent's streams. */
#include "sim/callers.h"
#include "sim/run.h"
#include "sim/system.h"
#include "sim/world.h"

#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#define C sim_the_crew

/* The child of a child that hangs is ended by the system. */
#define CHILD_SECONDS 20u

static void on_reply(void *arg, kw_reply *reply, const kw_error *error)
{
    (void)arg;
    (void)error;
    kw_reply_free(reply);
    sim_fail("a callback is called in a forked child");
}

static void expect(kw_err code, const kw_error *error, const char *what)
{
    if (code != KW_ERR_FORKED || error->effect != KW_EFFECT_NONE) {
        sim_fail("%s in a forked child ends with %s, %s: %s", what, kw_err_name(code),
                 kw_effect_name(error->effect), error->text);
    }
}

/* Of a handle that is not opened again. */
static void check_refused(kw_argv command)
{
    kw_error error = KW_ERROR_INIT;
    kw_reply *reply = kw_call(C.client, &error, NULL, command);
    if (reply != NULL) {
        sim_fail("a call in a forked child has a reply");
    }
    expect(error.code, &error, "a call");
    kw_ticket *ticket = kw_submit_call(C.client, &error, NULL, command);
    if (ticket != NULL) {
        sim_fail("a forked child has a ticket");
    }
    expect(error.code, &error, "a ticket");
    expect(kw_call_async(C.client, &error, (kw_callback){on_reply, NULL}, NULL, command), &error,
           "a callback");
    expect(kw_process(C.client, &error), &error, "kw_process");
    (void)kw_timeout(C.client);
}

static void wait_for(uint64_t span_ns)
{
    uint64_t until_ns = sim_now() + span_ns;
    while (sim_now() < until_ns) {
        sim_park(until_ns);
    }
}

/* Commands of the child, behind those of callers and probes. */
#define FIRST_ID 17u

/* One command of the child's, as a call or a ticket; ends: it has to succeed. */
static void try_command(unsigned n, bool must_succeed)
{
    char value[16];
    unsigned run = 0;
    unsigned id = C.plan->ids_n + FIRST_ID + n;
    kw_error error = KW_ERROR_INIT;
    kw_call_options options = KW_CALL_OPTIONS_INIT;
    snprintf(value, sizeof(value), "%u", id);
    const char *argv[] = {"RPUSH", n % 2 == 0 ? "k0" : "k1", value};
    kw_argv command = {3, argv, NULL};
    options.timeout_ms =
        must_succeed ? (SIM_RECOVERY_NS + 2 * SIM_TRIPS * C.plan->latency_ns) / SIM_MS : 0;
    kw_ticket *ticket = n % 3 == 0 ? kw_submit_call(C.client, &error, &options, command) : NULL;
    kw_reply *reply = n % 3 != 0       ? kw_call(C.client, &error, &options, command)
                      : ticket != NULL ? kw_ticket_await(ticket, &error)
                                       : NULL;
    kw_ticket_free(ticket);
    unsigned runs_n = sim_the_world.accounts[id].runs_n;
    run = reply != NULL && !kw_reply_is_error(reply) ? (unsigned)kw_reply_int(reply) : 0;
    sim_say("the child's command %u ends: %s", id, reply != NULL ? "a reply" : error.text);
    if (run != 0 && (run > sim_the_world.runs_n || sim_the_world.run_ids[run] != id)) {
        sim_fail("a child's command %u got run %u, which is another's", id, run);
    }
    bool is_none = reply != NULL ? run == 0 : error.effect == KW_EFFECT_NONE;
    if (runs_n > 1 || (is_none && runs_n > 0) || (run != 0 && runs_n == 0)) {
        sim_fail("a child's command %u has run %u times, by its answer %s", id, runs_n,
                 run != 0 ? "once" : "not at all");
    }
    if (must_succeed && run == 0) {
        sim_fail("all is well, and a forked child's command %u fails: %s", id,
                 reply != NULL ? kw_reply_str(reply, NULL) : error.text);
    }
    kw_reply_free(reply);
}

/* A handle that is opened again works by connections of its own, whatever the parent's threads were
 * about; the world that this process has is its own as well. */
static void check_reopened(void)
{
    for (unsigned i = 0; i < 3; i++) {
        try_command(i, false);
    }
    sim_faults_end();
    sim_world_heal();
    C.heal_ns = sim_now();
    wait_for(SIM_RECOVERY_NS + SIM_TRIPS * C.plan->latency_ns);
    bool is_near =
        C.plan->latency_ns <= 8 * SIM_MS && !C.plan->has_names &&
        !sim_plan_has(C.plan, SIM_MEMORY) &&
        !sim_plan_has(C.plan, SIM_STRANGER); /* it may have followed those, who have gone */
    for (unsigned i = 3; i < 5; i++) {       /* the first one may learn that its server was away */
        try_command(i, false);
        wait_for(SIM_RECOVERY_NS);
    }
    for (unsigned i = 5; i < 9; i++) {
        try_command(i, is_near);
    }
}

static _Noreturn void live_as_child(void)
{
    static const char *const argv[] = {"RPUSH", "k0", "0"};
    alarm(CHILD_SECONDS);
    sim_sched_alone();
    sim_system_be_child();
    sim_net_be_child();
    sim_say("this is the child");
    if (C.plan->reopens) {
        check_reopened();
    } else {
        check_refused((kw_argv){3, (const char **)(uintptr_t)argv, NULL});
    }
    kw_close(C.client);
    if (C.clients[0] == C.clients[1] && sim_net_own_n() > 0) {
        sim_fail("a forked child leaves %u descriptors open", sim_net_own_n());
    }
    sim_say("the child ends");
    fflush(stderr);
    _exit(0);
}

static void run_fork(void *arg)
{
    (void)arg;
    if (!C.is_closing) {
        fflush(stderr);
        pid_t child = fork();
        if (child == 0) {
            live_as_child();
        }
        int status = 0;
        (void)waitpid(child, &status, 0);
        if (WIFSIGNALED(status)) {
            sim_fail("a forked child ends by signal %d", WTERMSIG(status));
        } else if (status != 0) {
            _exit(WEXITSTATUS(status)); /* it has said what was wrong */
        }
    }
    C.callers_left--;
    sim_wake(C.keeper);
}

void sim_fork(void)
{
    if (!C.is_closing && C.heal_ns == SIM_NEVER && !sim_system_is_child()) {
        C.callers_left++;
        sim_spawn("fork", run_fork, NULL);
    }
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* The program forks, in the middle of whatever its threads do: a real process with the one thread
 * that forked, in which the handle is of no use any more, and touches none of the parent's streams.
 */
#include "sim/callers.h"
#include "sim/run.h"
#include "sim/system.h"

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

static _Noreturn void live_as_child(void)
{
    static const char *const argv[] = {"RPUSH", "k0", "0"};
    kw_argv command = {3, (const char **)(uintptr_t)argv, NULL};
    kw_error error = KW_ERROR_INIT;
    alarm(CHILD_SECONDS);
    sim_sched_alone();
    sim_system_be_child();
    sim_say("this is the child");
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
    kw_close(C.client);
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
    if (!C.is_closing && C.heal_ns == SIM_NEVER) {
        C.callers_left++;
        sim_spawn("fork", run_fork, NULL);
    }
}

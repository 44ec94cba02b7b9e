/* SPDX-License-Identifier: BSD-3-Clause */
/* keyway/client.h: an orderly end. Nothing new begins, and what is under way is worked on until it
 * has ended. */
#include <keyway/client.h>

#include "api/client.h"
#include "drive/loop.h"
#include "drive/plan.h"
#include "base/error.h"
#include "net/clock.h"

#include <time.h>

/* Other threads' calls tell nobody of their end: it is looked for this often. */
#define LOOK_MS 2

/* And where a descriptor stays readable, which another thread sees to. */
#define READABLE_NS (KW_NS_PER_MS / 10)

/* What has not ended. */
typedef struct remains {
    size_t calls_n;    /* of other threads */
    size_t commands_n; /* tickets and callbacks */
    size_t sessions_n;
    bool has_closed; /* a callback called kw_close */
} remains;

static bool is_empty(const remains *left)
{
    return left->calls_n == 0 && left->commands_n == 0 && left->sessions_n == 0;
}

/* Goes on with all that needs somebody to do so. Failure: a callback has ended the handle, or its
 * process, or is what this is called in. */
static kw_err work(kw_client *client, kw_error *error, remains *left)
{
    left->commands_n = 0;
    for (size_t i = 0; i < KW_CLIENT_PARTS_N; i++) {
        const kw_client_part *part = kw_client_part_at(client, i);
        size_t open_n = 0;
        kw_err code = part != NULL ? part->work_fn(client, error, &open_n) : KW_OK;
        if (code != KW_OK) {
            left->has_closed = code == KW_ERR_CANCELLED;
            return code;
        }
        left->commands_n += open_n;
    }
    left->sessions_n = atomic_load(&client->sessions_n);
    left->calls_n = atomic_load(&client->calls_n) - 1; /* without this one */
    return KW_OK;
}

static void nap(const kw_env *env, uint64_t until_ns, uint64_t most_ns)
{
    uint64_t now_ns = kw_env_now(env);
    uint64_t left_ns = until_ns > now_ns ? until_ns - now_ns : 0;
    struct timespec span = {0, (long)(left_ns < most_ns ? left_ns : most_ns)};
    nanosleep(&span, NULL);
}

/* Waits until a loop has something, or a while, which ends at the deadline. */
static void wait_a_little(kw_client *client, uint64_t now_ns, uint64_t deadline_ns)
{
    int wait_ms = kw_clock_ms_until(now_ns, deadline_ns, LOOK_MS);
    const kw_transport *transport = client->topology->env.transport;
    struct pollfd entries[KW_CLIENT_PARTS_N];
    size_t n = 0;
    for (size_t i = 0; i < KW_CLIENT_PARTS_N; i++) {
        const kw_client_part *part = kw_client_part_at(client, i);
        const kw_loop *loop = part != NULL ? part->loop_fn(client) : NULL;
        if (loop != NULL) {
            entries[n++] = (struct pollfd){loop->poller.fd, POLLIN, 0};
        }
    }
    bool has_waited = n > 0 && transport->poll_fn(transport->arg, entries, n, wait_ms) == 0;
    if (!has_waited) {
        uint64_t most_ns = n > 0 ? READABLE_NS : LOOK_MS * KW_NS_PER_MS;
        nap(&client->topology->env, deadline_ns, most_ns);
    }
}

static kw_err late(kw_error *error, const remains *left)
{
    return kw_error_set(error, KW_ERR_TIMEOUT, KW_EFFECT_NONE,
                        "not ended yet: %zu calls of other threads, %zu tickets and callbacks, "
                        "%zu sessions; call kw_drain again, or kw_close",
                        left->calls_n, left->commands_n, left->sessions_n);
}

static kw_err drain(kw_client *client, kw_error *error, remains *left, uint64_t deadline_ns)
{
    kw_topology *topology = client->topology;
    for (;;) {
        kw_err code = work(client, error, left);
        if (code != KW_OK || is_empty(left)) {
            return code;
        }
        if (atomic_load_explicit(&client->is_closing, memory_order_relaxed)) {
            return kw_error_set(error, KW_ERR_CANCELLED, KW_EFFECT_NONE,
                                "the handle was closed meanwhile");
        }
        uint64_t now_ns = kw_env_now(&topology->env);
        if (now_ns >= deadline_ns) {
            return late(error, left);
        }
        wait_a_little(client, now_ns, deadline_ns);
    }
}

kw_err kw_drain(kw_client *client, kw_error *error, uint64_t timeout_ms)
{
    if (client == NULL) {
        return kw_error_set(error, KW_ERR_ARGUMENT, KW_EFFECT_NONE, "client is NULL");
    }
    kw_err code = kw_client_enter(client, error);
    if (code != KW_OK) {
        return code;
    }
    const kw_env *env = &client->topology->env;
    timeout_ms = timeout_ms > 0 ? timeout_ms : env->options.timeout_ms;
    unsigned generation = client->generations_n;
    atomic_store(&client->is_draining, true);
    remains left = {0, 0, 0, false};
    code = drain(client, error, &left, kw_plan_deadline_ns(kw_env_now(env), timeout_ms));
    if (code == KW_ERR_FORKED && client->generations_n != generation) {
        return code; /* the child has started anew, and counts its own calls */
    }
    if (left.has_closed) {
        kw_client_close(client);
    } else {
        kw_client_leave(client);
    }
    return code;
}

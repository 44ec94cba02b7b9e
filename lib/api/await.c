#include "api/await.h"

#include "api/drive.h"
#include "base/error.h"

/* A blocking command may be silent for long; the map is looked at again at growing
 * intervals, at most this. */
#define BLOCKED_CHECK_MAX_NS ((uint64_t)10000 * KW_NS_PER_MS)

void kw_await_init(kw_await *self, kw_client *client, const kw_plan *plan, kw_op *op)
{
    self->client = client;
    self->plan = plan;
    self->op = op;
    self->now_ns = plan->start_ns;
    self->failure.size = sizeof(self->failure);
    self->failure.code = KW_OK;
    self->failure.text[0] = '\0';
    self->failure.node[0] = '\0';
    self->fetch = 0;
    self->changes_n = 0;
}

/* Until when to wait without a look at the map. */
static uint64_t patient_until_ns(const kw_await *self)
{
    uint64_t deadline_ns = self->plan->deadline_ns;
    uint64_t stall_ns = self->now_ns + self->client->env.options.stall_ms * KW_NS_PER_MS;
    return kw_drive_has_map(self->client) && stall_ns < deadline_ns ? stall_ns : deadline_ns;
}

kw_err kw_await_acquire(kw_await *self, kw_node *node, kw_conn **conn, uint64_t *retry_ns,
                        bool is_early)
{
    kw_node_wish wish = {self->now_ns, patient_until_ns(self), is_early};
    *retry_ns = self->now_ns;
    kw_err code = kw_node_acquire(node, conn, &self->failure, retry_ns, &wish);
    if (code != KW_OK) {
        self->now_ns = kw_env_now(&self->client->env);
    }
    return code;
}

/* One answer that is late. */
typedef struct patience {
    uint64_t sent_ns;
    uint64_t interval_ns; /* between two looks at the map */
    uint64_t lost_ns;     /* when the owner was first seen to be another; 0: it is not */
} patience;

/* KW_ERR_CLOSED where waiting on is no use. */
static kw_err check_owner(kw_await *self, patience *late, const kw_node *node)
{
    if (!kw_drive_has_lost_owner(self->client, self->plan, self->op, node)) {
        return KW_OK;
    }
    const kw_options *options = &self->client->env.options;
    uint64_t grace_ns = options->grace_ms * KW_NS_PER_MS;
    late->lost_ns = late->lost_ns != 0 ? late->lost_ns : self->now_ns;
    if (self->now_ns - late->sent_ns >= options->stall_ms * KW_NS_PER_MS + grace_ns ||
        self->now_ns - late->lost_ns >= grace_ns) {
        return kw_error_set(&self->failure, KW_ERR_CLOSED, KW_EFFECT_MAYBE,
                            "no answer, and the slot belongs to another node now");
    }
    return KW_OK;
}

/* Waits for bytes on the socket, or for news of the map. */
static kw_err wait_for_news(kw_await *self, patience *late, const kw_conn *conn)
{
    kw_refresher *refresher = &self->client->refresher;
    struct pollfd sockets[2] = {{conn->socket, kw_conn_events(conn), 0}};
    kw_refresher_goal goal = {
        .until_ns = self->now_ns + late->interval_ns, .sockets = sockets, .sockets_n = 1};
    if (late->lost_ns != 0) {
        goal.until_ns = late->lost_ns + self->client->env.options.grace_ms * KW_NS_PER_MS;
    } else {
        goal.wakes_on_map = true;
        goal.changes_n = kw_refresher_changes_n(refresher);
        (void)kw_refresher_want(refresher);
    }
    if (self->plan->is_blocking) {
        late->interval_ns *= 2;
        if (late->interval_ns > BLOCKED_CHECK_MAX_NS) {
            late->interval_ns = BLOCKED_CHECK_MAX_NS;
        }
    }
    if (goal.until_ns > self->plan->deadline_ns) {
        goal.until_ns = self->plan->deadline_ns;
    }
    kw_err code = kw_refresher_wait(refresher, &self->failure, &goal);
    return code == KW_ERR_CANCELLED ? code : KW_OK;
}

static kw_err wait_stalled(kw_await *self, kw_conn *conn, const kw_node *node,
                           const kw_request *request)
{
    uint64_t stall_ns = self->client->env.options.stall_ms * KW_NS_PER_MS;
    patience late = {self->now_ns, stall_ns, 0};
    while (!request->is_done) {
        self->now_ns = kw_env_now(&self->client->env);
        if (self->now_ns >= self->plan->deadline_ns) {
            return KW_ERR_TIMEOUT;
        }
        kw_err code = kw_conn_check_overdue(conn, &self->failure, self->now_ns);
        code = code == KW_OK ? check_owner(self, &late, node) : code;
        code = code == KW_OK ? wait_for_news(self, &late, conn) : code;
        code = code == KW_OK ? kw_conn_progress(conn, &self->failure, POLLIN) : code;
        if (code != KW_OK) {
            return code;
        }
    }
    return KW_OK;
}

kw_err kw_await_reply(kw_await *self, kw_conn *conn, const kw_node *node, kw_request *request)
{
    uint64_t until_ns = patient_until_ns(self);
    kw_err code = kw_conn_wait(conn, &self->failure, request, self->now_ns, until_ns);
    if (code == KW_ERR_TIMEOUT && until_ns < self->plan->deadline_ns) {
        code = wait_stalled(self, conn, node, request);
    }
    return code;
}

static kw_step do_refresh(kw_await *self, const kw_step *step)
{
    kw_refresher_goal goal = {.until_ns = step->until_ns, .fetch = self->fetch};
    goal.wakes_on_map = step->wakes_on_map;
    goal.changes_n = self->changes_n;
    kw_error failure = KW_ERROR_INIT;
    kw_err code = kw_refresher_wait(&self->client->refresher, &failure, &goal);
    if (code != KW_OK && code != KW_ERR_TIMEOUT) {
        self->failure = failure;
    }
    self->now_ns = kw_env_now(&self->client->env);
    return kw_op_on_refreshed(self->op, self->now_ns, code);
}

static kw_step do_sleep(kw_await *self, const kw_step *step)
{
    kw_refresher_goal goal = {.until_ns = step->until_ns};
    goal.wakes_on_map = step->wakes_on_map;
    goal.changes_n = self->changes_n;
    kw_error failure = KW_ERROR_INIT;
    kw_err code = kw_refresher_wait(&self->client->refresher, &failure, &goal);
    self->now_ns = kw_env_now(&self->client->env);
    if (code == KW_ERR_CANCELLED) {
        self->failure = failure;
        return kw_op_on_unavailable(self->op, self->now_ns, code, self->now_ns);
    }
    return kw_op_on_woke(self->op, self->now_ns);
}

kw_step kw_await_step(kw_await *self, const kw_step *step)
{
    return step->kind == KW_STEP_REFRESH ? do_refresh(self, step) : do_sleep(self, step);
}

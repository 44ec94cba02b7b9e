#include "net/node.h"

#include "base/error.h"

#include <string.h>

/* While one thread dials a failing node, the others wait for it this long before
 * they look elsewhere. */
#define SHUN_NS       ((uint64_t)500000000)
#define PROBE_WAIT_NS ((uint64_t)50000000)

/* So seldom it is noted that somebody wants to know the lag. */
#define WANT_NS ((uint64_t)1000000000)

/* A node is crowded once so many callers meet there more often than one time in so many. */
#define CROWDING_STEP 8u
#define CROWDING_MAX  32u

static void link_node(kw_node *node)
{
    kw_env *env = node->env;
    kw_gate_lock(&env->nodes_gate);
    node->after = env->nodes;
    if (node->after != NULL) {
        node->after->before = node;
    }
    env->nodes = node;
    kw_gate_unlock(&env->nodes_gate);
}

static void unlink_node(kw_node *node)
{
    kw_env *env = node->env;
    kw_gate_lock(&env->nodes_gate);
    if (node->before != NULL) {
        node->before->after = node->after;
    } else if (env->nodes == node) { /* else: from before a fork */
        env->nodes = node->after;
    }
    if (node->after != NULL) {
        node->after->before = node->before;
    }
    kw_gate_unlock(&env->nodes_gate);
}

/* As settings say it; 0: they do not. */
static uint64_t zone_of(const kw_env *env, const kw_endpoint *endpoint)
{
    for (size_t i = 0; i < env->options.zones_n; i++) {
        if (kw_endpoint_equal(&env->options.zones[i].server, endpoint)) {
            return env->options.zones[i].zone;
        }
    }
    return 0;
}

kw_node *kw_node_new(kw_env *env, const kw_endpoint *endpoint)
{
    kw_node *node = kw_mem_calloc(&env->mem, 1, sizeof(*node));
    if (node == NULL) {
        return NULL;
    }
    if (kw_gate_init(&node->gate) != KW_OK) {
        kw_mem_free(&env->mem, node);
        return NULL;
    }
    if (kw_lane_init(&node->lane, env, node) != KW_OK) {
        kw_gate_fini(&node->gate);
        kw_mem_free(&env->mem, node);
        return NULL;
    }
    node->env = env;
    atomic_init(&node->refs, 1);
    atomic_init(&node->role, KW_CONN_ANY);
    atomic_init(&node->era, 0);
    atomic_init(&node->is_crowded, env->options.share_above == 0);
    atomic_init(&node->zone, zone_of(env, endpoint));
    atomic_init(&node->unfit_ns, 0);
    atomic_init(&node->latency_ns, 0);
    atomic_init(&node->lag.wanted_ns, 0);
    atomic_init(&node->lag.known_ns, 0);
    atomic_init(&node->lag.behind, 0);
    atomic_init(&node->lag.stream, 0);
    atomic_init(&node->lag.offset, 0);
    node->endpoint = *endpoint;
    kw_endpoint_text(node->name, endpoint);
    kw_health_init(&node->health);
    kw_outage_init(&node->outage);
    atomic_init(&node->faults_n, 0);
    atomic_init(&node->near_n, 0);
    kw_random_init(&node->random, kw_env_seed(env));
    node->failure.size = sizeof(node->failure);
    link_node(node);
    return node;
}

kw_node *kw_node_ref(kw_node *node)
{
    atomic_fetch_add_explicit(&node->refs, 1, memory_order_relaxed);
    return node;
}

static void free_list(kw_conn *list)
{
    while (list != NULL) {
        kw_conn *next = list->next;
        kw_conn_free(list);
        list = next;
    }
}

void kw_node_unref(kw_node *node)
{
    if (node == NULL || atomic_fetch_sub_explicit(&node->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    unlink_node(node);
    kw_departed *departed = &node->env->departed;
    atomic_fetch_add_explicit(&departed->connects, node->stats.connects, memory_order_relaxed);
    atomic_fetch_add_explicit(&departed->connect_failures, node->stats.connect_failures,
                              memory_order_relaxed);
    atomic_fetch_add_explicit(&departed->disconnects, node->stats.disconnects,
                              memory_order_relaxed);
    free_list(node->idle);
    kw_probe_fini(&node->probe);
    kw_probe_fini(&node->lag.probe);
    kw_lane_fini(&node->lane);
    kw_gate_fini(&node->gate);
    kw_mem_free(&node->env->mem, node);
}

static void link_in_use(kw_node *node, kw_conn *conn)
{
    conn->previous = NULL;
    conn->next = node->in_use;
    if (node->in_use != NULL) {
        node->in_use->previous = conn;
    }
    node->in_use = conn;
    node->in_use_n++;
}

static void unlink_in_use(kw_node *node, kw_conn *conn)
{
    if (conn->previous != NULL) {
        conn->previous->next = conn->next;
    } else if (node->in_use == conn) {
        node->in_use = conn->next;
    } else {
        return; /* never became ready */
    }
    if (conn->next != NULL) {
        conn->next->previous = conn->previous;
    }
    conn->previous = NULL;
    conn->next = NULL;
    node->in_use_n--;
}

/* One connection of the node less; the lock is held. */
static void count_out(kw_node *node, const kw_conn *conn)
{
    node->conns_n--;
    if (conn->state != KW_CONN_READY && conn->state != KW_CONN_DEAD) {
        kw_health_on_abandoned(&node->health); /* parked while it was being opened */
    }
}

/* Cuts the idle list off at *link; the lock is held. The caller frees what it gets. */
static kw_conn *cut_idle(kw_node *node, kw_conn **link)
{
    kw_conn *cut = *link;
    *link = NULL;
    for (const kw_conn *conn = cut; conn != NULL; conn = conn->next) {
        count_out(node, conn);
    }
    return cut;
}

/* What has been idle for too long; the oldest are last. */
static kw_conn *take_expired(kw_node *node, uint64_t now_ns)
{
    uint64_t idle_ns = node->env->options.pool_idle_ms * (uint64_t)1000000;
    kw_conn **link = &node->idle;
    /* Another thread's release may be later than this one's now. */
    while (*link != NULL && now_ns <= (*link)->idle_since_ns + idle_ns) {
        link = &(*link)->next;
    }
    return cut_idle(node, link);
}

static void put_idle(kw_node *node, kw_conn *conn, uint64_t now_ns)
{
    conn->idle_since_ns = now_ns;
    conn->is_ours = false;
    conn->next = node->idle;
    node->idle = conn;
}

/* "Re-resolve at every reconnect", Guidelines for Redis clients with support for Sentinel. */
static void doubt(kw_node *node)
{
    /* What was measured may have been another process. */
    atomic_store_explicit(&node->lag.known_ns, 0, memory_order_relaxed);
    bool is_watched = node->env->options.scheme == KW_SCHEME_SENTINEL || kw_node_is_of_group(node);
    if (is_watched && atomic_load(&node->role) != KW_CONN_SENTINEL) {
        atomic_store_explicit(&node->env->has_doubt, true, memory_order_relaxed);
    }
}

/* The newest idle connection that is still good, in use now unless it is yet to be
 * established; NULL when there is none. The lock is held, and left while a connection
 * is looked at. */
static kw_conn *take_idle(kw_node *node, uint64_t now_ns)
{
    while (node->idle != NULL) {
        kw_conn *conn = node->idle;
        node->idle = conn->next;
        conn->next = NULL;
        if (conn->state != KW_CONN_READY) {
            return conn;
        }
        link_in_use(node, conn);
        if (kw_conn_is_fresh(conn, now_ns)) {
            return conn;
        }
        kw_gate_unlock(&node->gate);
        bool is_quiet = kw_conn_is_quiet(conn);
        kw_gate_lock(&node->gate);
        if (is_quiet) {
            return conn;
        }
        unlink_in_use(node, conn);
        node->conns_n--;
        node->stats.disconnects++;
        doubt(node);
        kw_gate_unlock(&node->gate);
        kw_conn_free(conn);
        kw_gate_lock(&node->gate);
    }
    return NULL;
}

static bool may_open(const kw_node *node, uint64_t now_ns, bool is_spare)
{
    return (is_spare || node->conns_n < node->env->options.pool_max + node->shared_n) &&
           kw_health_may_dial(&node->health, now_ns);
}

/* The lock is held in all four. */
static void begin_open(kw_node *node)
{
    kw_health_on_dial(&node->health);
    node->conns_n++;
}

static void end_open(kw_node *node, const kw_conn *conn)
{
    if (conn->zone != 0) {
        atomic_store_explicit(&node->zone, conn->zone, memory_order_relaxed);
    }
    kw_health_on_connected(&node->health);
    node->stats.connects++;
}

static void fail_open(kw_node *node, uint64_t now_ns, const kw_error *failure)
{
    if (failure->code == KW_ERR_ROLE) {
        kw_node_shun(node, now_ns);
    }
    if (failure->code == KW_ERR_CANCELLED || failure->code == KW_ERR_TIMEOUT ||
        failure->code == KW_ERR_NOMEM || failure->code == KW_ERR_ROLE) {
        kw_health_on_abandoned(&node->health);
    } else {
        kw_health_on_failed(&node->health, now_ns, &node->random);
        node->failure = *failure;
        kw_error_set_node(&node->failure, node->name);
        node->stats.connect_failures++;
        kw_node_fault(node);
    }
    node->conns_n--;
}

/* The lock is held. */
static bool is_current(const kw_node *node, const kw_conn *conn)
{
    return !node->is_retired && conn->era == atomic_load(&node->era) &&
           (int)conn->role == atomic_load(&node->role);
}

static kw_err copy_failure(const kw_node *node, kw_error *error)
{
    kw_err code = node->failure.code != KW_OK ? node->failure.code : KW_ERR_CONNECT;
    kw_error_set(error, code, KW_EFFECT_NONE, "%s", node->failure.text);
    kw_error_set_node(error, node->name);
    return code;
}

static kw_conn_role role_of(kw_node *node)
{
    return (kw_conn_role)atomic_load(&node->role);
}

/* A connection on its way; NULL when there is no memory. */
static kw_conn *dial(kw_node *node, kw_error *error, kw_conn_role role, uint64_t now_ns)
{
    unsigned era = atomic_load(&node->era);
    kw_conn *conn = kw_conn_new(node->env, error, &node->endpoint, role, now_ns);
    if (conn != NULL) {
        conn->era = era;
    }
    return conn;
}

/* The caller's time is over before the connection's: whoever comes next goes on with
 * it. */
static kw_err park(kw_node *node, kw_conn *conn, kw_error *error, uint64_t now_ns)
{
    bool is_greeting = conn->state == KW_CONN_GREETING;
    kw_gate_lock(&node->gate);
    put_idle(node, conn, now_ns);
    kw_gate_unlock(&node->gate);
    kw_err code = kw_error_set(error, is_greeting ? KW_ERR_HANDSHAKE : KW_ERR_CONNECT,
                               KW_EFFECT_NONE, "the deadline came %s; raise timeout",
                               kw_conn_lateness(node->env, is_greeting));
    kw_error_set_node(error, node->name);
    return code;
}

/* Opens a connection for the caller, or goes on with one that was parked; the lock is
 * not held. */
static kw_err open_conn(kw_node *node, kw_conn **conn, kw_error *error, uint64_t *retry_ns,
                        const kw_node_wish *wish)
{
    kw_error failure = KW_ERROR_INIT;
    kw_conn *fresh = *conn;
    *conn = NULL;
    if (fresh == NULL) {
        fresh = dial(node, &failure, role_of(node), wish->now_ns);
    }
    if (fresh != NULL && fresh->state != KW_CONN_DEAD) {
        kw_err code = kw_conn_establish(fresh, &failure, wish->deadline_ns, wish->is_early);
        if (code == KW_ERR_TIMEOUT) {
            *retry_ns = wish->deadline_ns;
            return park(node, fresh, error, wish->now_ns);
        }
    }
    bool is_good = fresh != NULL && fresh->state != KW_CONN_DEAD;
    uint64_t now_ns = kw_env_now(node->env);
    kw_gate_lock(&node->gate);
    kw_err code = KW_OK;
    if (is_good) {
        if (fresh->state == KW_CONN_READY) {
            end_open(node, fresh);
        }
        link_in_use(node, fresh);
        node->stats.sends++;
    } else {
        fail_open(node, now_ns, &failure);
        code = failure.code;
        *retry_ns = node->health.is_failing ? node->health.retry_ns : now_ns;
    }
    if (node->waiters_n > 0) {
        kw_gate_wake_all(&node->gate);
    }
    kw_gate_unlock(&node->gate);
    if (is_good) {
        *conn = fresh;
        return KW_OK;
    }
    kw_conn_free(fresh);
    kw_error_set(error, code, KW_EFFECT_NONE, "%s", failure.text);
    kw_error_set_node(error, node->name);
    kw_env_log(node->env, KW_LOG_WARNING, "%s: %s", node->name, failure.text);
    return code;
}

/* KW_OK where the node can be dialled; else why nobody knows where it is: KW_ERR_TOPOLOGY, while
 * nobody has asked. The lock is held. */
static kw_err check_known(const kw_node *node, kw_error *error)
{
    if (!kw_endpoint_is_unknown(&node->endpoint)) {
        return KW_OK;
    }
    if (node->failure.code == KW_OK) {
        return kw_error_set(error, KW_ERR_TOPOLOGY, KW_EFFECT_NONE,
                            "its sentinels have not been asked yet");
    }
    kw_error_set(error, node->failure.code, KW_EFFECT_NONE, "%s", node->failure.text);
    kw_error_set_node(error, node->failure.node);
    return node->failure.code;
}

bool kw_node_is_unasked(kw_node *node)
{
    if (!kw_endpoint_is_unknown(&node->endpoint)) {
        return false;
    }
    kw_gate_lock(&node->gate);
    bool is_unasked = node->failure.code == KW_OK;
    kw_gate_unlock(&node->gate);
    return is_unasked;
}

void kw_node_set_refusal(kw_node *node, const kw_error *failure)
{
    kw_gate_lock(&node->gate);
    node->failure = *failure;
    kw_gate_unlock(&node->gate);
}

/* What a call that cannot have a connection at once does; the lock is held. KW_OK: it
 * has waited, look again. */
static kw_err wait_for_conn(kw_node *node, kw_error *error, uint64_t *retry_ns, uint64_t now_ns,
                            uint64_t deadline_ns, uint64_t probe_ns)
{
    bool is_failing = node->health.is_failing;
    bool is_dialled = node->health.dialling_n > 0;
    /* A server that has no more places still serves those that it has given. */
    bool is_served = node->conns_n > node->health.dialling_n;
    /* At the deadline no pool is full where nobody gets through. */
    bool is_over = now_ns >= probe_ns || now_ns >= deadline_ns;
    if (is_failing && (is_over || (!is_dialled && !is_served))) {
        bool is_later = node->health.retry_ns > now_ns && !is_served;
        *retry_ns = is_later ? node->health.retry_ns : now_ns;
        return copy_failure(node, error);
    }
    if (now_ns >= deadline_ns) {
        *retry_ns = now_ns;
        kw_error_set(error, KW_ERR_POOL_FULL, KW_EFFECT_NONE,
                     "all %zu connections stayed busy (pool-max=%llu); raise pool-max or timeout",
                     node->conns_n, (unsigned long long)node->env->options.pool_max);
        kw_error_set_node(error, node->name);
        return KW_ERR_POOL_FULL;
    }
    uint64_t until_ns = is_failing && probe_ns < deadline_ns ? probe_ns : deadline_ns;
    if (is_failing && !is_dialled && node->health.retry_ns > now_ns &&
        node->health.retry_ns < until_ns) {
        until_ns = node->health.retry_ns; /* then this call may dial */
    }
    node->waiters_n++;
    kw_gate_wait(&node->gate, until_ns - now_ns);
    node->waiters_n--;
    return KW_OK;
}

static kw_err cancelled(kw_error *error)
{
    return kw_error_set(error, KW_ERR_CANCELLED, KW_EFFECT_NONE,
                        "the handle was closed during the call");
}

/* True where so many have a connection each that one more shares, or would have to wait. The
 * lock is held. */
static bool becomes_crowded(kw_node *node)
{
    const kw_options *options = &node->env->options;
    size_t callers_n = node->in_use_n + node->health.dialling_n;
    bool is_full = node->idle == NULL && node->conns_n >= options->pool_max + node->shared_n;
    if (callers_n < options->share_above + node->shared_n && !is_full) {
        node->crowding -= node->crowding > 0 ? 1 : 0;
        return false;
    }
    node->crowding += CROWDING_STEP;
    if (node->crowding < CROWDING_MAX && !is_full) {
        return false; /* now and then is not enough */
    }
    node->crowding = 0;
    atomic_store_explicit(&node->is_crowded, true, memory_order_relaxed);
    return true;
}

kw_err kw_node_acquire(kw_node *node, kw_conn **conn, kw_error *error, uint64_t *retry_ns,
                       const kw_node_wish *wish)
{
    uint64_t now_ns = wish->now_ns;
    uint64_t probe_ns = now_ns + PROBE_WAIT_NS;
    kw_gate_lock(&node->gate);
    for (;;) {
        if (atomic_load_explicit(&node->env->is_closing, memory_order_relaxed)) {
            kw_gate_unlock(&node->gate);
            return cancelled(error);
        }
        kw_err unknown = check_known(node, error);
        if (unknown != KW_OK) {
            kw_gate_unlock(&node->gate);
            return unknown;
        }
        if (wish->may_share && becomes_crowded(node)) {
            kw_gate_unlock(&node->gate);
            return KW_ERR_BUSY;
        }
        *conn = take_idle(node, now_ns);
        if (*conn != NULL && (*conn)->state == KW_CONN_READY) {
            node->stats.sends++;
            kw_gate_unlock(&node->gate);
            return KW_OK;
        }
        if (*conn != NULL || may_open(node, now_ns, false)) {
            if (*conn == NULL) {
                begin_open(node);
            }
            kw_gate_unlock(&node->gate);
            return open_conn(node, conn, error, retry_ns, wish);
        }
        kw_err code = wait_for_conn(node, error, retry_ns, now_ns, wish->deadline_ns, probe_ns);
        if (code != KW_OK) {
            kw_gate_unlock(&node->gate);
            return code;
        }
        now_ns = kw_env_now(node->env);
    }
}

/* A connection that has begun to be opened; the lock is held, and left. */
static kw_err open_unready(kw_node *node, kw_conn **conn, kw_error *error, kw_conn_role role,
                           uint64_t now_ns)
{
    begin_open(node);
    kw_gate_unlock(&node->gate);
    kw_error failure = KW_ERROR_INIT;
    kw_conn *fresh = dial(node, &failure, role, now_ns);
    if (fresh != NULL && fresh->state != KW_CONN_DEAD) {
        *conn = fresh;
        return KW_OK;
    }
    kw_gate_lock(&node->gate);
    fail_open(node, now_ns, &failure);
    kw_gate_unlock(&node->gate);
    kw_conn_free(fresh);
    kw_error_set(error, failure.code, KW_EFFECT_NONE, "%s", failure.text);
    kw_error_set_node(error, node->name);
    return failure.code;
}

/* What a caller that does not wait wants. */
typedef struct errand {
    uint64_t now_ns;
    kw_conn_role role;
    bool is_spare; /* also beyond pool-max */
} errand;

static kw_err try_acquire(kw_node *node, kw_conn **conn, kw_error *error, const errand *wish)
{
    kw_gate_lock(&node->gate);
    kw_err unknown = check_known(node, error);
    if (unknown != KW_OK) {
        kw_gate_unlock(&node->gate);
        return unknown;
    }
    kw_conn *fresh = wish->role == role_of(node) ? take_idle(node, wish->now_ns) : NULL;
    if (fresh != NULL) {
        kw_gate_unlock(&node->gate);
        *conn = fresh;
        return KW_OK;
    }
    if (!may_open(node, wish->now_ns, wish->is_spare)) {
        kw_err code = node->health.is_failing ? copy_failure(node, error) : KW_ERR_POOL_FULL;
        kw_gate_unlock(&node->gate);
        if (code == KW_ERR_POOL_FULL) {
            kw_error_set(error, code, KW_EFFECT_NONE, "all connections are busy");
        }
        return code;
    }
    return open_unready(node, conn, error, wish->role, wish->now_ns);
}

kw_err kw_node_try_acquire(kw_node *node, kw_conn **conn, kw_error *error, uint64_t now_ns,
                           bool is_spare)
{
    errand wish = {now_ns, role_of(node), is_spare};
    return try_acquire(node, conn, error, &wish);
}

kw_err kw_node_try_acquire_as(kw_node *node, kw_conn **conn, kw_error *error, uint64_t now_ns,
                              kw_conn_role role)
{
    errand wish = {now_ns, role, true};
    return try_acquire(node, conn, error, &wish);
}

kw_err kw_node_open_shared(kw_node *node, kw_conn **conn, kw_error *error, uint64_t now_ns,
                           uint64_t *retry_ns)
{
    kw_gate_lock(&node->gate);
    node->shared_n++; /* at no moment does it count against pool-max */
    kw_gate_unlock(&node->gate);
    kw_err code = kw_node_try_acquire(node, conn, error, now_ns, true);
    if (code == KW_OK) {
        return KW_OK;
    }
    kw_gate_lock(&node->gate);
    node->shared_n--;
    bool is_later = node->health.is_failing && node->health.retry_ns > now_ns;
    *retry_ns = is_later ? node->health.retry_ns : now_ns;
    kw_gate_unlock(&node->gate);
    return code;
}

void kw_node_release_shared(kw_node *node, kw_conn *conn, uint64_t now_ns, const kw_error *failure)
{
    kw_gate_lock(&node->gate);
    node->shared_n--;
    kw_gate_unlock(&node->gate);
    if (failure != NULL && failure->code != KW_ERR_CANCELLED) {
        kw_env_log(node->env, KW_LOG_WARNING, "%s: %s", node->name, failure->text);
    }
    kw_node_release(node, conn, now_ns, failure);
}

void kw_node_park_shared(kw_node *node, kw_conn *conn, uint64_t now_ns)
{
    kw_gate_lock(&node->gate);
    node->shared_n--;
    bool is_spare = node->conns_n > node->env->options.pool_max + node->shared_n;
    bool is_kept = !is_spare && is_current(node, conn);
    if (is_kept) {
        put_idle(node, conn, now_ns);
        if (node->waiters_n > 0) {
            kw_gate_wake_one(&node->gate);
        }
    }
    kw_gate_unlock(&node->gate);
    if (!is_kept) {
        kw_error failure = KW_ERROR_INIT;
        failure.code = KW_ERR_CANCELLED;
        kw_node_release(node, conn, now_ns, &failure);
    }
}

void kw_node_on_ready(kw_node *node, kw_conn *conn)
{
    kw_gate_lock(&node->gate);
    end_open(node, conn);
    if (conn->previous == NULL && node->in_use != conn) {
        link_in_use(node, conn);
    }
    if (node->waiters_n > 0) {
        kw_gate_wake_all(&node->gate); /* more connects are allowed now */
    }
    kw_gate_unlock(&node->gate);
}

void kw_node_release(kw_node *node, kw_conn *conn, uint64_t now_ns, const kw_error *failure)
{
    bool is_good = kw_conn_is_settled(conn);
    kw_gate_lock(&node->gate);
    bool is_spare = node->conns_n > node->env->options.pool_max + node->shared_n;
    kw_conn *closed = take_expired(node, now_ns);
    unlink_in_use(node, conn);
    if (failure != NULL) {
        fail_open(node, now_ns, failure);
    } else {
        if (is_good && !is_spare && is_current(node, conn)) {
            put_idle(node, conn, now_ns);
            conn = NULL;
        } else {
            node->conns_n--;
            node->stats.disconnects += is_good ? 0 : 1;
            if (!is_good) {
                doubt(node);
            }
        }
    }
    if (node->waiters_n > 0) {
        kw_gate_wake_one(&node->gate);
    }
    kw_gate_unlock(&node->gate);
    kw_conn_free(conn);
    free_list(closed);
}

void kw_node_retire(kw_node *node)
{
    kw_gate_lock(&node->gate);
    node->is_retired = true;
    kw_conn *closed = cut_idle(node, &node->idle);
    kw_gate_unlock(&node->gate);
    free_list(closed);
    kw_lane_retire(&node->lane, true);
}

void kw_node_unretire(kw_node *node)
{
    kw_lane_retire(&node->lane, false);
    kw_gate_lock(&node->gate);
    node->is_retired = false;
    kw_gate_unlock(&node->gate);
}

void kw_node_renew(kw_node *node)
{
    kw_gate_lock(&node->gate);
    atomic_fetch_add(&node->era, 1);
    kw_conn *closed = cut_idle(node, &node->idle);
    kw_gate_unlock(&node->gate);
    free_list(closed);
    kw_lane_renew(&node->lane);
}

void kw_node_set_role(kw_node *node, kw_conn_role role)
{
    if (atomic_exchange(&node->role, (int)role) != (int)role) {
        kw_node_renew(node);
    }
}

bool kw_node_is_current(kw_node *node, const kw_conn *conn)
{
    kw_gate_lock(&node->gate);
    bool result = is_current(node, conn);
    kw_gate_unlock(&node->gate);
    return result;
}

void kw_node_sweep(kw_node *node, uint64_t now_ns)
{
    kw_gate_lock(&node->gate);
    kw_conn *expired = take_expired(node, now_ns);
    kw_gate_unlock(&node->gate);
    free_list(expired);
    kw_lane_sweep(&node->lane, now_ns, node->env->options.pool_idle_ms * (uint64_t)1000000);
}

bool kw_node_is_failing(kw_node *node)
{
    kw_gate_lock(&node->gate);
    bool is_failing = node->health.is_failing;
    kw_gate_unlock(&node->gate);
    return is_failing;
}

void kw_node_fault(kw_node *node)
{
    atomic_fetch_add_explicit(&node->faults_n, 1, memory_order_relaxed);
    if (node->env->options.scheme == KW_SCHEME_RING) {
        atomic_store_explicit(&node->env->guard_ns, 0, memory_order_release);
    }
}

uint64_t kw_node_retry_ns(kw_node *node, uint64_t now_ns)
{
    kw_gate_lock(&node->gate);
    bool is_open = node->idle != NULL || may_open(node, now_ns, true);
    uint64_t retry_ns = node->health.retry_ns > now_ns ? node->health.retry_ns : now_ns + 1;
    kw_gate_unlock(&node->gate);
    return is_open ? 0 : retry_ns;
}

void kw_node_shun(kw_node *node, uint64_t now_ns)
{
    atomic_store_explicit(&node->unfit_ns, now_ns + SHUN_NS, memory_order_relaxed);
}

bool kw_node_is_fit(kw_node *node, uint64_t now_ns)
{
    return now_ns >= atomic_load_explicit(&node->unfit_ns, memory_order_relaxed) &&
           !kw_node_is_failing(node);
}

void kw_node_want_lag(kw_node *primary, uint64_t now_ns)
{
    uint64_t before_ns = atomic_load_explicit(&primary->lag.wanted_ns, memory_order_relaxed);
    if (before_ns == 0 || now_ns > before_ns + WANT_NS) {
        atomic_store_explicit(&primary->lag.wanted_ns, now_ns, memory_order_relaxed);
        atomic_store_explicit(&primary->env->lag_ns, 0, memory_order_release);
    }
}

bool kw_node_has(kw_node *node, uint64_t stream, uint64_t offset)
{
    /* The stream before and after: then the offset is of it. */
    return stream != 0 && atomic_load(&node->lag.stream) == stream &&
           atomic_load(&node->lag.offset) >= offset && atomic_load(&node->lag.stream) == stream &&
           atomic_load(&node->lag.known_ns) != 0;
}

void kw_node_on_latency(kw_node *node, uint64_t latency_ns)
{
    uint64_t mean_ns = atomic_load_explicit(&node->latency_ns, memory_order_relaxed);
    mean_ns = mean_ns == 0 ? latency_ns : mean_ns - mean_ns / 8 + latency_ns / 8;
    atomic_store_explicit(&node->latency_ns, mean_ns > 0 ? mean_ns : 1, memory_order_relaxed);
}

void kw_node_count(kw_node *node, kw_node_event event)
{
    kw_gate_lock(&node->gate);
    switch (event) {
    case KW_NODE_MOVED:
        node->stats.moved++;
        break;
    case KW_NODE_ASK:
        node->stats.ask++;
        break;
    case KW_NODE_RETRY:
        node->stats.retries++;
        break;
    case KW_NODE_TIMEOUT:
        node->stats.timeouts++;
        break;
    case KW_NODE_ERROR:
        break;
    }
    kw_gate_unlock(&node->gate);
}

static void wake_all(kw_node *node)
{
    kw_gate_lock(&node->gate);
    for (kw_conn *conn = node->in_use; conn != NULL; conn = conn->next) {
        kw_conn_shutdown(conn);
    }
    kw_gate_wake_all(&node->gate);
    kw_gate_unlock(&node->gate);
    kw_lane_wake_all(&node->lane);
}

void kw_nodes_wake_all(kw_env *env)
{
    kw_gate_lock(&env->nodes_gate);
    for (kw_node *node = env->nodes; node != NULL; node = node->after) {
        wake_all(node);
    }
    kw_gate_unlock(&env->nodes_gate);
}

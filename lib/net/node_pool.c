/* SPDX-License-Identifier: BSD-3-Clause */
/* The pool of a node: connections that are idle, in use, or being opened, and their number. */
#include "net/node_private.h"

#include "base/apart.h"
#include "base/error.h"
#include "net/conn_diary.h"
#include "net/identity.h"

void kw_pool_free_list(kw_conn *list)
{
    while (list != NULL) {
        kw_conn *next = list->next;
        kw_conn_free(list);
        list = next;
    }
}

void kw_pool_link_in_use(kw_node *node, kw_conn *conn)
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

kw_conn *kw_pool_cut_idle(kw_node *node, kw_conn **link)
{
    kw_conn *cut = *link;
    *link = NULL;
    for (const kw_conn *conn = cut; conn != NULL; conn = conn->next) {
        count_out(node, conn);
    }
    return cut;
}

kw_conn *kw_pool_take_expired(kw_node *node, uint64_t now_ns)
{
    if (node->idle == NULL) {
        return NULL; /* as for a caller who is alone */
    }
    uint64_t idle_ns = node->env->options.pool_idle_ms * (uint64_t)1000000;
    kw_conn **link = &node->idle; /* the oldest are last */
    size_t others_n = node->conns_n > node->shared_n ? node->conns_n - node->shared_n : 0;
    for (const kw_conn *conn = node->idle; conn != NULL && others_n > 0; conn = conn->next) {
        others_n--;
    }
    uint64_t min_n = node->env->options.pool_min;
    /* Another thread's release may be later than this one's now. */
    for (size_t n = others_n;
         *link != NULL && (n < min_n || now_ns <= (*link)->idle_since_ns + idle_ns); n++) {
        link = &(*link)->next;
    }
    return kw_pool_cut_idle(node, link);
}

void kw_pool_put_idle(kw_node *node, kw_conn *conn, uint64_t now_ns)
{
    conn->idle_since_ns = now_ns;
    conn->is_internal = false;
    conn->allows_strangers = false;
    conn->rested_since_ns = 0;
    conn->next = node->idle;
    node->idle = conn;
}

/* For the host, where it listens. */
static void note(const kw_node *node, kw_event_kind kind, const char *why)
{
    if (node->env->events != NULL) {
        node->env->events->note_fn(node->env, kind, node->name, why);
    }
}

/* A connection was lost: another process may answer there now. Under Sentinel the map is asked for
 * again ("Re-resolve at every reconnect", Guidelines for Redis clients with support for
 * Sentinel). */
static void suspect(kw_node *node)
{
    atomic_store_explicit(&node->lag.known_ns, 0, memory_order_relaxed);
    bool is_watched = node->env->options.scheme == KW_SCHEME_SENTINEL || kw_node_is_of_group(node);
    if (is_watched && atomic_load(&node->role) != KW_CONN_SENTINEL) {
        atomic_store_explicit(&node->env->is_suspect, true, memory_order_relaxed);
    }
}

/* False where another server answers than the one that is to. */
static bool is_who_is_expected(const kw_node *node, const kw_conn *conn)
{
    uint64_t id = atomic_load_explicit(&node->id, memory_order_relaxed);
    bool is_other = conn->said.id != id && conn->said.id != 0 && id != 0;
    return !is_other && !conn->is_stranger && !conn->is_unproved;
}

void kw_node_doubt(kw_node *node, const kw_conn *conn, uint64_t now_ns)
{
    uint64_t since_ns = conn->rested_since_ns;
    uint64_t before_ns = atomic_load_explicit(&node->doubt_ns, memory_order_relaxed);
    while (before_ns < since_ns) {
        if (atomic_compare_exchange_weak(&node->doubt_ns, &before_ns, since_ns)) {
            kw_lane_sweep(&node->lane, now_ns, now_ns > since_ns ? now_ns - since_ns : 0);
            return;
        }
    }
}

/* True for one that is taken without a look at its socket. */
static inline bool is_at_hand(const kw_node *node, const kw_conn *conn, uint64_t now_ns)
{
    return is_who_is_expected(node, conn) && kw_conn_is_fresh(conn, now_ns);
}

/* Takes the newest idle connection out of the list; in use now, unless it is to be established. */
static inline kw_conn *take_newest(kw_node *node)
{
    kw_conn *conn = node->idle;
    node->idle = conn->next;
    conn->next = NULL;
    if (conn->state == KW_CONN_READY) {
        kw_pool_link_in_use(node, conn);
    }
    return conn;
}

/* One that was taken is no good any more: counts it out, and frees it with the lock left. */
static void drop_taken(kw_node *node, kw_conn *conn)
{
    unlink_in_use(node, conn);
    node->conns_n--;
    node->stats.disconnects++;
    note(node, KW_EVENT_DISCONNECTED, "closed, or not fit for use any more, while nobody used it");
    suspect(node);
    kw_monitor_unlock(&node->monitor);
    kw_conn_free(conn);
    kw_monitor_lock(&node->monitor);
}

/* As kw_pool_take_idle, where the newest one has to be looked at first. */
KW_APART static kw_conn *take_quiet(kw_node *node, uint64_t now_ns)
{
    while (node->idle != NULL) {
        kw_conn *conn = take_newest(node);
        if (conn->state != KW_CONN_READY || is_at_hand(node, conn, now_ns)) {
            return conn;
        }
        bool is_expected =
            is_who_is_expected(node, conn) && !kw_node_is_doubted(node, conn->idle_since_ns);
        kw_conn_note_rest(conn, conn->idle_since_ns, now_ns);
        kw_monitor_unlock(&node->monitor);
        bool is_quiet = is_expected && kw_conn_is_quiet(conn, false);
        kw_monitor_lock(&node->monitor);
        if (is_quiet) {
            return conn;
        }
        drop_taken(node, conn);
    }
    return NULL;
}

kw_conn *kw_pool_take_idle(kw_node *node, uint64_t now_ns)
{
    const kw_conn *conn = node->idle;
    if (conn == NULL) {
        return NULL;
    }
    bool is_ready = conn->state == KW_CONN_READY && is_at_hand(node, conn, now_ns);
    return is_ready ? take_newest(node) : take_quiet(node, now_ns);
}

bool kw_pool_may_open(const kw_node *node, uint64_t now_ns, bool is_spare)
{
    /* What is not one caller's alone is not kept waiting by the dials of callers. */
    bool is_free = is_spare && !node->health.is_failing;
    return (is_spare || node->conns_n < node->env->options.pool_max + node->shared_n) &&
           (is_free || kw_health_may_dial(&node->health, now_ns));
}

bool kw_pool_is_current(const kw_node *node, const kw_conn *conn)
{
    return !node->is_retired && conn->generation == atomic_load(&node->generation) &&
           (int)conn->role == atomic_load(&node->role) && is_who_is_expected(node, conn);
}

void kw_pool_begin_open(kw_node *node, uint64_t now_ns)
{
    kw_health_on_dial(&node->health, now_ns + kw_conn_connect_ns(node->env));
    node->conns_n++;
}

/* Learns by what the data is known. Where the settings themselves name the server, another one in
 * its place is followed. */
static void learn_lineage(kw_node *node, const kw_conn *conn)
{
    if (conn->is_stranger && (conn->allows_strangers || kw_identity_is_checked(conn))) {
        return; /* who asked for it decides */
    }
    if (kw_lineage_kinship(&node->lineage, &conn->said.lineage) == KW_KINSHIP_NONE) {
        if (!kw_identity_is_of_settings(conn)) {
            return;
        }
        node->lineage.n = 0;
        kw_identity_tell(node->env, &node->endpoint, "the settings name it");
    }
    kw_lineage_learn(&node->lineage, &conn->said.lineage);
}

void kw_pool_end_open(kw_node *node, const kw_conn *conn)
{
    learn_lineage(node, conn);
    if (conn->zone != 0) {
        atomic_store_explicit(&node->zone, conn->zone, memory_order_relaxed);
    }
    atomic_store_explicit(&node->is_incompatible, false, memory_order_relaxed);
    atomic_store_explicit(&node->is_full, false, memory_order_relaxed);
    if (conn->address_at < conn->addresses.n) {
        node->good = conn->addresses.at[conn->address_at];
    }
    kw_health_on_connected(&node->health, conn->begun_ns);
    node->stats.connects++;
    note(node, KW_EVENT_CONNECTED, "");
    node->overdue_n = 0;
    kw_node_on_greeted(node);
}

/* A login that is refused is the word of a server that is well, and so is another role. */
static bool is_fault(const kw_node *node, kw_err code)
{
    bool is_of_well = code == KW_ERR_AUTH && !kw_options_moves_keys(&node->env->options);
    return code != KW_ERR_ROLE && !is_of_well;
}

/* True where the failure is no more than that the server does not know HELLO, which the next
 * greeting does without: it may be so for several dials that were begun at once. Where the older
 * greeting fails as well, HELLO is tried again. */
static bool is_of_hello(kw_node *node, const kw_conn *conn)
{
    node->is_old =
        conn != NULL && conn->was_hung_up && !conn->is_old && node->env->options.protocol != 3;
    return node->is_old;
}

/* A dial that says something of the node has failed. */
static void count_failure(kw_node *node, uint64_t now_ns, const kw_error *failure,
                          const kw_conn *conn)
{
    bool is_overdue = conn != NULL && conn->is_overdue;
    bool is_full = conn != NULL && conn->is_full;
    node->failure = *failure;
    kw_error_set_node(&node->failure, node->name);
    node->stats.connect_failures++;
    /* Those that were too short together are one; who gave it up before its time was over, a probe
     * or a fetch, has more by a rule of its own. */
    bool had_time = is_overdue && now_ns >= conn->deadline_ns;
    bool is_longest = had_time && conn->overdue_n >= node->overdue_n;
    node->overdue_n += is_longest && node->overdue_n < KW_NODE_OVERDUE_MAX ? 1 : 0;
    if (is_fault(node, failure->code) && !is_full) {
        kw_node_fault(node, now_ns, is_overdue ? KW_FAULT_UNANSWERED : KW_FAULT_REFUSED);
    } else {
        kw_node_faults_on_abandoned(&node->faults, node->env);
    }
}

/* False where the dial was given up, or this process lacks what it takes: that is as much as a node
 * that nobody has asked. What is refused for a role that the node is not to have says nothing of
 * the connections that it is to have. */
static bool is_of_node(kw_node *node, kw_err code, const kw_conn *conn)
{
    bool is_starved = conn != NULL && conn->is_starved;
    bool is_of_other_role =
        code == KW_ERR_ROLE && (conn == NULL || conn->role != kw_pool_role_of(node));
    return !is_starved && !is_of_other_role && code != KW_ERR_CANCELLED && code != KW_ERR_TIMEOUT &&
           code != KW_ERR_NOMEM;
}

void kw_pool_fail_open(kw_node *node, uint64_t now_ns, const kw_error *failure, const kw_conn *conn)
{
    atomic_store_explicit(&node->is_incompatible, conn != NULL && conn->is_incompatible,
                          memory_order_relaxed);
    atomic_store_explicit(&node->is_full, conn != NULL && conn->is_full, memory_order_relaxed);
    if (failure->code == KW_ERR_ROLE) {
        kw_node_avoid(node, now_ns);
    }
    bool is_greeted = failure->code == KW_ERR_ROLE;
    if (!is_of_node(node, failure->code, conn) || (!is_greeted && is_of_hello(node, conn))) {
        kw_health_on_abandoned(&node->health);
        kw_node_faults_on_abandoned(&node->faults, node->env);
    } else if (kw_health_on_failed(&node->health, conn != NULL ? conn->begun_ns : 0, now_ns,
                                   &node->random)) {
        count_failure(node, now_ns, failure, conn);
    } else {
        kw_node_faults_on_abandoned(&node->faults, node->env);
    }
    node->conns_n--;
}

kw_err kw_pool_copy_failure(const kw_node *node, kw_error *error)
{
    kw_err code = node->failure.code != KW_OK ? node->failure.code : KW_ERR_CONNECT;
    bool ends_calls = code != KW_ERR_RESOLVE && code != KW_ERR_HANDSHAKE && code != KW_ERR_ROLE;
    if (ends_calls && node->health.dialling_n > 0) {
        code = KW_ERR_CONNECT; /* it may be over: another thread is finding that out just now */
    }
    kw_error_set(error, code, KW_EFFECT_NONE, "%s", node->failure.text);
    kw_error_set_node(error, node->name);
    return code;
}

kw_conn_role kw_pool_role_of(kw_node *node)
{
    return (kw_conn_role)atomic_load(&node->role);
}

kw_err kw_pool_refuse_unknown(const kw_node *node, kw_error *error)
{
    if (node->failure.code == KW_OK) {
        return kw_error_set(error, KW_ERR_TOPOLOGY, KW_EFFECT_NONE,
                            "its sentinels have not been asked yet");
    }
    kw_error_set(error, node->failure.code, KW_EFFECT_NONE, "%s", node->failure.text);
    kw_error_set_node(error, node->failure.node);
    return node->failure.code;
}

void kw_node_on_ready(kw_node *node, kw_conn *conn)
{
    kw_monitor_lock(&node->monitor);
    kw_pool_end_open(node, conn);
    if (conn->previous == NULL && node->in_use != conn) {
        kw_pool_link_in_use(node, conn);
    }
    if (node->waiters_n > 0) {
        kw_monitor_wake_all(&node->monitor); /* more connects are allowed now */
    }
    kw_monitor_unlock(&node->monitor);
}

/* A question of the library's own goes on when callers pass by: its answer may have lain there for
 * long, and the end of the connection behind it. False where it is not used again. */
KW_APART static bool is_question_kept(kw_conn *conn)
{
    if (!kw_conn_is_quiet(conn, false)) {
        conn->state = KW_CONN_DEAD;
        conn->lost = KW_ERR_CLOSED;
        return false;
    }
    return true;
}

/* A connection less, which is not kept; the lock is held. */
KW_APART static void let_go(kw_node *node, const kw_conn *conn, bool is_good)
{
    node->conns_n--;
    if (!is_good) {
        node->stats.disconnects++;
        note(node, KW_EVENT_DISCONNECTED,
             conn->lost != KW_OK ? kw_err_text(conn->lost) : "given up: an answer did not come");
        suspect(node);
    }
}

void kw_node_release(kw_node *node, kw_conn *conn, uint64_t now_ns, const kw_error *failure)
{
    bool is_good = kw_conn_is_settled(conn) && (!conn->is_internal || is_question_kept(conn));
    kw_monitor_lock(&node->monitor);
    bool is_spare = node->conns_n > node->env->options.pool_max + node->shared_n;
    kw_conn *closed = node->idle != NULL ? kw_pool_take_expired(node, now_ns) : NULL;
    unlink_in_use(node, conn);
    bool is_kept = failure == NULL && is_good && !is_spare && kw_pool_is_current(node, conn);
    if (is_kept) {
        kw_pool_put_idle(node, conn, now_ns);
    } else if (failure != NULL) {
        kw_pool_fail_open(node, now_ns, failure, conn);
    } else {
        let_go(node, conn, is_good);
    }
    if (node->waiters_n > 0) {
        kw_monitor_wake_one(&node->monitor);
    }
    kw_monitor_unlock(&node->monitor);
    if (!is_kept) {
        if (!is_good) {
            kw_node_doubt(node, conn, now_ns);
        }
        kw_conn_free(conn);
    }
    if (closed != NULL) {
        kw_pool_free_list(closed);
    }
}

bool kw_node_is_retired(kw_node *node)
{
    kw_monitor_lock(&node->monitor);
    bool is_retired = node->is_retired;
    kw_monitor_unlock(&node->monitor);
    return is_retired;
}

uint64_t kw_node_retry_ns(kw_node *node, uint64_t now_ns)
{
    kw_monitor_lock(&node->monitor);
    bool is_open = node->idle != NULL || kw_pool_may_open(node, now_ns, true);
    uint64_t retry_ns = node->health.retry_ns > now_ns ? node->health.retry_ns : now_ns + 1;
    kw_monitor_unlock(&node->monitor);
    return is_open ? 0 : retry_ns;
}

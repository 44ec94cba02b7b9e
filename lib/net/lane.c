#include "net/lane.h"

#include "base/error.h"
#include "net/lane_parts.h"
#include "net/node.h"

#include <sched.h>
#include <string.h>

/* Commands on one lane, answered or not, and bytes that wait to be sent. Who comes beyond
 * waits for room. */
#define COMMANDS_MAX ((size_t)10000)
#define BYTES_MAX    ((size_t)4 * 1024 * 1024)

/* A connection without a word for this long may be lost: it takes no more commands, and ends
 * where nobody waits for what it still owes. */
#define LATE_NS ((uint64_t)125000000)

/* Replies that nobody waits for, before others look for another connection. */
#define TOMBSTONES_MAX 64

/* A connection that was idle for longer than this is looked at before it is used. */
#define FRESH_NS ((uint64_t)1000000)

/* After this many commands in a row that met few others nobody needs to share. */
#define CALM_MAX 64

/* Replies that come together, from this number on, are of a crowd. */
#define CROWD_MIN 3

/* So often a crowd is let go first. */
#define YIELDS_MAX 4

/* Who waits for room looks again after this. */
#define ROOM_NS ((uint64_t)10000000)

kw_err kw_lane_init(kw_lane *lane, kw_env *env, kw_node *node)
{
    memset(lane, 0, sizeof(*lane));
    lane->env = env;
    lane->node = node;
    lane->death.size = sizeof(lane->death);
    atomic_init(&lane->is_writing, false);
    atomic_init(&lane->is_wanted, false);
    atomic_init(&lane->is_dying, false);
    return kw_gate_init(&lane->gate);
}

void kw_lane_fini(kw_lane *lane)
{
    kw_conn_free(lane->conn);
    kw_gate_fini(&lane->gate);
}

static bool is_closing(const kw_lane *lane)
{
    return atomic_load_explicit(&lane->env->is_closing, memory_order_relaxed);
}

/* Replies are overdue, and not because nobody reads; or too much is to be read for nobody. */
static bool is_late(const kw_lane *lane, uint64_t now_ns)
{
    return (lane->is_reading && lane->answered_n < lane->mark_n &&
            now_ns > lane->mark_ns + LATE_NS) ||
           lane->tombstones_n > TOMBSTONES_MAX;
}

static bool is_untended(const kw_lane *lane)
{
    return lane->conn != NULL && !lane->is_reading && !atomic_load(&lane->is_writing) &&
           !atomic_load(&lane->is_dying);
}

/* Nothing is queued or under way. */
static bool is_idle(const kw_lane *lane)
{
    return is_untended(lane) && lane->is_ready && lane->conn->owners.count == 0 &&
           lane->queue_head == NULL && !kw_conn_has_bytes(lane->conn);
}

/* Nobody waits for any of the replies that are still to come. */
static bool has_tombstones_only(const kw_conn *conn)
{
    const kw_fifo *fifo = &conn->owners;
    for (size_t i = 0; i < fifo->count; i++) {
        if (fifo->owners[(fifo->head + i) & (fifo->capacity - 1)].kind == KW_OWNER_REQUEST) {
            return false;
        }
    }
    return true;
}

/* Reads what nobody waits for, so that none of it is taken for the next reply; true where the
 * connection is still good. The gate is held, and left meanwhile. */
static bool read_leftovers(kw_lane *lane, kw_lane_after *after, kw_waiter *waiter, uint64_t now_ns)
{
    const kw_conn *conn = lane->conn;
    kw_gate_unlock(&lane->gate);
    kw_lane_read(lane, after, waiter, &now_ns, now_ns);
    return conn->owners.count == 0 || now_ns <= lane->heard_ns + LATE_NS;
}

static bool is_quiet(kw_lane *lane)
{
    kw_gate_unlock(&lane->gate);
    bool result = kw_conn_is_quiet(lane->conn);
    kw_gate_lock(&lane->gate);
    return result;
}

/* Before the first command after a silence: is the connection still good? The gate is held,
 * and left while the connection is looked at. */
static void look(kw_lane *lane, kw_lane_after *after, kw_waiter *waiter, uint64_t now_ns)
{
    if (now_ns <= lane->heard_ns + FRESH_NS || !is_untended(lane) || !lane->is_ready ||
        !has_tombstones_only(lane->conn)) {
        return;
    }
    kw_conn *conn = lane->conn;
    lane->is_reading = true;
    atomic_store(&lane->is_writing, true);
    bool is_good = conn->owners.count == 0 || read_leftovers(lane, after, waiter, now_ns);
    is_good = is_good && (conn->owners.count > 0 || atomic_load(&lane->is_dying) || is_quiet(lane));
    lane->is_reading = false;
    atomic_store(&lane->is_writing, false); /* what is wanted is looked for behind this */
    kw_lane_bury(lane, after);
    if (!is_good && lane->conn == conn) {
        conn->state = KW_CONN_DEAD;
        kw_lane_detach(lane, after);
    }
    if (lane->parked_head != NULL) {
        kw_lane_wake(lane, after, lane->parked_head); /* it found the reader's seat taken */
    }
}

static bool is_full(const kw_lane *lane, const kw_waiter *waiter)
{
    size_t sent_n = lane->is_ready ? lane->conn->owners.count : 0;
    return lane->queue_n + sent_n >= COMMANDS_MAX ||
           (lane->queue_n > 0 && lane->queue_len + waiter->request.bytes.len > BYTES_MAX);
}

static void take_readers_seat(kw_lane *lane, kw_waiter *waiter, uint64_t now_ns)
{
    if (now_ns > lane->left_ns + FRESH_NS) {
        lane->heard_ns = now_ns; /* nobody has listened */
        lane->mark_ns = now_ns;
    }
    lane->is_reading = true;
    waiter->is_reader = true;
}

static void take_seats(kw_lane *lane, kw_waiter *waiter, uint64_t now_ns)
{
    if (!lane->is_reading) {
        take_readers_seat(lane, waiter, now_ns);
    }
    if (lane->has_rest && !atomic_load(&lane->is_writing)) {
        lane->has_rest = false;
        atomic_store(&lane->is_writing, true);
        waiter->is_writer = true;
    }
}

/* Gives back what roles the waiter has; somebody who waits takes them on. The gate is held. */
static void leave_seats(kw_lane *lane, kw_lane_after *after, kw_waiter *waiter, uint64_t now_ns)
{
    if (waiter->is_writer) {
        waiter->is_writer = false;
        lane->has_rest = kw_conn_has_bytes(lane->conn);
        atomic_store(&lane->is_writing, false);
    }
    if (waiter->is_reader) {
        waiter->is_reader = false;
        lane->is_reading = false;
        lane->left_ns = now_ns;
    }
    kw_lane_bury(lane, after);
    if ((lane->is_retired || lane->is_outdated) && is_idle(lane)) {
        kw_lane_detach(lane, after);
    }
    if (!lane->is_reading && lane->parked_head != NULL) {
        kw_lane_wake(lane, after, lane->parked_head);
    }
}

/* Those whose replies came together will be back at once: lets them queue their commands
 * first. The caller has the writer's role; the gate is held, and left meanwhile. */
static void gather(kw_lane *lane, kw_lane_after *after, uint64_t now_ns)
{
    size_t crowd_n = lane->crowd_n >= CROWD_MIN ? lane->crowd_n : 0;
    lane->crowd_n = 0;
    for (int i = 0; i < YIELDS_MAX && lane->queue_n < crowd_n; i++) {
        kw_lane_unlock(lane, after, now_ns);
        sched_yield();
        kw_gate_lock(&lane->gate);
    }
}

/* Sends what is queued, where that is allowed; the gate is held, and left meanwhile. */
static void send_queue(kw_lane *lane, kw_lane_after *after, kw_waiter *waiter, uint64_t now_ns)
{
    while (lane->queue_head != NULL && kw_lane_may_write(lane, now_ns)) {
        atomic_store(&lane->is_writing, true);
        gather(lane, after, now_ns);
        kw_lane_take_queue(lane, after, now_ns);
        kw_gate_unlock(&lane->gate);
        waiter->is_writer = !kw_lane_flush(lane, waiter->failure, now_ns);
        kw_gate_lock(&lane->gate);
    }
}

/* One turn of a waiter, with the gate held before and after: as reader or writer, or asleep
 * while others do the work. False where it has ended, as seen without the gate: then that is
 * not held. */
static bool take_turn(kw_lane *lane, kw_lane_after *after, kw_waiter *waiter, uint64_t *now_ns,
                      uint64_t until_ns)
{
    if (!atomic_load(&lane->is_dying)) {
        take_seats(lane, waiter, *now_ns);
    }
    if (waiter->is_reader) {
        kw_lane_unlock(lane, after, *now_ns);
        kw_lane_read(lane, after, waiter, now_ns, until_ns);
        send_queue(lane, after, waiter, *now_ns);
        return true;
    }
    if (waiter->is_writer) {
        kw_lane_unlock(lane, after, *now_ns);
        kw_lane_write(lane, waiter, now_ns, until_ns);
        return true;
    }
    kw_lane_park(lane, waiter);
    kw_lane_unlock(lane, after, *now_ns);
    if (kw_park_wait(&waiter->park, &lane->gate, until_ns - *now_ns)) {
        *now_ns = kw_env_now(lane->env);
        return false;
    }
    *now_ns = kw_env_now(lane->env);
    kw_gate_lock(&lane->gate);
    kw_lane_unpark(lane, waiter);
    return true;
}

/* True where all commands of a connection that takes no more are answered, and no other thread
 * has a role on it. */
static bool is_drained(const kw_lane *lane, const kw_waiter *waiter)
{
    return lane->is_outdated && lane->is_ready && lane->conn->owners.count == 0 &&
           lane->is_reading == waiter->is_reader && !atomic_load(&lane->is_writing) &&
           !lane->has_rest && !atomic_load(&lane->is_dying);
}

/* Takes leave of a connection that is lost, or outdated. The gate is held. */
static void mourn(kw_lane *lane, kw_lane_after *after, kw_waiter *waiter, uint64_t now_ns)
{
    if (atomic_load(&lane->is_dying)) {
        leave_seats(lane, after, waiter, now_ns);
    } else if (is_drained(lane, waiter)) {
        kw_lane_detach(lane, after);
    }
}

/* Waits for room, and reads meanwhile if nobody does. The gate is held. */
static kw_err admit(kw_lane *lane, kw_error *error, kw_waiter *waiter, uint64_t now_ns,
                    uint64_t until_ns)
{
    kw_lane_after after;
    kw_lane_after_init(&after);
    while (is_full(lane, waiter) && !is_closing(lane)) {
        if (now_ns >= until_ns) {
            return kw_error_set(error, KW_ERR_QUEUE_TIMEOUT, KW_EFFECT_NONE,
                                "%zu commands wait on the connection already", lane->queue_n);
        }
        if (!lane->is_reading && !atomic_load(&lane->is_dying)) {
            (void)take_turn(lane, &after, waiter, &now_ns, until_ns);
            leave_seats(lane, &after, waiter, now_ns);
            kw_lane_unlock(lane, &after, now_ns);
            kw_gate_lock(&lane->gate);
        } else {
            lane->admissions_n++;
            kw_gate_wait(&lane->gate, ROOM_NS);
            lane->admissions_n--;
            now_ns = kw_env_now(lane->env);
        }
    }
    return KW_OK;
}

/* Where callers have become few, each has a connection of its own again. */
static void count_calm(kw_lane *lane)
{
    size_t others_n = lane->queue_n + (lane->is_ready ? lane->conn->owners.count : 0);
    uint64_t share_above = lane->env->options.share_above;
    lane->calm_n = others_n < share_above ? lane->calm_n + 1 : 0;
    if (lane->calm_n >= CALM_MAX) {
        lane->calm_n = 0;
        atomic_store_explicit(&lane->node->is_crowded, false, memory_order_relaxed);
    }
}

/* Puts the command on the connection, or in the queue. True: the caller is the writer. */
static bool put(kw_lane *lane, kw_lane_after *after, kw_waiter *waiter, uint64_t now_ns)
{
    bool may_write = kw_lane_may_write(lane, now_ns);
    if (may_write && lane->queue_head == NULL && lane->crowd_n < CROWD_MIN) {
        lane->batch_at = lane->taken_n;
        lane->sent_ns = now_ns;
        bool is_taken = kw_lane_take(lane, after, waiter, now_ns);
        atomic_store(&lane->is_writing, is_taken);
        return is_taken;
    }
    kw_lane_enqueue(lane, waiter);
    if (!may_write) {
        return false;
    }
    atomic_store(&lane->is_writing, true);
    gather(lane, after, now_ns);
    kw_lane_take_queue(lane, after, now_ns);
    return true;
}

static kw_err check_place(kw_lane *lane, kw_error *error, kw_waiter *waiter, uint64_t now_ns,
                          uint64_t until_ns)
{
    if (is_late(lane, now_ns)) {
        return KW_ERR_BUSY;
    }
    kw_err code = is_full(lane, waiter) ? admit(lane, error, waiter, now_ns, until_ns) : KW_OK;
    if (code == KW_OK && is_closing(lane)) {
        code = kw_error_set(error, KW_ERR_CANCELLED, KW_EFFECT_NONE,
                            "the handle was closed during the call");
    }
    return code;
}

kw_err kw_lane_submit(kw_lane *lane, kw_error *error, kw_waiter *waiter, uint64_t now_ns,
                      uint64_t until_ns)
{
    kw_lane_after after;
    kw_lane_after_init(&after);
    kw_gate_lock(&lane->gate);
    kw_err code = check_place(lane, error, waiter, now_ns, until_ns);
    if (code != KW_OK) {
        kw_gate_unlock(&lane->gate);
        return code;
    }
    look(lane, &after, waiter, now_ns);
    count_calm(lane);
    bool is_writer = put(lane, &after, waiter, now_ns);
    if (!lane->is_reading && !atomic_load(&lane->is_dying)) {
        take_readers_seat(lane, waiter, now_ns);
    }
    waiter->is_opening = !lane->is_ready && !waiter->is_reader;
    waiter->reads_first = waiter->is_reader && waiter->state == KW_WAITER_TAKEN;
    kw_lane_unlock(lane, &after, now_ns);
    if (is_writer) {
        waiter->is_writer = !kw_lane_flush(lane, waiter->failure, now_ns);
    }
    return KW_OK;
}

static bool has_ended(const kw_waiter *waiter)
{
    return waiter->state >= KW_WAITER_ANSWERED;
}

/* A waiter goes. Where nobody else is there, what is queued is sent: it is of those who look
 * for their replies later. The gate is held. */
static void leave(kw_lane *lane, kw_lane_after *after, kw_waiter *waiter, uint64_t now_ns)
{
    if (!lane->is_ready && waiter->state == KW_WAITER_TAKEN) {
        return; /* who is part of a greeting stays until it is over */
    }
    leave_seats(lane, after, waiter, now_ns);
    if (lane->queue_head != NULL && !lane->is_reading) {
        send_queue(lane, after, waiter, now_ns);
        leave_seats(lane, after, waiter, now_ns);
    }
}

static kw_err check_end(const kw_lane *lane, uint64_t now_ns, uint64_t until_ns)
{
    if (is_closing(lane)) {
        return KW_ERR_CANCELLED;
    }
    return now_ns >= until_ns ? KW_ERR_TIMEOUT : KW_OK;
}

kw_err kw_lane_wait(kw_lane *lane, kw_waiter *waiter, uint64_t *now_ns, uint64_t until_ns)
{
    kw_lane_after after;
    kw_lane_after_init(&after);
    if (waiter->reads_first) {
        waiter->reads_first = false;
        kw_lane_read(lane, &after, waiter, now_ns, until_ns);
        send_queue(lane, &after, waiter, *now_ns);
    } else {
        kw_gate_lock(&lane->gate);
    }
    kw_err code = KW_OK;
    for (;;) {
        mourn(lane, &after, waiter, *now_ns);
        if (has_ended(waiter)) {
            break;
        }
        code = check_end(lane, *now_ns, until_ns);
        if (code != KW_OK) {
            break;
        }
        if (!take_turn(lane, &after, waiter, now_ns, until_ns)) {
            return KW_OK;
        }
    }
    leave(lane, &after, waiter, *now_ns);
    kw_lane_unlock(lane, &after, *now_ns);
    return code;
}

/* What a command that was never sent has waited for. */
static void tell_why_queued(const kw_lane *lane, kw_waiter *waiter)
{
    if (lane->is_ready) {
        waiter->code = kw_error_set(waiter->failure, KW_ERR_QUEUE_TIMEOUT, KW_EFFECT_NONE,
                                    "the deadline came behind commands without an answer");
        return;
    }
    bool is_greeting = lane->is_greeting;
    waiter->code = is_greeting ? KW_ERR_HANDSHAKE : KW_ERR_CONNECT;
    kw_error_set(waiter->failure, waiter->code, KW_EFFECT_NONE,
                 "the deadline came %s; raise timeout",
                 is_greeting ? "before the answer to HELLO" : "while connecting");
}

/* Nobody is there to send the other half of a command, or to wait for what is overdue. */
static void end_useless(kw_lane *lane, kw_lane_after *after, uint64_t now_ns)
{
    bool is_overdue = lane->is_ready && now_ns > lane->heard_ns + LATE_NS &&
                      lane->conn->owners.count > 0 && has_tombstones_only(lane->conn);
    if (lane->has_rest || is_overdue) {
        kw_error failure = KW_ERROR_INIT;
        kw_error_set(&failure, KW_ERR_CLOSED, KW_EFFECT_NONE, "a command was given up halfway");
        kw_lane_die(lane, KW_ERR_CLOSED, &failure);
        kw_lane_bury(lane, after);
    }
}

bool kw_lane_abandon(kw_lane *lane, kw_waiter *waiter, uint64_t now_ns)
{
    kw_lane_after after;
    kw_lane_after_init(&after);
    kw_gate_lock(&lane->gate);
    bool is_over = has_ended(waiter);
    if (waiter->state == KW_WAITER_TAKEN && !lane->is_ready && lane->conn != NULL &&
        kw_conn_unqueue(lane->conn, &waiter->request, waiter->is_asking)) {
        tell_why_queued(lane, waiter);
        waiter->state = KW_WAITER_NEW;
    }
    waiter->has_left = is_over ? waiter->has_left : waiter->state == KW_WAITER_TAKEN;
    if (waiter->state == KW_WAITER_QUEUED) {
        kw_lane_dequeue(lane, waiter);
        tell_why_queued(lane, waiter);
    } else if (waiter->state == KW_WAITER_TAKEN) {
        lane->tombstones_n += kw_fifo_forget(&lane->conn->owners, &waiter->request) ? 1 : 0;
    }
    if (!is_over) {
        waiter->state = KW_WAITER_NEW;
    }
    leave_seats(lane, &after, waiter, now_ns);
    if (after.wakes.n == 0 && is_untended(lane)) {
        end_useless(lane, &after, now_ns);
    }
    kw_lane_unlock(lane, &after, now_ns);
    return is_over;
}

void kw_lane_retire(kw_lane *lane, bool is_retired)
{
    kw_lane_after after;
    kw_lane_after_init(&after);
    kw_gate_lock(&lane->gate);
    lane->is_retired = is_retired;
    if (is_retired) {
        kw_error failure = KW_ERROR_INIT;
        kw_error_set(&failure, KW_ERR_CLOSED, KW_EFFECT_NONE, "the node left the map");
        kw_lane_end_queue(lane, &after, KW_WAITER_BROKEN, &failure, 0);
        if (is_idle(lane)) {
            kw_lane_detach(lane, &after);
        }
    }
    kw_lane_unlock(lane, &after, 0);
}

void kw_lane_renew(kw_lane *lane)
{
    kw_lane_after after;
    kw_lane_after_init(&after);
    kw_gate_lock(&lane->gate);
    lane->is_outdated = lane->conn != NULL;
    if (is_idle(lane)) {
        kw_lane_detach(lane, &after);
    }
    kw_lane_unlock(lane, &after, 0);
}

void kw_lane_sweep(kw_lane *lane, uint64_t now_ns, uint64_t idle_ns)
{
    kw_lane_after after;
    kw_lane_after_init(&after);
    kw_gate_lock(&lane->gate);
    if (now_ns > lane->heard_ns + idle_ns && is_idle(lane)) {
        kw_lane_detach(lane, &after);
    }
    kw_lane_unlock(lane, &after, now_ns);
}

void kw_lane_wake_all(kw_lane *lane)
{
    kw_lane_after after;
    kw_lane_after_init(&after);
    kw_gate_lock(&lane->gate);
    while (lane->parked_head != NULL) {
        kw_lane_wake(lane, &after, lane->parked_head);
    }
    kw_gate_wake_all(&lane->gate);
    kw_lane_unlock(lane, &after, 0);
}

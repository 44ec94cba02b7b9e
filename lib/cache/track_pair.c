/* SPDX-License-Identifier: BSD-3-Clause */
/* Carries reads, pings and messages of a pair, in turns of whoever leads. */
#include "cache/track_pair.h"

#include "cache/track_hear.h"
#include "cache/track_open.h"
#include "base/error.h"
#include "net/conn_diary.h"

#include <errno.h>
#include <string.h>
#include <time.h>

/* Between two openings: after a loss, and where the server does not track for this user. */
#define RETRY_NS   ((uint64_t)500000000)
#define REFUSED_NS ((uint64_t)60000000000)

/* Behind a look for messages, reads are waited for alone for so long. */
#define HEAR_NS ((uint64_t)2 * KW_NS_PER_MS)

static const char ping[] = "*1\r\n$4\r\nPING\r\n";

#if defined(CLOCK_BOOTTIME)
#define PROOF_CLOCK CLOCK_BOOTTIME
#else
#define PROOF_CLOCK CLOCK_MONOTONIC
#endif

uint64_t kw_track_now(const kw_env *env)
{
    if (env->clock.now_fn != NULL) {
        return kw_env_now(env);
    }
    struct timespec now;
    clock_gettime(PROOF_CLOCK, &now);
    return (uint64_t)now.tv_sec * 1000 * KW_NS_PER_MS + (uint64_t)now.tv_nsec;
}

kw_err kw_track_pair_init(kw_track_pair *pair, kw_near *near, const atomic_bool *closing,
                          uint16_t at)
{
    memset(pair, 0, sizeof(*pair));
    pair->near = near;
    pair->closing = closing;
    pair->at = at;
    return kw_monitor_init(&pair->monitor);
}

void kw_track_pair_fini(kw_track_pair *pair)
{
    kw_monitor_fini(&pair->monitor);
}

/* The monitor is held. */
static void drop_ref(kw_track_pair *pair, kw_track_read *read)
{
    if (--read->refs == 0) {
        kw_allocator mem = pair->near->mem;
        kw_reply_free(read->get.reply);
        kw_reply_free(read->pttl.reply);
        kw_buf_fini(&read->encoded);
        kw_mem_free(&mem, read);
    }
}

void kw_track_read_unref(kw_track_pair *pair, kw_track_read *read)
{
    kw_monitor_lock(&pair->monitor);
    drop_ref(pair, read);
    kw_monitor_unlock(&pair->monitor);
}

static void end_list(kw_track_pair *pair, kw_track_reads *list)
{
    kw_track_read *read;
    while ((read = kw_track_reads_pop(list)) != NULL) {
        read->is_done = read->is_lost = true;
        drop_ref(pair, read);
    }
}

static void release(kw_track_pair *pair, kw_conn **conn, bool was_known, const kw_error *failure)
{
    if (*conn != NULL) {
        kw_error none = kw_error_none();
        kw_error_set(&none, KW_ERR_CANCELLED, KW_EFFECT_NONE, "not read from any more");
        (*conn)->state = KW_CONN_DEAD; /* it has settings of its own */
        kw_node_release_shared(pair->node, *conn, kw_env_now(pair->node->env),
                               was_known         ? NULL
                               : failure != NULL ? failure
                                                 : &none);
        *conn = NULL;
    }
}

/* Values of this server may be near from now on, or not any more, which the host hears. */
static void turn(kw_track_pair *pair, bool is_on, const char *why)
{
    kw_env *env = pair->node->env;
    if (atomic_exchange(&pair->is_on, is_on) == is_on) {
        return;
    }
    kw_env_log(env, KW_LOG_INFO, "%s: its values %s%s", pair->node->name,
               is_on ? "may be near" : "are not near any more: ", why);
    if (env->events != NULL) {
        env->events->note_fn(env, is_on ? KW_EVENT_NEAR_ON : KW_EVENT_NEAR_OFF, pair->node->name,
                             why);
    }
}

/* A connection is lost, or is not wanted any more: with it all values end. Reads end behind the
 * connection that knows of them. */
static void lose(kw_track_pair *pair, const kw_error *failure, uint64_t pause_ns)
{
    atomic_store(&pair->is_ready, false);
    kw_near_end_epoch(pair->near, pair->at);
    turn(pair, false, failure != NULL ? failure->text : "the cache is closed");
    release(pair, &pair->data, pair->is_data_known, failure);
    release(pair, &pair->inval, pair->is_inval_known, failure);
    pair->is_data_known = pair->is_inval_known = pair->is_subscribed = false;
    kw_reply_free(pair->request.reply);
    pair->request.reply = NULL;
    pair->step = KW_TRACK_DOWN;
    pair->pinged_ns = 0;
    pair->retry_ns = kw_env_now(pair->node->env) + pause_ns;
    kw_monitor_lock(&pair->monitor);
    end_list(pair, &pair->flight);
    end_list(pair, &pair->pending);
    kw_monitor_wake_all(&pair->monitor);
    kw_monitor_unlock(&pair->monitor);
}

static kw_err out_of_step(kw_error *error)
{
    return kw_error_set(error, KW_ERR_DESYNC, KW_EFFECT_NONE, "an answer to another question");
}

/* Before the first question after a pause: what has come meanwhile, which nobody has asked for,
 * would be taken for its answer. */
static kw_err check_quiet(kw_track_pair *pair, kw_error *error)
{
    if (pair->data->owners.count > 0) {
        return KW_OK;
    }
    bool is_fresh = kw_track_now(pair->node->env) < pair->heard_ns + HEAR_NS;
    bool is_quiet = !kw_reader_has_reply_rest(&pair->data->reader) &&
                    (is_fresh || kw_conn_is_quiet(pair->data, false));
    return is_quiet ? KW_OK : out_of_step(error);
}

/* Asks both connections, where the proof is wanted and none is under way. */
static kw_err ask_for_proof(kw_track_pair *pair, kw_error *error)
{
    kw_near_pair *near = &pair->near->pairs[pair->at];
    uint64_t asked_ns = atomic_load(&pair->asked_ns);
    if (pair->pinged_ns != 0 || asked_ns == 0 ||
        !atomic_load_explicit(&near->is_wanted, memory_order_relaxed)) {
        return KW_OK;
    }
    kw_err code = check_quiet(pair, error);
    if (code != KW_OK) {
        return code;
    }
    atomic_store_explicit(&near->is_wanted, false, memory_order_relaxed);
    pair->pinged_ns = asked_ns;
    pair->has_pong = false;
    ssize_t sent = kw_conn_send(pair->inval, ping, sizeof(ping) - 1);
    if (sent != (ssize_t)sizeof(ping) - 1) {
        return kw_error_set(error, KW_ERR_CLOSED, KW_EFFECT_NONE, "PING could not be sent");
    }
    return kw_track_ask(pair, pair->data, error, ping);
}

static bool is_pong(const kw_reply *reply)
{
    return kw_reply_is_error(reply) || kw_bytes_equal(kw_reply_bytes(reply), kw_bytes_of("PONG"));
}

/* Both have answered: nothing that was written before the pings is unknown. */
static kw_err take_proof(kw_track_pair *pair, kw_error *error, uint64_t now_ns)
{
    if (pair->pinged_ns == 0) {
        return KW_OK;
    }
    if (pair->request.is_done && !is_pong(pair->request.reply)) {
        return out_of_step(error);
    }
    if (pair->has_pong && pair->request.is_done) {
        kw_near_pair *near = &pair->near->pairs[pair->at];
        bool is_good = now_ns < pair->pinged_ns + pair->near->limits.staleness_ns;
        atomic_store_explicit(&near->proof_ns, pair->pinged_ns, memory_order_release);
        turn(pair, is_good, is_good ? "" : "an answer to PING takes as long as near-staleness");
        pair->pinged_ns = 0;
        kw_reply_free(pair->request.reply);
        kw_request_init(&pair->request);
        return KW_OK;
    }
    uint64_t most_ns = 2 * pair->node->env->options.stall_ms * KW_NS_PER_MS;
    return now_ns < pair->pinged_ns + most_ns
               ? KW_OK
               : kw_error_set(error, KW_ERR_CLOSED, KW_EFFECT_NONE,
                              "no answer to PING on connections that track");
}

/* Puts what is pending on the connection, as far as there is room. */
static kw_err take_pending(kw_track_pair *pair, kw_error *error)
{
    kw_err code = KW_OK;
    while (code == KW_OK && kw_conn_has_room(pair->data)) {
        kw_monitor_lock(&pair->monitor);
        kw_track_read *read = kw_track_reads_pop(&pair->pending);
        if (read != NULL) {
            read->is_taken = true;
            kw_track_reads_push(&pair->flight, read);
        }
        kw_monitor_unlock(&pair->monitor);
        if (read == NULL) {
            break;
        }
        code = check_quiet(pair, error);
        code = code == KW_OK ? kw_conn_queue_pair(pair->data, error, &read->get, &read->pttl, false)
                             : code;
    }
    return code == KW_OK ? kw_conn_flush(pair->data, error) : code;
}

/* Wakes those whose answers have come. */
static kw_err end_answered(kw_track_pair *pair, kw_error *error)
{
    bool has_ended = false;
    kw_monitor_lock(&pair->monitor);
    while (pair->flight.first != NULL && kw_track_read_has_answers(pair->flight.first)) {
        kw_track_read *read = kw_track_reads_pop(&pair->flight);
        read->is_done = true;
        drop_ref(pair, read);
        has_ended = true;
    }
    if (has_ended) {
        kw_monitor_wake_all(&pair->monitor);
    }
    bool is_wrong = pair->flight.first != NULL && pair->flight.first->pttl.is_done;
    kw_monitor_unlock(&pair->monitor);
    return is_wrong ? out_of_step(error) : KW_OK;
}

/* The node is what it was when the connections were opened, and in the map; and it still tells the
 * other connection: nothing else is pushed on the one that reads (RESP3, tracking-redir-broken). */
static kw_err check_current(kw_track_pair *pair, kw_error *error)
{
    if (pair->data != NULL && pair->data->has_push) {
        return kw_error_set(error, KW_ERR_CLOSED, KW_EFFECT_NONE,
                            "the server does not tell of writes any more");
    }
    bool is_good = kw_node_is_current(pair->node, pair->inval) &&
                   (pair->data == NULL || kw_node_is_current(pair->node, pair->data));
    return is_good ? KW_OK
                   : kw_error_set(error, KW_ERR_CANCELLED, KW_EFFECT_NONE,
                                  "the node has left the map, or has another role");
}

/* Nobody needs the messages now: the answer alone is waited for. What a message kills is given no
 * longer than the last proof allows, which is no new one before all messages were heard. */
static bool is_quick(const kw_track_pair *pair, uint64_t now_ns, int wait_ms)
{
    const kw_near_pair *near = &pair->near->pairs[pair->at];
    return wait_ms > 0 && pair->step == KW_TRACK_READY && pair->flight.last != NULL &&
           pair->pinged_ns == 0 && now_ns < pair->heard_ns + HEAR_NS &&
           !atomic_load_explicit(&near->is_wanted, memory_order_relaxed);
}

static kw_err wait_for_answers(kw_track_pair *pair, kw_error *error, int wait_ms)
{
    uint64_t now_ns = kw_env_now(pair->node->env);
    kw_error failure = kw_error_none();
    kw_err code = kw_conn_wait(pair->data, &failure, &pair->flight.last->pttl, now_ns,
                               now_ns + (uint64_t)wait_ms * KW_NS_PER_MS);
    kw_err doubt = end_answered(pair, error);
    if (code == KW_OK || code == KW_ERR_TIMEOUT) {
        return doubt;
    }
    kw_error_copy(error, &failure);
    return code;
}

static kw_err work(kw_track_pair *pair, kw_error *error, int wait_ms)
{
    if (pair->step == KW_TRACK_DOWN) {
        bool may_open =
            kw_env_now(pair->node->env) >= pair->retry_ns && !kw_node_is_retired(pair->node);
        return may_open ? kw_track_open_on(pair, error, 0, 0) : KW_OK;
    }
    kw_err code = check_current(pair, error);
    if (code == KW_OK && pair->step == KW_TRACK_READY) {
        code = ask_for_proof(pair, error);
        code = code == KW_OK ? take_pending(pair, error) : code;
    }
    if (code != KW_OK) {
        return code;
    }
    uint64_t begun_ns = kw_track_now(pair->node->env);
    if (is_quick(pair, begun_ns, wait_ms)) {
        return wait_for_answers(pair, error, wait_ms);
    }
    pair->heard_ns = begun_ns;
    const kw_transport *transport = pair->node->env->transport;
    bool is_deaf = pair->step < KW_TRACK_READING;
    struct pollfd entries[2] = {
        {pair->inval->socket, is_deaf ? kw_conn_events(pair->inval) : POLLIN, 0},
        {pair->data != NULL ? pair->data->socket : -1,
         pair->data != NULL ? kw_conn_events(pair->data) : (short)0, 0}};
    int found = transport->poll_fn(transport->arg, entries, 2, wait_ms);
    if (found < 0 && found != -EINTR) {
        return kw_error_set(error, KW_ERR_CLOSED, KW_EFFECT_NONE, "poll failed");
    }
    if (!is_deaf && (entries[0].revents != 0 || kw_reader_has_rest(&pair->inval->reader))) {
        code = kw_track_hear(pair, error);
    }
    if (code == KW_OK && pair->step != KW_TRACK_READY) {
        return kw_track_open_on(pair, error, entries[0].revents, entries[1].revents);
    }
    if (code == KW_OK && entries[1].revents != 0) {
        code = kw_conn_progress(pair->data, error, entries[1].revents);
        kw_err doubt = end_answered(pair, error);
        code = code == KW_OK ? doubt : code;
    }
    return code == KW_OK ? take_proof(pair, error, kw_track_now(pair->node->env)) : code;
}

static bool try_to_lead(kw_track_pair *pair)
{
    kw_monitor_lock(&pair->monitor);
    bool leads = !pair->is_led;
    pair->is_led = true;
    kw_monitor_unlock(&pair->monitor);
    return leads;
}

static void leave(kw_track_pair *pair)
{
    kw_monitor_lock(&pair->monitor);
    pair->is_led = false;
    if (pair->pending.first != NULL || pair->flight.first != NULL) {
        kw_monitor_wake_all(&pair->monitor); /* one of them leads */
    }
    kw_monitor_unlock(&pair->monitor);
}

/* Opening has its time, too. */
static bool is_overdue(const kw_track_pair *pair)
{
    const kw_env *env = pair->node->env;
    uint64_t most_ns = 4 * env->options.stall_ms * KW_NS_PER_MS;
    return pair->step != KW_TRACK_DOWN && pair->step != KW_TRACK_READY &&
           kw_env_now(env) > pair->begun_ns + most_ns;
}

/* The turn of who leads. */
static void lead(kw_track_pair *pair, int wait_ms)
{
    kw_error failure = kw_error_none();
    bool was_refused = pair->is_refused;
    kw_err code = work(pair, &failure, wait_ms);
    if (code == KW_OK && is_overdue(pair)) {
        code = kw_error_set(&failure, KW_ERR_CONNECT, KW_EFFECT_NONE,
                            "connections that track were not open in time");
    }
    if (code == KW_OK) {
        return;
    }
    bool is_refused = pair->is_refused && code == KW_ERR_UNSUPPORTED;
    if (is_refused && !was_refused) {
        kw_env_log(pair->node->env, KW_LOG_WARNING,
                   "%s: no values near, the server does not track keys: %s", pair->node->name,
                   failure.text);
        atomic_store(&pair->is_on, true); /* the host hears of it once */
    }
    lose(pair, &failure, is_refused ? REFUSED_NS : RETRY_NS);
}

bool kw_track_pair_turn(kw_track_pair *pair, int wait_ms)
{
    if (!try_to_lead(pair)) {
        return false;
    }
    lead(pair, wait_ms);
    leave(pair);
    return true;
}

/* Takes the read out of what is pending, where nobody has it yet. Where it is asked, and has had no
 * answer in time, a proof is to tell whether the connection still gives any: while nothing is near
 * nobody else asks for one. The monitor is held. */
static void give_up(kw_track_pair *pair, kw_track_read *read)
{
    if (read->is_done || read->is_taken) {
        if (!read->is_done) {
            atomic_store(&pair->near->pairs[pair->at].is_wanted, true);
        }
        return;
    }
    kw_track_reads_remove(&pair->pending, read);
    read->is_done = read->is_lost = true;
    drop_ref(pair, read);
}

static int wait_ms_of(uint64_t now_ns, uint64_t deadline_ns)
{
    return kw_clock_ms_until(now_ns, deadline_ns, KW_SLICE_MS);
}

bool kw_track_pair_submit(kw_track_pair *pair, kw_track_read *read)
{
    kw_monitor_lock(&pair->monitor);
    bool is_ready = atomic_load(&pair->is_ready);
    if (is_ready) {
        read->refs++;
        kw_track_reads_push(&pair->pending, read);
    }
    kw_monitor_unlock(&pair->monitor);
    return is_ready;
}

void kw_track_pair_send(kw_track_pair *pair)
{
    kw_monitor_lock(&pair->monitor);
    bool is_mine = pair->pending.first != NULL && !pair->is_led;
    pair->is_led = pair->is_led || is_mine;
    kw_monitor_unlock(&pair->monitor);
    if (is_mine) {
        lead(pair, 0);
        leave(pair);
    }
}

bool kw_track_pair_await(kw_track_pair *pair, kw_track_read *read, uint64_t deadline_ns)
{
    const kw_env *env = pair->node->env;
    kw_monitor_lock(&pair->monitor);
    while (!read->is_done) {
        uint64_t now_ns = kw_env_now(env);
        bool is_over = now_ns >= deadline_ns || kw_env_is_closing(env, pair->closing);
        if (is_over) {
            break;
        }
        if (!pair->is_led) {
            pair->is_led = true;
            kw_monitor_unlock(&pair->monitor);
            lead(pair, wait_ms_of(now_ns, deadline_ns));
            leave(pair);
            kw_monitor_lock(&pair->monitor);
        } else {
            uint64_t left_ns = deadline_ns - now_ns;
            kw_monitor_wait(&pair->monitor, kw_sooner(left_ns, KW_SLICE_NS));
        }
    }
    bool is_done = read->is_done && !read->is_lost;
    give_up(pair, read);
    kw_monitor_unlock(&pair->monitor);
    return is_done;
}

void kw_track_pair_give_up(kw_track_pair *pair, kw_track_read *read)
{
    kw_monitor_lock(&pair->monitor);
    give_up(pair, read);
    kw_monitor_unlock(&pair->monitor);
}

kw_track_read_end kw_track_pair_has_ended(kw_track_pair *pair, const kw_track_read *read)
{
    kw_monitor_lock(&pair->monitor);
    kw_track_read_end end = !read->is_done  ? KW_TRACK_READ_OPEN
                            : read->is_lost ? KW_TRACK_READ_LOST
                                            : KW_TRACK_READ_ANSWERED;
    kw_monitor_unlock(&pair->monitor);
    return end;
}

void kw_track_pair_pass(kw_track_pair *pair, int wait_ms)
{
    kw_monitor_lock(&pair->monitor);
    if (pair->is_led) {
        kw_monitor_wait(&pair->monitor, (uint64_t)wait_ms * KW_NS_PER_MS);
    }
    kw_monitor_unlock(&pair->monitor);
}

void kw_track_pair_close(kw_track_pair *pair)
{
    lose(pair, NULL, 0);
    pair->is_refused = pair->is_lone = false;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* The policy of redirects, pauses and retries: each event of a command leads to the next step. */
#include "engine/op.h"

#include <string.h>

/* Pauses while servers sort themselves out. The ceiling bounds how late the first
 * success after a failover can be. */
#define WAIT_FIRST_NS (5 * KW_NS_PER_MS)
#define WAIT_MAX_NS   (250 * KW_NS_PER_MS)

/* Before replicas that are all too far behind are looked at again: less than a measurement. */
#define STALE_PAUSE_NS (10 * KW_NS_PER_MS)

/* Redirects from this one on come with a pause: the nodes disagree. */
#define PAUSED_REDIRECT 3u

static kw_step step_of(kw_step_kind kind)
{
    kw_step step;
    memset(&step, 0, sizeof(step));
    step.kind = kind;
    return step;
}

/* Codes that say that nothing was sent, or nothing that a server could have run. */
static bool is_of_unsent(kw_err code)
{
    return code == KW_ERR_CONNECT || code == KW_ERR_RESOLVE || code == KW_ERR_HANDSHAKE ||
           code == KW_ERR_ROLE || code == KW_ERR_IDENTITY || code == KW_ERR_POOL_FULL ||
           code == KW_ERR_QUEUE_TIMEOUT;
}

static kw_step fail(const kw_op *op, kw_err code, kw_effect effect)
{
    kw_step step = step_of(KW_STEP_FAIL);
    step.effect = effect > op->effect ? effect : op->effect;
    /* What stood in the way last does not hide that an earlier send was lost. */
    step.code = step.effect != KW_EFFECT_NONE && is_of_unsent(code) ? KW_ERR_CLOSED : code;
    return step;
}

/* A failure that may be due to an old map: a new one is wanted, for later calls. */
static kw_step fail_suspect(const kw_op *op, kw_err code, kw_effect effect)
{
    kw_step step = fail(op, code, effect);
    step.wants_refresh = op->spec.has_map;
    return step;
}

/* The deadline has come while nothing of the command was under way. */
static kw_step fail_waiting(const kw_op *op)
{
    kw_err code = op->obstacle != KW_OK ? op->obstacle : KW_ERR_QUEUE_TIMEOUT;
    return fail(op, code, KW_EFFECT_NONE);
}

static kw_step send_to_owner(kw_op *op)
{
    op->has_target = false;
    op->is_asking = false;
    return step_of(KW_STEP_SEND);
}

static kw_step send_to_target(const kw_op *op)
{
    kw_step step = step_of(KW_STEP_SEND);
    step.is_redirected = true;
    step.is_asking = op->is_asking;
    return step;
}

static kw_step sleep_until(const kw_op *op, uint64_t now_ns, uint64_t until_ns)
{
    if (now_ns >= op->spec.deadline_ns) {
        return fail_waiting(op);
    }
    kw_step step = step_of(KW_STEP_SLEEP);
    step.until_ns = until_ns < op->spec.deadline_ns ? until_ns : op->spec.deadline_ns;
    return step;
}

/* A pause that begins a new try: at the owner again, with redirects counted anew. */
static kw_step wait_and_retry(kw_op *op, uint64_t now_ns, kw_err obstacle, bool wants_refresh)
{
    op->obstacle = obstacle;
    op->has_target = false;
    op->is_asking = false;
    op->has_fetched = false;
    op->has_left = false;
    op->redirects_n = 0;
    kw_step step = sleep_until(op, now_ns, now_ns + kw_backoff_next(&op->backoff, &op->random));
    step.wants_refresh = wants_refresh && op->spec.has_map;
    step.wakes_on_map = step.wants_refresh || !op->spec.has_map; /* a ring publishes too */
    return step;
}

/* A replica failed the command, which only reads: at once to the primary; or, where nothing but
 * replicas will do, to another one in a while. */
static kw_step leave_replica(kw_op *op, uint64_t now_ns, kw_err obstacle, bool wants_refresh)
{
    if (op->spec.avoids_primary || now_ns >= op->spec.deadline_ns) {
        return wait_and_retry(op, now_ns, obstacle, wants_refresh);
    }
    op->obstacle = obstacle;
    op->has_left = true;
    kw_step step = send_to_owner(op);
    step.wants_refresh = wants_refresh && op->spec.has_map;
    return step;
}

static kw_step refresh(kw_op *op, uint64_t now_ns, kw_err obstacle)
{
    op->obstacle = obstacle;
    op->has_target = false;
    op->is_asking = false;
    if (now_ns >= op->spec.deadline_ns) {
        return fail_waiting(op);
    }
    kw_step step = step_of(KW_STEP_REFRESH);
    step.until_ns = op->spec.deadline_ns;
    step.wants_refresh = true;
    return step;
}

kw_step kw_op_start(kw_op *op, const kw_op_spec *spec, uint64_t seed)
{
    op->spec = *spec;
    kw_random_init(&op->random, seed);
    kw_backoff_init(&op->backoff, WAIT_FIRST_NS, WAIT_MAX_NS);
    op->target = NULL;
    op->has_fetched = false;
    op->has_asked = false;
    op->is_at_replica = false;
    op->has_left = false;
    op->is_sent = false;
    op->redirects_n = 0;
    op->sends_n = 0;
    op->losses_n = 0;
    op->halves_n = 0;
    op->missed_n = 0;
    op->incompatible_n = 0;
    op->is_incompatible = false;
    op->effect = KW_EFFECT_NONE;
    op->obstacle = KW_OK;
    op->awaits_primary = false;
    op->is_down = false;
    op->soon_ns = 0;
    op->fetch = 0;
    return send_to_owner(op);
}

static bool take_target(kw_op *op, const kw_verdict *verdict, const kw_endpoint *from)
{
    if (verdict->is_unknown || op->target == NULL) {
        return false;
    }
    kw_bytes host = verdict->host.len > 0 ? verdict->host : kw_bytes_of(from->host);
    return kw_endpoint_set(op->target, host, verdict->port);
}

static kw_step on_redirect(kw_op *op, uint64_t now_ns, const kw_verdict *verdict,
                           const kw_endpoint *from)
{
    bool is_moved = verdict->kind == KW_VERDICT_MOVED;
    bool is_handed = verdict->kind == KW_VERDICT_REDIRECT;
    op->redirects_n++;
    if (is_handed && (op->redirects_n > op->spec.redirects_max || verdict->is_unknown)) {
        return wait_and_retry(op, now_ns, KW_ERR_REDIRECT, true); /* they change places yet */
    }
    if (op->redirects_n > op->spec.redirects_max) {
        return fail_suspect(op, KW_ERR_REDIRECT, KW_EFFECT_NONE);
    }
    if (!take_target(op, verdict, from)) {
        return refresh(op, now_ns, KW_ERR_REDIRECT);
    }
    op->has_target = true;
    op->is_asking = verdict->kind == KW_VERDICT_ASK;
    kw_step step = send_to_target(op);
    /* At the deadline the pause is the failure: what is sent now could only end unknown. */
    if (op->redirects_n >= PAUSED_REDIRECT || now_ns >= op->spec.deadline_ns) {
        op->obstacle = KW_ERR_REDIRECT;
        step = sleep_until(op, now_ns, now_ns + kw_backoff_next(&op->backoff, &op->random));
    }
    if (is_moved) {
        step.is_patch = op->spec.has_slot && verdict->slot == op->spec.slot;
    }
    step.wants_refresh = is_moved || (is_handed && op->spec.has_map);
    return step;
}

/* True for a reply that ends the call: where no map can name another node, and where
 * the caller named this one, a redirect changes nothing. */
static bool is_callers(const kw_op *op, kw_verdict_kind kind)
{
    if (kind == KW_VERDICT_MOVED || kind == KW_VERDICT_ASK) {
        return op->spec.is_pinned || !op->spec.has_redirects;
    }
    if (kind == KW_VERDICT_REDIRECT) {
        return op->spec.is_pinned;
    }
    if (kind == KW_VERDICT_READONLY) {
        return op->spec.is_pinned || (!op->spec.has_map && !op->awaits_primary);
    }
    return kind == KW_VERDICT_FINAL || kind == KW_VERDICT_AUTH;
}

/* The server lacks the script, and has done nothing: once more there, with the text where the
 * driver sees need. */
static kw_step on_no_script(kw_op *op, uint64_t now_ns)
{
    if (!op->spec.has_text || op->sends_n >= KW_OP_SENDS_MAX || op->missed_n >= KW_OP_MISSED_MAX) {
        return step_of(KW_STEP_DONE);
    }
    op->missed_n++;
    if (now_ns >= op->spec.deadline_ns) {
        op->obstacle = KW_OK;
        return fail_waiting(op);
    }
    return op->has_target ? send_to_target(op) : send_to_owner(op);
}

kw_step kw_op_on_reply(kw_op *op, uint64_t now_ns, const kw_verdict *verdict,
                       const kw_endpoint *from)
{
    kw_err code = kw_verdict_code(verdict->kind);
    op->is_sent = false;
    if (verdict->kind == KW_VERDICT_NO_SCRIPT) {
        return on_no_script(op, now_ns);
    }
    bool is_final = verdict->kind == KW_VERDICT_FINAL || verdict->kind == KW_VERDICT_AUTH;
    bool is_turned_away = op->is_at_replica && !is_final;
    if (!is_turned_away && is_callers(op, verdict->kind)) {
        return step_of(KW_STEP_DONE);
    }
    if (op->sends_n >= KW_OP_SENDS_MAX) {
        return fail(op, code, KW_EFFECT_NONE);
    }
    if (is_turned_away) {
        return leave_replica(op, now_ns, code, verdict->kind == KW_VERDICT_MOVED);
    }
    switch (verdict->kind) {
    case KW_VERDICT_MOVED:
    case KW_VERDICT_ASK:
    case KW_VERDICT_REDIRECT:
        return on_redirect(op, now_ns, verdict, from);
    case KW_VERDICT_READONLY:
    case KW_VERDICT_CLUSTER_DOWN:
    case KW_VERDICT_LOADING: /* it may have been replaced while it was away */
    case KW_VERDICT_MASTER_DOWN:
    case KW_VERDICT_UNBLOCKED:
    case KW_VERDICT_FULL:
        return wait_and_retry(op, now_ns, code, true);
    case KW_VERDICT_TRY_AGAIN:
    case KW_VERDICT_BUSY:
        return wait_and_retry(op, now_ns, code, false);
    case KW_VERDICT_FINAL:
    case KW_VERDICT_NO_SCRIPT:
    case KW_VERDICT_AUTH:
        break;
    }
    return step_of(KW_STEP_DONE);
}

kw_step kw_op_on_unserved(kw_op *op, uint64_t now_ns)
{
    if (op->has_fetched) {
        return wait_and_retry(op, now_ns, KW_ERR_NOT_SERVED, true);
    }
    return refresh(op, now_ns, KW_ERR_NOT_SERVED);
}

kw_step kw_op_on_stale(kw_op *op, uint64_t now_ns)
{
    op->obstacle = KW_ERR_NOT_SERVED;
    op->has_target = false;
    op->is_asking = false;
    return sleep_until(op, now_ns, now_ns + STALE_PAUSE_NS);
}

kw_step kw_op_on_mapless(kw_op *op, uint64_t now_ns)
{
    bool has_code = op->obstacle == KW_ERR_NO_SENTINEL || op->obstacle == KW_ERR_ROLE ||
                    op->obstacle == KW_ERR_IDENTITY || op->obstacle == KW_ERR_RESOLVE;
    kw_step step = refresh(op, now_ns, has_code ? op->obstacle : KW_ERR_TOPOLOGY);
    step.wakes_on_map = step.kind == KW_STEP_REFRESH; /* one under way will do as well */
    return step;
}

kw_step kw_op_on_suspect(kw_op *op, uint64_t now_ns, uint64_t until_ns)
{
    op->obstacle = KW_ERR_CONNECT;
    return sleep_until(op, now_ns, until_ns);
}

kw_step kw_op_on_down(kw_op *op, uint64_t now_ns, kw_err code)
{
    bool has_owner = op->spec.has_redirects ? op->spec.has_slot : op->spec.has_map;
    if (!has_owner || op->spec.is_pinned || op->spec.fails_fast || op->has_asked) {
        return fail(op, code, KW_EFFECT_NONE);
    }
    op->has_asked = true;
    return refresh(op, now_ns, code);
}

kw_step kw_op_on_refused(kw_op *op, kw_err code)
{
    return fail(op, code, KW_EFFECT_NONE);
}

kw_step kw_op_on_overtaken(kw_op *op)
{
    kw_err code = op->effect != KW_EFFECT_NONE ? KW_ERR_CLOSED : KW_ERR_ORDER;
    return fail(op, code, KW_EFFECT_NONE);
}

/* Another try, of a command of which nothing is known to have run. */
static kw_step try_again(kw_op *op, uint64_t now_ns, kw_err obstacle, uint64_t retry_ns)
{
    if (op->is_at_replica) {
        return leave_replica(op, now_ns, obstacle, true);
    }
    kw_step step = wait_and_retry(op, now_ns, obstacle, true);
    if (step.kind == KW_STEP_SLEEP && !op->spec.has_map && step.until_ns < retry_ns) {
        step.until_ns = retry_ns < op->spec.deadline_ns ? retry_ns : op->spec.deadline_ns;
    }
    return step;
}

/* The deadline came while the command was on its way to its node, or on a connection. */
static kw_step end_at_deadline(kw_op *op, const kw_try_end *end)
{
    if (end->has_left) {
        return fail_suspect(op, KW_ERR_TIMEOUT, KW_EFFECT_MAYBE);
    }
    if (end->was_opened) {
        op->obstacle = end->was_ready ? KW_ERR_QUEUE_TIMEOUT : KW_ERR_CONNECT;
    }
    return fail_waiting(op);
}

/* All of it had left, and the connection is lost: it may have run. */
static kw_step end_of_lost(kw_op *op, uint64_t now_ns, const kw_try_end *end)
{
    kw_err code = is_of_unsent(end->code) ? KW_ERR_CLOSED : end->code;
    op->effect = KW_EFFECT_MAYBE;
    op->losses_n++;
    if (!op->spec.is_repeatable || op->losses_n >= KW_OP_LOSSES_MAX ||
        op->sends_n >= KW_OP_SENDS_MAX) {
        return fail_suspect(op, code, KW_EFFECT_MAYBE);
    }
    return try_again(op, now_ns, code, end->retry_ns);
}

/* Another node may be chosen where this one refuses connections of ours for good. */
static bool can_go_elsewhere(const kw_op *op)
{
    bool is_free = op->spec.has_map && !op->spec.has_slot && !op->spec.is_pinned;
    return op->is_at_replica || (is_free && op->incompatible_n < KW_OP_INCOMPATIBLE_MAX);
}

/* None of it, or not all of it, has left. */
static kw_step end_of_unsent(kw_op *op, uint64_t now_ns, const kw_try_end *end)
{
    bool is_incompatible = op->is_incompatible;
    op->is_incompatible = false;
    /* A greeting that was answered is no failure to connect. */
    kw_err code = end->was_ready && is_of_unsent(end->code) ? KW_ERR_CLOSED : end->code;
    if (op->halves_n >= KW_OP_HALVES_MAX) {
        return fail_suspect(op, KW_ERR_CLOSED, KW_EFFECT_NONE);
    }
    if (is_incompatible && !can_go_elsewhere(op)) {
        return fail(op, code, KW_EFFECT_NONE);
    }
    switch ((int)code) {
    case KW_ERR_CONNECT:
    case KW_ERR_RESOLVE:
    case KW_ERR_HANDSHAKE:
    case KW_ERR_ROLE:
    case KW_ERR_IDENTITY:
    case KW_ERR_POOL_FULL:
    case KW_ERR_QUEUE_TIMEOUT:
    case KW_ERR_CLOSED:
        return try_again(op, now_ns, code, end->retry_ns);
    case KW_ERR_TOPOLOGY: /* nobody has asked yet where the node is */
        if (op->spec.has_map) {
            kw_step ask = refresh(op, now_ns, code);
            ask.wakes_on_map = ask.kind == KW_STEP_REFRESH;
            return ask;
        }
        break;
    case KW_ERR_NO_SENTINEL: /* who was asked did not know; they are asked again meanwhile */
    case KW_ERR_NO_SERVICE:
        return fail_suspect(op, code, KW_EFFECT_NONE);
    default: /* trying again changes nothing */
        break;
    }
    return fail(op, code, KW_EFFECT_NONE);
}

void kw_op_on_incompatible(kw_op *op)
{
    op->is_incompatible = true;
    op->incompatible_n++;
}

void kw_op_on_unsent(kw_op *op)
{
    op->sends_n -= op->is_sent ? 1 : 0;
    op->is_sent = false;
}

void kw_op_on_half_sent(kw_op *op)
{
    op->halves_n++;
}

kw_step kw_op_on_failed(kw_op *op, uint64_t now_ns, const kw_try_end *end)
{
    if (op->is_sent && !end->has_left) {
        op->sends_n--;
    }
    op->is_sent = false;
    switch ((int)end->code) {
    case KW_ERR_TIMEOUT:
        return end_at_deadline(op, end);
    case KW_ERR_LIMIT:
        return fail(op, end->code, KW_EFFECT_DONE);
    case KW_ERR_AUTH: /* the greeting was refused: the server has not run what came behind it */
        return op->is_at_replica && !op->spec.avoids_primary
                   ? leave_replica(op, now_ns, end->code, false)
                   : fail(op, end->code, KW_EFFECT_NONE);
    case KW_ERR_PROTOCOL:
    case KW_ERR_DESYNC:
    case KW_ERR_NOMEM:
    case KW_ERR_CANCELLED:
    case KW_ERR_FORKED:
        return fail(op, end->code, end->has_left ? KW_EFFECT_MAYBE : KW_EFFECT_NONE);
    default:
        return end->has_left ? end_of_lost(op, now_ns, end) : end_of_unsent(op, now_ns, end);
    }
}

kw_step kw_op_on_refreshed(kw_op *op, uint64_t now_ns, kw_err code)
{
    op->fetch = 0;
    if (code == KW_ERR_NO_SENTINEL || code == KW_ERR_ROLE || code == KW_ERR_IDENTITY) {
        op->obstacle = code;
    }
    if (now_ns >= op->spec.deadline_ns) {
        return fail_waiting(op);
    }
    if (code == KW_OK) {
        op->has_fetched = true;
        return send_to_owner(op);
    }
    if (code == KW_ERR_AUTH || code == KW_ERR_NOMEM || code == KW_ERR_CANCELLED ||
        code == KW_ERR_FORKED || code == KW_ERR_UNSUPPORTED || code == KW_ERR_NO_SERVICE) {
        return fail(op, code, KW_EFFECT_NONE);
    }
    return wait_and_retry(op, now_ns, code, true);
}

kw_step kw_op_on_woke(kw_op *op, uint64_t now_ns)
{
    if (now_ns >= op->spec.deadline_ns) {
        return fail_waiting(op);
    }
    return op->has_target ? send_to_target(op) : send_to_owner(op);
}

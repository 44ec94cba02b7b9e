#include "api/durable.h"

#include "api/session_parts.h"
#include "base/error.h"
#include "base/resp.h"

#include <limits.h>
#include <string.h>

/* The time of the acknowledgements where the call does not give one. */
#define ACKS_MS 500

bool kw_durable_is_wanted(const kw_plan *plan, const kw_call_options *options)
{
    unsigned flags = plan->command != NULL ? kw_command_flags(plan->command) : KW_COMMAND_WRITE;
    return options->acks > 0 && (flags & (KW_COMMAND_WRITE | KW_COMMAND_SCRIPT)) != 0;
}

static bool append_number(char *out, uint64_t number)
{
    out[kw_uint_to_text(out, number)] = '\0';
    return true;
}

/* "WAIT acks ms", never without an end. */
static bool encode_wait(kw_buf *encoded, const kw_call_options *options, uint64_t wait_ms)
{
    char acks[21];
    char ms[21];
    kw_bytes argv[3];
    (void)append_number(acks, options->acks);
    (void)append_number(ms, wait_ms > 0 ? wait_ms : 1);
    argv[0] = kw_bytes_of("WAIT");
    argv[1] = kw_bytes_of(acks);
    argv[2] = kw_bytes_of(ms);
    return kw_resp_append(encoded, argv, 3);
}

/* How long the replicas have: what the call says, and not past its deadline. */
static uint64_t wait_ms_of(const kw_client *client, const kw_plan *plan,
                           const kw_call_options *options)
{
    uint64_t now_ns = kw_env_now(&client->env);
    uint64_t left_ms = plan->deadline_ns > now_ns ? (plan->deadline_ns - now_ns) / KW_NS_PER_MS : 0;
    uint64_t wanted_ms = options->acks_timeout_ms > 0 ? options->acks_timeout_ms : ACKS_MS;
    return wanted_ms < left_ms ? wanted_ms : left_ms;
}

/* The write stands; its durability is less than asked for, or not known. */
static void fall_short(kw_error *error, const kw_plan *plan, const kw_call_options *options,
                       unsigned acked, const char *why)
{
    kw_error_set(error, KW_ERR_DURABILITY, KW_EFFECT_DONE,
                 "%s has run, and %u of %u replicas have acknowledged it in time%s%.200s",
                 plan->name, acked, options->acks, why[0] != '\0' ? ": " : "", why);
}

static void wait_for_acks(kw_session *session, kw_error *error, const kw_plan *plan,
                          const kw_call_options *options)
{
    char space[64];
    kw_buf encoded;
    kw_error failure = KW_ERROR_INIT;
    unsigned acked = 0;
    if (session->has_left_writes || session->conn == NULL) {
        fall_short(error, plan, options, 0, "the connection that it ran on is not there any more");
        return;
    }
    kw_plan wait = *plan;
    wait.name = "WAIT";
    wait.command = NULL;
    wait.read = KW_READ_OF_PRIMARY;
    wait.is_repeatable = false;
    wait.is_blocking = true;
    kw_buf_init(&encoded, &session->mem, space, sizeof(space));
    kw_reply *reply = NULL;
    if (encode_wait(&encoded, options, wait_ms_of(session->client, plan, options))) {
        kw_bytes bytes = {encoded.data, encoded.len};
        reply = kw_session_run(session, &failure, &wait, KW_BOND_WAIT, bytes);
    }
    kw_buf_fini(&encoded);
    if (kw_reply_type(reply) == KW_REPLY_INTEGER) {
        long long n = kw_reply_int(reply);
        acked = n < 0 ? 0 : n > UINT_MAX ? UINT_MAX : (unsigned)n;
    } else if (reply != NULL) {
        kw_bytes_show(failure.text, sizeof(failure.text), kw_reply_bytes(reply));
    }
    kw_reply_free(reply);
    if (options->acked != NULL) {
        *options->acked = acked;
    }
    if (acked < options->acks) {
        fall_short(error, plan, options, acked, failure.text);
        kw_error_set_node(error, session->node != NULL ? session->node->name : failure.node);
    } else {
        kw_error_set(error, KW_OK, KW_EFFECT_NONE, "%s", "");
    }
}

kw_reply *kw_durable_run(kw_client *client, kw_error *error, const kw_plan *plan,
                         const kw_call_options *options, kw_bytes encoded)
{
    struct kw_session session;
    memset(&session, 0, sizeof(session));
    session.mem = client->env.mem;
    session.client = client;
    session.pid = client->fork.pid;
    session.slot = plan->slot;
    session.place = plan->place;
    if (options->acked != NULL) {
        *options->acked = 0;
    }
    kw_reply *reply = kw_session_run(&session, error, plan, KW_BOND_NONE, encoded);
    if (reply != NULL && !kw_reply_is_error(reply)) {
        wait_for_acks(&session, error, plan, options);
    }
    kw_session_drop(&session);
    return reply;
}

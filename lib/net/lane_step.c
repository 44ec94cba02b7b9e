/* SPDX-License-Identifier: BSD-3-Clause */
/* One step of a waiter on a lane: it takes a role that is free, or sleeps. */
#include "net/lane_private.h"

void kw_lane_take_reader_role(kw_lane *lane, kw_lane_waiter *waiter, uint64_t now_ns)
{
    if (kw_lane_roles_take_reader(&lane->roles, waiter, now_ns)) {
        kw_lane_stream_skip(&lane->stream, lane->roles.left_ns, now_ns);
    }
}

static void take_roles(kw_lane *lane, kw_lane_waiter *waiter, uint64_t now_ns)
{
    if (!kw_lane_roles_is_read(&lane->roles)) {
        kw_lane_take_reader_role(lane, waiter, now_ns);
    }
    if (lane->stream.has_rest && !kw_lane_roles_is_written(&lane->roles)) {
        lane->stream.has_rest = false;
        kw_lane_roles_take_writer(&lane->roles, waiter);
    }
}

/* A connection that is being opened, and that nobody waits for any more: the pool keeps
 * it, so that whoever comes next goes on with it, on the lane or not. */
static bool is_forsaken(const kw_lane *lane)
{
    return kw_lane_is_untended(lane) && !lane->stream.is_ready && lane->queue.head == NULL &&
           lane->roles.reader.followers.first == NULL && kw_lane_stream_owes_nobody(&lane->stream);
}

void kw_lane_leave_roles(kw_lane *lane, kw_lane_after *after, kw_lane_waiter *waiter,
                         uint64_t now_ns)
{
    kw_lane_stream *stream = &lane->stream;
    if (waiter->is_writer) {
        stream->has_rest = kw_conn_has_bytes(stream->conn);
    }
    kw_lane_roles_leave(&lane->roles, waiter, now_ns);
    kw_lane_fail_all(lane, after);
    if (is_forsaken(lane) || ((lane->is_retired || stream->is_outdated) && kw_lane_is_idle(lane))) {
        kw_lane_detach(lane, after);
    }
    bool is_role_free = !kw_lane_roles_is_read(&lane->roles) ||
                        (stream->has_rest && !kw_lane_roles_is_written(&lane->roles));
    if (is_role_free && !kw_lane_stream_is_dying(stream)) {
        kw_lane_wake_first(lane, after); /* kw_lane_fail_all of a dying one wakes everybody */
    }
}

bool kw_lane_step(kw_lane *lane, kw_lane_after *after, kw_lane_waiter *waiter, uint64_t *now_ns,
                  uint64_t until_ns)
{
    kw_lane_stream *stream = &lane->stream;
    if (!kw_lane_stream_is_dying(stream)) {
        take_roles(lane, waiter, *now_ns);
    }
    if (waiter->is_reader) {
        stream->is_owed = stream->is_ready && stream->conn->owners.count > 0;
        kw_lane_unlock(lane, after, *now_ns);
        kw_lane_read(lane, after, waiter, now_ns, until_ns);
        kw_lane_send_queue(lane, after, waiter, *now_ns);
        return true;
    }
    if (waiter->is_writer) {
        kw_lane_unlock(lane, after, *now_ns);
        kw_lane_write(lane, waiter, now_ns, until_ns);
        return true;
    }
    kw_wait_queue *followers = &lane->roles.reader.followers;
    kw_wait_queue_add(followers, &waiter->sleeper);
    lane->roles.sleeps_n++;
    unsigned looks_n = kw_combining_looks(&lane->combining);
    kw_lane_unlock(lane, after, *now_ns);
    if (kw_sleeper_look(&waiter->sleeper, looks_n) ||
        kw_sleeper_wait(&waiter->sleeper, &lane->monitor, until_ns - *now_ns)) {
        *now_ns = kw_env_now(lane->env);
        return false;
    }
    *now_ns = kw_env_now(lane->env);
    kw_monitor_lock(&lane->monitor);
    kw_wait_queue_remove(followers, &waiter->sleeper);
    return true;
}

/* True where all commands of a connection that takes no more are answered, and no other thread
 * has a role on it. */
static bool is_drained(const kw_lane *lane, const kw_lane_waiter *waiter)
{
    const kw_lane_stream *stream = &lane->stream;
    return stream->is_outdated && stream->is_ready && stream->conn->owners.count == 0 &&
           kw_lane_roles_is_read(&lane->roles) == waiter->is_reader &&
           !kw_lane_roles_is_written(&lane->roles) && !stream->has_rest &&
           !kw_lane_stream_is_dying(stream);
}

void kw_lane_detach_lost(kw_lane *lane, kw_lane_after *after, kw_lane_waiter *waiter,
                         uint64_t now_ns)
{
    if (kw_lane_stream_is_dying(&lane->stream)) {
        kw_lane_leave_roles(lane, after, waiter, now_ns);
    } else if (is_drained(lane, waiter)) {
        kw_lane_detach(lane, after);
    }
}

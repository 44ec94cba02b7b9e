/* SPDX-License-Identifier: BSD-3-Clause */
/* Streams: bytes that are under way, their ends, and how they are lost. */
#include "sim/net.h"

#include "sim/net_private.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

/* What the two ends hold of a stream that nobody reads. */
#define WINDOW ((size_t)128 * 1024)

/* Between two tries to reach a host whose packets are swallowed: with a connect, and with what was
 * sent. */
#define SYN_NS   SIM_S
#define AGAIN_NS (200 * SIM_MS)

/* So many connects a second go to a server that refuses them, at most. */
#define REFUSED_MAX 20

/* Each send is one packet; its length goes with the event, behind the socket's life. */
#define LIFE_BITS 24
#define LIFE_MASK (((uint64_t)1 << LIFE_BITS) - 1)

static struct {
    sim_host hosts[SIM_HOSTS];
    unsigned hosts_n;
    sim_socket sockets[SIM_SOCKETS];
    unsigned sockets_n;
    unsigned sends_n;
} net;

sim_host *sim_host_add(uint32_t ip, uint16_t port)
{
    if (net.hosts_n == SIM_HOSTS) {
        sim_fail("too many hosts");
    }
    sim_host *host = &net.hosts[net.hosts_n++];
    memset(host, 0, sizeof(*host));
    host->ip = ip;
    host->port = port;
    return host;
}

sim_host *sim_host_find(uint32_t ip, uint16_t port)
{
    for (unsigned i = 0; i < net.hosts_n; i++) {
        if (net.hosts[i].ip == ip && net.hosts[i].port == port) {
            return &net.hosts[i];
        }
    }
    return NULL;
}

unsigned sim_net_sends_n(void)
{
    return net.sends_n;
}

unsigned sim_net_sockets_n(void)
{
    return net.sockets_n;
}

sim_socket *sim_net_socket_at(unsigned number)
{
    return &net.sockets[number];
}

/* Events carry a socket's life, so that none is for another. */
static void later(sim_socket *socket, uint64_t at_ns, sim_fn fn)
{
    sim_at(at_ns, fn, socket, socket->life);
}

static bool is_of(const sim_socket *socket, uint64_t life)
{
    return socket->life == life && socket->state != SIM_UNUSED;
}

void sim_net_tell(sim_socket *socket)
{
    sim_tasks waiters = socket->waiters;
    sim_wake(waiters);
    sim_fds_tell(socket);
}

static void clear_pipe(sim_pipe *pipe)
{
    char *data = pipe->data;
    size_t max = pipe->max;
    memset(pipe, 0, sizeof(*pipe));
    pipe->data = data;
    pipe->max = max;
    pipe->cut_after = SIZE_MAX;
}

/* Room for len bytes more. */
static void reserve(sim_pipe *pipe, size_t len)
{
    if (pipe->begin > 0) {
        memmove(pipe->data, pipe->data + pipe->begin, pipe->len - pipe->begin);
        pipe->arrived -= pipe->begin;
        pipe->len -= pipe->begin;
        pipe->begin = 0;
    }
    if (pipe->len + len > pipe->max) {
        pipe->max = 2 * (pipe->len + len);
        pipe->data = realloc(pipe->data, pipe->max);
        if (pipe->data == NULL) {
            sim_fail("the simulator has no memory");
        }
    }
}

static bool is_swallowed(const sim_socket *socket)
{
    return socket->host->is_cut || socket->is_silent;
}

/* True where the event is for nothing any more; or for later, where packets are swallowed now: they
 * are sent again. */
static bool is_in_vain(sim_socket *socket, uint64_t value, sim_fn again)
{
    if (!is_of(socket, value & LIFE_MASK) || socket->state == SIM_BROKEN || socket->is_silent) {
        return true;
    }
    if (socket->host->is_cut) {
        sim_at(sim_now() + AGAIN_NS, again, socket, value);
    }
    return socket->host->is_cut;
}

/* When what is sent now is there: behind all that was sent before it. */
static uint64_t arrival(const sim_socket *socket, sim_pipe *pipe, size_t len)
{
    const sim_host *host = socket->host;
    uint64_t at_ns = sim_now() + host->latency_ns;
    at_ns += host->jitter_ns > 0 ? sim_random(host->jitter_ns) : 0;
    at_ns = at_ns > pipe->last_ns ? at_ns : pipe->last_ns + 1;
    at_ns += host->bandwidth > 0 ? len * SIM_S / host->bandwidth : 0;
    pipe->last_ns = at_ns;
    return at_ns;
}

void sim_socket_break(sim_socket *socket, int error)
{
    if (socket->state == SIM_UNUSED || socket->state == SIM_BROKEN) {
        return;
    }
    sim_say("socket %u to port %u: %s", socket->number, socket->host->port, strerror(error));
    socket->state = SIM_BROKEN;
    socket->error = error;
    socket->down.is_reset = true;
    socket->up.is_reset = true;
    sim_net_tell(socket);
    if (socket->session != NULL) {
        socket->host->on_bytes(socket->host->owner, socket);
    }
}

/* So many bytes of the pipe, which were under way, have come; false: the stream is cut there. */
static bool arrive(sim_pipe *pipe, size_t n)
{
    if (n > pipe->len - pipe->arrived) {
        n = pipe->len - pipe->arrived;
    }
    if (pipe->cut_after != SIZE_MAX && n >= pipe->cut_after) {
        pipe->arrived += pipe->cut_after;
        pipe->len = pipe->arrived;
        return false;
    }
    pipe->cut_after -= pipe->cut_after != SIZE_MAX ? n : 0;
    pipe->arrived += n;
    return true;
}

static void on_reset(void *arg, uint64_t life)
{
    sim_socket *socket = arg;
    if (!is_in_vain(socket, life, on_reset)) {
        sim_socket_break(socket, ECONNRESET);
    }
}

static void on_up(void *arg, uint64_t value)
{
    sim_socket *socket = arg;
    if (is_in_vain(socket, value, on_up)) {
        return;
    }
    if (!arrive(&socket->up, (size_t)(value >> LIFE_BITS))) {
        sim_socket_break(socket, ECONNRESET);
        return;
    }
    sim_net_tell(socket); /* there is room again */
    if (socket->session != NULL) {
        socket->host->on_bytes(socket->host->owner, socket);
    } else { /* nobody is there any more, as the host's system says */
        later(socket, sim_now() + socket->host->latency_ns, on_reset);
    }
}

static void on_down(void *arg, uint64_t value)
{
    sim_socket *socket = arg;
    if (is_in_vain(socket, value, on_down)) {
        return;
    }
    socket->quiet_ns = sim_now();
    if (!socket->is_held) { /* what comes for nobody is answered with a reset */
        sim_socket_break(socket, ECONNRESET);
        return;
    }
    if (!arrive(&socket->down, (size_t)(value >> LIFE_BITS))) {
        sim_socket_break(socket, ECONNRESET);
        return;
    }
    sim_net_tell(socket);
}

static void on_up_end(void *arg, uint64_t life)
{
    sim_socket *socket = arg;
    if (!is_in_vain(socket, life, on_up_end)) {
        socket->up.is_ended = true;
        if (socket->session != NULL) {
            socket->host->on_bytes(socket->host->owner, socket);
        } else if (!socket->is_held) { /* both have closed it */
            socket->state = SIM_BROKEN;
        }
    }
}

static void on_down_end(void *arg, uint64_t life)
{
    sim_socket *socket = arg;
    if (!is_in_vain(socket, life, on_down_end)) {
        socket->down.is_ended = true;
        sim_net_tell(socket);
    }
}

static void put(sim_socket *socket, sim_pipe *pipe, const char *data, size_t len)
{
    reserve(pipe, len);
    memcpy(pipe->data + pipe->len, data, len);
    pipe->len += len;
    if (socket->is_silent) {
        return;
    }
    uint64_t value = socket->life | (uint64_t)len << LIFE_BITS;
    sim_at(arrival(socket, pipe, len), pipe == &socket->up ? on_up : on_down, socket, value);
}

/* The program's end. */

sim_socket *sim_socket_new(void)
{
    sim_socket *socket = NULL;
    for (unsigned i = 0; i < net.sockets_n && socket == NULL; i++) {
        sim_socket *old = &net.sockets[i];
        bool is_over = !old->is_held && (old->state == SIM_BROKEN || old->host == NULL);
        socket = is_over && old->session == NULL ? old : NULL;
    }
    if (socket == NULL && net.sockets_n == SIM_SOCKETS) {
        sim_fail("too many connections: %d", SIM_SOCKETS);
    }
    if (socket == NULL) {
        socket = &net.sockets[net.sockets_n];
        socket->number = net.sockets_n++;
    }
    clear_pipe(&socket->up);
    clear_pipe(&socket->down);
    socket->life = (socket->life + 1) & LIFE_MASK;
    socket->state = SIM_FRESH;
    socket->host = NULL;
    socket->error = 0;
    socket->is_held = true;
    socket->is_shut = false;
    socket->is_silent = false;
    socket->waits = false;
    socket->wait_ns = 0;
    socket->given_ns = 0;
    socket->answer_len = 0;
    socket->waiters = 0;
    socket->session = NULL;
    socket->quiet_ns = sim_now();
    return socket;
}

static void on_refused(void *arg, uint64_t life)
{
    sim_socket *socket = arg;
    if (is_of(socket, life)) {
        sim_socket_break(socket, ECONNREFUSED);
    }
}

static void on_answered(void *arg, uint64_t life)
{
    sim_socket *socket = arg;
    if (is_of(socket, life) && socket->state == SIM_DIALLING) {
        socket->state = SIM_OPEN;
        sim_net_tell(socket);
    }
}

static void on_dialled(void *arg, uint64_t life)
{
    sim_socket *socket = arg;
    if (!is_of(socket, life) || socket->state != SIM_DIALLING) {
        return;
    }
    sim_host *host = socket->host;
    if (is_swallowed(socket)) {
        later(socket, sim_now() + SYN_NS, on_dialled);
    } else if (!host->is_listening) {
        sim_rate_note(&host->refusals, REFUSED_MAX, "connects are refused", socket->host->port);
        later(socket, sim_now() + host->latency_ns, on_refused);
    } else {
        host->on_open(host->owner, socket);
        later(socket, sim_now() + host->latency_ns, on_answered);
    }
}

int sim_socket_dial(sim_socket *socket, uint32_t ip, uint16_t port)
{
    socket->host = sim_host_find(ip, port);
    if (socket->host == NULL) {
        return -EHOSTUNREACH;
    }
    socket->state = SIM_DIALLING;
    socket->late_ns = socket->host->late_ns;
    later(socket, sim_now() + socket->host->latency_ns, on_dialled);
    return -EINPROGRESS;
}

static size_t room(const sim_socket *socket)
{
    size_t held = socket->up.len - socket->up.begin;
    return held < WINDOW ? WINDOW - held : 0;
}

short sim_socket_events(const sim_socket *socket, short wanted)
{
    int events = 0;
    const sim_pipe *down = &socket->down;
    bool is_over = socket->state == SIM_BROKEN;
    bool has_end = down->is_ended || socket->is_shut;
    if (is_over || has_end || down->arrived > down->begin) {
        events |= POLLIN;
    }
    if (is_over || (socket->state == SIM_OPEN && room(socket) > 0)) {
        events |= POLLOUT;
    }
    events &= wanted;
    events |= is_over ? POLLERR | POLLHUP : 0;
    events |= socket->is_shut ? POLLHUP : 0;
    return (short)events;
}

ssize_t sim_socket_send(sim_socket *socket, const char *data, size_t len)
{
    if (socket->state == SIM_BROKEN) {
        int error = socket->error != 0 ? socket->error : EPIPE;
        socket->error = 0;
        return -error;
    }
    if (socket->is_shut) {
        return -EPIPE;
    }
    if (socket->state != SIM_OPEN || room(socket) == 0) {
        return -EAGAIN;
    }
    len = len < room(socket) ? len : room(socket);
    put(socket, &socket->up, data, len);
    net.sends_n++;
    socket->quiet_ns = sim_now();
    socket->sent_ns = sim_now();
    return (ssize_t)len;
}

/* What is there now; -EAGAIN for nothing. */
ssize_t sim_socket_recv(sim_socket *socket, char *data, size_t len)
{
    sim_pipe *down = &socket->down;
    size_t n = down->arrived - down->begin;
    if (n > 0) {
        n = n < len ? n : len;
        memcpy(data, down->data + down->begin, n);
        down->begin += n;
        socket->quiet_ns = sim_now();
        return (ssize_t)n;
    }
    if (socket->error != 0) {
        int error = socket->error;
        socket->error = 0;
        return -error;
    }
    if (down->is_ended || socket->is_shut || socket->state == SIM_BROKEN) {
        return 0;
    }
    socket->quiet_ns = sim_now(); /* who finds nothing looks again a while later */
    return socket->state == SIM_OPEN ? -EAGAIN : -ENOTCONN;
}

static void end_up(sim_socket *socket)
{
    if (socket->state == SIM_OPEN && !socket->up.is_ending && !socket->is_silent) {
        socket->up.is_ending = true;
        later(socket, arrival(socket, &socket->up, 0), on_up_end);
    }
}

void sim_socket_shut(sim_socket *socket)
{
    end_up(socket);
    socket->is_shut = true;
    sim_net_tell(socket);
}

void sim_socket_await(sim_socket *socket, bool does)
{
    if (does) {
        socket->polled_ns = sim_now();
    } else {
        socket->given_ns += sim_now() - socket->polled_ns;
    }
}

/* A connect has twice the time of those that were too short before it, which may have been taken
 * over and left again by several callers: so much more at most, and the first one a second. */
#define TIMES_MORE 5
#define CONNECT_NS (600 * SIM_MS)
#define TRIPS      24

static void check_given(const sim_socket *socket)
{
    sim_host *host = socket->host;
    uint64_t first_ns = CONNECT_NS + TRIPS * host->latency_ns;
    uint64_t late_ns = socket->late_ns > first_ns ? socket->late_ns : first_ns;
    if (socket->given_ns > TIMES_MORE * late_ns) {
        sim_fail("a connect to port %u is waited for %lu us; the longest before took %lu us",
                 host->port, (unsigned long)(socket->given_ns / SIM_US),
                 (unsigned long)(socket->late_ns / SIM_US));
    }
    host->late_ns = socket->given_ns > host->late_ns ? socket->given_ns : host->late_ns;
}

void sim_socket_close(sim_socket *socket)
{
    socket->is_held = false;
    if (socket->state == SIM_DIALLING) {
        check_given(socket);
    }
    if (socket->state == SIM_OPEN && socket->down.arrived > socket->down.begin) {
        later(socket, arrival(socket, &socket->up, 0), on_reset);
    } else {
        end_up(socket);
    }
    if (socket->state == SIM_DIALLING || socket->state == SIM_FRESH) {
        socket->state = SIM_BROKEN;
        socket->up.is_reset = true;
        if (socket->session != NULL) {
            socket->host->on_bytes(socket->host->owner, socket);
        }
    }
}

/* The server's end. */

size_t sim_net_arrived(const sim_socket *socket, const char **data)
{
    *data = socket->up.data + socket->up.begin;
    return socket->up.arrived - socket->up.begin;
}

void sim_net_take(sim_socket *socket, size_t len)
{
    socket->up.begin += len;
    sim_net_tell(socket);
}

void sim_net_answer(sim_socket *socket, const char *data, size_t len)
{
    if (len > 0 && socket->state != SIM_BROKEN && !socket->down.is_ending) {
        put(socket, &socket->down, data, len);
        socket->answer_len = len;
    }
}

void sim_net_hang_up(sim_socket *socket, bool resets)
{
    if (socket->state == SIM_BROKEN || socket->down.is_ending || socket->is_silent) {
        return;
    }
    uint64_t at_ns = arrival(socket, &socket->down, 0);
    socket->down.is_ending = true;
    later(socket, at_ns, resets ? on_reset : on_down_end);
}

void sim_net_inject(sim_socket *socket, const char *data, size_t len)
{
    sim_pipe *down = &socket->down;
    reserve(down, len);
    memcpy(down->data + down->len, data, len);
    down->len += len;
    down->arrived += len;
    sim_net_tell(socket);
}

void sim_host_reset(sim_host *host)
{
    for (unsigned i = 0; i < net.sockets_n; i++) {
        sim_socket *socket = &net.sockets[i];
        if (socket->host == host && socket->state != SIM_UNUSED && !is_swallowed(socket)) {
            sim_socket_break(socket, ECONNRESET);
        }
    }
}

void sim_net_heal(void)
{
    for (unsigned i = 0; i < net.sockets_n; i++) {
        sim_socket *socket = &net.sockets[i];
        socket->up.cut_after = SIZE_MAX;
        socket->down.cut_after = SIZE_MAX;
        if (socket->is_silent && socket->state != SIM_UNUSED) {
            socket->is_silent = false;
            sim_socket_break(socket, ECONNRESET);
        }
    }
}

bool sim_net_is_quiet(const sim_socket *socket)
{
    return socket->state == SIM_OPEN && socket->is_held && !socket->is_shut &&
           socket->up.len == socket->up.begin && socket->down.len == socket->down.begin &&
           !socket->down.is_ending;
}

void sim_net_begin(void)
{
    net.hosts_n = 0;
    for (unsigned i = 0; i < net.sockets_n; i++) {
        net.sockets[i].state = SIM_UNUSED;
        net.sockets[i].host = NULL;
        net.sockets[i].is_held = false;
        net.sockets[i].session = NULL;
    }
    net.sockets_n = 0;
    net.sends_n = 0;
    sim_fds_begin();
}

void sim_net_end(void)
{
    if (sim_fds_n() > 0) {
        sim_fail("%u descriptors are left open", sim_fds_n());
    }
}

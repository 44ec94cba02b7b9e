/* SPDX-License-Identifier: BSD-3-Clause */
/* Descriptors of the program: sockets, pollers and counters, and who waits for them. */
#include "sim/net_private.h"
#include "sim/system.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#define WATCHES 64

typedef enum kind { CLOSED, SOCKET, POLLER, COUNTER } kind;

typedef struct watch {
    int fd;
    unsigned events;
    void *arg;
} watch;

typedef struct descriptor {
    kind kind;
    sim_socket *socket;
    uint64_t count;
    watch watches[WATCHES];
    unsigned watches_n;
    sim_tasks waiters;
    bool is_parents; /* it was there before the process forked */
} descriptor;

static descriptor fds[SIM_FDS];
static unsigned fds_n;
static unsigned fds_top; /* none is open from here on */
long sim_fds_left;

void sim_fds_begin(void)
{
    for (unsigned i = 0; i < fds_top; i++) {
        fds[i].kind = CLOSED;
    }
    fds_n = 0;
    fds_top = 0;
    sim_fds_left = -1;
}

unsigned sim_fds_n(void)
{
    return fds_n;
}

static descriptor *at(int fd)
{
    if (fd < SIM_FD0 || fd >= SIM_FD0 + SIM_FDS || fds[fd - SIM_FD0].kind == CLOSED) {
        return NULL;
    }
    return &fds[fd - SIM_FD0];
}

void sim_net_be_child(void)
{
    for (unsigned i = 0; i < fds_top; i++) {
        fds[i].is_parents = fds[i].kind != CLOSED;
        fds[i].waiters = 0;
        if (fds[i].kind == SOCKET) {
            fds[i].socket->waiters = 0;
        }
    }
}

bool sim_net_is_parents(int fd)
{
    const descriptor *found = at(fd);
    return found != NULL && found->is_parents;
}

unsigned sim_net_own_n(void)
{
    unsigned n = 0;
    for (unsigned i = 0; i < fds_top; i++) {
        n += fds[i].kind != CLOSED && !fds[i].is_parents ? 1 : 0;
    }
    return n;
}

bool sim_net_is_open(int fd)
{
    return at(fd) != NULL;
}

/* Whoever uses a number that is not open uses another's the next time. */
static descriptor *of_kind(int fd, kind wanted, const char *what)
{
    descriptor *found = at(fd);
    if (found == NULL || found->kind != wanted) {
        sim_fail("%s of descriptor %d, which is not open, or something else", what, fd);
    }
    return found;
}

static int open_one(kind wanted)
{
    if (sim_fds_left == 0) {
        return -EMFILE;
    }
    for (unsigned i = 0; i < SIM_FDS; i++) {
        if (fds[i].kind == CLOSED) {
            fds[i].kind = wanted;
            fds[i].count = 0;
            fds[i].watches_n = 0;
            fds[i].waiters = 0;
            fds[i].is_parents = false;
            fds_n++;
            fds_top = i >= fds_top ? i + 1 : fds_top;
            sim_fds_left -= sim_fds_left > 0 ? 1 : 0;
            return SIM_FD0 + (int)i;
        }
    }
    return -EMFILE;
}

sim_socket *sim_net_at(int fd)
{
    return of_kind(fd, SOCKET, "use")->socket;
}

int sim_net_socket(void)
{
    int fd = open_one(SOCKET);
    if (fd >= 0) {
        at(fd)->socket = sim_socket_new();
        at(fd)->socket->fd = fd;
    }
    return fd;
}

int sim_net_connect(int fd, uint32_t ip, uint16_t port)
{
    return sim_socket_dial(sim_net_at(fd), ip, port);
}

int sim_net_error(int fd)
{
    sim_socket *socket = sim_net_at(fd);
    int error = socket->error;
    socket->error = 0;
    return error;
}

ssize_t sim_net_send(int fd, const char *data, size_t len)
{
    return sim_socket_send(sim_net_at(fd), data, len);
}

/* A socket that is closed while another thread waits in recv is a fault of the program, but for one
 * that was shut down before. */
ssize_t sim_net_recv(int fd, char *data, size_t len, bool waits)
{
    sim_socket *socket = sim_net_at(fd);
    uint64_t until_ns = sim_now() + socket->wait_ns;
    for (;;) {
        ssize_t got = sim_socket_recv(socket, data, len);
        if (got != -EAGAIN || !waits || !socket->waits || sim_now() >= until_ns) {
            return got;
        }
        socket->waiters |= sim_self_bit();
        sim_park(until_ns);
        socket->waiters &= ~sim_self_bit();
    }
}

int sim_net_shutdown(int fd)
{
    sim_socket_shut(sim_net_at(fd));
    return 0;
}

int sim_net_close(int fd)
{
    descriptor *found = at(fd);
    if (found == NULL) {
        sim_fail("close of descriptor %d, which is not open", fd);
    }
    if (found->kind == SOCKET && !found->is_parents) {
        for (unsigned i = 0; i < fds_top; i++) {
            for (unsigned k = 0; fds[i].kind == POLLER && k < fds[i].watches_n; k++) {
                if (fds[i].watches[k].fd == fd) {
                    sim_fail("descriptor %d is closed while a poller watches it", fd);
                }
            }
        }
        if (found->socket->waiters != 0) {
            sim_fail("descriptor %d is closed while a thread waits for it", fd);
        }
        sim_socket_close(found->socket);
    }
    found->kind = CLOSED;
    fds_n--;
    sim_fds_left += sim_fds_left >= 0 ? 1 : 0;
    return 0;
}

int sim_net_epoll(void)
{
    return open_one(POLLER);
}

int sim_net_event(void)
{
    return open_one(COUNTER);
}

int sim_net_watch(int epoll, int fd, unsigned events, void *arg, bool is_new)
{
    descriptor *self = of_kind(epoll, POLLER, "watch");
    if (at(fd) == NULL) {
        sim_fail("watch for descriptor %d, which is not open", fd);
    }
    for (unsigned i = 0; i < self->watches_n; i++) {
        if (self->watches[i].fd == fd) {
            if (is_new) {
                return -EEXIST;
            }
            self->watches[i].events = events;
            self->watches[i].arg = arg;
            sim_wake(self->waiters);
            return 0;
        }
    }
    if (!is_new) {
        return -ENOENT;
    }
    if (self->watches_n == WATCHES) {
        return -ENOSPC;
    }
    self->watches[self->watches_n++] = (watch){fd, events, arg};
    sim_wake(self->waiters);
    return 0;
}

int sim_net_unwatch(int epoll, int fd)
{
    descriptor *self = of_kind(epoll, POLLER, "watch");
    for (unsigned i = 0; i < self->watches_n; i++) {
        if (self->watches[i].fd == fd) {
            self->watches[i] = self->watches[--self->watches_n];
            return 0;
        }
    }
    return -ENOENT;
}

static short events_of(const descriptor *self, short wanted)
{
    if (self->kind == SOCKET) {
        return sim_socket_events(self->socket, wanted);
    }
    if (self->kind == COUNTER) {
        return (short)((self->count > 0 ? POLLIN : 0) & wanted);
    }
    for (unsigned i = 0; i < self->watches_n; i++) {
        const descriptor *other = at(self->watches[i].fd);
        if (other != NULL && events_of(other, (short)self->watches[i].events) != 0) {
            return (short)(POLLIN & wanted);
        }
    }
    return 0;
}

short sim_net_events(int fd, short wanted)
{
    const descriptor *self = at(fd);
    if (self == NULL) {
        sim_fail("poll of descriptor %d, which is not open", fd);
    }
    return events_of(self, wanted);
}

int sim_net_look(int epoll, sim_ready *ready, int ready_max)
{
    descriptor *self = of_kind(epoll, POLLER, "look");
    int n = 0;
    unsigned first = self->watches_n > 0 ? (unsigned)sim_random(self->watches_n) : 0;
    for (unsigned i = 0; i < self->watches_n && n < ready_max; i++) {
        const watch *one = &self->watches[(first + i) % self->watches_n];
        const descriptor *other = at(one->fd);
        short events = other != NULL ? events_of(other, (short)one->events) : 0;
        if (events != 0) {
            ready[n].events = (unsigned)events;
            ready[n++].arg = one->arg;
        }
    }
    return n;
}

void sim_net_wait_for(int fd, bool does)
{
    descriptor *self = at(fd);
    if (self == NULL) {
        return;
    }
    sim_tasks *waiters = self->kind == SOCKET ? &self->socket->waiters : &self->waiters;
    bool was_waited_for = *waiters != 0;
    *waiters = does ? *waiters | sim_self_bit() : *waiters & ~sim_self_bit();
    if (self->kind == SOCKET && was_waited_for != (*waiters != 0)) {
        sim_socket_await(self->socket, does);
    }
}

/* Pollers that watch it, and those that watch them. */
static void tell_watchers(int fd)
{
    for (unsigned i = 0; i < fds_top; i++) {
        for (unsigned k = 0; fds[i].kind == POLLER && k < fds[i].watches_n; k++) {
            if (fds[i].watches[k].fd == fd) {
                sim_wake(fds[i].waiters);
                tell_watchers(SIM_FD0 + (int)i);
            }
        }
    }
}

void sim_fds_tell(const sim_socket *socket)
{
    if (socket->is_held) {
        tell_watchers(socket->fd);
    }
}

int sim_net_count(int fd, uint64_t *value)
{
    descriptor *self = of_kind(fd, COUNTER, "read");
    if (self->count == 0) {
        return -EAGAIN;
    }
    *value = self->count;
    self->count = 0;
    return 0;
}

int sim_net_add(int fd, uint64_t value)
{
    descriptor *self = of_kind(fd, COUNTER, "write");
    self->count += value;
    sim_wake(self->waiters);
    tell_watchers(fd);
    return 0;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Sockets, poll and epoll, as the library's system calls find them. */
#include "sim/net.h"
#include "sim/system.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdarg.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/time.h>

int __wrap_socket(int family, int type, int protocol);
int __wrap_connect(int fd, const struct sockaddr *address, socklen_t len);
int __wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *len);
int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t len);
int __wrap_fcntl(int fd, int act, ...);
int __wrap_fcntl64(int fd, int act, ...);
ssize_t __wrap_send(int fd, const void *data, size_t len, int flags);
ssize_t __wrap_recv(int fd, void *data, size_t len, int flags);
ssize_t __wrap_read(int fd, void *data, size_t len);
ssize_t __wrap_write(int fd, const void *data, size_t len);
int __wrap_shutdown(int fd, int how);
int __wrap_close(int fd);
int __wrap_poll(struct pollfd *fds, nfds_t fds_n, int wait_ms);
int __wrap_epoll_create1(int flags);
int __wrap_eventfd(unsigned value, int flags);
int __wrap_epoll_ctl(int epoll, int act, int fd, struct epoll_event *event);
int __wrap_epoll_wait(int epoll, struct epoll_event *events, int events_max, int wait_ms);

static size_t piece; /* sends and receives are no longer; 0: no bound */

void sim_system_shorten(size_t bytes)
{
    piece = bytes;
}

bool sim_system_is_short(void)
{
    return piece > 0;
}

/* A system call: another task may run first, and no lock is held. */
static void enter(const char *name)
{
    if (sim_locks_n() > 0) {
        sim_fail("%s with a lock held", name);
    }
    sim_point();
}

/* What was open when the process forked is its parent's, pollers too: they are one for both. */
static void refuse_child(const char *what, int fd)
{
    if (sim_net_is_parents(fd)) {
        sim_fail("a forked child %s what is its parent's, descriptor %d", what, fd);
    }
}

static int give(long status)
{
    if (status >= 0) {
        return (int)status;
    }
    errno = (int)-status;
    return -1;
}

static size_t shorten(size_t len)
{
    return piece > 0 && len > piece ? 1 + (size_t)sim_random(piece) : len;
}

int __wrap_socket(int family, int type, int protocol)
{
    (void)type;
    (void)protocol;
    enter("socket");
    return family == AF_INET ? give(sim_net_socket()) : give(-EAFNOSUPPORT);
}

int __wrap_connect(int fd, const struct sockaddr *address, socklen_t len)
{
    (void)len;
    enter("connect");
    struct sockaddr_in in;
    memcpy(&in, address, sizeof(in));
    int status = sim_net_connect(fd, ntohl(in.sin_addr.s_addr), ntohs(in.sin_port));
    sim_say("connect %d to port %u", fd, ntohs(in.sin_port));
    return give(status);
}

int __wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *len)
{
    enter("getsockopt");
    if (level != SOL_SOCKET || name != SO_ERROR) {
        return give(-ENOPROTOOPT);
    }
    int error = sim_net_error(fd);
    memcpy(value, &error, sizeof(error));
    *len = sizeof(error);
    return 0;
}

int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
    enter("setsockopt");
    (void)len;
    if (level == SOL_SOCKET && name == SO_RCVTIMEO) {
        struct timeval wait;
        memcpy(&wait, value, sizeof(wait));
        sim_net_at(fd)->wait_ns = (uint64_t)wait.tv_sec * SIM_S + (uint64_t)wait.tv_usec * SIM_US;
    }
    return 0;
}

static int set_flags(int fd, int act, int flags)
{
    if (act == F_SETFL) {
        sim_net_at(fd)->waits = (flags & O_NONBLOCK) == 0;
    }
    return 0;
}

int __wrap_fcntl(int fd, int act, ...)
{
    va_list args;
    va_start(args, act);
    int flags = va_arg(args, int);
    va_end(args);
    return set_flags(fd, act, flags);
}

int __wrap_fcntl64(int fd, int act, ...)
{
    va_list args;
    va_start(args, act);
    int flags = va_arg(args, int);
    va_end(args);
    return set_flags(fd, act, flags);
}

ssize_t __wrap_send(int fd, const void *data, size_t len, int flags)
{
    (void)flags;
    enter("send");
    refuse_child("sends on", fd);
    ssize_t sent = sim_net_send(fd, data, shorten(len));
    sim_say("send %d: %zd of %zu", fd, sent, len);
    return give(sent);
}

ssize_t __wrap_recv(int fd, void *data, size_t len, int flags)
{
    enter("recv");
    if (sim_system_is_child() && !sim_net_is_open(fd)) {
        return give(-EBADF); /* it was closed before: a look at nothing */
    }
    refuse_child("receives of", fd);
    ssize_t got = sim_net_recv(fd, data, shorten(len), (flags & MSG_DONTWAIT) == 0);
    sim_say("recv %d: %zd", fd, got);
    return give(got);
}

ssize_t __wrap_read(int fd, void *data, size_t len)
{
    enter("read");
    uint64_t value = 0;
    int status = sim_net_count(fd, &value);
    memcpy(data, &value, len < sizeof(value) ? len : sizeof(value));
    return status < 0 ? give(status) : (ssize_t)sizeof(value);
}

/* Wakes of a poller, which may come under a lock. */
ssize_t __wrap_write(int fd, const void *data, size_t len)
{
    (void)data;
    sim_point();
    refuse_child("writes to", fd);
    (void)sim_net_add(fd, 1);
    return (ssize_t)len;
}

/* Wakes a reader, under the lock of what it reads. */
int __wrap_shutdown(int fd, int how)
{
    (void)how;
    sim_point();
    refuse_child("shuts down", fd);
    return give(sim_net_shutdown(fd));
}

/* Idle connections to nodes that left the map are closed under the lock of the map. */
int __wrap_close(int fd)
{
    sim_point();
    sim_say("close %d", fd);
    return give(sim_net_close(fd));
}

static int look(struct pollfd *fds, nfds_t fds_n)
{
    int ready = 0;
    for (nfds_t i = 0; i < fds_n; i++) {
        fds[i].revents = fds[i].fd >= 0 ? sim_net_events(fds[i].fd, fds[i].events) : 0;
        ready += fds[i].revents != 0 ? 1 : 0;
    }
    return ready;
}

static void wait_for(const struct pollfd *fds, nfds_t fds_n, bool does)
{
    for (nfds_t i = 0; i < fds_n; i++) {
        if (fds[i].fd >= 0) {
            sim_net_wait_for(fds[i].fd, does);
        }
    }
}

int __wrap_poll(struct pollfd *fds, nfds_t fds_n, int wait_ms)
{
    enter("poll");
    uint64_t until_ns = wait_ms < 0 ? SIM_NEVER : sim_now() + (uint64_t)wait_ms * SIM_MS;
    for (;;) {
        int ready = look(fds, fds_n);
        if (ready > 0 || sim_now() >= until_ns) {
            return ready;
        }
        wait_for(fds, fds_n, true);
        sim_park(until_ns);
        wait_for(fds, fds_n, false);
    }
}

int __wrap_epoll_create1(int flags)
{
    (void)flags;
    sim_point();
    return give(sim_net_epoll());
}

int __wrap_eventfd(unsigned value, int flags)
{
    (void)value;
    (void)flags;
    sim_point();
    return give(sim_net_event());
}

int __wrap_epoll_ctl(int epoll, int act, int fd, struct epoll_event *event)
{
    sim_point();
    refuse_child("changes", epoll);
    if (act == EPOLL_CTL_DEL) {
        return give(sim_net_unwatch(epoll, fd));
    }
    return give(sim_net_watch(epoll, fd, event->events, event->data.ptr, act == EPOLL_CTL_ADD));
}

int __wrap_epoll_wait(int epoll, struct epoll_event *events, int events_max, int wait_ms)
{
    enter("epoll_wait");
    if (wait_ms != 0) {
        sim_fail("epoll_wait waits: it is to look only");
    }
    sim_ready ready[64];
    int n = sim_net_look(epoll, ready, events_max < 64 ? events_max : 64);
    for (int i = 0; i < n; i++) {
        memset(&events[i], 0, sizeof(events[i]));
        events[i].events = ready[i].events;
        events[i].data.ptr = ready[i].arg;
    }
    return n;
}

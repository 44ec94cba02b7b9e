/* SPDX-License-Identifier: BSD-3-Clause */
/* TCP and Unix sockets of the system, with the options that differ between systems. */
#include "net/transport.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

/* Keep-alive probes come in this part of keep-alive, the idle time after which they begin. */
#define KEEP_ALIVE_PROBES 3

#if defined(MSG_NOSIGNAL)
#define SEND_FLAGS (MSG_DONTWAIT | MSG_NOSIGNAL)
#else
#define SEND_FLAGS MSG_DONTWAIT
#endif

static void set_int(int socket, int level, int name, int value)
{
    /* Tuning only: a system that refuses an option still carries the bytes. */
    (void)setsockopt(socket, level, name, &value, sizeof(value));
}

#if defined(SO_NOSIGPIPE)
static void set_no_sigpipe(int socket)
{
    set_int(socket, SOL_SOCKET, SO_NOSIGPIPE, 1);
}
#else
static void set_no_sigpipe(int socket)
{
    (void)socket; /* MSG_NOSIGNAL does it at each send */
}
#endif

#if defined(TCP_USER_TIMEOUT)
static void set_user_timeout(int socket, uint64_t timeout_ms)
{
    if (timeout_ms > 0) {
        set_int(socket, IPPROTO_TCP, TCP_USER_TIMEOUT, (int)timeout_ms);
    }
}
#else
static void set_user_timeout(int socket, uint64_t timeout_ms)
{
    (void)socket;
    (void)timeout_ms;
}
#endif

#if defined(TCP_KEEPIDLE) && defined(TCP_KEEPINTVL)
static void set_keep_alive_times(int socket, int idle_s, int interval_s)
{
    set_int(socket, IPPROTO_TCP, TCP_KEEPIDLE, idle_s);
    set_int(socket, IPPROTO_TCP, TCP_KEEPINTVL, interval_s);
}
#elif defined(TCP_KEEPALIVE)
static void set_keep_alive_times(int socket, int idle_s, int interval_s)
{
    (void)interval_s;
    set_int(socket, IPPROTO_TCP, TCP_KEEPALIVE, idle_s);
}
#else
static void set_keep_alive_times(int socket, int idle_s, int interval_s)
{
    (void)socket;
    (void)idle_s;
    (void)interval_s;
}
#endif

static int seconds_of(uint64_t ms)
{
    return (int)(ms / 1000 > 0 ? ms / 1000 : 1);
}

static void set_tcp_options(int socket, const kw_options *options)
{
    set_int(socket, IPPROTO_TCP, TCP_NODELAY, 1);
    if (options->keep_alive_ms > 0) {
        set_int(socket, SOL_SOCKET, SO_KEEPALIVE, 1);
        set_keep_alive_times(socket, seconds_of(options->keep_alive_ms),
                             seconds_of(options->keep_alive_ms / KEEP_ALIVE_PROBES));
    }
    set_user_timeout(socket, options->user_timeout_ms);
}

#if defined(SOCK_CLOEXEC) && defined(SOCK_NONBLOCK)
static int new_socket(int family)
{
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    return fd >= 0 ? fd : -errno;
}
#else
static int new_socket(int family)
{
    int fd = socket(family, SOCK_STREAM, 0);
    if (fd < 0) {
        return -errno;
    }
    if (fcntl(fd, F_SETFD, FD_CLOEXEC) != 0 || fcntl(fd, F_SETFL, O_NONBLOCK) != 0) {
        int error = errno;
        close(fd);
        return -error;
    }
    return fd;
}
#endif

static int socket_open(void *arg, const kw_address *address, const kw_options *options)
{
    (void)arg;
    int family = address->storage.ss_family;
    int fd = new_socket(family);
    if (fd < 0) {
        return fd;
    }
    set_no_sigpipe(fd);
    if (family != AF_UNIX) {
        set_tcp_options(fd, options);
    }
    if (connect(fd, (const struct sockaddr *)&address->storage, address->len) != 0 &&
        errno != EINPROGRESS && errno != EINTR) {
        int error = errno;
        close(fd);
        return -error;
    }
    return fd;
}

static int socket_error(void *arg, int socket)
{
    (void)arg;
    int error = 0;
    socklen_t len = sizeof(error);
    if (getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &len) != 0) {
        return -errno;
    }
    return error != 0 ? -error : -ECONNREFUSED;
}

static int socket_opened(void *arg, int socket, uint64_t wait_ms)
{
    (void)arg;
    /* A waiting recv is one system call, a poll and a recv would be two; the time
     * limit of the socket keeps it from waiting for ever. */
    struct timeval wait = {(time_t)(wait_ms / 1000), (suseconds_t)(wait_ms % 1000 * 1000)};
    if (setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)) != 0 ||
        fcntl(socket, F_SETFL, 0) != 0) {
        return -errno;
    }
    return 0;
}

static ssize_t socket_send(void *arg, int socket, const char *data, size_t len)
{
    (void)arg;
    ssize_t sent;
    do {
        sent = send(socket, data, len, SEND_FLAGS);
    } while (sent < 0 && errno == EINTR);
    if (sent >= 0) {
        return sent;
    }
    /* Some systems say of a connect under way that there is no connection. */
    return errno == EWOULDBLOCK || errno == ENOTCONN ? -EAGAIN : -errno;
}

static ssize_t socket_recv(void *arg, int socket, char *data, size_t len, bool waits)
{
    (void)arg;
    ssize_t got = recv(socket, data, len, waits ? 0 : MSG_DONTWAIT);
    if (got >= 0) {
        return got;
    }
    /* After a signal the caller looks at its deadline before it waits again. */
    return errno == EINTR || errno == EWOULDBLOCK ? -EAGAIN : -errno;
}

static int socket_poll(void *arg, struct pollfd *sockets, size_t sockets_n, int wait_ms)
{
    (void)arg;
    int ready = poll(sockets, (nfds_t)sockets_n, wait_ms);
    if (ready >= 0) {
        return ready;
    }
    return errno == EINTR ? 0 : -errno;
}

static void socket_shutdown(void *arg, int socket)
{
    (void)arg;
    (void)shutdown(socket, SHUT_RDWR);
}

static void socket_close(void *arg, int socket)
{
    (void)arg;
    (void)close(socket);
}

static const kw_transport sockets = {
    NULL,        socket_open, socket_error,    socket_opened, socket_send,
    socket_recv, socket_poll, socket_shutdown, socket_close,
};

const kw_transport *kw_transport_sockets(void)
{
    return &sockets;
}

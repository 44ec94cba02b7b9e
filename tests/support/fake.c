/* SPDX-License-Identifier: BSD-3-Clause */
/* The scripted server's thread: connections, requests, rules and the log. */
#include "support/fake.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support/calm.h"
#include "support/check.h"
#include "support/fake_parts.h"

enum { POLL_MAX = 1024, READ_MAX = 256 * 1024 };

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0
#endif

static void set_flags(int fd)
{
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    fcntl(fd, F_SETFL, O_NONBLOCK);
}

/* A socket at that port of the loopback, 0: any that is free; -1: it is not free. */
static int bind_at(uint16_t *port)
{
    struct sockaddr_in address;
    socklen_t len = sizeof(address);
    int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    memset(&address, 0, sizeof(address));
    address.sin_family = AF_INET;
    address.sin_port = htons(*port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0) {
        kw_test_die("socket");
    }
    set_flags(fd);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(fd, (const struct sockaddr *)&address, len) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &len) != 0) {
        close(fd);
        return -1;
    }
    *port = ntohs(address.sin_port);
    return fd;
}

/* port 0: any that is free, and then asked for by its number: Linux keeps a port that was asked for
 * while nobody listens there. Elsewhere two may not ask for it at a time. */
static int listen_at(uint16_t *port)
{
    bool is_any = *port == 0;
    int fd = bind_at(port);
    int asked = is_any && fd >= 0 ? bind_at(port) : -1;
    if (asked >= 0) {
        close(fd);
        fd = asked;
    }
    if (fd < 0 || listen(fd, 128) != 0) {
        kw_test_die("listen at port %u", *port);
    }
    return fd;
}

static void conn_free(fake_conn *conn)
{
    while (conn->first != NULL) {
        fake_command *command = conn->first;
        conn->first = command->next;
        fake_command_free(command);
    }
    free(conn->in.data);
    free(conn->out.data);
    free(conn);
}

static void conn_shut(fake_conn *conn, bool with_reset)
{
    if (with_reset) {
        struct linger linger = {1, 0};
        setsockopt(conn->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    }
    close(conn->fd);
    conn->is_gone = true;
}

static void sweep(kw_fake *fake)
{
    fake_conn **at = &fake->conns;
    while (*at != NULL) {
        fake_conn *conn = *at;
        if (conn->is_gone) {
            *at = conn->next;
            conn_free(conn);
        } else {
            at = &conn->next;
        }
    }
}

static void accept_all(kw_fake *fake)
{
    for (int fd; (fd = accept(fake->listener, NULL, NULL)) >= 0;) {
        int on = 1;
        fake_conn *conn = calloc(1, sizeof(*conn));
        fake_conn **last = &fake->conns;
        if (conn == NULL) {
            kw_test_die("no memory");
        }
        set_flags(fd);
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
#ifdef SO_NOSIGPIPE
        setsockopt(fd, SOL_SOCKET, SO_NOSIGPIPE, &on, sizeof(on));
#endif
        conn->fd = fd;
        conn->number = ++fake->accepted;
        while (*last != NULL) {
            last = &(*last)->next;
        }
        *last = conn;
        fake_conn_accept(fake, conn);
    }
    pthread_cond_broadcast(&fake->changed);
}

static void record(kw_fake *fake, const fake_conn *conn, const fake_command *command)
{
    if (fake->log_n == fake->log_cap) {
        size_t cap = fake->log_cap == 0 ? 64 : fake->log_cap * 2;
        kw_fake_entry *grown = realloc(fake->log, cap * sizeof(*grown));
        if (grown == NULL) {
            kw_test_die("no memory");
        }
        fake->log = grown;
        fake->log_cap = cap;
    }
    kw_fake_entry *entry = &fake->log[fake->log_n++];
    entry->connection = conn->number;
    entry->time_ms = kw_test_now_ms();
    memcpy(entry->text, command->text, sizeof(entry->text));
    pthread_cond_broadcast(&fake->changed);
}

static void take_commands(kw_fake *fake, fake_conn *conn)
{
    for (;;) {
        fake_command *command = NULL;
        int got = fake_request_next(&conn->in, &command);
        if (got == 0) {
            return;
        }
        if (got < 0) {
            fprintf(stderr, "fake %s: bytes that are no request\n", fake->address);
            fake->mismatches++;
            conn_shut(conn, false);
            return;
        }
        record(fake, conn, command);
        if (conn->first == NULL) {
            conn->first = command;
        } else {
            conn->last->next = command;
        }
        conn->last = command;
    }
}

static void conn_read(kw_fake *fake, fake_conn *conn, char *room)
{
    ssize_t got = recv(conn->fd, room, READ_MAX, 0);
    if (got > 0) {
        fake_bytes_add(&conn->in, room, (size_t)got);
        take_commands(fake, conn);
    } else if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
        conn_shut(conn, false);
    }
}

static void conn_write(fake_conn *conn)
{
    fake_bytes *out = &conn->out;
    if (out->at < out->len) {
        ssize_t sent = send(conn->fd, out->data + out->at, out->len - out->at, MSG_NOSIGNAL);
        if (sent > 0) {
            out->at += (size_t)sent;
        } else if (sent < 0 && errno != EAGAIN && errno != EINTR) {
            conn_shut(conn, false);
            return;
        }
    }
    if (conn->is_closing && out->at == out->len) {
        conn_shut(conn, conn->is_resetting);
    }
}

/* Connects are refused from here on. The port stays the fake's where the system lets a socket that
 * was listening keep it: another program's server at an address that is away would be a stranger.
 */
static void stop_listening(kw_fake *fake)
{
    accept_all(fake);
    fake->is_away = true;
    if (shutdown(fake->listener, SHUT_RD) != 0) {
        close(fake->listener);
        fake->listener = -1;
    }
}

static void listen_again(kw_fake *fake)
{
    if (fake->listener < 0) {
        fake->listener = listen_at(&fake->port);
    } else if (listen(fake->listener, 128) != 0) {
        kw_test_die("listen again at port %u", fake->port);
    }
    fake->is_away = false;
}

/* What a caller asked for; false: the end. */
static bool obey(kw_fake *fake)
{
    fake_order_kind order = fake->order;
    bool is_down = order == FAKE_ORDER_DOWN;
    if (order == FAKE_ORDER_NONE) {
        return true;
    }
    if ((is_down || order == FAKE_ORDER_STOP) && !fake->is_away) {
        stop_listening(fake);
    }
    if (order == FAKE_ORDER_STOP && fake->listener >= 0) {
        close(fake->listener);
        fake->listener = -1;
    }
    if (order == FAKE_ORDER_UP && fake->is_away) {
        listen_again(fake);
    }
    fake->passes_n += order == FAKE_ORDER_PASS ? 1 : 0;
    for (fake_conn *conn = fake->conns; conn != NULL; conn = conn->next) {
        if (fake->order_connection != 0 && fake->order_connection != conn->number) {
            continue;
        }
        if (order == FAKE_ORDER_PUSH) {
            fake_bytes_add(&conn->out, fake->order_bytes, fake->order_len);
            conn_write(conn);
        } else if (order == FAKE_ORDER_PASS) {
            fake_conn_advance(fake, conn, kw_test_now_ms());
            conn_write(conn);
        } else if (order != FAKE_ORDER_UP) {
            conn_shut(conn, is_down || order == FAKE_ORDER_RESET);
        }
    }
    sweep(fake);
    fake->order = FAKE_ORDER_NONE;
    pthread_cond_broadcast(&fake->changed);
    return order != FAKE_ORDER_STOP;
}

static bool is_reading(const fake_conn *conn)
{
    return !conn->is_deaf && !conn->is_partial;
}

/* Fills what to poll; the time to wait at most, or -1. */
static int prepare(kw_fake *fake, struct pollfd *fds, nfds_t *fds_n)
{
    uint64_t now_ms = kw_test_now_ms();
    uint64_t wait_ms = UINT64_MAX;
    nfds_t n = 2;
    fds[0] = (struct pollfd){fake->wake[0], POLLIN, 0};
    fds[1] = (struct pollfd){fake->is_away ? -1 : fake->listener, POLLIN, 0};
    for (fake_conn *conn = fake->conns; conn != NULL; conn = conn->next) {
        bool has_out = conn->out.at < conn->out.len;
        if (n == POLL_MAX) {
            kw_test_die("a fake with more than %d connections", POLL_MAX);
        }
        fds[n++] = (struct pollfd){
            conn->fd, (short)((is_reading(conn) ? POLLIN : 0) | (has_out ? POLLOUT : 0)), 0};
        if (fake_conn_is_busy(conn)) {
            uint64_t rest = conn->wake_ms > now_ms ? conn->wake_ms - now_ms : 0;
            wait_ms = rest < wait_ms ? rest : wait_ms;
        }
    }
    *fds_n = n;
    return wait_ms == UINT64_MAX ? -1 : (int)(wait_ms > 60000 ? 60000 : wait_ms);
}

static void serve(kw_fake *fake, const struct pollfd *fds, char *room)
{
    nfds_t n = 2;
    for (fake_conn *conn = fake->conns; conn != NULL; conn = conn->next) {
        short events = fds[n++].revents;
        if ((events & (POLLERR | POLLNVAL)) != 0 && !is_reading(conn)) {
            conn_shut(conn, false);
        } else if ((events & (POLLIN | POLLHUP | POLLERR)) != 0 && is_reading(conn)) {
            conn_read(fake, conn, room);
        }
    }
    if (fds[1].revents != 0) {
        accept_all(fake);
    }
    for (fake_conn *conn = fake->conns; conn != NULL; conn = conn->next) {
        if (!conn->is_gone) {
            fake_conn_advance(fake, conn, kw_test_now_ms());
            conn_write(conn);
        }
    }
    sweep(fake);
}

static void *run(void *arg)
{
    kw_fake *fake = arg;
    struct pollfd *fds = calloc(POLL_MAX, sizeof(*fds));
    char *room = malloc(READ_MAX);
    if (fds == NULL || room == NULL) {
        kw_test_die("no memory");
    }
    pthread_mutex_lock(&fake->lock);
    while (obey(fake)) {
        nfds_t fds_n;
        int wait_ms = prepare(fake, fds, &fds_n);
        pthread_mutex_unlock(&fake->lock);
        int ready = poll(fds, fds_n, wait_ms);
        if (ready > 0 && fds[0].revents != 0) {
            char drain[64];
            if (read(fake->wake[0], drain, sizeof(drain)) < 0 && errno != EAGAIN) {
                kw_test_die("the fake's pipe");
            }
        }
        pthread_mutex_lock(&fake->lock);
        if (ready >= 0) {
            serve(fake, fds, room);
        }
    }
    pthread_mutex_unlock(&fake->lock);
    free(room);
    free(fds);
    return NULL;
}

kw_fake *kw_fake_start(void)
{
    sigset_t all;
    sigset_t old;
    kw_fake *fake = calloc(1, sizeof(*fake));
    if (fake == NULL || pipe(fake->wake) != 0) {
        kw_test_die("no memory or no pipe");
    }
    set_flags(fake->wake[0]);
    set_flags(fake->wake[1]);
    kw_test_calm_start();
    fake->listener = listen_at(&fake->port);
    snprintf(fake->address, sizeof(fake->address), "127.0.0.1:%u", fake->port);
    snprintf(fake->uri, sizeof(fake->uri), "redis://%s", fake->address);
    pthread_mutex_init(&fake->lock, NULL);
    pthread_cond_init(&fake->changed, NULL);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int failed = pthread_create(&fake->thread, NULL, run, fake);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (failed) {
        kw_test_die("no thread for a fake");
    }
    return fake;
}

void fake_order(kw_fake *fake, fake_order_kind order, const char *bytes, size_t len)
{
    fake_order_one(fake, order, 0, bytes, len);
}

void fake_order_one(kw_fake *fake, fake_order_kind order, unsigned connection, const char *bytes,
                    size_t len)
{
    pthread_mutex_lock(&fake->lock);
    while (fake->order != FAKE_ORDER_NONE) {
        pthread_cond_wait(&fake->changed, &fake->lock);
    }
    fake->order = order;
    fake->order_bytes = bytes;
    fake->order_len = len;
    fake->order_connection = connection;
    if (write(fake->wake[1], "", 1) < 0 && errno != EAGAIN) {
        kw_test_die("the fake's pipe");
    }
    while (fake->order == order) {
        pthread_cond_wait(&fake->changed, &fake->lock);
    }
    pthread_mutex_unlock(&fake->lock);
}

void kw_fake_free(kw_fake *fake)
{
    if (fake == NULL) {
        return;
    }
    fake_order(fake, FAKE_ORDER_STOP, NULL, 0);
    kw_test_join(fake->thread);
    kw_fake_reset(fake);
    fake_pool_free(fake);
    pthread_cond_destroy(&fake->changed);
    pthread_mutex_destroy(&fake->lock);
    close(fake->wake[0]);
    close(fake->wake[1]);
    free(fake->slots);
    free(fake->shards);
    free(fake->log);
    free(fake);
}

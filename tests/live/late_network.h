/* SPDX-License-Identifier: BSD-3-Clause */
/* A network for connections that track: messages and answers that come late, or not for a while,
 * and requests that leave in halves. */
#ifndef LIVE_LATE_NETWORK_H
#define LIVE_LATE_NETWORK_H

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "net/transport.h"
#include "support/check.h"

/* What answers are late by; messages by a quarter of it. */
#define LATE_MS 60

/* Of a socket: how many bytes may be seen when, behind what was read. */
typedef struct lateness {
    uint64_t seen_ns; /* when bytes were there first; 0: none are */
    bool hears;       /* it is one for messages */
    bool reads;       /* it is one that tracks */
} lateness;

/* What hears messages is deaf while this is set: bytes are there and do not come. Else all that
 * tracks is late, and what it sends may leave in halves. For the transport, which has no other
 * place to look. */
typedef struct network {
    kw_transport face;
    atomic_bool is_deaf;
    atomic_bool is_late;
    atomic_bool is_halved;
    pthread_mutex_t lock;
    lateness at[1024]; /* by sockets */
} network;

static inline bool has(const char *data, size_t len, const char *text)
{
    size_t text_len = strlen(text);
    for (size_t i = 0; i + text_len <= len && i < 64; i++) {
        if (memcmp(data + i, text, text_len) == 0) {
            return true;
        }
    }
    return false;
}

/* What is sent first: a read without what stands behind it. */
static inline size_t half_of(const char *data, size_t len)
{
    const char *second = len > 1 ? memchr(data + 1, '*', len - 1) : NULL;
    return second != NULL ? (size_t)(second - data) : len;
}

static inline ssize_t send_bytes(void *arg, int socket, const char *data, size_t len)
{
    network *self = arg;
    const kw_transport *real = kw_transport_sockets();
    bool is_tracking = false;
    if (socket < 1024) {
        pthread_mutex_lock(&self->lock);
        lateness *at = &self->at[socket];
        at->hears = at->hears || has(data, len, "SUBSCRIBE");
        at->reads = at->reads || has(data, len, "TRACKING");
        is_tracking = at->reads;
        pthread_mutex_unlock(&self->lock);
    }
    bool is_halved = is_tracking && atomic_load(&self->is_halved) && half_of(data, len) < len;
    ssize_t sent = real->send_fn(real->arg, socket, data, is_halved ? half_of(data, len) : len);
    if (is_halved) {
        kw_test_sleep_ms(2); /* somebody else's write comes in between */
    }
    return sent;
}

/* Bytes are there, and are not seen yet. has_bytes: what the system says. */
static inline bool is_hidden(network *self, int socket, bool has_bytes)
{
    if (socket < 0 || socket >= 1024 || !has_bytes) {
        return false;
    }
    pthread_mutex_lock(&self->lock);
    lateness *at = &self->at[socket];
    uint64_t now = (uint64_t)kw_test_real_ms();
    at->seen_ns = at->seen_ns == 0 ? now : at->seen_ns;
    bool is_early = atomic_load(&self->is_late) && (at->hears || at->reads) &&
                    now < at->seen_ns + (at->hears ? LATE_MS / 4 : LATE_MS);
    bool is_hidden = is_early || (at->hears && atomic_load(&self->is_deaf));
    pthread_mutex_unlock(&self->lock);
    return is_hidden;
}

static inline ssize_t recv_bytes(void *arg, int socket, char *data, size_t len, bool waits)
{
    network *self = arg;
    struct pollfd one = {socket, POLLIN, 0};
    if (poll(&one, 1, 0) > 0 && is_hidden(self, socket, true)) {
        return -EAGAIN;
    }
    const kw_transport *real = kw_transport_sockets();
    ssize_t got = real->recv_fn(real->arg, socket, data, len, waits);
    if (socket >= 0 && socket < 1024) {
        pthread_mutex_lock(&self->lock);
        self->at[socket].seen_ns = 0;
        pthread_mutex_unlock(&self->lock);
    }
    return got;
}

static inline int poll_sockets(void *arg, struct pollfd *sockets, size_t n, int wait_ms)
{
    const kw_transport *real = kw_transport_sockets();
    int found = real->poll_fn(real->arg, sockets, n, wait_ms);
    for (size_t i = 0; found > 0 && i < n; i++) {
        if (is_hidden(arg, sockets[i].fd, (sockets[i].revents & POLLIN) != 0)) {
            sockets[i].revents &= (short)~POLLIN;
            found -= sockets[i].revents == 0 ? 1 : 0;
        }
    }
    return found;
}

static inline void close_socket(void *arg, int socket)
{
    network *self = arg;
    if (socket >= 0 && socket < 1024) {
        pthread_mutex_lock(&self->lock);
        memset(&self->at[socket], 0, sizeof(self->at[socket]));
        pthread_mutex_unlock(&self->lock);
    }
    const kw_transport *real = kw_transport_sockets();
    real->close_fn(real->arg, socket);
}

static inline int open_socket(void *arg, const kw_address *address, const kw_options *options)
{
    (void)arg;
    const kw_transport *real = kw_transport_sockets();
    return real->open_fn(real->arg, address, options);
}

static inline network *network_new(void)
{
    network *self = calloc(1, sizeof(*self));
    pthread_mutex_init(&self->lock, NULL);
    self->face = *kw_transport_sockets();
    self->face.arg = self;
    self->face.open_fn = open_socket;
    self->face.send_fn = send_bytes;
    self->face.recv_fn = recv_bytes;
    self->face.poll_fn = poll_sockets;
    self->face.close_fn = close_socket;
    return self;
}

#endif

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
#include <sys/ioctl.h>

#include "net/transport.h"
#include "support/check.h"

#define MARKS_MAX 64

/* Up to where bytes had come at a time. */
typedef struct arrival {
    uint64_t at_ms;
    uint64_t end;
} arrival;

/* Of a socket: what has come when, and how much of it was read. */
typedef struct lateness {
    bool hears; /* it is one for messages */
    bool reads; /* it is one that tracks */
    uint64_t read;
    arrival marks[MARKS_MAX];
    size_t marks_n;
} lateness;

/* What hears messages is deaf while this is set: bytes are there and do not come. Else all that
 * tracks is late, and what it sends may leave in halves. For the transport, which has no other
 * place to look. */
typedef struct network {
    kw_transport face;
    atomic_bool is_deaf;
    atomic_uint late_messages_ms;
    atomic_uint late_answers_ms;
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

/* How many of the bytes that are there may be seen. */
static inline uint64_t seen_of(network *self, lateness *at, uint64_t there)
{
    uint64_t now_ms = kw_test_real_ms();
    uint64_t end = at->read + there;
    if (at->marks_n == 0 || at->marks[at->marks_n - 1].end < end) {
        at->marks_n -= at->marks_n == MARKS_MAX ? 1 : 0;
        at->marks[at->marks_n++] = (arrival){now_ms, end};
    }
    if (at->hears && atomic_load(&self->is_deaf)) {
        return 0;
    }
    uint64_t late_ms = at->hears   ? atomic_load(&self->late_messages_ms)
                       : at->reads ? atomic_load(&self->late_answers_ms)
                                   : 0;
    if (late_ms == 0) {
        return there;
    }
    uint64_t seen = at->read;
    for (size_t i = 0; i < at->marks_n && at->marks[i].at_ms + late_ms <= now_ms; i++) {
        seen = at->marks[i].end;
    }
    return seen - at->read;
}

/* Bytes that may be read now; UINT64_MAX: all, and what else there is. */
static inline uint64_t may_read(network *self, int socket)
{
    int there = 0;
    if (socket < 0 || socket >= 1024 || ioctl(socket, FIONREAD, &there) != 0 || there <= 0) {
        return UINT64_MAX;
    }
    pthread_mutex_lock(&self->lock);
    uint64_t seen = seen_of(self, &self->at[socket], (uint64_t)there);
    pthread_mutex_unlock(&self->lock);
    return seen;
}

static inline void note_read(network *self, int socket, uint64_t n)
{
    pthread_mutex_lock(&self->lock);
    lateness *at = &self->at[socket];
    at->read += n;
    size_t gone = 0;
    while (gone < at->marks_n && at->marks[gone].end <= at->read) {
        gone++;
    }
    at->marks_n -= gone;
    memmove(at->marks, at->marks + gone, at->marks_n * sizeof(at->marks[0]));
    pthread_mutex_unlock(&self->lock);
}

static inline ssize_t recv_bytes(void *arg, int socket, char *data, size_t len, bool waits)
{
    network *self = arg;
    uint64_t most = may_read(self, socket);
    if (most == 0) {
        return -EAGAIN;
    }
    const kw_transport *real = kw_transport_sockets();
    ssize_t got = real->recv_fn(real->arg, socket, data, most < len ? (size_t)most : len, waits);
    if (socket >= 0 && socket < 1024 && got > 0) {
        note_read(self, socket, (uint64_t)got);
    }
    return got;
}

static inline int poll_sockets(void *arg, struct pollfd *sockets, size_t n, int wait_ms)
{
    const kw_transport *real = kw_transport_sockets();
    int found = real->poll_fn(real->arg, sockets, n, wait_ms);
    for (size_t i = 0; found > 0 && i < n; i++) {
        if ((sockets[i].revents & POLLIN) != 0 && may_read(arg, sockets[i].fd) == 0) {
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

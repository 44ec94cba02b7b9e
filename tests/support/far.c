/* SPDX-License-Identifier: BSD-3-Clause */
/* A relay that keeps what it has read for a while before it writes it. One thread for all. */
#include "support/far.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support/check.h"

enum { PASSAGES_MAX = 64, CHUNK = 16384, TURN_MS = 5 };

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0
#endif

/* Bytes on their way; len 0: the end. */
typedef struct chunk {
    struct chunk *next;
    uint64_t due_ms;
    size_t len;
    char bytes[];
} chunk;

/* One direction of a connection. */
typedef struct way {
    chunk *head;
    chunk *tail;
    bool has_ended; /* nothing more is read */
} way;

typedef struct passage {
    int ends[2]; /* client, server; -1: closed */
    way ways[2]; /* from that end */
} passage;

struct kw_test_far {
    pthread_t thread;
    atomic_bool is_over;
    int listener;
    uint16_t to;
    unsigned one_way_ms;
    char address[32];
    passage passages[PASSAGES_MAX];
};

static int make_socket(void)
{
    int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0) {
        kw_test_die("socket");
    }
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    return fd;
}

static struct sockaddr_in loopback(uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

static void end_passage(passage *self)
{
    for (int i = 0; i < 2; i++) {
        if (self->ends[i] >= 0) {
            close(self->ends[i]);
        }
        while (self->ways[i].head != NULL) {
            chunk *next = self->ways[i].head->next;
            free(self->ways[i].head);
            self->ways[i].head = next;
        }
    }
    memset(self, 0, sizeof(*self));
    self->ends[0] = -1;
    self->ends[1] = -1;
}

static void take_client(kw_test_far *far)
{
    int client = accept(far->listener, NULL, NULL);
    struct sockaddr_in address = loopback(far->to);
    int server = make_socket();
    passage *self = NULL;
    for (size_t i = 0; i < PASSAGES_MAX && self == NULL; i++) {
        self = far->passages[i].ends[0] < 0 ? &far->passages[i] : NULL;
    }
    if (client < 0 || self == NULL ||
        connect(server, (struct sockaddr *)&address, sizeof(address)) != 0) {
        close(server);
        if (client >= 0) {
            close(client);
        }
        return;
    }
    self->ends[0] = client;
    self->ends[1] = server;
}

static void read_end(const kw_test_far *far, passage *self, int from)
{
    chunk *fresh = calloc(1, sizeof(*fresh) + CHUNK);
    way *to = &self->ways[from];
    ssize_t got = recv(self->ends[from], fresh->bytes, CHUNK, MSG_DONTWAIT);
    fresh->due_ms = kw_test_now_ms() + far->one_way_ms;
    fresh->len = got > 0 ? (size_t)got : 0;
    to->has_ended = got <= 0;
    *(to->tail != NULL && to->head != NULL ? &to->tail->next : &to->head) = fresh;
    to->tail = fresh;
}

/* Writes what is due; false where an end has come through. */
static bool write_due(passage *self, int from, uint64_t now_ms)
{
    way *lane = &self->ways[from];
    while (lane->head != NULL && lane->head->due_ms <= now_ms) {
        chunk *first = lane->head;
        bool is_end = first->len == 0;
        size_t done = 0;
        while (done < first->len) { /* tests send little */
            ssize_t sent =
                send(self->ends[1 - from], first->bytes + done, first->len - done, MSG_NOSIGNAL);
            if (sent <= 0) {
                return false;
            }
            done += (size_t)sent;
        }
        lane->head = first->next;
        free(first);
        if (is_end) {
            return false;
        }
    }
    return true;
}

static void *run(void *arg)
{
    kw_test_far *far = arg;
    while (!atomic_load(&far->is_over)) {
        struct pollfd pollers[1 + 2 * PASSAGES_MAX];
        pollers[0] = (struct pollfd){far->listener, POLLIN, 0};
        for (int i = 0; i < 2 * PASSAGES_MAX; i++) {
            passage *self = &far->passages[i / 2];
            bool reads = self->ends[i % 2] >= 0 && !self->ways[i % 2].has_ended;
            pollers[1 + i] = (struct pollfd){reads ? self->ends[i % 2] : -1, POLLIN, 0};
        }
        (void)poll(pollers, 1 + 2 * PASSAGES_MAX, TURN_MS);
        for (int i = 0; i < 2 * PASSAGES_MAX; i++) {
            if (pollers[1 + i].revents != 0) {
                read_end(far, &far->passages[i / 2], i % 2);
            }
        }
        if (pollers[0].revents != 0) {
            take_client(far);
        }
        for (size_t i = 0; i < PASSAGES_MAX; i++) {
            passage *self = &far->passages[i];
            uint64_t now_ms = kw_test_now_ms();
            if (self->ends[0] >= 0 &&
                (!write_due(self, 0, now_ms) || !write_due(self, 1, now_ms))) {
                end_passage(self);
            }
        }
    }
    return NULL;
}

kw_test_far *kw_test_far_start(uint16_t port, unsigned trip_ms)
{
    kw_test_far *far = calloc(1, sizeof(*far));
    struct sockaddr_in address = loopback(0);
    socklen_t len = sizeof(address);
    if (far == NULL) {
        kw_test_die("no memory");
    }
    far->to = port;
    far->one_way_ms = trip_ms / 2;
    far->listener = make_socket();
    for (size_t i = 0; i < PASSAGES_MAX; i++) {
        far->passages[i].ends[0] = -1;
        far->passages[i].ends[1] = -1;
    }
    if (bind(far->listener, (struct sockaddr *)&address, len) != 0 ||
        listen(far->listener, 64) != 0 ||
        getsockname(far->listener, (struct sockaddr *)&address, &len) != 0 ||
        pthread_create(&far->thread, NULL, run, far) != 0) {
        kw_test_die("no relay");
    }
    snprintf(far->address, sizeof(far->address), "127.0.0.1:%u", (unsigned)ntohs(address.sin_port));
    return far;
}

void kw_test_far_free(kw_test_far *far)
{
    if (far == NULL) {
        return;
    }
    atomic_store(&far->is_over, true);
    kw_test_join(far->thread);
    for (size_t i = 0; i < PASSAGES_MAX; i++) {
        end_passage(&far->passages[i]);
    }
    close(far->listener);
    free(far);
}

const char *kw_test_far_address(const kw_test_far *far)
{
    return far->address;
}

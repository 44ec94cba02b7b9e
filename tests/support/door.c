/* SPDX-License-Identifier: BSD-3-Clause */
/* A relay of bytes in a thread, which delays them or stops passing them on. */
#include "support/door.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
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

#define PAIRS_MAX 200u
#define PIECE_LEN 65536u
#define SLOW_MS   4u
#define LOOK_MS   2

/* A client's connection and the one to the server. */
typedef struct pair {
    int ends[2]; /* -1: none */
} pair;

struct kw_test_door {
    int listener;
    uint16_t port;
    char address[32];
    pthread_t thread;
    bool is_running;
    atomic_int state;
    atomic_bool resets;
    atomic_bool ends;
    pair pairs[PAIRS_MAX];
    size_t pairs_n;
    char piece[PIECE_LEN];
};

static struct sockaddr_in loopback(uint16_t port)
{
    struct sockaddr_in address;
    memset(&address, 0, sizeof(address));
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

kw_test_door *kw_test_door_new(uint16_t port)
{
    kw_test_door *self = calloc(1, sizeof(*self));
    if (self == NULL) {
        kw_test_die("door: no memory");
    }
    self->port = port;
    self->listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = loopback(0);
    socklen_t len = sizeof(address);
    if (self->listener < 0 ||
        bind(self->listener, (struct sockaddr *)&address, sizeof(address)) != 0 ||
        listen(self->listener, 128) != 0 ||
        getsockname(self->listener, (struct sockaddr *)&address, &len) != 0) {
        kw_test_die("door: %s", strerror(errno));
    }
    snprintf(self->address, sizeof(self->address), "127.0.0.1:%u",
             (unsigned)ntohs(address.sin_port));
    return self;
}

static void close_hard(int fd)
{
    struct linger now = {1, 0}; /* a reset */
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    close(fd);
}

static void end_pair(kw_test_door *self, size_t at)
{
    close_hard(self->pairs[at].ends[0]);
    close_hard(self->pairs[at].ends[1]);
    self->pairs[at] = self->pairs[--self->pairs_n];
}

static void take_client(kw_test_door *self)
{
    int client = accept(self->listener, NULL, NULL);
    if (client < 0) {
        return;
    }
    int server = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = loopback(self->port);
    if (self->pairs_n == PAIRS_MAX || server < 0 ||
        connect(server, (struct sockaddr *)&address, sizeof(address)) != 0) {
        close_hard(client);
        if (server >= 0) {
            close(server);
        }
        return;
    }
    fcntl(client, F_SETFL, O_NONBLOCK);
    fcntl(server, F_SETFL, O_NONBLOCK);
    pair fresh = {{client, server}};
    self->pairs[self->pairs_n++] = fresh;
}

static bool send_all(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t sent = send(fd, data, len, MSG_NOSIGNAL);
        if (sent > 0) {
            data += sent;
            len -= (size_t)sent;
            continue;
        }
        struct pollfd wait = {.fd = fd, .events = POLLOUT};
        if (errno != EAGAIN || poll(&wait, 1, 5000) != 1) {
            return false;
        }
    }
    return true;
}

/* False where the pair is over. */
static bool pass(kw_test_door *self, const pair *way, int from)
{
    ssize_t len = recv(way->ends[from], self->piece, PIECE_LEN, 0);
    if (len < 0 && (errno == EAGAIN || errno == EINTR)) {
        return true;
    }
    if (len <= 0) {
        return false;
    }
    if (atomic_load(&self->state) == KW_TEST_DOOR_SLOW) {
        kw_test_sleep_ms(SLOW_MS);
    }
    return send_all(way->ends[1 - from], self->piece, (size_t)len);
}

static void turn(kw_test_door *self)
{
    struct pollfd sockets[2 * PAIRS_MAX + 1];
    for (size_t i = 0; i < self->pairs_n; i++) {
        for (size_t k = 0; k < 2; k++) {
            struct pollfd wait = {.fd = self->pairs[i].ends[k], .events = POLLIN};
            sockets[2 * i + k] = wait;
        }
    }
    size_t pairs_n = self->pairs_n;
    struct pollfd wait = {.fd = self->listener, .events = POLLIN};
    sockets[2 * pairs_n] = wait;
    if (poll(sockets, 2 * pairs_n + 1, LOOK_MS) <= 0) {
        return;
    }
    for (size_t i = pairs_n; i > 0; i--) {
        pair way = self->pairs[i - 1];
        bool is_over = (sockets[2 * i - 2].revents != 0 && !pass(self, &way, 0)) ||
                       (sockets[2 * i - 1].revents != 0 && !pass(self, &way, 1));
        if (is_over) {
            end_pair(self, i - 1);
        }
    }
    if (sockets[2 * pairs_n].revents != 0) {
        take_client(self);
    }
}

static void *run(void *arg)
{
    kw_test_door *self = arg;
    while (!atomic_load(&self->ends)) {
        if (atomic_exchange(&self->resets, false)) {
            while (self->pairs_n > 0) {
                end_pair(self, self->pairs_n - 1);
            }
        }
        if (atomic_load(&self->state) == KW_TEST_DOOR_SHUT) {
            kw_test_sleep_ms(LOOK_MS);
        } else {
            turn(self);
        }
    }
    return NULL;
}

void kw_test_door_run(kw_test_door *self)
{
    self->is_running = pthread_create(&self->thread, NULL, run, self) == 0;
    if (!self->is_running) {
        kw_test_die("door: no thread");
    }
}

void kw_test_door_free(kw_test_door *self)
{
    if (self == NULL) {
        return;
    }
    if (self->is_running) {
        atomic_store(&self->ends, true);
        kw_test_join(self->thread);
    }
    while (self->pairs_n > 0) {
        end_pair(self, self->pairs_n - 1);
    }
    close(self->listener);
    free(self);
}

const char *kw_test_door_address(const kw_test_door *self)
{
    return self->address;
}

void kw_test_door_set(kw_test_door *self, kw_test_door_state state)
{
    atomic_store(&self->state, (int)state);
}

void kw_test_door_reset(kw_test_door *self)
{
    atomic_store(&self->resets, true);
}

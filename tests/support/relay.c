/* SPDX-License-Identifier: BSD-3-Clause */
/* The narrow way's thread: passes bytes on, and lets replies come first. */
#include "support/relay.h"

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
#include <sys/socket.h>
#include <unistd.h>

#include "support/check.h"

/* Buffers of many segments: where one does not fit, the system waits for timers. */
enum { BUFFER = 16 * 1024, SEGMENT = 1400, TURN_MS = 20 };

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0
#endif

/* One connection and its way on. */
typedef struct passage {
    struct passage *next;
    kw_test_relay *relay;
    pthread_t thread;
    int client;
    int server;
} passage;

struct kw_test_relay {
    pthread_t thread;
    atomic_bool is_over;
    int listener;
    uint16_t to; /* port */
    char address[32];
    passage *passages; /* the accepting thread's */
};

static int make_socket(void)
{
    int small = BUFFER;
    int segment = SEGMENT;
    int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0) {
        kw_test_die("socket");
    }
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
    setsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &segment, sizeof(segment));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    return fd;
}

static struct sockaddr_in loopback(uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

/* Until fd is ready, the other end is gone, or the relay's end. */
static bool wait_for(const kw_test_relay *relay, int fd, short events)
{
    struct pollfd poller = {fd, events, 0};
    while (!atomic_load(&relay->is_over)) {
        if (poll(&poller, 1, TURN_MS) > 0) {
            return true;
        }
    }
    return false;
}

/* What is there goes to the other side, whole, before anything else is done. */
static bool pass_on(const kw_test_relay *relay, int from, int to)
{
    char bytes[BUFFER];
    ssize_t got = recv(from, bytes, sizeof(bytes), MSG_DONTWAIT);
    ssize_t done = 0;
    while (done < got) {
        if (!wait_for(relay, to, POLLOUT)) {
            return false;
        }
        ssize_t sent = send(to, bytes + done, (size_t)(got - done), MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent <= 0) {
            return false;
        }
        done += sent;
    }
    return got > 0;
}

static void *run_passage(void *arg)
{
    passage *self = arg;
    bool goes_on = true;
    while (goes_on && !atomic_load(&self->relay->is_over)) {
        struct pollfd pollers[] = {{self->server, POLLIN, 0}, {self->client, POLLIN, 0}};
        if (poll(pollers, 2, TURN_MS) <= 0) {
            continue;
        }
        goes_on = pollers[0].revents != 0 ? pass_on(self->relay, self->server, self->client)
                                          : pass_on(self->relay, self->client, self->server);
    }
    close(self->client);
    close(self->server);
    return NULL;
}

static void start_thread(pthread_t *thread, void *(*run)(void *), void *arg)
{
    if (pthread_create(thread, NULL, run, arg) != 0) {
        kw_test_die("no thread");
    }
}

static void add_passage(kw_test_relay *relay, int client)
{
    struct sockaddr_in address = loopback(relay->to);
    passage *self = calloc(1, sizeof(*self));
    if (self == NULL) {
        kw_test_die("no memory");
    }
    self->relay = relay;
    self->client = client;
    self->server = make_socket();
    if (connect(self->server, (struct sockaddr *)&address, sizeof(address)) != 0) {
        kw_test_die("the relay's server is away");
    }
    self->next = relay->passages;
    relay->passages = self;
    start_thread(&self->thread, run_passage, self);
}

static void *run_relay(void *arg)
{
    kw_test_relay *relay = arg;
    while (wait_for(relay, relay->listener, POLLIN)) {
        int client = accept(relay->listener, NULL, NULL);
        if (client >= 0) {
            fcntl(client, F_SETFD, FD_CLOEXEC);
            add_passage(relay, client);
        }
    }
    while (relay->passages != NULL) {
        passage *first = relay->passages;
        relay->passages = first->next;
        kw_test_join(first->thread);
        free(first);
    }
    return NULL;
}

kw_test_relay *kw_test_relay_start(uint16_t port)
{
    kw_test_relay *relay = calloc(1, sizeof(*relay));
    struct sockaddr_in address = loopback(0);
    socklen_t len = sizeof(address);
    if (relay == NULL) {
        kw_test_die("no memory");
    }
    relay->to = port;
    relay->listener = make_socket();
    if (bind(relay->listener, (struct sockaddr *)&address, len) != 0 ||
        listen(relay->listener, 128) != 0 ||
        getsockname(relay->listener, (struct sockaddr *)&address, &len) != 0) {
        kw_test_die("listen");
    }
    snprintf(relay->address, sizeof(relay->address), "127.0.0.1:%u",
             (unsigned)ntohs(address.sin_port));
    start_thread(&relay->thread, run_relay, relay);
    return relay;
}

void kw_test_relay_free(kw_test_relay *relay)
{
    if (relay != NULL) {
        atomic_store(&relay->is_over, true);
        kw_test_join(relay->thread);
        close(relay->listener);
        free(relay);
    }
}

const char *kw_test_relay_address(const kw_test_relay *relay)
{
    return relay->address;
}

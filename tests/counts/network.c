/* SPDX-License-Identifier: BSD-3-Clause */
/* The library's system calls, counted, and the servers behind its sockets. */
#include "counts/network.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/futex.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define SOCKETS_MAX 8192
#define BYTES_MAX   ((size_t)1 << 20)
#define ARGS_MAX    1024
#define SLOTS_N     16384u
#define PORT_FIRST  7001u
#define PORT_KILLED (PORT_FIRST + 2)

/* --wrap=NAME: the library's NAME is __wrap_NAME, and the system's is __real_NAME. */
int __real_close(int fd);
int __real_epoll_ctl(int epoll, int act, int fd, struct epoll_event *event);
int __real_epoll_wait(int epoll, struct epoll_event *events, int events_max, int wait_ms);
int __real_poll(struct pollfd *fds, nfds_t fds_n, int wait_ms);
ssize_t __real_read(int fd, void *data, size_t len);
ssize_t __real_recv(int fd, void *data, size_t len, int flags);
ssize_t __real_recvmsg(int fd, struct msghdr *message, int flags);
ssize_t __real_send(int fd, const void *data, size_t len, int flags);
ssize_t __real_sendmsg(int fd, const struct msghdr *message, int flags);
int __real_setsockopt(int fd, int level, int name, const void *value, socklen_t len);
long __real_syscall(long number, long a, long b, long c, long d, long e, long f);
int __real_sched_yield(void);
ssize_t __real_write(int fd, const void *data, size_t len);
ssize_t __real_writev(int fd, const struct iovec *parts, int parts_n);

int __wrap_close(int fd);
int __wrap_connect(int fd, const struct sockaddr *address, socklen_t len);
int __wrap_epoll_ctl(int epoll, int act, int fd, struct epoll_event *event);
int __wrap_epoll_wait(int epoll, struct epoll_event *events, int events_max, int wait_ms);
int __wrap_poll(struct pollfd *fds, nfds_t fds_n, int wait_ms);
ssize_t __wrap_read(int fd, void *data, size_t len);
ssize_t __wrap_recv(int fd, void *data, size_t len, int flags);
ssize_t __wrap_recvmsg(int fd, struct msghdr *message, int flags);
int __wrap_sched_yield(void);
ssize_t __wrap_send(int fd, const void *data, size_t len, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags);
int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t len);
int __wrap_socket(int family, int type, int protocol);
long __wrap_syscall(long number, long a, long b, long c, long d, long e, long f);
ssize_t __wrap_write(int fd, const void *data, size_t len);
ssize_t __wrap_writev(int fd, const struct iovec *parts, int parts_n);

counts_calls counts_network;
uint64_t counts_network_slept_ns;
counts_servers counts_network_servers = {3, 32, false};

void counts_network_reset(void)
{
    memset(&counts_network, 0, sizeof(counts_network));
}

/* The servers. Requests come whole, since send() takes whatever it is given. */

static int peers[SOCKETS_MAX]; /* the server's end of the library's socket; 0: none */
static unsigned ports[SOCKETS_MAX];
static bool is_killed;
static char requests[BYTES_MAX];

/* What a server has said, and its socket did not take yet. */
typedef struct reply_bytes {
    char *data;
    size_t at;
    size_t len;
    size_t capacity;
} reply_bytes;

static reply_bytes outs[SOCKETS_MAX];
static reply_bytes *out; /* of the socket that is being answered */

static void die(const char *what)
{
    fprintf(stderr, "counts: %s\n", what);
    exit(EXIT_FAILURE);
}

/* Room for len bytes more. */
static char *reserve(size_t len)
{
    if (len > out->capacity - out->len) {
        out->capacity = 2 * (out->len + len);
        out->data = realloc(out->data, out->capacity);
        if (out->data == NULL) {
            die("no memory");
        }
    }
    char *at = out->data + out->len;
    out->len += len;
    return at;
}

static void say(const char *text)
{
    size_t len = strlen(text);
    memcpy(reserve(len), text, len);
}

static void say_map(void)
{
    char text[160];
    unsigned n = counts_network_servers.nodes_n;
    snprintf(text, sizeof(text), "*%u\r\n", n);
    say(text);
    for (unsigned i = 0; i < n; i++) {
        snprintf(text, sizeof(text),
                 "*3\r\n:%u\r\n:%u\r\n*3\r\n$9\r\n127.0.0.1\r\n:%u\r\n$40\r\n%040u\r\n",
                 i * SLOTS_N / n, (i + 1) * SLOTS_N / n - 1, PORT_FIRST + i, PORT_FIRST + i);
        say(text);
    }
}

/* The header of a record (lib/engine/record.h): its version is time 1, writer 1. */
static const char record_head[19] = {'\x93', 1, [10] = 1, [18] = 1};

static void say_values(size_t n, bool is_list)
{
    char text[32];
    size_t len = counts_network_servers.value_len;
    size_t head_len = counts_network_servers.has_copies ? sizeof(record_head) : 0;
    snprintf(text, sizeof(text), "*%zu\r\n", n);
    say(is_list ? text : "");
    snprintf(text, sizeof(text), "$%zu\r\n", head_len + len);
    for (size_t i = 0; i < n; i++) {
        say(text);
        memcpy(reserve(head_len), record_head, head_len);
        memset(reserve(len), 'v', len);
        say("\r\n");
    }
}

static const struct {
    const char *command;
    const char *reply;
} answers[] = {
    {"SET", "+OK\r\n"},
    {"EVALSHA", ":1\r\n"}, /* as the script of copies says of a put */
    {"MULTI", "+OK\r\n"},
    {"INCR", "+QUEUED\r\n"},
    {"EXEC", "*1\r\n:1\r\n"},
    {"CLIENT", "+OK\r\n"},
    {"HELLO",
     "*14\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$5\r\n7.0.0\r\n$5\r\nproto\r\n"
     ":2\r\n$2\r\nid\r\n:1\r\n$4\r\nmode\r\n$7\r\ncluster\r\n$4\r\nrole\r\n$6\r\nmaster\r\n"
     "$7\r\nmodules\r\n*0\r\n"},
    {"PING", "+PONG\r\n"},
    {"ROLE", "*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n"},
    {"UNWATCH", "+OK\r\n"},
    {"DISCARD", "+OK\r\n"},
};

static void answer(size_t argc, char **argv)
{
    if (strcasecmp(argv[0], "GET") == 0) {
        say_values(1, false);
        return;
    }
    if (strcasecmp(argv[0], "MGET") == 0) {
        say_values(argc - 1, true);
        return;
    }
    if (strcasecmp(argv[0], "CLUSTER") == 0 && argc > 1 && strcasecmp(argv[1], "SLOTS") == 0) {
        say_map();
        return;
    }
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        if (strcasecmp(argv[0], answers[i].command) == 0) {
            say(answers[i].reply);
            return;
        }
    }
    say("-ERR unknown command\r\n");
}

/* One request that begins at bytes; where it ends. */
static char *take_request(char *bytes)
{
    char *argv[ARGS_MAX];
    size_t argc = strtoul(bytes + 1, &bytes, 10);
    if (argc == 0 || argc > ARGS_MAX) {
        die("no request");
    }
    bytes += 2;
    for (size_t i = 0; i < argc; i++) {
        size_t len = strtoul(bytes + 1, &bytes, 10);
        argv[i] = bytes + 2;
        bytes = argv[i] + len;
        *bytes = '\0';
        bytes += 2;
    }
    answer(argc, argv);
    return bytes;
}

/* As much as the socket takes of what was said. */
static void send_out(int fd)
{
    while (out->at < out->len) {
        ssize_t len = __real_send(peers[fd], out->data + out->at, out->len - out->at, MSG_DONTWAIT);
        if (len <= 0) {
            return;
        }
        out->at += (size_t)len;
    }
    out->at = 0;
    out->len = 0;
}

/* What the library has sent on the socket is answered, as far as there is room for it; the rest
 * when the library has read. The name is known to counts.sh: the instructions in here are not
 * counted. */
void serve_counts(int fd);

void serve_counts(int fd)
{
    ssize_t len = __real_recv(peers[fd], requests, sizeof(requests) - 1, MSG_DONTWAIT);
    out = &outs[fd];
    if (len > 0) {
        requests[len] = '\0';
    }
    for (char *at = requests; len > 0 && at < requests + len;) {
        at = take_request(at);
    }
    send_out(fd);
}

/* Called by its address, so that no compiler makes it a part of others. */
static void (*volatile serve)(int fd) = serve_counts;

static bool is_internal(int fd)
{
    return fd >= 0 && fd < SOCKETS_MAX && peers[fd] != 0;
}

static ssize_t sent(int fd, ssize_t len)
{
    counts_network.sends++;
    if (is_internal(fd) && len > 0) {
        serve(fd);
    }
    return len;
}

/* Sockets. */

int __wrap_socket(int family, int type, int protocol)
{
    int pair[2];
    (void)family;
    (void)protocol;
    counts_network.others++;
    if (socketpair(AF_UNIX, type, 0, pair) != 0 || pair[0] >= SOCKETS_MAX) {
        die("no socket");
    }
    int room = (int)BYTES_MAX;
    (void)__real_setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
    (void)__real_setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
    peers[pair[0]] = pair[1];
    return pair[0];
}

int __wrap_connect(int fd, const struct sockaddr *address, socklen_t len)
{
    struct sockaddr_in place;
    counts_network.others++;
    if (!is_internal(fd) || len < sizeof(place)) {
        return -1;
    }
    memcpy(&place, address, sizeof(place));
    ports[fd] = ntohs(place.sin_port);
    if (is_killed && ports[fd] == PORT_KILLED) {
        errno = ECONNREFUSED;
        return -1;
    }
    return 0;
}

void counts_network_kill(void)
{
    for (int fd = 0; !is_killed && fd < SOCKETS_MAX; fd++) {
        if (is_internal(fd) && ports[fd] == PORT_KILLED) {
            (void)shutdown(peers[fd], SHUT_RDWR);
        }
    }
    is_killed = true;
}

void counts_network_revive(void)
{
    is_killed = false;
}

int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
    counts_network.others++;
    return level == SOL_SOCKET ? __real_setsockopt(fd, level, name, value, len) : 0;
}

int __wrap_close(int fd)
{
    counts_network.others++;
    if (is_internal(fd)) {
        (void)__real_close(peers[fd]);
        peers[fd] = 0;
        outs[fd].at = 0;
        outs[fd].len = 0;
    }
    return __real_close(fd);
}

ssize_t __wrap_send(int fd, const void *data, size_t len, int flags)
{
    return sent(fd, __real_send(fd, data, len, flags));
}

ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags)
{
    return sent(fd, __real_sendmsg(fd, message, flags));
}

ssize_t __wrap_writev(int fd, const struct iovec *parts, int parts_n)
{
    return sent(fd, __real_writev(fd, parts, parts_n));
}

ssize_t __wrap_recv(int fd, void *data, size_t len, int flags)
{
    counts_network.receives++;
    ssize_t got = __real_recv(fd, data, len, flags);
    if (is_internal(fd) && outs[fd].len > 0) {
        serve(fd);
    }
    return got;
}

ssize_t __wrap_recvmsg(int fd, struct msghdr *message, int flags)
{
    counts_network.receives++;
    return __real_recvmsg(fd, message, flags);
}

/* Waiting. */

int __wrap_poll(struct pollfd *fds, nfds_t fds_n, int wait_ms)
{
    counts_network.polls++;
    int ready_n = __real_poll(fds, fds_n, 0);
    counts_network_slept_ns += ready_n == 0 && wait_ms > 0 ? (uint64_t)wait_ms * 1000000 : 0;
    return ready_n;
}

int __wrap_epoll_wait(int epoll, struct epoll_event *events, int events_max, int wait_ms)
{
    counts_network.polls++;
    return __real_epoll_wait(epoll, events, events_max, wait_ms);
}

int __wrap_epoll_ctl(int epoll, int act, int fd, struct epoll_event *event)
{
    counts_network.others++;
    return __real_epoll_ctl(epoll, act, fd, event);
}

ssize_t __wrap_read(int fd, void *data, size_t len)
{
    counts_network.others++;
    return __real_read(fd, data, len);
}

ssize_t __wrap_write(int fd, const void *data, size_t len)
{
    counts_network.others++;
    return __real_write(fd, data, len);
}

/* futex */
long __wrap_syscall(long number, long a, long b, long c, long d, long e, long f)
{
    const struct timespec *wait = (const struct timespec *)d;
    counts_network.others++;
    if (number == SYS_futex && (b & FUTEX_CMD_MASK) == FUTEX_WAIT && wait != NULL) {
        counts_network_slept_ns += (uint64_t)wait->tv_sec * 1000000000 + (uint64_t)wait->tv_nsec;
        errno = ETIMEDOUT;
        return -1;
    }
    return __real_syscall(number, a, b, c, d, e, f);
}

int __wrap_sched_yield(void)
{
    counts_network.others++;
    return __real_sched_yield();
}

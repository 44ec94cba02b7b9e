/* SPDX-License-Identifier: BSD-3-Clause */
/* A transport that delays, splits, refuses and breaks, over the system's sockets. */
#include "support/strain.h"

#include "base/random.h"

#include <errno.h>
#include <sched.h>
#include <sys/socket.h>
#include <time.h>

/* A poll for room that is not there ends after this. */
#define ROOM_MS 2

static uint64_t draw(kw_test_strain *strain)
{
    kw_random random = {atomic_fetch_add(&strain->random, 0x9e3779b97f4a7c15u)};
    return kw_random_next(&random);
}

unsigned kw_test_strain_below(kw_test_strain *strain, unsigned bound)
{
    return (unsigned)((draw(strain) >> 32) * bound >> 32);
}

static bool happens(kw_test_strain *strain, atomic_uint *permille)
{
    unsigned n = atomic_load(permille);
    return n > 0 && kw_test_strain_below(strain, 1000) < n;
}

/* Mostly another thread comes first; now and then everything else does. */
void kw_test_strain_delay(kw_test_strain *strain)
{
    if (!happens(strain, &strain->delay_permille)) {
        return;
    }
    unsigned kind = kw_test_strain_below(strain, 16);
    if (kind < 8) {
        sched_yield();
        return;
    }
    long us = kind < 15 ? 20 + (long)kw_test_strain_below(strain, 200) : 2000;
    struct timespec span = {0, us * 1000};
    nanosleep(&span, NULL);
}

static void call_hook(kw_test_strain *strain, kw_test_syscall what, bool is_after)
{
    kw_test_strain_fn hook = atomic_load(&strain->hook);
    if (hook != NULL) {
        hook(atomic_load(&strain->hook_arg), what, is_after);
    }
}

static void begin(kw_test_strain *strain, kw_test_syscall what)
{
    atomic_fetch_add(&strain->counts[what], 1);
    call_hook(strain, what, false);
    kw_test_strain_delay(strain);
}

static void end(kw_test_strain *strain, kw_test_syscall what)
{
    kw_test_strain_delay(strain);
    call_hook(strain, what, true);
}

static bool breaks(kw_test_strain *strain)
{
    unsigned long nth = atomic_fetch_add(&strain->calls_n, 1) + 1;
    return nth == atomic_load(&strain->break_at) || happens(strain, &strain->break_permille);
}

static const kw_transport *real(void)
{
    return kw_transport_sockets();
}

static int strain_open(void *arg, const kw_address *address, const kw_options *options)
{
    begin(arg, KW_TEST_OPEN);
    int fd = breaks(arg) ? -ECONNREFUSED : real()->open_fn(NULL, address, options);
    end(arg, KW_TEST_OPEN);
    return fd;
}

static int strain_error(void *arg, int socket)
{
    (void)arg;
    return real()->error_fn(NULL, socket);
}

static int strain_opened(void *arg, int socket, uint64_t wait_ms)
{
    (void)arg;
    return real()->opened_fn(NULL, socket, wait_ms);
}

/* Bytes of the room that are taken, at most len. */
static size_t take_room(kw_test_strain *strain, size_t len)
{
    size_t room = atomic_load(&strain->room);
    size_t taken;
    do {
        if (room == SIZE_MAX) {
            return len;
        }
        taken = len < room ? len : room;
    } while (!atomic_compare_exchange_weak(&strain->room, &room, room - taken));
    return taken;
}

static ssize_t send_strained(kw_test_strain *strain, int socket, const char *data, size_t len)
{
    if (breaks(strain)) {
        size_t part = kw_test_strain_below(strain, (unsigned)len);
        ssize_t sent = part > 0 ? real()->send_fn(NULL, socket, data, part) : 0;
        (void)shutdown(socket, SHUT_RDWR);
        return sent > 0 ? sent : -ECONNRESET;
    }
    if (happens(strain, &strain->full_permille)) {
        return -EAGAIN;
    }
    len = happens(strain, &strain->short_permille) ? 1 : len;
    size_t room = take_room(strain, len);
    return room > 0 ? real()->send_fn(NULL, socket, data, room) : -EAGAIN;
}

static ssize_t strain_send(void *arg, int socket, const char *data, size_t len)
{
    begin(arg, KW_TEST_SEND);
    ssize_t sent = send_strained(arg, socket, data, len);
    end(arg, KW_TEST_SEND);
    return sent;
}

static ssize_t strain_recv(void *arg, int socket, char *data, size_t len, bool waits)
{
    begin(arg, KW_TEST_RECV);
    ssize_t got = -ECONNRESET;
    if (breaks(arg)) {
        (void)shutdown(socket, SHUT_RDWR);
    } else {
        got = real()->recv_fn(NULL, socket, data, len, waits);
    }
    end(arg, KW_TEST_RECV);
    return got;
}

static int strain_poll(void *arg, struct pollfd *sockets, size_t sockets_n, int wait_ms)
{
    kw_test_strain *strain = arg;
    begin(strain, KW_TEST_POLL);
    if (breaks(strain) && sockets_n > 0) {
        (void)shutdown(sockets[0].fd, SHUT_RDWR);
    }
    if (atomic_load(&strain->room) == 0) {
        for (size_t i = 0; i < sockets_n; i++) {
            sockets[i].events &= (short)~POLLOUT;
        }
        wait_ms = wait_ms < ROOM_MS ? wait_ms : ROOM_MS;
    }
    int ready = real()->poll_fn(NULL, sockets, sockets_n, wait_ms);
    end(strain, KW_TEST_POLL);
    return ready;
}

static void strain_shutdown(void *arg, int socket)
{
    begin(arg, KW_TEST_SHUTDOWN);
    real()->shutdown_fn(NULL, socket);
    end(arg, KW_TEST_SHUTDOWN);
}

static void strain_close(void *arg, int socket)
{
    begin(arg, KW_TEST_CLOSE);
    real()->close_fn(NULL, socket);
    end(arg, KW_TEST_CLOSE);
}

void kw_test_strain_init(kw_test_strain *strain, uint64_t seed)
{
    kw_transport transport = {strain,      strain_open, strain_error,    strain_opened, strain_send,
                              strain_recv, strain_poll, strain_shutdown, strain_close};
    strain->transport = transport;
    atomic_init(&strain->hook, NULL);
    atomic_init(&strain->hook_arg, NULL);
    atomic_init(&strain->delay_permille, 0);
    atomic_init(&strain->short_permille, 0);
    atomic_init(&strain->full_permille, 0);
    atomic_init(&strain->break_permille, 0);
    atomic_init(&strain->room, SIZE_MAX);
    atomic_init(&strain->break_at, 0);
    atomic_init(&strain->calls_n, 0);
    for (size_t i = 0; i < KW_TEST_SYSCALLS_N; i++) {
        atomic_init(&strain->counts[i], 0);
    }
    atomic_init(&strain->random, seed);
}

unsigned long kw_test_strain_count(kw_test_strain *strain, kw_test_syscall what)
{
    return atomic_load(&strain->counts[what]);
}

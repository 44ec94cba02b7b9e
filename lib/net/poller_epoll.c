/* SPDX-License-Identifier: BSD-3-Clause */
/* The backend of Linux: an epoll descriptor, and an eventfd to wake it. A Linux that has a kqueue
 * for tests (KW_HAS_KQUEUE) goes without. */
#include "net/poller.h"

#if defined(__linux__) && !defined(KW_HAS_KQUEUE)

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* One epoll_wait tells of at most this many; what it leaves out stays readable. */
#define EVENTS_MAX 64

static int open_epoll(kw_poller *poller)
{
    int status = kw_descriptors_keep(&poller->env->descriptors, &poller->env->mem,
                                     epoll_create1(EPOLL_CLOEXEC));
    if (status < 0) {
        return status;
    }
    poller->fd = status;
    status = kw_descriptors_keep(&poller->env->descriptors, &poller->env->mem,
                                 eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (status < 0) {
        return status;
    }
    poller->wake_fd = status;
    struct epoll_event event;
    memset(&event, 0, sizeof(event));
    event.events = EPOLLIN; /* without a watch */
    return epoll_ctl(poller->fd, EPOLL_CTL_ADD, poller->wake_fd, &event) == 0 ? 0 : -errno;
}

static int set(kw_poller *poller, kw_watch *watch, int socket, short events)
{
    struct epoll_event event;
    memset(&event, 0, sizeof(event));
    event.events |= (events & POLLIN) != 0 ? (uint32_t)EPOLLIN : 0;
    event.events |= (events & POLLOUT) != 0 ? (uint32_t)EPOLLOUT : 0;
    event.data.ptr = watch;
    int act = watch->socket < 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
    return epoll_ctl(poller->fd, act, socket, &event) == 0 ? 0 : -errno;
}

static void remove_watch(kw_poller *poller, kw_watch *watch)
{
    struct epoll_event event;
    memset(&event, 0, sizeof(event));
    (void)epoll_ctl(poller->fd, EPOLL_CTL_DEL, watch->socket, &event);
}

static short poll_words(uint32_t events)
{
    int revents = 0;
    revents |= (events & EPOLLIN) != 0 ? POLLIN : 0;
    revents |= (events & EPOLLOUT) != 0 ? POLLOUT : 0;
    revents |= (events & EPOLLERR) != 0 ? POLLERR : 0;
    revents |= (events & EPOLLHUP) != 0 ? POLLHUP : 0;
    return (short)revents;
}

static int look(kw_poller *poller)
{
    struct epoll_event events[EVENTS_MAX];
    int n = epoll_wait(poller->fd, events, EVENTS_MAX, 0);
    if (n < 0) {
        return errno == EINTR ? 0 : -errno;
    }
    for (int i = 0; i < n; i++) {
        kw_watch *watch = events[i].data.ptr;
        if (watch != NULL) {
            watch->revents = poll_words(events[i].events);
        } else {
            uint64_t count;
            (void)!read(poller->wake_fd, &count, sizeof(count)); /* quiet again */
        }
    }
    return n;
}

static void wake(kw_poller *poller)
{
    uint64_t one = 1;
    (void)!write(poller->wake_fd, &one, sizeof(one)); /* full: it is readable */
}

static const kw_poller_backend backend = {"epoll",      false, open_epoll, set,
                                          remove_watch, look,  wake};

const kw_poller_backend *kw_poller_epoll(void)
{
    return &backend;
}

#else

const kw_poller_backend *kw_poller_epoll(void)
{
    return NULL;
}

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* The backend of BSD and macOS: a kqueue, woken by a user event. */
#include "net/poller.h"

#if defined(__APPLE__) || defined(__FreeBSD__) || defined(__DragonFly__) || defined(KW_HAS_KQUEUE)

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/event.h>
#include <sys/time.h>

/* One kevent tells of at most this many; what it leaves out stays readable. */
#define EVENTS_MAX 64

/* Its only user event. */
#define WAKE_IDENT 1

static int change(kw_poller *poller, int ident, int filter, int flags, kw_watch *watch)
{
    struct kevent event;
    EV_SET(&event, (uintptr_t)ident, (short)filter, (unsigned short)flags, 0, 0, (void *)watch);
    return kevent(poller->fd, &event, 1, NULL, 0, NULL) == 0 ? 0 : -errno;
}

static int open_kqueue(kw_poller *poller)
{
    int status = kw_descriptors_keep(&poller->env->descriptors, &poller->env->mem, kqueue());
    if (status < 0) {
        return status;
    }
    poller->fd = status;
    if (fcntl(poller->fd, F_SETFD, FD_CLOEXEC) != 0) {
        return -errno;
    }
    return change(poller, WAKE_IDENT, EVFILT_USER, EV_ADD | EV_CLEAR, NULL);
}

/* Two filters a socket: reading and writing. */
static int set(kw_poller *poller, kw_watch *watch, int socket, short events)
{
    static const struct {
        short event;
        int filter;
    } rows[] = {{POLLIN, EVFILT_READ}, {POLLOUT, EVFILT_WRITE}};
    short before = watch->socket < 0 ? 0 : watch->events;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        bool was = (before & rows[i].event) != 0;
        bool is = (events & rows[i].event) != 0;
        int status =
            was != is ? change(poller, socket, rows[i].filter, is ? EV_ADD : EV_DELETE, watch) : 0;
        if (status < 0) {
            return status;
        }
    }
    return 0;
}

static void remove_watch(kw_poller *poller, kw_watch *watch)
{
    (void)set(poller, watch, watch->socket, 0);
}

static short poll_words(const struct kevent *event)
{
    int revents = event->filter == EVFILT_WRITE ? POLLOUT : POLLIN;
    if ((event->flags & EV_EOF) != 0) {
        revents |= event->fflags != 0 ? POLLERR : POLLHUP;
    }
    return (short)revents;
}

static int look(kw_poller *poller)
{
    static const struct timespec no_time = {0, 0};
    struct kevent events[EVENTS_MAX];
    int n = kevent(poller->fd, NULL, 0, events, EVENTS_MAX, &no_time);
    if (n < 0) {
        return errno == EINTR ? 0 : -errno;
    }
    for (int i = 0; i < n; i++) {
        kw_watch *watch = (kw_watch *)events[i].udata;
        if (watch != NULL) { /* else the wake, which is over with this */
            watch->revents = (short)(watch->revents | poll_words(&events[i]));
        }
    }
    return n;
}

static void wake(kw_poller *poller)
{
    struct kevent event;
    EV_SET(&event, WAKE_IDENT, EVFILT_USER, 0, NOTE_TRIGGER, 0, NULL);
    (void)kevent(poller->fd, &event, 1, NULL, 0, NULL);
}

static const kw_poller_backend backend = {"kqueue",     false, open_kqueue, set,
                                          remove_watch, look,  wake};

const kw_poller_backend *kw_poller_kqueue(void)
{
    return &backend;
}

#else

const kw_poller_backend *kw_poller_kqueue(void)
{
    return NULL;
}

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* A kqueue made of an epoll descriptor and an eventfd, so that net/poller_kqueue.c is tested on Linux. As on BSD
 * the descriptor is readable while an event is there, each filter of a socket is on its own, to
 * delete one that is not there fails with ENOENT, and a closed socket has no filters any more.
 * Linked with --wrap=close, as closing a kqueue ends it. */
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/event.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define FDS_MAX    65536
#define EVENTS_MAX 64

typedef struct filters {
    bool has_read;
    bool has_write;
    void *read_data;
    void *write_data;
} filters;

typedef struct queue {
    int wake; /* eventfd of its user event */
    filters *fds;
} queue;

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static queue *queues[FDS_MAX];

int __real_close(int fd);
int __wrap_close(int fd);

int kqueue(void)
{
    int fd = epoll_create1(0);
    queue *self = calloc(1, sizeof(*self));
    if (fd < 0 || fd >= FDS_MAX || self == NULL) {
        free(self);
        return -1;
    }
    self->wake = -1;
    self->fds = calloc(FDS_MAX, sizeof(self->fds[0]));
    pthread_mutex_lock(&mutex);
    queues[fd] = self;
    pthread_mutex_unlock(&mutex);
    return fd;
}

int __wrap_close(int fd)
{
    queue *ended = NULL;
    pthread_mutex_lock(&mutex);
    if (fd >= 0 && fd < FDS_MAX) {
        ended = queues[fd];
        queues[fd] = NULL;
        for (int i = 0; ended == NULL && i < FDS_MAX; i++) {
            if (queues[i] != NULL) {
                queues[i]->fds[fd] = (filters){false, false, NULL, NULL};
            }
        }
    }
    pthread_mutex_unlock(&mutex);
    if (ended != NULL) {
        if (ended->wake >= 0) {
            __real_close(ended->wake);
        }
        free(ended->fds);
        free(ended);
    }
    return __real_close(fd);
}

/* Has epoll watch what the filters want. */
static int set(int kq, int fd, const filters *now, bool had_any)
{
    struct epoll_event event = {0, {.fd = fd}};
    event.events = (now->has_read ? EPOLLIN | EPOLLRDHUP : 0u) | (now->has_write ? EPOLLOUT : 0u);
    int how = event.events == 0 ? EPOLL_CTL_DEL : had_any ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    return epoll_ctl(kq, how, fd, &event);
}

static int change_socket(int kq, queue *self, const struct kevent *change)
{
    int fd = (int)change->ident;
    filters now = self->fds[fd];
    bool had_any = now.has_read || now.has_write;
    bool *has = change->filter == EVFILT_READ ? &now.has_read : &now.has_write;
    void **data = change->filter == EVFILT_READ ? &now.read_data : &now.write_data;
    bool is_added = (change->flags & EV_ADD) != 0;
    if (!is_added && !*has) {
        errno = ENOENT;
        return -1;
    }
    *has = is_added;
    *data = change->udata;
    int status = set(kq, fd, &now, had_any);
    if (status == 0) {
        self->fds[fd] = now;
    }
    return status;
}

static int change_user(int kq, queue *self, const struct kevent *change)
{
    if ((change->flags & EV_ADD) != 0 && self->wake < 0) {
        struct epoll_event event = {EPOLLIN, {.fd = -1}};
        self->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        return self->wake >= 0 ? epoll_ctl(kq, EPOLL_CTL_ADD, self->wake, &event) : -1;
    }
    uint64_t one = 1;
    bool is_triggered = (change->fflags & NOTE_TRIGGER) != 0;
    return !is_triggered || write(self->wake, &one, sizeof(one)) == (ssize_t)sizeof(one) ? 0 : -1;
}

/* The events of one socket; how many. */
static int tell_socket(const filters *of, int fd, unsigned found, struct kevent *events)
{
    int n = 0;
    bool is_over = (found & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
    unsigned short flags = is_over ? EV_EOF : 0;
    unsigned error = 0;
    socklen_t error_len = sizeof(error);
    if ((found & EPOLLERR) != 0) {
        getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &error_len);
    }
    if (of->has_read && (found & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) {
        EV_SET(&events[n], (uintptr_t)fd, EVFILT_READ, flags, error, 0, of->read_data);
        n++;
    }
    if (of->has_write && (found & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0) {
        flags = (found & (EPOLLHUP | EPOLLERR)) != 0 ? EV_EOF : 0;
        EV_SET(&events[n], (uintptr_t)fd, EVFILT_WRITE, flags, error, 0, of->write_data);
        n++;
    }
    return n;
}

static int look(int kq, queue *self, struct kevent *events, int events_n)
{
    struct epoll_event found[EVENTS_MAX / 2];
    int room = events_n / 2 < EVENTS_MAX / 2 ? events_n / 2 : EVENTS_MAX / 2;
    int found_n = epoll_wait(kq, found, room, 0);
    int n = found_n < 0 ? -1 : 0;
    for (int i = 0; i < found_n; i++) {
        int fd = found[i].data.fd;
        if (fd < 0) { /* EV_CLEAR: told once */
            uint64_t number;
            (void)!read(self->wake, &number, sizeof(number));
            EV_SET(&events[n], 1, EVFILT_USER, 0, 0, 0, NULL);
            n++;
        } else {
            n += tell_socket(&self->fds[fd], fd, found[i].events, &events[n]);
        }
    }
    return n;
}

int kevent(int kq, const struct kevent *changes, int changes_n, struct kevent *events, int events_n,
           const struct timespec *timeout)
{
    (void)timeout; /* keyway never waits here */
    pthread_mutex_lock(&mutex);
    queue *self = kq >= 0 && kq < FDS_MAX ? queues[kq] : NULL;
    int status = self != NULL ? 0 : -1;
    errno = self != NULL ? errno : EBADF;
    for (int i = 0; status == 0 && i < changes_n; i++) {
        bool is_user = changes[i].filter == EVFILT_USER;
        status = is_user ? change_user(kq, self, &changes[i]) : change_socket(kq, self, &changes[i]);
    }
    if (status == 0 && events_n > 0) {
        status = look(kq, self, events, events_n);
    }
    pthread_mutex_unlock(&mutex);
    return status;
}

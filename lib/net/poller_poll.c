/* SPDX-License-Identifier: BSD-3-Clause */
/* The poller where there is nothing better: poll at each look, and a pipe that tells of wakes. */
#include "net/poller.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

static int set_flags(int fd)
{
    return fcntl(fd, F_SETFD, FD_CLOEXEC) == 0 && fcntl(fd, F_SETFL, O_NONBLOCK) == 0 ? 0 : -errno;
}

static int open_pipe(kw_poller *poller)
{
    int ends[2];
    if (pipe(ends) != 0) {
        return -errno;
    }
    poller->fd = kw_descriptors_keep(&poller->env->descriptors, &poller->env->mem, ends[0]);
    poller->wake_fd = kw_descriptors_keep(&poller->env->descriptors, &poller->env->mem, ends[1]);
    if (poller->fd < 0 || poller->wake_fd < 0) {
        return -ENOMEM;
    }
    int status = set_flags(poller->fd);
    return status == 0 ? set_flags(poller->wake_fd) : status;
}

/* Room for one more, and for the pipe. */
static bool reserve(kw_poller *poller)
{
    if (poller->watches_n < poller->capacity) {
        return true;
    }
    const kw_allocator *mem = &poller->env->mem;
    size_t capacity = poller->capacity > 0 ? 2 * poller->capacity : 8;
    kw_watch **watches = kw_mem_resize(mem, poller->watches, capacity, sizeof(watches[0]));
    if (watches == NULL) {
        return false;
    }
    poller->watches = watches;
    struct pollfd *entries = kw_mem_resize(mem, poller->entries, capacity, sizeof(entries[0]));
    if (entries == NULL) {
        return false;
    }
    poller->entries = entries;
    poller->capacity = capacity;
    return true;
}

static int set(kw_poller *poller, kw_watch *watch, int socket, short events)
{
    if (watch->socket < 0) {
        if (!reserve(poller)) {
            return -ENOMEM;
        }
        watch->place = poller->watches_n;
        poller->watches[watch->place] = watch;
    }
    poller->entries[watch->place].fd = socket;
    poller->entries[watch->place].events = events;
    return 0;
}

/* The last one takes its place. */
static void remove_watch(kw_poller *poller, kw_watch *watch)
{
    size_t last = poller->watches_n - 1;
    poller->watches[watch->place] = poller->watches[last];
    poller->watches[watch->place]->place = watch->place;
    poller->entries[watch->place] = poller->entries[last];
}

static int look(kw_poller *poller)
{
    char bytes[64];
    while (read(poller->fd, bytes, sizeof(bytes)) > 0) {
    }
    size_t n = poller->watches_n;
    for (size_t i = 0; i < n; i++) {
        poller->entries[i].revents = 0;
    }
    int ready = n > 0 ? poll(poller->entries, (nfds_t)n, 0) : 0;
    if (ready < 0) {
        return errno == EINTR ? 0 : -errno;
    }
    for (size_t i = 0; i < n; i++) {
        poller->watches[i]->revents = poller->entries[i].revents;
    }
    return ready;
}

static void wake(kw_poller *poller)
{
    (void)!write(poller->wake_fd, "", 1); /* full: it is readable */
}

static const kw_poller_backend backend = {"poll", true, open_pipe, set, remove_watch, look, wake};

const kw_poller_backend *kw_poller_poll(void)
{
    return &backend;
}

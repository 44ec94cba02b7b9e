/* SPDX-License-Identifier: BSD-3-Clause */
/* Poller: one descriptor that is readable while any of many sockets has something, or after
 * another thread said so. */
#ifndef NET_POLLER_H
#define NET_POLLER_H

#include <keyway/error.h>

#include "net/env.h"

#include <stdbool.h>
#include <stddef.h>

/* One watched socket. It stays where it is while it is watched, and is removed before the
 * socket is closed: a forked child may hold a copy, which keeps a closed one alive. */
typedef struct kw_watch {
    int socket;    /* -1: not watched */
    short events;  /* POLLIN, POLLOUT */
    short revents; /* what kw_poller_look found, in poll's words; its reader clears it */
    size_t place;  /* for the backend */
} kw_watch;

typedef struct kw_poller kw_poller;

/* What one system offers. All but wake_fn are called by one thread at a time; what fails
 * gives the negative errno. */
typedef struct kw_poller_backend {
    const char *name;
    bool needs_calls; /* the descriptor is readable after wakes only: sockets are looked at again
                         and again */
    int (*open_fn)(kw_poller *poller);
    int (*set_fn)(kw_poller *poller, kw_watch *watch, int socket, short events);
    void (*remove_fn)(kw_poller *poller, kw_watch *watch);
    int (*look_fn)(kw_poller *poller);
    void (*wake_fn)(kw_poller *poller);
} kw_poller_backend;

/* The backends: NULL on systems that lack one; poll is everywhere. */
const kw_poller_backend *kw_poller_epoll(void);
const kw_poller_backend *kw_poller_kqueue(void);
const kw_poller_backend *kw_poller_poll(void);

struct kw_poller {
    const kw_poller_backend *backend;
    kw_env *env;
    int fd;      /* what the host watches for reading */
    int wake_fd; /* a write wakes; -1: none of its own */
    kw_watch **watches;
    struct pollfd *entries;
    size_t watches_n; /* sockets that are watched */
    size_t capacity;
};

/* Opens the descriptors: env->poller's, or the best that the system has. Close-on-exec, and
 * closed by a forked child. */
kw_err kw_poller_init(kw_poller *poller, kw_error *error, kw_env *env);

/* has_forked: the descriptors are a copy, shared with the parent, and closed already. */
void kw_poller_fini(kw_poller *poller, bool has_forked);

/* Watches the socket for the events; one that is watched changes. KW_ERR_NOMEM where the
 * system has no room. */
kw_err kw_poller_set(kw_poller *poller, kw_error *error, kw_watch *watch, int socket, short events);

/* Nothing where it is not watched. */
void kw_poller_remove(kw_poller *poller, kw_watch *watch);

/* Writes what every watched socket has into its watch, and forgets the wake; never waits. */
void kw_poller_look(kw_poller *poller);

/* Makes the descriptor readable until the next look. Any thread. */
void kw_poller_wake(kw_poller *poller);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* Logins: user and password for the servers, the one in use and the one before, which change while
 * the handle is used. Sentinels have a login of their own, which is an option. */
#ifndef NET_LOGINS_H
#define NET_LOGINS_H

#include <keyway/config.h>

#include "base/memory.h"
#include "net/sync.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Immutable, and counted; written over when it is freed. */
typedef struct kw_credentials {
    const kw_allocator *mem;
    atomic_size_t refs;
    uint64_t revision; /* 1 is the first that a handle had */
    char *user;        /* NULL: the default one */
    char *password;    /* NULL: no login */
} kw_credentials;

/* What a node has said of the login in use. Any thread. */
typedef struct kw_login_doubt {
    atomic_uint_fast64_t revision; /* that it has refused; 0: none */
    atomic_uint_fast64_t retry_ns; /* when it is tried there again */
    atomic_uint refusals_n;        /* in a row */
    atomic_bool is_news;           /* the host was not told */
} kw_login_doubt;

/* Shared by all connections of a handle. */
typedef struct kw_logins {
    const kw_allocator *mem;
    kw_login_fn ask; /* the host's; NULL: none */
    void *ask_arg;
    uint64_t overlap_ms;           /* life of the login before, once there is a new one */
    atomic_uint_fast64_t revision; /* of the login in use */
    atomic_uint_fast64_t due_ns;   /* when kw_logins_tend has something to do */
    kw_monitor monitor;            /* guards all below; taken behind any other */
    kw_credentials *current;
    kw_credentials *previous; /* NULL: none, or its time is over */
    uint64_t end_ns;          /* of previous */
    uint64_t renew_ns;        /* when the host is asked next; UINT64_MAX: at greetings */
    bool has_news;            /* a node has refused the login in use */
} kw_logins;

/* What the host's callback gives its login to. */
struct kw_login {
    kw_logins *logins;
    uint64_t now_ns;
    bool is_given;
};

/* What is due of logins. */
typedef struct kw_logins_due {
    bool renews; /* the host is to be asked */
    bool tells;  /* the host is to be told which nodes refuse: those whose doubt is news */
} kw_logins_due;

/* The texts are copied; both may be NULL. KW_ERR_NOMEM. */
kw_err kw_logins_init(kw_logins *logins, const kw_allocator *mem, const char *user,
                      const char *password);
void kw_logins_fini(kw_logins *logins);

/* In a forked child: the lock may have been held by a thread that is not there any more. */
kw_err kw_logins_reopen(kw_logins *logins);

/* A login to be used from now on, unless it is in use already. KW_ERR_NOMEM. Any thread. */
kw_err kw_logins_set(kw_logins *logins, const char *user, const char *password, uint64_t now_ns);

/* Asks the host for the login, where it has a callback. False where it had none to give, and that
 * of before goes on. With no lock held. Any thread. */
bool kw_logins_ask(kw_logins *logins, uint64_t now_ns);

/* In that callback: what it gives, and when it is asked again (0: at greetings). KW_ERR_NOMEM. */
kw_err kw_logins_give(kw_login *login, const char *user, const char *password, uint64_t renew_ms);

/* References: to the login in use, and to the one to try now where that of the revision was
 * refused; NULL: there is none. Any thread. */
kw_credentials *kw_logins_current(kw_logins *logins);
kw_credentials *kw_logins_other(kw_logins *logins, uint64_t revision, uint64_t now_ns);
void kw_credentials_unref(kw_credentials *credentials);

static inline uint64_t kw_logins_revision(const kw_logins *logins)
{
    return atomic_load_explicit(&logins->revision, memory_order_relaxed);
}

/* Ends what has had its time, and says what else is due. Any thread. */
kw_logins_due kw_logins_tend(kw_logins *logins, uint64_t now_ns);

static inline bool kw_logins_is_due(const kw_logins *logins, uint64_t now_ns)
{
    return now_ns >= atomic_load_explicit(&logins->due_ns, memory_order_relaxed);
}

/* The node has refused the login of that revision, or taken it. Any thread. */
void kw_logins_on_refused(kw_logins *logins, kw_login_doubt *doubt, uint64_t revision,
                          uint64_t now_ns);
void kw_logins_on_taken(kw_login_doubt *doubt, uint64_t revision);

/* True where the node has refused the login in use, and it is too early to try again. */
bool kw_logins_is_refused(const kw_logins *logins, const kw_login_doubt *doubt, uint64_t now_ns);

#endif

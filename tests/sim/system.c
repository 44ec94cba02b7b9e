/* SPDX-License-Identifier: BSD-3-Clause */
/* Time, threads, chance and names, as the library's system calls find them. */
#include "sim/system.h"

#include "cache/slot_tags.h"

#include <errno.h>
#include <locale.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

int __wrap_clock_gettime(clockid_t clock, struct timespec *now);
int __wrap_nanosleep(const struct timespec *span, struct timespec *rest);
int __wrap_sched_yield(void);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *arg),
                          void *arg);
pthread_t __wrap_pthread_self(void);
int __wrap_getentropy(void *data, size_t len);
int __wrap_getpid(void);
locale_t __wrap_newlocale(int mask, const char *name, locale_t base);
locale_t __wrap_uselocale(locale_t locale);
void __wrap_freelocale(locale_t locale);
void *__wrap_mmap(void *at, size_t len, int access, int flags, int fd, off_t from);
void *__wrap_mmap64(void *at, size_t len, int access, int flags, int fd, off_t from);
void *__real_mmap(void *at, size_t len, int access, int flags, int fd, off_t from);
int __wrap_madvise(void *at, size_t len, int advice);
int __real_madvise(void *at, size_t len, int advice);
int __wrap_munmap(void *at, size_t len);
int __wrap_getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                       struct addrinfo **found);
void __wrap_freeaddrinfo(struct addrinfo *found);
void __wrap_kw_slot_tags_init(kw_slot_tags *tags);
void __real_kw_slot_tags_init(kw_slot_tags *tags);

#define THREADS_MAX 32

static struct {
    int64_t wall_ms;
    sim_name names[SIM_NAMES];
    unsigned names_n;
    struct {
        void *(*fn)(void *arg);
        void *arg;
        bool is_used;
    } threads[THREADS_MAX];
    long lookups_n; /* results that were not freed */
    uint64_t waited_ns;
    bool is_child;
} host;

void sim_system_begin(void)
{
    memset(&host, 0, sizeof(host));
}

void sim_system_end(void)
{
    if (host.lookups_n != 0) {
        sim_fail("%ld answers of getaddrinfo were not freed", host.lookups_n);
    }
}

void sim_wall_step(int64_t ms)
{
    host.wall_ms += ms;
}

int __wrap_clock_gettime(clockid_t clock, struct timespec *now)
{
    uint64_t ns = sim_now();
    if (clock == CLOCK_REALTIME) {
        ns += (uint64_t)((int64_t)SIM_EPOCH_MS + host.wall_ms) * SIM_MS;
    }
    now->tv_sec = (time_t)(ns / SIM_S);
    now->tv_nsec = (long)(ns % SIM_S);
    sim_point();
    return 0;
}

int __wrap_nanosleep(const struct timespec *span, struct timespec *rest)
{
    (void)rest;
    if (sim_self() == SIM_NOBODY) {
        sim_fail("a sleep where nobody else runs");
    }
    if (sim_locks_n() > 0) {
        sim_fail("a thread sleeps with a lock in its hands");
    }
    uint64_t until_ns = sim_now() + (uint64_t)span->tv_sec * SIM_S + (uint64_t)span->tv_nsec;
    while (sim_now() < until_ns) {
        sim_park(until_ns);
    }
    return 0;
}

int __wrap_sched_yield(void)
{
    sim_pass();
    return 0;
}

/* Threads. */

static void run_thread(void *arg)
{
    size_t at = (size_t)(uintptr_t)arg;
    host.threads[at].fn(host.threads[at].arg);
    host.threads[at].is_used = false;
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *arg),
                          void *arg)
{
    (void)attr;
    for (size_t i = 0; i < THREADS_MAX; i++) {
        if (!host.threads[i].is_used) {
            host.threads[i].is_used = true;
            host.threads[i].fn = fn;
            host.threads[i].arg = arg;
            unsigned number = sim_spawn("thread", run_thread, (void *)(uintptr_t)i);
            *thread = (pthread_t)number + 1;
            host.threads[i].is_used = number != SIM_NOBODY;
            return number != SIM_NOBODY ? 0 : EAGAIN;
        }
    }
    return EAGAIN;
}

pthread_t __wrap_pthread_self(void)
{
    return (pthread_t)sim_self() + 1;
}

/* Chance, the process and its language: equal in each run. */

int __wrap_getentropy(void *data, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        ((unsigned char *)data)[i] = (unsigned char)sim_random(256);
    }
    return 0;
}

int __wrap_getpid(void)
{
    return host.is_child ? 4712 : 4711;
}

void sim_system_be_child(void)
{
    host.is_child = true;
}

bool sim_system_is_child(void)
{
    return host.is_child;
}

/* Each thread has its own locale, which the tasks of one thread would share. */
locale_t __wrap_newlocale(int mask, const char *name, locale_t base)
{
    (void)mask;
    (void)name;
    (void)base;
    return LC_GLOBAL_LOCALE;
}

locale_t __wrap_uselocale(locale_t locale)
{
    (void)locale;
    return LC_GLOBAL_LOCALE;
}

void __wrap_freelocale(locale_t locale)
{
    (void)locale;
}

/* Pages that a fork wipes, by which handles know that they are a child's: the system's own, which
 * are kept, as four system calls for each were a tenth of a small life. */

static struct {
    void *free[THREADS_MAX];
    size_t free_n;
} pages;

void *__wrap_mmap(void *at, size_t len, int access, int flags, int fd, off_t from)
{
    if (at != NULL || flags != (MAP_PRIVATE | MAP_ANONYMOUS)) { /* the simulator's */
        return __real_mmap(at, len, access, flags, fd, from);
    }
    if (pages.free_n > 0) {
        return memset(pages.free[--pages.free_n], 0, len);
    }
    void *page = __real_mmap(at, len, access, flags, fd, from);
    if (page != MAP_FAILED && __real_madvise(page, len, MADV_WIPEONFORK) != 0) {
        sim_fail("the system wipes no page");
    }
    return page;
}

void *__wrap_mmap64(void *at, size_t len, int access, int flags, int fd, off_t from)
{
    return __wrap_mmap(at, len, access, flags, fd, from);
}

int __wrap_madvise(void *at, size_t len, int advice)
{
    (void)at;
    (void)len;
    errno = EINVAL;
    return advice == MADV_WIPEONFORK ? 0 : -1;
}

int __wrap_munmap(void *at, size_t len)
{
    if (pages.free_n == THREADS_MAX || len != (size_t)sysconf(_SC_PAGESIZE)) {
        sim_fail("memory that the simulator does not keep is given back");
    }
    pages.free[pages.free_n++] = at;
    return 0;
}

/* They are equal in every life, and took as long as a tiny one. */
void __wrap_kw_slot_tags_init(kw_slot_tags *tags)
{
    static kw_slot_tags known;
    static bool is_known;
    if (!is_known) {
        __real_kw_slot_tags_init(&known);
        is_known = true;
    }
    *tags = known;
}

/* Names. */

sim_name *sim_name_add(const char *name)
{
    sim_name *self = &host.names[host.names_n++ % SIM_NAMES];
    memset(self, 0, sizeof(*self));
    snprintf(self->name, sizeof(self->name), "%s", name);
    return self;
}

void sim_name_set(const char *name, uint32_t ip)
{
    for (unsigned i = 0; i < host.names_n && i < SIM_NAMES; i++) {
        if (strcmp(host.names[i].name, name) == 0) {
            host.names[i].ips[0] = ip;
            host.names[i].ips_n = 1;
        }
    }
}

void sim_names_wait(uint64_t wait_ns)
{
    for (unsigned i = 0; i < host.names_n && i < SIM_NAMES; i++) {
        host.names[i].wait_ns = wait_ns;
    }
}

void sim_names_forget(bool does)
{
    for (unsigned i = 0; i < host.names_n && i < SIM_NAMES; i++) {
        host.names[i].is_unknown = does;
    }
}

uint64_t sim_names_waited_ns(void)
{
    return host.waited_ns;
}

typedef struct answer {
    struct addrinfo info; /* the first member: freed by it */
    struct sockaddr_in address;
} answer;

static struct addrinfo *make_answers(const sim_name *name, uint16_t port)
{
    struct addrinfo *first = NULL;
    for (unsigned i = name->ips_n; i > 0; i--) {
        answer *one = calloc(1, sizeof(*one));
        if (one == NULL) {
            sim_fail("the simulator has no memory");
        }
        one->address.sin_family = AF_INET;
        one->address.sin_port = htons(port);
        one->address.sin_addr.s_addr = htonl(name->ips[i - 1]);
        one->info.ai_family = AF_INET;
        one->info.ai_addrlen = sizeof(one->address);
        one->info.ai_addr = (struct sockaddr *)&one->address;
        one->info.ai_next = first;
        first = &one->info;
        host.lookups_n++;
    }
    return first;
}

int __wrap_getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                       struct addrinfo **found)
{
    (void)hints;
    const sim_name *name = NULL;
    for (unsigned i = 0; i < host.names_n && i < SIM_NAMES; i++) {
        name = strcmp(host.names[i].name, node) == 0 ? &host.names[i] : name;
    }
    if (sim_locks_n() > 0) {
        sim_fail("a name is looked up with a lock held");
    }
    uint64_t begin_ns = sim_now();
    uint64_t until_ns = begin_ns + (name != NULL ? name->wait_ns : SIM_MS);
    host.waited_ns += until_ns - begin_ns; /* also for who asks while it goes on */
    while (sim_now() < until_ns) {
        sim_park(until_ns);
    }
    sim_say("looked up %s", node);
    if (name == NULL || name->is_unknown) {
        return sim_one_in(2) ? EAI_NONAME : EAI_AGAIN;
    }
    *found = make_answers(name, (uint16_t)strtoul(service, NULL, 10));
    return *found != NULL ? 0 : EAI_AGAIN;
}

void __wrap_freeaddrinfo(struct addrinfo *found)
{
    while (found != NULL) {
        struct addrinfo *next = found->ai_next;
        free(found);
        host.lookups_n--;
        found = next;
    }
}

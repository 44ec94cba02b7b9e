/* SPDX-License-Identifier: BSD-3-Clause */
/* Time, memory, descriptors and seeds for tests, and an address that swallows packets. */
#include "support/check.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "support/calm.h"
#include "support/port.h"

#define NS_PER_S  1000000000u
#define NS_PER_MS 1000000u

/* cmocka's, which benchmarks are without. */
__attribute__((weak)) void cmocka_set_test_filter(const char *pattern);

/* KW_TEST_FILTER='*zones*' picks tests of any program. */
__attribute__((constructor)) static void pick_tests(void)
{
    if (cmocka_set_test_filter != NULL && getenv("KW_TEST_FILTER") != NULL) {
        cmocka_set_test_filter(getenv("KW_TEST_FILTER"));
    }
}

/* Guards the counters of every kw_test_memory. */
static pthread_mutex_t memory_lock = PTHREAD_MUTEX_INITIALIZER;

/* Joins under way. */
#define JOINS_MAX 16
typedef struct join_wait {
    atomic_uint_fast64_t end_ms; /* 0: a free place; written last */
    const char *file;
    int line;
} join_wait;
static join_wait joins[JOINS_MAX];

uint64_t kw_test_real_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

uint64_t kw_test_real_ms(void)
{
    return kw_test_real_ns() / NS_PER_MS;
}

uint64_t kw_test_now_ns(void)
{
    return kw_test_calm_is_on() ? kw_test_calm_ns(NULL) : kw_test_real_ns();
}

uint64_t kw_test_now_ms(void)
{
    return kw_test_now_ns() / NS_PER_MS;
}

static void sleep_really(unsigned ms)
{
    struct timespec rest;
    rest.tv_sec = (time_t)(ms / 1000);
    rest.tv_nsec = (long)(ms % 1000) * (long)NS_PER_MS;
    while (nanosleep(&rest, &rest) != 0 && errno == EINTR) {
    }
}

void kw_test_sleep_ms(unsigned ms)
{
    uint64_t until_ns = kw_test_now_ns() + (uint64_t)ms * NS_PER_MS;
    sleep_really(ms);
    for (uint64_t now_ns; kw_test_calm_is_on() && (now_ns = kw_test_now_ns()) < until_ns;) {
        sleep_really((unsigned)((until_ns - now_ns - 1) / NS_PER_MS) + 1);
    }
}

uint64_t kw_test_queued_ns(void)
{
    char text[80] = "";
    unsigned long long queued_ns = 0;
    int fd = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
    bool is_told = fd >= 0 && read(fd, text, sizeof(text) - 1) > 0 &&
                   sscanf(text, "%*s %llu", &queued_ns) == 1;
    if (fd >= 0) {
        close(fd);
    }
    return is_told ? queued_ns : 0;
}

double kw_test_cpu_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

kw_test_wait kw_test_wait_begin(const char *file, int line)
{
    return (kw_test_wait){file, line, kw_test_now_ms() + KW_TEST_PATIENCE_MS};
}

void kw_test_wait_check(const kw_test_wait *wait, const char *what)
{
    if (kw_test_now_ms() > wait->end_ms) {
        kw_test_die("%s:%d: not in time: %s", wait->file, wait->line, what);
    }
}

void kw_test_wait_more(const kw_test_wait *wait, const char *what)
{
    kw_test_wait_check(wait, what);
    kw_test_sleep_ms(1);
}

/* How long threads may still work is a setting of some programs. */
static uint64_t seconds_ms(void)
{
    const char *text = getenv("KW_TEST_SECONDS");
    return text != NULL ? strtoull(text, NULL, 10) * 1000 : 0;
}

/* A place among the joins under way; NULL: all are taken. */
static join_wait *begin_join(const char *file, int line)
{
    for (size_t i = 0; i < JOINS_MAX; i++) {
        uint64_t none = 0;
        if (atomic_compare_exchange_strong(&joins[i].end_ms, &none, UINT64_MAX)) {
            joins[i].file = file;
            joins[i].line = line;
            atomic_store(&joins[i].end_ms,
                         kw_test_now_ms() + 2 * KW_TEST_PATIENCE_MS + seconds_ms());
            return &joins[i];
        }
    }
    return NULL;
}

void *kw_test_join_at(pthread_t thread, const char *file, int line)
{
    void *result = NULL;
    join_wait *wait = begin_join(file, line);
    if (pthread_join(thread, &result) != 0) {
        kw_test_die("%s:%d: no thread to join", file, line);
    }
    if (wait != NULL) {
        atomic_store(&wait->end_ms, 0);
    }
    return result;
}

void kw_test_joins_check(void)
{
    for (size_t i = 0; i < JOINS_MAX; i++) {
        uint64_t end_ms = atomic_load(&joins[i].end_ms);
        if (end_ms != 0 && kw_test_now_ms() > end_ms) {
            kw_test_die("%s:%d: not in time: the end of a thread", joins[i].file, joins[i].line);
        }
    }
}

int kw_test_wait_child_at(pid_t child, const char *file, int line)
{
    int status = -1;
    pid_t ended;
    kw_test_wait wait = kw_test_wait_begin(file, line);
    while ((ended = waitpid(child, &status, WNOHANG)) == 0 || (ended < 0 && errno == EINTR)) {
        if (kw_test_now_ms() > wait.end_ms) {
            kill(child, SIGKILL);
        }
        kw_test_wait_more(&wait, "the end of a child");
    }
    if (ended != child) {
        kw_test_die("%s:%d: no child to wait for", file, line);
    }
    return status;
}

static int entries_count(const char *path)
{
    int count = 0;
    DIR *dir = opendir(path);
    if (dir == NULL) {
        return -1;
    }
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        if (entry->d_name[0] != '.') {
            count++;
        }
    }
    closedir(dir);
    return count;
}

int kw_test_compare_uint64(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

int kw_test_fd_count(void)
{
    int count = entries_count("/proc/self/fd");
    return count < 0 ? -1 : count - 1 - kw_test_calm_fds() - kw_test_port_fds();
}

/* What a socket is connected to, or nothing. */
static void tell_ends(int fd)
{
    struct sockaddr_in own;
    struct sockaddr_in peer;
    socklen_t own_len = sizeof(own);
    socklen_t peer_len = sizeof(peer);
    memset(&own, 0, sizeof(own));
    memset(&peer, 0, sizeof(peer));
    if (getsockname(fd, (struct sockaddr *)&own, &own_len) != 0 || own.sin_family != AF_INET) {
        return;
    }
    (void)getpeername(fd, (struct sockaddr *)&peer, &peer_len);
    fprintf(stderr, ", port %u to %u", ntohs(own.sin_port), ntohs(peer.sin_port));
}

int kw_test_fds_tell(int expected_n)
{
    int n = kw_test_fd_count();
    for (int fd = 0; n != expected_n && fd < 4096; fd++) {
        char name[40];
        char target[200];
        snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
        ssize_t len = readlink(name, target, sizeof(target));
        if (len >= 0) {
            fprintf(stderr, "  descriptor %d: %.*s", fd, (int)len, target);
            tell_ends(fd);
            fputc('\n', stderr);
        }
    }
    return n;
}

int kw_test_thread_count(void)
{
    return entries_count("/proc/self/task");
}

size_t kw_test_rss_bytes(void)
{
    unsigned long total = 0;
    unsigned long resident = 0;
    /* A sanitizer keeps freed blocks for a while. */
    FILE *file = KW_TEST_IS_SANITIZED ? NULL : fopen("/proc/self/statm", "r");
    if (file == NULL) {
        return 0;
    }
    if (fscanf(file, "%lu %lu", &total, &resident) != 2) {
        resident = 0;
    }
    fclose(file);
    return (size_t)resident * (size_t)sysconf(_SC_PAGESIZE);
}

uint64_t kw_test_seed(const char *name)
{
    const char *text = getenv("KW_TEST_SEED");
    uint64_t seed =
        text != NULL ? strtoull(text, NULL, 0) : kw_test_now_ns() ^ ((uint64_t)time(NULL) << 32);
    fprintf(stderr, "%s: KW_TEST_SEED=%llu\n", name, (unsigned long long)seed);
    return seed;
}

_Noreturn void kw_test_die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("test support: ", stderr);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    exit(1);
}

/* Counts a call; false where it is one that fails. */
static bool memory_permit(kw_test_memory *memory)
{
    pthread_mutex_lock(&memory_lock);
    unsigned long call = ++memory->calls;
    bool refused = memory->fail_at != 0 &&
                   (call == memory->fail_at || (memory->fail_on && call > memory->fail_at));
    pthread_mutex_unlock(&memory_lock);
    return !refused;
}

static void memory_live_add(kw_test_memory *memory, long change)
{
    pthread_mutex_lock(&memory_lock);
    memory->live += change;
    pthread_mutex_unlock(&memory_lock);
}

static void *memory_malloc(void *arg, size_t len)
{
    void *block = memory_permit(arg) ? malloc(len) : NULL;
    memory_live_add(arg, block != NULL);
    return block;
}

static void *memory_realloc(void *arg, void *old, size_t len)
{
    void *block = memory_permit(arg) ? realloc(old, len) : NULL;
    memory_live_add(arg, block != NULL && old == NULL);
    return block;
}

static void memory_free(void *arg, void *block)
{
    free(block);
    memory_live_add(arg, -1);
}

void kw_test_memory_init(kw_test_memory *memory, unsigned long fail_at)
{
    memset(memory, 0, sizeof(*memory));
    memory->allocator.size = sizeof(memory->allocator);
    memory->allocator.arg = memory;
    memory->allocator.malloc_fn = memory_malloc;
    memory->allocator.realloc_fn = memory_realloc;
    memory->allocator.free_fn = memory_free;
    memory->fail_at = fail_at;
}

unsigned long kw_test_memory_calls(kw_test_memory *memory)
{
    pthread_mutex_lock(&memory_lock);
    unsigned long calls = memory->calls;
    pthread_mutex_unlock(&memory_lock);
    return calls;
}

long kw_test_memory_live(kw_test_memory *memory)
{
    pthread_mutex_lock(&memory_lock);
    long live = memory->live;
    pthread_mutex_unlock(&memory_lock);
    return live;
}

static int nonblocking_socket(void)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0) {
        kw_test_die("socket");
    }
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

bool kw_test_hole_open(kw_test_hole *hole)
{
    struct sockaddr_in address;
    socklen_t len = sizeof(address);
    size_t fillers_n = sizeof(hole->fillers) / sizeof(hole->fillers[0]);
    struct pollfd last = {-1, POLLOUT, 0};
    memset(&address, 0, sizeof(address));
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_ANY); /* 127.0.0.2 and all the others, too */
    hole->listener = nonblocking_socket();
    if (bind(hole->listener, (const struct sockaddr *)&address, len) != 0 ||
        listen(hole->listener, 0) != 0 ||
        getsockname(hole->listener, (struct sockaddr *)&address, &len) != 0) {
        kw_test_die("listen");
    }
    hole->port = ntohs(address.sin_port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (size_t i = 0; i < fillers_n; i++) {
        hole->fillers[i] = nonblocking_socket();
        if (connect(hole->fillers[i], (const struct sockaddr *)&address, len) != 0 &&
            errno != EINPROGRESS) {
            kw_test_die("connect");
        }
    }
    last.fd = hole->fillers[fillers_n - 1];
    return poll(&last, 1, 50) == 0;
}

void kw_test_hole_close(kw_test_hole *hole)
{
    for (size_t i = 0; i < sizeof(hole->fillers) / sizeof(hole->fillers[0]); i++) {
        close(hole->fillers[i]);
    }
    close(hole->listener);
}

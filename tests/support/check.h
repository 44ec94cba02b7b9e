/* SPDX-License-Identifier: BSD-3-Clause */
/* Small helpers of tests: time, descriptors, memory, seeds, and an address that
 * swallows packets. */
#ifndef SUPPORT_CHECK_H
#define SUPPORT_CHECK_H

#include <keyway/export.h>
#include <keyway/memory.h>

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* 1 in a program that a sanitizer slows down: what walks through many cases walks through fewer,
 * and bounds of time are multiplied by KW_TEST_SLOWNESS. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define KW_TEST_IS_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define KW_TEST_IS_SANITIZED 1
#endif
#endif
#if !defined(KW_TEST_IS_SANITIZED)
#define KW_TEST_IS_SANITIZED 0
#endif
#define KW_TEST_SLOWNESS (KW_TEST_IS_SANITIZED ? 5 : 1)

/* Monotonic time; where it was started, the calm clock (calm.h). */
uint64_t kw_test_now_ns(void);
uint64_t kw_test_now_ms(void);

/* The system's clock, which real servers go by, and which all processes share. */
uint64_t kw_test_real_ms(void);
uint64_t kw_test_real_ns(void);

void kw_test_sleep_ms(unsigned ms);

/* How long this thread has been ready, and waited for a processor; 0 where the system does not
 * tell. The difference of two is what the machine has added to what was done in between. */
uint64_t kw_test_queued_ns(void);

/* Milliseconds of a processor that this thread has used so far. */
double kw_test_cpu_ms(void);

/* Waits until the condition holds, which it must within KW_TEST_PATIENCE_MS: the program ends
 * then, and says where and for what it waited. */
#define KW_TEST_AWAIT(condition)                                                                   \
    for (kw_test_wait wait_ = kw_test_wait_begin(__FILE__, __LINE__); !(condition);                \
         kw_test_wait_more(&wait_, #condition)) {                                                  \
    }

/* KW_TEST_AWAIT with a body, which brings the condition about: nothing else pauses. */
#define KW_TEST_UNTIL(condition)                                                                   \
    for (kw_test_wait wait_ = kw_test_wait_begin(__FILE__, __LINE__); !(condition);                \
         kw_test_wait_check(&wait_, #condition))

enum { KW_TEST_PATIENCE_MS = 60000 * KW_TEST_SLOWNESS };

/* A wait that has an end. check: the end of the program, where it has come; more: that, or a
 * pause. */
typedef struct kw_test_wait {
    const char *file;
    int line;
    uint64_t end_ms;
} kw_test_wait;

kw_test_wait kw_test_wait_begin(const char *file, int line);
void kw_test_wait_check(const kw_test_wait *wait, const char *what);
void kw_test_wait_more(const kw_test_wait *wait, const char *what);

/* pthread_join and waitpid (the status of a child that ended), by KW_TEST_AWAIT's rule. */
#define kw_test_join(thread)      kw_test_join_at(thread, __FILE__, __LINE__)
#define kw_test_wait_child(child) kw_test_wait_child_at(child, __FILE__, __LINE__)
void *kw_test_join_at(pthread_t thread, const char *file, int line);
int kw_test_wait_child_at(pid_t child, const char *file, int line);

/* For who ticks (calm.c): ends the program where a join has no end. */
void kw_test_joins_check(void);

/* For qsort: smaller numbers first. */
int kw_test_compare_uint64(const void *a, const void *b);

/* Open descriptors of this process; those of a folder scan are not counted. -1 where
 * the system does not tell. */
int kw_test_fd_count(void);

/* Their number; where it is not expected_n it is said what each of them is. */
int kw_test_fds_tell(int expected_n);

/* Resident memory of this process in bytes; 0 where the system does not tell, and where
 * a sanitizer makes it mean nothing. */
size_t kw_test_rss_bytes(void);

/* Threads of this process; -1 where the system does not tell. */
int kw_test_thread_count(void);

/* A seed for random tests: $KW_TEST_SEED, else from the clock. Printed on stderr with
 * the name of the test. */
uint64_t kw_test_seed(const char *name);

/* Prints to stderr, and ends the program with status 1. */
_Noreturn void kw_test_die(const char *format, ...) KW_FORMAT(1, 2);

/* An allocator that counts, and that fails one call. Safe for many threads. */
typedef struct kw_test_memory {
    kw_allocator allocator; /* what to give to the library */
    unsigned long fail_at;  /* the nth malloc or realloc fails, from 1; 0: none */
    bool fail_on;           /* and all after it */
    unsigned long calls;    /* malloc and realloc so far */
    long live;              /* blocks not yet freed */
} kw_test_memory;

void kw_test_memory_init(kw_test_memory *memory, unsigned long fail_at);

/* Reads of counters that other threads may change. */
unsigned long kw_test_memory_calls(kw_test_memory *memory);
long kw_test_memory_live(kw_test_memory *memory);

/* A loopback port that swallows connects: its backlog is full. False where the system
 * does not allow it to be made so. */
typedef struct kw_test_hole {
    int listener;
    int fillers[8];
    uint16_t port;
} kw_test_hole;

bool kw_test_hole_open(kw_test_hole *hole);
void kw_test_hole_close(kw_test_hole *hole);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* The ring (placement kw1) against the ways of others: the dispatch of twemproxy's ketama,
 * and libmemcached where it can be had. 16-byte keys that are not repeated, rounds in turn,
 * medians. With --gate a ratio below its goal makes the program fail. */
#include <keyway/ring.h>

#include <dlfcn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "route/ring.h"
#include "support/check.h"

#if defined(__has_include)
#if __has_include(<libmemcached/memcached.h>)
#include <libmemcached/memcached.h>
#define HAS_MEMCACHED 1
#endif
#endif
#if !defined(HAS_MEMCACHED)
#define HAS_MEMCACHED 0
#endif

#define KEY_LEN     16
#define ROUNDS_N    13
#define ROUND_KEYS  32768 /* and as many before them that are not timed */
#define COLD_KEYS   32
#define COLD_ROUNDS 101
#define EVICT_BYTES ((size_t)8 * 1024 * 1024) /* more than a second-level cache */

static char keys[2 * ROUNDS_N * ROUND_KEYS][KEY_LEN];
static unsigned char evict[EVICT_BYTES];

/* One way to find the node of a key. */
typedef struct way {
    uint32_t (*find)(const void *arg, const char *key, size_t key_len);
    const void *arg; /* NULL: not there */
    double warm_ns;
    double cold_ns;
} way;

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, size_t n)
{
    qsort(values, n, sizeof(values[0]), compare);
    return values[n / 2];
}

static void make_keys(void)
{
    uint64_t state = 1;
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        for (size_t k = 0; k < KEY_LEN; k++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            keys[i][k] = (char)('0' + (state >> 40) % 75);
        }
    }
}

/* What nutcracker does for a request: the hash through a pointer, a binary search. */
typedef struct point {
    uint32_t node;
    uint32_t value;
} point;

typedef struct continuum {
    point *points;
    size_t points_n;
    uint32_t (*hash)(const char *key, size_t key_len);
} continuum;

static uint32_t fnv1a_64(const char *key, size_t key_len)
{
    uint32_t hash = 0x84222325u;
    for (size_t i = 0; i < key_len; i++) {
        int byte = (signed char)key[i];
        hash ^= (uint32_t)byte;
        hash *= 0x1b3u; /* the low half of the prime */
    }
    return hash;
}

static uint32_t find_twemproxy(const void *arg, const char *key, size_t key_len)
{
    const continuum *c = arg;
    uint32_t hash = c->hash(key, key_len);
    const point *left = c->points;
    const point *right = c->points + c->points_n;
    while (left < right) {
        const point *middle = left + (right - left) / 2;
        if (middle->value < hash) {
            left = middle + 1;
        } else {
            right = middle;
        }
    }
    return left == c->points + c->points_n ? c->points[0].node : left->node;
}

static uint32_t find_ring(const void *arg, const char *key, size_t key_len)
{
    uint32_t node = 0;
    kw_ring_lookup(arg, &node, key, key_len);
    return node;
}

static kw_ring *ring_make(const char *placement, unsigned nodes_n, const kw_allocator *mem)
{
    kw_error error = KW_ERROR_INIT;
    kw_ring_change *change = kw_ring_change_new(placement, &error, mem);
    for (unsigned i = 0; change != NULL && i < nodes_n; i++) {
        char name[40];
        int len = snprintf(name, sizeof(name), "10.0.%u.%u:6379", i / 256, i % 256);
        kw_ring_change_add(change, &error, name, (size_t)len, 1);
    }
    kw_ring *ring = change != NULL ? kw_ring_change_commit(change, &error) : NULL;
    if (ring == NULL) {
        kw_test_die("%s", error.text);
    }
    kw_ring_change_free(change);
    return ring;
}

/* The points of the library's own ketama, as nutcracker keeps them. */
static continuum continuum_make(unsigned nodes_n)
{
    kw_ring *ring = ring_make("twemproxy", nodes_n, NULL);
    continuum c = {malloc(ring->points_n * sizeof(point)), 0, fnv1a_64};
    if (c.points == NULL) {
        kw_test_die("no memory");
    }
    for (; c.points_n + 1 < ring->points_n; c.points_n++) {
        c.points[c.points_n].node = ring->points[c.points_n] & 0xffff;
        c.points[c.points_n].value = (uint32_t)(ring->points[c.points_n] >> 32);
    }
    for (size_t i = 0; i < 10000; i++) {
        uint32_t node;
        kw_ring_lookup(ring, &node, keys[i], KEY_LEN);
        if (node != find_twemproxy(&c, keys[i], KEY_LEN)) {
            kw_test_die("the two ways of ketama differ");
        }
    }
    kw_ring_unref(ring);
    return c;
}

static double time_keys(const way *w, const char (*some)[KEY_LEN], size_t keys_n)
{
    static volatile uint32_t sink;
    uint32_t sum = 0;
    uint64_t start_ns = kw_test_now_ns();
    for (size_t i = 0; i < keys_n; i++) {
        sum += w->find(w->arg, some[i], KEY_LEN);
    }
    uint64_t spent_ns = kw_test_now_ns() - start_ns;
    sink = sum;
    (void)sink;
    return (double)spent_ns / (double)keys_n;
}

static void evict_caches(void)
{
    for (size_t i = 0; i < EVICT_BYTES; i += 64) {
        evict[i]++;
    }
}

static void measure(way *ways, size_t ways_n)
{
    static double warm[3][ROUNDS_N];
    static double cold[3][COLD_ROUNDS];
    for (size_t round = 0; round < ROUNDS_N; round++) {
        for (size_t i = 0; i < ways_n; i++) {
            time_keys(&ways[i], &keys[(2 * round) * ROUND_KEYS], ROUND_KEYS);
            warm[i][round] = time_keys(&ways[i], &keys[(2 * round + 1) * ROUND_KEYS], ROUND_KEYS);
        }
    }
    for (size_t round = 0; round < COLD_ROUNDS; round++) {
        for (size_t i = 0; i < ways_n; i++) {
            evict_caches();
            cold[i][round] = time_keys(&ways[i], &keys[round * COLD_KEYS], COLD_KEYS);
        }
    }
    for (size_t i = 0; i < ways_n; i++) {
        ways[i].warm_ns = median(warm[i], ROUNDS_N);
        ways[i].cold_ns = median(cold[i], COLD_ROUNDS);
    }
}

static bool judge(const char *what, double ratio, double goal)
{
    bool reached = ratio >= goal;
    printf("  %-44s %7.2fx", what, ratio);
    if (goal > 0) {
        printf("  goal %gx%s", goal, reached ? "" : "  below its goal");
    }
    printf("\n");
    return reached;
}

#if HAS_MEMCACHED

/* The functions of libmemcached, found at run time. */
static struct {
    void *library;
    memcached_st *(*create)(memcached_st *ptr);
    void (*destroy)(memcached_st *ptr);
    memcached_return_t (*set)(memcached_st *ptr, memcached_behavior_t flag, uint64_t data);
    memcached_server_list_st (*append)(memcached_server_list_st ptr, const char *hostname,
                                       in_port_t port, uint32_t weight, memcached_return_t *error);
    memcached_return_t (*push)(memcached_st *ptr, const memcached_server_list_st list);
    void (*free_list)(memcached_server_list_st ptr);
    uint32_t (*hash)(const memcached_st *ptr, const char *key, size_t key_len);
} peer;

/* A function pointer from an object pointer, the way POSIX wants it. */
static bool find_symbol(void *out, const char *name)
{
    void *symbol = dlsym(peer.library, name);
    memcpy(out, &symbol, sizeof(symbol));
    return symbol != NULL;
}

static bool peer_open(void)
{
    peer.library = dlopen("libmemcached.so.11", RTLD_NOW);
    return peer.library != NULL && find_symbol(&peer.create, "memcached_create") &&
           find_symbol(&peer.destroy, "memcached_free") &&
           find_symbol(&peer.set, "memcached_behavior_set") &&
           find_symbol(&peer.append, "memcached_server_list_append_with_weight") &&
           find_symbol(&peer.push, "memcached_server_push") &&
           find_symbol(&peer.free_list, "memcached_server_list_free") &&
           find_symbol(&peer.hash, "memcached_generate_hash");
}

static void *peer_make(unsigned nodes_n)
{
    memcached_st *ptr = peer.create(NULL);
    memcached_server_list_st list = NULL;
    memcached_return_t error;
    peer.set(ptr, MEMCACHED_BEHAVIOR_KETAMA_WEIGHTED, 1);
    for (unsigned i = 0; i < nodes_n; i++) {
        char host[40];
        snprintf(host, sizeof(host), "10.0.%u.%u", i / 256, i % 256);
        list = peer.append(list, host, 6379, 1, &error);
    }
    peer.push(ptr, list);
    peer.free_list(list);
    return ptr;
}

static void peer_free(void *ptr)
{
    peer.destroy(ptr);
}

static uint32_t find_peer(const void *arg, const char *key, size_t key_len)
{
    return peer.hash(arg, key, key_len);
}

#else

static bool peer_open(void)
{
    return false;
}

static void *peer_make(unsigned nodes_n)
{
    (void)nodes_n;
    return NULL;
}

static void peer_free(void *ptr)
{
    (void)ptr;
}

static uint32_t find_peer(const void *arg, const char *key, size_t key_len)
{
    (void)arg;
    (void)key;
    return (uint32_t)key_len;
}

#endif

/* More nodes than this stop a process with libmemcached. */
#define PEER_NODES_MAX 100

static bool bench_lookup(unsigned nodes_n, double goal_twemproxy, double goal_peer, bool has_peer)
{
    kw_ring *ring = ring_make(NULL, nodes_n, NULL);
    continuum c = continuum_make(nodes_n);
    bool with_peer = has_peer && nodes_n <= PEER_NODES_MAX;
    void *memcached = with_peer ? peer_make(nodes_n) : NULL;
    way ways[3] = {
        {find_ring, ring, 0, 0}, {find_twemproxy, &c, 0, 0}, {find_peer, memcached, 0, 0}};
    measure(ways, with_peer ? 3 : 2);
    printf("%u nodes, ns a lookup (warm, cold): keyway %.1f %.1f, twemproxy %.1f %.1f", nodes_n,
           ways[0].warm_ns, ways[0].cold_ns, ways[1].warm_ns, ways[1].cold_ns);
    if (with_peer) {
        printf(", libmemcached %.1f %.1f", ways[2].warm_ns, ways[2].cold_ns);
    }
    printf("\n");
    bool reached =
        judge("lookup against twemproxy", ways[1].warm_ns / ways[0].warm_ns, goal_twemproxy);
    judge("  with cold caches", ways[1].cold_ns / ways[0].cold_ns, 0);
    if (with_peer) {
        reached =
            judge("lookup against libmemcached", ways[2].warm_ns / ways[0].warm_ns, goal_peer) &&
            reached;
        judge("  with cold caches", ways[2].cold_ns / ways[0].cold_ns, 0);
        peer_free(memcached);
    }
    free(c.points);
    kw_ring_unref(ring);
    return reached;
}

static bool bench_build(bool has_peer)
{
    double ours[21];
    double theirs[21];
    double commits[21];
    for (size_t i = 0; i < 21; i++) {
        uint64_t start_ns = kw_test_now_ns();
        kw_ring *ring = ring_make(NULL, 100, NULL);
        uint64_t built_ns = kw_test_now_ns();
        kw_ring_change *change = kw_ring_change_of(ring, NULL);
        kw_ring_change_add(change, NULL, "added:6379", 10, 1);
        kw_ring *next = kw_ring_change_commit(change, NULL);
        kw_ring_change_free(change);
        uint64_t added_ns = kw_test_now_ns();
        void *memcached = has_peer ? peer_make(100) : NULL;
        uint64_t peer_ns = kw_test_now_ns();
        ours[i] = (double)(built_ns - start_ns) / 1e6;
        commits[i] = (double)(added_ns - built_ns) / 1e6;
        theirs[i] = (double)(peer_ns - added_ns) / 1e6;
        kw_ring_unref(ring);
        kw_ring_unref(next);
        if (has_peer) {
            peer_free(memcached);
        }
    }
    double ours_ms = median(ours, 21);
    double commit_ms = median(commits, 21);
    double theirs_ms = median(theirs, 21);
    printf("100 nodes built in %.3f ms, one more added in %.3f ms (goal 0.3)%s\n", ours_ms,
           commit_ms, commit_ms <= 0.3 ? "" : "  above its goal");
    bool reached = commit_ms <= 0.3;
    if (has_peer) {
        printf("libmemcached builds them in %.3f ms\n", theirs_ms);
        reached =
            judge("building 100 nodes against libmemcached", theirs_ms / ours_ms, 10) && reached;
    }
    return reached;
}

/* Bytes in use, with the length of each block before it. */
static void *count_malloc(void *arg, size_t len)
{
    size_t *block = malloc(len + 16);
    if (block == NULL) {
        return NULL;
    }
    *block = len;
    *(size_t *)arg += len;
    return (char *)block + 16;
}

static void count_free(void *arg, void *block)
{
    size_t *head = (size_t *)(void *)((char *)block - 16);
    *(size_t *)arg -= *head;
    free(head);
}

static void *count_realloc(void *arg, void *block, size_t len)
{
    void *moved = count_malloc(arg, len);
    if (moved != NULL && block != NULL) {
        size_t old_len = *(size_t *)(void *)((char *)block - 16);
        memcpy(moved, block, old_len < len ? old_len : len);
        count_free(arg, block);
    }
    return moved;
}

static void show_memory(unsigned nodes_n)
{
    size_t bytes = 0;
    kw_allocator mem = {sizeof(mem), &bytes, count_malloc, count_realloc, count_free};
    kw_ring *ring = ring_make(NULL, nodes_n, &mem);
    printf("%u nodes: %zu bytes a node, %zu KB of them all read by lookups\n", nodes_n,
           bytes / nodes_n, ring->cells_n * sizeof(ring->cells[0]) / 1024);
    kw_ring_unref(ring);
}

int main(int argc, char **argv)
{
    bool gate = argc > 1 && strcmp(argv[1], "--gate") == 0;
    bool has_peer = peer_open();
    bool reached = true;
    make_keys();
    if (!has_peer) {
        printf("no libmemcached (Debian: libmemcached-dev): not compared\n");
    }
    reached = bench_lookup(10, 7, 15, has_peer) && reached;
    reached = bench_lookup(100, 8, 10, has_peer) && reached;
    reached = bench_lookup(1000, 6, 0, has_peer) && reached;
    reached = bench_build(has_peer) && reached;
    show_memory(10);
    show_memory(100);
    show_memory(1000);
    return gate && !reached ? EXIT_FAILURE : EXIT_SUCCESS;
}

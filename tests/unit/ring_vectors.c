/* SPDX-License-Identifier: BSD-3-Clause */
/* Prints where the rings of all placements put some keys: the same bytes on every machine
 * (ring_vectors.sh compares them with ring_vectors.txt). Needs the ring alone. */
#include <keyway/ring.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const placements[] = {
    "kw1",
    "kw1/v7/seed:18446744073709551615/notag",
    "modulo",
    "twemproxy:ketama:one_at_a_time",
    "twemproxy:ketama:one_at_a_time/unsigned",
    "twemproxy:ketama:md5",
    "twemproxy:ketama:crc16",
    "twemproxy:ketama:crc32",
    "twemproxy:ketama:crc32a",
    "twemproxy:ketama:fnv1_64",
    "twemproxy:ketama:fnv1a_64",
    "twemproxy:ketama:fnv1a_64/unsigned/tag:()",
    "twemproxy:ketama:fnv1_32",
    "twemproxy:ketama:fnv1a_32",
    "twemproxy:ketama:murmur",
    "twemproxy:ketama:jenkins",
    "twemproxy:modula:fnv1a_64",
    "go-redis",
    "jedis",
    "jedis:2.9",
    "jedis:unnamed",
};

typedef struct node_row {
    const char *name;
    size_t name_len;
    uint32_t weight;
} node_row;

static const node_row nodes[] = {
    {"127.0.0.1:6379", 14, 1},
    {"127.0.0.1:6380", 14, 2},
    {"\xc3\xa9\x00\xff", 4, 1},
    {"ten", 3, 10},
    {"none", 4, 0},
};

/* Lengths that every hash has another way for, bytes that are negative in some C. */
static const size_t lengths[] = {0,  1,  2,  3,  4,  5,   7,   8,   9,   11,  12,  13,  15,
                                 16, 17, 31, 32, 33, 100, 128, 129, 200, 240, 241, 512, 1025};

static void die(const kw_error *error)
{
    fprintf(stderr, "%s\n", error->text);
    exit(EXIT_FAILURE);
}

static void print_key(const kw_ring *ring, const char *key, size_t key_len)
{
    uint32_t list[2] = {99, 99};
    size_t n = kw_ring_preference(ring, list, 2, key, key_len);
    printf(" %016" PRIx64 ":%u:%u", kw_ring_hash(ring, key, key_len), (unsigned)list[0],
           n > 1 ? (unsigned)list[1] : 0);
}

static void print_ring(const char *placement)
{
    kw_error error = KW_ERROR_INIT;
    kw_ring_change *change = kw_ring_change_new(placement, &error, NULL);
    for (size_t i = 0; change != NULL && i < sizeof(nodes) / sizeof(nodes[0]); i++) {
        if (kw_ring_change_add(change, &error, nodes[i].name, nodes[i].name_len, nodes[i].weight) !=
            KW_OK) {
            die(&error);
        }
    }
    kw_ring *ring = change != NULL ? kw_ring_change_commit(change, &error) : NULL;
    if (ring == NULL) {
        die(&error);
    }
    printf("%s %016" PRIx64 "\n", kw_ring_placement(ring), kw_ring_fingerprint(ring));
    char key[1100];
    for (size_t i = 0; i < sizeof(key); i++) {
        key[i] = (char)(unsigned char)(i * 37 + 1);
    }
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        print_key(ring, key, lengths[i]);
        if (i % 4 == 3) {
            printf("\n");
        }
    }
    print_key(ring, "user:{1000}:a", 13);
    print_key(ring, "b{1000}", 7);
    print_key(ring, "a(b)c", 5);
    print_key(ring, "keyway", 6);
    printf("\n");
    kw_ring_unref(ring);
    kw_ring_change_free(change);
}

int main(void)
{
    for (size_t i = 0; i < sizeof(placements) / sizeof(placements[0]); i++) {
        print_ring(placements[i]);
    }
    return EXIT_SUCCESS;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* A ring without a connection, as a picture: why a node has many points, and what moves
 * when a node comes, with consistent hashing and without.
 *
 *   ./ring_spread
 */
#include <keyway.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEYS = 100000, NODES_MAX = 5, COLUMNS = 50 };

static const char *const names[NODES_MAX] = {"a", "b", "c", "d", "e"};

/* A ring of the first nodes_n names; NULL, with a message, when that fails. */
static kw_ring *make(const char *placement, uint32_t nodes_n)
{
    kw_error error = {0};
    kw_ring *ring = NULL;
    kw_ring_change *change = kw_ring_change_new(placement, &error, NULL);
    kw_err err = change != NULL ? KW_OK : error.code;
    for (uint32_t i = 0; err == KW_OK && i < nodes_n; i++) {
        err = kw_ring_change_add(change, &error, names[i], strlen(names[i]), 1);
    }
    if (err != KW_OK || (ring = kw_ring_change_commit(change, &error)) == NULL) {
        fprintf(stderr, "%s\n", error.text);
    }
    kw_ring_change_free(change);
    return ring;
}

static void bar(const char *label, double share)
{
    printf("  %-18s %5.1f %%  %.*s\n", label, 100 * share, (int)(COLUMNS * share + 0.5),
           "##################################################");
}

/* Where the keys are. */
static bool spread(const char *placement)
{
    unsigned counts[NODES_MAX] = {0};
    kw_ring *ring = make(placement, NODES_MAX);
    bool ok = ring != NULL;
    for (int i = 0; ok && i < KEYS; i++) {
        char key[16];
        uint32_t node = 0;
        int len = snprintf(key, sizeof(key), "user:%d", i);
        ok = kw_ring_lookup(ring, &node, key, (size_t)len) == KW_OK;
        counts[node]++;
    }
    printf("%s: %d keys on %d nodes\n", ok ? kw_ring_placement(ring) : placement, KEYS, NODES_MAX);
    for (uint32_t node = 0; ok && node < NODES_MAX; node++) {
        bar(kw_ring_node_name(ring, NULL, node), (double)counts[node] / KEYS);
    }
    kw_ring_unref(ring);
    return ok;
}

/* What would move if d came to a, b, c. */
static bool what_if(const char *placement)
{
    double moved = 0;
    kw_ring *three = make(placement, 3);
    kw_ring *four = make(placement, 4);
    bool ok = three != NULL && four != NULL && kw_ring_moved(three, NULL, &moved, four) == KW_OK;
    bar(placement, moved);
    kw_ring_unref(three);
    kw_ring_unref(four);
    return ok;
}

int main(void)
{
    bool ok = spread("kw1/v1") && spread("kw1/v10") && spread("kw1/v150") && spread("kw1/v512");
    printf("whatif add d to a, b, c: keys that move\n");
    ok = ok && what_if("kw1") && what_if("modulo") && what_if("go-redis");
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}

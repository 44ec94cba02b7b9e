/* SPDX-License-Identifier: BSD-3-Clause */
/* Ketama's points and weights, counted and placed exactly as twemproxy does. */
#include "route/ketama.h"

#include <string.h>

#include "route/hash_md5.h"

/* Points of a server of average weight, and how many one digest gives. */
#define POINTS_A_SERVER 160
#define POINTS_A_DIGEST 4

/* A port that libmemcached leaves out of the hashed text. */
#define PORT_LEFT_OUT 11211

/* Each step is rounded to single precision, in this order: other arithmetic gives other
 * counts. The volatiles keep a compiler from more precision. */
static uint64_t count_one(uint32_t weight, uint64_t weights_sum, size_t nodes_n)
{
    volatile float share = (float)weight / (float)weights_sum;
    volatile float points = share * (float)POINTS_A_SERVER;
    points = points / (float)POINTS_A_DIGEST;
    points = points * (float)nodes_n;
    return (uint64_t)points * POINTS_A_DIGEST;
}

uint64_t kw_ketama_count(kw_ring *ring)
{
    uint64_t weights_sum = 0;
    uint64_t sum = 0;
    for (size_t i = 0; i < ring->nodes_n; i++) {
        weights_sum += ring->nodes[i].weight;
    }
    for (size_t i = 0; weights_sum > 0 && i < ring->nodes_n; i++) {
        sum += count_one(ring->nodes[i].weight, weights_sum, ring->nodes_n);
    }
    for (size_t i = 0; sum > 0 && sum <= KW_RING_POINTS_MAX && i < ring->nodes_n; i++) {
        ring->nodes[i].points_n =
            (uint32_t)count_one(ring->nodes[i].weight, weights_sum, ring->nodes_n);
    }
    return sum;
}

void kw_ketama_points(uint64_t *out, const kw_ring *ring)
{
    char text[KW_RING_NAME_MAX + 1 + 20];
    for (size_t i = 0; i < ring->nodes_n; i++) {
        const kw_ring_node *node = &ring->nodes[i];
        memcpy(text, node->name, node->name_len);
        text[node->name_len] = '-';
        for (uint32_t k = 0; k < node->points_n / POINTS_A_DIGEST; k++) {
            uint32_t digest[4];
            size_t len = node->name_len + 1u;
            len += kw_uint_to_text(text + len, k);
            kw_md5(digest, text, len);
            for (size_t word = 0; word < POINTS_A_DIGEST; word++) {
                *out++ = (uint64_t)digest[word] << 32 | i;
            }
        }
    }
}

bool kw_ketama_server(char *name, size_t *name_len, uint32_t *weight, size_t name_max,
                      kw_bytes line)
{
    kw_bytes address = line;
    kw_bytes given = {NULL, 0};
    kw_bytes endpoint;
    kw_bytes digits;
    uint64_t number;
    if (kw_bytes_split(&address, &given, line, ' ') && given.len == 0) {
        return false;
    }
    if (!kw_bytes_split_last(&endpoint, &digits, address, ':') || endpoint.len == 0 ||
        !kw_bytes_to_uint(&number, digits, INT32_MAX)) {
        return false;
    }
    kw_bytes text = endpoint;
    bool is_path = endpoint.data[0] == '/';
    if (!is_path) {
        kw_bytes host;
        kw_bytes port_text;
        uint64_t port;
        if (!kw_bytes_split_last(&host, &port_text, endpoint, ':') || host.len == 0 ||
            !kw_bytes_to_uint(&port, port_text, UINT16_MAX) || port == 0) {
            return false;
        }
        text = port == PORT_LEFT_OUT ? host : endpoint;
    }
    size_t colon_len = is_path ? 1 : 0; /* the colon before the weight, by a quirk */
    kw_bytes hashed = given.len > 0 ? given : (kw_bytes){text.data, text.len + colon_len};
    if (hashed.len > name_max) {
        return false;
    }
    memcpy(name, hashed.data, hashed.len);
    *name_len = hashed.len;
    *weight = (uint32_t)number;
    return true;
}

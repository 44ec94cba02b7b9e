/* SPDX-License-Identifier: BSD-3-Clause */
/* Three fakes, which are a cluster or servers of their own. A test makes them as new before it
 * begins: renew_fakes or renew_servers. */
#ifndef FAKE_FAKES_H
#define FAKE_FAKES_H

#include "fake/fixture.h"

/* In a cluster "foo" is in a slot of the second fake, "bar" in one of the first. The third has no
 * slots, and is no node until a test says so. */
#define FAKES_N  3
#define FOO_SLOT 12182u
#define BAR_SLOT 5061u

static kw_fake *fakes[FAKES_N];

static inline int start_fakes(void **state)
{
    (void)state;
    kw_fake_start_all(fakes, FAKES_N);
    return 0;
}

static inline int stop_fakes(void **state)
{
    (void)state;
    kw_fake_free_all(fakes, FAKES_N);
    return 0;
}

/* A cluster of the first two. */
static inline void renew_fakes(void)
{
    kw_fake_halves(fakes, FAKES_N);
}

/* Servers of their own. */
static inline void renew_servers(void)
{
    kw_fake_renew_all(fakes, FAKES_N);
    for (size_t i = 0; i < FAKES_N; i++) {
        kw_fake_set_map(fakes[i], NULL, NULL);
    }
}

/* All slots belong to one. */
static inline void own_all(kw_fake *owner)
{
    const kw_fake_range all[] = {{0, 16383, owner, NULL}};
    kw_fake_set_cluster(fakes, FAKES_N, all, 1);
}

/* Each answers INCR with its number, from here on. */
static inline void answer_numbers(void)
{
    for (size_t i = 0; i < FAKES_N; i++) {
        kw_fake_on_reply(fakes[i], KW_FAKE_ALWAYS, "INCR *", ":%zu", i);
    }
}

/* A handle that knows the first fake, with these options. */
static inline kw_client *open_cluster(const char *options)
{
    return kw_test_open("redis-cluster://%s?%s", kw_fake_address(fakes[0]), options);
}

/* Fetches the map; no node is connected to for it. */
static inline void need_map(kw_client *kw)
{
    char node[100];
    assert_int_equal(kw_client_slot_node(kw, NULL, node, sizeof(node), 0), KW_OK);
}

/* A handle that has the map. */
static inline kw_client *open_connected(const char *options)
{
    kw_client *kw = open_cluster(options);
    need_map(kw);
    return kw;
}

/* Commands that the fakes got. */
static inline size_t received(const char *pattern)
{
    size_t n = 0;
    for (size_t i = 0; i < FAKES_N; i++) {
        n += kw_fake_count(fakes[i], pattern);
    }
    return n;
}

static inline size_t maps_asked(void)
{
    return received("CLUSTER S*");
}

/* One range of CLUSTER SLOTS, with the id that the fake says itself. */
static inline size_t write_range(char *text, size_t len, unsigned first, unsigned last, size_t at)
{
    return (size_t)snprintf(text, len,
                            "*3\r\n:%u\r\n:%u\r\n*3\r\n$9\r\n127.0.0.1\r\n:%u\r\n$40\r\n%040u"
                            "\r\n",
                            first, last, kw_fake_port(fakes[at]), kw_fake_id(fakes[at]));
}

/* From now on the third fake has the upper half, with "foo", and the first one the lower: both tell
 * it, the first one after a while. */
static inline void move_upper_half(unsigned delay_ms)
{
    char map[400];
    size_t len = (size_t)snprintf(map, sizeof(map), "*2\r\n");
    len += write_range(map + len, sizeof(map) - len, 0, 8000, 0);
    len += write_range(map + len, sizeof(map) - len, 8001, 16383, 2);
    kw_fake_on(fakes[0], KW_FAKE_ALWAYS, "CLUSTER SLOTS",
               KW_FAKE_STEPS(KW_FAKE_DELAY(delay_ms), KW_FAKE_BYTES(map, len)));
    kw_fake_on(fakes[2], KW_FAKE_ALWAYS, "CLUSTER SLOTS", KW_FAKE_STEPS(KW_FAKE_BYTES(map, len)));
}

#endif

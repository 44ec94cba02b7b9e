/* SPDX-License-Identifier: BSD-3-Clause */
/* A ring of a plain server and a Sentinel group, all of them fakes. */
#ifndef FAKE_GROUP_FAKES_H
#define FAKE_GROUP_FAKES_H

#include "fake/fixture.h"

enum { SENTINELS = 2, SERVERS = 3 };

static kw_fake *sentinels[SENTINELS];
static kw_fake *servers[SERVERS]; /* a member of its own, the group's primary, another one */

#define PLAIN   servers[0]
#define PRIMARY servers[1]
#define OTHER   servers[2]

static inline int set_up(void **state)
{
    (void)state;
    kw_fake_start_all(sentinels, SENTINELS);
    kw_fake_start_all(servers, SERVERS);
    return 0;
}

static inline int tear_down(void **state)
{
    (void)state;
    kw_fake_free_all(sentinels, SENTINELS);
    kw_fake_free_all(servers, SERVERS);
    return 0;
}

/* What the sentinel answers from now on. */
static inline void name(kw_fake *sentinel, kw_fake *primary)
{
    kw_fake_reset(sentinel);
    kw_fake_on_reply(sentinel, KW_FAKE_ALWAYS, "SENTINEL GET-MASTER-ADDR-BY-NAME group",
                     "*2\r\n$9\r\n127.0.0.1\r\n$5\r\n%05u", (unsigned)kw_fake_port(primary));
    kw_fake_on_reply(sentinel, KW_FAKE_ALWAYS, "SENTINEL REPLICAS group", "*0");
    kw_fake_on_reply(sentinel, KW_FAKE_ALWAYS, "SENTINEL SENTINELS group", "*0");
}

static inline void be_replica(kw_fake *server)
{
    kw_fake_on_reply(server, KW_FAKE_ALWAYS, "ROLE",
                     "*5\r\n$5\r\nslave\r\n$9\r\n127.0.0.1\r\n:1\r\n$9\r\nconnected\r\n:7");
}

/* Everybody is up, and the group's primary is PRIMARY. */
static inline void reset_fakes(void)
{
    for (size_t i = 0; i < SERVERS; i++) {
        kw_fake_up(servers[i]);
        kw_fake_reset(servers[i]);
        kw_fake_log_clear(servers[i]);
        kw_fake_on_reply(servers[i], KW_FAKE_ALWAYS, "INCR *", ":%zu", i);
        kw_fake_on_reply(servers[i], KW_FAKE_ALWAYS, "GET *", ":%zu", i);
    }
    for (size_t i = 0; i < SENTINELS; i++) {
        kw_fake_up(sentinels[i]);
        kw_fake_log_clear(sentinels[i]);
        name(sentinels[i], PRIMARY);
    }
}

/* "redis-ring://a=plain,b=sentinels;service=group". */
static inline char *uri_of(char *uri, size_t uri_len, const char *options)
{
    snprintf(uri, uri_len, "redis-ring://a=%s,b=%s;sentinel=%s;service=group?%s",
             kw_fake_address(PLAIN), kw_fake_address(sentinels[0]), kw_fake_address(sentinels[1]),
             options);
    return uri;
}

static inline kw_client *open_ring(const char *options)
{
    char uri[400];
    return kw_test_open("%s", uri_of(uri, sizeof(uri), options));
}

/* A key of that member. */
static inline const char *key_of(kw_client *kw, char member)
{
    static char keys[2][32];
    static unsigned next;
    char *key = keys[next++ % 2];
    kw_ring *ring = kw_client_ring(kw, NULL);
    uint32_t node;
    size_t len;
    int i = 0;
    do {
        snprintf(key, sizeof(keys[0]), "key:%d", i++);
        assert_int_equal(kw_ring_lookup(ring, &node, key, strlen(key)), KW_OK);
    } while (kw_ring_node_name(ring, &len, node)[0] != member);
    kw_ring_unref(ring);
    return key;
}

static inline void expect(kw_client *kw, const char *command, char member, long long number)
{
    kw_error error = KW_ERROR_INIT;
    const char *argv[] = {command, key_of(kw, member)};
    kw_reply *reply = kw_call(kw, &error, NULL, (kw_argv){2, argv, NULL});
    if (reply == NULL || kw_reply_is_error(reply) || kw_reply_int(reply) != number) {
        fail_msg("%s: %s %s", command, error.text, reply != NULL ? kw_reply_str(reply, NULL) : "");
    }
    kw_reply_free(reply);
}

#endif

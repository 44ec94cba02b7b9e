/* SPDX-License-Identifier: BSD-3-Clause */
/* Scripted sentinels and servers, and short ways to say what they answer. */
#ifndef FAKE_SENTINEL_FAKES_H
#define FAKE_SENTINEL_FAKES_H

#include "fake/fixture.h"

enum { SENTINELS = 3, SERVERS = 2 };

static kw_fake *sentinels[SENTINELS];
static kw_fake *servers[SERVERS];

#define PRIMARY servers[0]
#define OTHER   servers[1]

static int set_up(void **state)
{
    (void)state;
    kw_fake_start_all(sentinels, SENTINELS);
    kw_fake_start_all(servers, SERVERS);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    kw_fake_free_all(sentinels, SENTINELS);
    kw_fake_free_all(servers, SERVERS);
    return 0;
}

#define ENTRY                                                                                      \
    "*6\r\n$2\r\nip\r\n$9\r\n127.0.0.1\r\n$4\r\nport\r\n$5\r\n%05u\r\n$5\r\nflags\r\n$%zu\r\n%s"

/* What the sentinel answers from now on: primary, one replica, one other sentinel; NULL: no
 * such. */
static void name(kw_fake *sentinel, kw_fake *primary, kw_fake *replica, const char *flags,
                 kw_fake *peer)
{
    kw_fake_reset(sentinel);
    kw_fake_on_reply(sentinel, KW_FAKE_ALWAYS, "SENTINEL GET-MASTER-ADDR-BY-NAME group",
                     "*2\r\n$9\r\n127.0.0.1\r\n$5\r\n%05u", (unsigned)kw_fake_port(primary));
    if (replica != NULL) {
        kw_fake_on_reply(sentinel, KW_FAKE_ALWAYS, "SENTINEL REPLICAS group", "*1\r\n" ENTRY,
                         (unsigned)kw_fake_port(replica), strlen(flags), flags);
    } else {
        kw_fake_on_reply(sentinel, KW_FAKE_ALWAYS, "SENTINEL REPLICAS group", "*0");
    }
    if (peer != NULL) {
        kw_fake_on_reply(sentinel, KW_FAKE_ALWAYS, "SENTINEL SENTINELS group", "*1\r\n" ENTRY,
                         (unsigned)kw_fake_port(peer), (size_t)8, "sentinel");
    } else {
        kw_fake_on_reply(sentinel, KW_FAKE_ALWAYS, "SENTINEL SENTINELS group", "*0");
    }
}

static void be_replica(kw_fake *server, const char *link)
{
    kw_fake_on_reply(server, KW_FAKE_ALWAYS, "ROLE",
                     "*5\r\n$5\r\nslave\r\n$9\r\n127.0.0.1\r\n:1\r\n$%zu\r\n%s\r\n:7", strlen(link),
                     link);
}

static void answer_numbers(void)
{
    for (size_t i = 0; i < SERVERS; i++) {
        kw_fake_on_reply(servers[i], KW_FAKE_ALWAYS, "INCR *", ":%zu", i);
        kw_fake_on_reply(servers[i], KW_FAKE_ALWAYS, "GET *", ":%zu", i);
    }
}

/* Everybody is up and names the first server. */
static void reset_fakes(void)
{
    kw_fake_renew_all(servers, SERVERS);
    for (size_t i = 0; i < SENTINELS; i++) {
        kw_fake_up(sentinels[i]);
        kw_fake_log_clear(sentinels[i]);
        name(sentinels[i], PRIMARY, NULL, "", NULL);
    }
    answer_numbers();
}

/* A handle that is told of the first n sentinels. */
static kw_client *open_n(size_t n, const char *options)
{
    char list[200] = "";
    for (size_t i = 0; i < n; i++) {
        strcat(list, i > 0 ? "," : "");
        strcat(list, kw_fake_address(sentinels[i]));
    }
    return kw_test_open("redis-sentinel://%s/group?%s", list, options);
}

static inline kw_error expect_failure(kw_client *kw, const char *command, kw_err code)
{
    kw_error error = KW_ERROR_INIT;
    kw_reply *reply = kw_command(kw, &error, command);
    if (reply != NULL || error.code != code || error.effect != KW_EFFECT_NONE) {
        fail_msg("%s: %s, %s: %s", command, kw_err_name(error.code), kw_effect_name(error.effect),
                 error.text);
    }
    return error;
}

#endif

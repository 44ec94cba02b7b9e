/* SPDX-License-Identifier: BSD-3-Clause */
/* Changes of a ring of three servers, of which a fourth may become a member. */
#ifndef LIVE_RING_CHANGE_H
#define LIVE_RING_CHANGE_H

#include <keyway/members.h>

#define RING_SERVERS 4
#include "live/ring_servers.h"

/* A handle on the first three servers; the fourth is "d". */
static inline kw_client *open_three(const ring_servers *servers, const char *tail)
{
    char uri[1000];
    return kw_test_open("%s", ring_uri(uri, sizeof(uri), servers, 3, tail));
}

static inline kw_members *begin(kw_client *client)
{
    kw_error error = KW_ERROR_INIT;
    kw_members *members = kw_members_begin(client, &error);
    if (members == NULL) {
        kw_test_die("%s", error.text);
    }
    return members;
}

static inline void add_d(kw_members *members, const ring_servers *servers)
{
    char text[200];
    kw_error error = KW_ERROR_INIT;
    snprintf(text, sizeof(text), "d=%s", kw_test_server_address(servers->servers[3]));
    if (kw_members_add(members, &error, text) != KW_OK) {
        kw_test_die("%s", error.text);
    }
}

static inline void commit(kw_members *members)
{
    kw_error error = KW_ERROR_INIT;
    if (kw_members_commit(members, &error) != KW_OK) {
        kw_test_die("%s", error.text);
    }
}

#endif

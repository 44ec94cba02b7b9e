/* SPDX-License-Identifier: BSD-3-Clause */
/* Cache-aside with a TTL: a value comes from the cache, else from where it is slow to get, and is
 * then left in the cache for a minute. The cache is in front of something that works without it, so
 * its calls have little time, and a server that is down is an error at once (on-node-down=fail).
 *
 *   cc cache_aside.c $(pkg-config --cflags --libs keyway) -o cache_aside
 *   ./cache_aside redis-cluster://127.0.0.1:7000
 */
#include <keyway.h>

#include <stdio.h>
#include <stdlib.h>

enum { USERS = 5, ROOM = 100 };

/* What the cache is in front of. */
static void load_user(char *value, int id)
{
    snprintf(value, ROOM, "user %d, as the database has it", id);
}

/* The user, and where it came from. */
static const char *get_user(kw_client *kw, char *value, int id)
{
    kw_error error = {0};
    kw_reply *reply = kw_command(kw, &error, "GET aside:user:%d", id);
    kw_outcome outcome = kw_reply_outcome(reply, &error);
    snprintf(value, ROOM, "%s", kw_reply_text(reply, ""));
    kw_reply_free(reply);
    if (outcome == KW_OUTCOME_VALUE) {
        return "cache";
    }
    load_user(value, id);
    if (outcome == KW_OUTCOME_ERROR) {
        fprintf(stderr, "%s\n", error.text); /* and life goes on */
        return "database, without the cache";
    }
    kw_reply_free(kw_command(kw, &error, "SET aside:user:%d %s EX 60", id, value));
    return "database";
}

int main(int argc, char **argv)
{
    kw_error error = {0};
    kw_config *config = kw_config_new(NULL);
    const char *server = argc > 1 ? argv[1] : "redis-cluster://127.0.0.1:7000";
    bool ok = config != NULL && kw_config_set(config, &error, "server", server) == KW_OK &&
              kw_config_set(config, &error, "timeout", "250ms") == KW_OK;
    kw_client *kw = ok ? kw_open_config(config, &error) : NULL;
    kw_config_free(config);
    if (kw == NULL) {
        fprintf(stderr, "%s\n", error.text);
        return EXIT_FAILURE;
    }
    for (int i = 0; i < 2 * USERS; i++) {
        char value[ROOM];
        const char *from = get_user(kw, value, i % USERS);
        printf("%s: %s\n", value, from);
    }
    kw_close(kw);
    return EXIT_SUCCESS;
}

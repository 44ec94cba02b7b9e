/* SPDX-License-Identifier: BSD-3-Clause */
/* MGET of fifty users who live all over the cluster: one call, split by slot, sent to all nodes at
 * once, and joined in the order of the keys.
 *
 *   cc mget_users.c $(pkg-config --cflags --libs keyway) -o mget_users
 *   ./mget_users redis-cluster://127.0.0.1:7000
 */
#include <keyway.h>

#include <stdio.h>
#include <stdlib.h>

enum { USERS = 50, ROOM = 32 };

int main(int argc, char **argv)
{
    kw_error error = {0};
    kw_client *kw = kw_open(argc > 1 ? argv[1] : "redis-cluster://127.0.0.1:7000", &error);
    char keys[USERS][ROOM];
    const char *command[1 + USERS] = {"MGET"};
    for (int i = 0; i < USERS; i++) {
        snprintf(keys[i], ROOM, "mget:user:%d", i);
        command[1 + i] = keys[i];
        if (kw != NULL && i % 10 == 0) { /* five of them are there */
            kw_reply_free(kw_command(kw, &error, "SET %s name%d", keys[i], i));
        }
    }
    kw_reply *users =
        kw != NULL ? kw_call(kw, &error, NULL, (kw_argv){1 + USERS, command, NULL}) : NULL;
    bool ok = kw_reply_outcome(users, &error) == KW_OUTCOME_VALUE;
    if (!ok) {
        fprintf(stderr, "%s\n", error.text);
    }
    for (size_t i = 0; i < kw_reply_count(users); i++) {
        printf("%s%s", kw_reply_text(kw_reply_at(users, i), "-"), i % 10 == 9 ? "\n" : " ");
    }
    kw_reply_free(users);
    kw_close(kw);
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}

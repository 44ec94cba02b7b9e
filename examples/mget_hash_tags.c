/* SPDX-License-Identifier: BSD-3-Clause */
/* MGET with hash tags: only what is between { and } decides the slot, so the three keys
 * of one user live on one node, and one MGET fetches them in one round trip.
 *
 *   ./mget_hash_tags redis-cluster://127.0.0.1:7000
 */
#include <keyway.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const fields[] = {"profile", "settings", "friends"};
static const char *const values[] = {"Ada", "dark mode", "Grace Barbara"};

/* False, with a message, for no reply and for a server's error. */
static bool is_good(const kw_reply *reply, const kw_error *error)
{
    if (reply == NULL || kw_reply_is_error(reply)) {
        fprintf(stderr, "%s\n", reply != NULL ? kw_reply_str(reply, NULL) : error->text);
        return false;
    }
    return true;
}

static bool store(kw_client *kw, int id)
{
    kw_error error = {0};
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        /* %b takes any bytes: a pointer and a size_t. */
        kw_reply *reply = kw_command(kw, &error, "SET user:{%d}:%s %b", id, fields[i], values[i],
                                     strlen(values[i]));
        bool ok = is_good(reply, &error);
        kw_reply_free(reply);
        if (!ok) {
            return false;
        }
    }
    return true;
}

static bool fetch(kw_client *kw, int id)
{
    kw_error error = {0};
    kw_reply *reply = kw_command(
        kw, &error, "MGET user:{%d}:profile user:{%d}:settings user:{%d}:friends", id, id, id);
    bool ok = is_good(reply, &error);
    for (size_t i = 0; ok && i < kw_reply_count(reply); i++) {
        char key[64];
        snprintf(key, sizeof(key), "user:{%d}:%s", id, fields[i]);
        printf("slot %5u  %-20s = %s\n", kw_slot(key, strlen(key)), key,
               kw_reply_str(kw_reply_at(reply, i), NULL));
    }
    kw_reply_free(reply);
    return ok;
}

int main(int argc, char **argv)
{
    kw_error error = {0};
    kw_client *kw = kw_open(argc > 1 ? argv[1] : "redis-cluster://127.0.0.1:7000", &error);
    if (kw == NULL) {
        fprintf(stderr, "%s\n", error.text);
        return EXIT_FAILURE;
    }
    bool ok = store(kw, 123) && fetch(kw, 123);
    kw_close(kw);
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}

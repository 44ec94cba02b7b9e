/* SPDX-License-Identifier: BSD-3-Clause */
/* Keys with a hash tag beside the same keys without: one slot, one node and one round
 * trip, or as many as the slots say.
 *
 *   ./hash_tags redis-cluster://127.0.0.1:7000
 */
#include <keyway.h>

#include <string.h>

#include "paint.h"

enum { KEYS_N = 3 };

static const char *const tagged[KEYS_N] = {"user:{123}:profile", "user:{123}:settings",
                                           "user:{123}:friends"};
static const char *const plain[KEYS_N] = {"profile:123", "settings:123", "friends:123"};
static const char *const values[KEYS_N] = {"Ada", "dark mode", "Grace, Barbara"};

static bool store(kw_client *kw, const char *const keys[KEYS_N], kw_error *error)
{
    for (int i = 0; i < KEYS_N; i++) {
        kw_reply *reply = kw_command(kw, error, "SET %s %s", keys[i], values[i]);
        bool is_stored = reply != NULL && !kw_reply_is_error(reply);
        kw_reply_free(reply);
        if (!is_stored) {
            return false;
        }
    }
    return true;
}

static void show_key(kw_client *kw, const char *key, const kw_reply *value)
{
    char node[64] = "?";
    unsigned slot = kw_slot(key, strlen(key));
    kw_client_slot_node(kw, NULL, node, sizeof(node), slot);
    printf("       %-20s slot %5u  %s  ", key, slot, node);
    paint(PAINT_BOLD, kw_reply_is_nil(value) ? "" : kw_reply_str(value, NULL));
    putchar('\n');
}

/* All keys by one MGET; false where there is no answer, and error says why. */
static bool show(kw_client *kw, const char *const keys[KEYS_N], kw_error *error)
{
    kw_reply *reply = kw_command(kw, error, "MGET %s %s %s", keys[0], keys[1], keys[2]);
    printf("     MGET %s %s %s\n", keys[0], keys[1], keys[2]);
    for (size_t i = 0; i < kw_reply_count(reply); i++) {
        show_key(kw, keys[i], kw_reply_at(reply, i));
    }
    bool is_answered = reply != NULL && !kw_reply_is_error(reply);
    kw_reply_free(reply);
    return is_answered;
}

int main(int argc, char **argv)
{
    kw_error error = {0};
    kw_client *kw = kw_open(argc > 1 ? argv[1] : "redis-cluster://127.0.0.1:7000", &error);
    bool ok = kw != NULL && store(kw, tagged, &error) && store(kw, plain, &error) &&
              show(kw, tagged, &error);
    if (!ok) {
        fprintf(stderr, "%s\n", error.text);
        kw_close(kw);
        return EXIT_FAILURE;
    }
    paint(PAINT_GREEN, "       one slot, one node, one round trip\n\n");
    puts("     GET, for the same without tags");
    for (int i = 0; i < KEYS_N; i++) {
        kw_reply *reply = kw_command(kw, &error, "GET %s", plain[i]);
        show_key(kw, plain[i], reply);
        kw_reply_free(reply);
    }
    paint(PAINT_GREEN, "       as many slots, nodes and round trips as keys\n");
    puts("");
    ok = show(kw, plain, &error);
    paint(PAINT_GREEN, "       split by slot, sent to all nodes at once, joined in this order\n");
    kw_close(kw);
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}

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
static const char *const plain[KEYS_N] = {"user:123:profile", "user:123:settings",
                                          "user:123:friends"};
static const char *const values[KEYS_N] = {"Ada", "dark mode", "Grace, Barbara"};

static bool store(kw_client *kw, const char *const keys[KEYS_N], kw_error *error)
{
    for (int i = 0; i < KEYS_N; i++) {
        kw_reply *reply = kw_command(kw, error, "SET %s %s", keys[i], values[i]);
        if (reply == NULL) {
            return false;
        }
        kw_reply_free(reply);
    }
    return true;
}

/* One MGET of the keys; false where there is no answer, and error says why. */
static bool show(kw_client *kw, const char *const keys[KEYS_N], kw_error *error)
{
    kw_reply *reply = kw_command(kw, error, "MGET %s %s %s", keys[0], keys[1], keys[2]);
    printf("     MGET %s %s %s\n", keys[0], keys[1], keys[2]);
    for (size_t i = 0; i < KEYS_N; i++) {
        char node[64] = "?";
        const char *value = kw_reply_str(kw_reply_at(reply, i), NULL);
        unsigned slot = kw_slot(keys[i], strlen(keys[i]));
        kw_client_slot_node(kw, node, sizeof(node), slot, error);
        printf("       %-20s slot %5u  %s  ", keys[i], slot, node);
        paint(PAINT_BOLD, value == NULL ? "" : value);
        putchar('\n');
    }
    bool is_answered = reply != NULL && !kw_reply_is_error(reply);
    kw_reply_free(reply);
    return is_answered;
}

int main(int argc, char **argv)
{
    kw_error error = KW_ERROR_INIT;
    kw_client *kw = kw_open(argc > 1 ? argv[1] : "redis-cluster://127.0.0.1:7000", &error);
    bool ok = kw != NULL && store(kw, tagged, &error) && store(kw, plain, &error) &&
              show(kw, tagged, &error);
    if (!ok) {
        fprintf(stderr, "%s\n", error.text);
        kw_close(kw);
        return EXIT_FAILURE;
    }
    paint(PAINT_GREEN, "       one slot, one node, one round trip\n\n");
    if (!show(kw, plain, &error)) {
        printf("       %s: ", kw_err_name(error.code));
        paint(PAINT_RED, error.text);
        putchar('\n');
    }
    kw_close(kw);
    return EXIT_SUCCESS;
}

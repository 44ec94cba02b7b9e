/* SPDX-License-Identifier: BSD-3-Clause */
/* Key to slot to node, without a connection: the hash slot of any key, the part of it
 * that is hashed, and where a command has its keys. With the URI of a cluster, the node
 * of each slot as well.
 *
 *   ./key_slot_node
 *   ./key_slot_node redis-cluster://127.0.0.1:7000
 */
#include <keyway.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const keys[] = {"user:1",     "user:{123}:profile", "user:{123}:friends",
                                   "foo{}{bar}", "foo{{bar}}zap",      ""};

static bool show_key(kw_client *kw, const char *key)
{
    size_t tag_len;
    const char *tag = kw_hash_tag(key, strlen(key), &tag_len);
    unsigned slot = kw_slot(key, strlen(key));
    printf("%-20s hashes \"%.*s\" to slot %u", key, (int)tag_len, tag, slot);
    if (kw != NULL) {
        char node[128];
        kw_error error = {0};
        if (kw_client_slot_node(kw, &error, node, sizeof(node), slot) != KW_OK) {
            fprintf(stderr, "\n%s\n", error.text);
            return false;
        }
        printf(" on %s", node);
    }
    printf("\n");
    return true;
}

static bool show_positions(void)
{
    const char *argv[] = {"EVAL", "return 1", "2", "a", "b", "not-a-key"};
    size_t positions[8];
    size_t n;
    kw_error error = {0};
    if (kw_command_keys((kw_argv){6, argv, NULL}, &error, positions, 8, &n) != KW_OK) {
        fprintf(stderr, "%s\n", error.text);
        return false;
    }
    printf("EVAL ... 2 a b not-a-key has %zu keys:", n);
    for (size_t i = 0; i < n; i++) {
        printf(" %s", argv[positions[i]]);
    }
    printf("\n");
    return true;
}

int main(int argc, char **argv)
{
    kw_error error = {0};
    kw_client *kw = argc > 1 ? kw_open(argv[1], &error) : NULL;
    if (argc > 1 && kw == NULL) {
        fprintf(stderr, "%s\n", error.text);
        return EXIT_FAILURE;
    }
    bool ok = show_positions();
    for (size_t i = 0; ok && i < sizeof(keys) / sizeof(keys[0]); i++) {
        ok = show_key(kw, keys[i]);
    }
    kw_close(kw);
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}

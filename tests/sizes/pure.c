/* SPDX-License-Identifier: BSD-3-Clause */
/* What a program carries that has keyway for slots, hash tags, the keys of commands and rings. */
#include <keyway.h>

#include <stdio.h>
#include <string.h>

static void show(const kw_ring *ring, const char *key)
{
    size_t tag_len;
    uint32_t node = 0;
    const char *tag = kw_hash_tag(key, strlen(key), &tag_len);
    printf("%s: slot %u by %.*s\n", key, kw_slot(key, strlen(key)), (int)tag_len, tag);
    if (kw_ring_lookup(ring, &node, key, strlen(key)) == KW_OK) {
        printf("%s: node %u\n", key, (unsigned)node);
    }
}

int main(int argc, char **argv)
{
    size_t at[8];
    size_t n = 0;
    kw_error error = {0};
    kw_ring_change *change = kw_ring_change_new("kw1", &error, NULL);
    kw_ring *ring = NULL;
    if (kw_ring_change_add(change, &error, "a", 1, 1) == KW_OK &&
        kw_ring_change_add(change, &error, "b", 1, 2) == KW_OK) {
        ring = kw_ring_change_commit(change, &error);
    }
    kw_ring_change_free(change);
    const char **words = (const char **)(argv + 1);
    if (ring != NULL && argc > 1 &&
        kw_command_keys((kw_argv){argc - 1, words, NULL}, &error, at, 8, &n) == KW_OK) {
        for (size_t i = 0; i < n && i < 8; i++) {
            show(ring, argv[1 + at[i]]);
        }
    }
    kw_ring_unref(ring);
    return n > 0 ? 0 : 1;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* A ring of plain servers that gets another node while it is in use: what would move, and
 * what has moved.
 *
 *   ./ring_members redis-ring://a=127.0.0.1:6379,b=127.0.0.1:6380 c=127.0.0.1:6381
 */
#include <keyway.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEYS = 1000 };

static void on_event(void *arg, const kw_event *event)
{
    (void)arg;
    printf("event: %s\n", event->text);
}

/* Node of each key, for all keys; false where one has none. */
static bool find_all(kw_client *kw, kw_error *error, char nodes[KEYS][128])
{
    bool ok = true;
    for (int i = 0; ok && i < KEYS; i++) {
        char key[32];
        size_t len = (size_t)snprintf(key, sizeof(key), "user:%d", i);
        ok = kw_client_key_node(kw, error, nodes[i], 128, key, len) == KW_OK;
    }
    return ok;
}

/* Adds the member in one step, and says what that does. */
static bool add(kw_client *kw, kw_error *error, const char *member)
{
    double share = 0;
    kw_members *members = kw_members_begin(kw, error);
    kw_ring *now = kw_client_ring(kw, error);
    bool ok = members != NULL && now != NULL && kw_members_add(members, error, member) == KW_OK;
    kw_ring *then = ok ? kw_members_ring(members, error) : NULL;
    ok = then != NULL && kw_ring_moved(now, error, &share, then) == KW_OK;
    printf("%s would move %.1f %% of all keys, to itself\n", member, 100 * share);
    ok = ok && kw_members_commit(members, error) == KW_OK;
    kw_ring_unref(now);
    kw_ring_unref(then);
    kw_members_free(members);
    return ok;
}

int main(int argc, char **argv)
{
    static char before[KEYS][128], after[KEYS][128];
    kw_error error = {0};
    kw_config *config = kw_config_new(NULL);
    kw_client *kw = NULL;
    kw_config_set_event(config, on_event, NULL);
    if (argc == 3 && kw_config_set_uri(config, &error, argv[1]) == KW_OK) {
        kw = kw_open_config(config, &error);
    }
    kw_config_free(config);
    bool ok = kw != NULL && find_all(kw, &error, before) && add(kw, &error, argv[2]) &&
              find_all(kw, &error, after);
    int moved_n = 0;
    for (int i = 0; ok && i < KEYS; i++) {
        moved_n += strcmp(before[i], after[i]) != 0;
    }
    kw_ring *ring = ok ? kw_client_ring(kw, &error) : NULL;
    if (ring == NULL) {
        printf("usage: ring_members redis-ring://... name=host:port %s\n", error.text);
    } else {
        printf("%d of %d keys have moved; %s, fingerprint %016llx\n", moved_n, KEYS,
               kw_ring_placement(ring), (unsigned long long)kw_ring_fingerprint(ring));
    }
    kw_ring_unref(ring);
    kw_close(kw);
    return ring != NULL ? EXIT_SUCCESS : EXIT_FAILURE;
}

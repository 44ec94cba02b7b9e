/* SPDX-License-Identifier: BSD-3-Clause */
/* Values on three servers without a leader: a set, a get, and a counter that loses nothing
 * because it is only written where its version is still the one that was read.
 *
 *   ./quorum_values 'redis-ring://a=127.0.0.1:6379,b=127.0.0.1:6380,c=127.0.0.1:6381?copies=3'
 */
#include <keyway.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One more, whoever else counts. False where the copies do not answer. */
static bool count(kw_quorum *quorum, kw_error *err, const char *key)
{
    bool is_written = false;
    while (!is_written) {
        kw_quorum_results *found = kw_quorum_get(quorum, err, key, strlen(key));
        if (found == NULL) {
            return false;
        }
        const char *value = kw_quorum_value(found, NULL, 0);
        char next[24];
        kw_quorum_request request = KW_QUORUM_REQUEST_INIT;
        request.act = KW_QUORUM_ACT_SET;
        request.key = key;
        request.key_len = strlen(key);
        request.value = next;
        request.value_len =
            (size_t)snprintf(next, sizeof(next), "%ld", value != NULL ? atol(value) + 1 : 1);
        request.condition = KW_QUORUM_IF_VERSION;
        request.expected = kw_quorum_version_of(found, 0);
        kw_quorum_results_free(found);
        kw_quorum_results *results = kw_quorum_run(quorum, err, &request, 1, 0);
        bool has_failed = results == NULL || kw_quorum_result(results, err, 0) != KW_OK;
        is_written = kw_quorum_is_written(results, 0);
        kw_quorum_results_free(results);
        if (has_failed) { /* with KW_EFFECT_MAYBE it may have counted */
            return false;
        }
    }
    return true;
}

int main(int argc, char **argv)
{
    kw_error err = {0};
    if (argc != 2) {
        fprintf(stderr, "usage: %s 'redis-ring://a=HOST:PORT,b=...,c=...?copies=3'\n", argv[0]);
        return 2;
    }
    kw_client *kw = kw_open(argv[1], &err);
    kw_quorum *quorum = kw != NULL ? kw_quorum_new(kw, &err) : NULL;
    bool ok = quorum != NULL && kw_quorum_set(quorum, &err, "greeting", 8, "hello", 5) == KW_OK;
    kw_quorum_results *found = ok ? kw_quorum_get(quorum, &err, "greeting", 8) : NULL;
    if (found != NULL) {
        printf("greeting: %s\n", kw_quorum_value(found, NULL, 0));
    }
    kw_quorum_results_free(found);
    for (int i = 0; ok && i < 10; i++) {
        ok = count(quorum, &err, "visits");
    }
    if (!ok) {
        fprintf(stderr, "%s (%s)\n", err.text, kw_effect_name(err.effect));
    } else {
        printf("visits: ten more\n");
    }
    kw_quorum_free(quorum);
    kw_close(kw);
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}

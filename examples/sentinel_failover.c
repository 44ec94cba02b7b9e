/* SPDX-License-Identifier: BSD-3-Clause */
/* A counter through a failover: the sentinels name the primary, and calls wait inside their
 * deadline until there is one again. Counts until its input ends.
 *
 *   cc sentinel_failover.c $(pkg-config --cflags --libs keyway) -o sentinel_failover
 *   ./sentinel_failover redis-sentinel://127.0.0.1:26379/mymaster
 */
#include <keyway.h>

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

/* What the sentinels tell: who is the primary now, and that it is down. */
static void on_event(void *arg, const kw_event *event)
{
    (void)arg;
    if (event->kind == KW_EVENT_PRIMARY_CHANGED || event->kind == KW_EVENT_PRIMARY_DOWN) {
        printf("%s\n", event->text);
    }
}

int main(int argc, char **argv)
{
    kw_error error = {0};
    kw_config *config = kw_config_new(NULL);
    const char *server = argc > 1 ? argv[1] : "redis-sentinel://127.0.0.1:26379/mymaster";
    kw_config_set_event(config, on_event, NULL);
    bool ok = kw_config_set(config, &error, "server", server) == KW_OK &&
              kw_config_set(config, &error, "timeout", "15s") == KW_OK;
    kw_client *kw = ok ? kw_open_config(config, &error) : NULL;
    kw_config_free(config);
    long long count = 0;
    long long unknown = 0; /* the old primary died with the answer: counted or not, nobody knows */
    struct pollfd input = {0, POLLIN, 0};
    for (bool goes_on = kw != NULL; goes_on; goes_on = poll(&input, 1, 10) == 0) {
        kw_reply *reply = kw_command(kw, &error, "INCR failover:count");
        if (kw_reply_to_int(reply, &error, &count) != KW_OK) {
            unknown += error.effect == KW_EFFECT_NONE ? 0 : 1;
            fprintf(stderr, "%s\n", error.text);
            error = (kw_error){0};
        } else if (count == 1) {
            printf("counting\n");
            fflush(stdout);
        }
        kw_reply_free(reply);
    }
    char node[128] = "nobody";
    ok = kw != NULL &&
         kw_client_key_node(kw, &error, node, sizeof(node), "failover:count", 14) == KW_OK;
    printf("counted to %lld, %lld unknown\nends at %s\n", count, unknown, node);
    kw_close(kw);
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}

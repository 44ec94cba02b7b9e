/* SPDX-License-Identifier: BSD-3-Clause */
/* Keys that expire, of a whole cluster: each node tells of its own alone, so that all primaries are
 * listened to, also those that come later. */
#include <keyway.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEYS_N 5

static void give_up(const kw_error *err)
{
    fprintf(stderr, "%s\n", err->text);
    exit(EXIT_FAILURE);
}

static void set_up(kw_client *kw, kw_subscriber *subscriber)
{
    kw_error err = {0};
    const char *events = "__keyevent@0__:expired";
    /* To every node; programs leave that to the servers' settings. */
    kw_reply_free(kw_command(kw, &err, "CONFIG SET notify-keyspace-events Ex"));
    if (kw_subscribe_nodes(subscriber, &err, KW_AT_PRIMARIES, events, strlen(events)) != KW_OK ||
        kw_subscriber_wait(subscriber, &err, 5000) != KW_OK) {
        give_up(&err);
    }
    for (int i = 0; i < KEYS_N; i++) {
        kw_reply *reply = kw_command(kw, &err, "SET lease:%d held PX 50", i);
        if (reply == NULL || kw_reply_is_error(reply)) {
            give_up(&err);
        }
        kw_reply_free(reply);
    }
}

int main(int argc, char **argv)
{
    kw_error err = {0};
    kw_client *kw = kw_open(argc > 1 ? argv[1] : "redis-cluster://127.0.0.1:7000", &err);
    kw_subscriber *subscriber = kw != NULL ? kw_subscriber_open(kw, &err, NULL) : NULL;
    if (subscriber == NULL) {
        give_up(&err);
    }
    set_up(kw, subscriber);
    int expired_n = 0;
    while (expired_n < KEYS_N) {
        kw_message *message = kw_subscriber_take(subscriber, &err, 20000);
        if (message == NULL) {
            give_up(&err);
        }
        if (kw_message_type(message) == KW_MESSAGE_PATTERN) {
            printf("%s has expired at %s\n", kw_message_bytes(message, NULL),
                   kw_message_node(message));
            expired_n++;
        } else if (kw_message_type(message) == KW_MESSAGE_GAP) {
            /* Ends of leases may have been missed: look at all of them. */
            printf("gap: %s\n", kw_gap_reason_name(kw_message_gap_reason(message)));
        }
        kw_message_free(message);
    }
    kw_subscriber_close(subscriber);
    kw_close(kw);
    return EXIT_SUCCESS;
}

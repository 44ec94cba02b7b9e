/* SPDX-License-Identifier: BSD-3-Clause */
/* Sharded channels: each lives at the owner of its slot, so that a cluster carries as many messages
 * as its nodes do together; two threads take what comes. */
#include <keyway.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define ROOMS_N 8

static void give_up(const kw_error *err)
{
    fprintf(stderr, "%s\n", err->text);
    exit(EXIT_FAILURE);
}

/* Each message goes to one of the threads; all of them are let go at the end. */
static void *work(void *arg)
{
    kw_subscriber *subscriber = arg;
    kw_error err = {0};
    kw_message *message;
    while ((message = kw_subscriber_take(subscriber, &err, 1000)) != NULL) {
        if (kw_message_type(message) == KW_MESSAGE_SHARDED) {
            printf("%s at %s: %s\n", kw_message_channel(message, NULL), kw_message_node(message),
                   kw_message_bytes(message, NULL));
        }
        kw_message_free(message);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    kw_error err = {0};
    kw_client *kw = kw_open(argc > 1 ? argv[1] : "redis-cluster://127.0.0.1:7000", &err);
    kw_subscriber *subscriber = kw != NULL ? kw_subscriber_open(kw, &err, NULL) : NULL;
    if (subscriber == NULL) {
        give_up(&err);
    }
    for (int i = 0; i < ROOMS_N; i++) {
        char room[20];
        int len = snprintf(room, sizeof(room), "room:{%d}", i);
        if (kw_subscribe(subscriber, &err, KW_TOPIC_SHARDED, room, (size_t)len) != KW_OK) {
            give_up(&err);
        }
    }
    /* A server before Redis 7 says here that it has no sharded channels. */
    if (kw_subscriber_wait(subscriber, &err, 5000) != KW_OK) {
        give_up(&err);
    }
    pthread_t threads[2];
    for (int i = 0; i < 2; i++) {
        if (pthread_create(&threads[i], NULL, work, subscriber) != 0) {
            return EXIT_FAILURE;
        }
    }
    for (int i = 0; i < ROOMS_N; i++) {
        kw_reply *reply = kw_command(kw, &err, "SPUBLISH room:{%d} welcome", i);
        if (reply == NULL || kw_reply_is_error(reply)) {
            give_up(&err);
        }
        kw_reply_free(reply);
    }
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
    }
    kw_subscriber_close(subscriber);
    kw_close(kw);
    return EXIT_SUCCESS;
}

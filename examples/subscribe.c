/* SPDX-License-Identifier: BSD-3-Clause */
/* Listens to what people say in a channel, and hears when it may have missed something. */
#include <keyway.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SAID_N 3

static void give_up(const kw_error *err)
{
    fprintf(stderr, "%s\n", err->text);
    exit(EXIT_FAILURE);
}

static void say(kw_client *kw, int number)
{
    kw_error err = {0};
    kw_reply *reply = kw_command(kw, &err, "PUBLISH chat:lobby hello%d", number);
    if (reply == NULL || kw_reply_is_error(reply)) {
        give_up(&err);
    }
    kw_reply_free(reply);
}

/* What may have been said meanwhile has to be read elsewhere: from a stream, or a list. */
static void show_gap(const kw_message *message)
{
    printf("(messages of the last %llu ms may be missing: %s)\n",
           (unsigned long long)kw_message_gap_ms(message), kw_message_bytes(message, NULL));
}

int main(int argc, char **argv)
{
    kw_error err = {0};
    kw_client *kw = kw_open(argc > 1 ? argv[1] : "redis-cluster://127.0.0.1:7000", &err);
    kw_subscriber *listener = kw != NULL ? kw_subscriber_open(kw, &err, NULL) : NULL;
    const char *pattern = "chat:*";
    if (listener == NULL ||
        kw_subscribe(listener, &err, KW_TOPIC_PATTERN, pattern, strlen(pattern)) != KW_OK ||
        kw_subscriber_wait(listener, &err, 5000) != KW_OK) {
        give_up(&err);
    }
    for (int i = 0; i < SAID_N; i++) {
        say(kw, i);
    }
    int heard_n = 0;
    while (heard_n < SAID_N) {
        kw_message *message = kw_subscriber_take(listener, &err, 5000);
        if (message == NULL) {
            give_up(&err);
        }
        if (kw_message_type(message) == KW_MESSAGE_PATTERN) {
            printf("%s: %s\n", kw_message_channel(message, NULL), kw_message_bytes(message, NULL));
            heard_n++;
        } else if (kw_message_type(message) == KW_MESSAGE_GAP) {
            show_gap(message);
        }
        kw_message_free(message);
    }
    kw_subscriber_close(listener);
    kw_close(kw);
    return EXIT_SUCCESS;
}

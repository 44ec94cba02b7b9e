/* SPDX-License-Identifier: BSD-3-Clause */
/* Messages and replies in one loop, around poll: one descriptor for both. */
#include <keyway.h>

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define SAID_N 3

typedef struct program {
    kw_client *kw;
    int heard_n;
    int said_n;
} program;

static void give_up(const kw_error *err)
{
    fprintf(stderr, "%s\n", err->text);
    exit(EXIT_FAILURE);
}

/* A reply of PUBLISH. */
static void on_said(void *arg, kw_reply *reply, const kw_error *error)
{
    program *self = arg;
    if (reply == NULL) {
        give_up(error);
    }
    self->said_n++;
    kw_reply_free(reply);
}

/* Everything that the subscriber has, in its order. */
static void on_message(void *arg, kw_message *message)
{
    program *self = arg;
    kw_error err = {0};
    if (kw_message_type(message) == KW_MESSAGE_SUBSCRIBED) {
        printf("listening to %s\n", kw_message_channel(message, NULL));
        for (int i = 0; i < SAID_N; i++) {
            kw_callback callback = {on_said, self};
            if (kw_command_async(self->kw, &err, callback, "PUBLISH news item%d", i) != KW_OK) {
                give_up(&err);
            }
        }
    } else {
        bool is_gap = kw_message_type(message) == KW_MESSAGE_GAP;
        printf("%s%s\n", is_gap ? "gap: " : "", kw_message_bytes(message, NULL));
        self->heard_n += is_gap ? 0 : 1;
    }
    kw_message_free(message);
}

int main(int argc, char **argv)
{
    kw_error err = {0};
    program self = {kw_open(argc > 1 ? argv[1] : "redis-cluster://127.0.0.1:7000", &err), 0, 0};
    kw_subscriber_options options = KW_SUBSCRIBER_OPTIONS_INIT;
    options.fn = on_message;
    options.arg = &self;
    options.tells_subscribed = true;
    kw_subscriber *news = self.kw != NULL ? kw_subscriber_open(self.kw, &err, &options) : NULL;
    if (news == NULL || kw_subscribe(news, &err, KW_TOPIC_CHANNEL, "news", 4) != KW_OK) {
        give_up(&err);
    }
    time_t end = time(NULL) + 10;
    struct pollfd entry = {kw_fd(self.kw, &err), POLLIN, 0};
    while (self.heard_n < SAID_N || self.said_n < SAID_N) {
        bool is_deaf = time(NULL) >= end && kw_subscriber_wait(news, &err, 1) != KW_OK;
        if (is_deaf || poll(&entry, 1, kw_timeout(self.kw)) < 0 ||
            kw_process(self.kw, &err) != KW_OK) {
            give_up(&err);
        }
    }
    kw_subscriber_close(news);
    kw_close(self.kw);
    return EXIT_SUCCESS;
}

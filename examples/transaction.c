/* SPDX-License-Identifier: BSD-3-Clause */
/* Transaction: an optimistic increment. Both keys have one hash tag, so they live in one
 * slot; EXEC says nil when somebody else changed the watched key, and we try again.
 *
 *   cc transaction.c $(pkg-config --cflags --libs keyway) -o transaction
 *   ./transaction redis-cluster://127.0.0.1:7000
 */
#include <keyway.h>

#include <stdio.h>
#include <stdlib.h>

#define TRIES_MAX 100

/* Sends one command; an error reply is no reply here, with its text in error. */
static kw_reply *ask(kw_session *session, kw_error *error, const char *format, long long value)
{
    kw_reply *reply = kw_session_command(session, error, format, value);
    if (kw_reply_is_error(reply)) {
        snprintf(error->text, sizeof(error->text), "%s", kw_reply_str(reply, NULL));
        kw_reply_free(reply);
        return NULL;
    }
    return reply;
}

static bool ask_ok(kw_session *session, kw_error *error, const char *format, long long value)
{
    kw_reply *reply = ask(session, error, format, value);
    bool ok = reply != NULL;
    kw_reply_free(reply);
    return ok;
}

/* One try: 1 done, 0 somebody was faster, -1 failed. */
static int try_increment(kw_session *session, kw_error *error)
{
    if (!ask_ok(session, error, "WATCH {visits}:total", 0)) {
        return -1;
    }
    kw_reply *reply = ask(session, error, "GET {visits}:total", 0);
    if (reply == NULL) {
        return -1;
    }
    const char *text = kw_reply_str(reply, NULL); /* NULL: there is no such key yet */
    long long total = text != NULL ? strtoll(text, NULL, 10) : 0;
    kw_reply_free(reply);
    if (!ask_ok(session, error, "MULTI", 0) ||
        !ask_ok(session, error, "SET {visits}:total %lld", total + 1) ||
        !ask_ok(session, error, "RPUSH {visits}:log %lld", total + 1)) {
        return -1;
    }
    reply = ask(session, error, "EXEC", 0);
    if (reply == NULL) {
        return -1; /* error->effect says whether it may have run */
    }
    int done = kw_reply_is_nil(reply) ? 0 : 1;
    kw_reply_free(reply);
    return done;
}

int main(int argc, char **argv)
{
    kw_error error = {0};
    kw_client *kw = kw_open(argc > 1 ? argv[1] : "redis-cluster://127.0.0.1:7000", &error);
    kw_session *session = kw != NULL ? kw_session_open(kw, &error, "{visits}", 8) : NULL;
    int done = session != NULL ? 0 : -1;
    int tries = 0;
    while (done == 0 && tries < TRIES_MAX) {
        done = try_increment(session, &error);
        tries++;
    }
    if (done == 1) {
        printf("counted a visit, at try %d\n", tries);
    } else {
        fprintf(stderr, "%s\n", done < 0 ? error.text : "others were faster every time");
    }
    kw_session_close(session); /* before kw_close */
    kw_close(kw);
    return done == 1 ? EXIT_SUCCESS : EXIT_FAILURE;
}

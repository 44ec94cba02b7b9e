/* SPDX-License-Identifier: BSD-3-Clause */
/* A transaction in an event loop that depends on what it reads: WATCH and GET go first, and the
 * callback of GET decides what MULTI and EXEC write, on the connection that the session keeps. */
#include <keyway.h>

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct work {
    kw_async_session *session;
    kw_error error; /* of what went wrong; else code is KW_OK */
    bool is_over;
} work;

static void tell(work *self, kw_reply_fn fn, const char *command, long long n)
{
    kw_callback callback = {fn, self};
    self->is_over =
        kw_async_session_command(self->session, &self->error, callback, command, n) != KW_OK;
}

/* What is refused or lost ends all that was given behind it: the last callback hears of it. */
static void pass(void *arg, kw_reply *reply, const kw_error *error)
{
    (void)arg;
    (void)error;
    kw_reply_free(reply);
}

static void on_executed(void *arg, kw_reply *reply, const kw_error *error);

static void on_value(void *arg, kw_reply *reply, const kw_error *error)
{
    work *self = arg;
    self->error = reply == NULL ? *error : self->error;
    self->is_over = kw_reply_outcome(reply, &self->error) == KW_OUTCOME_ERROR;
    if (!self->is_over) {
        long long n = strtoll(kw_reply_text(reply, "0"), NULL, 10);
        printf("counter is %lld\n", n);
        tell(self, pass, "MULTI", 0);
        tell(self, pass, "SET counter %lld", 2 * n + 1);
        tell(self, on_executed, "EXEC", 0);
    }
    kw_reply_free(reply);
}

static void on_executed(void *arg, kw_reply *reply, const kw_error *error)
{
    work *self = arg;
    self->error = reply == NULL ? *error : self->error; /* effect: whether it may have run */
    self->is_over = kw_reply_outcome(reply, &self->error) != KW_OUTCOME_NIL;
    if (!self->is_over) { /* somebody else was faster: again */
        tell(self, pass, "WATCH counter", 0);
        tell(self, on_value, "GET counter", 0);
    }
    kw_reply_free(reply);
}

int main(int argc, char **argv)
{
    work self = {0};
    kw_client *kw = kw_open(argc > 1 ? argv[1] : "redis-cluster://127.0.0.1:7000", &self.error);
    self.session = kw != NULL ? kw_async_session_open(kw, &self.error, "counter", 7) : NULL;
    struct pollfd entry = {self.session != NULL ? kw_fd(kw, &self.error) : -1, POLLIN, 0};
    self.is_over = entry.fd < 0;
    if (!self.is_over) {
        tell(&self, pass, "WATCH counter", 0);
        tell(&self, on_value, "GET counter", 0);
    }
    while (!self.is_over && poll(&entry, 1, kw_timeout(kw)) >= 0) {
        self.is_over = kw_process(kw, &self.error) != KW_OK || self.is_over;
    }
    kw_async_session_close(self.session);
    kw_close(kw);
    if (self.error.code != KW_OK) {
        fprintf(stderr, "%s\n", self.error.text);
    }
    return self.error.code != KW_OK ? EXIT_FAILURE : EXIT_SUCCESS;
}

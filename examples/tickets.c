/* SPDX-License-Identifier: BSD-3-Clause */
/* Tickets: commands are sent now, and their replies waited for later. What the program does in
 * between costs no time on the wire.
 *
 *   cc tickets.c $(pkg-config --cflags --libs keyway) -o tickets
 *   ./tickets redis-cluster://127.0.0.1:7000
 */
#include <keyway.h>

#include <stdio.h>

enum { USERS = 5 };

/* The reply as a number; false, and why is said, where it is none. */
static bool take_integer(kw_ticket *ticket, long long *value)
{
    kw_error error = {0};
    kw_reply *reply = kw_ticket_await(ticket, &error);
    bool is_good = kw_reply_to_int(reply, &error, value) == KW_OK;
    if (!is_good) {
        fprintf(stderr, "%s\n", error.text);
    }
    kw_reply_free(reply);
    kw_ticket_free(ticket);
    return is_good;
}

int main(int argc, char **argv)
{
    kw_error error = {0};
    kw_client *kw = kw_open(argc > 1 ? argv[1] : "redis-cluster://127.0.0.1:7000", &error);
    if (kw == NULL) {
        fprintf(stderr, "%s\n", error.text);
        return 1;
    }
    kw_ticket *visits[USERS];
    int status = 0;
    for (int id = 0; id < USERS; id++) {
        visits[id] = kw_submit(kw, &error, "INCR user:{%d}:visits", id);
        if (visits[id] == NULL) {
            fprintf(stderr, "%s\n", error.text);
            status = 1;
        }
    }
    kw_ticket *forgotten = kw_submit(kw, &error, "INCR visits:all");
    if (forgotten == NULL) {
        fprintf(stderr, "%s\n", error.text);
        status = 1;
    }
    kw_ticket_free(forgotten); /* nobody will look at this one's reply */
    printf("%d commands are on their way\n", USERS + 1);
    for (int id = 0; id < USERS; id++) {
        long long value;
        if (visits[id] != NULL && take_integer(visits[id], &value)) {
            printf("user %d: visit number %lld\n", id, value);
        } else {
            status = 1;
        }
    }
    kw_close(kw);
    return status;
}

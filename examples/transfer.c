/* SPDX-License-Identifier: BSD-3-Clause */
/* Transfer: two counters that change together or not at all. A transaction is given whole, and
 * travels as one command: here by tickets, several of them at once.
 *
 *   cc transfer.c $(pkg-config --cflags --libs keyway) -o transfer
 *   ./transfer redis-cluster://127.0.0.1:7000
 */
#include <keyway.h>

#include <stdio.h>
#include <stdlib.h>

#define TRANSFERS_N 10

/* Sends one transfer; its ticket, or NULL with the story in error. */
static kw_ticket *transfer(kw_client *kw, kw_error *error, int amount)
{
    kw_ticket *ticket = NULL;
    kw_transaction *both = kw_transaction_new(kw, error);
    if (both != NULL && kw_transaction_add(both, error, "DECRBY {bank}:a %d", amount) == KW_OK &&
        kw_transaction_add(both, error, "INCRBY {bank}:b %d", amount) == KW_OK) {
        ticket = kw_transaction_submit(both, error, NULL);
    }
    kw_transaction_free(both); /* what was sent goes on */
    return ticket;
}

/* True where it has run. */
static bool has_run(kw_ticket *ticket, kw_error *error)
{
    kw_reply *reply = kw_ticket_await(ticket, error);
    bool is_good = reply != NULL && !kw_reply_is_error(reply);
    if (is_good) {
        printf("a %lld, b %lld\n", kw_reply_int(kw_reply_at(reply, 0)),
               kw_reply_int(kw_reply_at(reply, 1)));
    } else if (reply != NULL) {
        snprintf(error->text, sizeof(error->text), "%s", kw_reply_str(reply, NULL));
    }
    kw_reply_free(reply);
    return is_good;
}

int main(int argc, char **argv)
{
    kw_error error = {0};
    kw_client *kw = kw_open(argc > 1 ? argv[1] : "redis-cluster://127.0.0.1:7000", &error);
    kw_ticket *tickets[TRANSFERS_N] = {NULL};
    int status = kw != NULL ? EXIT_SUCCESS : EXIT_FAILURE;
    for (int i = 0; kw != NULL && i < TRANSFERS_N; i++) {
        tickets[i] = transfer(kw, &error, i + 1);
    }
    for (int i = 0; i < TRANSFERS_N; i++) {
        if (tickets[i] == NULL || !has_run(tickets[i], &error)) {
            status = EXIT_FAILURE; /* error.effect: none, or maybe, which is not repeated here */
        }
        kw_ticket_free(tickets[i]);
    }
    if (status != EXIT_SUCCESS) {
        fprintf(stderr, "%s\n", error.text);
    }
    kw_close(kw);
    return status;
}

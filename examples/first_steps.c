/* SPDX-License-Identifier: BSD-3-Clause */
/* First steps: open a handle, store, read, count, remove, close.
 *
 *   cc first_steps.c $(pkg-config --cflags --libs keyway) -o first_steps
 *   ./first_steps redis-cluster://127.0.0.1:7000
 */
#include <keyway.h>

#include <stdio.h>
#include <stdlib.h>

/* Sends one command and prints its reply; false where there was none. */
static bool show(kw_client *kw, const char *command)
{
    kw_error error = {0};
    kw_reply *reply = kw_command(kw, &error, command);
    if (reply == NULL) {
        fprintf(stderr, "%s: %s\n", command, error.text);
        return false;
    }
    printf("%-28s", command);
    switch (kw_reply_type(reply)) {
    case KW_REPLY_INTEGER:
        printf("%lld\n", kw_reply_int(reply));
        break;
    case KW_REPLY_NIL:
        printf("(nil)\n");
        break;
    case KW_REPLY_ERROR:
        printf("(error) %s\n", kw_reply_str(reply, NULL));
        break;
    default:
        printf("%s\n", kw_reply_str(reply, NULL));
        break;
    }
    kw_reply_free(reply);
    return true;
}

int main(int argc, char **argv)
{
    kw_error error = {0};
    kw_client *kw = kw_open(argc > 1 ? argv[1] : "redis-cluster://127.0.0.1:7000", &error);
    if (kw == NULL) {
        fprintf(stderr, "%s\n", error.text);
        return EXIT_FAILURE;
    }
    bool ok = show(kw, "SET greeting hello") && show(kw, "GET greeting") &&
              show(kw, "STRLEN greeting") && show(kw, "INCRBY first:visits 3") &&
              show(kw, "LPUSH greeting again") && show(kw, "DEL greeting") &&
              show(kw, "GET greeting") && show(kw, "DEL first:visits");
    kw_close(kw);
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}

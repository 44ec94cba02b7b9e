/* SPDX-License-Identifier: BSD-3-Clause */
/* Errors and effects: a server's error is a reply; no reply means that the call failed,
 * and its effect says whether the command may have run.
 *
 *   ./errors_and_effects redis-cluster://127.0.0.1:7000
 */
#include <keyway.h>

#include <stdio.h>
#include <stdlib.h>

static void report(const char *what, kw_reply *reply, const kw_error *error)
{
    printf("%s\n", what);
    if (reply == NULL) {
        printf("  no reply: %s, effect %s, %u sent, %u ms\n  %s\n", kw_err_name(error->code),
               kw_effect_name(error->effect), error->attempts, error->elapsed_ms, error->text);
    } else if (kw_reply_is_error(reply)) {
        printf("  the server's error: %s\n", kw_reply_str(reply, NULL));
    } else {
        printf("  a reply\n");
    }
    kw_reply_free(reply);
}

/* What a careful caller does with a command that must not run twice. */
static const char *advice(const kw_error *error)
{
    switch (error->effect) {
    case KW_EFFECT_NONE:
        return "it did not run: send it again when you like";
    case KW_EFFECT_MAYBE:
        return "it may have run: look before you send it again";
    case KW_EFFECT_DONE:
        return "it did run: only its answer is lost";
    }
    return "";
}

int main(int argc, char **argv)
{
    kw_error error = {0};
    kw_client *kw = kw_open("redis-cluster://127.0.0.1:7000?timeout=5", &error);
    report("An option without its unit:", NULL, &error);
    kw_close(kw);

    kw = kw_open(argc > 1 ? argv[1] : "redis-cluster://127.0.0.1:7000", &error);
    if (kw == NULL) {
        fprintf(stderr, "%s\n", error.text);
        return EXIT_FAILURE;
    }
    report("A string:", kw_command(kw, &error, "SET errors:text word"), &error);
    report("A number wanted:", kw_command(kw, &error, "INCR errors:text"), &error);
    report("A command that binds its connection:", kw_command(kw, &error, "MULTI"), &error);
    kw_close(kw);

    /* Nobody listens on port 1: the call tries until its deadline, and nothing ran. */
    kw = kw_open("redis://127.0.0.1:1?timeout=200ms", &error);
    if (kw == NULL) {
        fprintf(stderr, "%s\n", error.text);
        return EXIT_FAILURE;
    }
    report("A server that is not there:", kw_command(kw, &error, "INCR visits"), &error);
    printf("  %s\n", advice(&error));
    kw_close(kw);
    return error.code == KW_ERR_CONNECT ? EXIT_SUCCESS : EXIT_FAILURE;
}

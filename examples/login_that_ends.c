/* SPDX-License-Identifier: BSD-3-Clause */
/* Tokens in place of a password: the handle asks for one at each greeting, and again before it
 * ends, and sends open connections the next one between two commands. Here the tokens are files'
 * words.
 *
 *   ./login_that_ends redis://127.0.0.1:6379 token.txt
 */
#include <keyway.h>

#include <stdio.h>
#include <string.h>

/* A token service would be asked here. */
static kw_err give_token(void *arg, kw_login *login)
{
    char token[256] = "first";
    FILE *file = arg != NULL ? fopen(arg, "r") : NULL;
    if (file != NULL) {
        if (fgets(token, sizeof(token), file) != NULL) {
            token[strcspn(token, "\n")] = '\0';
        }
        fclose(file);
    }
    kw_err code = kw_login_give(login, NULL, "default", token, 30 * 60 * 1000);
    memset(token, 0, sizeof(token));
    return code; /* an error: the token of before goes on */
}

static void on_event(void *arg, const kw_event *event)
{
    (void)arg;
    fprintf(stderr, "%s\n", event->text);
}

static bool count(kw_client *kw, kw_error *error)
{
    kw_reply *reply = kw_command(kw, error, "INCR logins");
    bool ok = kw_reply_type(reply) == KW_REPLY_INTEGER;
    if (ok) {
        printf("%lld\n", (long long)kw_reply_int(reply));
    } else {
        fprintf(stderr, "%s\n", reply != NULL ? kw_reply_str(reply, NULL) : error->text);
    }
    kw_reply_free(reply);
    return ok;
}

int main(int argc, char **argv)
{
    kw_error error = {0};
    if (argc < 2) {
        fprintf(stderr, "usage: %s URI [FILE]\n", argv[0]);
        return 2;
    }
    kw_config *config = kw_config_new(NULL);
    if (config == NULL || kw_config_set_uri(config, &error, argv[1]) != KW_OK) {
        fprintf(stderr, "%s\n", error.text);
        kw_config_free(config);
        return 1;
    }
    kw_config_set_login(config, give_token, argc > 2 ? argv[2] : NULL);
    kw_config_set_event(config, on_event, NULL);
    kw_client *kw = kw_open_config(config, &error);
    kw_config_free(config);
    bool ok = kw != NULL && count(kw, &error);
    /* A program that is told of a new password, instead of being asked, says it like this. */
    ok = ok && kw_client_set_login(kw, &error, "default", "second") == KW_OK && count(kw, &error);
    if (kw == NULL) {
        fprintf(stderr, "%s\n", error.text);
    }
    kw_close(kw);
    return ok ? 0 : 1;
}

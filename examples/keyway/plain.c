/* SPDX-License-Identifier: BSD-3-Clause */
/* Plain commands: what stands on the command line goes to the servers, and the reply is shown. */
#include "program.h"

#include <stdlib.h>
#include <string.h>

static void show_json(const kw_reply *reply);

static void show_json_elements(const kw_reply *reply)
{
    bool is_map = kw_reply_type(reply) == KW_REPLY_MAP;
    printf("[");
    for (size_t i = 0; i < kw_reply_count(reply); i++) {
        bool is_pair = is_map && i % 2 == 0;
        printf("%s%s", i > 0 && !(is_map && i % 2 == 1) ? "," : "", is_pair ? "[" : "");
        show_json(kw_reply_at(reply, i));
        printf("%s", is_pair ? "," : is_map ? "]" : "");
    }
    printf("]");
}

static void show_json(const kw_reply *reply)
{
    size_t len = 0;
    const char *text = kw_reply_str(reply, &len);
    switch (kw_reply_type(reply)) {
    case KW_REPLY_INTEGER:
        printf("%lld", kw_reply_int(reply));
        break;
    case KW_REPLY_BOOL:
        printf("%s", kw_reply_int(reply) != 0 ? "true" : "false");
        break;
    case KW_REPLY_NIL:
    case KW_REPLY_NONE:
        printf("null");
        break;
    case KW_REPLY_ERROR:
        printf("{\"error\":");
        json_string(stdout, text, len);
        printf("}");
        break;
    case KW_REPLY_ARRAY:
    case KW_REPLY_MAP:
    case KW_REPLY_SET:
    case KW_REPLY_PUSH:
    case KW_REPLY_ATTR:
        show_json_elements(reply);
        break;
    case KW_REPLY_STRING:
    case KW_REPLY_STATUS:
    case KW_REPLY_DOUBLE:
    case KW_REPLY_BIGNUM:
    case KW_REPLY_VERB:
        json_string(stdout, text != NULL ? text : "", text != NULL ? len : 0);
        break;
    }
}

/* A reply in lines; indent: columns before each but the first. */
static void show(const app *self, const kw_reply *reply, int indent)
{
    size_t len = 0;
    const char *text = kw_reply_str(reply, &len);
    size_t n = kw_reply_count(reply);
    if (kw_reply_is_nil(reply)) {
        say_painted(self, FAINT, "(nil)");
    } else if (kw_reply_is_error(reply)) {
        say_painted(self, RED, "(error) ");
        put_shown(stdout, text, len);
    } else if (kw_reply_type(reply) == KW_REPLY_INTEGER || kw_reply_type(reply) == KW_REPLY_BOOL) {
        printf("%lld", kw_reply_int(reply));
    } else if (text != NULL) {
        fwrite(text, 1, len, stdout);
    } else if (n == 0) {
        say_painted(self, FAINT, "(empty)");
    }
    for (size_t i = 0; i < n; i++) {
        char number[24];
        int width = snprintf(number, sizeof(number), "%zu) ", i + 1);
        printf("%*s", i > 0 ? indent : 0, "");
        say_painted(self, FAINT, "%s", number);
        show(self, kw_reply_at(reply, i), indent + width);
        printf("%s", i + 1 < n ? "\n" : "");
    }
}

/* A word that servers do not know may be a subcommand that was misspelt. */
static void say_if_unknown(const app *self, const kw_reply *reply)
{
    const char *text = kw_reply_is_error(reply) ? kw_reply_str(reply, NULL) : NULL;
    if (text != NULL && strncmp(text, "ERR unknown command", 19) == 0) {
        fprintf(stderr,
                "keyway: \"%s\" is no subcommand, and the servers do not know it: keyway help "
                "lists all\n",
                self->command);
    }
}

int run_plain(app *self)
{
    kw_error error = KW_ERROR_INIT;
    kw_client *client = client_open(self, self->uri);
    if (client == NULL) {
        return STATUS_USAGE;
    }
    const char **argv = calloc((size_t)self->argc, sizeof(argv[0]));
    for (int i = 0; argv != NULL && i < self->argc; i++) {
        argv[i] = self->argv[i];
    }
    kw_reply *reply = argv != NULL ? kw_command_argv(client, &error, self->argc, argv, NULL) : NULL;
    int status = STATUS_GOOD;
    if (reply == NULL) {
        bool was_asked = error.effect != KW_EFFECT_NONE;
        fprintf(stderr, "keyway: %s (effect: %s)\n", error.text, kw_effect_name(error.effect));
        status = was_asked ? STATUS_FOUND : STATUS_USAGE;
    } else {
        status = kw_reply_is_error(reply) ? STATUS_FOUND : STATUS_GOOD;
        if (self->is_json) {
            show_json(reply);
        } else {
            show(self, reply, 0);
        }
        printf("\n");
        say_if_unknown(self, reply);
    }
    kw_reply_free(reply);
    free(argv);
    kw_close(client);
    return status;
}

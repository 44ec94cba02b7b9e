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

/* Text as it is; on a terminal without control characters but the ends of lines and tabs. */
static void put_text(const app *self, const char *text, size_t len)
{
    while (self->is_terminal && len > 0) {
        size_t n = 0;
        while (n < len && text[n] != '\n' && text[n] != '\t') {
            n++;
        }
        bool is_line = n < len && n > 0 && text[n] == '\n' && text[n - 1] == '\r';
        put_shown(stdout, text, n - (is_line ? 1 : 0));
        if (n < len) {
            putchar(text[n++]);
        }
        text += n;
        len -= n;
    }
    fwrite(text, 1, len, stdout);
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
        put_text(self, text, len);
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

/* Sends it to whom it concerns, or to the node that was named. */
static kw_reply *send_words(const app *self, kw_client *client, kw_error *error)
{
    kw_call_options options = KW_CALL_OPTIONS_INIT;
    const char **argv = calloc((size_t)self->argc, sizeof(argv[0]));
    for (int i = 0; argv != NULL && i < self->argc; i++) {
        argv[i] = self->argv[i];
    }
    if (argv == NULL) {
        snprintf(error->text, sizeof(error->text), "memory");
        return NULL;
    }
    options.route = self->node != NULL ? KW_ROUTE_NODE : KW_ROUTE_AUTO;
    options.node = self->node;
    kw_reply *reply = kw_call(client, error, &options, (kw_argv){self->argc, argv, NULL});
    free(argv);
    return reply;
}

/* What was refused as it concerns one node: the library's text is for programs. */
static void say_failure(const app *self, const kw_error *error)
{
    const char *is_of_one = strstr(error->text, " concerns one node: ");
    if (error->code == KW_ERR_REFUSED && is_of_one != NULL) {
        fprintf(stderr,
                "keyway: %s concerns one node: keyway --node NODE %s ..., where NODE is one that "
                "keyway nodes lists%s\n",
                self->command, self->command,
                strstr(is_of_one, "kw_scan_open") != NULL ? "; all keys: keyway scan" : "");
        return;
    }
    static const char option[] = "options.node "; /* --node, as a program calls it */
    bool is_of_option = strncmp(error->text, option, sizeof(option) - 1) == 0;
    if (is_of_option && self->node != NULL) {
        fprintf(stderr, "keyway: --node %s: %s; keyway nodes lists those that there are\n",
                self->node, error->text + sizeof(option) - 1);
        return;
    }
    fprintf(stderr, "keyway: %s (effect: %s)\n", error->text, kw_effect_name(error->effect));
}

int run_plain(app *self)
{
    kw_error error = KW_ERROR_INIT;
    kw_client *client = client_open(self, self->uri);
    if (client == NULL) {
        return STATUS_USAGE;
    }
    if (self->node != NULL && kw_connect(client, &error) != KW_OK) { /* names are of the map */
        say_failure(self, &error);
        kw_close(client);
        return STATUS_USAGE;
    }
    kw_reply *reply = send_words(self, client, &error);
    int status = STATUS_GOOD;
    if (reply == NULL) {
        bool was_asked = error.effect != KW_EFFECT_NONE;
        say_failure(self, &error);
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
    kw_close(client);
    return status;
}

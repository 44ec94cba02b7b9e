/* SPDX-License-Identifier: BSD-3-Clause */
/* One program for one server, Sentinel and Cluster: only the URI differs. It writes, reads
 * what belongs together with one MGET, and counts until its input ends (Enter, or Ctrl-D),
 * also while the server that has the counter dies and another one takes over.
 *
 *   ./one_program redis://127.0.0.1:6379
 *   ./one_program redis-sentinel://127.0.0.1:26379/mymaster
 *   ./one_program redis-cluster://127.0.0.1:7000
 */
#include <keyway.h>

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char visits[] = "user:{123}:visits"; /* {123}: all of this user is in one place */

static bool write_and_read(kw_client *kw, kw_error *error)
{
    kw_reply *stored =
        kw_command(kw, error, "MSET user:{123}:name %s %s 0", "Ada Lovelace", visits);
    kw_reply *both = kw_command(kw, error, "MGET user:{123}:name %s", visits);
    bool ok = stored != NULL && !kw_reply_is_error(stored) && kw_reply_count(both) == 2;
    if (ok) {
        printf("%s, %s visits\n", kw_reply_str(kw_reply_at(both, 0), NULL),
               kw_reply_str(kw_reply_at(both, 1), NULL));
    }
    kw_reply_free(stored);
    kw_reply_free(both);
    return ok;
}

/* A failover takes seconds, and is no error to a call that has the time to wait for it. */
static bool count(kw_client *kw, kw_error *error)
{
    unsigned ended[3] = {0}; /* calls that gave no number, by effect */
    unsigned answered = 0;
    kw_call_options options = KW_CALL_OPTIONS_INIT;
    options.timeout_ms = 30000;
    struct pollfd input = {0, POLLIN, 0};
    do {
        const char *command[] = {"INCR", visits};
        kw_reply *reply = kw_call(kw, error, &options, (kw_argv){2, command, NULL});
        if (kw_reply_type(reply) == KW_REPLY_INTEGER) {
            answered++;
        } else {
            fprintf(stderr, "%s\n", reply != NULL ? kw_reply_str(reply, NULL) : error->text);
            ended[reply != NULL ? KW_EFFECT_NONE : error->effect]++;
        }
        kw_reply_free(reply);
    } while (poll(&input, 1, 5) == 0);
    kw_reply *reply = kw_command(kw, error, "GET %s", visits);
    bool ok = answered > 0 && kw_reply_type(reply) == KW_REPLY_STRING;
    printf("%u visits were acknowledged, %u may have been counted, %u were not: now %s\n", answered,
           ended[KW_EFFECT_MAYBE], ended[KW_EFFECT_NONE], ok ? kw_reply_str(reply, NULL) : "-");
    kw_reply_free(reply);
    return ok;
}

int main(int argc, char **argv)
{
    kw_error error = {0};
    char node[128] = "";
    kw_client *kw = kw_open(argc > 1 ? argv[1] : "redis://127.0.0.1:6379", &error);
    bool ok = kw != NULL && write_and_read(kw, &error) &&
              kw_client_key_node(kw, &error, node, sizeof(node), visits, strlen(visits)) == KW_OK;
    if (ok) {
        printf("counting at %s\n", node);
        fflush(stdout);
        ok = count(kw, &error) &&
             kw_client_key_node(kw, &error, node, sizeof(node), visits, strlen(visits)) == KW_OK;
    }
    if (ok) {
        printf("ends at %s\n", node);
    } else {
        fprintf(stderr, "%s\n", error.text);
    }
    kw_close(kw);
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}

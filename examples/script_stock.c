/* SPDX-License-Identifier: BSD-3-Clause */
/* A Lua script that is sent once, then run by its name: takes from a stock what is there, and never
 * more. A batch runs it for many items at once.
 *
 *   cc script_stock.c $(pkg-config --cflags --libs keyway) -o script_stock
 *   ./script_stock redis-cluster://127.0.0.1:7000
 */
#include <keyway.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char text[] = "local there = tonumber(redis.call('GET', KEYS[1]) or 0)\n"
                           "local taken = math.min(there, tonumber(ARGV[1]))\n"
                           "redis.call('SET', KEYS[1], there - taken)\n"
                           "return taken\n";

static int fail(const kw_error *error)
{
    fprintf(stderr, "%s\n", error->text);
    return EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    kw_error error = {0};
    long long taken;
    kw_client *kw = kw_open(argc > 1 ? argv[1] : "redis-cluster://127.0.0.1:7000", &error);
    kw_script *take = kw_script_new(NULL, &error, KW_SCRIPT_WRITES, text, strlen(text));
    if (kw == NULL || take == NULL) {
        return fail(&error);
    }
    kw_reply_free(kw_command(kw, &error, "SET stock:apples 5"));
    for (int i = 0; i < 3; i++) { /* 2, 2 and 1 */
        kw_reply *reply = kw_script_run(kw, &error, take, 1, "stock:apples %d", 2);
        if (kw_reply_to_int(reply, &error, &taken) != KW_OK) {
            return fail(&error);
        }
        printf("%lld apples\n", taken);
        kw_reply_free(reply);
    }
    kw_batch *batch = kw_batch_new(kw, &error);
    static const char *const items[] = {"stock:pears", "stock:plums", "stock:apples"};
    for (size_t i = 0; i < 3; i++) {
        const char *values[] = {items[i], "1"};
        if (kw_script_add(batch, &error, (kw_script_input){take, 1, {2, values, NULL}}) != KW_OK) {
            return fail(&error);
        }
    }
    if (kw_batch_run(batch, &error, 0) != KW_OK) {
        return fail(&error);
    }
    for (size_t i = 0; i < 3; i++) {
        printf("%s: %lld\n", items[i], kw_reply_int(kw_batch_reply(batch, &error, i)));
    }
    kw_batch_free(batch);
    kw_script_free(take);
    kw_close(kw);
    return EXIT_SUCCESS;
}

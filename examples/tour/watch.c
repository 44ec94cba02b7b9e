/* SPDX-License-Identifier: BSD-3-Clause */
/* Writes to one key without a pause while others change the cluster: says when the
 * key's slot has a new owner, goes on for a second, and gives account.
 *
 *   ./watch redis-cluster://127.0.0.1:7000 key
 */
#include <keyway.h>

#include <string.h>
#include <time.h>

#include "paint.h"

typedef struct account {
    long long done, unknown, refused; /* writes by their outcome */
    long long counter;                /* the server's */
    double longest;                   /* wait for one write, in seconds */
} account;

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void count_one(kw_client *kw, account *sum, const char *key)
{
    kw_error error = {0};
    double start = now();
    kw_reply *reply = kw_command(kw, &error, "INCR %s", key);
    double wait = now() - start;
    if (reply == NULL) {
        sum->unknown += error.effect != KW_EFFECT_NONE;
        sum->refused += error.effect == KW_EFFECT_NONE;
        printf("     %s, effect %s: %s\n", kw_err_name(error.code), kw_effect_name(error.effect),
               error.text);
    } else {
        sum->done += !kw_reply_is_error(reply);
        sum->refused += kw_reply_is_error(reply);
        sum->counter = kw_reply_int(reply);
        sum->longest = wait > sum->longest ? wait : sum->longest;
    }
    kw_reply_free(reply);
    nanosleep(&(struct timespec){0, 2000000}, NULL);
}

int main(int argc, char **argv)
{
    kw_error error = {0};
    account sum = {0, 0, 0, 0, 0};
    char old[64], owner[64];
    const char *key = argc > 2 ? argv[2] : "counter";
    unsigned slot = kw_slot(key, strlen(key));
    kw_client *kw = kw_open(argc > 1 ? argv[1] : "redis-cluster://127.0.0.1:7000", &error);
    double start = now(), end = start + 25;
    if (kw == NULL || kw_client_slot_node(kw, &error, old, sizeof(old), slot) != KW_OK) {
        fprintf(stderr, "%s\n", error.text);
        kw_close(kw);
        return EXIT_FAILURE;
    }
    printf("     slot %u is at %s: INCR %s, again and again\n", slot, old, key);
    while (now() < end) {
        fflush(stdout);
        count_one(kw, &sum, key);
        if (kw_client_slot_node(kw, NULL, owner, sizeof(owner), slot) == KW_OK &&
            strcmp(owner, old) != 0) {
            printf("     slot %u is at %s now, after %lld writes\n", slot, owner, sum.done);
            memcpy(old, owner, sizeof(old));
            end = now() + 1;
        }
    }
    kw_stats stats = {.size = sizeof(stats)};
    kw_client_stats(kw, &stats);
    printf("     %lld writes done, counter %lld, %lld unknown, %lld failed; longest wait %.3f s; "
           "MOVED %llu, ASK %llu\n",
           sum.done, sum.counter, sum.unknown, sum.refused, sum.longest,
           (unsigned long long)stats.moved, (unsigned long long)stats.ask);
    kw_close(kw);
    return sum.refused == 0 && end < start + 25 ? EXIT_SUCCESS : EXIT_FAILURE;
}

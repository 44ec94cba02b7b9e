/* SPDX-License-Identifier: BSD-3-Clause */
/* Messages of 64 bytes that one thread takes: kw_subscriber_take against raw hiredis'
 * redisGetReply, and a callback in a poll loop against hiredis' asynchronous one in the same, all
 * in one run, from a server of the program's own that sends as fast as it is read; and allocations
 * a message. --gate: exit status 1 where a goal is missed. */
#include "support/bench.h"

#include <async.h>
#include <hiredis.h>

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MESSAGES_N ((size_t)400000)
#define ROUNDS_N   ((size_t)9)
#define CHUNK_N    ((size_t)1000) /* messages of one send */
#define WAYS_N     ((size_t)4)
#define WAIT_MS    60000

static const char message[] =
    "*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$64\r\n"
    "0123456789012345678901234567890123456789012345678901234567890123\r\n";
static const char confirmed[] = "*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n";

static void send_all(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t sent = send(fd, data, len, MSG_NOSIGNAL);
        if (sent < 0 && errno != EINTR) {
            return;
        }
        data += sent > 0 ? sent : 0;
        len -= sent > 0 ? (size_t)sent : 0;
    }
}

/* Answers what a subscriber says: the greeting with errors, which is allowed, SUBSCRIBE with the
 * messages of a round behind it. */
static void *serve_one(void *arg)
{
    int fd = (int)(intptr_t)arg;
    char data[4096];
    static char chunk[CHUNK_N * (sizeof(message) - 1)];
    for (size_t i = 0; i < CHUNK_N; i++) {
        memcpy(chunk + i * (sizeof(message) - 1), message, sizeof(message) - 1);
    }
    size_t len = 0;
    ssize_t got;
    while ((got = recv(fd, data + len, sizeof(data) - 1 - len, 0)) > 0) {
        len += (size_t)got;
        data[len] = '\0';
        for (char *at = data; (at = strchr(at, '*')) != NULL; at++) {
            bool is_subscribe = strstr(at, "\r\nSUBSCRIBE") == at + 6;
            if (!is_subscribe) {
                send_all(fd, "-ERR no\r\n", 9);
                continue;
            }
            send_all(fd, confirmed, sizeof(confirmed) - 1);
            for (size_t n = 0; n < MESSAGES_N; n += CHUNK_N) {
                send_all(fd, chunk, sizeof(chunk));
            }
        }
        len = 0;
    }
    close(fd);
    return NULL;
}

static void *serve(void *arg)
{
    int listener = (int)(intptr_t)arg;
    int fd;
    while ((fd = accept(listener, NULL, NULL)) >= 0) {
        pthread_t thread;
        kw_bench_die_if(pthread_create(&thread, NULL, serve_one, (void *)(intptr_t)fd) != 0,
                        "thread");
        pthread_detach(thread);
    }
    return NULL;
}

static uint16_t listen_here(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t len = sizeof(address);
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    pthread_t thread = 0;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    bool is_wrong = bind(listener, (struct sockaddr *)&address, sizeof(address)) != 0 ||
                    listen(listener, 16) != 0 ||
                    getsockname(listener, (struct sockaddr *)&address, &len) != 0 ||
                    pthread_create(&thread, NULL, serve, (void *)(intptr_t)listener) != 0;
    kw_bench_die_if(is_wrong, "no server");
    pthread_detach(thread);
    return ntohs(address.sin_port);
}

/* Messages a second, by the clock and by the processor time of the thread that takes them: the
 * second one tells more where other programs run. */
typedef struct speed {
    double by_clock;
    double by_processor;
} speed;

typedef struct start {
    uint64_t clock_ns; /* 0: it has not begun */
    uint64_t processor_ns;
} start;

static uint64_t processor_ns(void)
{
    struct timespec spent;
    kw_bench_die_if(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &spent) != 0, "no clock");
    return (uint64_t)spent.tv_sec * 1000000000 + (uint64_t)spent.tv_nsec;
}

static start start_now(void)
{
    return (start){kw_test_now_ns(), processor_ns()};
}

static speed speed_since(start from)
{
    double clock_ns = (double)(kw_test_now_ns() - from.clock_ns);
    double spent_ns = (double)(processor_ns() - from.processor_ns);
    return (speed){(double)MESSAGES_N * 1e9 / clock_ns, (double)MESSAGES_N * 1e9 / spent_ns};
}

static speed take_raw(uint16_t port)
{
    redisContext *raw = redisConnect("127.0.0.1", port);
    kw_bench_die_if(raw == NULL || raw->err != 0, "raw connect");
    redisReply *reply = redisCommand(raw, "SUBSCRIBE news");
    kw_bench_die_if(reply == NULL, "raw SUBSCRIBE");
    freeReplyObject(reply);
    start from = start_now();
    for (size_t i = 0; i < MESSAGES_N; i++) {
        void *message_reply;
        kw_bench_die_if(redisGetReply(raw, &message_reply) != REDIS_OK, "raw message");
        freeReplyObject(message_reply);
    }
    speed rate = speed_since(from);
    redisFree(raw);
    return rate;
}

static kw_client *open_handle(uint16_t port, const kw_allocator *allocator)
{
    char uri[64];
    kw_config *config = kw_config_new(allocator);
    snprintf(uri, sizeof(uri), "redis://127.0.0.1:%u", port);
    kw_bench_die_if(kw_config_set_uri(config, NULL, uri) != KW_OK, "URI");
    kw_client *client = kw_open_config(config, NULL);
    kw_bench_die_if(client == NULL, "handle");
    kw_config_free(config);
    return client;
}

/* Room for all, and time: nothing is dropped, though the machine may let the server wait. */
static kw_subscriber_options wide(void)
{
    kw_subscriber_options options = KW_SUBSCRIBER_OPTIONS_INIT;
    options.silence_ms = 2 * (uint64_t)WAIT_MS;
    options.messages_max = MESSAGES_N;
    options.bytes_max = (size_t)1 << 30;
    return options;
}

static void take_one(kw_subscriber *subscriber)
{
    kw_error error = KW_ERROR_INIT;
    kw_message *taken = kw_subscriber_take(subscriber, &error, WAIT_MS);
    kw_bench_die_if(taken == NULL, error.text);
    kw_bench_die_if(kw_message_type(taken) != KW_MESSAGE_CHANNEL, kw_message_bytes(taken, NULL));
    kw_message_free(taken);
}

/* allocations_n: a message. */
static speed take_kw(uint16_t port, double *allocations_n)
{
    kw_test_memory memory;
    kw_test_memory_init(&memory, 0);
    kw_client *client = open_handle(port, allocations_n != NULL ? &memory.allocator : NULL);
    kw_subscriber_options options = wide();
    kw_subscriber *subscriber = kw_subscriber_open(client, NULL, &options);
    kw_bench_die_if(subscriber == NULL, "subscriber");
    kw_bench_die_if(kw_subscribe(subscriber, NULL, KW_TOPIC_CHANNEL, "news", 4) != KW_OK, "topic");
    take_one(subscriber); /* all is under way */
    start from = start_now();
    unsigned long calls = kw_test_memory_calls(&memory);
    for (size_t i = 1; i < MESSAGES_N; i++) {
        take_one(subscriber);
    }
    speed rate = speed_since(from);
    if (allocations_n != NULL) {
        *allocations_n = (double)(kw_test_memory_calls(&memory) - calls) / (double)MESSAGES_N;
    }
    kw_subscriber_close(subscriber);
    kw_close(client);
    return rate;
}

static void count(void *arg, kw_message *taken)
{
    *(size_t *)arg += 1;
    kw_message_free(taken);
}

static speed take_in_loop(uint16_t port)
{
    size_t taken_n = 0;
    kw_client *client = open_handle(port, NULL);
    kw_subscriber_options options = wide();
    options.fn = count;
    options.arg = &taken_n;
    kw_subscriber *subscriber = kw_subscriber_open(client, NULL, &options);
    kw_bench_die_if(subscriber == NULL, "subscriber");
    kw_bench_die_if(kw_subscribe(subscriber, NULL, KW_TOPIC_CHANNEL, "news", 4) != KW_OK, "topic");
    struct pollfd entry = {kw_fd(client, NULL), POLLIN, 0};
    start from = {0, 0};
    while (taken_n < MESSAGES_N) {
        poll(&entry, 1, kw_timeout(client));
        kw_bench_die_if(kw_process(client, NULL) != KW_OK, "process");
        from = from.clock_ns == 0 && taken_n > 0 ? start_now() : from;
    }
    speed rate = speed_since(from);
    kw_subscriber_close(subscriber);
    kw_close(client);
    return rate;
}

/* hiredis in the smallest loop there is: its wishes are kept, poll serves them. */
typedef struct raw_loop {
    bool reads;
    bool writes;
    size_t taken_n;
} raw_loop;

static void add_read(void *arg)
{
    ((raw_loop *)arg)->reads = true;
}

static void delete_read(void *arg)
{
    ((raw_loop *)arg)->reads = false;
}

static void add_write(void *arg)
{
    ((raw_loop *)arg)->writes = true;
}

static void delete_write(void *arg)
{
    ((raw_loop *)arg)->writes = false;
}

static void count_raw(redisAsyncContext *raw, void *reply, void *arg)
{
    (void)raw;
    const redisReply *taken = reply;
    raw_loop *loop = arg;
    loop->taken_n += taken != NULL && taken->elements == 3 && taken->element[2]->len == 64 ? 1 : 0;
}

static speed take_raw_in_loop(uint16_t port)
{
    raw_loop loop = {.taken_n = 0};
    redisAsyncContext *raw = redisAsyncConnect("127.0.0.1", port);
    kw_bench_die_if(raw == NULL || raw->err != 0, "raw connect");
    raw->ev.data = &loop;
    raw->ev.addRead = add_read;
    raw->ev.delRead = delete_read;
    raw->ev.addWrite = add_write;
    raw->ev.delWrite = delete_write;
    loop.writes = true; /* for the connect */
    kw_bench_die_if(redisAsyncCommand(raw, count_raw, &loop, "SUBSCRIBE news") != REDIS_OK,
                    "raw SUBSCRIBE");
    start from = {0, 0};
    while (loop.taken_n < MESSAGES_N) {
        short events = (short)((loop.reads ? POLLIN : 0) | (loop.writes ? POLLOUT : 0));
        struct pollfd entry = {raw->c.fd, events, 0};
        poll(&entry, 1, WAIT_MS);
        if ((entry.revents & POLLOUT) != 0) {
            redisAsyncHandleWrite(raw);
        }
        if ((entry.revents & POLLIN) != 0) {
            redisAsyncHandleRead(raw);
        }
        kw_bench_die_if(entry.revents == 0, "raw message");
        from = from.clock_ns == 0 && loop.taken_n > 0 ? start_now() : from;
    }
    speed rate = speed_since(from);
    redisAsyncFree(raw);
    return rate;
}

static speed take(size_t way, uint16_t port)
{
    switch (way) {
    case 0:
        return take_raw(port);
    case 1:
        return take_kw(port, NULL);
    case 2:
        return take_raw_in_loop(port);
    default:
        return take_in_loop(port);
    }
}

int main(int argc, char **argv)
{
    static const char *const names[WAYS_N] = {"hiredis, redisGetReply", "kw_subscriber_take",
                                              "hiredis, async, poll loop", "callback, poll loop"};
    kw_bench bench = {.is_missed = false};
    double rates[WAYS_N][ROUNDS_N];
    double ratios[4][ROUNDS_N];
    double allocations_n;
    uint16_t port = listen_here();
    for (size_t round = 0; round < ROUNDS_N; round++) {
        speed speeds[WAYS_N];
        for (size_t k = 0; k < WAYS_N; k++) {
            size_t way = (k + round) % WAYS_N;
            speeds[way] = take(way, port);
            rates[way][round] = speeds[way].by_clock;
        }
        ratios[0][round] = speeds[1].by_clock / speeds[0].by_clock;
        ratios[1][round] = speeds[3].by_clock / speeds[2].by_clock;
        ratios[2][round] = speeds[1].by_processor / speeds[0].by_processor;
        ratios[3][round] = speeds[3].by_processor / speeds[2].by_processor;
    }
    (void)take_kw(port, &allocations_n);
    printf("\nmessages of 64 bytes, one thread, medians of %zu rounds of %zu\n", ROUNDS_N,
           MESSAGES_N);
    for (size_t way = 0; way < WAYS_N; way++) {
        printf("  %-26s %9.0f per second\n", names[way], kw_bench_median(rates[way], ROUNDS_N));
    }
    kw_bench_goal(&bench, "messages taken, keyway / hiredis", kw_bench_median(ratios[0], ROUNDS_N),
                  ">=", 1.2);
    kw_bench_goal(&bench, "messages by callback, keyway / hiredis' own",
                  kw_bench_median(ratios[1], ROUNDS_N), ">=", 1.0);
    printf("  by processor time: taken %.3f, by callback %.3f\n",
           kw_bench_median(ratios[2], ROUNDS_N), kw_bench_median(ratios[3], ROUNDS_N));
    kw_bench_goal(&bench, "allocations a message, its own included", allocations_n, "<=", 1.01);
    bool is_gate = argc > 1 && strcmp(argv[1], "--gate") == 0;
    return is_gate && bench.is_missed ? EXIT_FAILURE : EXIT_SUCCESS;
}

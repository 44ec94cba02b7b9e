/* SPDX-License-Identifier: BSD-3-Clause */
/* A program that carries another hiredis, uses it, and uses keyway beside it. Prints what keyway
 * came to: the value that a small server of its own gave, or the name of the error. */
#include "other_hiredis.h"

#include <keyway.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Not all in one send: keyway gives such a value to hiredis' reader. */
static const char first_part[] = "*3\r\n$5\r\nfirst\r\n*1\r\n:1\r\n$5\r\nva";
static const char last_part[] = "lue\r\n";

static int listen_here(unsigned short *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t len = sizeof(address);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0 ||
        listen(fd, 4) != 0 || getsockname(fd, (struct sockaddr *)&address, &len) != 0) {
        perror("host: listen");
        _exit(1);
    }
    *port = ntohs(address.sin_port);
    return fd;
}

static void say(int fd, const char *text)
{
    if (write(fd, text, strlen(text)) < 0) {
        _exit(1);
    }
}

/* As an old server does, and LRANGE with an array in two parts. */
static void answer(int fd, const char *command)
{
    if (strstr(command, "LRANGE") != NULL) {
        say(fd, first_part);
        usleep(50000);
        say(fd, last_part);
    } else {
        bool is_hello = strstr(command, "HELLO") != NULL;
        say(fd, is_hello ? "-ERR unknown command 'HELLO'\r\n" : "+OK\r\n");
    }
}

/* Commands begin with '*', which none of them holds elsewhere. */
static void serve(int listener)
{
    char bytes[4096];
    ssize_t len;
    int fd = accept(listener, NULL, NULL);
    alarm(20);
    while ((len = read(fd, bytes, sizeof(bytes) - 1)) > 0) {
        bytes[len] = '\0';
        char *next = NULL;
        for (char *command = strtok_r(bytes, "*", &next); command != NULL;
             command = strtok_r(NULL, "*", &next)) {
            answer(fd, command);
        }
    }
    _exit(0);
}

static void *host_array(const redisReadTask *task,
#ifdef OTHER_IS_NEW
                        size_t count)
#else
                        int count)
#endif
{
    return count == 1 && task->parent == NULL ? (void *)"array" : NULL;
}

static void *host_integer(const redisReadTask *task, long long value)
{
    return value == 9 && task->parent != NULL ? (void *)"integer" : NULL;
}

/* The host's hiredis must be its own, whatever keyway has. */
static int has_own_hiredis(void)
{
    redisReplyObjectFunctions functions = {0};
    functions.createArray = host_array;
    functions.createInteger = host_integer;
    redisReader *reader = redisReaderCreateWithFunctions(&functions);
    void *reply = NULL;
    int is_own = reader != NULL && reader->fn == &functions &&
                 redisReaderFeed(reader, "*1\r\n:9\r\n", 8) == 0 &&
                 redisReaderGetReply(reader, &reply) == 0 && reply != NULL && reader->pos == 8;
    redisReaderFree(reader);
    return is_own;
}

static int use_keyway(unsigned short port)
{
    char uri[64];
    kw_error error = {0};
    snprintf(uri, sizeof(uri), "redis://127.0.0.1:%u?timeout=5s", port);
    kw_client *kw = kw_open(uri, &error);
    if (kw == NULL) {
        fprintf(stderr, "%s\n", error.text);
        puts(kw_err_name(error.code));
        return 0;
    }
    kw_reply *reply = kw_command(kw, &error, "LRANGE list 0 2");
    puts(reply != NULL ? kw_reply_str(kw_reply_at(reply, 2), NULL) : error.text);
    kw_reply_free(reply);
    kw_close(kw);
    return 0;
}

int main(void)
{
    unsigned short port = 0;
    int listener = listen_here(&port);
    pid_t server = fork();
    if (server == 0) {
        serve(listener);
    }
    int status = has_own_hiredis() ? use_keyway(port) : 1;
    kill(server, SIGKILL);
    return has_own_hiredis() ? status : 1;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Real servers for tests: Redis or Valkey on free loopback ports, in a temporary
 * folder. What cannot be done stops the program with a message, so nothing here
 * returns an error. Every process and folder is gone when the program ends,
 * whatever way it ends.
 *
 * The server is $KW_TEST_SERVER, else redis-server or valkey-server of PATH, else
 * the same program under the name redis-check-rdb (Debian's redis-tools). */
#ifndef SUPPORT_SERVER_H
#define SUPPORT_SERVER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct redisReply;

typedef struct kw_test_server kw_test_server;

/* A running server that answers. config holds further lines of redis.conf, each
 * ended by a newline, or is NULL; "requirepass" and "user" lines are fine: commands
 * below log in by requirepass. Starts from any thread. */
kw_test_server *kw_test_server_start(const char *config);

/* Starts a server as a sentinel, with config "sentinel monitor ..." and the like. */
kw_test_server *kw_test_server_start_sentinel(const char *config);

/* Kills the server and removes its folder. NULL is allowed. */
void kw_test_server_free(kw_test_server *server);

/* "127.0.0.1:7001", "redis://127.0.0.1:7001", path of the Unix socket, folder (it
 * holds the log). Borrowed. */
const char *kw_test_server_address(const kw_test_server *server);
const char *kw_test_server_uri(const kw_test_server *server);
const char *kw_test_server_socket(const kw_test_server *server);
const char *kw_test_server_folder(const kw_test_server *server);
uint16_t kw_test_server_port(const kw_test_server *server);
/* Where config has a tls-cert-file line, the server listens there as well; else 0. */
uint16_t kw_test_server_tls_port(const kw_test_server *server);
pid_t kw_test_server_pid(const kw_test_server *server);

/* True from kill to restart. */
bool kw_test_server_is_dead(const kw_test_server *server);

/* SIGKILL, and gone when this returns; restart starts it again with its files on
 * the same port, and returns when it answers (perhaps with LOADING). */
void kw_test_server_kill(kw_test_server *server);
void kw_test_server_restart(kw_test_server *server);

/* SIGSTOP and SIGCONT. */
void kw_test_server_pause(kw_test_server *server);
void kw_test_server_resume(kw_test_server *server);
bool kw_test_server_is_paused(const kw_test_server *server);

/* A control connection that is kept (link.h); its owner closes it. The password of
 * requirepass, or NULL. */
struct kw_test_link *kw_test_server_link(const kw_test_server *server);
const char *kw_test_server_password(const kw_test_server *server);

/* One command over a connection of its own, as redisCommand; waits at most 30 s.
 * An error reply is returned, no reply stops the program. Free with
 * freeReplyObject. */
struct redisReply *kw_test_server_command(kw_test_server *server, const char *format, ...);

/* kw_test_server_command for answers of one kind; any other answer stops the program. The text
 * (string or status) is the caller's to free. */
void kw_test_server_ok(kw_test_server *server, const char *format, ...);
long long kw_test_server_integer(kw_test_server *server, const char *format, ...);
char *kw_test_server_text(kw_test_server *server, const char *format, ...);

/* A numeric field of INFO ("total_commands_processed", "connected_clients"); -1 where
 * there is none. is_info compares a text field ("master_link_status", "up"). */
long long kw_test_server_info(kw_test_server *server, const char *field);
bool kw_test_server_is_info(kw_test_server *server, const char *field, const char *value);

/* True where the server program is at least this version ("7.0"). */
bool kw_test_server_has_version(unsigned major, unsigned minor);

/* A group of tests on one server, with its defaults: *state is it. */
int kw_test_server_begin(void **state);
int kw_test_server_end(void **state);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* keyway: a handle on one server or a whole cluster.
 *
 * A kw_client, the handle, has the map of who owns which key and the connections to the servers.
 * One handle serves a whole process:
 *
 *   kw_error error = {0};
 *   kw_client *client = kw_open("redis-cluster://127.0.0.1:7000", &error);
 *   kw_close(client);
 *
 * Commands are sent with <keyway/command.h>, <keyway/batch.h>, <keyway/submit.h>,
 * <keyway/loop.h> and <keyway/session.h>. */
#ifndef KEYWAY_CLIENT_H
#define KEYWAY_CLIENT_H

#include <stddef.h>
#include <stdint.h>

#include <keyway/config.h>
#include <keyway/error.h>
#include <keyway/export.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A handle. Any thread may use it at any time, until kw_close. */
typedef struct kw_client kw_client;

/* Opens a handle for the servers that a URI names, with the options in its query:
 *
 *   redis://[user:password@]host[:6379][/database]   one server
 *   redis+unix:///path/to/socket                     one server
 *   redis-cluster://host:port,host:port              a cluster, found through any node
 *   redis-sentinel://host:26379,host/name[/database] one primary, found through sentinels
 *   redis-ring://a=host:port,b=host:port*2           plain servers, sharded here (members.h)
 *   host:port, or /path/to/socket                    one server
 *
 * valkey, valkey+unix, valkey-cluster, valkey-sentinel and valkey-ring mean the same; rediss,
 * rediss-cluster, rediss-sentinel and rediss-ring (valkeys and so on) are with TLS. Nothing is
 * connected before the first command. The caller ends the handle with kw_close.
 *
 * NULL where it fails. Errors: KW_ERR_CONFIG (a wrong URI or option, or certificates that cannot
 * be read), KW_ERR_UNSUPPORTED (what this build is without, such as TLS), KW_ERR_LIMIT (a ring of
 * more than 2,000 servers), KW_ERR_NOMEM. Any thread. */
KW_API kw_client *kw_open(const char *uri, kw_error *error);

/* Opens a handle from settings, as kw_open does from a URI. The settings stay the caller's, may be
 * changed or freed afterwards, and may be used for further handles.
 *
 * NULL where it fails. Errors: those of kw_open; KW_ERR_CONFIG also where the settings name no
 * server. Any thread, while no other changes the settings. */
KW_API kw_client *kw_open_config(const kw_config *config, kw_error *error);

/* Opens another handle beside the first one, for a host with an event loop in each thread: both
 * share what is known of the servers, that is one map and one fetch of it, one watch over failures,
 * one login, settings (kw_client_set too), log and events. Each has callbacks, tickets, their
 * connections and descriptor (kw_fd) of its own, so that no loop waits for another; kw_drain and
 * kw_close are about the one handle, in any order. Calls that wait, batches and sessions share the
 * nodes' pools. Of the figures, commands and failures are the handle's, all others are of all that
 * share. A handle takes some kilobytes, and its own connections.
 *
 * kw_close of one of them cancels its own callbacks and tickets, and the calls that other threads
 * wait for in it, at once; those of the other handles go on. In a forked child with
 * after-fork=reopen each starts anew by itself.
 *
 * NULL where it fails. Errors: KW_ERR_ARGUMENT (first is NULL), KW_ERR_FORKED, KW_ERR_NOMEM. Any
 * thread, before kw_close of the first one. */
KW_API kw_client *kw_open_shared(kw_client *first, kw_error *error);

/* Ends the handle: calls that other threads are in return KW_ERR_CANCELLED, callbacks that are due
 * are called with it, tickets end with it; then all is freed. No call may begin after it, also on
 * what was opened on the handle: that is closed or freed before kw_close is called, or, where it
 * says so itself, when kw_close has returned, and never meanwhile by another thread. Called in a
 * callback of kw_process, it takes effect when the callback returns, and has returned with
 * kw_process. In a forked child it frees the child's copy and sends nothing. NULL is allowed. Any
 * thread, once. */
KW_API void kw_close(kw_client *client);

/* An orderly end, to be followed by kw_close: from now on the handle takes nothing new, and the
 * call returns when all that is under way has ended, or after timeout_ms milliseconds (0: the
 * handle's timeout). New calls, batches, tickets, callbacks, sessions, subscribers, scans and
 * batches of them, calls of caches, and what asks for a map or a connection are refused with
 * KW_ERR_DRAINING, effect none, for good. What was begun goes on by its own deadline: calls of
 * other threads, tickets, also those that nobody waits for, callbacks, which this call works on and
 * calls, and sessions, whose commands are taken until they are closed, so that a transaction can
 * come to its end. Subscribers hand out what they have, and wait for nothing more.
 *
 * KW_OK: all has ended, and kw_close will not wait. Errors: KW_ERR_TIMEOUT (what has not ended is
 * told in error; it goes on, and the call may be repeated), KW_ERR_REFUSED (called in a callback of
 * kw_process), KW_ERR_CANCELLED (kw_close was called meanwhile; where a callback did so the handle
 * is freed, and not to be touched again), KW_ERR_ARGUMENT (client is NULL), KW_ERR_FORKED,
 * KW_ERR_NOMEM. Any thread. */
KW_API kw_err kw_drain(kw_client *client, kw_error *error, uint64_t timeout_ms);

/* Makes the handle ready now, instead of with the first command: fetches the map, where there is
 * none yet, and connects to every primary of the cluster or ring, to the primary of a Sentinel
 * group or to the one server, all at once, within the handle's timeout; also to the replicas, where
 * read-preference has them read from. Each has been greeted, has said who it is, and has answered a
 * PING. Where there is a map already none is fetched: kw_refresh does that. Not needed; it tells
 * early what is wrong. The option pool-min keeps connections ready, also
 * to a primary that takes over later.
 *
 * A server that cannot be reached is an error at once: neither its return nor an election is waited
 * for. Where several primaries could not be had, error has the code of the first, and names them;
 * the others are connected to all the same. A replica that cannot be had is no error.
 *
 * Errors: KW_ERR_ARGUMENT (client is NULL), KW_ERR_FORKED, KW_ERR_CANCELLED, KW_ERR_NOMEM, and what
 * stood in the way: KW_ERR_CONNECT, KW_ERR_RESOLVE, KW_ERR_HANDSHAKE, KW_ERR_AUTH,
 * KW_ERR_TOPOLOGY, KW_ERR_POOL_FULL, KW_ERR_QUEUE_TIMEOUT, KW_ERR_CLOSED, KW_ERR_PROTOCOL,
 * KW_ERR_LIMIT, KW_ERR_NO_SENTINEL, KW_ERR_NO_SERVICE, KW_ERR_ROLE. Any thread. */
KW_API kw_err kw_connect(kw_client *client, kw_error *error);

/* Fetches the map now: that of a cluster from its nodes, the primary of a Sentinel group, or of
 * each group on a ring, from the sentinels. One fetch serves all who ask meanwhile, and callers of
 * commands do not wait for it; between two there are at least 100 ms. timeout_ms: 0 is the handle's
 * timeout. KW_OK also where no map is to be fetched: one server, a ring of plain servers. Not
 * needed: the servers' own redirects and failures lead to a new map as well.
 *
 * Errors: KW_ERR_ARGUMENT (client is NULL), KW_ERR_FORKED, KW_ERR_CANCELLED, KW_ERR_NOMEM, and why
 * nobody gave a map: KW_ERR_TOPOLOGY (also: not before the deadline), KW_ERR_CONNECT,
 * KW_ERR_RESOLVE, KW_ERR_HANDSHAKE, KW_ERR_AUTH, KW_ERR_IDENTITY, KW_ERR_NO_SENTINEL,
 * KW_ERR_NO_SERVICE, KW_ERR_ROLE. Any thread. */
KW_API kw_err kw_refresh(kw_client *client, kw_error *error, uint64_t timeout_ms);

/* Changes the login of the servers, while the handle is in use: new connections are greeted with
 * it, open ones are sent AUTH in front of their next command, between commands (never inside a
 * MULTI). user NULL: the default one; password NULL: none, for new connections. Texts are copied.
 * No call fails of it where servers take both logins for a while, or change at any time after this
 * call: where a server refuses the new one, an open connection keeps what it has, a greeting tries
 * the one before, for as long as the option login-overlap says, KW_EVENT_LOGIN_REFUSED tells of it,
 * and the new one is tried there again, more and more seldom. What was replaced for good is written
 * over. Sentinels have a login of their own (sentinel-user, sentinel-password), which stays.
 *
 * Errors: KW_ERR_ARGUMENT (client is NULL, or a user without a password), KW_ERR_FORKED,
 * KW_ERR_CANCELLED, KW_ERR_NOMEM. Any thread. */
KW_API kw_err kw_client_set_login(kw_client *client, kw_error *error, const char *user,
                                  const char *password);

/* Changes one setting of a handle that is in use, by the name and value that kw_config_set takes:
 * deadlines and pauses (timeout, connect-timeout, stall-timeout, slow-call, grace,
 * refresh-interval, down-after, up-after, redirects-max), sizes (pool-min, pool-max, pool-idle,
 * share-above, queue-max, queue-bytes-max), and what reads and writes ask for (read-preference,
 * max-staleness, acks, acks-timeout, cross-slot). kw_config_option_is_live tells which. What begins
 * from now on goes by it; what is under way keeps the deadline that it has, and connections over a
 * lower limit are closed when they come back.
 *
 * Errors: KW_ERR_CONFIG (no such option, one that is fixed once the handle is open, or a wrong
 * value; nothing is changed), KW_ERR_ARGUMENT (NULL), KW_ERR_FORKED. Any thread. */
KW_API kw_err kw_client_set(kw_client *client, kw_error *error, const char *name,
                            const char *value);

/* Writes "host:port" of the primary that owns a slot into node, a text of the caller's with room
 * for node_len bytes, cut to fit with its zero byte. slot is 0 to 16383; of a single server any
 * number will do. Where there is no map yet it is fetched, within the handle's timeout.
 *
 * Errors: KW_ERR_NOT_SERVED (no node owns the slot), KW_ERR_UNSUPPORTED (a ring has no slots),
 * KW_ERR_ARGUMENT (NULL, or node_len is 0), and those of kw_connect. Any thread. */
KW_API kw_err kw_client_slot_node(kw_client *client, kw_error *error, char *node, size_t node_len,
                                  unsigned slot);

/* Writes "host:port" of the primary that a command with this key is sent to into node, a text of
 * the caller's with room for node_len bytes, cut to fit with its zero byte. Works on every
 * topology; on a ring it is the server of the key's member. key may hold any bytes, key_len of
 * them (NULL only with 0). Where there is no map yet it is fetched, within the handle's timeout.
 *
 * Errors: KW_ERR_NOT_SERVED (no node has the key), KW_ERR_ARGUMENT (NULL, or node_len is 0), and
 * those of kw_connect. Any thread. */
KW_API kw_err kw_client_key_node(kw_client *client, kw_error *error, char *node, size_t node_len,
                                 const char *key, size_t key_len);

#ifdef __cplusplus
}
#endif

#endif

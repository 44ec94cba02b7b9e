/* SPDX-License-Identifier: BSD-3-Clause */
/* keyway: a handle on one server or a whole cluster. */
#ifndef KEYWAY_CLIENT_H
#define KEYWAY_CLIENT_H

#include <stddef.h>

#include <keyway/config.h>
#include <keyway/error.h>
#include <keyway/export.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A handle: the map of who owns which key, and the connections. Any thread may use it
 * at any time; one handle serves a whole process. */
typedef struct kw_client kw_client;

/* A handle for the servers that the URI names, with the options of its query:
 *   redis://[user:password@]host[:6379][/database]   one server
 *   redis+unix:///path/to/socket                     one server
 *   redis-cluster://host:port,host:port              a cluster, found through any node
 *   redis-sentinel://host:26379,host/name[/database] one primary, found through sentinels
 *   redis-ring://a=host:port,b=host:port*2           plain servers, sharded here (members.h)
 * (valkey, valkey+unix, valkey-sentinel, valkey-cluster and valkey-ring are the same.) Nothing is
 * dialled before the first command. NULL, with error set, for a wrong URI or option. Freed with
 * kw_close. Any thread. */
KW_API kw_client *kw_open(const char *uri, kw_error *error);

/* The same from settings, which stay the caller's. */
KW_API kw_client *kw_open_config(const kw_config *config, kw_error *error);

/* Ends the handle: calls that other threads are in return KW_ERR_CANCELLED, then all
 * is freed. No call may begin after it. In a forked child of the process that opened
 * the handle it frees the child's copy and sends nothing. NULL is allowed. */
KW_API void kw_close(kw_client *client);

/* Fetches the map of a cluster now, instead of with the first command, by the handle's
 * timeout; for a single server or a ring, connects to it, or to each of its nodes. KW_OK, or the
 * code of error. Any thread. */
KW_API kw_err kw_connect(kw_client *client, kw_error *error);

/* Writes "host:port" of the primary that owns a slot (0 to 16383; any number for a
 * single server; KW_ERR_UNSUPPORTED for a ring) into node, cut to node_len bytes with the zero
 * byte. Fetches the map where there is none yet. KW_ERR_NOT_SERVED for a slot without owner. Any
 * thread. */
KW_API kw_err kw_client_slot_node(kw_client *client, kw_error *error, char *node, size_t node_len,
                                  unsigned slot);

/* The same for a key of any bytes, on every topology: the primary that a command with this
 * key is sent to (on a ring, the server of the member). KW_ERR_NOT_SERVED where no node has
 * it. Any thread. */
KW_API kw_err kw_client_key_node(kw_client *client, kw_error *error, char *node, size_t node_len,
                                 const char *key, size_t key_len);

#ifdef __cplusplus
}
#endif

#endif

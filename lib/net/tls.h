/* SPDX-License-Identifier: BSD-3-Clause */
/* TLS: what stands between a connection and its socket where bytes are sealed. In memory
 * only: the socket is asked through the transport, so that nothing waits, no signal is raised
 * and the deadline holds. hiredis' own TLS checks no host name, and writes in a way that may
 * raise SIGPIPE; so OpenSSL, which it is made of, is used itself. */
#ifndef NET_TLS_H
#define NET_TLS_H

#include <keyway/error.h>

#include "settings/options.h"
#include "net/transport.h"

#include <stdbool.h>
#include <sys/types.h>

/* Certificates and rules of one handle; constant, shared by its connections. */
typedef struct kw_tls_context kw_tls_context;

/* One connection. One thread sends and one receives at a time; the handshake is one
 * thread's. */
typedef struct kw_tls kw_tls;

/* True where TLS is in this build. */
bool kw_tls_is_built(void);

/* KW_ERR_CONFIG, with an error that names the option and the file, KW_ERR_UNSUPPORTED,
 * KW_ERR_NOMEM. Reads files. */
kw_err kw_tls_context_new(kw_tls_context **context, kw_error *error, const kw_allocator *mem,
                          const kw_options *options);
void kw_tls_context_free(kw_tls_context *context);

/* A connection that has not said anything yet; host is the name or number that the server's
 * certificate must be for, where tls-server-name does not give another. NULL when there is no
 * memory. context and transport stay longer. */
kw_tls *kw_tls_new(kw_tls_context *context, const kw_transport *transport, const char *host);
void kw_tls_free(kw_tls *tls);

/* Send and receive like the transport's, with bytes sealed on their way. Both go on with the
 * handshake while it lasts, and say -EAGAIN then. What was taken by send may wait in memory:
 * see has_sealed. -EPROTO: see failure. */
ssize_t kw_tls_send(kw_tls *tls, int socket, const char *data, size_t len);
ssize_t kw_tls_recv(kw_tls *tls, int socket, char *data, size_t len, bool waits);

/* What came with the last recv and did not fit; -EAGAIN for nothing. Leaves the socket
 * alone. */
ssize_t kw_tls_recv_rest(kw_tls *tls, char *data, size_t len);

/* Sends what was taken and still waits; 0 or the negative errno, -EAGAIN included. */
int kw_tls_flush(kw_tls *tls, int socket);

/* True where kw_tls_flush has something to do. For the thread that sends. */
bool kw_tls_has_sealed(const kw_tls *tls);

/* True until the handshake is over. */
bool kw_tls_is_shaking(const kw_tls *tls);

/* Why sending or receiving gave -EPROTO; else NULL. */
const char *kw_tls_failure(const kw_tls *tls);

#endif

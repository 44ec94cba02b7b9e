/* SPDX-License-Identifier: BSD-3-Clause */
/* What stands in for TLS in a library that was built without it: every use says so. */
#include "net/tls.h"

#if !defined(KW_HAS_TLS)

#include "base/error.h"

#include <errno.h>

bool kw_tls_is_built(void)
{
    return false;
}

kw_err kw_tls_context_new(kw_tls_context **context, kw_error *error, const kw_allocator *mem,
                          const kw_options *options)
{
    (void)context;
    (void)mem;
    (void)options;
    return kw_error_set(error, KW_ERR_UNSUPPORTED, KW_EFFECT_NONE, "TLS is not in this build");
}

void kw_tls_context_free(kw_tls_context *context)
{
    (void)context;
}

kw_tls *kw_tls_new(kw_tls_context *context, const kw_transport *transport, const char *host)
{
    (void)context;
    (void)transport;
    (void)host;
    return NULL;
}

void kw_tls_free(kw_tls *tls)
{
    (void)tls;
}

ssize_t kw_tls_send(kw_tls *tls, int socket, const char *data, size_t len)
{
    (void)tls;
    (void)socket;
    (void)data;
    (void)len;
    return -EPROTO;
}

ssize_t kw_tls_recv(kw_tls *tls, int socket, char *data, size_t len, bool waits)
{
    (void)tls;
    (void)socket;
    (void)data;
    (void)len;
    (void)waits;
    return -EPROTO;
}

ssize_t kw_tls_recv_rest(kw_tls *tls, char *data, size_t len)
{
    (void)tls;
    (void)data;
    (void)len;
    return -EPROTO;
}

int kw_tls_flush(kw_tls *tls, int socket)
{
    (void)tls;
    (void)socket;
    return -EPROTO;
}

bool kw_tls_has_sealed(const kw_tls *tls)
{
    (void)tls;
    return false;
}

bool kw_tls_is_shaking(const kw_tls *tls)
{
    (void)tls;
    return false;
}

const char *kw_tls_failure(const kw_tls *tls)
{
    (void)tls;
    return NULL;
}

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* TLS by OpenSSL over the transport, with the bytes in memory between them. */
#include "net/tls.h"

#if defined(KW_HAS_TLS)

#include "base/bytes.h"
#include "base/error.h"
#include "net/sync.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Plain bytes of one record, which is what is sealed and sent at a time. */
#define RECORD_LEN ((size_t)16 * 1024)

/* Sealed bytes that one recv takes. */
#define RAW_LEN ((size_t)16 * 1024)

struct kw_tls_context {
    const kw_options *options; /* of the handle */
    kw_allocator mem;
    SSL_CTX *ssl;
};

struct kw_tls {
    const kw_allocator *mem;
    const kw_transport *transport;
    kw_monitor monitor; /* guards ssl with its in and out, and failure: OpenSSL wants one thread at
                     a time. It is held while bytes are sealed and opened, never for the socket */
    SSL *ssl;
    BIO *in;           /* what came from the socket; ssl's own */
    BIO *out;          /* what is to go there; ssl's own */
    kw_buf leaving;    /* taken from out: the sender's */
    size_t leaving_at; /* its first byte that was not sent */
    bool is_shaking;
    bool has_failed;
    char failure[240]; /* written once */
};

bool kw_tls_is_built(void)
{
    return true;
}

static void reason_of_queue(char *text, size_t text_len)
{
    unsigned long code = ERR_peek_last_error();
    const char *reason = code != 0 ? ERR_reason_error_string(code) : NULL;
    snprintf(text, text_len, "%s", reason != NULL ? reason : "no reason given");
    ERR_clear_error();
}

static kw_err wrong_file(kw_error *error, const char *option, const char *path)
{
    char reason[100];
    char shown[100];
    reason_of_queue(reason, sizeof(reason));
    return kw_error_set(error, KW_ERR_CONFIG, KW_EFFECT_NONE, "option %s: cannot use %s: %s",
                        option, kw_bytes_show(shown, sizeof(shown), kw_bytes_of(path)), reason);
}

static kw_err load_authorities(SSL_CTX *ssl, kw_error *error, const kw_options *options)
{
    if (options->tls_ca != NULL && SSL_CTX_load_verify_locations(ssl, options->tls_ca, NULL) != 1) {
        return wrong_file(error, "tls-ca", options->tls_ca);
    }
    if (options->tls_ca_dir != NULL &&
        SSL_CTX_load_verify_locations(ssl, NULL, options->tls_ca_dir) != 1) {
        return wrong_file(error, "tls-ca-dir", options->tls_ca_dir);
    }
    if (options->tls_ca == NULL && options->tls_ca_dir == NULL) {
        (void)SSL_CTX_set_default_verify_paths(ssl);
    }
    return KW_OK;
}

static kw_err load_certificate(SSL_CTX *ssl, kw_error *error, const kw_options *options)
{
    if (options->tls_cert == NULL && options->tls_key == NULL) {
        return KW_OK;
    }
    if (options->tls_cert == NULL || options->tls_key == NULL) {
        return kw_error_set(error, KW_ERR_CONFIG, KW_EFFECT_NONE,
                            "a client certificate needs both tls-cert and tls-key");
    }
    if (SSL_CTX_use_certificate_chain_file(ssl, options->tls_cert) != 1) {
        return wrong_file(error, "tls-cert", options->tls_cert);
    }
    if (SSL_CTX_use_PrivateKey_file(ssl, options->tls_key, SSL_FILETYPE_PEM) != 1) {
        return wrong_file(error, "tls-key", options->tls_key);
    }
    return KW_OK;
}

/* A key with a passphrase is refused: nothing is asked at a terminal. */
static int no_passphrase(char *buf, int size, int is_writing, void *arg)
{
    (void)buf;
    (void)size;
    (void)is_writing;
    (void)arg;
    return 0;
}

kw_err kw_tls_context_new(kw_tls_context **context, kw_error *error, const kw_allocator *mem,
                          const kw_options *options)
{
    kw_tls_context *self = kw_mem_calloc(mem, 1, sizeof(*self));
    ERR_clear_error();
    SSL_CTX *ssl = self != NULL ? SSL_CTX_new(TLS_client_method()) : NULL;
    if (ssl == NULL) {
        ERR_clear_error();
        kw_mem_free(mem, self);
        return kw_error_set(error, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory for TLS");
    }
    self->mem = *mem;
    self->options = options;
    self->ssl = ssl;
    SSL_CTX_set_default_passwd_cb(ssl, no_passphrase);
    (void)SSL_CTX_set_min_proto_version(ssl, TLS1_2_VERSION);
    (void)SSL_CTX_set_options(ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    (void)SSL_CTX_set_mode(ssl, SSL_MODE_ENABLE_PARTIAL_WRITE |
                                    SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    (void)SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
    bool verifies = options->tls_verify != KW_TLS_VERIFY_NONE;
    SSL_CTX_set_verify(ssl, verifies ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
    kw_err code = verifies ? load_authorities(ssl, error, options) : KW_OK;
    code = code == KW_OK ? load_certificate(ssl, error, options) : code;
    if (code != KW_OK) {
        kw_tls_context_free(self);
        return code;
    }
    ERR_clear_error();
    *context = self;
    return KW_OK;
}

void kw_tls_context_free(kw_tls_context *context)
{
    if (context != NULL) {
        kw_allocator mem = context->mem;
        SSL_CTX_free(context->ssl);
        kw_mem_free(&mem, context);
    }
}

static bool is_number(const char *host)
{
    unsigned char address[16];
    return inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1;
}

/* Sets the name that the certificate must have, and that the server is told (SNI). */
static bool set_name(SSL *ssl, const kw_options *options, const char *host)
{
    const char *name = options->tls_server_name != NULL ? options->tls_server_name : host;
    bool is_address = is_number(name);
    bool is_set = is_address || SSL_set_tlsext_host_name(ssl, name) == 1;
    if (options->tls_verify != KW_TLS_VERIFY_FULL) {
        return is_set;
    }
    X509_VERIFY_PARAM *rules = SSL_get0_param(ssl);
    X509_VERIFY_PARAM_set_hostflags(rules, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return is_set && (is_address ? X509_VERIFY_PARAM_set1_ip_asc(rules, name) == 1
                                 : X509_VERIFY_PARAM_set1_host(rules, name, 0) == 1);
}

static bool start(kw_tls *self, const kw_tls_context *context, const char *host)
{
    self->ssl = SSL_new(context->ssl);
    self->in = BIO_new(BIO_s_mem());
    self->out = BIO_new(BIO_s_mem());
    if (self->ssl == NULL || self->in == NULL || self->out == NULL) {
        BIO_free(self->in);
        BIO_free(self->out);
        return false;
    }
    SSL_set_bio(self->ssl, self->in, self->out);
    SSL_set_connect_state(self->ssl);
    return set_name(self->ssl, context->options, host);
}

kw_tls *kw_tls_new(kw_tls_context *context, const kw_transport *transport, const char *host)
{
    kw_tls *self = kw_mem_calloc(&context->mem, 1, sizeof(*self));
    if (self == NULL) {
        return NULL;
    }
    self->mem = &context->mem;
    self->transport = transport;
    self->is_shaking = true;
    kw_buf_init(&self->leaving, self->mem, NULL, 0);
    if (kw_monitor_init(&self->monitor) != KW_OK) {
        kw_mem_free(self->mem, self);
        return NULL;
    }
    ERR_clear_error();
    bool is_whole = start(self, context, host);
    ERR_clear_error();
    if (!is_whole) {
        kw_tls_free(self);
        return NULL;
    }
    return self;
}

void kw_tls_free(kw_tls *tls)
{
    if (tls != NULL) {
        SSL_free(tls->ssl);
        kw_monitor_fini(&tls->monitor);
        kw_buf_fini(&tls->leaving);
        kw_mem_free(tls->mem, tls);
    }
}

/* A hint for the error text, by the verdict on the certificate. */
static const char *hint_of(const kw_tls *self, long verdict)
{
    if (verdict == X509_V_ERR_HOSTNAME_MISMATCH || verdict == X509_V_ERR_IP_ADDRESS_MISMATCH) {
        return "; tls-server-name gives the name it has, tls-verify=ca takes any";
    }
    if (verdict == X509_V_ERR_CERT_HAS_EXPIRED || verdict == X509_V_ERR_CERT_NOT_YET_VALID) {
        return "; the server needs another one, or this machine another time";
    }
    if (verdict != X509_V_OK) {
        return "; tls-ca names the file of the authority that signed it";
    }
    int reason = ERR_GET_REASON(ERR_peek_last_error());
    if (self->is_shaking && reason == SSL_R_WRONG_VERSION_NUMBER) {
        return "; does the server speak TLS at this port?";
    }
    if (reason == SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED ||
        reason == SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE) {
        return "; the server may want a certificate: tls-cert and tls-key";
    }
    return "";
}

/* The monitor is held. */
static void describe(kw_tls *self)
{
    char reason[100];
    long verdict = SSL_get_verify_result(self->ssl);
    bool is_about_peer = self->is_shaking && verdict != X509_V_OK &&
                         SSL_get_verify_mode(self->ssl) != SSL_VERIFY_NONE;
    const char *hint = hint_of(self, is_about_peer ? verdict : X509_V_OK);
    reason_of_queue(reason, sizeof(reason));
    snprintf(self->failure, sizeof(self->failure), "TLS: %s%s%s",
             is_about_peer ? "the server's certificate is refused: " : "",
             is_about_peer ? X509_verify_cert_error_string(verdict) : reason, hint);
}

/* What an operation that did not succeed comes to: 0 at the end of the stream, -EAGAIN,
 * -EPROTO. The monitor is held. */
static ssize_t outcome(kw_tls *self, int status)
{
    switch (SSL_get_error(self->ssl, status)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        return -EAGAIN;
    case SSL_ERROR_ZERO_RETURN:
        return 0;
    default:
        break;
    }
    if (!self->has_failed) {
        describe(self);
        self->has_failed = true;
    }
    ERR_clear_error();
    return -EPROTO;
}

/* Takes what OpenSSL wants to be sent; the monitor is held. */
static bool take_out(kw_tls *self)
{
    size_t len = BIO_ctrl_pending(self->out);
    if (len == 0) {
        return true;
    }
    if (!kw_buf_reserve(&self->leaving, len)) {
        return false;
    }
    int got = BIO_read(self->out, self->leaving.data + self->leaving.len, (int)len);
    self->leaving.len += got > 0 ? (size_t)got : 0;
    return true;
}

bool kw_tls_has_sealed(const kw_tls *tls)
{
    return tls->leaving_at < tls->leaving.len;
}

int kw_tls_flush(kw_tls *tls, int socket)
{
    while (kw_tls_has_sealed(tls)) {
        ssize_t sent = tls->transport->send_fn(tls->transport->arg, socket,
                                               tls->leaving.data + tls->leaving_at,
                                               tls->leaving.len - tls->leaving_at);
        if (sent < 0) {
            return (int)sent;
        }
        tls->leaving_at += (size_t)sent;
    }
    tls->leaving.len = 0;
    tls->leaving_at = 0;
    return 0;
}

/* Goes on with the handshake: 0 once it is over, else the negative errno. */
static ssize_t shake(kw_tls *self, int socket)
{
    ssize_t code = -EPROTO;
    kw_monitor_lock(&self->monitor);
    if (!self->has_failed) {
        ERR_clear_error();
        int status = SSL_do_handshake(self->ssl);
        code = status == 1 ? 0 : outcome(self, status);
        self->is_shaking = status != 1;
        code = code == 0 && status != 1 ? -ECONNRESET : code; /* a farewell */
    }
    bool is_taken = take_out(self); /* an alert as well: it tells the server why */
    kw_monitor_unlock(&self->monitor);
    if (!is_taken) {
        return -ENOMEM;
    }
    int flushed = kw_tls_flush(self, socket);
    return code == 0 || code == -EAGAIN ? (flushed == 0 || flushed == -EAGAIN ? code : flushed)
                                        : code;
}

ssize_t kw_tls_send(kw_tls *tls, int socket, const char *data, size_t len)
{
    ssize_t code = kw_tls_flush(tls, socket);
    if (code == 0 && tls->is_shaking) {
        code = shake(tls, socket);
    }
    if (code != 0) {
        return code;
    }
    kw_monitor_lock(&tls->monitor);
    ERR_clear_error();
    int taken = SSL_write(tls->ssl, data, (int)(len < RECORD_LEN ? len : RECORD_LEN));
    code = taken > 0 ? taken : outcome(tls, taken);
    bool is_taken = take_out(tls);
    kw_monitor_unlock(&tls->monitor);
    if (taken <= 0) {
        return code == 0 ? -ECONNRESET : code;
    }
    if (!is_taken) {
        return -ENOMEM;
    }
    int flushed = kw_tls_flush(tls, socket);
    return flushed == 0 || flushed == -EAGAIN ? code : flushed;
}

ssize_t kw_tls_recv_rest(kw_tls *tls, char *data, size_t len)
{
    ssize_t code = -EPROTO;
    kw_monitor_lock(&tls->monitor);
    if (!tls->has_failed) {
        ERR_clear_error();
        int got = SSL_read(tls->ssl, data, (int)(len < RECORD_LEN ? len : RECORD_LEN));
        code = got > 0 ? got : outcome(tls, got);
    }
    kw_monitor_unlock(&tls->monitor);
    return code;
}

ssize_t kw_tls_recv(kw_tls *tls, int socket, char *data, size_t len, bool waits)
{
    char raw[RAW_LEN];
    ssize_t code = tls->is_shaking ? -EAGAIN : kw_tls_recv_rest(tls, data, len);
    if (code != -EAGAIN) {
        return code;
    }
    ssize_t got = tls->transport->recv_fn(tls->transport->arg, socket, raw, sizeof(raw), waits);
    if (got <= 0) {
        return got;
    }
    kw_monitor_lock(&tls->monitor);
    bool is_kept = BIO_write(tls->in, raw, (int)got) == (int)got;
    kw_monitor_unlock(&tls->monitor);
    if (!is_kept) {
        return -ENOMEM;
    }
    if (tls->is_shaking) {
        code = shake(tls, socket);
        if (code != 0) {
            return code;
        }
    }
    return kw_tls_recv_rest(tls, data, len);
}

bool kw_tls_is_shaking(const kw_tls *tls)
{
    return tls->is_shaking;
}

const char *kw_tls_failure(const kw_tls *tls)
{
    return tls->has_failed ? tls->failure : NULL;
}

#endif

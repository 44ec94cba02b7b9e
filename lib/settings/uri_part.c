/* SPDX-License-Identifier: BSD-3-Clause */
/* Parts that a URI's servers and a ring's members are both made of: text with %HH in it, and
 * "host:port". */
#include "settings/uri_private.h"

#include "base/error.h"

#include <string.h>

#define DEFAULT_PORT  6379
#define SENTINEL_PORT 26379

kw_err kw_uri_wrong(const kw_uri_reader *self, const char *at, const char *what)
{
    return kw_error_set(self->error, KW_ERR_CONFIG, KW_EFFECT_NONE, "%s, character %zu: %s",
                        self->what, (size_t)(at - self->uri) + 1, what);
}

static int hex_of(char digit)
{
    if (digit >= '0' && digit <= '9') {
        return digit - '0';
    }
    char lower = (char)(digit | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

kw_err kw_uri_decode(const kw_uri_reader *self, kw_bytes *text, kw_bytes part)
{
    char *out = kw_mem_alloc(self->mem, part.len + 1);
    if (out == NULL) {
        return kw_error_set(self->error, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory for a URI");
    }
    size_t len = 0;
    for (size_t i = 0; i < part.len; i++) {
        out[len] = part.data[i];
        if (part.data[i] == '%') {
            int high = part.len - i > 2 ? hex_of(part.data[i + 1]) : -1;
            int low = part.len - i > 2 ? hex_of(part.data[i + 2]) : -1;
            if (high < 0 || low < 0) {
                kw_mem_free(self->mem, out);
                return kw_uri_wrong(self, part.data + i,
                                    "% is not followed by two hexadecimal digits");
            }
            out[len] = (char)(high * 16 + low);
            i += 2;
        }
        len++;
    }
    out[len] = '\0';
    text->data = out;
    text->len = len;
    return KW_OK;
}

/* "%25" before the zone of an IPv6 address, as RFC 6874 writes it, becomes "%"; a bare "%" stays.
 */
static kw_err read_ipv6(const kw_uri_reader *self, kw_endpoint *server, kw_bytes host,
                        uint64_t port)
{
    char text[KW_HOST_MAX + 1];
    size_t len = 0;
    bool is_zone = false;
    for (size_t i = 0; i < host.len && len < KW_HOST_MAX; i++) {
        char byte = host.data[i];
        text[len++] = byte;
        if (byte == '%' && !is_zone) {
            is_zone = true;
            i += host.len - i > 3 && memcmp(host.data + i, "%25", 3) == 0 ? 2 : 0;
        } else if (!is_zone && strchr("0123456789abcdefABCDEF:.", byte) == NULL) {
            return kw_uri_wrong(self, host.data + i, "this is no part of an IPv6 address");
        }
    }
    kw_bytes whole = {text, len};
    bool is_set = len < KW_HOST_MAX && memchr(text, ':', len) != NULL && text[len - 1] != '%' &&
                  kw_endpoint_set(server, whole, port);
    return is_set ? KW_OK
                  : kw_uri_wrong(self, host.data, "only an IPv6 address goes into brackets");
}

static kw_err read_name(const kw_uri_reader *self, kw_endpoint *server, kw_bytes host,
                        uint64_t port)
{
    if (memchr(host.data, '#', host.len) != NULL) {
        return kw_uri_wrong(self, host.data, "a host name has no #; in a password write %23");
    }
    if (memchr(host.data, ';', host.len) != NULL) {
        return kw_uri_wrong(self, host.data, "servers are separated by a comma");
    }
    kw_bytes text;
    kw_err code = kw_uri_decode(self, &text, host);
    if (code != KW_OK) {
        return code;
    }
    bool is_path = text.len > 0 && text.data[0] == '/';
    bool may_be_path = self->options->scheme == KW_SCHEME_RING; /* of a member's Unix socket */
    if (text.len == 0 || (is_path && !may_be_path) ||
        !kw_endpoint_set(server, text, is_path ? 0 : port)) {
        code = kw_uri_wrong(self, host.data,
                            "the host name has a byte that is not allowed, or over 255 bytes");
    }
    kw_mem_free(self->mem, (void *)(uintptr_t)text.data);
    return code;
}

/* "host:port" or "[v6]:port" into its two halves; *port has no data where there is none. */
static kw_err split_server(const kw_uri_reader *self, kw_bytes *host, kw_bytes *port, kw_bytes text)
{
    *host = text;
    port->data = NULL;
    port->len = 0;
    if (text.len == 0 || text.data[0] != '[') {
        bool has_port = kw_bytes_split_last(host, port, text, ':');
        if (has_port && memchr(host->data, ';', host->len) != NULL) {
            return kw_uri_wrong(self, memchr(host->data, ';', host->len),
                                "servers are separated by a comma");
        }
        return has_port && memchr(host->data, ':', host->len) != NULL
                   ? kw_uri_wrong(self, text.data, "an IPv6 address goes into brackets: [::1]:6379")
                   : KW_OK;
    }
    kw_bytes inside = {text.data + 1, text.len - 1};
    kw_bytes behind;
    if (!kw_bytes_split(host, &behind, inside, ']')) {
        return kw_uri_wrong(self, text.data, "[ is not followed by ]");
    }
    if (behind.len > 0 && behind.data[0] != ':') {
        return kw_uri_wrong(self, behind.data, "expected :port behind ]");
    }
    if (behind.len > 0) {
        port->data = behind.data + 1;
        port->len = behind.len - 1;
    }
    return KW_OK;
}

kw_err kw_uri_read_server(const kw_uri_reader *self, kw_endpoint *server, kw_bytes text)
{
    kw_bytes host;
    kw_bytes port;
    kw_err code = split_server(self, &host, &port, text);
    if (code != KW_OK) {
        return code;
    }
    if (host.len == 0) {
        return kw_uri_wrong(
            self, text.data,
            strchr(text.data, '@') == NULL
                ? "the host name is missing"
                : "the host name is missing; in a password write %2F for /, %3F for ?");
    }
    bool is_sentinel = self->options->scheme == KW_SCHEME_SENTINEL;
    uint64_t number = is_sentinel ? SENTINEL_PORT : DEFAULT_PORT;
    if (port.data != NULL && (!kw_bytes_to_uint(&number, port, UINT16_MAX) || number == 0)) {
        return kw_uri_wrong(self, port.data, "the port is not a number from 1 to 65535");
    }
    code = text.data[0] == '[' ? read_ipv6(self, server, host, number)
                               : read_name(self, server, host, number);
    bool is_path = code == KW_OK && server->port == 0;
    return is_path && port.data != NULL ? kw_uri_wrong(self, port.data, "a Unix socket has no port")
                                        : code;
}

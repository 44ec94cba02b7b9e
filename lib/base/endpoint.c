/* SPDX-License-Identifier: BSD-3-Clause */
/* Endpoints: read from text, compared and written; what a server says of itself is checked here. */
#include "base/endpoint.h"

#include <stdio.h>
#include <string.h>

static bool host_is_valid(kw_bytes host)
{
    if (host.len == 0 || host.len > KW_HOST_MAX) {
        return false;
    }
    for (size_t i = 0; i < host.len; i++) {
        unsigned char byte = (unsigned char)host.data[i];
        if (byte <= ' ' || byte == 0x7f || byte == '"' || byte == '\'' || byte == '@') {
            return false;
        }
    }
    return true;
}

bool kw_endpoint_set(kw_endpoint *endpoint, kw_bytes host, uint64_t port)
{
    if (!host_is_valid(host) || port > UINT16_MAX) {
        return false;
    }
    bool is_path = host.data[0] == '/';
    if (is_path != (port == 0)) {
        return false;
    }
    memmove(endpoint->host, host.data, host.len); /* host may be endpoint->host itself */
    endpoint->host[host.len] = '\0';
    endpoint->port = (uint16_t)port;
    return true;
}

bool kw_endpoint_parse(kw_endpoint *endpoint, kw_bytes text)
{
    kw_bytes host;
    kw_bytes port_text;
    uint64_t port;
    if (!kw_bytes_split_last(&host, &port_text, text, ':') ||
        !kw_bytes_to_uint(&port, port_text, UINT16_MAX) || port == 0) {
        return false;
    }
    if (host.len >= 2 && host.data[0] == '[' && host.data[host.len - 1] == ']') {
        host.data++;
        host.len -= 2;
    }
    kw_bytes head;
    kw_bytes tail;
    if (kw_bytes_split(&head, &tail, host, '[') || kw_bytes_split(&head, &tail, host, ']')) {
        return false;
    }
    return kw_endpoint_set(endpoint, host, port);
}

bool kw_endpoint_equal(const kw_endpoint *a, const kw_endpoint *b)
{
    return a->port == b->port && strcmp(a->host, b->host) == 0;
}

void kw_endpoint_set_unknown(kw_endpoint *endpoint, const char *name, const char *whom)
{
    memset(endpoint, 0, sizeof(*endpoint));
    snprintf(endpoint->host, sizeof(endpoint->host), "%.100s@%s", name, whom);
}

bool kw_endpoint_has_no_place(const kw_endpoint *endpoint)
{
    return strchr(endpoint->host, '@') != NULL;
}

char *kw_endpoint_text(char out[KW_ENDPOINT_TEXT], const kw_endpoint *endpoint)
{
    size_t len = strlen(endpoint->host);
    size_t at = 0;
    bool has_brackets = endpoint->port != 0 && memchr(endpoint->host, ':', len) != NULL;
    if (has_brackets) {
        out[at++] = '[';
    }
    for (size_t i = 0; i < len; i++) {
        unsigned char byte = (unsigned char)endpoint->host[i];
        if (byte >= 0x80 && byte < 0xa0) { /* what a terminal may take for a command */
            at += (size_t)snprintf(out + at, 5, "\\x%02x", byte);
        } else {
            out[at++] = (char)byte;
        }
    }
    if (has_brackets) {
        out[at++] = ']';
    }
    if (endpoint->port != 0) {
        out[at++] = ':';
        at += kw_uint_to_text(out + at, endpoint->port);
    }
    out[at] = '\0';
    return out;
}

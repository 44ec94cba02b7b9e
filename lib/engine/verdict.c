/* SPDX-License-Identifier: BSD-3-Clause */
/* The table of error replies and their meaning, and the reading of MOVED, ASK and REDIRECT. */
#include "engine/verdict.h"

#include "base/endpoint.h"

#include <stddef.h>

#define SLOT_MAX 16383

/* As all servers begin it. */
#define NO_SCRIPT_TEXT "NOSCRIPT No matching script"

typedef struct verdict_row {
    const char *text; /* the first word, or the whole text */
    kw_verdict_kind kind;
    bool is_whole;      /* text is everything that the server says */
    bool is_before_run; /* checked before a script runs: true for scripts as well */
} verdict_row;

/* What the errors of Redis 7 and 8 and Valkey 8 and 9 mean. What is not here (OOM,
 * MISCONF, NOREPLICAS, BUSYKEY, CROSSSLOT, EXECABORT ...) is FINAL. */
static const verdict_row verdict_rows[] = {
    {"MOVED", KW_VERDICT_MOVED, false, true},
    {"ASK", KW_VERDICT_ASK, false, true},
    {"REDIRECT", KW_VERDICT_REDIRECT, false, true}, /* Valkey 8, behind CLIENT CAPA redirect */
    {"TRYAGAIN", KW_VERDICT_TRY_AGAIN, false, true},
    {"CLUSTERDOWN", KW_VERDICT_CLUSTER_DOWN, false, true},
    {"LOADING", KW_VERDICT_LOADING, false, true},
    {"MASTERDOWN", KW_VERDICT_MASTER_DOWN, false, true},
    {"READONLY", KW_VERDICT_READONLY, false, false},
    {"BUSY", KW_VERDICT_BUSY, false, false},
    {"NOSCRIPT", KW_VERDICT_NO_SCRIPT, false, true},
    /* An administrator's CLIENT UNBLOCK is meant; a role change is not. */
    {"UNBLOCKED client unblocked via CLIENT UNBLOCK", KW_VERDICT_FINAL, true, false},
    {"UNBLOCKED", KW_VERDICT_UNBLOCKED, false, false},
    {"NOAUTH", KW_VERDICT_AUTH, false, false},
    {"WRONGPASS", KW_VERDICT_AUTH, false, false},
    {"NOPERM", KW_VERDICT_AUTH, false, false},
    {"DENIED", KW_VERDICT_AUTH, false, false},
    {"ERR max number of clients reached", KW_VERDICT_FULL, true, false},
    {"ERR max number of clients + cluster connections reached", KW_VERDICT_FULL, true, false},
};

static const verdict_row *find_row(kw_bytes text)
{
    kw_bytes word = text;
    kw_bytes rest;
    (void)kw_bytes_split(&word, &rest, text, ' ');
    for (size_t i = 0; i < sizeof(verdict_rows) / sizeof(verdict_rows[0]); i++) {
        const verdict_row *row = &verdict_rows[i];
        if (kw_bytes_equal(row->is_whole ? text : word, kw_bytes_of(row->text))) {
            return row;
        }
    }
    return NULL;
}

/* An IPv6 address has two colons or more, and nothing but hexadecimal digits, colons
 * and dots before a zone. */
static bool is_ipv6(kw_bytes host)
{
    size_t colons_n = 0;
    for (size_t i = 0; i < host.len && host.data[i] != '%'; i++) {
        char c = host.data[i];
        bool is_hex = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
        if (!is_hex && c != ':' && c != '.') {
            return false;
        }
        colons_n += c == ':';
    }
    return colons_n >= 2;
}

static bool has_byte(kw_bytes bytes, char byte)
{
    kw_bytes head;
    kw_bytes tail;
    return kw_bytes_split(&head, &tail, bytes, byte);
}

/* The host of a redirect without its brackets; empty is allowed, "[]" is not. */
static bool parse_host(kw_bytes *host, kw_bytes text, uint64_t port)
{
    kw_bytes bare = text;
    bool has_brackets = text.len >= 2 && text.data[0] == '[' && text.data[text.len - 1] == ']';
    if (has_brackets) {
        bare.data++;
        bare.len -= 2;
    }
    if (has_byte(bare, '[') || has_byte(bare, ']') || (has_brackets && !is_ipv6(bare)) ||
        (has_byte(bare, ':') && !is_ipv6(bare))) {
        return false;
    }
    kw_endpoint checked;
    if (bare.len > 0 && !kw_endpoint_set(&checked, bare, port)) {
        return false;
    }
    *host = bare;
    return true;
}

/* "host:port", and nothing behind. */
static bool parse_address(kw_verdict *verdict, kw_bytes text)
{
    kw_bytes host_text;
    kw_bytes port_text;
    kw_bytes host;
    uint64_t port;
    if (!kw_bytes_split_last(&host_text, &port_text, text, ':') ||
        !kw_bytes_to_uint(&port, port_text, UINT16_MAX) || port == 0 ||
        !parse_host(&host, host_text, port)) {
        return false;
    }
    verdict->port = (uint16_t)port;
    verdict->host = host;
    verdict->is_unknown = kw_bytes_equal(host, kw_bytes_of("?"));
    return true;
}

/* "MOVED slot host:port", or "REDIRECT host:port", single spaces. */
static bool parse_redirect(kw_verdict *verdict, kw_verdict_kind kind, kw_bytes text)
{
    kw_bytes word;
    kw_bytes rest;
    kw_bytes slot_text;
    kw_bytes address;
    uint64_t slot;
    if (!kw_bytes_split(&word, &rest, text, ' ')) {
        return false;
    }
    if (kind == KW_VERDICT_REDIRECT) {
        return parse_address(verdict, rest);
    }
    if (!kw_bytes_split(&slot_text, &address, rest, ' ') ||
        !kw_bytes_to_uint(&slot, slot_text, SLOT_MAX)) {
        return false;
    }
    verdict->slot = (uint16_t)slot;
    return parse_address(verdict, address);
}

kw_verdict kw_verdict_of(kw_bytes text, bool is_script)
{
    static const kw_verdict final_verdict = {KW_VERDICT_FINAL, 0, 0, {NULL, 0}, false};
    kw_verdict verdict = final_verdict;
    const verdict_row *row = find_row(text);
    if (row == NULL || (is_script && !row->is_before_run)) {
        return final_verdict;
    }
    if (kw_verdict_is_redirect(row->kind) && !parse_redirect(&verdict, row->kind, text)) {
        return final_verdict;
    }
    /* Said by the script itself, it has run. */
    if (row->kind == KW_VERDICT_NO_SCRIPT && !kw_bytes_starts(text, NO_SCRIPT_TEXT)) {
        return final_verdict;
    }
    verdict.kind = row->kind;
    return verdict;
}

kw_err kw_verdict_code(kw_verdict_kind kind)
{
    switch (kind) {
    case KW_VERDICT_MOVED:
    case KW_VERDICT_ASK:
    case KW_VERDICT_REDIRECT:
        return KW_ERR_REDIRECT;
    case KW_VERDICT_TRY_AGAIN:
        return KW_ERR_TRY_AGAIN;
    case KW_VERDICT_CLUSTER_DOWN:
        return KW_ERR_CLUSTER_DOWN;
    case KW_VERDICT_LOADING:
        return KW_ERR_LOADING;
    case KW_VERDICT_MASTER_DOWN:
        return KW_ERR_MASTER_DOWN;
    case KW_VERDICT_READONLY:
    case KW_VERDICT_UNBLOCKED: /* by a primary that became a replica */
        return KW_ERR_READONLY;
    case KW_VERDICT_BUSY:
        return KW_ERR_BUSY;
    case KW_VERDICT_FULL:
        return KW_ERR_CONNECT;
    case KW_VERDICT_FINAL:
    case KW_VERDICT_NO_SCRIPT:
    case KW_VERDICT_AUTH:
        return KW_OK;
    }
    return KW_OK;
}

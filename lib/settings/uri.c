/* SPDX-License-Identifier: BSD-3-Clause */
/* Reads a URI: scheme, login, servers, path, and options of the query. */
#include "settings/uri.h"

#include "settings/option_table.h"
#include "settings/uri_private.h"
#include "base/error.h"

#include <string.h>

#define SEEDS_MAX ((size_t)1000)

typedef struct scheme_row {
    char name[17];
    kw_scheme scheme;
    bool is_path; /* of a Unix socket */
    bool has_tls;
} scheme_row;

static const scheme_row schemes[] = {
    {"redis", KW_SCHEME_SINGLE, false, false},
    {"valkey", KW_SCHEME_SINGLE, false, false},
    {"redis+unix", KW_SCHEME_SINGLE, true, false},
    {"valkey+unix", KW_SCHEME_SINGLE, true, false},
    {"redis-cluster", KW_SCHEME_CLUSTER, false, false},
    {"valkey-cluster", KW_SCHEME_CLUSTER, false, false},
    {"redis-sentinel", KW_SCHEME_SENTINEL, false, false},
    {"valkey-sentinel", KW_SCHEME_SENTINEL, false, false},
    {"redis-ring", KW_SCHEME_RING, false, false},
    {"valkey-ring", KW_SCHEME_RING, false, false},
    {"rediss", KW_SCHEME_SINGLE, false, true},
    {"valkeys", KW_SCHEME_SINGLE, false, true},
    {"rediss-cluster", KW_SCHEME_CLUSTER, false, true},
    {"valkeys-cluster", KW_SCHEME_CLUSTER, false, true},
    {"rediss-sentinel", KW_SCHEME_SENTINEL, false, true},
    {"valkeys-sentinel", KW_SCHEME_SENTINEL, false, true},
    {"rediss-ring", KW_SCHEME_RING, false, true},
    {"valkeys-ring", KW_SCHEME_RING, false, true},
};

/* False where what stands at at may be part of a password, and so may not be shown: an unescaped
 * '?' or '&' ends the servers' part, and the rest of the password then looks like options. */
static bool may_show(const kw_uri_reader *self, const char *at)
{
    const char *password = strstr(self->uri, "password=");
    return strchr(at, '@') == NULL && (password == NULL || password >= at);
}

static kw_err set_decoded(const kw_uri_reader *self, const kw_option_row *row, kw_bytes part)
{
    kw_bytes value;
    kw_err code = kw_uri_decode(self, &value, part);
    if (code != KW_OK) {
        return code;
    }
    code = kw_option_set(self->options, self->error, self->mem, row, value);
    kw_options_free_text((char *)(uintptr_t)value.data, value.len, self->mem);
    if (code == KW_ERR_CONFIG && !may_show(self, part.data)) {
        return kw_error_set(self->error, code, KW_EFFECT_NONE,
                            "URI, character %zu: wrong value of option %s",
                            (size_t)(part.data - self->uri) + 1, row->name);
    }
    return code;
}

/* Notes that the URI has the option; a second time is an error, whose place is at. */
static kw_err see_once(kw_uri_reader *self, const kw_option_row *row, const char *at)
{
    bool *has_seen = &self->has_seen[row - kw_option_row_at(0)];
    if (*has_seen) {
        return kw_uri_wrong(self, at, "the option is given twice");
    }
    *has_seen = true;
    return KW_OK;
}

static kw_err set_once(kw_uri_reader *self, const char *option, kw_bytes part)
{
    const kw_option_row *row = kw_option_row_find(kw_bytes_of(option));
    kw_err code = see_once(self, row, part.data);
    return code == KW_OK ? set_decoded(self, row, part) : code;
}

/* "user", "user:password", ":password"; what is not there keeps its setting. */
static kw_err read_login(kw_uri_reader *self, kw_bytes login)
{
    kw_bytes user = login;
    kw_bytes password;
    bool has_password = kw_bytes_split(&user, &password, login, ':');
    kw_err code = user.len > 0 ? set_once(self, "user", user) : KW_OK;
    return code == KW_OK && has_password ? set_once(self, "password", password) : code;
}

static kw_err replace_seeds(const kw_uri_reader *self, const kw_endpoint *seeds, size_t seeds_n)
{
    kw_endpoint *copy = kw_mem_calloc(self->mem, seeds_n, sizeof(copy[0]));
    if (copy == NULL) {
        return kw_error_set(self->error, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory for a URI");
    }
    size_t n = 0;
    for (size_t i = 0; i < seeds_n; i++) {
        bool is_new = true;
        for (size_t k = 0; k < n; k++) {
            is_new = is_new && !kw_endpoint_equal(&copy[k], &seeds[i]);
        }
        if (is_new) {
            copy[n++] = seeds[i];
        }
    }
    kw_mem_free(self->mem, self->options->seeds);
    self->options->seeds = copy;
    self->options->seeds_n = n;
    return KW_OK;
}

static kw_err read_servers(const kw_uri_reader *self, kw_bytes servers)
{
    if (self->options->scheme == KW_SCHEME_RING) {
        return kw_uri_read_members(self, servers);
    }
    size_t n = 1;
    for (size_t i = 0; i < servers.len; i++) {
        n += servers.data[i] == ',' ? 1 : 0;
    }
    if (n > SEEDS_MAX) {
        return kw_uri_wrong(self, servers.data, "more than 1000 servers");
    }
    if (n > 1 && self->options->scheme == KW_SCHEME_SINGLE) {
        return kw_uri_wrong(self, servers.data,
                            "this scheme takes one server; for a cluster use redis-cluster://");
    }
    kw_endpoint *seeds = kw_mem_calloc(self->mem, n, sizeof(seeds[0]));
    if (seeds == NULL) {
        return kw_error_set(self->error, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory for a URI");
    }
    kw_err code = KW_OK;
    kw_bytes rest = servers;
    for (size_t i = 0; i < n && code == KW_OK; i++) {
        kw_bytes server = rest;
        (void)kw_bytes_split(&server, &rest, rest, ',');
        code = kw_uri_read_server(self, &seeds[i], server);
    }
    if (code == KW_OK) {
        code = replace_seeds(self, seeds, n);
    }
    kw_mem_free(self->mem, seeds);
    return code;
}

static kw_err read_option(kw_uri_reader *self, kw_bytes pair)
{
    kw_bytes name;
    kw_bytes value;
    if (!kw_bytes_split(&name, &value, pair, '=')) {
        return kw_uri_wrong(self, pair.data, "an option is written name=value");
    }
    const kw_option_row *row = kw_option_row_find(name);
    if (row == NULL && !may_show(self, name.data)) {
        return kw_uri_wrong(self, name.data,
                            "unknown option; in a password write %26 for &, %3F for ?, %40 for @");
    }
    if (row == NULL) {
        char shown[60];
        const char *nearest = kw_option_nearest(name);
        return kw_error_set(
            self->error, KW_ERR_CONFIG, KW_EFFECT_NONE,
            "URI, character %zu: unknown option \"%s\"%s%s%s", (size_t)(name.data - self->uri) + 1,
            kw_bytes_show(shown, sizeof(shown), name), nearest != NULL ? "; did you mean " : "",
            nearest != NULL ? nearest : "", nearest != NULL ? "?" : "");
    }
    kw_err code = see_once(self, row, pair.data);
    return code == KW_OK ? set_decoded(self, row, value) : code;
}

static kw_err read_query(kw_uri_reader *self, kw_bytes query)
{
    kw_err code = KW_OK;
    bool has_more = query.len > 0;
    while (has_more && code == KW_OK) {
        kw_bytes pair = query;
        has_more = kw_bytes_split(&pair, &query, query, '&');
        code = read_option(self, pair);
    }
    return code;
}

/* "/3" behind the servers. */
static kw_err read_database(kw_uri_reader *self, kw_bytes path)
{
    if (path.len == 0) {
        return KW_OK;
    }
    uint64_t number;
    if (!kw_bytes_to_uint(&number, path, 1000000)) {
        return kw_uri_wrong(self, path.data, "the path is not a database number");
    }
    self->options->database = number;
    return see_once(self, kw_option_row_find(kw_bytes_of("db")), path.data);
}

/* "/mymaster" or "/mymaster/3" behind the sentinels. */
static kw_err read_service(kw_uri_reader *self, kw_bytes path)
{
    kw_bytes service = path;
    kw_bytes database = {path.data + path.len, 0};
    (void)kw_bytes_split(&service, &database, path, '/');
    kw_err code = service.len > 0 ? set_once(self, "service", service) : KW_OK;
    return code == KW_OK ? read_database(self, database) : code;
}

static kw_err read_path(const kw_uri_reader *self, kw_bytes path)
{
    kw_bytes text;
    kw_err code = kw_uri_decode(self, &text, path);
    if (code != KW_OK) {
        return code;
    }
    kw_endpoint server;
    if (text.len == 0 || text.data[0] != '/' || !kw_endpoint_set(&server, text, 0)) {
        code = kw_uri_wrong(self, path.data,
                            "expected the path of a Unix socket, as in "
                            "redis+unix:///run/redis.sock");
    } else {
        code = replace_seeds(self, &server, 1);
    }
    kw_mem_free(self->mem, (void *)(uintptr_t)text.data);
    return code;
}

static kw_err find_scheme(const kw_uri_reader *self, const scheme_row **row, kw_bytes name)
{
    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
        if (kw_bytes_equal_nocase(name, kw_bytes_of(schemes[i].name))) {
            *row = &schemes[i];
            if (schemes[i].has_tls && !self->options->build.has_tls) {
                return kw_error_set(self->error, KW_ERR_UNSUPPORTED, KW_EFFECT_NONE,
                                    "URI, scheme %s: %s", schemes[i].name, KW_TLS_MISSING);
            }
            return KW_OK;
        }
    }
    return kw_uri_wrong(
        self, self->uri,
        "unknown scheme; known are redis, redis+unix, redis-cluster, redis-sentinel, "
        "redis-ring, the same with rediss for TLS, and with valkey");
}

/* Reads what stands between "://" and "?". */
static kw_err read_place(kw_uri_reader *self, const scheme_row *row, kw_bytes place)
{
    kw_bytes login;
    kw_bytes behind;
    if (kw_bytes_split_last(&login, &behind, place, '@')) {
        kw_err code = read_login(self, login);
        if (code != KW_OK) {
            return code;
        }
        place = behind;
    }
    if (row->is_path) {
        return read_path(self, place);
    }
    kw_bytes servers = place;
    kw_bytes database = {place.data + place.len, 0};
    (void)kw_bytes_split(&servers, &database, place, '/');
    kw_err code = read_servers(self, servers);
    if (code != KW_OK) {
        return code;
    }
    bool is_sentinel = row->scheme == KW_SCHEME_SENTINEL;
    return is_sentinel ? read_service(self, database) : read_database(self, database);
}

/* What stands behind a scheme that lacks its slashes, as in "redis:host:6379"; NULL: nothing does.
 * "redis:6379" is a host of that name. */
static const char *behind_bare_scheme(const char *uri)
{
    const char *colon = strchr(uri, ':');
    kw_bytes name = {uri, colon != NULL ? (size_t)(colon - uri) : 0};
    bool is_scheme = false;
    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
        is_scheme = is_scheme || kw_bytes_equal_nocase(name, kw_bytes_of(schemes[i].name));
    }
    if (!is_scheme) {
        return NULL;
    }
    size_t digits_n = strspn(colon + 1, "0123456789");
    bool is_port = digits_n > 0 && strchr("/?", colon[1 + digits_n]) != NULL; /* or its end */
    return is_port ? NULL : colon + 1;
}

/* The scheme's row, and what stands behind it. Without a scheme it is one server: "host:port", or
 * the path of a Unix socket. */
static kw_err read_scheme(const kw_uri_reader *self, const scheme_row **row, kw_bytes *rest)
{
    const char *colon = strstr(self->uri, "://");
    const char *question = strchr(self->uri, '?');
    *rest = kw_bytes_of(self->uri);
    if (colon == NULL || (question != NULL && question < colon)) {
        const char *behind = behind_bare_scheme(self->uri);
        if (behind != NULL) {
            return kw_uri_wrong(self, behind,
                                "// is missing behind the scheme, as in redis://host:port");
        }
        return find_scheme(self, row, kw_bytes_of(self->uri[0] == '/' ? "redis+unix" : "redis"));
    }
    kw_bytes name = {self->uri, (size_t)(colon - self->uri)};
    *rest = kw_bytes_of(colon + 3);
    return find_scheme(self, row, name);
}

kw_err kw_uri_read(kw_options *options, kw_error *error, const kw_allocator *mem, const char *uri)
{
    kw_uri_reader self = {options, error, mem, "URI", uri, {false}};
    const scheme_row *row = NULL;
    kw_bytes rest;
    kw_err code = read_scheme(&self, &row, &rest);
    if (code != KW_OK) {
        return code;
    }
    options->scheme = row->scheme;
    options->has_tls = row->has_tls;
    const char *again = strstr(rest.data, "://");
    if (again != NULL && memchr(rest.data, '?', (size_t)(again - rest.data)) == NULL &&
        memchr(rest.data, '@', (size_t)(again - rest.data)) == NULL) {
        return kw_uri_wrong(&self, again, "the scheme is written once, before the first server");
    }
    kw_bytes place = rest;
    kw_bytes query = {rest.data + rest.len, 0};
    (void)kw_bytes_split(&place, &query, rest, '?');
    code = read_place(&self, row, place);
    if (code == KW_OK) {
        code = read_query(&self, query);
    }
    return code;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* keyway/config.h: settings by name and by URI. */
#include "api/config.h"

#include "settings/option_table.h"
#include "settings/quorum_check.h"
#include "settings/uri.h"
#include "base/error.h"
#include "base/reader_functions.h"
#include "net/logins.h"
#include "net/tls.h"

#include <string.h>

kw_config *kw_config_new(const kw_allocator *allocator)
{
    const kw_allocator *mem = allocator != NULL ? allocator : kw_mem_default();
    kw_config *config = kw_mem_calloc(mem, 1, sizeof(*config));
    if (config == NULL) {
        return NULL;
    }
    config->host.mem = *mem;
    config->options.build.has_tls = kw_tls_is_built();
    config->options.build.has_resp3 = kw_reader_knows_resp3();
    const kw_option_row *row;
    for (size_t i = 0; (row = kw_option_row_at(i)) != NULL; i++) {
        if (row->default_value[0] != '\0') {
            (void)kw_option_set(&config->options, NULL, mem, row, kw_bytes_of(row->default_value));
        }
    }
    return config;
}

/* Puts fresh, a copy of the options that was changed with this result, in their place. */
static kw_err commit(kw_config *config, kw_error *error, kw_options *fresh, kw_err code)
{
    code = code == KW_OK ? kw_quorum_check(fresh, error) : code;
    kw_options *loser = code == KW_OK ? &config->options : fresh;
    kw_options_fini(loser, &config->host.mem);
    if (code == KW_OK) {
        config->options = *fresh;
    }
    return code;
}

kw_err kw_config_set_uri(kw_config *config, kw_error *error, const char *uri)
{
    if (config == NULL || uri == NULL) {
        return kw_error_set(error, KW_ERR_CONFIG, KW_EFFECT_NONE, "config or uri is NULL");
    }
    kw_options fresh;
    if (!kw_options_copy(&fresh, &config->options, &config->host.mem)) {
        return kw_error_set(error, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory for a URI");
    }
    kw_err code = kw_uri_read(&fresh, error, &config->host.mem, uri);
    return commit(config, error, &fresh, code);
}

/* The option server: a URI, or as if none had named any. */
static kw_err set_server(kw_config *config, kw_error *error, const char *value)
{
    if (value[0] != '\0') {
        return kw_config_set_uri(config, error, value);
    }
    kw_options_forget_servers(&config->options, &config->host.mem);
    return KW_OK;
}

kw_err kw_config_set(kw_config *config, kw_error *error, const char *name, const char *value)
{
    if (config == NULL || name == NULL || value == NULL) {
        return kw_error_set(error, KW_ERR_CONFIG, KW_EFFECT_NONE, "config, name or value is NULL");
    }
    const kw_option_row *row = kw_option_row_need(error, kw_bytes_of(name));
    if (row == NULL) {
        return KW_ERR_CONFIG;
    }
    if (row->kind == KW_OPTION_SERVER) {
        return set_server(config, error, value);
    }
    return kw_option_set(&config->options, error, &config->host.mem, row, kw_bytes_of(value));
}

size_t kw_uri_escape(char *out, size_t room, const char *text, size_t len)
{
    static const char digits[] = "0123456789ABCDEF";
    static const char plain[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    size_t out_len = 0;
    for (size_t i = 0; text != NULL && i < len; i++) {
        unsigned char byte = (unsigned char)text[i];
        bool is_plain = byte != 0 && strchr(plain, byte) != NULL;
        char escaped[3] = {'%', digits[byte >> 4], digits[byte & 15]};
        size_t n = is_plain ? 1 : sizeof(escaped);
        if (out_len + n < room) {
            memcpy(out + out_len, is_plain ? text + i : escaped, n);
        }
        out_len += n;
    }
    if (room > 0) {
        out[out_len < room ? out_len : 0] = '\0'; /* cut, it would be another text */
    }
    return out_len;
}

void kw_config_set_log(kw_config *config, kw_log_level level, kw_log_fn log, void *arg)
{
    if (config == NULL) {
        return;
    }
    config->host.log_level = level;
    config->host.log = log;
    config->host.log_arg = arg;
}

void kw_config_set_resolver(kw_config *config, kw_resolve_fn resolve, void *arg)
{
    if (config == NULL) {
        return;
    }
    config->host.resolve = resolve;
    config->host.resolve_arg = arg;
}

void kw_config_set_login(kw_config *config, kw_login_fn login, void *arg)
{
    if (config == NULL) {
        return;
    }
    config->host.login = login;
    config->host.login_arg = arg;
}

kw_err kw_login_give(kw_login *login, kw_error *error, const char *user, const char *password,
                     uint64_t renew_ms)
{
    if (login == NULL || (user != NULL && password == NULL)) {
        return kw_error_set(error, KW_ERR_ARGUMENT, KW_EFFECT_NONE,
                            "login is NULL, or a user has no password");
    }
    kw_err code = kw_logins_give(login, user, password, renew_ms);
    return code == KW_OK ? KW_OK
                         : kw_error_set(error, code, KW_EFFECT_NONE, "no memory for a login");
}

void kw_config_set_clock(kw_config *config, kw_clock_fn clock, void *arg)
{
    if (config == NULL) {
        return;
    }
    config->host.clock = clock;
    config->host.clock_arg = arg;
}

void kw_config_free(kw_config *config)
{
    if (config != NULL) {
        kw_allocator mem = config->host.mem;
        kw_options_fini(&config->options, &mem);
        kw_mem_free(&mem, config);
    }
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include "api/config.h"

#include "api/option_table.h"
#include "api/quorum_rule.h"
#include "api/uri.h"
#include "base/error.h"

#include <string.h>

static bool copy_text(char **copy, const char *text, const kw_allocator *mem)
{
    *copy = text != NULL ? kw_mem_strndup(mem, text, strlen(text)) : NULL;
    return text == NULL || *copy != NULL;
}

static bool copy_array(void **copy, const void *array, size_t count, size_t len,
                       const kw_allocator *mem)
{
    *copy = NULL;
    if (count == 0) {
        return true;
    }
    *copy = kw_mem_calloc(mem, count, len);
    if (*copy != NULL) {
        memcpy(*copy, array, count * len);
    }
    return *copy != NULL;
}

bool kw_options_copy(kw_options *copy, const kw_options *options, const kw_allocator *mem)
{
    kw_options fresh = *options;
    void *seeds = NULL;
    void *pairs = NULL;
    void *zones = NULL;
    bool is_whole = copy_text(&fresh.user, options->user, mem);
    is_whole = copy_text(&fresh.password, options->password, mem) && is_whole;
    is_whole = copy_text(&fresh.client_name, options->client_name, mem) && is_whole;
    is_whole = copy_text(&fresh.service, options->service, mem) && is_whole;
    is_whole = copy_text(&fresh.sentinel_user, options->sentinel_user, mem) && is_whole;
    is_whole = copy_text(&fresh.sentinel_password, options->sentinel_password, mem) && is_whole;
    is_whole = copy_text(&fresh.tls_ca, options->tls_ca, mem) && is_whole;
    is_whole = copy_text(&fresh.tls_ca_dir, options->tls_ca_dir, mem) && is_whole;
    is_whole = copy_text(&fresh.tls_cert, options->tls_cert, mem) && is_whole;
    is_whole = copy_text(&fresh.tls_key, options->tls_key, mem) && is_whole;
    is_whole = copy_text(&fresh.tls_server_name, options->tls_server_name, mem) && is_whole;
    is_whole = copy_text(&fresh.placement, options->placement, mem) && is_whole;
    kw_roster none = {NULL, 0, 0};
    fresh.roster = none;
    is_whole = kw_roster_copy(&fresh.roster, &options->roster, mem) && is_whole;
    is_whole =
        copy_array(&seeds, options->seeds, options->seeds_n, sizeof(options->seeds[0]), mem) &&
        is_whole;
    is_whole = copy_array(&pairs, options->address_map, options->address_map_n,
                          sizeof(options->address_map[0]), mem) &&
               is_whole;
    is_whole =
        copy_array(&zones, options->zones, options->zones_n, sizeof(options->zones[0]), mem) &&
        is_whole;
    fresh.seeds = seeds;
    fresh.zones = zones;
    fresh.address_map = pairs;
    if (!is_whole) {
        kw_options_fini(&fresh, mem);
        return false;
    }
    *copy = fresh;
    return true;
}

static void free_secret(char *text, const kw_allocator *mem)
{
    if (text != NULL) {
        kw_options_free_text(text, strlen(text), mem);
    }
}

void kw_options_fini(kw_options *options, const kw_allocator *mem)
{
    kw_mem_free(mem, options->seeds);
    kw_mem_free(mem, options->user);
    free_secret(options->password, mem);
    kw_mem_free(mem, options->client_name);
    kw_mem_free(mem, options->service);
    kw_mem_free(mem, options->sentinel_user);
    free_secret(options->sentinel_password, mem);
    kw_mem_free(mem, options->tls_ca);
    kw_mem_free(mem, options->tls_ca_dir);
    kw_mem_free(mem, options->tls_cert);
    kw_mem_free(mem, options->tls_key);
    kw_mem_free(mem, options->tls_server_name);
    kw_mem_free(mem, options->placement);
    kw_roster_fini(&options->roster, mem);
    kw_mem_free(mem, options->zones);
    kw_mem_free(mem, options->address_map);
    memset(options, 0, sizeof(*options));
}

kw_config *kw_config_new(const kw_allocator *allocator)
{
    const kw_allocator *mem = allocator != NULL ? allocator : kw_mem_default();
    kw_config *config = kw_mem_calloc(mem, 1, sizeof(*config));
    if (config == NULL) {
        return NULL;
    }
    config->mem = *mem;
    const kw_option_row *row;
    for (size_t i = 0; (row = kw_option_row_at(i)) != NULL; i++) {
        if (row->default_value != NULL) {
            (void)kw_option_set(&config->options, NULL, mem, row, kw_bytes_of(row->default_value));
        }
    }
    return config;
}

kw_err kw_config_set_uri(kw_config *config, const char *uri, kw_error *error)
{
    if (config == NULL || uri == NULL) {
        return kw_error_set(error, KW_ERR_CONFIG, KW_EFFECT_NONE, "config or uri is NULL");
    }
    kw_options fresh;
    if (!kw_options_copy(&fresh, &config->options, &config->mem)) {
        return kw_error_set(error, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory for a URI");
    }
    kw_err code = kw_uri_read(&fresh, error, &config->mem, uri);
    code = code == KW_OK ? kw_quorum_check(&fresh, error) : code;
    if (code != KW_OK) {
        kw_options_fini(&fresh, &config->mem);
        return code;
    }
    kw_options_fini(&config->options, &config->mem);
    config->options = fresh;
    return KW_OK;
}

kw_err kw_config_set(kw_config *config, const char *name, const char *value, kw_error *error)
{
    if (config == NULL || name == NULL || value == NULL) {
        return kw_error_set(error, KW_ERR_CONFIG, KW_EFFECT_NONE, "config, name or value is NULL");
    }
    const kw_option_row *row = kw_option_row_find(kw_bytes_of(name));
    if (row == NULL) {
        char shown[60];
        const char *nearest = kw_option_nearest(kw_bytes_of(name));
        return kw_error_set(error, KW_ERR_CONFIG, KW_EFFECT_NONE, "unknown option \"%s\"%s%s%s",
                            kw_bytes_show(shown, sizeof(shown), kw_bytes_of(name)),
                            nearest != NULL ? "; did you mean " : "",
                            nearest != NULL ? nearest : "", nearest != NULL ? "?" : "");
    }
    uint64_t database = config->options.database;
    kw_err code = kw_option_set(&config->options, error, &config->mem, row, kw_bytes_of(value));
    if (config->options.scheme == KW_SCHEME_CLUSTER && config->options.database != 0) {
        config->options.database = database;
        return kw_error_set(error, KW_ERR_CONFIG, KW_EFFECT_NONE,
                            "option db: a cluster has database 0 only; use key prefixes instead");
    }
    return code;
}

const char *kw_config_option(size_t index, const char **description, const char **default_value)
{
    const kw_option_row *row = kw_option_row_at(index);
    if (row == NULL) {
        return NULL;
    }
    if (description != NULL) {
        *description = row->description;
    }
    if (default_value != NULL) {
        *default_value = row->default_value != NULL ? row->default_value : "";
    }
    return row->name;
}

void kw_config_set_log(kw_config *config, kw_log_level level, kw_log_fn log, void *arg)
{
    if (config == NULL) {
        return;
    }
    config->log_level = level;
    config->log = log;
    config->log_arg = arg;
}

void kw_config_set_event(kw_config *config, kw_event_fn event, void *arg)
{
    if (config == NULL) {
        return;
    }
    config->event = event;
    config->event_arg = arg;
}

void kw_config_set_clock(kw_config *config, kw_clock_fn clock, void *arg)
{
    if (config == NULL) {
        return;
    }
    config->clock = clock;
    config->clock_arg = arg;
}

void kw_config_free(kw_config *config)
{
    if (config != NULL) {
        kw_allocator mem = config->mem;
        kw_options_fini(&config->options, &mem);
        kw_mem_free(&mem, config);
    }
}

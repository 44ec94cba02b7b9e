/* SPDX-License-Identifier: BSD-3-Clause */
/* What is wrong with options only when they are seen together. */
#include "settings/options_check.h"

#include "base/error.h"
#include "settings/quorum_check.h"

bool kw_options_uses_tls(const kw_options *options)
{
    bool has_sentinels = options->scheme == KW_SCHEME_SENTINEL || options->scheme == KW_SCHEME_RING;
    return options->has_tls || (has_sentinels && kw_options_has_sentinel_tls(options));
}

/* A user alone would be left out of the greeting, and another one would be logged in. */
static kw_err check_login(const char *user, const char *password, const char *prefix,
                          kw_error *error)
{
    if (user == NULL || password != NULL) {
        return KW_OK;
    }
    return kw_error_set(error, KW_ERR_CONFIG, KW_EFFECT_NONE,
                        "%suser is given, and no %spassword, without which nobody logs in by that "
                        "name; a user without one (nopass) takes any",
                        prefix, prefix);
}

kw_err kw_options_check(const kw_options *options, kw_error *error)
{
    if ((options->seeds_n == 0 && options->scheme != KW_SCHEME_RING) ||
        (options->ring_members.n == 0 && options->scheme == KW_SCHEME_RING)) {
        return kw_error_set(error, KW_ERR_CONFIG, KW_EFFECT_NONE,
                            "no server given: call kw_config_set_uri first");
    }
    if (options->scheme == KW_SCHEME_SENTINEL && options->service == NULL) {
        return kw_error_set(error, KW_ERR_CONFIG, KW_EFFECT_NONE,
                            "the name that the sentinels know is missing, as in "
                            "redis-sentinel://host:26379/mymaster");
    }
    bool names_files = options->tls_ca != NULL || options->tls_ca_dir != NULL ||
                       options->tls_cert != NULL || options->tls_key != NULL;
    if (names_files && !kw_options_uses_tls(options)) {
        return kw_error_set(error, KW_ERR_CONFIG, KW_EFFECT_NONE,
                            "certificates are given, but the scheme has no TLS; with it the URI "
                            "begins with rediss");
    }
    if (kw_options_moves_keys(options) && options->scheme != KW_SCHEME_RING) {
        return kw_error_set(error, KW_ERR_CONFIG, KW_EFFECT_NONE,
                            "on-node-down=next and eject give keys to other nodes, which only a "
                            "ring can; here it is fail or wait");
    }
    if (check_login(options->user, options->password, "", error) != KW_OK ||
        check_login(options->sentinel_user, options->sentinel_password, "sentinel-", error) !=
            KW_OK) {
        return KW_ERR_CONFIG;
    }
    if (options->pool_min > options->pool_max) {
        return kw_error_set(
            error, KW_ERR_CONFIG, KW_EFFECT_NONE, "pool-min=%llu is more than pool-max=%llu",
            (unsigned long long)options->pool_min, (unsigned long long)options->pool_max);
    }
    return kw_quorum_check(options, error);
}

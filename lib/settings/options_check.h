/* SPDX-License-Identifier: BSD-3-Clause */
/* Options, checked together: what no option can know by itself. */
#ifndef SETTINGS_OPTIONS_CHECK_H
#define SETTINGS_OPTIONS_CHECK_H

#include <keyway/error.h>

#include "settings/options.h"

/* KW_OK for settings that a handle can be made of; KW_ERR_CONFIG, with an error that says what is
 * missing or does not go together. */
kw_err kw_options_check(const kw_options *options, kw_error *error);

/* True where any server of the handle is spoken to by TLS. */
bool kw_options_uses_tls(const kw_options *options);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* Option change: one setting of a handle that is in use. */
#ifndef SETTINGS_OPTION_CHANGE_H
#define SETTINGS_OPTION_CHANGE_H

#include <keyway/error.h>

#include "base/bytes.h"
#include "settings/options.h"

/* Changes one of the options that may change, while other threads read them; one thread at a time.
 * KW_ERR_CONFIG, with an error that says why not: it is unknown, fixed, or does not go together
 * with the others. */
kw_err kw_option_change(kw_options *options, kw_error *error, kw_bytes name, kw_bytes value);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* Settings that change under a running handle: read and checked beside it, then put in their place
 * at once. */
#include "settings/option_change.h"

#include "base/error.h"
#include "settings/option_table.h"
#include "settings/options_check.h"

/* Puts the value in its place, for threads that read it meanwhile. */
static void put(kw_options *options, const kw_options *fresh, const kw_option_row *row)
{
    char *place = (char *)options + row->offset;
    const char *value = (const char *)fresh + row->offset;
    if (row->kind == KW_OPTION_READ) {
        options->read_zone = fresh->read_zone; /* before the preference that asks for it */
        options->read = fresh->read;
    } else if (row->kind == KW_OPTION_SPLIT) {
        *(kw_live_choice *)(void *)place = *(const kw_live_choice *)(const void *)value;
    } else {
        *(kw_live_number *)(void *)place = *(const kw_live_number *)(const void *)value;
    }
}

kw_err kw_option_change(kw_options *options, kw_error *error, kw_bytes name, kw_bytes value)
{
    const kw_option_row *row = kw_option_row_need(error, name);
    if (row == NULL) {
        return KW_ERR_CONFIG;
    }
    if (!row->is_live) {
        return kw_error_set(error, KW_ERR_CONFIG, KW_EFFECT_NONE,
                            "option %s: it is fixed once the handle is open; open another handle",
                            row->name);
    }
    kw_options fresh = *options; /* what it points at stays the handle's: no live option has any */
    kw_err code = kw_option_set(&fresh, error, NULL, row, value);
    code = code == KW_OK ? kw_options_check(&fresh, error) : code;
    if (code == KW_OK) {
        put(options, &fresh, row);
    }
    return code;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* keyway/config.h: the list of options, apart, as it is here that texts of all of them hang on. */
#include "api/config.h"

#include "settings/option_table.h"
#include "settings/option_texts.h"

const char *kw_config_option(size_t index, const char **description, const char **default_value)
{
    const kw_option_row *row = kw_option_row_at(index);
    if (row == NULL) {
        return NULL;
    }
    if (description != NULL) {
        *description = kw_option_text(index);
    }
    if (default_value != NULL) {
        *default_value = row->default_value;
    }
    return row->name;
}

bool kw_config_option_is_live(size_t index)
{
    const kw_option_row *row = kw_option_row_at(index);
    return row != NULL && row->is_live;
}

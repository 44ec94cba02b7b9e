/* SPDX-License-Identifier: BSD-3-Clause */
/* What each option does, in words: apart from the table, as only programs that list options carry
 * it. */
#include "settings/option_texts.h"

#include "base/bytes.h"

#define ROW(name, kind, at, min, max, default_value, description) description "\0"
static const char texts[] =
#include "settings/option_rows.def"
    ;
#undef ROW

const char *kw_option_text(size_t index)
{
    return kw_texts_at(texts, index);
}

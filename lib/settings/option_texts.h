/* SPDX-License-Identifier: BSD-3-Clause */
/* Option texts: one line for each row of the option table. */
#ifndef SETTINGS_OPTION_TEXTS_H
#define SETTINGS_OPTION_TEXTS_H

#include <stddef.h>

/* What the option of that row does; there must be such a row. */
const char *kw_option_text(size_t index);

#endif

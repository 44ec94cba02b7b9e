/* SPDX-License-Identifier: BSD-3-Clause */
/* keyway/version.h. */
#include <keyway/version.h>

const char *kw_version(void)
{
    return KW_VERSION;
}

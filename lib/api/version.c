/* SPDX-License-Identifier: BSD-3-Clause */
#include <keyway/version.h>

const char *kw_version(void)
{
    return KW_VERSION;
}

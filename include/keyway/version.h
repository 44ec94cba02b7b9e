/* SPDX-License-Identifier: BSD-3-Clause */
/* keyway: the version, the one place where it is written. The build reads it
 * from here for keyway.pc and the soname. */
#ifndef KEYWAY_VERSION_H
#define KEYWAY_VERSION_H

#include <keyway/export.h>

#ifdef __cplusplus
extern "C" {
#endif

#define KW_VERSION_MAJOR 0
#define KW_VERSION_MINOR 1
#define KW_VERSION_PATCH 0
#define KW_VERSION       "0.1.0"

/* Version of the library that is linked in, "major.minor.patch"; compare it
 * with KW_VERSION, the version that the program was compiled against. The text
 * is constant. Any thread. */
KW_API const char *kw_version(void);

#ifdef __cplusplus
}
#endif

#endif

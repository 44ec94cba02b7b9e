/* SPDX-License-Identifier: BSD-3-Clause */
/* keyway: the version.
 *
 *   if (strcmp(kw_version(), KW_VERSION) != 0)
 *       fprintf(stderr, "built with keyway %s, runs with %s\n", KW_VERSION, kw_version());
 *
 * This header is the one place where the version is written: the build reads it from here. */
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

/* Version of the library that the program runs with, "major.minor.patch"; KW_VERSION is that of the
 * headers which it was compiled with. The text is constant. Any thread. */
KW_API const char *kw_version(void);

#ifdef __cplusplus
}
#endif

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* SHA1: the name under which servers keep a script. FIPS 180-4, section 6.1; not for secrets. */
#ifndef BASE_SHA1_H
#define BASE_SHA1_H

#include "base/bytes.h"

#define KW_SHA1_BYTES 20
#define KW_SHA1_TEXT  40

void kw_sha1(unsigned char digest[KW_SHA1_BYTES], kw_bytes text);

/* The digest in lower-case hexadecimal digits, and a zero byte. */
void kw_sha1_text(char out[KW_SHA1_TEXT + 1], kw_bytes text);

#endif

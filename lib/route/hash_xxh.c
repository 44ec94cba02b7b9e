/* SPDX-License-Identifier: BSD-3-Clause */
/* XXH3 of any bytes, once for all who hash keys and names. */
#include "route/hash_xxh.h"

uint64_t kw_xxh3(const char *data, size_t len, uint64_t seed)
{
    return XXH3_64bits_withSeed(data, len, seed);
}

bool kw_xxh_is_right(void)
{
    return kw_xxh3("", 0, 0) == UINT64_C(0x2d06800538d394c2) &&
           kw_xxh3("keyway", 6, 0) == UINT64_C(0xfdadf32dfb7c859e) &&
           XXH64("", 0, 0) == UINT64_C(0xef46db3751d8e999);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* The hash functions of twemproxy, by the names of its configuration. */
#include "route/hash_compat.h"

#include "route/crc16.h"
#include "route/hash_md5.h"

/* Fowler, Noll, Vo: offset basis and prime of 32 bits; of the 64-bit kind the low 32
 * bits, which is all that reaches the result. */
#define FNV32_BASIS UINT32_C(2166136261)
#define FNV32_PRIME UINT32_C(16777619)
#define FNV64_BASIS UINT32_C(0x84222325)
#define FNV64_PRIME UINT32_C(0x1b3)

/* The byte as C's char has it on a machine where char is signed, or is not. */
static uint32_t widen(char byte, bool is_signed)
{
    uint32_t value = (unsigned char)byte;
    return is_signed && value >= 0x80 ? value | UINT32_C(0xffffff00) : value;
}

/* Bob Jenkins' one-at-a-time. */
static uint32_t one_at_a_time(const char *key, size_t key_len, bool signed_bytes)
{
    uint32_t hash = 0;
    for (size_t i = 0; i < key_len; i++) {
        hash += widen(key[i], signed_bytes);
        hash += hash << 10;
        hash ^= hash >> 6;
    }
    hash += hash << 3;
    hash ^= hash >> 11;
    return hash + (hash << 15);
}

static uint32_t fnv1(const char *key, size_t key_len, bool signed_bytes, const uint32_t start[2])
{
    uint32_t hash = start[0];
    for (size_t i = 0; i < key_len; i++) {
        hash = (hash * start[1]) ^ widen(key[i], signed_bytes);
    }
    return hash;
}

static uint32_t fnv1a(const char *key, size_t key_len, bool signed_bytes, const uint32_t start[2])
{
    uint32_t hash = start[0];
    for (size_t i = 0; i < key_len; i++) {
        hash = (hash ^ widen(key[i], signed_bytes)) * start[1];
    }
    return hash;
}

static const uint32_t fnv32[2] = {FNV32_BASIS, FNV32_PRIME};
static const uint32_t fnv64[2] = {FNV64_BASIS, FNV64_PRIME};

static uint32_t fnv1_32(const char *key, size_t key_len, bool signed_bytes)
{
    return fnv1(key, key_len, signed_bytes, fnv32);
}

static uint32_t fnv1a_32(const char *key, size_t key_len, bool signed_bytes)
{
    return fnv1a(key, key_len, signed_bytes, fnv32);
}

static uint32_t fnv1_64(const char *key, size_t key_len, bool signed_bytes)
{
    return fnv1(key, key_len, signed_bytes, fnv64);
}

static uint32_t fnv1a_64(const char *key, size_t key_len, bool signed_bytes)
{
    return fnv1a(key, key_len, signed_bytes, fnv64);
}

static uint32_t md5(const char *key, size_t key_len, bool signed_bytes)
{
    (void)signed_bytes;
    uint32_t digest[4];
    kw_md5(digest, key, key_len);
    return digest[0];
}

/* XMODEM's table, but what is shifted out of 16 bits stays in the upper half. */
static uint32_t crc16(const char *key, size_t key_len, bool signed_bytes)
{
    (void)signed_bytes;
    uint32_t crc = 0;
    for (size_t i = 0; i < key_len; i++) {
        crc = crc << 8 ^ kw_crc16_table[0][(crc >> 8 ^ (unsigned char)key[i]) & 0xff];
    }
    return crc;
}

/* IEEE 802.3. */
static uint32_t crc32_of(const char *key, size_t key_len)
{
    /* Four bits at a time; polynomial 0xedb88320, reflected. */
    static const uint32_t table[16] = {
        0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4,
        0x4db26158, 0x5005713c, 0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c,
        0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c,
    };
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < key_len; i++) {
        crc ^= (unsigned char)key[i];
        crc = crc >> 4 ^ table[crc & 0xf];
        crc = crc >> 4 ^ table[crc & 0xf];
    }
    return ~crc;
}

static uint32_t crc32a(const char *key, size_t key_len, bool signed_bytes)
{
    (void)signed_bytes;
    return crc32_of(key, key_len);
}

static uint32_t crc32(const char *key, size_t key_len, bool signed_bytes)
{
    (void)signed_bytes;
    return crc32_of(key, key_len) >> 16 & 0x7fff;
}

static uint32_t murmur(const char *key, size_t key_len, bool signed_bytes)
{
    (void)signed_bytes;
    return kw_hash_murmur(key, key_len);
}

static uint32_t jenkins(const char *key, size_t key_len, bool signed_bytes)
{
    (void)signed_bytes;
    return kw_hash_jenkins(key, key_len);
}

static const kw_hash_compat table[] = {
    {"one_at_a_time", one_at_a_time, 32},
    {"md5", md5, 32},
    {"crc16", crc16, 32},
    {"crc32", crc32, 15},
    {"crc32a", crc32a, 32},
    {"fnv1_64", fnv1_64, 32},
    {"fnv1a_64", fnv1a_64, 32},
    {"fnv1_32", fnv1_32, 32},
    {"fnv1a_32", fnv1a_32, 32},
    {"murmur", murmur, 32},
    {"jenkins", jenkins, 32},
};

const kw_hash_compat *kw_hash_compat_at(size_t index)
{
    return index < sizeof(table) / sizeof(table[0]) ? &table[index] : NULL;
}

const kw_hash_compat *kw_hash_compat_find(kw_bytes name)
{
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        if (kw_bytes_equal(name, kw_bytes_of(table[i].name))) {
            return &table[i];
        }
    }
    return NULL;
}

#include "route/ring.h"

#include "route/crc16_word.h"
#include "route/hash_xxh.h"

/* Everything that is called here becomes part of the one function that is called most;
 * but for xxHash's ways for long input, which are kept apart. */
#if defined(__GNUC__) || defined(__clang__)
#define KW_FLATTEN __attribute__((flatten))
#else
#define KW_FLATTEN
#endif

KW_FLATTEN
kw_err kw_ring_lookup(const kw_ring *ring, uint32_t *node, const char *key, size_t key_len)
{
    if (!ring->is_plain) {
        uint32_t owner = kw_ring_owner_of(ring, kw_ring_hash_of(ring, key, key_len));
        if (owner == KW_RING_NO_NODE) {
            return KW_ERR_NOT_SERVED;
        }
        *node = owner;
        return KW_OK;
    }
    size_t open = kw_find_byte(key, key_len, '{');
    if (open < key_len) {
        key = kw_tag_at(key, key_len, open, &key_len);
    }
    uint64_t hash = kw_xxh3(key, key_len, ring->seed);
    *node = ring->cells[kw_ring_seek_cell(ring, hash)] & 0xffff;
    return KW_OK;
}

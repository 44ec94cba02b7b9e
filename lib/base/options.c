/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/options.h"

/* A dead address leaves time for another one. */
#define CONNECT_SHARE  4u
#define CONNECT_MAX_MS 1000u

uint64_t kw_zone_hash(kw_bytes name)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325); /* FNV-1a, 64 bits */
    for (size_t i = 0; i < name.len; i++) {
        hash = (hash ^ (unsigned char)name.data[i]) * UINT64_C(0x100000001b3);
    }
    return hash != 0 ? hash : 1;
}

bool kw_read_preference_parse(kw_read_preference *read, uint64_t *zone, kw_bytes text)
{
    static const char *const words[] = {"primary", "prefer-replica", "replica", "nearest"};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (kw_bytes_equal(text, kw_bytes_of(words[i]))) {
            *read = (kw_read_preference)i;
            return true;
        }
    }
    kw_bytes head;
    kw_bytes name;
    if (!kw_bytes_split(&head, &name, text, ':') || !kw_bytes_equal(head, kw_bytes_of("zone")) ||
        name.len == 0) {
        return false;
    }
    *read = KW_READ_OF_ZONE;
    *zone = kw_zone_hash(name);
    return true;
}

uint64_t kw_options_connect_timeout_ms(const kw_options *options)
{
    if (options->connect_timeout_ms > 0) {
        return options->connect_timeout_ms;
    }
    uint64_t share_ms = options->timeout_ms / CONNECT_SHARE;
    if (share_ms == 0) {
        return 1;
    }
    return share_ms < CONNECT_MAX_MS ? share_ms : CONNECT_MAX_MS;
}

void kw_options_free_text(char *text, size_t len, const kw_allocator *mem)
{
    volatile char *bytes = text; /* so that the compiler keeps the stores */
    for (size_t i = 0; i < len; i++) {
        bytes[i] = '\0';
    }
    kw_mem_free(mem, text);
}

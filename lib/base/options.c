#include "base/options.h"

/* A dead address leaves time for another one. */
#define CONNECT_SHARE  4u
#define CONNECT_MAX_MS 1000u

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

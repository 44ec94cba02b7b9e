/* SPDX-License-Identifier: BSD-3-Clause */
/* Fuzz entry: bytes become arguments, split at zero bytes; then the command, its keys,
 * their slot and its waiting time are looked for. */
#include "route/keys.h"

#include <keyway/slot.h>

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#define ARGS_MAX 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static size_t split(kw_bytes *argv, const uint8_t *data, size_t len)
{
    size_t argc = 0;
    size_t from = 0;
    for (size_t i = 0; i <= len && argc < ARGS_MAX; i++) {
        if (i == len || data[i] == 0) {
            kw_bytes word = {(const char *)data + from, i - from};
            argv[argc++] = word;
            from = i + 1;
        }
    }
    return argc;
}

static void check(const kw_keys *keys, size_t argc)
{
    for (size_t r = 0; r < keys->ranges_n; r++) {
        const kw_key_range *range = &keys->ranges[r];
        if (range->count == 0 || range->step == 0 || range->at >= argc ||
            range->count - 1 > (argc - 1 - range->at) / range->step) {
            abort();
        }
    }
    uint16_t slot;
    kw_error error = KW_ERROR_INIT;
    if (keys->ranges_n > 0 && kw_keys_slot(&slot, &error, keys) == KW_OK && slot >= KW_SLOTS_N) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    kw_bytes words[ARGS_MAX];
    size_t argc = split(words, data, len);
    kw_bytes *argv = malloc(argc * sizeof(argv[0])); /* so that a read behind it is seen */
    if (argv == NULL) {
        return 0;
    }
    for (size_t i = 0; i < argc; i++) {
        argv[i] = words[i];
    }
    const kw_command_info *command = kw_command_find(argv, argc);
    if (command != NULL) {
        kw_keys keys;
        kw_error error = KW_ERROR_INIT;
        kw_err err = kw_keys_find(&keys, &error, command, argv, argc);
        if (err == KW_OK) {
            check(&keys, argc);
        } else if (err != KW_ERR_KEYS) {
            abort();
        }
        kw_command_block_ms(command, argv, argc);
    }
    free(argv);
    return 0;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Looks commands up in the table by name, and reads from arguments how long a command may block. */
#include "route/command.h"

#include "route/command_table.h"

static bool is_same_letter(char upper, char byte)
{
    return byte == upper || (upper >= 'A' && upper <= 'Z' && byte == (upper | 0x20));
}

/* True where the upper-case text begins with word in any case. */
static bool is_same(const char *text, const char *word, size_t word_len)
{
    for (size_t i = 0; i < word_len; i++) {
        if (!is_same_letter(text[i], word[i])) {
            return false;
        }
    }
    return true;
}

static uint32_t index_next(uint32_t at)
{
    return (at + 1) % KW_COMMAND_INDEX_N;
}

/* The row of a command without its subcommand. */
static const kw_command_info *find_word(uint32_t hash, kw_bytes word)
{
    unsigned entry;
    for (uint32_t at = kw_command_home(hash); (entry = kw_command_index[at]) != 0;
         at = index_next(at)) {
        if ((entry & KW_COMMAND_INDEX_SUB) != 0) {
            continue; /* "OBJECT ENCODING" as one argument is no command */
        }
        const kw_command_info *row = &kw_command_table[entry - 1];
        if (row->name_len == word.len && is_same(kw_command_row_name(row), word.data, word.len)) {
            return row;
        }
    }
    return NULL;
}

/* The row of a container's subcommand; hash is that of the container. */
static const kw_command_info *find_subcommand(uint32_t hash, const kw_command_info *container,
                                              kw_bytes word)
{
    size_t before_len = (size_t)container->name_len + 1;
    if (word.len > KW_COMMAND_NAME_MAX - before_len) {
        return NULL;
    }
    hash = kw_command_hash(hash, " ", 1);
    hash = kw_command_hash(hash, word.data, word.len);
    unsigned entry;
    for (uint32_t at = kw_command_home(hash); (entry = kw_command_index[at]) != 0;
         at = index_next(at)) {
        if ((entry & KW_COMMAND_INDEX_SUB) == 0) {
            continue;
        }
        const kw_command_info *row = &kw_command_table[(entry & ~KW_COMMAND_INDEX_SUB) - 1];
        const char *name = kw_command_row_name(row);
        if (row->name_len == before_len + word.len && name[before_len - 1] == ' ' &&
            is_same(name + before_len, word.data, word.len) &&
            is_same(name, kw_command_row_name(container), before_len - 1)) {
            return row;
        }
    }
    return NULL;
}

const kw_command_info *kw_command_find(const kw_bytes *argv, size_t argc)
{
    if (argc == 0 || argv[0].len > KW_COMMAND_NAME_MAX) {
        return NULL;
    }
    uint32_t hash = kw_command_hash(0, argv[0].data, argv[0].len);
    const kw_command_info *row = find_word(hash, argv[0]);
    if (row == NULL || argc == 1 || (row->flags & KW_COMMAND_HAS_SUBCOMMANDS) == 0) {
        return row;
    }
    return find_subcommand(hash, row, argv[1]);
}

const kw_command_info *kw_command_find_like(const kw_command_info *like, const kw_bytes *argv,
                                            size_t argc)
{
    /* A subcommand's key is never the first argument, so that this is a whole name. */
    bool is_like = like != NULL && argc > 0 && like->keys.first == 1 &&
                   like->name_len == argv[0].len &&
                   is_same(kw_command_row_name(like), argv[0].data, argv[0].len);
    return is_like ? like : kw_command_find(argv, argc);
}

const char *kw_command_name(const kw_command_info *command)
{
    return kw_command_row_name(command);
}

unsigned kw_command_flags(const kw_command_info *command)
{
    return command->flags & ~KW_COMMAND_HAS_SUBCOMMANDS;
}

kw_request_policy kw_command_request(const kw_command_info *command)
{
    return (kw_request_policy)command->request;
}

kw_response_policy kw_command_response(const kw_command_info *command)
{
    return (kw_response_policy)command->response;
}

/* Thousandths of text, a plain decimal number with an optional fraction, rounded up
 * as the servers do. UINT64_MAX for zero, for what is too large, and for what reads
 * otherwise (an exponent, text): no wait can be promised to be shorter. */
static uint64_t thousandths_of(kw_bytes text)
{
    kw_bytes whole = text;
    kw_bytes fraction = {NULL, 0};
    kw_bytes_split(&whole, &fraction, text, '.');
    uint64_t value = 0;
    if (whole.len > 0 && !kw_bytes_to_uint(&value, whole, INT64_MAX / 1000 - 1)) {
        return UINT64_MAX;
    }
    value *= 1000;
    uint64_t unit = 100;
    bool is_rounded_up = false;
    for (size_t i = 0; i < fraction.len; i++) {
        if (fraction.data[i] < '0' || fraction.data[i] > '9') {
            return UINT64_MAX;
        }
        uint64_t digit = (uint64_t)(fraction.data[i] - '0');
        value += digit * unit;
        is_rounded_up = is_rounded_up || (unit == 0 && digit != 0);
        unit /= 10;
    }
    value += is_rounded_up ? 1 : 0;
    return value == 0 ? UINT64_MAX : value;
}

static uint64_t milliseconds_of(kw_bytes text)
{
    uint64_t value;
    return kw_bytes_to_uint(&value, text, INT64_MAX) && value > 0 ? value : UINT64_MAX;
}

/* What stands behind the option BLOCK, before STREAMS. */
static uint64_t block_option_ms(const kw_bytes *argv, size_t argc)
{
    kw_bytes block = kw_bytes_of("BLOCK");
    kw_bytes streams = kw_bytes_of("STREAMS");
    kw_bytes group = kw_bytes_of("GROUP");
    for (size_t i = 1; i + 1 < argc && !kw_bytes_equal_nocase(argv[i], streams); i++) {
        if (kw_bytes_equal_nocase(argv[i], block)) {
            return milliseconds_of(argv[i + 1]);
        }
        if (kw_bytes_equal_nocase(argv[i], group)) {
            i += 2;
        }
    }
    return 0;
}

uint64_t kw_command_block_ms(const kw_command_info *command, const kw_bytes *argv, size_t argc)
{
    if (argc < 2) {
        return 0;
    }
    switch ((kw_block_argument)command->block) {
    case KW_BLOCK_NEVER:
        return 0;
    case KW_BLOCK_FIRST_S:
        return thousandths_of(argv[1]);
    case KW_BLOCK_FOURTH_S:
        return argc > 4 ? thousandths_of(argv[4]) : 0;
    case KW_BLOCK_FIFTH_S:
        return argc > 5 ? thousandths_of(argv[5]) : 0;
    case KW_BLOCK_LAST_S:
        return thousandths_of(argv[argc - 1]);
    case KW_BLOCK_LAST_MS:
        return milliseconds_of(argv[argc - 1]);
    case KW_BLOCK_OPTION:
        return block_option_ms(argv, argc);
    }
    return 0;
}

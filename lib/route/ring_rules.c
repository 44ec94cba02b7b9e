/* SPDX-License-Identifier: BSD-3-Clause */
/* Reads placements such as "kw1/v200/tag" or "twemproxy:ketama:md5", and writes them in full. */
#include "route/ring_rules.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"

/* The name of a placement up to its first slash, and its defaults. Where hash_follows,
 * the name of a hash may stand behind it. */
typedef struct family {
    const char *name;
    kw_ring_method method;
    kw_ring_naming naming;
    bool has_tag;
    bool hash_follows;
} family;

static const family families[] = {
    {"kw1", KW_RING_KW1, KW_RING_NAME_STAR_K, true, false},
    {"modulo", KW_RING_MODULO, KW_RING_NAME_STAR_K, true, false},
    {"twemproxy:ketama", KW_RING_KETAMA, KW_RING_NAME_STAR_K, false, true},
    {"twemproxy:modula", KW_RING_MODULA, KW_RING_NAME_STAR_K, false, true},
    {"twemproxy", KW_RING_KETAMA, KW_RING_NAME_STAR_K, false, false},
    {"go-redis", KW_RING_RENDEZVOUS, KW_RING_NAME_STAR_K, true, false},
    {"jedis", KW_RING_JEDIS, KW_RING_NAME_STAR_K, false, false},
    {"jedis:2.9", KW_RING_JEDIS, KW_RING_NAME_STAR_WEIGHT_K, false, false},
    {"jedis:unnamed", KW_RING_JEDIS, KW_RING_SHARD_NODE_K, false, false},
};

static const char default_hash[] = "fnv1a_64";

static bool is_xxh3(const kw_ring_rules *rules)
{
    return rules->method == KW_RING_KW1 || rules->method == KW_RING_MODULO;
}

static bool is_twemproxy(const kw_ring_rules *rules)
{
    return rules->method == KW_RING_KETAMA || rules->method == KW_RING_MODULA;
}

unsigned kw_ring_rules_bits(const kw_ring_rules *rules)
{
    if (is_twemproxy(rules)) {
        return 32;
    }
    return rules->method == KW_RING_KW1 ? 48 : 64;
}

uint64_t kw_ring_rules_highest(const kw_ring_rules *rules)
{
    unsigned bits = rules->hash != NULL ? rules->hash->bits : kw_ring_rules_bits(rules);
    return UINT64_MAX >> (64 - bits);
}

bool kw_ring_rules_has_arcs(const kw_ring_rules *rules)
{
    return rules->method == KW_RING_KW1 || rules->method == KW_RING_KETAMA ||
           rules->method == KW_RING_JEDIS;
}

bool kw_ring_rules_same_hash(const kw_ring_rules *a, const kw_ring_rules *b)
{
    return a->method == b->method && a->has_tag == b->has_tag && a->tag[0] == b->tag[0] &&
           a->tag[1] == b->tag[1] && a->seed == b->seed && a->hash == b->hash &&
           a->signed_bytes == b->signed_bytes;
}

static kw_err refuse(kw_error *error, const char *what, kw_bytes word)
{
    char shown[80];
    return kw_error_set(error, KW_ERR_ARGUMENT, KW_EFFECT_NONE, "placement: %s \"%s\"", what,
                        kw_bytes_show(shown, sizeof(shown), word));
}

static bool set_family(kw_ring_rules *rules, const family *of, kw_bytes hash)
{
    rules->method = of->method;
    rules->naming = of->naming;
    rules->has_tag = of->has_tag;
    rules->tag[0] = of->has_tag ? '{' : '\0';
    rules->tag[1] = of->has_tag ? '}' : '\0';
    if (is_twemproxy(rules)) {
        rules->hash = kw_hash_compat_find(hash);
        rules->signed_bytes = true;
        return rules->hash != NULL;
    }
    rules->vnodes = rules->method == KW_RING_KW1 ? KW_RING_VNODES : 0;
    return true;
}

static kw_err read_name(kw_ring_rules *rules, kw_error *error, kw_bytes name)
{
    for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++) {
        const family *of = &families[i];
        if (kw_bytes_equal(name, kw_bytes_of(of->name))) {
            set_family(rules, of, kw_bytes_of(default_hash));
            return KW_OK;
        }
        kw_bytes head;
        kw_bytes hash;
        if (of->hash_follows && kw_bytes_split_last(&head, &hash, name, ':') &&
            kw_bytes_equal(head, kw_bytes_of(of->name))) {
            return set_family(rules, of, hash) ? KW_OK : refuse(error, "no such hash:", hash);
        }
    }
    return refuse(error, "none is named", name);
}

/* The number behind a prefix. */
static bool read_number(uint64_t *number, kw_bytes word, const char *prefix, uint64_t max)
{
    size_t len = strlen(prefix);
    kw_bytes digits = {word.data + len, word.len - len};
    return kw_bytes_to_uint(number, digits, max);
}

static bool is_word(kw_bytes word, const char *text)
{
    return kw_bytes_equal(word, kw_bytes_of(text));
}

static bool read_tag(kw_ring_rules *rules, kw_bytes word)
{
    bool always = rules->method == KW_RING_RENDEZVOUS;
    if (is_word(word, "notag")) {
        rules->has_tag = false;
        rules->tag[0] = rules->tag[1] = '\0';
        return !always;
    }
    if (is_word(word, "tag")) {
        word = kw_bytes_of("tag:{}");
    }
    if (word.len != 6 || !kw_bytes_starts(word, "tag:")) {
        return false;
    }
    rules->has_tag = true;
    rules->tag[0] = word.data[4];
    rules->tag[1] = word.data[5];
    return !always || is_word(word, "tag:{}");
}

static bool read_word(kw_ring_rules *rules, kw_bytes word)
{
    uint64_t number;
    if (is_word(word, "signed") || is_word(word, "unsigned")) {
        rules->signed_bytes = is_word(word, "signed");
        return is_twemproxy(rules);
    }
    if (is_word(word, "xxh3")) {
        return is_xxh3(rules);
    }
    if (kw_bytes_starts(word, "seed:")) {
        return is_xxh3(rules) && read_number(&rules->seed, word, "seed:", UINT64_MAX);
    }
    if (kw_bytes_starts(word, "v")) {
        if (rules->method != KW_RING_KW1 || !read_number(&number, word, "v", KW_RING_VNODES_MAX)) {
            return false;
        }
        rules->vnodes = (uint32_t)number;
        return number > 0;
    }
    return read_tag(rules, word);
}

/* The next word of text, which may be one of "tag:" and any two bytes; true where a slash
 * says that one more follows. */
static bool take_word(kw_bytes *word, kw_bytes *text)
{
    size_t at = kw_bytes_starts(*text, "tag:") && text->len >= 6 ? 6 : 0;
    while (at < text->len && text->data[at] != '/') {
        at++;
    }
    bool more = at < text->len;
    word->data = text->data;
    word->len = at;
    text->data += more ? at + 1 : at;
    text->len -= more ? at + 1 : at;
    return more;
}

static void append(kw_ring_rules *rules, const char *format, ...) KW_FORMAT(2, 3);

static void append(kw_ring_rules *rules, const char *format, ...)
{
    size_t used = strlen(rules->text);
    va_list values;
    va_start(values, format);
    vsnprintf(rules->text + used, sizeof(rules->text) - used, format, values);
    va_end(values);
}

static void write_text(kw_ring_rules *rules)
{
    size_t i = 0;
    while (families[i].method != rules->method || families[i].naming != rules->naming) {
        i++;
    }
    rules->text[0] = '\0';
    append(rules, "%s", families[i].name);
    if (rules->hash != NULL) {
        append(rules, ":%s", rules->hash->name);
    }
    if (is_xxh3(rules)) {
        append(rules, "/xxh3");
    }
    if (rules->vnodes > 0) {
        append(rules, "/v%" PRIu32, rules->vnodes);
    }
    if (!rules->has_tag) {
        append(rules, "/notag");
    } else if (rules->tag[0] == '{' && rules->tag[1] == '}') {
        append(rules, "/tag");
    } else {
        append(rules, "/tag:%c%c", rules->tag[0], rules->tag[1]);
    }
    if (rules->seed != 0) {
        append(rules, "/seed:%" PRIu64, rules->seed);
    }
    if (is_twemproxy(rules) && !rules->signed_bytes) {
        append(rules, "/unsigned");
    }
}

kw_err kw_ring_rules_parse(kw_ring_rules *rules, kw_error *error, const char *placement)
{
    kw_ring_rules made = {0};
    kw_bytes text = kw_bytes_of(placement != NULL ? placement : families[0].name);
    kw_bytes word;
    bool more = take_word(&word, &text);
    kw_err err = read_name(&made, error, word);
    if (err != KW_OK) {
        return err;
    }
    while (more) {
        more = take_word(&word, &text);
        if (!read_word(&made, word)) {
            return refuse(error, "no such word here:", word);
        }
    }
    write_text(&made);
    *rules = made;
    return KW_OK;
}

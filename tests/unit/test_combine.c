/* SPDX-License-Identifier: BSD-3-Clause */
/* Replies of several nodes become one, for each response policy. */
#include "route/combine.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/random.h"
#include "support/check.h"

#define REPLIES_MAX 8

/* Reads a reply from a short text: ":5" integer, "-ERR" error, "+OK" status, "$x"
 * string, "_" nil, "#1" boolean, "[...]" array, "{...}" map, "<...>" set; elements are
 * followed by a space or the closing bracket. Returns what is behind it. */
static const char *parse(kw_reply *root, kw_reply *reply, const char *text)
{
    size_t len = strcspn(text, " ]}>|");
    kw_bytes word = {text + 1, len - 1};
    switch (text[0]) {
    case ':':
    case '#': {
        long long value = 0;
        assert_int_equal(sscanf(text + 1, "%lld", &value), 1);
        kw_reply_set_integer(reply, text[0] == ':' ? KW_REPLY_INTEGER : KW_REPLY_BOOL, value);
        return text + len;
    }
    case '-':
        assert_true(kw_reply_set_string(root, reply, KW_REPLY_ERROR, word));
        return text + len;
    case '+':
        assert_true(kw_reply_set_string(root, reply, KW_REPLY_STATUS, word));
        return text + len;
    case '$':
        assert_true(kw_reply_set_string(root, reply, KW_REPLY_STRING, word));
        return text + len;
    case '_':
        return text + len;
    default:
        break;
    }
    size_t count = 0;
    size_t depth = 0;
    for (size_t i = 1; depth > 0 || strchr("]}>", text[i]) == NULL; i++) {
        depth += strchr("[{<", text[i]) != NULL ? 1 : 0;
        depth -= strchr("]}>", text[i]) != NULL ? 1 : 0;
        count += depth == 0 && text[i] == ' ' ? 1 : 0;
    }
    count += strchr("]}>", text[1]) == NULL ? 1 : 0;
    kw_reply_kind kind = text[0] == '[' ? KW_REPLY_ARRAY : KW_REPLY_SET;
    kind = text[0] == '{' ? KW_REPLY_MAP : kind;
    assert_true(kw_reply_set_array(root, reply, kind, count));
    text++;
    for (size_t i = 0; i < count; i++) {
        text = parse(root, kw_reply_slot(reply, i), text);
        text += *text == ' ' ? 1 : 0;
    }
    return text + 1;
}

static size_t show(char *out, size_t at, const kw_reply *reply)
{
    static const struct {
        kw_reply_kind kind;
        char open;
        char close;
    } kinds[] = {{KW_REPLY_INTEGER, ':', 0}, {KW_REPLY_BOOL, '#', 0},   {KW_REPLY_ERROR, '-', 0},
                 {KW_REPLY_STATUS, '+', 0},  {KW_REPLY_STRING, '$', 0}, {KW_REPLY_NIL, '_', 0},
                 {KW_REPLY_ARRAY, '[', ']'}, {KW_REPLY_MAP, '{', '}'},  {KW_REPLY_SET, '<', '>'}};
    size_t k = 0;
    while (kinds[k].kind != kw_reply_type(reply)) {
        k++;
        assert_true(k < sizeof(kinds) / sizeof(kinds[0]));
    }
    out[at++] = kinds[k].open;
    if (kinds[k].open == ':' || kinds[k].open == '#') {
        at += (size_t)sprintf(out + at, "%lld", kw_reply_int(reply));
    }
    kw_bytes bytes = kw_reply_bytes(reply);
    if (bytes.len > 0) {
        memcpy(out + at, bytes.data, bytes.len);
        at += bytes.len;
    }
    for (size_t i = 0; i < kw_reply_count(reply); i++) {
        at = show(out, at + (i > 0 ? 1 : 0), kw_reply_at(reply, i));
        out[at] = ' ';
    }
    if (kinds[k].close != 0) {
        out[at++] = kinds[k].close;
    }
    out[at] = '\0';
    return at;
}

/* Replies of a text, divided by '|'. */
static size_t replies_make(kw_reply **replies, const char *text)
{
    size_t n = 0;
    for (;;) {
        assert_true(n < REPLIES_MAX);
        replies[n] = kw_reply_new(kw_mem_default(), 0);
        assert_non_null(replies[n]);
        text = parse(replies[n], replies[n], text);
        n++;
        if (*text == '\0') {
            return n;
        }
        assert_int_equal(*text, '|');
        text++;
    }
}

static void replies_free(kw_reply **replies, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        kw_reply_free(replies[i]);
    }
}

static const kw_command_info *command_of(const char *name)
{
    kw_bytes argv[2] = {kw_bytes_of(name), {NULL, 0}};
    size_t argc = kw_bytes_split(&argv[0], &argv[1], argv[0], ' ') ? 2 : 1;
    return kw_command_find(argv, argc);
}

#define DIFFER "-ERR the replies of the nodes differ in kind and cannot be combined"

typedef struct combine_row {
    const char *name; /* of a command with the policy; "" is no command */
    const char *replies;
    const char *combined;
} combine_row;

static const combine_row rows[] = {
    /* default: append, first error, first reply */
    {"KEYS", "[$a $b]|[]|[$c]", "[$a $b $c]"},
    {"KEYS", "[]|[]", "[]"},
    {"KEYS", "[$a]|-ERR|-BUSY", "-ERR"},
    {"KEYS", "[$a]|_", "[$a]"},
    {"", "[:1 [:2 $x]]|[_]", "[:1 [:2 $x] _]"},
    {"", "{$a :1}|{$b :2}", "{$a :1 $b :2}"},
    {"", "<$a>|<$b>", "<$a $b>"},
    {"", "<$a>|[$b]", "[$a $b]"},
    {"", "$a|$b", "$a"},
    {"", "+OK|-ERR", "-ERR"},
    {"", "_|:1", "_"},
    {"SLOWLOG GET", "[[:1]]|[[:2]]", "[[:1] [:2]]"},
    {"MGET", "[$a]|[$b]", "[$a $b]"},
    /* all succeeded */
    {"FLUSHALL", "+OK|+OK", "+OK"},
    {"FLUSHALL", "+OK|-ERR|-READONLY", "-ERR"},
    {"SCRIPT LOAD", "$a|$a", "$a"},
    /* one succeeded */
    {"SCRIPT KILL", "-NOTBUSY|+OK|-NOTBUSY", "+OK"},
    {"SCRIPT KILL", "-NOTBUSY|-UNKILLABLE|-NOTBUSY", "-UNKILLABLE"},
    {"FUNCTION KILL", "-NOTBUSY1|-NOTBUSY2", "-NOTBUSY1"},
    /* and */
    {"SCRIPT EXISTS", "[:1 :0 :1]|[:1 :1 :1]", "[:1 :0 :1]"},
    {"SCRIPT EXISTS", "[:1]|[:1]|[:0]", "[:0]"},
    {"SCRIPT EXISTS", "[:1 :1]|[:1]", DIFFER},
    {"SCRIPT EXISTS", "[:1]|[$a]", DIFFER},
    {"SCRIPT EXISTS", "[:1]|:1", DIFFER},
    {"SCRIPT EXISTS", ":2|:4", ":1"},
    {"SCRIPT EXISTS", "#1|#0", "#0"},
    {"SCRIPT EXISTS", "[]|[]", "[]"},
    {"SCRIPT EXISTS", "[:1]|-ERR", "-ERR"},
    {"SCRIPT EXISTS", "_|_", DIFFER},
    /* min */
    {"WAIT", ":3|:1|:2", ":1"},
    {"WAIT", ":3|-ERR|:2", "-ERR"},
    {"WAITAOF", "[:1 :2]|[:0 :3]", "[:0 :2]"},
    /* sum */
    {"DBSIZE", ":1|:2|:3", ":6"},
    {"DBSIZE", ":9223372036854775807|:1", ":9223372036854775807"},
    {"DBSIZE", ":-9223372036854775807|:-9", ":-9223372036854775808"},
    {"DBSIZE", ":9223372036854775807|:-1", ":9223372036854775806"},
    {"DBSIZE", ":1|$2", DIFFER},
    {"DBSIZE", "{$a :1}|{$a :1}", DIFFER},
    {"DEL", ":1|:1", ":2"},
    /* any value */
    {"RANDOMKEY", "_|$a|_", "$a"},
    {"RANDOMKEY", "_|_", "_"},
    {"RANDOMKEY", "-ERR|$a", "$a"},
    {"RANDOMKEY", "-ERR|_", "-ERR"},
    /* special */
    {"INFO", "$a|-ERR|$b", "[$a -ERR $b]"},
    {"INFO", "$a", "$a"},
    {"DBSIZE", "$a", "$a"},
    {"SCAN", "[$0 [$a]]|[$0 []]", "[[$0 [$a]] [$0 []]]"},
};

static void test_combine_by_policy_gives_one_reply(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        kw_reply *replies[REPLIES_MAX];
        size_t n = replies_make(replies, rows[i].replies);
        const kw_command_info *command = command_of(rows[i].name);
        assert_int_equal(command == NULL, rows[i].name[0] == '\0');
        kw_reply *combined;
        assert_int_equal(kw_combine(&combined, kw_mem_default(), command, replies, n), KW_OK);
        replies_free(replies, n);
        char shown[256];
        show(shown, 0, combined);
        if (strcmp(shown, rows[i].combined) != 0) {
            fprintf(stderr, "%s %s\n", rows[i].name, rows[i].replies);
        }
        assert_string_equal(shown, rows[i].combined);
        kw_reply_free(combined);
    }
}

static void test_combine_without_memory_fails_and_frees(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        kw_reply *replies[REPLIES_MAX];
        size_t n = replies_make(replies, rows[i].replies);
        kw_err err = KW_ERR_NOMEM;
        for (unsigned long fail_at = 1; err != KW_OK; fail_at++) {
            kw_test_memory memory;
            kw_test_memory_init(&memory, fail_at);
            kw_reply *combined = NULL;
            err = kw_combine(&combined, &memory.allocator, command_of(rows[i].name), replies, n);
            assert_true(err == KW_OK || err == KW_ERR_NOMEM);
            assert_int_equal(err == KW_OK, combined != NULL);
            kw_reply_free(combined);
            assert_int_equal(kw_test_memory_live(&memory), 0);
        }
        replies_free(replies, n);
    }
}

static void random_tree(kw_random *random, kw_reply *root, kw_reply *reply, unsigned depth)
{
    kw_reply_kind kind = (kw_reply_kind)(1 + kw_random_below(random, 14));
    kw_bytes text = kw_bytes_of("0123456789");
    switch (kind) {
    case KW_REPLY_ARRAY:
    case KW_REPLY_MAP:
    case KW_REPLY_SET:
    case KW_REPLY_ATTR:
    case KW_REPLY_PUSH: {
        size_t count = depth > 0 ? (size_t)kw_random_below(random, 4) : 0;
        assert_true(kw_reply_set_array(root, reply, kind, count));
        for (size_t i = 0; i < count; i++) {
            random_tree(random, root, kw_reply_slot(reply, i), depth - 1);
        }
        return;
    }
    case KW_REPLY_STRING:
    case KW_REPLY_STATUS:
    case KW_REPLY_ERROR:
    case KW_REPLY_DOUBLE:
    case KW_REPLY_BIGNUM:
    case KW_REPLY_VERB:
        text.len = (size_t)kw_random_below(random, text.len);
        assert_true(kw_reply_set_string(root, reply, kind, text));
        return;
    case KW_REPLY_INTEGER:
    case KW_REPLY_BOOL:
        kw_reply_set_integer(reply, kind, (long long)kw_random_next(random));
        return;
    case KW_REPLY_NONE:
    case KW_REPLY_NIL:
        return;
    }
}

static void test_combine_random_replies_give_a_reply(void **state)
{
    (void)state;
    static const char *const names[] = {"",       "KEYS", "FLUSHALL",      "SCRIPT KILL",
                                        "DBSIZE", "WAIT", "SCRIPT EXISTS", "INFO"};
    kw_random random;
    kw_random_init(&random, kw_test_seed("test_combine"));
    for (unsigned turn = 0; turn < 20000; turn++) {
        kw_reply *replies[REPLIES_MAX];
        size_t n = 1 + (size_t)kw_random_below(&random, 4);
        for (size_t i = 0; i < n; i++) {
            replies[i] = kw_reply_new(kw_mem_default(), 0);
            assert_non_null(replies[i]);
            random_tree(&random, replies[i], replies[i], 3);
        }
        const char *name = names[turn % (sizeof(names) / sizeof(names[0]))];
        kw_reply *combined;
        assert_int_equal(kw_combine(&combined, kw_mem_default(), command_of(name), replies, n),
                         KW_OK);
        replies_free(replies, n);
        assert_int_not_equal(kw_reply_type(combined), KW_REPLY_NONE);
        kw_reply_free(combined);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_combine_by_policy_gives_one_reply),
        cmocka_unit_test(test_combine_without_memory_fails_and_frees),
        cmocka_unit_test(test_combine_random_replies_give_a_reply),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

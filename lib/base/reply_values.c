/* SPDX-License-Identifier: BSD-3-Clause */
/* What programs make of replies: numbers out of text, values by name, one outcome of a call. */
#include "base/reply.h"

#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

/* The longest text of a double that is looked at; servers send at most 17 digits and an exponent,
 * or all digits of a long double. */
#define DOUBLE_TEXT_MAX 400

const char *kw_reply_kind_name(kw_reply_kind kind)
{
    static const char *const names[] = {
        [KW_REPLY_NONE] = "none",   [KW_REPLY_STRING] = "string", [KW_REPLY_ARRAY] = "array",
        [KW_REPLY_INTEGER] = "int", [KW_REPLY_NIL] = "nil",       [KW_REPLY_STATUS] = "status",
        [KW_REPLY_ERROR] = "error", [KW_REPLY_DOUBLE] = "double", [KW_REPLY_BOOL] = "bool",
        [KW_REPLY_MAP] = "map",     [KW_REPLY_SET] = "set",       [KW_REPLY_ATTR] = "attribute",
        [KW_REPLY_PUSH] = "push",   [KW_REPLY_BIGNUM] = "bignum", [KW_REPLY_VERB] = "verbatim",
    };
    size_t number = (size_t)kind;
    return number < sizeof(names) / sizeof(names[0]) ? names[number] : "?";
}

/* "WRONGTYPE" of "WRONGTYPE Operation against ...": upper case, digits and '_' up to a space. */
static kw_bytes code_of(const kw_reply *reply)
{
    kw_bytes text = kw_reply_bytes(reply);
    size_t len = 0;
    while (len < text.len &&
           ((text.data[len] >= 'A' && text.data[len] <= 'Z') ||
            (text.data[len] >= '0' && text.data[len] <= '9') || text.data[len] == '_')) {
        len++;
    }
    bool is_word = len > 0 && (len == text.len || text.data[len] == ' ');
    kw_bytes code = {text.data, is_word ? len : 0};
    return code;
}

const char *kw_reply_code(const kw_reply *reply, size_t *len)
{
    kw_bytes code = {NULL, 0};
    if (kw_reply_is_error(reply)) {
        code = code_of(reply);
    }
    if (len != NULL) {
        *len = code.len;
    }
    return code.data;
}

bool kw_reply_has_code(const kw_reply *reply, const char *code)
{
    return code != NULL && kw_reply_is_error(reply) && code_of(reply).len > 0 &&
           kw_bytes_equal(code_of(reply), kw_bytes_of(code));
}

static bool is_text(const kw_reply *reply)
{
    kw_reply_kind kind = kw_reply_type(reply);
    return kind == KW_REPLY_STRING || kind == KW_REPLY_STATUS || kind == KW_REPLY_BIGNUM ||
           kind == KW_REPLY_VERB;
}

/* No value for whoever wanted a number: why. A server's error, and what a call has failed with,
 * are told as kw_reply_outcome does; else the command has run. */
static kw_err no_number(const kw_reply *reply, kw_error *error, const char *what)
{
    char shown[80];
    if (reply == NULL) {
        return error != NULL && error->code != KW_OK
                   ? error->code
                   : kw_error_set(error, KW_ERR_ARGUMENT, KW_EFFECT_NONE, "reply is NULL");
    }
    if (kw_reply_outcome(reply, error) == KW_OUTCOME_ERROR) {
        return KW_ERR_SERVER;
    }
    if (kw_reply_is_nil(reply)) {
        return kw_error_set(error, KW_ERR_REPLY, KW_EFFECT_DONE, "the reply is nil, and not %s",
                            what);
    }
    if (kw_reply_str(reply, NULL) == NULL) {
        return kw_error_set(error, KW_ERR_REPLY, KW_EFFECT_DONE, "the reply is of kind %s, not %s",
                            kw_reply_kind_name(kw_reply_type(reply)), what);
    }
    return kw_error_set(error, KW_ERR_REPLY, KW_EFFECT_DONE, "the reply \"%s\" is not %s",
                        kw_bytes_show(shown, sizeof(shown), kw_reply_bytes(reply)), what);
}

static bool is_digits(kw_bytes text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') {
            return false;
        }
    }
    return text.len > 0;
}

kw_err kw_reply_to_int(const kw_reply *reply, kw_error *error, long long *value)
{
    kw_reply_kind kind = kw_reply_type(reply);
    if (kind == KW_REPLY_INTEGER || kind == KW_REPLY_BOOL) {
        *value = kw_reply_int(reply);
        return KW_OK;
    }
    kw_bytes text = kw_reply_bytes(reply);
    bool is_negative = text.len > 0 && text.data[0] == '-';
    uint64_t size;
    if (is_negative || (text.len > 0 && text.data[0] == '+')) {
        text.data++;
        text.len--;
    }
    uint64_t max = (uint64_t)INT64_MAX + (is_negative ? 1 : 0);
    if (!is_text(reply) || !is_digits(text)) {
        return no_number(reply, error, "a whole number");
    }
    if (!kw_bytes_to_uint(&size, text, max)) {
        return no_number(reply, error, "within the range of a long long");
    }
    *value = is_negative ? (long long)(0 - size) : (long long)size;
    return KW_OK;
}

/* strtod with the point as it is on the wire, whatever the host's locale. */
static bool read_double(double *value, const char *text)
{
    locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (plain == (locale_t)0) {
        return false;
    }
    locale_t hosts = uselocale(plain);
    char *end;
    *value = strtod(text, &end);
    (void)uselocale(hosts);
    freelocale(plain);
    return end != text && *end == '\0';
}

kw_err kw_reply_to_double(const kw_reply *reply, kw_error *error, double *value)
{
    long long whole;
    kw_bytes bytes = kw_reply_bytes(reply);
    char text[DOUBLE_TEXT_MAX];
    double number;
    if (kw_reply_type(reply) == KW_REPLY_INTEGER || kw_reply_type(reply) == KW_REPLY_BOOL) {
        (void)kw_reply_to_int(reply, error, &whole);
        *value = (double)whole;
        return KW_OK;
    }
    bool is_numeric = is_text(reply) || kw_reply_type(reply) == KW_REPLY_DOUBLE;
    if (!is_numeric || bytes.len == 0 || bytes.len >= sizeof(text)) {
        return no_number(reply, error, "a number");
    }
    memcpy(text, bytes.data, bytes.len);
    text[bytes.len] = '\0';
    bool is_infinite = strspn(text, "+-") <= 1 && strcmp(text + strspn(text, "+-"), "inf") == 0;
    bool is_plain = strlen(text) == bytes.len && strspn(text, "0123456789+-.eE") == bytes.len;
    int before = errno;
    bool is_read = (is_infinite || is_plain) && read_double(&number, text);
    errno = before;
    if (!is_read) {
        return no_number(reply, error, "a number");
    }
    if (isinf(number) && !is_infinite) {
        return no_number(reply, error, "within the range of a double");
    }
    *value = number;
    return KW_OK;
}

const char *kw_reply_text(const kw_reply *reply, const char *otherwise)
{
    const char *text = kw_reply_str(reply, NULL);
    return text != NULL ? text : otherwise;
}

const kw_reply *kw_reply_get(const kw_reply *reply, const char *name)
{
    kw_reply_kind kind = kw_reply_type(reply);
    if (name == NULL || (kind != KW_REPLY_MAP && kind != KW_REPLY_ARRAY)) {
        return NULL;
    }
    kw_bytes wanted = kw_bytes_of(name);
    for (size_t i = 0; i + 1 < kw_reply_count(reply); i += 2) {
        if (kw_bytes_equal(kw_reply_bytes(kw_reply_at(reply, i)), wanted)) {
            return kw_reply_at(reply, i + 1);
        }
    }
    return NULL;
}

kw_outcome kw_reply_outcome(const kw_reply *reply, kw_error *error)
{
    if (reply == NULL) {
        return KW_OUTCOME_ERROR;
    }
    if (kw_reply_is_error(reply)) {
        char shown[300];
        bool is_script = strstr(kw_reply_str(reply, NULL), "script") != NULL &&
                         !kw_reply_has_code(reply, "NOSCRIPT"); /* the server has none to run */
        kw_effect effect =
            is_script || kw_reply_is_partial(reply) ? KW_EFFECT_MAYBE : KW_EFFECT_NONE;
        kw_error_set(error, KW_ERR_SERVER, effect, "the server says: %s",
                     kw_bytes_show(shown, sizeof(shown), kw_reply_bytes(reply)));
        return KW_OUTCOME_ERROR;
    }
    return kw_reply_is_nil(reply) ? KW_OUTCOME_NIL : KW_OUTCOME_VALUE;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Short ways to ask through a session, for its live tests. */
#ifndef LIVE_SESSION_ASK_H
#define LIVE_SESSION_ASK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <keyway.h>

#include <string.h>

static inline kw_session *open_session(kw_client *kw, const char *key)
{
    kw_error error = KW_ERROR_INIT;
    kw_session *session = kw_session_open(kw, &error, key, strlen(key));
    if (session == NULL) {
        fail_msg("%s: %s", kw_err_name(error.code), error.text);
    }
    return session;
}

static inline kw_reply *ask(kw_session *session, const char *format, va_list values)
{
    kw_error error = KW_ERROR_INIT;
    kw_reply *reply = kw_session_vcommand(session, &error, format, values);
    if (reply == NULL) {
        fail_msg("%s: %s: %s", format, kw_err_name(error.code), error.text);
    }
    return reply;
}

/* The reply is this text (a string, a status, or the start of an error). */
static inline bool has_text(const kw_reply *reply, const char *text)
{
    const char *got = kw_reply_str(reply, NULL);
    return got != NULL && (kw_reply_is_error(reply) ? strncmp(got, text, strlen(text)) == 0
                                                    : strcmp(got, text) == 0);
}

/* The reply is one of two texts, as servers differ. */
static inline void is_either(kw_session *session, const char *text, const char *other,
                             const char *command)
{
    kw_error error = KW_ERROR_INIT;
    kw_reply *reply = kw_session_command(session, &error, command);
    if (!has_text(reply, text) && !has_text(reply, other)) {
        const char *got = kw_reply_str(reply, NULL);
        fail_msg("%s: \"%s\", not \"%s\" or \"%s\": %s", command, got != NULL ? got : "(no text)",
                 text, other, error.text);
    }
    kw_reply_free(reply);
}

/* The reply must be this text. */
static inline void is_text(kw_session *session, const char *text, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    kw_reply *reply = ask(session, format, values);
    va_end(values);
    if (!has_text(reply, text)) {
        const char *got = kw_reply_str(reply, NULL);
        fail_msg("%s: \"%s\", not \"%s\"", format, got != NULL ? got : "(no text)", text);
    }
    kw_reply_free(reply);
}

static inline long long integer(kw_session *session, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    kw_reply *reply = ask(session, format, values);
    va_end(values);
    assert_int_equal(kw_reply_type(reply), KW_REPLY_INTEGER);
    long long value = kw_reply_int(reply);
    kw_reply_free(reply);
    return value;
}

/* Number of EXEC's results; -1 for nil. */
static inline int exec(kw_session *session)
{
    kw_reply *reply = kw_session_command(session, NULL, "EXEC");
    assert_non_null(reply);
    assert_false(kw_reply_is_error(reply));
    int n = kw_reply_is_nil(reply) ? -1 : (int)kw_reply_count(reply);
    kw_reply_free(reply);
    return n;
}

static inline void fails(kw_session *session, kw_err code, kw_effect effect, const char *command)
{
    kw_error error = KW_ERROR_INIT;
    kw_reply *reply = kw_session_command(session, &error, command);
    assert_null(reply);
    if (error.code != code || error.effect != effect) {
        fail_msg("%s: %s, effect %s: %s", command, kw_err_name(error.code),
                 kw_effect_name(error.effect), error.text);
    }
}

#endif

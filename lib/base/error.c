/* SPDX-License-Identifier: BSD-3-Clause */
/* The one table of error codes, and how a caller's kw_error is filled in. */
#include "base/error.h"

#include "base/bytes.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* The one table of codes, names and texts. */
#define CODE_ROWS(ROW)                                                                             \
    ROW(KW_OK, "success")                                                                          \
    ROW(KW_ERR_NOMEM, "no memory")                                                                 \
    ROW(KW_ERR_ARGUMENT, "wrong argument")                                                         \
    ROW(KW_ERR_CONFIG, "wrong URI or option")                                                      \
    ROW(KW_ERR_UNSUPPORTED, "not supported by this build or topology")                             \
    ROW(KW_ERR_CONNECT, "no connection")                                                           \
    ROW(KW_ERR_RESOLVE, "no address for the host name")                                            \
    ROW(KW_ERR_HANDSHAKE, "no connection could be made ready")                                     \
    ROW(KW_ERR_AUTH, "user, password or permission refused")                                       \
    ROW(KW_ERR_QUEUE_TIMEOUT, "deadline reached before all of the command was sent")               \
    ROW(KW_ERR_POOL_FULL, "every connection to the node stayed busy")                              \
    ROW(KW_ERR_TIMEOUT, "deadline reached after sending")                                          \
    ROW(KW_ERR_CLOSED, "connection lost after sending")                                            \
    ROW(KW_ERR_PROTOCOL, "invalid bytes from the server")                                          \
    ROW(KW_ERR_DESYNC, "a reply that nothing asked for")                                           \
    ROW(KW_ERR_LIMIT, "reply over a configured limit")                                             \
    ROW(KW_ERR_REDIRECT, "too many redirects")                                                     \
    ROW(KW_ERR_NOT_SERVED, "no node serves the slot")                                              \
    ROW(KW_ERR_CLUSTER_DOWN, "cluster down")                                                       \
    ROW(KW_ERR_TRY_AGAIN, "keys are being moved")                                                  \
    ROW(KW_ERR_LOADING, "node is loading its data")                                                \
    ROW(KW_ERR_MASTER_DOWN, "replica lost its primary")                                            \
    ROW(KW_ERR_READONLY, "node is a replica")                                                      \
    ROW(KW_ERR_BUSY, "node is busy with a script")                                                 \
    ROW(KW_ERR_CROSSSLOT, "keys in different slots")                                               \
    ROW(KW_ERR_KEYS, "the command's keys cannot be found")                                         \
    ROW(KW_ERR_TOPOLOGY, "no usable map of the servers")                                           \
    ROW(KW_ERR_REFUSED, "command cannot run on this handle")                                       \
    ROW(KW_ERR_CANCELLED, "handle closed, or the command given up")                                \
    ROW(KW_ERR_FORKED, "handle belongs to the parent process")                                     \
    ROW(KW_ERR_QUEUE_FULL, "too much is under way already")                                        \
    ROW(KW_ERR_ORDER, "a later command of its key has run")                                        \
    ROW(KW_ERR_DRAINING, "the handle takes nothing new")                                           \
    ROW(KW_ERR_NO_SENTINEL, "no sentinel could be reached")                                        \
    ROW(KW_ERR_NO_SERVICE, "no sentinel knows the name")                                           \
    ROW(KW_ERR_ROLE, "server has another role")                                                    \
    ROW(KW_ERR_DURABILITY, "acknowledged by too few replicas")                                     \
    ROW(KW_ERR_QUORUM, "too few copies answered as needed")                                        \
    ROW(KW_ERR_IDENTITY, "another server answers at the address")                                  \
    ROW(KW_ERR_LOAD, "no value was loaded")                                                        \
    ROW(KW_ERR_SERVER, "error reply of the server")                                                \
    ROW(KW_ERR_REPLY, "reply of another kind than it is read as")

#define CODE(code, text) code,
#define NAME(code, text) #code "\0"
#define TEXT(code, text) text "\0"
static const int8_t codes[] = {CODE_ROWS(CODE)};
static const char names[] = CODE_ROWS(NAME) "KW_ERR_?";
static const char texts[] = CODE_ROWS(TEXT) "unknown code";
#undef CODE
#undef NAME
#undef TEXT

/* Past the last where code is none. */
static size_t row_of(kw_err code)
{
    size_t row = 0;
    while (row < sizeof(codes) && codes[row] != (int)code) {
        row++;
    }
    return row;
}

const char *kw_err_name(kw_err code)
{
    return kw_texts_at(names, row_of(code));
}

const char *kw_err_text(kw_err code)
{
    return kw_texts_at(texts, row_of(code));
}

const char *kw_effect_name(kw_effect effect)
{
    switch (effect) {
    case KW_EFFECT_NONE:
        return "none";
    case KW_EFFECT_MAYBE:
        return "maybe";
    case KW_EFFECT_DONE:
        return "done";
    }
    return "?";
}

/* Bytes of kw_error as its first version had it: what a size of 0 stands for, and the least that
 * is written. Members that come later go behind text, and are reached only by a size that says so.
 */
#define FIRST_SIZE (offsetof(kw_error, text) + sizeof(((kw_error *)NULL)->text))

static size_t size_of(const kw_error *error)
{
    return error->size != 0 ? error->size : FIRST_SIZE;
}

kw_error kw_error_none(void)
{
    kw_error none;
    none.size = sizeof(none);
    none.code = KW_OK;
    none.effect = KW_EFFECT_NONE;
    none.attempts = 0;
    none.elapsed_ms = 0;
    none.node[0] = '\0';
    none.text[0] = '\0';
    return none;
}

bool kw_error_has_room(const kw_error *error)
{
    return error != NULL && size_of(error) >= FIRST_SIZE;
}

kw_err kw_error_set(kw_error *error, kw_err code, kw_effect effect, const char *format, ...)
{
    if (!kw_error_has_room(error)) {
        return code;
    }
    error->code = code;
    error->effect = effect;
    error->attempts = 0;
    error->elapsed_ms = 0;
    error->node[0] = '\0';
    va_list args;
    va_start(args, format);
    if (vsnprintf(error->text, sizeof(error->text), format, args) < 0) {
        error->text[0] = '\0';
    }
    va_end(args);
    return code;
}

kw_err kw_error_refuse(kw_error *error, kw_err code, const char *text)
{
    return kw_error_set(error, code, KW_EFFECT_NONE, "%s", text);
}

void kw_error_copy(kw_error *error, const kw_error *from)
{
    if (kw_error_has_room(error)) {
        size_t len = size_of(error) < sizeof(*from) ? size_of(error) : sizeof(*from);
        memmove((char *)error + sizeof(error->size), (const char *)from + sizeof(from->size),
                len - sizeof(error->size));
    }
}

void kw_error_set_node(kw_error *error, const char *node)
{
    if (!kw_error_has_room(error)) {
        return;
    }
    size_t len = node != NULL ? strlen(node) : 0;
    if (len >= sizeof(error->node)) {
        len = sizeof(error->node) - 1;
    }
    if (len > 0) {
        memcpy(error->node, node, len);
    }
    error->node[len] = '\0';
}

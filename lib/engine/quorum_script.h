/* SPDX-License-Identifier: BSD-3-Clause */
/* Quorum script: what an op asks becomes a command for a server, and a reply an answer. */
#ifndef ENGINE_QUORUM_SCRIPT_H
#define ENGINE_QUORUM_SCRIPT_H

#include "base/reply.h"
#include "engine/quorum.h"
#include "engine/script.h"

/* The script: a constant. */
const kw_script *kw_quorum_script(void);

/* The key that an ask is about, and what is known of the server that it goes to. */
typedef struct kw_quorum_place {
    kw_bytes key;
    kw_bytes marker; /* a key without which the copy says nothing; empty: none */
    bool is_plain;   /* of a get: a GET, which is cheaper, and cannot tell what is left of a
                        life */
} kw_quorum_place;

/* Appends the command, with the script's name. False, with buf unchanged, when there is no memory
 * or the size overflows. */
bool kw_quorum_script_encode(kw_buf *buf, const kw_quorum_place *place, const kw_quorum_ask *ask);

/* Room in which any command fits whose key, marker and value are as long together, of a get a
 * plain one only; 0: too long. */
size_t kw_quorum_script_room(kw_quorum_ask_kind kind, size_t lens);

/* The record in a command of a put, without marker or with one, that kw_quorum_script_encode made,
 * or kw_script_run_full of it. */
kw_bytes kw_quorum_script_record(kw_bytes command);

/* True for the answer to a plain GET that finds a value with a life of its own: only the
 * script can tell what is left of it. */
bool kw_quorum_script_is_mortal(const kw_reply *reply);

/* Reads the reply, to which the answer's record is borrowed. KW_ERR_PROTOCOL for what the
 * script never says, and for an error (with effect: what it did): *error has the text. */
kw_err kw_quorum_script_read(kw_quorum_answer *answer, kw_error *error, kw_quorum_ask_kind kind,
                             const kw_reply *reply);

#endif

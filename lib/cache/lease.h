/* SPDX-License-Identifier: BSD-3-Clause */
/* Lease: who may load a key. It is a key of its own, in the slot of the key that it is for:
 *
 *   keyway:lease:{tag}:key   "L" token ":" sha1   the token's owner loads; sha1 of the value that
 *                                                  was there then, nothing where there was none
 *                            "N"                   there is no value: the loader has said so
 *
 * One script asks for it, gives it back and stores what was loaded, so that each is one step. */
#ifndef CACHE_LEASE_H
#define CACHE_LEASE_H

#include "base/reply.h"
#include "cache/slot_tags.h"

/* Names of leases begin with it; they are keys of no program. */
#define KW_LEASE_PREFIX "keyway:lease:{"

/* 16 hexadecimal digits of the process, 16 that count. */
#define KW_LEASE_TOKEN_LEN 32

typedef struct kw_lease_token {
    char text[KW_LEASE_TOKEN_LEN];
} kw_lease_token;

kw_lease_token kw_lease_token_make(uint64_t process, uint64_t number);

static inline kw_bytes kw_lease_token_bytes(const kw_lease_token *token)
{
    kw_bytes bytes = {token->text, sizeof(token->text)};
    return bytes;
}

/* The name of the key's lease, appended; false where there is no memory. */
bool kw_lease_name(kw_buf *buf, const kw_slot_tags *tags, kw_bytes key);

typedef enum kw_lease_act {
    KW_LEASE_READ,    /* the value and what is left of its life */
    KW_LEASE_ACQUIRE, /* that, or the lease */
    KW_LEASE_REFRESH, /* the lease, also where there is a value */
    KW_LEASE_EXTEND,  /* another term for who has it */
    KW_LEASE_FILL,    /* stores a value: the token's owner, where nothing has changed */
    KW_LEASE_NONE,    /* notes that there is none; as FILL */
    KW_LEASE_RELEASE, /* gives the lease back */
    KW_LEASE_PUT,     /* stores a value whatever there is, and drops the lease */
    KW_LEASE_FORGET   /* drops value and lease */
} kw_lease_act;

/* One thing to ask. */
typedef struct kw_lease_ask {
    kw_lease_act act;
    kw_bytes key;
    kw_bytes name; /* of its lease */
    kw_bytes token;
    uint64_t ms;    /* life of a value (0: no end), a lease, or a "none" (0: it is not noted) */
    kw_bytes value; /* of FILL and PUT */
} kw_lease_ask;

/* An encoded command has so many arguments. */
#define KW_LEASE_ARGC 9

/* Numbers of the arguments, as text. */
typedef struct kw_lease_space {
    char ms[20];
} kw_lease_space;

/* The command as arguments, borrowed from ask and space. is_whole: with the script's text in the
 * place of its SHA1. */
void kw_lease_argv(kw_bytes argv[KW_LEASE_ARGC], kw_lease_space *space, const kw_lease_ask *ask,
                   bool is_whole);

/* True where the server lacks the script, and has done nothing. */
bool kw_lease_is_script_missing(const kw_reply *reply);

typedef enum kw_lease_state {
    KW_LEASE_IS_YOURS = 0, /* load; value: what is there */
    KW_LEASE_HAS_VALUE = 1,
    KW_LEASE_HAS_NONE = 2, /* there is none, and no need to load */
    KW_LEASE_IS_TAKEN = 3  /* somebody else loads; value: what is there */
} kw_lease_state;

/* The answer to READ, ACQUIRE and REFRESH, borrowed from the reply. */
typedef struct kw_lease_answer {
    kw_lease_state state;
    const kw_reply *value; /* NULL: none */
    int64_t left_ms;       /* of the value's life; -1: it has no end */
    kw_lease_token holder; /* of IS_TAKEN */
    uint64_t term_ms;      /* of IS_TAKEN: what is left of the lease */
} kw_lease_answer;

/* False for what the script never says. */
bool kw_lease_read(kw_lease_answer *answer, const kw_reply *reply);

/* The script, and its SHA1 in hexadecimal digits. */
const char *kw_lease_script(void);
const char *kw_lease_script_sha1(void);

#endif

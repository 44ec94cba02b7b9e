/* SPDX-License-Identifier: BSD-3-Clause */
/* keyway: sending commands. */
#ifndef KEYWAY_COMMAND_H
#define KEYWAY_COMMAND_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <keyway/argv.h>
#include <keyway/client.h>
#include <keyway/error.h>
#include <keyway/export.h>
#include <keyway/reply.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Sends one command to whoever owns its keys and waits for the reply, the caller's to
 * free with kw_reply_free. format is split at spaces; %s takes a C string, %b a pointer
 * and a size_t, %d and the other printf conversions a number; what they bring is never
 * split. Redirects, pauses and safe retries happen inside, until the handle's timeout.
 * A server's error is a reply (kw_reply_is_error). NULL means no reply: error says
 * why, and whether the command may have run. On a handle with acks a write waits for its
 * replicas as by kw_call, and error may be set beside a reply. Any thread. */
KW_API kw_reply *kw_command(kw_client *client, kw_error *error, const char *format, ...);

/* The same with a va_list. */
KW_API kw_reply *kw_vcommand(kw_client *client, kw_error *error, const char *format,
                             va_list values);

/* The same with argc ready arguments: any bytes, argvlen[i] of them, or C strings
 * where argvlen is NULL. */
KW_API kw_reply *kw_command_argv(kw_client *client, kw_error *error, int argc, const char **argv,
                                 const size_t *argvlen);

/* Where a command goes. */
typedef enum kw_route {
    KW_ROUTE_AUTO = 0,      /* by its keys; without keys as the servers advise */
    KW_ROUTE_KEY,           /* to the owner of options->key */
    KW_ROUTE_SLOT,          /* to the owner of options->slot */
    KW_ROUTE_NODE,          /* to options->node; redirects are the caller's to read */
    KW_ROUTE_ANY,           /* to any one primary; on a ring with options->key one that is near
                               the key, and has no more than its share of such calls */
    KW_ROUTE_ALL_PRIMARIES, /* to every primary; the replies are combined */
    KW_ROUTE_ALL_NODES      /* to every node; the replies are combined */
} kw_route;

/* Which server a command that only reads goes to; others go to primaries. */
typedef enum kw_read {
    KW_READ_DEFAULT = 0,    /* as the handle's read-preference says */
    KW_READ_PRIMARY,        /* the primary */
    KW_READ_PREFER_REPLICA, /* a replica; the primary where none will do */
    KW_READ_REPLICA,        /* a replica, and nobody else */
    KW_READ_NEAREST,        /* whoever of all has answered soonest lately */
    KW_READ_ZONE            /* a replica, else the primary, in options->zone; else as
                               KW_READ_PREFER_REPLICA */
} kw_read;

/* What a write leaves for reads that are to find it. Plain bytes that may be copied and handed
 * on, to other handles too; their meaning is the library's. Start with KW_TOKEN_INIT. */
typedef struct kw_token {
    size_t size; /* sizeof(kw_token) */
    uint64_t stream;
    uint64_t offset;
} kw_token;

/* clang-format off */
#define KW_TOKEN_INIT { sizeof(kw_token), 0, 0 }
/* clang-format on */

/* What one call may ask for; start with KW_CALL_OPTIONS_INIT. */
typedef struct kw_call_options {
    size_t size;         /* sizeof(kw_call_options) */
    uint64_t timeout_ms; /* deadline from now; 0: the handle's timeout */
    kw_route route;
    const char
        *key; /* of KW_ROUTE_KEY, and of KW_ROUTE_ANY on a ring: any bytes, key_len of them */
    size_t key_len;
    unsigned slot;    /* of KW_ROUTE_SLOT: 0 to 16383 */
    const char *node; /* of KW_ROUTE_NODE: "host:port" of a node that the handle knows */
    bool idempotent;  /* a second run does no harm: the call may be sent again after its
                         connection was lost */
    kw_read read;
    const char *zone; /* of KW_READ_ZONE: its name */
    unsigned acks;    /* a write is acknowledged by at least so many replicas (WAIT), by kw_call
                         alone; 0: as the handle's acks says, or by none; KW_ACKS_NONE: by none */
    uint64_t acks_timeout_ms; /* within this; 0: the handle's acks-timeout; never past the
                                 deadline */
    unsigned *acked;          /* how many have acknowledged; may be NULL */
    unsigned acks_local;      /* 1: the primary has it on disk, in its append-only file, and so have
                                 the replicas of acks (WAITAOF: Redis 7.2, Valkey); 0: memory will do */
    unsigned *acked_local;    /* with acks_local: 1 where the primary has it on disk; may be NULL */
    kw_token *token_out;      /* of a write that kw_call makes, without acks: set, to a token of
                                 nothing where the primary did not say how far it is (INFO); may be
                                 NULL */
    const kw_token *after;    /* of a read: it finds the write that the token is of, at a replica
                                 that is known to have it, else at the primary; with a token of
                                 nothing at the primary; NULL: it need not */
} kw_call_options;

/* For acks: no wait, whatever the handle says. */
#define KW_ACKS_NONE ((unsigned)-1)

/* clang-format off */
#define KW_CALL_OPTIONS_INIT { sizeof(kw_call_options), 0, KW_ROUTE_AUTO, NULL, 0, 0, NULL, false, KW_READ_DEFAULT, NULL, 0, 0, NULL, 0, NULL, NULL, NULL }
/* clang-format on */

/* Sends one command, given as its arguments, with options; NULL options are the defaults. With acks
 * a write that too few replicas have acknowledged in time gives its reply, which stands, and error
 * says KW_ERR_DURABILITY with the effect done; else error says KW_OK. So it is with acks_local
 * where the primary's disk does not have it in time; a server without WAITAOF gives the reply, and
 * KW_ERR_UNSUPPORTED with the effect done. Commands that do not write are not waited for; those
 * to many nodes are KW_ERR_UNSUPPORTED, with no effect. So are those with token_out that have
 * acks or go to many nodes; a token is of the shard, or the ring's node, that the write went
 * to: a read elsewhere goes to a primary. */
KW_API kw_reply *kw_call(kw_client *client, kw_error *error, const kw_call_options *options,
                         kw_argv command);

#ifdef __cplusplus
}
#endif

#endif

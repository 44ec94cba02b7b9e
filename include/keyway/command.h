/* SPDX-License-Identifier: BSD-3-Clause */
/* keyway: one command, and its reply.
 *
 * A command goes to whoever owns its keys; the caller waits for the reply, at most for the
 * handle's timeout. Redirects, pauses and safe retries happen inside:
 *
 *   kw_reply *reply = kw_command(client, &error, "INCR user:{%d}:visits", 123);
 *   puts(reply != NULL ? "counted" : error.text);
 *   kw_reply_free(reply);
 *
 * An error that a server answers is a reply (kw_reply_is_error). NULL means that there is no
 * reply; error then has a code, an effect (whether the command may have run) and a text.
 *
 * A blocking command (BLPOP and its like, XREAD with BLOCK) is waited for as much longer than the
 * handle's timeout as it asks to block: without end where it asks for ever (0). A timeout_ms of
 * kw_call is the deadline of every command. */
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

/* Sends one command and waits for its reply, which the caller frees with kw_reply_free.
 *
 * format is split at spaces into arguments, by hiredis' rules. %s stands for a C string, %b for a
 * pointer and a size_t, %% for a percent sign, %d and the other conversions of printf for a
 * number. What a conversion brings is never split, whatever bytes it holds.
 *
 * On a handle with the option acks a write waits for its replicas as by kw_call, and error may be
 * set beside a reply.
 *
 * Errors before anything is sent: KW_ERR_ARGUMENT (a wrong format; a last key that lacks its value,
 * where the keys have different owners), KW_ERR_KEYS (the command's keys cannot be found),
 * KW_ERR_CROSSSLOT (its keys have different owners, and it cannot be split), KW_ERR_REFUSED (it
 * binds or changes its connection; or a ring with copies), KW_ERR_UNSUPPORTED, KW_ERR_FORKED,
 * KW_ERR_NOMEM.
 * Errors at the deadline, or where waiting is in vain, with nothing run: KW_ERR_QUEUE_TIMEOUT,
 * KW_ERR_POOL_FULL, KW_ERR_CONNECT, KW_ERR_RESOLVE, KW_ERR_HANDSHAKE, KW_ERR_AUTH,
 * KW_ERR_TOPOLOGY, KW_ERR_NOT_SERVED, KW_ERR_REDIRECT, KW_ERR_CLUSTER_DOWN, KW_ERR_TRY_AGAIN,
 * KW_ERR_LOADING, KW_ERR_MASTER_DOWN, KW_ERR_READONLY, KW_ERR_BUSY, KW_ERR_NO_SENTINEL,
 * KW_ERR_NO_SERVICE, KW_ERR_ROLE.
 * Errors after sending, with which the command may have run: KW_ERR_TIMEOUT, KW_ERR_CLOSED,
 * KW_ERR_PROTOCOL, KW_ERR_DESYNC, KW_ERR_LIMIT, KW_ERR_NOMEM.
 * Errors by kw_close of another thread, at any time: KW_ERR_CANCELLED.
 * Any thread. */
KW_API kw_reply *kw_command(kw_client *client, kw_error *error, const char *format, ...);

/* Sends one command as kw_command does; what the format asks for comes as a va_list, which is used
 * up. Errors: those of kw_command. Any thread. */
KW_API kw_reply *kw_vcommand(kw_client *client, kw_error *error, const char *format,
                             va_list values);

/* Sends one command as kw_command does, given as argc ready arguments: argv[i] has argvlen[i]
 * bytes, any, or ends with a zero byte where argvlen is NULL. All are borrowed for the call.
 * Errors: those of kw_command; KW_ERR_ARGUMENT also where argc is below 1 or an argument is NULL.
 * Any thread. */
KW_API kw_reply *kw_command_argv(kw_client *client, kw_error *error, int argc, const char **argv,
                                 const size_t *argvlen);

/* Where a command goes. */
typedef enum kw_route {
    KW_ROUTE_AUTO = 0,      /* by its keys; without keys as the servers advise */
    KW_ROUTE_KEY,           /* to the owner of options->key */
    KW_ROUTE_SLOT,          /* to the owner of options->slot; not on a ring */
    KW_ROUTE_NODE,          /* to options->node; its redirects are the caller's to read */
    KW_ROUTE_ANY,           /* to any one primary; on a ring with options->key one that is near
                               the key, and has no more than its share of such calls */
    KW_ROUTE_ALL_PRIMARIES, /* to every primary; the replies are combined */
    KW_ROUTE_ALL_NODES      /* to every node; the replies are combined */
} kw_route;

/* Which server a command that only reads goes to; all other commands go to primaries. */
typedef enum kw_read {
    KW_READ_DEFAULT = 0,    /* as the handle's option read-preference says */
    KW_READ_PRIMARY,        /* the primary */
    KW_READ_PREFER_REPLICA, /* a replica; the primary where no replica can answer */
    KW_READ_REPLICA,        /* a replica, and nobody else */
    KW_READ_NEAREST,        /* of primary and replicas, whoever has answered soonest lately */
    KW_READ_ZONE            /* a replica in options->zone, else the primary if it is in that zone;
                               else as KW_READ_PREFER_REPLICA */
} kw_read;

/* What a write leaves for reads that are to find it. Plain bytes, which may be copied and handed
 * on, to other handles and processes too; what they mean is the library's. Start with
 * KW_TOKEN_INIT, the token of no write. */
typedef struct kw_token {
    size_t size; /* sizeof(kw_token) */
    uint64_t stream;
    uint64_t offset;
} kw_token;

/* clang-format off */
#define KW_TOKEN_INIT { sizeof(kw_token), 0, 0 }
/* clang-format on */

/* What one call may ask for. Start with KW_CALL_OPTIONS_INIT; all pointers are borrowed for the
 * call. */
typedef struct kw_call_options {
    size_t size;         /* sizeof(kw_call_options) */
    uint64_t timeout_ms; /* deadline from now, in milliseconds; 0: the handle's timeout */
    kw_route route;
    const char *key;  /* for KW_ROUTE_KEY, and for KW_ROUTE_ANY on a ring: any bytes */
    size_t key_len;   /* bytes of key */
    unsigned slot;    /* for KW_ROUTE_SLOT: 0 to 16383 */
    const char *node; /* for KW_ROUTE_NODE: "host:port" of a node that the handle knows, or the
                         name of a ring's member */
    bool idempotent;  /* a second run does no harm: the command may be sent again after its
                         connection was lost */
    kw_read read;
    const char *zone; /* for KW_READ_ZONE: the zone's name */
    unsigned acks;    /* how many replicas must acknowledge a write (WAIT), by kw_call alone; 0: as
                         many as the handle's option acks says; KW_ACKS_NONE: none */
    uint64_t acks_timeout_ms; /* what the replicas are given for that, in milliseconds, never past
                                 the deadline; 0: the handle's option acks-timeout */
    unsigned *acked;          /* set to how many replicas have acknowledged; may be NULL */
    unsigned acks_local;      /* 1: the primary must have the write on disk, in its append-only
                                 file, and the replicas of acks too (WAITAOF: Redis 7.2, Valkey);
                                 0: memory will do */
    unsigned *acked_local;    /* set to 1 where the primary has the write on disk, else to 0; may be
                                 NULL */
    kw_token *token_out;      /* set to the token of this write; to KW_TOKEN_INIT where the primary
                                 did not say how far its stream is (INFO). By kw_call alone, without
                                 acks; may be NULL */
    const kw_token *after;    /* of a read: it finds the write that the token is of, at a replica
                                 that is known to have it, else at the primary; with KW_TOKEN_INIT
                                 at the primary. NULL: it need not */
    bool fail_fast;           /* a server that cannot be reached is an error at once, with the
                                 effect none: neither its return nor an election is waited for */
} kw_call_options;

/* For kw_call_options.acks: do not wait for replicas, whatever the handle's options say. */
#define KW_ACKS_NONE ((unsigned)-1)

/* clang-format off */
#define KW_CALL_OPTIONS_INIT { sizeof(kw_call_options), 0, KW_ROUTE_AUTO, NULL, 0, 0, NULL, false, KW_READ_DEFAULT, NULL, 0, 0, NULL, 0, NULL, NULL, NULL, false }
/* clang-format on */

/* Sends one command, given as its arguments, and waits for its reply, which the caller frees with
 * kw_reply_free. options say how; NULL options are the defaults.
 *
 * With acks, a write that too few replicas have acknowledged in time gives its reply, which
 * stands, and error says KW_ERR_DURABILITY with the effect done; where enough have, error says
 * KW_OK. With acks_local it is the same with the primary's disk; a server that lacks WAITAOF gives
 * the reply, and error says KW_ERR_UNSUPPORTED with the effect done. Commands that do not write
 * are not waited for.
 *
 * A token is of the shard, or the member of a ring, that the write went to; a read of another one
 * that is to find it goes to the primary.
 *
 * Errors: those of kw_command; KW_ERR_ARGUMENT for options that are wrong or lack what their route
 * needs; KW_ERR_UNSUPPORTED, with nothing sent, for acks on a command that goes to many nodes, and
 * for token_out on one that has acks or goes to many nodes. Any thread. */
KW_API kw_reply *kw_call(kw_client *client, kw_error *error, const kw_call_options *options,
                         kw_argv command);

#ifdef __cplusplus
}
#endif

#endif

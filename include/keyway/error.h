/* SPDX-License-Identifier: BSD-3-Clause */
/* keyway: what went wrong, and whether the command may have run.
 *
 * A function that can fail returns a kw_err, or NULL, and tells the story in a kw_error of the
 * caller's, always its second argument:
 *
 *   kw_error error = {0};
 *   if (kw_connect(client, &error) != KW_OK)
 *       fprintf(stderr, "%s: %s\n", kw_err_name(error.code), error.text);
 *
 * NULL in its place means that nobody wants the story. */
#ifndef KEYWAY_ERROR_H
#define KEYWAY_ERROR_H

#include <stddef.h>

#include <keyway/export.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Codes: 0 is success, all others are negative. They are never renumbered; more may follow. */
typedef enum kw_err {
    KW_OK = 0,
    KW_ERR_NOMEM = -1,          /* no memory */
    KW_ERR_ARGUMENT = -2,       /* a function argument, command or format is wrong */
    KW_ERR_CONFIG = -3,         /* a URI or an option is wrong */
    KW_ERR_UNSUPPORTED = -4,    /* not in this build, or not on this topology */
    KW_ERR_CONNECT = -10,       /* no connection to the node */
    KW_ERR_RESOLVE = -11,       /* no address for the host name */
    KW_ERR_HANDSHAKE = -12,     /* connected, but the server's greeting was refused */
    KW_ERR_AUTH = -13,          /* user, password or permission refused */
    KW_ERR_QUEUE_TIMEOUT = -14, /* deadline reached before all of the command was sent */
    KW_ERR_POOL_FULL = -15,     /* every connection to the node stayed busy */
    KW_ERR_TIMEOUT = -16,       /* deadline reached after sending */
    KW_ERR_CLOSED = -17,        /* connection lost after sending */
    KW_ERR_PROTOCOL = -18,      /* the server's bytes are no valid reply */
    KW_ERR_DESYNC = -19,        /* a reply that nothing asked for */
    KW_ERR_LIMIT = -20,         /* a reply over a configured limit */
    KW_ERR_REDIRECT = -21,      /* too many redirects */
    KW_ERR_NOT_SERVED = -22,    /* no node serves the key's slot */
    KW_ERR_CLUSTER_DOWN = -23,  /* the cluster answered CLUSTERDOWN until the deadline */
    KW_ERR_TRY_AGAIN = -24,     /* TRYAGAIN until the deadline */
    KW_ERR_LOADING = -25,       /* LOADING until the deadline */
    KW_ERR_MASTER_DOWN = -26,   /* MASTERDOWN until the deadline */
    KW_ERR_READONLY = -27,      /* READONLY until the deadline */
    KW_ERR_BUSY = -28,          /* BUSY until the deadline */
    KW_ERR_CROSSSLOT = -29,     /* the command's keys live in different slots */
    KW_ERR_KEYS = -30,          /* the command's keys cannot be found */
    KW_ERR_TOPOLOGY = -31,      /* no node gave a usable map of the cluster */
    KW_ERR_REFUSED = -32,       /* a command that cannot run on this handle */
    KW_ERR_CANCELLED = -33,     /* the handle was closed during the call, or the command given up */
    KW_ERR_FORKED = -34,        /* the handle belongs to the parent process */
    KW_ERR_QUEUE_FULL = -35,    /* too much is under way on the handle already */
    KW_ERR_ORDER = -36,         /* refused, and overtaken by a later command of its key; or given to
                                   a session or a transaction behind one that failed */
    KW_ERR_DRAINING = -37,      /* kw_drain was called: the handle takes nothing new */
    KW_ERR_NO_SENTINEL = -40,   /* no sentinel could be reached */
    KW_ERR_NO_SERVICE = -41,    /* no sentinel knows the name */
    KW_ERR_ROLE = -42,          /* the server is not the primary, or the replica, it was named */
    KW_ERR_DURABILITY = -43,    /* run, but acknowledged by fewer replicas than asked for */
    KW_ERR_QUORUM = -44,        /* too few copies of the key answered as needed */
    KW_ERR_IDENTITY = -45,      /* another server answers at the node's address */
    KW_ERR_LOAD = -46,          /* the host's function that loads a value gave none */
    KW_ERR_SERVER = -50,        /* a server's error reply, as kw_reply_outcome tells it */
    KW_ERR_REPLY = -51          /* a reply that is not what the program reads it as */
} kw_err;

/* What a failed call did on the servers. */
typedef enum kw_effect {
    KW_EFFECT_NONE = 0,  /* certainly not run: safe to repeat */
    KW_EFFECT_MAYBE = 1, /* sent, and no valid answer: may have run once */
    KW_EFFECT_DONE = 2   /* run, but its answer was lost */
} kw_effect;

/* The story of one failed call, in memory of the caller. Start with {0} ({} in C++) or
 * KW_ERROR_INIT, which are equal to every function. It is written only by a call that fails. One
 * thread at a time.
 *
 * size lets the struct grow: a later version may append members, and writes them only where size
 * reaches them. 0 stands for the size of the first version, which are the members below. Where
 * size is neither 0 nor at least that much, nothing is written. The library never writes size. */
typedef struct kw_error {
    size_t size;         /* sizeof(kw_error), or 0 */
    kw_err code;         /* what happened */
    kw_effect effect;    /* what it did on the servers */
    unsigned attempts;   /* how often the command was sent */
    unsigned elapsed_ms; /* from the start of the call, in milliseconds */
    char node[128];      /* "host:port" of the last node, cut to fit, or "" */
    char text[400];      /* one line for people: what, where, what to do; no secrets */
} kw_error;

/* clang-format off */
#define KW_ERROR_INIT { sizeof(kw_error), KW_OK, KW_EFFECT_NONE, 0, 0, { 0 }, { 0 } }
/* clang-format on */

/* Name of a code, "KW_ERR_TIMEOUT"; "KW_ERR_?" for a number that is no code. The text is constant.
 * Any thread. */
KW_API const char *kw_err_name(kw_err code);

/* What a code means in a few words, "deadline reached after sending"; "unknown code" for a number
 * that is no code. The text is constant. Any thread. */
KW_API const char *kw_err_text(kw_err code);

/* Name of an effect: "none", "maybe" or "done"; "?" for a number that is no effect. The text is
 * constant. Any thread. */
KW_API const char *kw_effect_name(kw_effect effect);

#ifdef __cplusplus
}
#endif

#endif

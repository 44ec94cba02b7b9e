/* SPDX-License-Identifier: BSD-3-Clause */
/* Load link: the load guard of a loop: a connection of its own that watches a key (WATCH) while its
 * value is loaded, and stores it where nobody has written the key meanwhile; never waits. */
#ifndef CACHE_LOAD_LINK_H
#define CACHE_LOAD_LINK_H

#include "cache/cache.h"
#include "net/poller.h"

typedef enum kw_load_link_state {
    KW_LOAD_LINK_NONE,
    KW_LOAD_LINK_OPENING,
    KW_LOAD_LINK_WATCHING, /* WATCH was sent */
    KW_LOAD_LINK_OPEN,     /* the key is watched */
    KW_LOAD_LINK_STORING,
    KW_LOAD_LINK_STORED, /* it was stored */
    KW_LOAD_LINK_FAILED  /* nothing is, or was, stored by it */
} kw_load_link_state;

/* Zeros: NONE. */
typedef struct kw_load_link {
    kw_cache *cache;
    kw_poller *poller;
    kw_load_link_state state;
    kw_node *node; /* a reference */
    kw_conn *conn;
    bool is_known; /* the node knows that it became ready */
    kw_watch watch;
    uint64_t until_ns;
    kw_buf encoded;
    kw_request requests[3]; /* WATCH; MULTI, the script, EXEC */
    kw_own_write *write;
} kw_load_link;

/* Begins to open it, for the primary of the key, which is OPEN by until_ns or FAILED. The poller is
 * that of the thread which calls all of these. */
void kw_load_link_begin(kw_load_link *link, kw_cache *cache, kw_poller *poller, kw_bytes key,
                        uint64_t until_ns);

/* Goes on with what its socket has. */
void kw_load_link_go_on(kw_load_link *link);

/* Has done what ask says (FILL or NONE), where it is OPEN: STORED by until_ns, or FAILED. */
void kw_load_link_store(kw_load_link *link, const kw_lease_ask *ask, uint64_t until_ns);

/* Lets go of the connection. has_forked: it is the parent's. */
void kw_load_link_close(kw_load_link *link, bool has_forked);

#endif

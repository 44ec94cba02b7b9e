/* SPDX-License-Identifier: BSD-3-Clause */
/* Pipeline: the driver of the op machine for many commands at once. */
#ifndef DRIVE_PIPELINE_H
#define DRIVE_PIPELINE_H

#include "base/heap.h"
#include "drive/driver.h"
#include "drive/loss.h"
#include "engine/ordering.h"

/* What only a command needs that is to be sent again, or waits for something. */
typedef struct kw_retry_state {
    kw_op op;
    struct kw_item *item;         /* whose it is */
    struct kw_async_session *pin; /* of a session's command; NULL: of any other one */
    kw_heap_entry wake;
    kw_story *story;    /* for whoever watches; NULL: nothing is kept */
    uint64_t changes_n; /* maps published when its node was chosen */
    bool wakes_on_map;
} kw_retry_state;

typedef enum kw_item_state {
    KW_ITEM_NEW,
    KW_ITEM_ROUTING,    /* its node is to be chosen */
    KW_ITEM_MAPLESS,    /* came before the first map */
    KW_ITEM_QUEUED,     /* on a channel, not on its connection yet */
    KW_ITEM_SENT,       /* on a connection */
    KW_ITEM_LOST,       /* its connection was lost; its op has not been told yet */
    KW_ITEM_SLEEPING,   /* its op sleeps */
    KW_ITEM_REFRESHING, /* its op waits for a map */
    KW_ITEM_HELD,       /* waits for earlier commands of its keys */
    KW_ITEM_ENDED,      /* with a reply, or without: see code */
    KW_ITEM_GONE        /* ended by its deadline, and still on a connection */
} kw_item_state;

struct kw_channel;

/* One command of a pipeline. What its end touches comes first: thousands are under way at once, and
 * not in the processor's first cache. */
typedef struct kw_item {
    struct kw_item *next; /* in the list that its state says */
    struct kw_item *before;
    void *owner;                 /* for whoever made it */
    kw_retry_state *retry_state; /* NULL: none yet */
    kw_loss *loss;               /* what stood in its way last; of an ended one without a reply: its
                                    story. NULL: nothing, or there was no memory for it */
    kw_node *node;               /* the last one: a reference where there is a retry_state, else
                                    its channel has one */
    kw_item_state state : 8;
    kw_err code : 8;        /* of an ended one: KW_OK, it has a reply */
    kw_effect effect : 4;   /* of an ended one without a reply */
    bool is_redirected : 1; /* as the last SEND step said */
    bool is_asking : 1;
    bool has_left : 1;     /* LOST: it may have reached the server */
    bool has_half : 1;     /* LOST: some of it has left, and not all */
    bool is_overtaken : 1; /* LOST: later commands of its keys may have run: it is not repeated */
    bool is_map_only : 1;  /* ends with KW_OK, and without a reply, once there is a map */
    bool is_pause : 1;     /* and besides: it is no command, and ends at its deadline */
    bool is_choosy : 1;    /* QUEUED: it does not wait where no connection can be had */
    bool is_due : 1;       /* its deadline is watched, in the list .. */
    bool is_in_heap : 1;   /* .. or in the heap */
    uint16_t sends_n;
    union {
        kw_heap_entry due; /* by its deadline */
        struct {
            uint64_t due_ns; /* due.at_ns: when that is; of an ended one, when it has */
            union {
                struct kw_item *due_next;
                void *owner_next; /* its owner's, while no deadline is watched */
            };
            struct kw_item *due_before;
        };
    };
    kw_ordered ordered;
    kw_request request; /* the encoded command, borrowed; its reply is the caller's, in the end */
    kw_plan plan;       /* of kind SLOT, ANY or NODE, with its deadline */
    struct kw_channel *channel; /* QUEUED, SENT, GONE */
    union {
        uint64_t sent_ns;            /* when it was put on a connection last; 0: it was not */
        const struct kw_item *ahead; /* QUEUED: one that comes some places behind it, which may be
                                        gone by now; or NULL */
    };
} kw_item;

/* What the owner of a command has before it, and behind it, or less. */
#define KW_ITEM_OWNER_LEN ((size_t)40)

/* The processor may bring the command near, which goes on soon. */
static inline void kw_item_bring_near(const kw_item *item)
{
    kw_mem_bring_near((const char *)item - KW_ITEM_OWNER_LEN,
                      sizeof(*item) + 2 * KW_ITEM_OWNER_LEN);
}

/* A new item, whose plan and encoded bytes are to be set. Each field by itself: thousands are made,
 * and most of what is in them is written later, if ever. */
static inline void kw_item_init(kw_item *item)
{
    item->next = NULL;
    item->before = NULL;
    item->owner = NULL;
    item->retry_state = NULL;
    item->loss = NULL;
    item->node = NULL;
    item->channel = NULL;
    kw_request_init(&item->request);
    item->state = KW_ITEM_NEW;
    item->code = KW_OK;
    item->sends_n = 0;
    item->sent_ns = 0;
    item->effect = KW_EFFECT_NONE;
    item->is_redirected = false;
    item->is_asking = false;
    item->has_left = false;
    item->has_half = false;
    item->is_overtaken = false;
    item->is_map_only = false;
    item->is_pause = false;
    item->is_choosy = false;
    item->is_due = false;
    item->is_in_heap = false;
    kw_ordered_init(&item->ordered);
}

/* When it ends; of a blocking command that has never had a connection, when it is to have one. */
static inline uint64_t kw_item_deadline_ns(const kw_item *item)
{
    return item->sends_n > 0 ? item->plan.deadline_ns : kw_plan_place_ns(&item->plan);
}

/* True where nobody wants the command any more (kw_pipeline_cancel). */
static inline bool kw_item_is_cancelled(const kw_item *item)
{
    return item->plan.deadline_ns == 0;
}

/* Why it ends before its answer, where nothing else has happened. */
static inline kw_err kw_item_late_code(const kw_item *item)
{
    return kw_item_is_cancelled(item) ? KW_ERR_CANCELLED : KW_ERR_TIMEOUT;
}

/* Commands that one caller waits for. Their plans are set, and their bytes; all else is new. */
typedef struct kw_commands {
    kw_item *items;
    size_t items_n;
    uint64_t start_ns; /* when they begin; 0: as their plans say */
    uint64_t deadline_ns;
    const char *encoded; /* bytes of those that have but the number of theirs, one behind the other;
                            NULL: each has its own */
} kw_commands;

/* Sends all commands, in their order to each node, to all nodes before any is read, and
 * waits, as long as the first one's plan is not of a handle that is being closed, until each has
 * ended: with a reply, or with a code and its story (kw_item_tell). KW_OK where each has a reply,
 * else the code of the first that has none. */
kw_err kw_pipeline_all(kw_topology *topology, const kw_commands *commands);

/* The story of a command that ended without a reply. */
void kw_item_tell(const kw_item *item, kw_error *error);

/* From now on loss, of which the item takes a reference, is the item's; NULL: none is. */
void kw_item_note(kw_item *item, kw_loss *loss, const kw_allocator *mem);

/* Frees what a pipeline left in an item: reply, story and plan. */
void kw_item_fini_failed(kw_item *item, const kw_allocator *mem);
static inline void kw_item_fini(kw_item *item, const kw_allocator *mem)
{
    kw_reply_free(item->request.reply);
    item->request.reply = NULL;
    if (item->retry_state != NULL || item->loss != NULL) {
        kw_item_fini_failed(item, mem);
    }
    kw_plan_fini(&item->plan);
}

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* Channel: one node's share of a pipeline, on one connection. */
#ifndef DRIVE_CHANNEL_H
#define DRIVE_CHANNEL_H

#include "drive/pipeline.h"
#include "engine/patience.h"
#include "net/poller.h"

/* First in, first out; any one can be taken out. */
typedef struct kw_items {
    kw_item *head;
    kw_item *tail;
} kw_items;

static inline void kw_items_push(kw_items *list, kw_item *item)
{
    item->next = NULL;
    item->before = list->tail;
    *(list->tail != NULL ? &list->tail->next : &list->head) = item;
    list->tail = item;
}

/* NULL: empty. */
static inline kw_item *kw_items_pop(kw_items *list)
{
    kw_item *item = list->head;
    if (item != NULL) {
        list->head = item->next;
        *(item->next != NULL ? &item->next->before : &list->tail) = NULL;
        item->next = NULL;
    }
    return item;
}

void kw_items_push_front(kw_items *list, kw_item *item);
void kw_items_remove(kw_items *list, kw_item *item);

/* All of behind, which is empty then, to the end of the list. */
void kw_items_append(kw_items *list, kw_items *behind);

/* So many replies of a long-lived pipeline go to their callbacks before the next ones are read: few
 * enough for what they touch to stay in the processor's first cache, and for what callbacks free to
 * be the next ones' memory. glibc keeps seven pieces of a size at hand for a thread. */
#define KW_CHANNEL_GIVES_MAX 7

typedef struct kw_channel {
    kw_node *node;     /* a reference */
    kw_conn *conn;     /* NULL: none yet, or lost */
    kw_items queue;    /* not on the connection yet */
    kw_items flight;   /* sent, in the order of their replies */
    kw_watch watch;    /* of conn's socket, where the pipeline has a poller */
    size_t at;         /* its place among the pipeline's channels */
    bool is_counted;   /* the node knows that conn became ready */
    bool is_exclusive; /* for one command alone, which may block in the server; or of pin */
    struct kw_async_session *pin; /* whose connection stays from command to command; or NULL */
    bool is_spare;                /* conn is beyond the node's pool-max */
    bool has_unsent;              /* what kw_channel_fill put on conn is still to be sent */
    bool is_listed;               /* in the pipeline's list of channels that have something to do */
    size_t queued_n;              /* commands of the queue; those of a long one have an ahead .. */
    kw_item *untold;              /* .. but from this one on; NULL: none has */
    size_t untold_n;              /* behind it are so many, or fewer */
    size_t choosy_n;              /* commands of the queue that kw_channel_keeps says no of */
    bool is_rerouting;            /* commands of the queue will choose their node again */
    struct kw_channel *next_listed;
    kw_heap_entry timer; /* when it is to be looked at without its socket's word */
    uint64_t retry_ns;   /* no connection was had: not before this */
    uint64_t hope_ns; /* likewise: then it may be known that nobody waits for the node any more */
    uint64_t rerouted_ns; /* when they did so last */
    uint64_t heard_ns;    /* last reply, or last send into silence */
    kw_backoff backoff;   /* between connections that could not be had, or were lost */
    kw_err failure;       /* why there is no connection; KW_OK: no reason yet */
    kw_loss *loss;        /* the same in words; NULL: none yet, or no memory */
    kw_loss *waited;      /* what is queued waited for, as it was told last; or NULL */
    kw_loss *late;        /* of those whose answer did not come in time; or NULL */
    kw_patience patience; /* with what is on the connection */
} kw_channel;

/* What is needed to move a channel on, and what it gives back. */
typedef struct kw_channel_scan {
    kw_topology *topology;
    kw_poller *poller; /* NULL: the pipeline waits by itself */
    uint64_t now_ns;
    kw_error failure;      /* why the channel failed */
    kw_ordering *ordering; /* NULL: each leaves in its turn */
    kw_items held;         /* commands taken from queues, which wait for others of their keys */
    kw_items overtaken;    /* commands that may not be sent any more: later ones have run */
} kw_channel_scan;

/* Puts a command on the connection, to be sent by the next pump, where that has others on it and
 * nothing is in the way; else at the end of the queue. What goes wrong the next pump, or fill,
 * tells. */
void kw_channel_put(kw_channel *channel, kw_channel_scan *scan, kw_item *item);

/* A queue of more commands than this is long: more than the processor has near by itself. */
#define KW_CHANNEL_MANY_N 512

/* The next command is the first one of the queue without an ahead. */
static inline void kw_channel_pass_untold(kw_channel *channel)
{
    channel->untold = channel->untold->next;
    channel->untold_n--;
}

/* Puts a command at the end of the queue; of a long one it is the ahead of another. */
void kw_channel_tell_ahead(kw_channel *channel, kw_item *item);
static inline void kw_channel_enqueue(kw_channel *channel, kw_item *item)
{
    item->state = KW_ITEM_QUEUED;
    item->ahead = NULL;
    kw_items_push(&channel->queue, item);
    if (++channel->queued_n > KW_CHANNEL_MANY_N) {
        kw_channel_tell_ahead(channel, item);
    } else {
        channel->untold = NULL;
    }
}

/* Takes a command out of the queue. */
static inline void kw_channel_dequeue(kw_channel *channel, kw_item *item)
{
    if (channel->untold == item) {
        kw_channel_pass_untold(channel);
    }
    kw_items_remove(&channel->queue, item);
    channel->queued_n--;
    channel->choosy_n -= item->is_choosy ? 1 : 0;
    item->sent_ns = 0;
}

/* Puts a command that was sent in vain before all others of the queue. */
void kw_channel_put_back(kw_channel *channel, kw_item *item);

/* Takes all of the queue, to the end of the list. */
void kw_channel_take_queue(kw_channel *channel, kw_items *list);

/* True for a command that waits here while no connection can be had: all others ask their op. */
bool kw_channel_keeps(const kw_channel_scan *scan, const kw_item *item);

/* Gets a connection where there is something to send, puts on it what it takes, and sends
 * it; bounded, where the socket takes all. Never waits. Failure: the connection, or the way to it,
 * is lost. */
kw_err kw_channel_pump(kw_channel *channel, kw_channel_scan *scan);

/* True where the pump has more to do at once. */
bool kw_channel_has_more(const kw_channel *channel, const kw_channel_scan *scan);

/* Puts what waits on the connection, where there is one, to be sent by the next pump. */
kw_err kw_channel_fill(kw_channel *channel, kw_channel_scan *scan);

/* Reads what poll announced, and tells the node of a connection that became ready. */
kw_err kw_channel_progress(kw_channel *channel, kw_channel_scan *scan, short revents);

/* The next sent command that has its reply, taken out; NULL: none. Behind those that were taken
 * kw_channel_on_heard follows. */
static inline kw_item *kw_channel_answered(kw_channel *channel)
{
    bool is_answered = channel->flight.head != NULL && channel->flight.head->request.is_done;
    return is_answered ? kw_items_pop(&channel->flight) : NULL;
}
void kw_channel_on_heard(kw_channel *channel, uint64_t now_ns);

/* True where poll has something to wait for. */
bool kw_channel_is_waiting(const kw_channel *channel);

/* True where nothing but replies of a ready connection is awaited. */
bool kw_channel_is_reading(const kw_channel *channel);

/* Makes the poller watch what the connection waits for. */
kw_err kw_channel_watch(kw_channel *channel, kw_channel_scan *scan);

/* Gives the connection back: to the pool where it owes nothing, else it is closed. */
void kw_channel_release(kw_channel *channel, kw_channel_scan *scan, const kw_error *failure);

#endif

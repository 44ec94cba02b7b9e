/* SPDX-License-Identifier: BSD-3-Clause */
/* Messages and gaps: made in one piece, read by whoever got them. */
#include "engine/message.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char *const reasons[] = {
    [KW_GAP_CLOSED] = "closed", [KW_GAP_SILENT] = "silent",     [KW_GAP_MOVED] = "moved",
    [KW_GAP_NODES] = "nodes",   [KW_GAP_PROTOCOL] = "protocol", [KW_GAP_OVERFLOW] = "overflow",
    [KW_GAP_MEMORY] = "memory",
};

static const char *const stories[] = {
    [KW_GAP_CLOSED] = "the connection was lost, and the topics are subscribed again",
    [KW_GAP_SILENT] = "the node was silent for too long, and the topics are subscribed again",
    [KW_GAP_MOVED] = "the topics belong to another node now, and are subscribed there",
    [KW_GAP_NODES] = "a node of the topics has come, or has left",
    [KW_GAP_PROTOCOL] = "the node's bytes were wrong, and the topics are subscribed again",
    [KW_GAP_OVERFLOW] = "the subscriber's queue was full",
    [KW_GAP_MEMORY] = "there was no memory for messages",
};

const char *kw_gap_reason_name(kw_gap_reason reason)
{
    bool is_known = reason >= KW_GAP_CLOSED && reason <= KW_GAP_MEMORY;
    return is_known ? reasons[reason] : "?";
}

/* Copies to *at, with a zero byte behind. */
static kw_bytes put(char **at, kw_bytes from)
{
    kw_bytes copy = {*at, from.len};
    if (from.len > 0) {
        memcpy(*at, from.data, from.len);
    }
    (*at)[from.len] = '\0';
    *at += from.len + 1;
    return copy;
}

/* Room for the parts, and for extra_len bytes in front of them, at *extra. */
static kw_message *make(const kw_allocator *mem, const kw_message_parts *parts, size_t extra_len,
                        void **extra)
{
    size_t len = sizeof(kw_message) + extra_len;
    if (!kw_size_add(&len, len, parts->channel.len + parts->pattern.len + parts->node.len + 4) ||
        !kw_size_add(&len, len, parts->bytes.len)) {
        return NULL;
    }
    kw_message *self = kw_mem_alloc(mem, len);
    if (self == NULL) {
        return NULL;
    }
    char *at = (char *)(self + 1) + extra_len;
    *extra = self + 1;
    memset(self, 0, offsetof(kw_message, channel));
    self->mem = *mem;
    self->size = len;
    self->kind = parts->kind;
    self->channel = put(&at, parts->channel);
    self->pattern = put(&at, parts->pattern);
    self->node = put(&at, parts->node);
    self->bytes = put(&at, parts->bytes);
    return self;
}

kw_message *kw_message_new(const kw_allocator *mem, const kw_message_parts *parts)
{
    void *extra;
    return make(mem, parts, 0, &extra);
}

void kw_gap_init(kw_gap *gap, const kw_allocator *mem)
{
    memset(gap, 0, sizeof(*gap));
    kw_buf_init(&gap->names, mem, NULL, 0);
}

void kw_gap_fini(kw_gap *gap)
{
    kw_buf_fini(&gap->names);
}

bool kw_gap_add(kw_gap *gap, kw_topic_kind kind, kw_bytes name)
{
    if (!kw_buf_reserve(&gap->names, sizeof(kind) + sizeof(name.len) + name.len + 1)) {
        return false;
    }
    (void)kw_buf_append(&gap->names, (const char *)&kind, sizeof(kind)); /* there is room */
    (void)kw_buf_append(&gap->names, (const char *)&name.len, sizeof(name.len));
    (void)kw_buf_append(&gap->names, name.data, name.len);
    (void)kw_buf_append(&gap->names, "", 1);
    gap->topics_n++;
    return true;
}

/* Lists the names, which lie in the copied bytes. */
static void list_topics(kw_message_topic_name *topics, size_t n, const char *at)
{
    for (size_t i = 0; i < n; i++) {
        memcpy(&topics[i].kind, at, sizeof(topics[i].kind));
        at += sizeof(topics[i].kind);
        memcpy(&topics[i].name.len, at, sizeof(topics[i].name.len));
        at += sizeof(topics[i].name.len);
        topics[i].name.data = at;
        at += topics[i].name.len + 1;
    }
}

kw_message *kw_gap_message(kw_gap *gap, const kw_allocator *mem)
{
    kw_message_parts parts = {.kind = KW_MESSAGE_GAP, .node = gap->node};
    parts.bytes = kw_bytes_of(stories[gap->reason]);
    size_t list_len;
    size_t extra_len;
    void *extra;
    if (!kw_size_mul(&list_len, gap->topics_n, sizeof(kw_message_topic_name)) ||
        !kw_size_add(&extra_len, list_len, gap->names.len)) {
        return NULL;
    }
    kw_message *self = make(mem, &parts, extra_len, &extra);
    if (self == NULL) {
        return NULL;
    }
    char *names = (char *)extra + list_len;
    if (gap->names.len > 0) {
        memcpy(names, gap->names.data, gap->names.len);
    }
    list_topics(extra, gap->topics_n, names);
    self->topics = extra;
    self->topics_n = gap->topics_n;
    self->reason = gap->reason;
    self->gap_ms = gap->ms;
    gap->names.len = 0;
    gap->topics_n = 0;
    gap->ms = 0;
    return self;
}

kw_message *kw_message_of_loss(const kw_allocator *mem, const kw_message_loss *loss)
{
    char text[100];
    kw_gap_reason reason = loss->is_of_memory ? KW_GAP_MEMORY : KW_GAP_OVERFLOW;
    snprintf(text, sizeof(text), "%s; messages dropped: %" PRIu64, stories[reason],
             loss->messages_n);
    kw_message_parts parts = {.kind = KW_MESSAGE_GAP, .bytes = kw_bytes_of(text)};
    kw_message *self = kw_message_new(mem, &parts);
    if (self != NULL) {
        self->reason = reason;
        self->lost_n = loss->messages_n;
    }
    return self;
}

kw_message_kind kw_message_type(const kw_message *message)
{
    return message != NULL ? message->kind : (kw_message_kind)-1;
}

/* Of no message: NULL. */
static const char *show(const kw_bytes *bytes, size_t *len)
{
    if (len != NULL) {
        *len = bytes != NULL ? bytes->len : 0;
    }
    return bytes != NULL ? bytes->data : NULL;
}

const char *kw_message_channel(const kw_message *message, size_t *len)
{
    return show(message != NULL ? &message->channel : NULL, len);
}

const char *kw_message_pattern(const kw_message *message, size_t *len)
{
    return show(message != NULL ? &message->pattern : NULL, len);
}

const char *kw_message_bytes(const kw_message *message, size_t *len)
{
    return show(message != NULL ? &message->bytes : NULL, len);
}

const char *kw_message_node(const kw_message *message)
{
    return message != NULL ? message->node.data : NULL;
}

kw_gap_reason kw_message_gap_reason(const kw_message *message)
{
    return message != NULL ? message->reason : (kw_gap_reason)0;
}

uint64_t kw_message_gap_ms(const kw_message *message)
{
    return message != NULL ? message->gap_ms : 0;
}

uint64_t kw_message_gap_lost(const kw_message *message)
{
    return message != NULL ? message->lost_n : 0;
}

size_t kw_message_topics_n(const kw_message *message)
{
    return message != NULL ? message->topics_n : 0;
}

const char *kw_message_topic(const kw_message *message, size_t *len, kw_topic_kind *kind,
                             size_t index)
{
    if (index >= kw_message_topics_n(message)) {
        return NULL;
    }
    if (kind != NULL) {
        *kind = message->topics[index].kind;
    }
    return show(&message->topics[index].name, len);
}

void kw_message_free(kw_message *message)
{
    if (message != NULL) {
        const kw_allocator mem = message->mem;
        kw_mem_free(&mem, message);
    }
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Who may leave: the states of keys that several commands have, and the waits behind them. */
#include "engine/ordering.h"

#include "engine/ordering_table.h"

#include <string.h>

void kw_ordering_init(kw_ordering *self, const kw_allocator *mem, bool is_strict)
{
    memset(self, 0, sizeof(*self));
    self->mem = mem;
    self->is_strict = is_strict;
}

void kw_ordering_fini(kw_ordering *self)
{
    kw_order_table_fini(self);
}

static kw_order_list *list_of(kw_order_key *key, const kw_ordered *command)
{
    return command->is_read ? &key->reads : &key->writes;
}

static bool is_behind(const kw_order_link *link, const kw_order_link *other)
{
    return other->command->number > link->command->number;
}

/* The first pending one behind the link; NULL: it is the last. What comes back together comes
 * one behind the other: the next one's place is mostly behind the latest. */
static kw_order_link *find_behind(const kw_order_list *list, const kw_order_link *link)
{
    if (list->tail == NULL || !is_behind(link, list->tail)) {
        return NULL;
    }
    bool is_near = list->latest != NULL && !is_behind(link, list->latest);
    kw_order_link *behind = is_near ? list->latest->next : list->head;
    while (!is_behind(link, behind)) {
        behind = behind->next;
    }
    return behind;
}

/* Into the list of pending ones, by its number. */
static void push_pending(kw_order_key *key, kw_order_link *link)
{
    kw_order_list *list = list_of(key, link->command);
    kw_order_link *behind = find_behind(list, link);
    link->next = behind;
    link->before = behind != NULL ? behind->before : list->tail;
    *(behind != list->head ? &link->before->next : &list->head) = link;
    *(behind != NULL ? &behind->before : &list->tail) = link;
    list->latest = behind != NULL ? link : list->latest;
}

static void remove_pending(kw_order_key *key, kw_order_link *link)
{
    kw_order_list *list = list_of(key, link->command);
    kw_order_link *before = list->head != link ? link->before : NULL;
    *(before != NULL ? &before->next : &list->head) = link->next;
    if (link->next == NULL) {
        list->tail = before;
    } else if (before != NULL) {
        link->next->before = before;
    }
    list->latest = list->latest == link ? before : list->latest;
}

static void count_left(kw_order_key *key, const kw_ordered *command)
{
    uint64_t number = command->number + 1;
    if (key->left_n == 0) {
        key->place = command->place;
        key->is_spread = false;
    }
    key->is_spread = key->is_spread || key->place != command->place;
    key->left_n++;
    key->last_left = number > key->last_left ? number : key->last_left;
    if (!command->is_read) {
        key->left_writes_n++;
        key->last_left_write = number > key->last_left_write ? number : key->last_left_write;
    }
    key->is_suspect = key->is_suspect || command->is_again;
}

static void count_out(kw_order_key *key, const kw_ordered *command)
{
    key->left_n--;
    key->left_writes_n -= command->is_read ? 0 : 1;
    key->last_left = key->left_n > 0 ? key->last_left : 0;
    key->last_left_write = key->left_writes_n > 0 ? key->last_left_write : 0;
}

/* Notes that the command has run, or may have. */
static void note_run(kw_order_key *key, const kw_ordered *command)
{
    uint64_t number = command->number + 1;
    key->ran = number > key->ran ? number : key->ran;
    if (!command->is_read) {
        key->ran_write = number > key->ran_write ? number : key->ran_write;
    }
}

static bool is_overtaken(const kw_order_key *key, const kw_ordered *command)
{
    return (command->is_read ? key->ran_write : key->ran) > command->number + 1;
}

static bool is_pending_before(const kw_order_list *list, const kw_ordered *command)
{
    return list->head != NULL && list->head->command->number < command->number;
}

/* Whether the command may leave by the place, as far as this key is concerned. */
static kw_order_answer look(const kw_ordering *self, const kw_order_key *key,
                            const kw_ordered *command, const void *place)
{
    if (is_overtaken(key, command)) {
        return KW_ORDER_OVERTAKEN;
    }
    if (is_pending_before(&key->writes, command) ||
        (!command->is_read && is_pending_before(&key->reads, command))) {
        return KW_ORDER_WAIT;
    }
    uint32_t left_n = command->is_read ? key->left_writes_n : key->left_n;
    uint64_t last_left = command->is_read ? key->last_left_write : key->last_left;
    if (left_n == 0) {
        return KW_ORDER_GO;
    }
    bool is_in_line = key->place == place && !key->is_spread && last_left < command->number + 1;
    return is_in_line && !key->is_suspect && !self->is_strict ? KW_ORDER_GO : KW_ORDER_WAIT;
}

/* True where the link's command waits, and for this key. */
static bool is_held_by(const kw_order_link *link)
{
    kw_ordered *command = link->command;
    return command->is_held && &kw_ordered_links(command)[command->at] == link;
}

static inline void set_held(kw_ordering *self, kw_ordered *command, bool is_held)
{
    self->held_n -= command->is_held ? 1 : 0;
    self->held_n += is_held ? 1 : 0;
    command->is_held = is_held;
}

/* Frees the command of a link; false where it has to wait on, or for another key, or will ask by
 * itself. */
static bool try_free(kw_ordering *self, kw_order_key *key, kw_order_link *link)
{
    kw_ordered *command = link->command;
    if (!is_held_by(link) || look(self, key, command, command->place) == KW_ORDER_WAIT) {
        return false;
    }
    set_held(self, command, false);
    command->next_freed = NULL;
    *(self->freed_tail != NULL ? &self->freed_tail->next_freed : &self->freed) = command;
    self->freed_tail = command;
    return true;
}

/* Something has changed for those that wait behind it. Of each kind, the first one that is not
 * freed stands for those behind it: they are looked at when it has left, or ended. */
static void free_waiting(kw_ordering *self, kw_order_key *key)
{
    if (self->held_n == 0) {
        return; /* as while all goes well */
    }
    kw_order_link *link = key->reads.head;
    while (link != NULL && try_free(self, key, link)) {
        link = link->next;
    }
    if (key->writes.head != NULL) {
        (void)try_free(self, key, key->writes.head);
    }
}

/* The link's hash is another command's as well. */
static bool join(kw_ordering *self, kw_order_entry **place, kw_order_link *link)
{
    kw_order_entry *entry = *place;
    kw_order_key *key = kw_order_key_of(entry);
    if (key == NULL) {
        kw_order_link *other = (kw_order_link *)entry;
        key = kw_order_table_share(self, place);
        if (key == NULL) {
            return false;
        }
        other->key = key;
        if (other->command->has_left) {
            count_left(key, other->command);
        } else {
            push_pending(key, other);
        }
    }
    link->key = key;
    key->members_n++;
    push_pending(key, link);
    return true;
}

/* True where the command has the key already: it is the newest one. */
static bool is_twice(kw_order_entry *entry, const kw_ordered *command)
{
    const kw_order_key *key = kw_order_key_of(entry);
    const kw_order_link *link = (const kw_order_link *)entry;
    if (key != NULL) {
        link = command->is_read ? key->reads.tail : key->writes.tail;
    }
    return link != NULL && link->command == command;
}

static bool add_link(kw_ordering *self, kw_ordered *command, uint64_t hash)
{
    kw_order_link *link = &kw_ordered_links(command)[command->links_n];
    kw_order_entry **place = kw_order_table_place(self, hash);
    link->key = NULL;
    link->command = command;
    link->entry.hash = hash & ~KW_ORDER_IS_KEY;
    if (place == NULL) {
        return false;
    }
    if (*place == NULL) {
        kw_order_table_add(self, place, &link->entry);
    } else if (is_twice(*place, command)) {
        return true;
    } else if (!join(self, place, link)) {
        return false;
    }
    command->links_n++;
    return true;
}

static void begin(kw_ordering *self, kw_ordered *command, bool is_read)
{
    command->number = self->numbers_n++;
    command->is_read = is_read;
    command->has_left = false;
    command->is_held = false;
    command->is_again = false;
    command->at = 0;
    command->links_n = 0;
    command->is_added = true;
    command->has_block = false;
}

bool kw_ordering_add_one(kw_ordering *self, kw_ordered *command, bool is_read, uint64_t hash)
{
    begin(self, command, is_read);
    return add_link(self, command, hash);
}

bool kw_ordering_add(kw_ordering *self, kw_ordered *command, bool is_read, const uint64_t *hashes,
                     size_t hashes_n)
{
    begin(self, command, is_read);
    command->has_block = hashes_n > 1;
    if (command->has_block) {
        command->links = kw_mem_calloc(self->mem, hashes_n, sizeof(command->links[0]));
    }
    bool is_whole = kw_ordered_links(command) != NULL && hashes_n < UINT32_MAX;
    for (size_t i = 0; is_whole && i < hashes_n; i++) {
        is_whole = add_link(self, command, hashes[i]);
    }
    if (!is_whole) {
        kw_ordering_on_end(self, command, KW_ORDER_NOT_RUN);
    }
    return is_whole;
}

kw_order_answer kw_ordering_ask(kw_ordering *self, kw_ordered *command, const void *place)
{
    command->place = place;
    /* From the first key again: commands before it may have come back meanwhile. */
    for (command->at = 0; command->at < command->links_n; command->at++) {
        const kw_order_key *key = kw_ordered_links(command)[command->at].key;
        kw_order_answer answer = key != NULL ? look(self, key, command, place) : KW_ORDER_GO;
        if (answer != KW_ORDER_GO) {
            set_held(self, command, answer == KW_ORDER_WAIT);
            return answer;
        }
    }
    command->at = 0;
    set_held(self, command, false);
    return KW_ORDER_GO;
}

void kw_ordering_on_left_shared(kw_ordering *self, kw_ordered *command)
{
    for (uint32_t i = 0; i < command->links_n; i++) {
        kw_order_link *link = &kw_ordered_links(command)[i];
        if (link->key != NULL) {
            remove_pending(link->key, link);
            count_left(link->key, command);
            free_waiting(self, link->key);
        }
    }
}

bool kw_ordering_on_lost(kw_ordering *self, kw_ordered *command, bool is_repeatable)
{
    (void)self;
    for (uint32_t i = 0; is_repeatable && i < command->links_n; i++) {
        const kw_order_key *key = kw_ordered_links(command)[i].key;
        is_repeatable = key == NULL || !is_overtaken(key, command);
    }
    for (uint32_t i = 0; !is_repeatable && i < command->links_n; i++) {
        kw_order_key *key = kw_ordered_links(command)[i].key;
        if (key != NULL) {
            note_run(key, command);
        }
    }
    return is_repeatable;
}

void kw_ordering_on_back(kw_ordering *self, kw_ordered *command)
{
    command->has_left = false;
    command->is_again = true;
    command->at = 0;
    for (uint32_t i = 0; i < command->links_n; i++) {
        kw_order_link *link = &kw_ordered_links(command)[i];
        if (link->key != NULL) {
            count_out(link->key, command);
            link->key->is_suspect = true;
            push_pending(link->key, link);
            free_waiting(self, link->key);
        }
    }
}

static void end_link(kw_ordering *self, kw_order_link *link, kw_order_end end)
{
    kw_order_key *key = link->key;
    if (key == NULL) {
        kw_order_table_remove(self, &link->entry);
        return;
    }
    if (link->command->has_left) {
        count_out(key, link->command);
    } else {
        remove_pending(key, link);
    }
    if (end != KW_ORDER_NOT_RUN) {
        note_run(key, link->command);
    }
    key->is_suspect = key->is_suspect && end != KW_ORDER_RAN;
    if (--key->members_n == 0) {
        kw_order_table_drop(self, key);
    } else {
        free_waiting(self, key);
    }
}

void kw_ordering_on_end(kw_ordering *self, kw_ordered *command, kw_order_end end)
{
    set_held(self, command, false);
    for (uint32_t i = 0; i < command->links_n; i++) {
        end_link(self, &kw_ordered_links(command)[i], end);
    }
    command->links_n = 0;
    if (command->has_block) {
        kw_mem_free(self->mem, command->links);
        command->has_block = false;
    }
}

kw_ordered *kw_ordering_next_freed(kw_ordering *self)
{
    kw_ordered *command = self->freed;
    if (command != NULL) {
        self->freed = command->next_freed;
        self->freed_tail = self->freed != NULL ? self->freed_tail : NULL;
    }
    return command;
}

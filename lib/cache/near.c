/* SPDX-License-Identifier: BSD-3-Clause */
/* The table of near values: found without a lock, changed under one. */
#include "cache/near.h"

#include "base/moment.h"
#include "base/bytes.h"
#include "route/hash_xxh.h"

#include <pthread.h>
#include <string.h>

/* Bytes of room for each bucket, and an entry's share of them. */
#define BUCKET_ROOM 256

/* What the host's allocator needs for a block, about. */
#define BLOCK_COST 16

/* No value takes more than this part of the room. */
#define VALUE_PART 16

/* What was taken out waits until it is this part of the room: a grace looks at all places of pins,
 * which is as much work as a miss is without it. */
#define GRACE_PART 32

uint64_t kw_near_hash(kw_bytes key)
{
    return kw_xxh3(key.data, key.len, 0);
}

static uint64_t power_below(uint64_t n)
{
    uint64_t power = 16;
    while (power * 2 <= n) {
        power *= 2;
    }
    return power;
}

static bool init_parts(kw_near *near, const kw_near_limits *limits)
{
    uint64_t buckets_n = power_below(limits->bytes / BUCKET_ROOM);
    near->buckets_mask = buckets_n - 1;
    near->buckets = kw_mem_calloc(&near->mem, (size_t)buckets_n, sizeof(near->buckets[0]));
    if (near->buckets == NULL) {
        return false;
    }
    if (!kw_s3fifo_init(&near->queues, &near->mem, 0, buckets_n)) {
        kw_mem_free(&near->mem, (void *)near->buckets);
        return false;
    }
    uint64_t fixed = buckets_n * sizeof(near->buckets[0]) + kw_s3fifo_bytes(&near->queues);
    /* A fifth is left for entries that wait for pins. */
    near->queues.room = limits->bytes > fixed ? (limits->bytes - fixed) / 5 * 4 : 0;
    near->fixed = fixed;
    return true;
}

kw_near *kw_near_new(const kw_allocator *mem, const kw_near_limits *limits, kw_write_stamps *stamps)
{
    char *block = kw_mem_calloc(mem, 1, sizeof(kw_near) + 64);
    if (block == NULL) {
        return NULL;
    }
    kw_near *near = (kw_near *)(void *)(block + (64 - (uintptr_t)block % 64) % 64);
    near->block = block;
    near->mem = *mem;
    near->limits = *limits;
    near->stamps = stamps;
    kw_pins_init(&near->pins);
    if (!init_parts(near, limits)) {
        kw_mem_free(mem, block);
        return NULL;
    }
    if (kw_monitor_init(&near->monitor) != KW_OK) {
        kw_s3fifo_fini(&near->queues, mem);
        kw_mem_free(mem, (void *)near->buckets);
        kw_mem_free(mem, block);
        return NULL;
    }
    return near;
}

static void free_list(kw_near *near, kw_near_entry *entry)
{
    while (entry != NULL) {
        kw_near_entry *next = atomic_load_explicit(&entry->next, memory_order_relaxed);
        kw_mem_free(&near->mem, entry);
        entry = next;
    }
}

/* Entries that were taken out. */
static void free_left(kw_near *near, kw_near_entry *entry)
{
    while (entry != NULL) {
        kw_near_entry *next = (kw_near_entry *)(void *)entry->link.older;
        kw_mem_free(&near->mem, entry);
        entry = next;
    }
}

static void free_all(kw_near *near)
{
    for (uint64_t i = 0; i <= near->buckets_mask; i++) {
        free_list(near, atomic_load_explicit(&near->buckets[i], memory_order_relaxed));
    }
    free_left(near, near->leaving);
    free_left(near, near->waiting);
    kw_s3fifo_fini(&near->queues, &near->mem);
    kw_monitor_fini(&near->monitor);
    kw_allocator mem = near->mem;
    kw_mem_free(&mem, (void *)near->buckets);
    kw_mem_free(&mem, near->block);
}

void kw_near_close(kw_near *near)
{
    if (kw_pins_close(&near->pins)) {
        free_all(near);
    }
}

void kw_near_give_back(kw_pins_guard pin)
{
    kw_pins *pins = pin.place->pins; /* the first member of its near */
    if (kw_pins_give_back(pin)) {
        free_all((kw_near *)(void *)pins);
    }
}

static _Atomic(kw_near_entry *) *bucket_of(kw_near *near, uint64_t hash)
{
    return &near->buckets[(hash >> 16) & near->buckets_mask];
}

static bool is_of(const kw_near_entry *entry, uint64_t hash, kw_bytes key)
{
    return entry->link.hash == hash && entry->key_len == key.len &&
           memcmp(entry->bytes, key.data, key.len) == 0;
}

/* May it be given? The order of the reads does not matter: each of them only grows. */
static bool is_valid(const kw_near *near, const kw_near_entry *entry, uint64_t now_ns)
{
    const kw_near_pair *pair = &near->pairs[entry->pair];
    uint64_t proof_ns = atomic_load_explicit(&pair->proof_ns, memory_order_acquire);
    return atomic_load_explicit(&pair->epoch, memory_order_acquire) == entry->epoch &&
           now_ns < entry->end_ns && now_ns < proof_ns + near->limits.staleness_ns &&
           kw_write_stamps_read(near->stamps, entry->link.hash) == entry->stamp;
}

/* Half of the bound has passed, or more: a hit asks for another proof. */
static void want_proof(kw_near *near, const kw_near_entry *entry, uint64_t now_ns)
{
    kw_near_pair *pair = &near->pairs[entry->pair];
    uint64_t proof_ns = atomic_load_explicit(&pair->proof_ns, memory_order_relaxed);
    if (now_ns >= proof_ns + near->limits.staleness_ns / 2 &&
        !atomic_load_explicit(&pair->is_wanted, memory_order_relaxed)) {
        atomic_store_explicit(&pair->is_wanted, true, memory_order_relaxed);
    }
}

kw_near_entry *kw_near_find(kw_near *near, kw_pins_guard *pin, kw_bytes key, uint64_t now_ns)
{
    uint64_t hash = kw_near_hash(key);
    *pin = kw_pins_take(&near->pins, (uint64_t)(uintptr_t)pthread_self() >> 12);
    kw_near_entry *entry = atomic_load(bucket_of(near, hash));
    while (entry != NULL && !is_of(entry, hash, key)) {
        entry = atomic_load(&entry->next);
    }
    if (entry != NULL) {
        want_proof(near, entry, now_ns);
        if (is_valid(near, entry, now_ns)) {
            kw_s3fifo_hit(&entry->link);
            atomic_fetch_add_explicit(&pin->place->uses, 1, memory_order_relaxed);
            return entry;
        }
    }
    (void)kw_pins_give_back(*pin);
    return NULL;
}

/* In what follows the monitor is held. */

/* Takes out of the bucket what is of the hash, or is the entry itself. */
static void unlink_entry(kw_near *near, kw_near_entry *entry)
{
    _Atomic(kw_near_entry *) *at = bucket_of(near, entry->link.hash);
    kw_near_entry *here = atomic_load(at);
    while (here != entry) {
        at = &here->next;
        here = atomic_load(at);
    }
    atomic_store(at, atomic_load(&entry->next));
    near->garbage += entry->link.size;
}

/* Who looks may still be at the entry, and goes on by its next: so the list of what leaves is made
 * of the queue's link. */
static void let_go(kw_near *near, kw_near_entry *entry)
{
    unlink_entry(near, entry);
    entry->link.older = near->leaving != NULL ? &near->leaving->link : NULL;
    near->leaving = entry;
}

static void free_waiting(kw_near *near)
{
    for (kw_near_entry *entry = near->waiting; entry != NULL;
         entry = (kw_near_entry *)(void *)entry->link.older) {
        near->garbage -= entry->link.size;
    }
    free_left(near, near->waiting);
    near->waiting = NULL;
}

/* Frees what nobody can look at any more, and begins the next grace, where it is worth that. */
static void reclaim(kw_near *near)
{
    if (near->garbage < near->queues.room / GRACE_PART) {
        return;
    }
    for (int i = 0; i < 2; i++) {
        if (near->waiting != NULL) {
            if (!kw_pins_is_over(&near->pins)) {
                return;
            }
            free_waiting(near);
        }
        if (near->leaving == NULL) {
            return;
        }
        near->waiting = near->leaving;
        near->leaving = NULL;
        kw_pins_begin_grace(&near->pins);
    }
}

static void kill_hash(kw_near *near, uint64_t hash)
{
    kw_near_entry *entry = atomic_load(bucket_of(near, hash));
    while (entry != NULL) {
        kw_near_entry *next = atomic_load(&entry->next);
        if (entry->link.hash == hash) {
            kw_s3fifo_remove(&near->queues, &entry->link);
            let_go(near, entry);
        }
        entry = next;
    }
    for (kw_near_place *place = near->places[hash % KW_NEAR_PLACE_BUCKETS]; place != NULL;
         place = place->next) {
        place->is_alive = place->is_alive && place->hash != hash;
    }
}

static void evict(kw_near *near)
{
    kw_s3_link *link;
    while ((link = kw_s3fifo_evict(&near->queues)) != NULL) {
        let_go(near, (kw_near_entry *)(void *)link);
        atomic_fetch_add_explicit(&near->evictions, 1, memory_order_relaxed);
    }
}

/* Room for a new entry: what waits for pins counts too. */
static bool has_room(kw_near *near, uint64_t size)
{
    reclaim(near);
    uint64_t value_max = near->queues.room / VALUE_PART;
    /* It may push out more than its own size, and an older answer of its key goes as well. */
    return size <= value_max && near->garbage + size + 2 * value_max <= near->queues.room / 4;
}

static void insert(kw_near *near, const kw_near_place *place, kw_near_entry *entry)
{
    kill_hash(near, place->hash); /* an older answer */
    _Atomic(kw_near_entry *) *bucket = bucket_of(near, place->hash);
    atomic_store(&entry->next, atomic_load(bucket));
    atomic_store(bucket, entry);
    kw_s3fifo_insert(&near->queues, &entry->link);
    evict(near);
}

static kw_near_entry *make_entry(const kw_near *near, const kw_near_place *place, kw_bytes key,
                                 kw_bytes value)
{
    size_t len = sizeof(kw_near_entry) + key.len + value.len;
    kw_near_entry *entry = kw_mem_alloc(&near->mem, len);
    if (entry != NULL) {
        memset(entry, 0, sizeof(*entry));
        entry->link.hash = place->hash;
        entry->link.size = (uint32_t)(len + BLOCK_COST);
        entry->stamp = place->stamp;
        entry->epoch = place->epoch;
        entry->pair = place->pair;
        entry->key_len = (uint32_t)key.len;
        entry->value_len = (uint32_t)value.len;
        if (key.len > 0) {
            memcpy(entry->bytes, key.data, key.len);
        }
        if (value.len > 0) {
            memcpy(entry->bytes + key.len, value.data, value.len);
        }
    }
    return entry;
}

bool kw_near_place_take(kw_near *near, kw_near_place *place, uint16_t pair, unsigned map_n)
{
    kw_monitor_lock(&near->monitor);
    place->pair = pair;
    place->epoch = atomic_load(&near->pairs[pair].epoch);
    place->stamp = kw_write_stamps_read(near->stamps, place->hash);
    place->is_alive = atomic_load(&near->map_n) == map_n && !kw_write_stamps_is_open(place->stamp);
    if (place->is_alive) {
        kw_near_place **bucket = &near->places[place->hash % KW_NEAR_PLACE_BUCKETS];
        place->before = NULL;
        place->next = *bucket;
        if (*bucket != NULL) {
            (*bucket)->before = place;
        }
        *bucket = place;
        near->places_n++;
    }
    bool is_taken = place->is_alive;
    kw_monitor_unlock(&near->monitor);
    return is_taken;
}

static void unlink_place(kw_near *near, kw_near_place *place)
{
    if (place->next != NULL) {
        place->next->before = place->before;
    }
    if (place->before != NULL) {
        place->before->next = place->next;
    } else {
        near->places[place->hash % KW_NEAR_PLACE_BUCKETS] = place->next;
    }
    near->places_n--;
}

void kw_near_place_end(kw_near *near, kw_near_place *place, kw_bytes key, kw_bytes value,
                       uint64_t end_ns)
{
    uint64_t by_ttl_ns = place->sent_ns + near->limits.ttl_ns;
    bool may_fit = end_ns > 0 && key.len < UINT32_MAX / 2 &&
                   value.len < near->queues.room / VALUE_PART && value.len < UINT32_MAX / 2;
    kw_near_entry *entry = may_fit ? make_entry(near, place, key, value) : NULL;
    kw_monitor_lock(&near->monitor);
    unlink_place(near, place);
    bool is_good = entry != NULL && place->is_alive &&
                   atomic_load(&near->pairs[place->pair].epoch) == place->epoch &&
                   kw_write_stamps_read(near->stamps, place->hash) == place->stamp &&
                   has_room(near, entry->link.size);
    if (is_good) {
        entry->end_ns = kw_sooner(end_ns, by_ttl_ns);
        insert(near, place, entry);
        entry = NULL;
    }
    kw_monitor_unlock(&near->monitor);
    kw_mem_free(&near->mem, entry);
}

bool kw_near_place_is_alive(kw_near *near, const kw_near_place *place)
{
    kw_monitor_lock(&near->monitor);
    bool is_alive = place->is_alive && atomic_load(&near->pairs[place->pair].epoch) == place->epoch;
    kw_monitor_unlock(&near->monitor);
    return is_alive;
}

void kw_near_kill(kw_near *near, kw_bytes key)
{
    uint64_t hash = kw_near_hash(key);
    kw_monitor_lock(&near->monitor);
    kill_hash(near, hash);
    reclaim(near);
    kw_monitor_unlock(&near->monitor);
    atomic_fetch_add_explicit(&near->invalidations, 1, memory_order_relaxed);
}

void kw_near_end_epoch(kw_near *near, uint16_t pair)
{
    kw_monitor_lock(&near->monitor);
    atomic_store(&near->pairs[pair].proof_ns, 0);
    atomic_fetch_add(&near->pairs[pair].epoch, 1);
    kw_monitor_unlock(&near->monitor);
}

void kw_near_on_map(kw_near *near, const bool *pairs, size_t pairs_n)
{
    kw_monitor_lock(&near->monitor);
    for (size_t i = 0; i < pairs_n; i++) {
        if (pairs[i]) {
            atomic_fetch_add(&near->pairs[i].epoch, 1);
        }
    }
    atomic_fetch_add(&near->map_n, 1);
    kw_monitor_unlock(&near->monitor);
}

uint64_t kw_near_bytes(kw_near *near)
{
    kw_monitor_lock(&near->monitor);
    uint64_t bytes = near->fixed + kw_s3fifo_size(&near->queues) + near->garbage;
    kw_monitor_unlock(&near->monitor);
    return bytes;
}

uint64_t kw_near_hits(kw_near *near)
{
    uint64_t hits = 0;
    for (size_t i = 0; i < KW_PINS_PLACES; i++) {
        hits += atomic_load_explicit(&near->pins.places[i].uses, memory_order_relaxed);
    }
    return hits;
}

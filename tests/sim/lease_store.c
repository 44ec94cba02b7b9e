/* SPDX-License-Identifier: BSD-3-Clause */
/* What servers have of keys that caches load: values that end, leases, who is told of changes; who
 * writes the keys beside the program. Nothing is stored that was loaded before the key was written,
 * and no lease is given back while its owner loads. */
#include "sim/lease_store.h"

#include "sim/callers.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define W sim_the_world

/* In the place of a load's number: none has the lease, or will. */
#define GIVEN_BACK UINT_MAX

#define GRANTS 2048

/* Between two writes of others, at least; at most it is the plan's. */
#define PAUSE_LEAST (5 * SIM_MS)

/* A lease that a server has given. */
typedef struct grant {
    unsigned key;
    char token[SIM_TOKEN_LEN];
    unsigned number; /* of the load; 0: none has it */
    bool is_over;
    uint64_t end_ns;
} grant;

sim_value sim_the_values[SIM_VALUES];

static struct {
    sim_store stores[SIM_SERVERS][SIM_LOADED_KEYS];
    char names[SIM_LOADED_KEYS][64]; /* of leases, as the program says them */
    grant grants[GRANTS];            /* from 1 */
    unsigned grants_n;
    unsigned values_n;
    uint64_t none_ns[SIM_LOADED_KEYS];
    bool were_handed;
} all;

void sim_loaded_name(char *text, size_t len, unsigned key)
{
    snprintf(text, len, "{k%u}c", key);
}

unsigned sim_loaded_key(const sim_word *word, bool *is_lease)
{
    static const char prefix[] = "keyway:lease:{";
    *is_lease = word->len > sizeof(prefix) && strncmp(word->data, prefix, strlen(prefix)) == 0;
    for (unsigned key = 0; key < SIM_LOADED_KEYS; key++) {
        char name[8];
        sim_loaded_name(name, sizeof(name), key);
        size_t len = strlen(name);
        sim_word rest = {word->data + (*is_lease ? word->len - len : 0), len};
        if ((*is_lease || word->len == len) && sim_word_is(&rest, name)) {
            return key;
        }
    }
    return SIM_LOADED_KEYS;
}

unsigned sim_value_new(unsigned key, unsigned cache)
{
    if (all.values_n + 1 == SIM_VALUES) {
        return 0;
    }
    sim_the_values[++all.values_n] =
        (sim_value){key, cache, sim_now(), SIM_NEVER, SIM_NEVER, SIM_NEVER, 0, 0, false, false};
    return all.values_n;
}

sim_store *sim_store_of(const sim_server *server, unsigned key)
{
    return &all.stores[server->number][key];
}

bool sim_value_was(unsigned number, uint64_t from_ns)
{
    const sim_value *value = &sim_the_values[number];
    bool is_there = value->gone_ns > 0 && value->gone_ns >= from_ns;
    for (unsigned i = 0; i < W.servers_n && !is_there; i++) {
        const sim_store *self = &all.stores[i][value->key];
        is_there = self->value == number && self->end_ns >= from_ns;
    }
    return is_there;
}

uint64_t sim_value_none_ns(unsigned key)
{
    return all.none_ns[key];
}

bool sim_leases_were_handed(void)
{
    return all.were_handed;
}

/* Messages. */

#define KEY_BIT(key)   (1u << (SIM_NEAR_KEYS + (key)))
#define LEASE_BIT(key) (1u << (SIM_NEAR_KEYS + SIM_LOADED_KEYS + (key)))

static void tell(const sim_server *server, unsigned key, bool is_lease)
{
    char name[64];
    char body[120];
    sim_loaded_name(name, sizeof(name), key);
    const char *text = is_lease ? all.names[key] : name;
    snprintf(body, sizeof(body), "*1\r\n$%zu\r\n%.64s\r\n", strlen(text), text);
    sim_near_tell(server, is_lease ? LEASE_BIT(key) : KEY_BIT(key), body);
}

void sim_store_track(sim_peer *peer, unsigned key, bool is_lease)
{
    sim_near_track(peer, is_lease ? LEASE_BIT(key) : KEY_BIT(key));
}

void sim_store_name(unsigned key, const sim_word *name)
{
    if (name->len < sizeof(all.names[0])) {
        memcpy(all.names[key], name->data, name->len);
    }
}

/* Values and leases. */

static void end_value(sim_store *self, uint64_t at_ns)
{
    if (self->value != 0) {
        sim_the_values[self->value].gone_ns = at_ns;
    }
    self->value = 0;
}

void sim_store_expire(const sim_server *server, unsigned key)
{
    sim_store *self = sim_store_of(server, key);
    if (self->value != 0 && sim_now() >= self->end_ns) {
        end_value(self, self->end_ns);
        self->changes_n++;
        tell(server, key, false);
    }
    if (self->lease != 0 && sim_now() >= self->lease_ns) {
        self->lease = 0;
        tell(server, key, true);
    }
}

static void on_end(void *arg, uint64_t key)
{
    const sim_server *server = arg;
    if (server->is_there && !server->is_stopped) {
        sim_store_expire(server, (unsigned)key);
    }
}

static void expire_later(const sim_server *server, unsigned key, uint64_t end_ns)
{
    sim_at(end_ns + sim_random(100 * SIM_MS), on_end, (void *)(uintptr_t)server, key);
}

static void end_grant(const sim_store *self)
{
    for (unsigned i = all.grants_n; self->lease == 'L' && i > 0; i--) {
        grant *one = &all.grants[i];
        if (memcmp(one->token, self->token, SIM_TOKEN_LEN) == 0) {
            one->is_over = true;
            return;
        }
    }
}

void sim_store_lease(const sim_server *server, unsigned key, char kind, uint64_t ms)
{
    sim_store *self = sim_store_of(server, key);
    if (self->lease != 0 || kind != 0) {
        end_grant(self);
        tell(server, key, true);
    }
    self->lease = kind;
    self->lease_ns = sim_now() + ms * SIM_MS;
    if (kind != 0) {
        expire_later(server, key, self->lease_ns);
    }
    if (kind == 'N') {
        all.none_ns[key] = all.none_ns[key] > self->lease_ns ? all.none_ns[key] : self->lease_ns;
    }
}

void sim_store_set(const sim_server *server, unsigned key, unsigned value, uint64_t ms)
{
    sim_store *self = sim_store_of(server, key);
    end_value(self, sim_now());
    self->value = value;
    self->end_ns = ms > 0 ? sim_now() + ms * SIM_MS : SIM_NEVER;
    self->written_ns = sim_now();
    self->changes_n++;
    sim_say("server %u: key c%u has value %u for %lu ms", server->number, key, value,
            (unsigned long)ms);
    if (value != 0) {
        sim_the_values[value].stored_ns = sim_now();
        if (ms > 0) {
            expire_later(server, key, self->end_ns);
        }
    }
    tell(server, key, false);
}

static void on_write(void *arg, uint64_t unused)
{
    (void)arg;
    (void)unused;
    unsigned key = (unsigned)sim_random(SIM_LOADED_KEYS);
    unsigned members_n = W.plan->primaries_n + W.plan->spares_n;
    const sim_server *server =
        W.plan->kind == SIM_RING ? &W.servers[sim_random(members_n)] : sim_near_home(key);
    if (server->is_there && !server->is_stopped) {
        bool is_there = sim_store_of(server, key)->value != 0;
        unsigned value = sim_one_in(2) ? sim_value_new(key, SIM_NOBODY) : 0;
        if (value != 0 || is_there) {
            sim_store_set(server, key, value, value == 0 ? 0 : 1 + sim_random(1000));
        }
    }
    sim_at(sim_now() + sim_between(PAUSE_LEAST, W.plan->writes_ms * SIM_MS), on_write, NULL, 0);
}

void sim_stores_begin(void)
{
    memset(all.stores, 0, W.servers_n * sizeof(all.stores[0]));
    memset(all.names, 0, sizeof(all.names));
    memset(all.grants, 0, (all.grants_n + 1) * sizeof(all.grants[0]));
    memset(all.none_ns, 0, sizeof(all.none_ns));
    memset(sim_the_values, 0, (all.values_n + 1) * sizeof(sim_the_values[0]));
    all.grants_n = 0;
    all.values_n = 0;
    all.were_handed = false;
    if (W.plan->loads_n > 0) {
        sim_at(sim_now() + sim_random(W.plan->writes_ms * SIM_MS), on_write, NULL, 0);
    }
}

void sim_leases_copy(unsigned key, const sim_server *from, const sim_server *to)
{
    sim_store *self = sim_store_of(to, key);
    unsigned changes_n = self->changes_n;
    end_value(self, sim_now());
    *self = *sim_store_of(from, key);
    self->changes_n = changes_n + 1;
    self->lease = sim_one_in(4) ? 0 : self->lease; /* it had not come there yet */
    if (self->value != 0 && self->end_ns != SIM_NEVER) {
        expire_later(to, key, self->end_ns);
    }
    tell(to, key, false);
    tell(to, key, true);
}

void sim_leases_hand_over(unsigned key, const sim_server *from, const sim_server *to)
{
    all.were_handed = true;
    sim_leases_copy(key, from, to);
}

void sim_leases_drop(unsigned key, const sim_server *server)
{
    sim_store *self = sim_store_of(server, key);
    end_value(self, sim_now());
    self->changes_n++;
    self->lease = 0;
    tell(server, key, false);
    tell(server, key, true);
}

/* Grants. */

void sim_store_grant(const sim_server *server, unsigned key, const char *token)
{
    sim_store *self = sim_store_of(server, key);
    memcpy(self->token, token, SIM_TOKEN_LEN);
    self->before = self->value;
    sim_say("server %u: the lease of key c%u is %.4s..%.4s's", server->number, key, token,
            token + SIM_TOKEN_LEN - 4);
    if (all.grants_n + 1 < GRANTS) {
        grant *one = &all.grants[++all.grants_n];
        memset(one, 0, sizeof(*one));
        one->key = key;
        one->end_ns = self->lease_ns;
        memcpy(one->token, token, SIM_TOKEN_LEN);
    }
}

static grant *grant_of(const char *token)
{
    for (unsigned i = all.grants_n; i > 0; i--) {
        if (memcmp(all.grants[i].token, token, SIM_TOKEN_LEN) == 0) {
            return &all.grants[i];
        }
    }
    return NULL;
}

void sim_store_extend(const sim_server *server, unsigned key, uint64_t ms)
{
    sim_store *self = sim_store_of(server, key);
    grant *one = grant_of(self->token);
    self->lease_ns = sim_now() + ms * SIM_MS;
    expire_later(server, key, self->lease_ns);
    tell(server, key, true);
    if (one != NULL) {
        one->end_ns = self->lease_ns;
    }
}

unsigned sim_grant_claim(const char *token, unsigned number)
{
    grant *one = grant_of(token);
    if (one == NULL) {
        return 0;
    }
    one->number = number;
    return (unsigned)(one - all.grants);
}

uint64_t sim_grant_end_ns(unsigned number)
{
    const grant *one = &all.grants[number];
    return one->is_over ? 0 : one->end_ns;
}

void sim_store_check_loaded(const char *token, const char *op)
{
    grant *one = grant_of(token);
    if (one == NULL || one->number == 0) {
        if (one != NULL) {
            one->number = GIVEN_BACK;
        }
        return;
    }
    if (one->number != GIVEN_BACK && sim_the_values[one->number].ended_ns == SIM_NEVER) {
        sim_fail("%s of a lease of key c%u, whose load %u is under way", op, one->key, one->number);
    }
}

void sim_store_check_fill(const sim_store *self, unsigned number)
{
    const sim_value *value = &sim_the_values[number];
    if (value->cache != SIM_NOBODY && value->begun_ns < self->written_ns) {
        sim_fail("value %u of key c%u, whose load began %lu us before it was written, is stored",
                 number, value->key,
                 (unsigned long)((self->written_ns - value->begun_ns) / SIM_US));
    }
}

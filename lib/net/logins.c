/* SPDX-License-Identifier: BSD-3-Clause */
/* The login in use and the one before: given by the host, refused by nodes, written over. */
#include "net/logins.h"

#include "base/moment.h"

#include <string.h>

/* A login that a node has refused is tried there again after so long, and at last so seldom. */
#define RETRY_FIRST_NS   ((uint64_t)1000000000)
#define RETRY_DOUBLE_MAX 6u

/* The host had no login to give: it is asked again. */
#define ASK_PAUSE_NS ((uint64_t)1000000000)

static void wipe(const kw_allocator *mem, char *text)
{
    if (text != NULL) {
        kw_mem_wipe(text, strlen(text));
        kw_mem_free(mem, text);
    }
}

void kw_credentials_unref(kw_credentials *credentials)
{
    if (credentials != NULL &&
        atomic_fetch_sub_explicit(&credentials->refs, 1, memory_order_acq_rel) == 1) {
        wipe(credentials->mem, credentials->user);
        wipe(credentials->mem, credentials->password);
        kw_mem_free(credentials->mem, credentials);
    }
}

static kw_credentials *credentials_ref(kw_credentials *credentials)
{
    atomic_fetch_add_explicit(&credentials->refs, 1, memory_order_relaxed);
    return credentials;
}

static bool copy_text(char **copy, const char *text, const kw_allocator *mem)
{
    *copy = text != NULL ? kw_mem_strndup(mem, text, strlen(text)) : NULL;
    return text == NULL || *copy != NULL;
}

static kw_credentials *credentials_new(const kw_allocator *mem, const char *user,
                                       const char *password)
{
    kw_credentials *fresh = kw_mem_calloc(mem, 1, sizeof(*fresh));
    if (fresh == NULL) {
        return NULL;
    }
    fresh->mem = mem;
    atomic_init(&fresh->refs, 1);
    if (!copy_text(&fresh->user, user, mem) || !copy_text(&fresh->password, password, mem)) {
        kw_credentials_unref(fresh);
        return NULL;
    }
    return fresh;
}

static bool is_text(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

kw_err kw_logins_init(kw_logins *logins, const kw_allocator *mem, const char *user,
                      const char *password)
{
    memset(logins, 0, sizeof(*logins));
    logins->mem = mem;
    atomic_init(&logins->revision, 1);
    atomic_init(&logins->due_ns, UINT64_MAX);
    logins->renew_ns = UINT64_MAX;
    logins->current = credentials_new(mem, user, password);
    if (logins->current == NULL) {
        return KW_ERR_NOMEM;
    }
    logins->current->revision = 1;
    kw_err code = kw_monitor_init(&logins->monitor);
    if (code != KW_OK) {
        kw_credentials_unref(logins->current);
        logins->current = NULL;
    }
    return code;
}

void kw_logins_fini(kw_logins *logins)
{
    if (logins->current != NULL) {
        kw_monitor_fini(&logins->monitor);
    }
    kw_credentials_unref(logins->current);
    kw_credentials_unref(logins->previous);
    logins->current = NULL;
    logins->previous = NULL;
}

kw_err kw_logins_reopen(kw_logins *logins)
{
    return kw_monitor_init(&logins->monitor);
}

/* The monitor is held. */
static void set_due(kw_logins *logins)
{
    uint64_t end_ns = logins->previous != NULL ? logins->end_ns : UINT64_MAX;
    uint64_t due_ns = logins->renew_ns < end_ns ? logins->renew_ns : end_ns;
    atomic_store_explicit(&logins->due_ns, logins->has_news ? 0 : due_ns, memory_order_relaxed);
}

kw_err kw_logins_set(kw_logins *logins, const char *user, const char *password, uint64_t now_ns)
{
    kw_credentials *fresh = credentials_new(logins->mem, user, password);
    if (fresh == NULL) {
        return KW_ERR_NOMEM;
    }
    kw_credentials *dropped = fresh;
    kw_monitor_lock(&logins->monitor);
    if (!is_text(logins->current->user, user) || !is_text(logins->current->password, password)) {
        dropped = logins->previous;
        fresh->revision = logins->current->revision + 1;
        logins->previous = logins->current;
        logins->end_ns = now_ns + logins->overlap_ms * UINT64_C(1000000);
        logins->current = fresh;
        atomic_store_explicit(&logins->revision, fresh->revision, memory_order_relaxed);
        set_due(logins);
    }
    kw_monitor_unlock(&logins->monitor);
    kw_credentials_unref(dropped);
    return KW_OK;
}

kw_err kw_logins_give(kw_login *login, const char *user, const char *password, uint64_t renew_ms)
{
    kw_logins *logins = login->logins;
    kw_err code = kw_logins_set(logins, user, password, login->now_ns);
    if (code == KW_OK) {
        bool is_timed = renew_ms > 0 && renew_ms < (UINT64_MAX - login->now_ns) / KW_NS_PER_MS;
        login->is_given = true;
        kw_monitor_lock(&logins->monitor);
        logins->renew_ns = is_timed ? login->now_ns + renew_ms * KW_NS_PER_MS : UINT64_MAX;
        set_due(logins);
        kw_monitor_unlock(&logins->monitor);
    }
    return code;
}

bool kw_logins_ask(kw_logins *logins, uint64_t now_ns)
{
    if (logins->ask == NULL) {
        return true;
    }
    kw_login login = {logins, now_ns, false};
    kw_err code = logins->ask(logins->ask_arg, &login);
    return code == KW_OK && login.is_given;
}

kw_credentials *kw_logins_current(kw_logins *logins)
{
    kw_monitor_lock(&logins->monitor);
    kw_credentials *current = credentials_ref(logins->current);
    kw_monitor_unlock(&logins->monitor);
    return current;
}

kw_credentials *kw_logins_other(kw_logins *logins, uint64_t revision, uint64_t now_ns)
{
    kw_credentials *other = NULL;
    kw_monitor_lock(&logins->monitor);
    bool is_over = now_ns >= logins->end_ns; /* though nobody has tended since */
    kw_credentials *const choice[] = {logins->current, is_over ? NULL : logins->previous};
    for (size_t i = 0; other == NULL && i < 2; i++) {
        if (choice[i] != NULL && choice[i]->revision != revision) {
            other = credentials_ref(choice[i]);
        }
    }
    kw_monitor_unlock(&logins->monitor);
    return other;
}

kw_logins_due kw_logins_tend(kw_logins *logins, uint64_t now_ns)
{
    kw_logins_due due = {false, false};
    kw_credentials *ended = NULL;
    kw_monitor_lock(&logins->monitor);
    if (logins->previous != NULL && now_ns >= logins->end_ns) {
        ended = logins->previous;
        logins->previous = NULL;
    }
    due.renews = now_ns >= logins->renew_ns;
    if (due.renews) {
        logins->renew_ns = now_ns + ASK_PAUSE_NS; /* where the host has none to give */
    }
    due.tells = logins->has_news;
    logins->has_news = false;
    set_due(logins);
    kw_monitor_unlock(&logins->monitor);
    kw_credentials_unref(ended);
    return due;
}

void kw_logins_on_refused(kw_logins *logins, kw_login_doubt *doubt, uint64_t revision,
                          uint64_t now_ns)
{
    if (revision != kw_logins_revision(logins)) {
        return; /* there is a newer one already */
    }
    bool is_first = atomic_exchange(&doubt->revision, revision) != revision;
    if (!is_first && now_ns < atomic_load(&doubt->retry_ns)) {
        return; /* asked while it was not known: the refusal is counted */
    }
    unsigned refusals_n = is_first ? 0 : atomic_load(&doubt->refusals_n);
    uint64_t pause_ns = RETRY_FIRST_NS
                        << (refusals_n < RETRY_DOUBLE_MAX ? refusals_n : RETRY_DOUBLE_MAX);
    atomic_store(&doubt->retry_ns, now_ns + pause_ns);
    atomic_store(&doubt->refusals_n, refusals_n + 1);
    if (is_first && revision > 1) { /* before the first change each caller is told anyway */
        atomic_store(&doubt->is_news, true);
        kw_monitor_lock(&logins->monitor);
        logins->has_news = true;
        set_due(logins);
        kw_monitor_unlock(&logins->monitor);
    }
}

void kw_logins_on_taken(kw_login_doubt *doubt, uint64_t revision)
{
    if (atomic_load_explicit(&doubt->revision, memory_order_relaxed) == revision) {
        atomic_store(&doubt->revision, 0);
    }
}

bool kw_logins_is_refused(const kw_logins *logins, const kw_login_doubt *doubt, uint64_t now_ns)
{
    return atomic_load(&doubt->revision) == kw_logins_revision(logins) &&
           now_ns < atomic_load(&doubt->retry_ns);
}

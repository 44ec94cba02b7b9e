/* SPDX-License-Identifier: BSD-3-Clause */
/* A cache in front of SQLite: users are read through it, all by their keys, and the table is asked
 * for each once. Then one is renamed in the table, and forgotten in the cache, behind the change.
 */
#include <keyway.h>

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

enum { USERS = 5, READS = 1000 };

/* The name of the user whose key is loaded; a user who is not there is remembered, too. */
static kw_cache_loaded load_user(void *arg, kw_cache_load *load)
{
    sqlite3_stmt *query = arg;
    kw_cache_loaded how = KW_CACHE_FAILED;
    kw_cache_bytes key = kw_cache_load_key(load);
    sqlite3_bind_text(query, 1, key.data, (int)key.len, SQLITE_STATIC);
    int found = sqlite3_step(query);
    if (found == SQLITE_ROW &&
        kw_cache_load_give(load, (const char *)sqlite3_column_text(query, 0),
                           (size_t)sqlite3_column_bytes(query, 0)) == KW_OK) {
        how = KW_CACHE_LOADED;
    } else if (found == SQLITE_DONE) {
        how = KW_CACHE_NONE;
    }
    sqlite3_reset(query);
    return how;
}

static bool run(sqlite3 *database, const char *statements)
{
    return sqlite3_exec(database, statements, NULL, NULL, NULL) == SQLITE_OK;
}

static bool show_user(kw_cache *cache, kw_error *error, sqlite3_stmt *query, int id, bool aloud)
{
    char key[30];
    kw_cache_value value = KW_CACHE_VALUE_INIT;
    snprintf(key, sizeof(key), "user:%d", id);
    kw_cache_loader loader = {load_user, query};
    bool ok = kw_cache_fetch(cache, error, &value, kw_cache_text(key), loader) == KW_OK;
    if (ok && aloud) {
        printf("%s: %.*s\n", key, (int)value.len, value.data != NULL ? value.data : "");
    }
    kw_cache_release(&value);
    return ok;
}

int main(int argc, char **argv)
{
    kw_error error = {0};
    sqlite3 *database = NULL;
    sqlite3_stmt *query = NULL;
    bool is_made = sqlite3_open(":memory:", &database) == SQLITE_OK &&
                   run(database, "CREATE TABLE users(id INTEGER PRIMARY KEY, name TEXT NOT NULL);"
                                 "INSERT INTO users(name) VALUES('Ada'),('Grace'),('Edsger')") &&
                   sqlite3_prepare_v2(database, "SELECT name FROM users WHERE 'user:' || id = ?",
                                      -1, &query, NULL) == SQLITE_OK;
    kw_client *kw = kw_open(argc > 1 ? argv[1] : "redis-cluster://127.0.0.1:7000", &error);
    kw_cache *cache =
        kw != NULL && is_made ? kw_cache_open(kw, &error, "ttl=5m&near-bytes=1mb") : NULL;
    bool ok = cache != NULL;
    for (int i = 0; ok && i < READS; i++) {
        ok = show_user(cache, &error, query, 1 + i % USERS, i < USERS);
    }
    kw_cache_figures figures = {.size = sizeof(figures)};
    if (ok && (ok = kw_cache_stats(cache, &error, &figures) == KW_OK)) {
        printf("%d reads; the table was asked %d times\n", READS, (int)figures.loads);
        ok = run(database, "UPDATE users SET name = 'Ada Lovelace' WHERE id = 1") &&
             kw_cache_forget(cache, &error, kw_cache_text("user:1")) == KW_OK &&
             show_user(cache, &error, query, 1, true);
    }
    const char *why = error.code != KW_OK ? error.text : sqlite3_errmsg(database);
    fprintf(stderr, "%s%s", ok ? "" : why, ok ? "" : "\n");
    kw_cache_close(cache);
    kw_close(kw);
    sqlite3_finalize(query);
    return sqlite3_close(database) == SQLITE_OK && ok ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* migrate: copies keys from one URI to another, ring or cluster or server, with what is left of
 * their lives; a second run goes on where the first has stopped. */
#include "program.h"

#include <stdlib.h>
#include <string.h>

typedef struct migration {
    app *program;
    kw_client *from;
    kw_client *to;
    bool replaces;
    double copied;
    double stayed; /* on the server that has them in both */
    double there;  /* in the way, and left */
    double gone;   /* deleted or expired meanwhile */
    double differ; /* by the verification */
    double checked;
    bool has_begun;   /* the first walk */
    bool has_checked; /* the second one */
} migration;

/* True for a key that the new placement has on another server than the old one. */
static bool is_to_move(migration *self, const char *key, size_t key_len)
{
    char owner[256];
    char next[256];
    kw_error error = KW_ERROR_INIT;
    bool moves =
        kw_client_key_node(self->from, &error, owner, sizeof(owner), key, key_len) != KW_OK ||
        kw_client_key_node(self->to, &error, next, sizeof(next), key, key_len) != KW_OK ||
        strcmp(owner, next) != 0;
    self->stayed += moves ? 0 : 1;
    return moves;
}

/* Asks for value and life of the keys that are to move; how many, or SIZE_MAX: not of all. */
static size_t read_page(migration *self, kw_batch *batch, const kw_scan_batch *page,
                        size_t *numbers, kw_error *error)
{
    size_t n = 0;
    for (size_t i = 0; i < page->count; i++) {
        const char *key = page->keys[i];
        size_t len = page->key_lens[i];
        if (!is_to_move(self, key, len)) {
            continue;
        }
        if (kw_batch_add(batch, error, "DUMP %b", key, len) != KW_OK ||
            kw_batch_add(batch, error, "PTTL %b", key, len) != KW_OK) {
            return SIZE_MAX;
        }
        numbers[n++] = i;
    }
    return n;
}

/* Gives value and life to the new owner. What has no millisecond left is gone: to RESTORE, no
 * life is one without end. */
static bool write_one(migration *self, kw_batch *out, const kw_scan_batch *page, size_t number,
                      const kw_reply *const read[2])
{
    size_t len;
    const char *bytes = kw_reply_str(read[0], &len);
    long long life = kw_reply_int(read[1]);
    if (kw_reply_type(read[0]) != KW_REPLY_STRING || life == -2 || life == 0) {
        self->gone++;
        return true;
    }
    return kw_batch_add(out, NULL,
                        self->replaces ? "RESTORE %b %lld %b REPLACE" : "RESTORE %b %lld %b",
                        page->keys[number], page->key_lens[number], life > 0 ? life : 0LL, bytes,
                        len) == KW_OK;
}

static bool take_results(migration *self, const kw_batch *out, kw_error *error)
{
    for (size_t i = 0; i < kw_batch_count(out); i++) {
        const kw_reply *reply = kw_batch_reply(out, error, i);
        if (reply != NULL && kw_reply_has_code(reply, "BUSYKEY")) {
            self->there++;
        } else if (kw_reply_outcome(reply, error) == KW_OUTCOME_ERROR) {
            return false;
        } else {
            self->copied++;
        }
    }
    return true;
}

static bool copy_page(migration *self, const kw_scan_batch *page, kw_error *error)
{
    size_t *numbers = calloc(page->count + 1, sizeof(numbers[0]));
    kw_batch *in = kw_batch_new(self->from, error);
    kw_batch *out = kw_batch_new(self->to, error);
    bool is_good = numbers != NULL && in != NULL && out != NULL;
    size_t n = is_good ? read_page(self, in, page, numbers, error) : SIZE_MAX;
    is_good = n != SIZE_MAX && (n == 0 || kw_batch_run(in, error, 0) == KW_OK);
    for (size_t i = 0; is_good && i < n; i++) {
        const kw_reply *const read[] = {kw_batch_reply(in, error, i * 2),
                                        kw_batch_reply(in, error, i * 2 + 1)};
        is_good = kw_reply_outcome(read[0], error) != KW_OUTCOME_ERROR &&
                  kw_reply_outcome(read[1], error) != KW_OUTCOME_ERROR &&
                  write_one(self, out, page, numbers[i], read);
    }
    is_good = is_good && (kw_batch_count(out) == 0 || kw_batch_run(out, error, 0) == KW_OK) &&
              take_results(self, out, error);
    kw_batch_free(in);
    kw_batch_free(out);
    free(numbers);
    return is_good;
}

/* True where both have the same value: the bytes of DUMP, but for its version and checksum; of what
 * has no order, its type and length. */
static bool is_equal(migration *self, const char *key, size_t len)
{
    static const char *const lengths[] = {"TYPE %b",  "STRLEN %b", "LLEN %b", "HLEN %b",
                                          "SCARD %b", "ZCARD %b",  "XLEN %b"};
    kw_reply *a = kw_command(self->from, NULL, "DUMP %b", key, len);
    kw_reply *b = kw_command(self->to, NULL, "DUMP %b", key, len);
    size_t a_len = 0;
    size_t b_len = 0;
    const char *a_bytes = kw_reply_str(a, &a_len);
    const char *b_bytes = kw_reply_str(b, &b_len);
    bool is_gone = kw_reply_is_nil(a);
    bool is_same = is_gone || (a_bytes != NULL && b_bytes != NULL && a_len == b_len && a_len > 10 &&
                               memcmp(a_bytes, b_bytes, a_len - 10) == 0);
    bool is_there = a_bytes != NULL && b_bytes != NULL;
    kw_reply_free(a);
    kw_reply_free(b);
    for (size_t i = 0; !is_same && is_there && i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        a = kw_command(self->from, NULL, lengths[i], key, len);
        b = kw_command(self->to, NULL, lengths[i], key, len);
        bool is_length = i > 0 && kw_reply_type(a) == KW_REPLY_INTEGER;
        is_there = i > 0 || strcmp(kw_reply_text(a, "a"), kw_reply_text(b, "b")) == 0;
        is_there = is_there && (i > 0 || strcmp(kw_reply_text(a, ""), "string") != 0);
        is_same =
            is_length && kw_reply_type(b) == KW_REPLY_INTEGER && kw_reply_int(a) == kw_reply_int(b);
        kw_reply_free(a);
        kw_reply_free(b);
    }
    return is_same;
}

static void verify_page(migration *self, const kw_scan_batch *page)
{
    for (size_t i = 0; i < page->count && !is_interrupted(); i++) {
        const char *key = page->keys[i];
        size_t len = page->key_lens[i];
        if (!is_to_move(self, key, len)) {
            continue;
        }
        self->checked++;
        if (!is_equal(self, key, len)) {
            self->differ++;
            fprintf(stderr, "keyway migrate: differs: ");
            put_shown(stderr, key, len);
            fprintf(stderr, "\n");
        }
    }
}

/* Walks all keys once; with a file, from where it says. */
static bool walk_all(migration *self, const walk_of *of, bool verifies)
{
    walk all;
    kw_error error = KW_ERROR_INIT;
    progress shown;
    const kw_scan_batch *page;
    if (!walk_begin(&all, self->program, self->from, of)) {
        return false;
    }
    self->has_begun = true;
    self->has_checked = verifies;
    progress_begin(&shown, self->program, verifies ? "verify" : "migrate", all.total);
    while ((page = walk_next(&all, &error)) != NULL) {
        if (verifies) {
            verify_page(self, page);
        } else if (!copy_page(self, page, &error)) {
            break;
        }
        if (!walk_save(&all, &error)) {
            break;
        }
        progress_to(&shown, walk_done(&all));
    }
    bool is_good = page == NULL && error.code == KW_OK;
    progress_end(&shown);
    if (!is_good) {
        fprintf(stderr, "keyway migrate: %s%s\n", error.text,
                verifies            ? "; not all was verified"
                : of->state != NULL ? "; the same command goes on from here"
                                    : "; the same command begins anew: --state FILE goes on");
    }
    walk_end(&all, is_good);
    return is_good;
}

static void show(const migration *self)
{
    const app *program = self->program;
    json_open(program);
    json_number(program, "copied", self->copied);
    json_number(program, "stayed", self->stayed);
    json_number(program, "already_there", self->there);
    json_number(program, "gone", self->gone);
    json_number(program, "verified", self->checked);
    json_number(program, "differ", self->differ);
    json_close(program);
    say(program,
        "%.0f copied, %.0f stay where they are, %.0f were there already, %.0f gone meanwhile\n",
        self->copied, self->stayed, self->there, self->gone);
    if (self->has_checked) {
        say_painted(program, self->differ > 0 ? RED : GREEN, "%.0f verified, %.0f differ\n",
                    self->checked, self->differ);
    }
}

int run_migrate(app *self)
{
    migration all = {.program = self, .replaces = args_flag(self, "--replace")};
    bool verifies = args_flag(self, "--verify");
    const char *match = args_value(self, "--match", NULL);
    const char *state = args_value(self, "--state", NULL);
    if (!args_end(self, 2, 2)) {
        return STATUS_USAGE;
    }
    all.from = client_connect(self, self->argv[0]);
    all.to = all.from != NULL ? client_connect(self, self->argv[1]) : NULL;
    if (all.to == NULL) {
        kw_close(all.from);
        return STATUS_USAGE;
    }
    walk_of of = {.match = match, .state = state};
    bool is_good = walk_all(&all, &of, false);
    double stayed = all.stayed;
    if (is_good && verifies) {
        of.state = NULL;
        is_good = walk_all(&all, &of, true);
        all.stayed = stayed;
    }
    if (all.has_begun) {
        show(&all);
    }
    kw_close(all.from);
    kw_close(all.to);
    if (!all.has_begun) {
        return STATUS_USAGE;
    }
    return is_good && all.differ == 0 ? STATUS_GOOD : STATUS_FOUND;
}

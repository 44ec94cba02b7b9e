/* SPDX-License-Identifier: BSD-3-Clause */
/* What holds of every connection, whatever travels on it: what it leaves in memory, how it takes a
 * server that hangs up, and how much of a reply it believes before that has come. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/ask.h"
#include "support/check.h"
#include "support/fake.h"

#include <keyway.h>

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PASSWORD "sesame-7716-open"

static kw_fake *fake;

static int set_up(void **state)
{
    (void)state;
    fake = kw_fake_start();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    kw_fake_free(fake);
    return 0;
}

/* An allocator that looks for the password in what is given back to it, and knows the largest
 * block. */
typedef struct watch {
    kw_allocator allocator;
    atomic_uint found_n;
    atomic_size_t largest;
} watch;

typedef union head {
    size_t len;
    max_align_t align;
} head;

static void *watched_alloc(void *arg, size_t len)
{
    watch *self = arg;
    head *block = malloc(sizeof(head) + len);
    if (block == NULL) {
        return NULL;
    }
    if (len > atomic_load(&self->largest)) {
        atomic_store(&self->largest, len);
    }
    block->len = len;
    return block + 1;
}

static void watched_free(void *arg, void *data)
{
    watch *self = arg;
    if (data == NULL) {
        return;
    }
    head *block = (head *)data - 1;
    for (size_t i = 0; i + sizeof(PASSWORD) - 1 <= block->len; i++) {
        if (memcmp((char *)data + i, PASSWORD, sizeof(PASSWORD) - 1) == 0) {
            atomic_fetch_add(&self->found_n, 1);
        }
    }
    free(block);
}

/* Always moves: what a block held is seen by free. */
static void *watched_resize(void *arg, void *data, size_t len)
{
    void *fresh = watched_alloc(arg, len);
    if (fresh != NULL && data != NULL) {
        size_t before = ((head *)data - 1)->len;
        memcpy(fresh, data, before < len ? before : len);
        watched_free(arg, data);
    }
    return fresh;
}

static kw_client *open_watched(watch *self, const char *query)
{
    char uri[300];
    kw_error error = KW_ERROR_INIT;
    memset(self, 0, sizeof(*self));
    self->allocator.size = sizeof(self->allocator);
    self->allocator.arg = self;
    self->allocator.malloc_fn = watched_alloc;
    self->allocator.realloc_fn = watched_resize;
    self->allocator.free_fn = watched_free;
    kw_config *config = kw_config_new(&self->allocator);
    snprintf(uri, sizeof(uri), "%s?%s", kw_fake_uri(fake), query);
    assert_int_equal(kw_config_set_uri(config, &error, uri), KW_OK);
    kw_client *kw = kw_open_config(config, &error);
    kw_config_free(config);
    assert_non_null(kw);
    return kw;
}

/* HELLO, and AUTH for a server that does not know HELLO; a batch that makes the buffer grow beside
 * the greeting. */
static void test_connection_leaves_no_password_in_freed_memory(void **state)
{
    (void)state;
    watch memory;
    for (int is_old = 0; is_old < 2; is_old++) {
        kw_fake_reset(fake);
        if (is_old) {
            kw_fake_on_reply(fake, KW_FAKE_ALWAYS, "HELLO *", "-ERR unknown command 'HELLO'");
        }
        kw_client *kw = open_watched(&memory, "password=" PASSWORD "&client-name=somebody");
        for (int i = 0; i < 3; i++) {
            kw_reply_free(kw_test_ask(kw, "PING"));
            kw_fake_disconnect(fake, false);
        }
        kw_close(kw);
        assert_true(kw_fake_count(fake, is_old ? "AUTH " PASSWORD : "HELLO * " PASSWORD "*") > 0);
        assert_int_equal(atomic_load(&memory.found_n), 0);
    }
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_connection_leaves_no_password_in_freed_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

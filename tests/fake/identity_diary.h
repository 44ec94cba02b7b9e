/* SPDX-License-Identifier: BSD-3-Clause */
/* What tests of identity share: a diary of events, fakes that become strangers, ways of sending. */
#ifndef FAKE_IDENTITY_DIARY_H
#define FAKE_IDENTITY_DIARY_H

#include "fake/fixture.h"
#include "support/ways.h"

/* Who is nobody's, and who takes a place by right. */
#define STRANGER 77777u
#define NEW      88000u

/* What the host was told. */
typedef struct diary {
    size_t replaced_n;
    char member[20];
    char text[400];
} diary;

static void on_identity_event(void *arg, const kw_event *event)
{
    diary *it = arg;
    if (event->kind == KW_EVENT_CLUSTER_REPLACED) {
        it->replaced_n++;
        snprintf(it->text, sizeof(it->text), "%s", event->text);
        snprintf(it->member, sizeof(it->member), "%s", event->member);
    }
}

static inline kw_client *open_diary(const char *uri, diary *it)
{
    memset(it, 0, sizeof(*it));
    kw_config *config = kw_test_config_new(NULL);
    assert_int_equal(kw_config_set_uri(config, NULL, uri), KW_OK);
    kw_config_set_event(config, on_identity_event, it);
    kw_client *kw = kw_open_config(config, NULL);
    assert_non_null(kw);
    kw_config_free(config);
    return kw;
}

/* INCR of the key is answered. */
static inline void expect(kw_client *kw, kw_test_way way, const char *key)
{
    kw_test_end end = kw_test_send(kw, way, "INCR", key);
    if (!end.is_answered) {
        fail_msg("%s: %s", kw_test_way_name(way), end.error.text);
    }
}

/* The connections are lost, and idle for longer than those that are used without a look. */
static inline void lose(kw_fake *fake)
{
    kw_fake_disconnect(fake, false);
    kw_test_sleep_ms(5);
}

#endif

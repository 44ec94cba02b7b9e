/* SPDX-License-Identifier: BSD-3-Clause */
/* Reads the messages that sentinels publish, and says what each means for one group. */
#include "engine/sentinel_event.h"

#include <string.h>

/* "type name host port @ group host port", without what is behind @ for a primary;
 * "+switch-master" has "group host port host port". */
#define WORDS_MAX 8

typedef struct words {
    kw_bytes at[WORDS_MAX];
    size_t n;
} words;

typedef struct channel_row {
    char channel[20]; /* or its start, where it ends with '*' */
    char type[7];     /* of the instance, first word of the text; "": any */
    kw_sentinel_news news;
} channel_row;

/* The first row that fits counts. Source: "Pub/sub messages", Sentinel documentation. */
static const channel_row rows[] = {
    {"+odown", "master", KW_SENTINEL_PRIMARY_DOWN},
    {"-odown", "master", KW_SENTINEL_PRIMARY_UP},
    {"+sdown", "slave", KW_SENTINEL_REPLICA_DOWN},
    {"-sdown", "slave", KW_SENTINEL_REPLICA_UP},
    {"+failover-state-*", "", KW_SENTINEL_LEADS},
    {"+selected-slave", "", KW_SENTINEL_LEADS},
    {"+promoted-slave", "", KW_SENTINEL_LEADS},
    {"+elected-leader", "", KW_SENTINEL_LEADS},
    {"+switch-master", "", KW_SENTINEL_SUSPECT},
    {"+redirect-to-master", "", KW_SENTINEL_SUSPECT},
    {"+failover-*", "", KW_SENTINEL_SUSPECT},
    {"-failover-*", "", KW_SENTINEL_SUSPECT},
    {"+slave", "", KW_SENTINEL_SUSPECT},
    {"+slave-reconf-done", "", KW_SENTINEL_SUSPECT},
    {"+reboot", "", KW_SENTINEL_SUSPECT},
    {"+role-change", "", KW_SENTINEL_SUSPECT},
    {"+convert-to-slave", "", KW_SENTINEL_SUSPECT},
    {"+config-update-from", "", KW_SENTINEL_SUSPECT},
};

static void split(words *found, kw_bytes text)
{
    bool has_more = text.len > 0;
    found->n = 0;
    while (has_more && found->n < WORDS_MAX) {
        kw_bytes word = text;
        has_more = kw_bytes_split(&word, &text, text, ' ');
        found->at[found->n++] = word;
    }
}

static bool has_word(const words *text, const char *word)
{
    for (size_t i = 0; i < text->n; i++) {
        if (kw_bytes_equal(text->at[i], kw_bytes_of(word))) {
            return true;
        }
    }
    return false;
}

static bool fits(const channel_row *row, kw_bytes channel, const words *text)
{
    size_t len = strlen(row->channel);
    bool is_start = row->channel[len - 1] == '*';
    kw_bytes head = {channel.data, is_start && channel.len >= len - 1 ? len - 1 : channel.len};
    kw_bytes wanted = {row->channel, is_start ? len - 1 : len};
    return kw_bytes_equal(head, wanted) &&
           (row->type[0] == '\0' ||
            (text->n > 0 && kw_bytes_equal(text->at[0], kw_bytes_of(row->type))));
}

kw_sentinel_news kw_sentinel_event_read(kw_endpoint *server, kw_bytes channel, kw_bytes text,
                                        const char *service)
{
    words found;
    uint64_t port;
    split(&found, text);
    if (!has_word(&found, service)) {
        return KW_SENTINEL_NOTHING;
    }
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (!fits(&rows[i], channel, &found)) {
            continue;
        }
        bool names_server = rows[i].type[0] != '\0';
        bool is_whole = names_server && found.n >= 4 &&
                        kw_bytes_to_uint(&port, found.at[3], UINT16_MAX) && port != 0 &&
                        kw_endpoint_set(server, found.at[2], port);
        return names_server && !is_whole ? KW_SENTINEL_SUSPECT : rows[i].news;
    }
    return KW_SENTINEL_NOTHING;
}

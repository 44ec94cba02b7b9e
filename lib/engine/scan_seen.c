/* SPDX-License-Identifier: BSD-3-Clause */
/* Reads what a server says of itself: one line of CLUSTER NODES, and the run id of INFO. */
#include "engine/scan_seen.h"

#include <string.h>

/* The words of a line in front of its slots: id, address, flags, primary, ping, pong, epoch, link.
 */
#define WORDS_N 8

/* Ids of servers have 40 letters. */
#define ID_LEN 40

void kw_scan_seen_init(kw_scan_seen *seen)
{
    memset(seen, 0, sizeof(*seen));
}

/* The next word of *rest, which loses it; empty behind the last. */
static kw_bytes next_word(kw_bytes *rest)
{
    while (rest->len > 0 && rest->data[0] == ' ') {
        rest->data++;
        rest->len--;
    }
    kw_bytes word = {rest->data, 0};
    while (word.len < rest->len && rest->data[word.len] != ' ') {
        word.len++;
    }
    rest->data += word.len;
    rest->len -= word.len;
    return word;
}

/* The next line, without its end. */
static kw_bytes next_line(kw_bytes *rest)
{
    const char *end = rest->len > 0 ? memchr(rest->data, '\n', rest->len) : NULL;
    kw_bytes line = {rest->data, end != NULL ? (size_t)(end - rest->data) : rest->len};
    size_t taken = end != NULL ? line.len + 1 : line.len;
    rest->data += taken;
    rest->len -= taken;
    line.len -= line.len > 0 && line.data[line.len - 1] == '\r' ? 1 : 0;
    return line;
}

/* True where one of the words between commas is the name. */
static bool has_flag(kw_bytes flags, const char *name)
{
    kw_bytes head;
    while (kw_bytes_split(&head, &flags, flags, ',')) {
        if (kw_bytes_equal(head, kw_bytes_of(name))) {
            return true;
        }
    }
    return kw_bytes_equal(flags, kw_bytes_of(name));
}

/* "[93->-id]", a slot that leaves, or "[93-<-id]", one that comes. */
static bool take_mark(kw_scan_seen *seen, kw_bytes word)
{
    kw_bytes number;
    kw_bytes peer;
    uint64_t slot;
    if (word.len < 2 || word.data[word.len - 1] != ']') {
        return false;
    }
    kw_bytes inner = {word.data + 1, word.len - 2};
    if (!kw_bytes_split(&number, &peer, inner, '-') ||
        !kw_bytes_to_uint(&slot, number, KW_SLOTS_N - 1) || peer.len < 3 || peer.data[1] != '-' ||
        (peer.data[0] != '<' && peer.data[0] != '>')) {
        return false;
    }
    bool is_import = peer.data[0] == '<';
    kw_bytes id = {peer.data + 2, peer.len - 2};
    kw_scan_slots_add(&seen->moving, (unsigned)slot);
    if (seen->marks_n < KW_SCAN_MARKS_MAX) {
        seen->marks[seen->marks_n++] = (kw_scan_mark){(uint16_t)slot, is_import, kw_bytes_id(id)};
    }
    return true;
}

/* "93" or "93-110". *slots_n: those of all ranges so far; no slot is told twice. */
static bool take_range(kw_scan_seen *seen, size_t *slots_n, kw_bytes word)
{
    kw_bytes head = word;
    kw_bytes tail = word;
    uint64_t first;
    uint64_t last;
    (void)kw_bytes_split(&head, &tail, word, '-');
    if (!kw_bytes_to_uint(&first, head, KW_SLOTS_N - 1) ||
        !kw_bytes_to_uint(&last, tail, KW_SLOTS_N - 1) || last < first) {
        return false;
    }
    *slots_n += (size_t)(last - first) + 1;
    if (*slots_n > KW_SLOTS_N) {
        return false;
    }
    for (uint64_t slot = first; slot <= last; slot++) {
        kw_scan_slots_add(&seen->owned, (unsigned)slot);
    }
    return true;
}

/* The line of the server itself, cut into words. */
static bool take_line(kw_scan_seen *seen, kw_bytes *wrong, kw_bytes line)
{
    kw_bytes words[WORDS_N];
    for (size_t i = 0; i < WORDS_N; i++) {
        words[i] = next_word(&line);
        *wrong = words[i];
        if (words[i].len == 0) {
            return false;
        }
    }
    *wrong = words[0];
    if (words[0].len != ID_LEN) {
        return false;
    }
    *wrong = words[6];
    if (!kw_bytes_to_uint(&seen->epoch, words[6], UINT64_MAX)) {
        return false;
    }
    seen->id = kw_bytes_id(words[0]);
    seen->is_primary = has_flag(words[2], "master");
    size_t slots_n = 0;
    for (kw_bytes word = next_word(&line); word.len > 0; word = next_word(&line)) {
        *wrong = word;
        if (word.data[0] == '[' ? !take_mark(seen, word) : !take_range(seen, &slots_n, word)) {
            return false;
        }
    }
    return true;
}

bool kw_scan_seen_nodes(kw_scan_seen *seen, size_t *at, kw_bytes nodes)
{
    kw_bytes rest = nodes;
    while (rest.len > 0) {
        kw_bytes line = next_line(&rest);
        kw_bytes words = line;
        (void)next_word(&words);
        (void)next_word(&words);
        if (!has_flag(next_word(&words), "myself")) {
            continue;
        }
        kw_bytes wrong;
        bool is_right = take_line(seen, &wrong, line);
        *at = is_right ? 0 : (size_t)(wrong.data - nodes.data);
        return is_right;
    }
    *at = nodes.len;
    return false;
}

bool kw_scan_seen_info(kw_scan_seen *seen, kw_bytes info)
{
    kw_bytes name;
    kw_bytes value;
    while (kw_bytes_next_field(&name, &value, &info)) {
        if (kw_bytes_equal(name, kw_bytes_of("run_id")) && value.len > 0) {
            seen->run = kw_bytes_id(value);
            return true;
        }
    }
    return false;
}

/* One more number into a hash: a step of SplitMix64 (Steele, Lea and Flood 2014). */
static uint64_t mix(uint64_t hash, uint64_t value)
{
    hash = (hash ^ value) + UINT64_C(0x9e3779b97f4a7c15);
    hash = (hash ^ hash >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    hash = (hash ^ hash >> 27) * UINT64_C(0x94d049bb133111eb);
    return hash ^ hash >> 31;
}

uint64_t kw_scan_seen_print(const kw_scan_seen *seen, uint64_t salt)
{
    uint64_t print = mix(mix(mix(mix(0, seen->run), seen->id), seen->epoch), salt);
    return print != 0 ? print : 1;
}

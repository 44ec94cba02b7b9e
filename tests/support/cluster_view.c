/* SPDX-License-Identifier: BSD-3-Clause */
/* Reads CLUSTER NODES. */
#include "support/cluster_view.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/check.h"

/* "5", "0-99"; "[5->-id]" and "[5-<-id]" tell of moves and are no ownership. */
static void read_slots(kw_test_view *view, int16_t index, char *words)
{
    char *rest = NULL;
    for (char *word = strtok_r(words, " ", &rest); word != NULL;
         word = strtok_r(NULL, " ", &rest)) {
        char *after = NULL;
        unsigned long first = strtoul(word, &after, 10);
        unsigned long last = first;
        if (word[0] == '[') {
            continue;
        }
        if (*after == '-') {
            last = strtoul(after + 1, NULL, 10);
        }
        for (; first <= last && first < KW_TEST_SLOTS; first++) {
            view->owner[first] = index;
        }
    }
}

/* id address flags primary ping pong epoch link slots... */
static void read_line(kw_test_view *view, char *line)
{
    char flags[128];
    char primary[64];
    int used = 0;
    kw_test_view_node *node = &view->nodes[view->nodes_n];
    memset(node, 0, sizeof(*node));
    if (sscanf(line, "%40s %*s %127s %63s %*s %*s %llu %*s%n", node->id, flags, primary,
               &node->epoch, &used) != 4) {
        kw_test_die("CLUSTER NODES says: %s", line);
    }
    node->is_primary = strstr(flags, "master") != NULL;
    node->is_known = strstr(flags, "handshake") == NULL && strstr(flags, "fail") == NULL &&
                     strstr(flags, "noaddr") == NULL;
    if (primary[0] != '-') {
        snprintf(node->primary_id, sizeof(node->primary_id), "%.40s", primary);
    }
    read_slots(view, (int16_t)view->nodes_n, line + used);
    view->nodes_n++;
}

void kw_test_view_fetch(kw_test_view *view, kw_test_server *node)
{
    char *rest = NULL;
    view->nodes_n = 0;
    memset(view->owner, -1, sizeof(view->owner));
    char *text = kw_test_server_text(node, "CLUSTER NODES");
    for (char *line = strtok_r(text, "\n", &rest); line != NULL && view->nodes_n < KW_TEST_VIEW_MAX;
         line = strtok_r(NULL, "\n", &rest)) {
        read_line(view, line);
    }
    free(text);
    text = kw_test_server_text(node, "CLUSTER INFO");
    view->is_ok = strstr(text, "cluster_state:ok") != NULL;
    free(text);
    text = kw_test_server_text(node, "INFO replication");
    view->is_linked = strstr(text, "master_link_status:up") != NULL;
    free(text);
}

const kw_test_view_node *kw_test_view_find(const kw_test_view *view, const char *id)
{
    for (size_t i = 0; i < view->nodes_n; i++) {
        if (strcmp(view->nodes[i].id, id) == 0) {
            return &view->nodes[i];
        }
    }
    return NULL;
}

bool kw_test_view_agree(const kw_test_view_node *a, const kw_test_view_node *b)
{
    return a != NULL && b != NULL && a->is_known && b->is_known && a->is_primary == b->is_primary &&
           strcmp(a->primary_id, b->primary_id) == 0;
}

static const char *owner_id(const kw_test_view *view, size_t slot)
{
    return view->owner[slot] < 0 ? "" : view->nodes[view->owner[slot]].id;
}

bool kw_test_view_same_slots(const kw_test_view *a, const kw_test_view *b)
{
    for (size_t slot = 0; slot < KW_TEST_SLOTS; slot++) {
        if (strcmp(owner_id(a, slot), owner_id(b, slot)) != 0) {
            return false;
        }
    }
    return true;
}

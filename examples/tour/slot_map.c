/* SPDX-License-Identifier: BSD-3-Clause */
/* The slot map: who owns which of the 16384 slots, as one line of letters and a table.
 *
 *   ./slot_map redis-cluster://127.0.0.1:7000
 */
#include <keyway.h>

#include <string.h>

#include "paint.h"

enum { NODES_MAX = 8, COLUMNS = 64, SLOTS_A_COLUMN = KW_SLOTS_N / COLUMNS };

static char nodes[NODES_MAX][64];
static unsigned owner[KW_SLOTS_N];
static size_t nodes_n;

static bool fetch(kw_client *kw, kw_error *error)
{
    for (unsigned slot = 0; slot < KW_SLOTS_N; slot++) {
        char node[64];
        if (kw_client_slot_node(kw, error, node, sizeof(node), slot) != KW_OK) {
            return false;
        }
        size_t i = 0;
        while (i < nodes_n && strcmp(nodes[i], node) != 0) {
            i++;
        }
        if (i == NODES_MAX) {
            snprintf(error->text, sizeof(error->text), "more than %d nodes have slots", NODES_MAX);
            return false;
        }
        if (i == nodes_n) {
            memcpy(nodes[nodes_n++], node, sizeof(node));
        }
        owner[slot] = (unsigned)i;
    }
    return true;
}

static void show_line(void)
{
    fputs("     ", stdout);
    for (unsigned column = 0; column < COLUMNS; column++) {
        unsigned node = owner[column * SLOTS_A_COLUMN];
        const char letter[2] = {(char)('A' + node), '\0'};
        paint(PAINT_NODE + (int)node, letter);
    }
    printf("\n     0%*d\n", COLUMNS - 1, KW_SLOTS_N - 1);
}

static void show_node(unsigned node)
{
    printf("     %c  %s  slots", 'A' + (int)node, nodes[node]);
    for (unsigned slot = 0, first = 0; slot < KW_SLOTS_N; slot++) {
        first = slot == 0 || owner[slot - 1] != owner[slot] ? slot : first;
        if (owner[slot] == node && (slot == KW_SLOTS_N - 1 || owner[slot + 1] != node)) {
            printf(first == slot ? " %u" : " %u-%u", first, slot);
        }
    }
    putchar('\n');
}

int main(int argc, char **argv)
{
    kw_error error = {0};
    kw_client *kw = kw_open(argc > 1 ? argv[1] : "redis-cluster://127.0.0.1:7000", &error);
    bool ok = kw != NULL && fetch(kw, &error);
    if (ok) {
        show_line();
    } else {
        fprintf(stderr, "%s\n", error.text);
    }
    for (unsigned node = 0; ok && node < nodes_n; node++) {
        show_node(node);
    }
    kw_close(kw);
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}

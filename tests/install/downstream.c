/* SPDX-License-Identifier: BSD-3-Clause */
/* A program outside the tree, in C: it is built against an installed copy. */
#include <keyway.h>

#include <stdio.h>
#include <string.h>

int main(void)
{
    kw_error error = {0};
    kw_client *kw = kw_open("redis://127.0.0.1:1?timeout=1s", &error);
    if (kw == NULL) {
        fprintf(stderr, "%s\n", error.text);
        return 1;
    }
    kw_close(kw);
    if (strcmp(kw_version(), KW_VERSION) != 0 || kw_slot("123456789", 9) != 12739) {
        return 1;
    }
    puts(kw_version());
    return 0;
}

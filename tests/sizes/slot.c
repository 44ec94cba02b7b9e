/* SPDX-License-Identifier: BSD-3-Clause */
/* What a program carries that has keyway for the slots of keys alone. */
#include <keyway.h>

#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        printf("%u\n", kw_slot(argv[i], strlen(argv[i])));
    }
    return 0;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* A little colour for the tour: on terminals only, and not where NO_COLOR is set. */
#ifndef TOUR_PAINT_H
#define TOUR_PAINT_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    PAINT_BOLD = 1,
    PAINT_FAINT = 2,
    PAINT_RED = 31,
    PAINT_GREEN = 32,
    PAINT_NODE = 42 /* and the following: backgrounds, one a node */
};

static inline int paint_is_on(void)
{
    return isatty(STDOUT_FILENO) && getenv("NO_COLOR") == NULL;
}

/* Prints text in a colour. */
static inline void paint(int colour, const char *text)
{
    if (paint_is_on()) {
        printf("\033[%dm%s\033[0m", colour, text);
    } else {
        fputs(text, stdout);
    }
}

#endif

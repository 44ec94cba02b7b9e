/* SPDX-License-Identifier: BSD-3-Clause */
/* Compares bytes with a pattern as SCAN does. Of several stars only the last has to be tried again:
 * where the rest does not match behind it, no other place of an earlier one can help. */
#include "engine/glob.h"

/* The byte at an index; 0 past the end, where a server reads the zero byte behind its string. */
static char at(kw_bytes bytes, size_t index)
{
    return index < bytes.len ? bytes.data[index] : '\0';
}

/* Whether letter is between two others, in whatever order they stand. Servers compare plain chars,
 * which have a sign on most machines. */
static bool is_between(char letter, char a, char b)
{
    int c = (signed char)letter;
    int first = (signed char)a;
    int last = (signed char)b;
    return first <= last ? first <= c && c <= last : last <= c && c <= first;
}

/* Compares one letter with the class behind a '['; *index is of that, and becomes that of the last
 * byte of the class. A class that does not end ends with the pattern. */
static bool class_has(kw_bytes pattern, size_t *index, char letter)
{
    size_t i = *index + 1;
    bool is_not = at(pattern, i) == '^';
    bool has = false;
    i += is_not ? 1 : 0;
    for (;; i++) {
        if (i + 1 < pattern.len && pattern.data[i] == '\\') {
            i++;
            has = has || pattern.data[i] == letter;
        } else if (at(pattern, i) == ']') {
            break;
        } else if (i >= pattern.len) {
            i = pattern.len - 1;
            break;
        } else if (i + 2 < pattern.len && pattern.data[i + 1] == '-') {
            has = has || is_between(letter, pattern.data[i], pattern.data[i + 2]);
            i += 2;
        } else {
            has = has || pattern.data[i] == letter;
        }
    }
    *index = i;
    return has != is_not;
}

/* Compares one letter with what stands at *index, no star, and moves *index behind it. */
static bool takes(kw_bytes pattern, size_t *index, char letter)
{
    bool has = true;
    char c = pattern.data[*index];
    if (c == '[') {
        has = class_has(pattern, index, letter);
    } else if (c != '?') {
        *index += c == '\\' && *index + 1 < pattern.len ? 1 : 0;
        has = pattern.data[*index] == letter;
    }
    *index += 1;
    return has;
}

bool kw_glob_matches(kw_bytes pattern, kw_bytes text)
{
    size_t p = 0;
    size_t t = 0;
    size_t star_p = 0; /* behind the last star, 0: there was none */
    size_t star_t = 0; /* where the text goes on behind it */
    if (pattern.len == 1 && pattern.data[0] == '*') {
        return true; /* to a server this is no pattern: the empty key has it, too */
    }
    while (t < text.len) {
        if (p < pattern.len && pattern.data[p] == '*') {
            star_p = ++p;
            star_t = t;
            if (p == pattern.len) {
                return true;
            }
            continue;
        }
        if (p < pattern.len && takes(pattern, &p, text.data[t])) {
            t++;
            continue;
        }
        if (star_p == 0) {
            return false;
        }
        p = star_p;
        t = ++star_t;
    }
    while (text.len > 0 && p < pattern.len && pattern.data[p] == '*') {
        p++;
    }
    return p == pattern.len;
}

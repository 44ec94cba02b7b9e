/* SPDX-License-Identifier: BSD-3-Clause */
/* Checks that the numbers of a quorum go together. */
#include "engine/quorum_rule.h"

bool kw_quorum_rule_set(kw_quorum_rule *rule, unsigned copies_n, unsigned write_n, unsigned read_n,
                        bool is_weak)
{
    bool is_sane = copies_n >= 1 && copies_n <= KW_QUORUM_COPIES_MAX && write_n >= 1 &&
                   write_n <= copies_n && read_n >= 1 && read_n <= copies_n;
    bool does_meet = write_n + read_n > copies_n && 2 * write_n > copies_n;
    if (!is_sane || (!does_meet && !is_weak)) {
        return false;
    }
    rule->copies_n = copies_n;
    rule->write_n = write_n;
    rule->read_n = read_n;
    rule->is_weak = is_weak;
    unsigned rest_n = copies_n - read_n + 1;
    rule->agree_n = read_n > rest_n ? read_n : rest_n;
    return true;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Quorum check: the options of a ring that keeps several copies, checked together. */
#ifndef SETTINGS_QUORUM_CHECK_H
#define SETTINGS_QUORUM_CHECK_H

#include <keyway/error.h>

#include "engine/quorum_rule.h"
#include "settings/options.h"

/* KW_ERR_CONFIG, with an error that names the numbers, where the quorums do not meet, or
 * copies are asked for where there is no ring, or too small a one. */
kw_err kw_quorum_check(const kw_options *options, kw_error *error);

/* Fills in the error for a member that is a Sentinel group on a ring with copies; gives back
 * KW_ERR_CONFIG. */
kw_err kw_quorum_refuse_group(kw_error *error, const kw_member *member);

/* The rule of checked options. */
kw_quorum_rule kw_quorum_rule_of(const kw_options *options);

#endif

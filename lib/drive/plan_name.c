/* SPDX-License-Identifier: BSD-3-Clause */
/* What error texts call a plan. */
#include "drive/plan.h"

const char *kw_plan_name(const kw_plan *plan)
{
    return plan->name != NULL      ? plan->name
           : plan->command != NULL ? kw_command_name(plan->command)
                                   : "command";
}

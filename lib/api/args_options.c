/* SPDX-License-Identifier: BSD-3-Clause */
/* Options of public calls; apart from their arguments, which programs without a handle have, too.
 */
#include "api/args.h"

#include "base/error.h"
#include "drive/plan.h"

#include <string.h>

const kw_call_options *kw_args_options(kw_call_options *space, kw_error *error,
                                       const kw_call_options *options)
{
    if (options == NULL) {
        return &kw_plan_defaults;
    }
    size_t len = options->size;
    if (len < offsetof(kw_call_options, key) || len > sizeof(*space)) {
        kw_error_set(error, KW_ERR_ARGUMENT, KW_EFFECT_NONE,
                     "options->size is wrong: start with KW_CALL_OPTIONS_INIT");
        return NULL;
    }
    *space = kw_plan_defaults;
    memcpy(space, options, len);
    return space;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* keyway/client.h: settings of a handle that is in use. */
#include <keyway/client.h>

#include "api/client.h"
#include "base/error.h"
#include "topology/live_options.h"

kw_err kw_client_set(kw_client *client, kw_error *error, const char *name, const char *value)
{
    if (client == NULL || name == NULL || value == NULL) {
        return kw_error_set(error, KW_ERR_ARGUMENT, KW_EFFECT_NONE,
                            "client, name or value is NULL");
    }
    kw_err code = kw_client_enter(client, error);
    if (code == KW_OK) {
        code = kw_live_options_set(client->topology, error, kw_bytes_of(name), kw_bytes_of(value));
        kw_client_leave(client);
    }
    return code;
}

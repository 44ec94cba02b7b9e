/* SPDX-License-Identifier: BSD-3-Clause */
/* Transactions that are given whole, in each of the ways. */
#include "sim/callers.h"

kw_transaction *sim_whole_new(kw_client *client, kw_error *error, const sim_command *command)
{
    kw_transaction *whole = kw_transaction_new(client, error);
    for (unsigned i = 0; whole != NULL && i < command->parts_n; i++) {
        if (kw_transaction_add(whole, error, "RPUSH k%u %u", command->key, command->id + i) !=
            KW_OK) {
            kw_transaction_free(whole);
            whole = NULL;
        }
    }
    return whole;
}

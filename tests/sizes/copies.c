/* SPDX-License-Identifier: BSD-3-Clause */
/* What a client carries that has calls, batches, an event loop, and values in copies. */
#include "uses.h"

static kw_err run_copies(kw_client *kw, kw_error *error)
{
    kw_quorum *quorum = kw_quorum_new(kw, error);
    kw_err err = quorum != NULL ? KW_OK : error->code;
    err = err == KW_OK ? kw_quorum_set(quorum, error, "greeting", 8, "hello", 5) : err;
    if (err == KW_OK) {
        kw_quorum_results *found = kw_quorum_get(quorum, error, "greeting", 8);
        err = found != NULL ? KW_OK : error->code;
        printf("%s\n", found != NULL ? kw_quorum_value(found, NULL, 0) : "");
        kw_quorum_results_free(found);
    }
    kw_quorum_free(quorum);
    return err;
}

int main(int argc, char **argv)
{
    kw_error error = {0};
    kw_client *kw = open_client(argc, argv, &error);
    kw_err err = kw != NULL ? KW_OK : error.code;
    err = err == KW_OK ? run_call(kw, &error) : err;
    err = err == KW_OK ? run_batch(kw, &error) : err;
    err = err == KW_OK ? run_loop(kw, &error) : err;
    err = err == KW_OK ? run_copies(kw, &error) : err;
    return end_client(kw, err, &error);
}

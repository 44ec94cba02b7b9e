/* SPDX-License-Identifier: BSD-3-Clause */
/* What a client carries that has calls, batches and an event loop. */
#include "uses.h"

int main(int argc, char **argv)
{
    kw_error error = {0};
    kw_client *kw = open_client(argc, argv, &error);
    kw_err err = kw != NULL ? KW_OK : error.code;
    err = err == KW_OK ? run_call(kw, &error) : err;
    err = err == KW_OK ? run_batch(kw, &error) : err;
    err = err == KW_OK ? run_loop(kw, &error) : err;
    return end_client(kw, err, &error);
}

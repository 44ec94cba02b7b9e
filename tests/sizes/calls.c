/* SPDX-License-Identifier: BSD-3-Clause */
/* What a client carries that has plain calls only. */
#include "uses.h"

int main(int argc, char **argv)
{
    kw_error error = {0};
    kw_client *kw = open_client(argc, argv, &error);
    kw_err err = kw != NULL ? KW_OK : error.code;
    err = err == KW_OK ? run_call(kw, &error) : err;
    return end_client(kw, err, &error);
}

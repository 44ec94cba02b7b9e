/* SPDX-License-Identifier: BSD-3-Clause */
/* What a client carries that has plain calls only. */
#include <keyway.h>

#include <stdio.h>

int main(int argc, char **argv)
{
    kw_error error = {0};
    kw_client *kw = kw_open(argc > 1 ? argv[1] : "redis://127.0.0.1", &error);
    kw_err err = kw != NULL ? KW_OK : error.code;
    if (err == KW_OK) {
        kw_reply *reply = kw_command(kw, &error, "SET greeting %s", "hello");
        err = reply != NULL ? KW_OK : error.code;
        kw_reply_free(reply);
    }
    kw_close(kw);
    if (err != KW_OK) {
        fprintf(stderr, "%s\n", error.text);
    }
    return err != KW_OK;
}

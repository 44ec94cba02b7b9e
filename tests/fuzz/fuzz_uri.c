/* SPDX-License-Identifier: BSD-3-Clause */
/* Fuzz entry: bytes as a URI, as a member of a ring, and as an option's value. */
#include <keyway.h>

#include "settings/uri.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    char *text = malloc(len + 1);
    kw_config *config = kw_config_new(NULL);
    if (text == NULL || config == NULL) {
        abort();
    }
    if (len > 0) {
        memcpy(text, data, len);
    }
    text[len] = '\0';
    kw_error error = KW_ERROR_INIT;
    if (kw_config_set_uri(config, &error, text) != KW_OK && error.text[0] == '\0') {
        abort();
    }
    kw_member member;
    error.text[0] = '\0';
    if (kw_uri_read_member(&member, &error, kw_mem_default(), text) == KW_OK) {
        kw_member_fini(&member, kw_mem_default());
    } else if (error.text[0] == '\0') {
        abort();
    }
    const char *name;
    for (size_t i = 0; (name = kw_config_option(i, NULL, NULL)) != NULL; i++) {
        (void)kw_config_set(config, &error, name, text);
    }
    kw_config_free(config);
    free(text);
    return 0;
}

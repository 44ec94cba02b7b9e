/* SPDX-License-Identifier: BSD-3-Clause */
/* Certificates for tests, made by the openssl command in the temporary folder. */
#ifndef SUPPORT_CERTS_H
#define SUPPORT_CERTS_H

#include <stdbool.h>
#include <stddef.h>

/* "ca", "other-ca": authorities. "good": localhost and 127.0.0.1; "elsewhere": another name;
 * "expired"; "client": signed by ca. "stranger": localhost, signed by other-ca. */
typedef struct kw_test_certs {
    char folder[256];
} kw_test_certs;

/* False, with a message, where there is no openssl. What fails otherwise stops the
 * program. */
bool kw_test_certs_make(kw_test_certs *certs);
void kw_test_certs_remove(kw_test_certs *certs);

/* Path of a certificate; of its key where is_key. The text is good until the fourth call
 * after it. One thread. */
const char *kw_test_certs_path(const kw_test_certs *certs, const char *name, bool is_key);

/* Lines of redis.conf for a server with that certificate: TLS beside its plain port. */
void kw_test_certs_config(const kw_test_certs *certs, char *config, size_t config_len,
                          const char *name, const char *more);

#endif

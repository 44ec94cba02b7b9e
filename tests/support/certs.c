/* SPDX-License-Identifier: BSD-3-Clause */
/* Makes an authority and certificates with the openssl command. */
#include "support/certs.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "keyway/export.h"
#include "support/check.h"
#include "support/keeper.h"

KW_FORMAT(1, 2)
static void run(const char *format, ...)
{
    char command[2000];
    va_list args;
    va_start(args, format);
    vsnprintf(command, sizeof(command), format, args);
    va_end(args);
    if (system(command) != 0) {
        kw_test_die("this fails: %s", command);
    }
}

#define KEY "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout"

static void make_authority(const kw_test_certs *certs, const char *name)
{
    run("openssl req -x509 " KEY " %s/%s.key -out %s/%s.pem -subj /CN=%s -days 7 2> /dev/null",
        certs->folder, name, certs->folder, name, name);
}

#define VALID   "-days 7"
#define EXPIRED "-days -1"

/* OpenSSL 3.5 takes no days before today; older ones know no dates. */
#define EXPIRED_BY_DATE "-not_before 20200101000000Z -not_after 20200102000000Z"

static void make(const kw_test_certs *certs, const char *name, const char *authority,
                 const char *names, const char *validity)
{
    const char *folder = certs->folder;
    const char *otherwise = strcmp(validity, EXPIRED) == 0 ? EXPIRED_BY_DATE : validity;
    run("printf 'subjectAltName=%s\\n' > %s/names", names, folder);
    run("openssl req " KEY " %s/%s.key -out %s/request -subj /CN=%s 2> /dev/null", folder, name,
        folder, name);
    run("sign() { openssl x509 -req -in %s/request -CA %s/%s.pem -CAkey %s/%s.key -CAcreateserial "
        "-extfile %s/names -out %s/%s.pem \"$@\" 2> /dev/null; }; sign %s || sign %s",
        folder, folder, authority, folder, authority, folder, folder, name, validity, otherwise);
}

bool kw_test_certs_make(kw_test_certs *certs)
{
    static const char here[] = "DNS:localhost,IP:127.0.0.1";
    if (system("openssl version > /dev/null 2>&1") != 0) {
        fputs("no openssl command: TLS is not tested against servers\n", stderr);
        return false;
    }
    snprintf(certs->folder, sizeof(certs->folder), "%s/certs", kw_test_folder());
    if (mkdir(certs->folder, 0700) != 0) {
        kw_test_die("cannot make %s", certs->folder);
    }
    make_authority(certs, "ca");
    make_authority(certs, "other-ca");
    make(certs, "good", "ca", here, VALID);
    make(certs, "elsewhere", "ca", "DNS:elsewhere.example", VALID);
    make(certs, "expired", "ca", here, EXPIRED);
    make(certs, "client", "ca", "DNS:client.example", VALID);
    make(certs, "stranger", "other-ca", here, VALID);
    return true;
}

void kw_test_certs_remove(kw_test_certs *certs)
{
    kw_test_folder_remove(certs->folder);
}

const char *kw_test_certs_path(const kw_test_certs *certs, const char *name, bool is_key)
{
    static char paths[4][300];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof(paths[0]), "%s/%s.%s", certs->folder, name, is_key ? "key" : "pem");
    return path;
}

void kw_test_certs_config(const kw_test_certs *certs, char *config, size_t config_len,
                          const char *name, const char *more)
{
    int len =
        snprintf(config, config_len,
                 "tls-cert-file %s/%s.pem\ntls-key-file %s/%s.key\ntls-ca-cert-file %s/ca.pem\n%s",
                 certs->folder, name, certs->folder, name, certs->folder, more);
    if (len < 0 || (size_t)len >= config_len) {
        kw_test_die("a server's configuration is too long");
    }
}

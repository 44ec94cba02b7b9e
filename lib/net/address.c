/* SPDX-License-Identifier: BSD-3-Clause */
/* Addresses of an endpoint: a Unix path or a number as it stands, a name by getaddrinfo. */
#include "net/address.h"

#include "base/error.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>
#include <strings.h>
#include <sys/un.h>

static kw_err find_path(kw_address *address, kw_error *error, const char *path)
{
    struct sockaddr_un local;
    size_t len = strlen(path);
    if (len >= sizeof(local.sun_path)) {
        return kw_error_set(error, KW_ERR_RESOLVE, KW_EFFECT_NONE,
                            "Unix socket path of %zu bytes is too long: at most %zu", len,
                            sizeof(local.sun_path) - 1);
    }
    memset(&local, 0, sizeof(local));
    local.sun_family = AF_UNIX;
    memcpy(local.sun_path, path, len + 1);
    memcpy(&address->storage, &local, sizeof(local));
    address->len = sizeof(local);
    return KW_OK;
}

static bool find_number(kw_address *address, const kw_endpoint *endpoint)
{
    struct sockaddr_in v4;
    memset(&v4, 0, sizeof(v4));
    if (inet_pton(AF_INET, endpoint->host, &v4.sin_addr) == 1) {
        v4.sin_family = AF_INET;
        v4.sin_port = htons(endpoint->port);
        memcpy(&address->storage, &v4, sizeof(v4));
        address->len = sizeof(v4);
        return true;
    }
    struct sockaddr_in6 v6;
    memset(&v6, 0, sizeof(v6));
    if (inet_pton(AF_INET6, endpoint->host, &v6.sin6_addr) == 1) {
        v6.sin6_family = AF_INET6;
        v6.sin6_port = htons(endpoint->port);
        memcpy(&address->storage, &v6, sizeof(v6));
        address->len = sizeof(v6);
        return true;
    }
    return false;
}

/* "localhost" is this machine, also where no file and no name server says so: RFC 6761,
 * section 6.3.
 */
static bool find_localhost(kw_addresses *addresses, const kw_endpoint *endpoint)
{
    static const char *const numbers[] = {"127.0.0.1", "::1"};
    kw_endpoint here = {.port = endpoint->port};
    if (strcasecmp(endpoint->host, "localhost") != 0) {
        return false;
    }
    for (addresses->n = 0; addresses->n < 2; addresses->n++) {
        memcpy(here.host, numbers[addresses->n], strlen(numbers[addresses->n]) + 1);
        (void)find_number(&addresses->at[addresses->n], &here);
    }
    return true;
}

static kw_err find_name(kw_addresses *addresses, kw_error *error, const kw_endpoint *endpoint)
{
    char port[21];
    port[kw_uint_to_text(port, endpoint->port)] = '\0';
    struct addrinfo hints;
    memset(&hints, 0, sizeof(hints));
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_ADDRCONFIG;
    struct addrinfo *found = NULL;
    int status = getaddrinfo(endpoint->host, port, &hints, &found);
    if (status != 0 && find_localhost(addresses, endpoint)) {
        return KW_OK;
    }
    if (status != 0) {
        return kw_error_set(error, KW_ERR_RESOLVE, KW_EFFECT_NONE,
                            "no address for host name \"%s\": %s", endpoint->host,
                            gai_strerror(status));
    }
    size_t n = 0;
    for (const struct addrinfo *entry = found; entry != NULL && n < KW_ADDRESSES_MAX;
         entry = entry->ai_next) {
        if (entry->ai_addrlen <= sizeof(addresses->at[n].storage)) {
            memcpy(&addresses->at[n].storage, entry->ai_addr, entry->ai_addrlen);
            addresses->at[n].len = entry->ai_addrlen;
            n++;
        }
    }
    freeaddrinfo(found);
    if (n == 0) {
        return kw_error_set(error, KW_ERR_RESOLVE, KW_EFFECT_NONE,
                            "host name \"%s\" has no usable address", endpoint->host);
    }
    addresses->n = n;
    return KW_OK;
}

bool kw_address_is_name(const kw_endpoint *endpoint)
{
    kw_address address;
    bool is_ipv6 = strchr(endpoint->host, ':') != NULL; /* perhaps with a zone */
    return endpoint->port != 0 && !is_ipv6 && !find_number(&address, endpoint);
}

bool kw_address_parse(kw_address *address, const kw_endpoint *endpoint)
{
    if (endpoint->port == 0 || find_number(address, endpoint)) {
        return endpoint->port != 0;
    }
    char port[21];
    port[kw_uint_to_text(port, endpoint->port)] = '\0';
    struct addrinfo hints;
    memset(&hints, 0, sizeof(hints));
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV; /* for a zone: it asks nobody */
    struct addrinfo *found = NULL;
    if (strchr(endpoint->host, '%') == NULL ||
        getaddrinfo(endpoint->host, port, &hints, &found) != 0) {
        return false;
    }
    bool fits = found->ai_addrlen <= sizeof(address->storage);
    if (fits) {
        memcpy(&address->storage, found->ai_addr, found->ai_addrlen);
        address->len = found->ai_addrlen;
    }
    freeaddrinfo(found);
    return fits;
}

kw_err kw_address_find(kw_addresses *addresses, kw_error *error, const kw_endpoint *endpoint)
{
    if (endpoint->port == 0) {
        kw_err code = find_path(&addresses->at[0], error, endpoint->host);
        if (code == KW_OK) {
            addresses->n = 1;
        }
        return code;
    }
    if (find_number(&addresses->at[0], endpoint)) {
        addresses->n = 1;
        return KW_OK;
    }
    return find_name(addresses, error, endpoint);
}

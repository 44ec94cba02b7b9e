/* SPDX-License-Identifier: BSD-3-Clause */
/* Finds ports that are free, and holds them: a server that a test has killed finds its own again.
 */
#include "support/port.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support/check.h"

/* Ports below every system's range for outgoing connections, so that a server finds
 * its own free again when it restarts; the cluster bus is above them. */
enum { PORT_FIRST = 11000, PORT_LAST = 22700 };

static pthread_mutex_t port_lock = PTHREAD_MUTEX_INITIALIZER;
static uint16_t port_next; /* 0 before the first use */
static atomic_int guards_n;

/* A socket bound to the port of this machine; -1 where somebody else's is. */
static int bound(int kind, unsigned port)
{
    struct sockaddr_in address;
    int on = 1;
    int fd = socket(AF_INET, kind, 0);
    if (fd < 0) {
        return -1;
    }
    memset(&address, 0, sizeof(address));
    address.sin_family = AF_INET;
    address.sin_port = htons((uint16_t)port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    /* Connections that have ended do not hold it; of datagrams it would let two have one port. */
    if (kind == SOCK_STREAM) {
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    }
    if (fcntl(fd, F_SETFD, FD_CLOEXEC) != 0 ||
        bind(fd, (const struct sockaddr *)&address, sizeof(address)) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static bool is_free(unsigned port)
{
    int fd = bound(SOCK_STREAM, port);
    if (fd >= 0) {
        close(fd);
    }
    return fd >= 0;
}

static bool hold(kw_test_port *port, uint16_t number)
{
    port->number = number;
    port->guards[0] = bound(SOCK_DGRAM, number);
    port->guards[1] = bound(SOCK_DGRAM, number + (unsigned)KW_TEST_BUS_OFFSET);
    for (size_t i = 0; i < 2; i++) {
        atomic_fetch_add(&guards_n, port->guards[i] >= 0 ? 1 : 0);
    }
    return port->guards[0] >= 0 && port->guards[1] >= 0 && is_free(number) &&
           is_free(number + (unsigned)KW_TEST_BUS_OFFSET);
}

/* Processes begin at different places so that they seldom meet. */
void kw_test_port_take(kw_test_port *port)
{
    pthread_mutex_lock(&port_lock);
    if (port_next == 0) {
        uint64_t mixed = kw_test_now_ns() / 1000 + (uint64_t)getpid() * 7919u;
        port_next = (uint16_t)(PORT_FIRST + mixed % (PORT_LAST - PORT_FIRST));
    }
    for (unsigned tries = 0; tries < PORT_LAST - PORT_FIRST; tries++) {
        uint16_t number = port_next;
        port_next = port_next == PORT_LAST ? PORT_FIRST : (uint16_t)(port_next + 1);
        if (hold(port, number)) {
            pthread_mutex_unlock(&port_lock);
            return;
        }
        kw_test_port_give(port);
    }
    kw_test_die("no free port");
}

void kw_test_port_give(kw_test_port *port)
{
    for (size_t i = 0; port->number != 0 && i < 2; i++) {
        if (port->guards[i] >= 0) {
            close(port->guards[i]);
            atomic_fetch_sub(&guards_n, 1);
        }
    }
    port->number = 0;
}

int kw_test_port_fds(void)
{
    return atomic_load(&guards_n);
}

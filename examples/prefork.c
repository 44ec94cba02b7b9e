/* SPDX-License-Identifier: BSD-3-Clause */
/* Pre-forking server: the parent reads the settings once, opens the handle and listens, its
 * children serve. With after-fork=reopen each goes on by the same settings, with connections of its
 * own.
 *
 *   cc prefork.c $(pkg-config --cflags --libs keyway) -o prefork
 *   ./prefork redis-cluster://127.0.0.1:7000
 */
#include <keyway.h>

#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CHILDREN = 4, VISITS = 12 };

/* A child's life: each visitor is told its number, or 0 and why. Ends by SIGTERM. */
static _Noreturn void serve(kw_client *kw, int listener)
{
    for (int visitor; (visitor = accept(listener, NULL, NULL)) >= 0; close(visitor)) {
        kw_error error = {0};
        long long visits = 0;
        kw_reply *reply = kw_command(kw, &error, "INCR prefork:visits");
        (void)kw_reply_to_int(reply, &error, &visits);
        dprintf(visitor, "%lld visits, process %d %s\n", visits, (int)getpid(), error.text);
        kw_reply_free(reply);
    }
    _exit(EXIT_FAILURE);
}

/* One visitor, to see the server work. */
static bool visit(const struct sockaddr *address, socklen_t address_len)
{
    char line[500];
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    ssize_t len = connect(fd, address, address_len) == 0 ? read(fd, line, sizeof(line)) : 0;
    close(fd);
    return len > 0 && fwrite(line, 1, (size_t)len, stdout) > 0 && line[0] != '0';
}

int main(int argc, char **argv)
{
    kw_error error = {0};
    kw_config *config = kw_config_new(NULL);
    const char *server = argc > 1 ? argv[1] : "redis-cluster://127.0.0.1:7000";
    bool ok = kw_config_set(config, &error, "server", server) == KW_OK &&
              kw_config_set(config, &error, "after-fork", "reopen") == KW_OK;
    kw_client *kw = ok ? kw_open_config(config, &error) : NULL;
    kw_config_free(config);
    if (kw == NULL || kw_connect(kw, &error) != KW_OK) { /* better now than in every child */
        fprintf(stderr, "%s\n", error.text);
        kw_close(kw);
        return EXIT_FAILURE;
    }
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(address); /* and port 0: any that is free */
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    ok = bind(listener, (struct sockaddr *)&address, len) == 0 && listen(listener, 16) == 0 &&
         getsockname(listener, (struct sockaddr *)&address, &len) == 0;
    pid_t children[CHILDREN];
    int children_n = 0;
    while (ok && children_n < CHILDREN && (children[children_n] = fork()) >= 0) {
        if (children[children_n++] == 0) {
            serve(kw, listener);
        }
    }
    for (int i = 0; children_n > 0 && ok && i < VISITS; i++) {
        ok = visit((struct sockaddr *)&address, len);
    }
    while (children_n > 0) {
        kill(children[--children_n], SIGTERM);
        waitpid(children[children_n], NULL, 0);
    }
    kw_close(kw);
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Starts, stops and asks real servers on free ports. */
#include "support/server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <hiredis.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/calm.h"
#include "support/check.h"
#include "support/keeper.h"
#include "support/link.h"
#include "support/port.h"

enum { START_TRIES = 8, READY_MS = 60000 };

struct kw_test_server {
    pid_t pid; /* 0 while dead */
    bool is_paused;
    bool is_sentinel;
    uint16_t port;
    kw_test_port held;
    kw_test_port tls_held; /* none without TLS */
    char address[32];
    char uri[48];
    char folder[256];
    char socket[300];
    char config_path[300];
    char *password; /* or NULL */
};

/* The server program of this machine, found at the first use. */
typedef struct program {
    char path[512];
    unsigned major, minor;
} program;

static pthread_once_t program_once = PTHREAD_ONCE_INIT;
static program found;

static bool find_in_path(char *out, size_t out_len, const char *name)
{
    const char *at = getenv("PATH");
    while (at != NULL && *at != '\0') {
        size_t len = strcspn(at, ":");
        snprintf(out, out_len, "%.*s/%s", (int)len, at, name);
        if (access(out, X_OK) == 0) {
            return true;
        }
        at += len + (at[len] == ':');
    }
    return false;
}

/* redis-check-rdb is the server program by another name; Debian packages it without the server. */
static bool find_check_rdb(char *out, size_t out_len)
{
    char real[512];
    if (!find_in_path(real, sizeof(real), "redis-check-rdb") &&
        !find_in_path(real, sizeof(real), "valkey-check-rdb")) {
        return false;
    }
    snprintf(out, out_len, "%s/redis-server", kw_test_folder());
    return symlink(real, out) == 0 || errno == EEXIST;
}

static void find_program(void)
{
    char command[600];
    char line[300] = "";
    const char *given = getenv("KW_TEST_SERVER");
    if (given != NULL && *given != '\0') {
        /* A name is looked for as a shell would. */
        if (strchr(given, '/') != NULL || !find_in_path(found.path, sizeof(found.path), given)) {
            snprintf(found.path, sizeof(found.path), "%s", given);
        }
    } else if (!find_in_path(found.path, sizeof(found.path), "redis-server") &&
               !find_in_path(found.path, sizeof(found.path), "valkey-server") &&
               !find_check_rdb(found.path, sizeof(found.path))) {
        kw_test_die("redis-server is not installed");
    }
    snprintf(command, sizeof(command), "'%s' --version", found.path);
    FILE *output = popen(command, "r");
    const char *version = NULL;
    if (output != NULL) {
        version = fgets(line, sizeof(line), output) == NULL ? NULL : strstr(line, " v=");
        pclose(output);
    }
    if (version == NULL || sscanf(version, " v=%u.%u", &found.major, &found.minor) != 2) {
        kw_test_die("%s is no Redis or Valkey server: %s", found.path, line);
    }
}

static const program *server_program(void)
{
    pthread_once(&program_once, find_program);
    return &found;
}

bool kw_test_server_has_version(unsigned major, unsigned minor)
{
    const program *it = server_program();
    return it->major > major || (it->major == major && it->minor >= minor);
}

/* The value of a "requirepass" line. */
static char *password_of(const char *config)
{
    static const char word[] = "requirepass ";
    const char *at = config;
    while (at != NULL && strncmp(at, word, sizeof(word) - 1) != 0) {
        at = strchr(at, '\n');
        at = at == NULL ? NULL : at + 1;
    }
    return at == NULL ? NULL : strndup(at + sizeof(word) - 1, strcspn(at, "\n") - sizeof(word) + 1);
}

static void write_config(const kw_test_server *server, const char *config)
{
    FILE *file = fopen(server->config_path, "w");
    if (file == NULL) {
        kw_test_die("cannot write %s", server->config_path);
    }
    fprintf(file,
            "port %u\nbind 127.0.0.1\nprotected-mode no\ndaemonize no\nsave \"\"\nappendonly no\n"
            "dir %s\nlogfile %s/log\nrepl-diskless-sync-delay 0\n",
            server->port, server->folder, server->folder);
    if (strlen(server->socket) < 100) {
        fprintf(file, "unixsocket %s\n", server->socket);
    }
    if (kw_test_server_has_version(7, 0)) {
        fputs("enable-debug-command yes\n", file);
    }
    if (server->password != NULL) {
        fprintf(file, "masterauth %s\n", server->password);
    }
    if (server->tls_held.number != 0) {
        fprintf(file, "tls-port %u\n", server->tls_held.number);
    }
    fputs(config == NULL ? "" : config, file);
    if (fclose(file) != 0) {
        kw_test_die("cannot write %s", server->config_path);
    }
}

/* The server is a child with nothing of ours but the three standard descriptors, in a
 * session of its own: a Ctrl-C at the terminal is for the test. */
static pid_t spawn(const char *path, const char *config_path, const char *mode)
{
    pid_t pid = fork();
    if (pid < 0) {
        kw_test_die("fork");
    }
    if (pid == 0) {
        sigset_t none;
        int null_fd = open("/dev/null", O_RDWR);
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        setsid();
        for (int fd = 0; fd < 3; fd++) {
            dup2(null_fd, fd);
        }
        for (int fd = 3; fd < 4096; fd++) {
            close(fd);
        }
        execl(path, path, config_path, mode, (char *)NULL);
        _exit(127);
    }
    kw_test_keeper_add(pid);
    return pid;
}

/* True where our own process answers at the port, and has its data. */
static bool answers(const kw_test_server *server)
{
    bool is_internal = false;
    kw_test_link *link = kw_test_link_open(server->port, server->password);
    redisReply *reply = link == NULL ? NULL : kw_test_link_ask(link, "INFO");
    if (reply != NULL && reply->type == REDIS_REPLY_STRING) {
        const char *at = strstr(reply->str, "process_id:");
        is_internal = at != NULL && strtol(at + 11, NULL, 10) == (long)server->pid &&
                      strstr(reply->str, "\r\nloading:1") == NULL;
    }
    if (reply != NULL) {
        freeReplyObject(reply);
    }
    kw_test_link_close(link);
    return is_internal;
}

/* False where the server gave up, or did not answer in time. */
static bool wait_ready(kw_test_server *server)
{
    uint64_t end_ms = kw_test_now_ms() + READY_MS;
    while (!answers(server)) {
        if (waitpid(server->pid, NULL, WNOHANG) == server->pid) {
            kw_test_keeper_drop(server->pid);
            server->pid = 0;
            return false;
        }
        if (kw_test_now_ms() > end_ms) {
            return false;
        }
        kw_test_sleep_ms(5);
    }
    return true;
}

static _Noreturn void die_with_log(const kw_test_server *server, const char *what)
{
    char path[320];
    char line[400];
    snprintf(path, sizeof(path), "%s/log", server->folder);
    FILE *log = fopen(path, "r");
    while (log != NULL && fgets(line, sizeof(line), log) != NULL) {
        fputs(line, stderr);
    }
    kw_test_die("%s: %s", server->address, what);
}

static void place(kw_test_server *server)
{
    kw_test_port_take(&server->held);
    server->port = server->held.number;
    snprintf(server->address, sizeof(server->address), "127.0.0.1:%u", server->port);
    snprintf(server->uri, sizeof(server->uri), "redis://%s", server->address);
    snprintf(server->folder, sizeof(server->folder), "%s/%u", kw_test_folder(), server->port);
    snprintf(server->socket, sizeof(server->socket), "%s/s", server->folder);
    snprintf(server->config_path, sizeof(server->config_path), "%s/conf", server->folder);
    if (mkdir(server->folder, 0700) != 0) {
        kw_test_die("cannot make %s", server->folder);
    }
}

static void give_ports(kw_test_server *server)
{
    kw_test_port_give(&server->held);
    kw_test_port_give(&server->tls_held);
}

static pid_t spawn_server(const kw_test_server *server)
{
    const char *mode = server->is_sentinel ? "--sentinel" : NULL;
    return spawn(server_program()->path, server->config_path, mode);
}

static kw_test_server *start(const char *config, bool is_sentinel)
{
    kw_test_calm_start();
    kw_test_server *server = calloc(1, sizeof(*server));
    if (server == NULL) {
        kw_test_die("no memory");
    }
    server->is_sentinel = is_sentinel;
    server->password = password_of(config);
    for (int tries = 1;; tries++) {
        place(server);
        bool has_tls = config != NULL && strstr(config, "tls-cert-file") != NULL;
        if (has_tls) {
            kw_test_port_take(&server->tls_held);
        }
        write_config(server, config);
        server->pid = spawn_server(server);
        if (wait_ready(server)) {
            return server;
        }
        if (tries == START_TRIES) {
            die_with_log(server, "the server does not start");
        }
        kw_test_server_kill(server);
        kw_test_folder_remove(server->folder);
        give_ports(server);
    }
}

kw_test_server *kw_test_server_start(const char *config)
{
    return start(config, false);
}

kw_test_server *kw_test_server_start_sentinel(const char *config)
{
    return start(config, true);
}

void kw_test_server_free(kw_test_server *server)
{
    if (server != NULL) {
        kw_test_server_kill(server);
        kw_test_folder_remove(server->folder);
        give_ports(server);
        free(server->password);
        free(server);
    }
}

const char *kw_test_server_address(const kw_test_server *server)
{
    return server->address;
}

const char *kw_test_server_uri(const kw_test_server *server)
{
    return server->uri;
}

const char *kw_test_server_socket(const kw_test_server *server)
{
    return server->socket;
}

const char *kw_test_server_folder(const kw_test_server *server)
{
    return server->folder;
}

uint16_t kw_test_server_port(const kw_test_server *server)
{
    return server->port;
}

uint16_t kw_test_server_tls_port(const kw_test_server *server)
{
    return server->tls_held.number;
}

pid_t kw_test_server_pid(const kw_test_server *server)
{
    return server->pid;
}

bool kw_test_server_is_dead(const kw_test_server *server)
{
    return server->pid == 0;
}

bool kw_test_server_is_paused(const kw_test_server *server)
{
    return server->is_paused;
}

void kw_test_server_kill(kw_test_server *server)
{
    if (server->pid != 0) {
        kill(server->pid, SIGKILL);
        waitpid(server->pid, NULL, 0);
        kw_test_keeper_drop(server->pid);
        server->pid = 0;
        server->is_paused = false;
    }
}

void kw_test_server_restart(kw_test_server *server)
{
    kw_test_server_kill(server);
    server->pid = spawn_server(server);
    if (!wait_ready(server)) {
        die_with_log(server, "the server does not start again");
    }
}

void kw_test_server_pause(kw_test_server *server)
{
    int status;
    server->is_paused = true;
    if (server->pid == 0 || kill(server->pid, SIGSTOP) != 0 ||
        waitpid(server->pid, &status, WUNTRACED) != server->pid || !WIFSTOPPED(status)) {
        kw_test_die("%s cannot be paused", server->address);
    }
}

void kw_test_server_resume(kw_test_server *server)
{
    server->is_paused = false;
    if (server->pid == 0 || kill(server->pid, SIGCONT) != 0) {
        kw_test_die("%s cannot be resumed", server->address);
    }
}

kw_test_link *kw_test_server_link(const kw_test_server *server)
{
    kw_test_link *link = kw_test_link_open(server->port, server->password);
    if (link == NULL) {
        kw_test_die("no connection to %s", server->address);
    }
    return link;
}

const char *kw_test_server_password(const kw_test_server *server)
{
    return server->password;
}

/* NULL: the connection was lost, or there was no answer in time. */
static redisReply *try_ask(kw_test_server *server, const char *format, va_list args)
{
    kw_test_link *link = kw_test_server_link(server);
    redisReply *reply = kw_test_link_vask(link, format, args);
    kw_test_link_close(link);
    return reply;
}

static redisReply *ask(kw_test_server *server, const char *format, va_list args)
{
    redisReply *reply = try_ask(server, format, args);
    if (reply == NULL) {
        kw_test_die("%s does not answer \"%s\"", server->address, format);
    }
    return reply;
}

static _Noreturn void die_of(const kw_test_server *server, const char *format, redisReply *reply)
{
    kw_test_die("%s answers \"%s\" with type %d, %.200s", server->address, format, reply->type,
                reply->str == NULL ? "" : reply->str);
}

redisReply *kw_test_server_command(kw_test_server *server, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    redisReply *reply = ask(server, format, args);
    va_end(args);
    return reply;
}

void kw_test_server_ok(kw_test_server *server, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    redisReply *reply = ask(server, format, args);
    va_end(args);
    if (reply->type != REDIS_REPLY_STATUS || strcmp(reply->str, "OK") != 0) {
        die_of(server, format, reply);
    }
    freeReplyObject(reply);
}

long long kw_test_server_integer(kw_test_server *server, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    redisReply *reply = ask(server, format, args);
    va_end(args);
    if (reply->type != REDIS_REPLY_INTEGER) {
        die_of(server, format, reply);
    }
    long long value = reply->integer;
    freeReplyObject(reply);
    return value;
}

/* A sentinel that gives a server another role closes all its connections: such a question, which
 * changes nothing, is asked again. */
#define TEXT_TRIES 3

char *kw_test_server_text(kw_test_server *server, const char *format, ...)
{
    va_list args;
    redisReply *reply = NULL;
    for (int tries = 0; reply == NULL && tries < TEXT_TRIES; tries++) {
        va_start(args, format);
        reply = try_ask(server, format, args);
        va_end(args);
    }
    if (reply == NULL) {
        kw_test_die("%s does not answer \"%s\"", server->address, format);
    }
    if (reply->type != REDIS_REPLY_STRING && reply->type != REDIS_REPLY_STATUS) {
        die_of(server, format, reply);
    }
    char *text = strdup(reply->str);
    freeReplyObject(reply);
    if (text == NULL) {
        kw_test_die("no memory");
    }
    return text;
}

/* The field's value in the text of INFO, up to the end of its line. */
static const char *info_field(const char *info, const char *field)
{
    size_t len = strlen(field);
    for (const char *at = info; at != NULL; at = strchr(at, '\n')) {
        at += *at == '\n';
        if (strncmp(at, field, len) == 0 && at[len] == ':') {
            return at + len + 1;
        }
    }
    return NULL;
}

long long kw_test_server_info(kw_test_server *server, const char *field)
{
    char *info = kw_test_server_text(server, "INFO");
    const char *value = info_field(info, field);
    long long number = value == NULL ? -1 : strtoll(value, NULL, 10);
    free(info);
    return number;
}

bool kw_test_server_is_info(kw_test_server *server, const char *field, const char *value)
{
    char *info = kw_test_server_text(server, "INFO");
    const char *at = info_field(info, field);
    size_t len = strlen(value);
    bool is = at != NULL && strncmp(at, value, len) == 0 && (at[len] == '\r' || at[len] == '\0');
    free(info);
    return is;
}

int kw_test_server_begin(void **state)
{
    *state = kw_test_server_start(NULL);
    return 0;
}

int kw_test_server_end(void **state)
{
    kw_test_server_free(*state);
    return 0;
}

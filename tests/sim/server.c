/* SPDX-License-Identifier: BSD-3-Clause */
/* A server: its connections, the commands in what they bring, and its turns: one command each, of a
 * connection that has one. */
#include "sim/world.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define WORDS_MAX 64

static sim_peer *peer_of(const sim_socket *socket)
{
    return socket->session;
}

static bool is_alive(const sim_server *server)
{
    return server->is_there && !server->is_stopped;
}

static void turn(void *arg, uint64_t lives_n);

static void turn_later(sim_server *server)
{
    if (!server->is_turning && is_alive(server)) {
        server->is_turning = true;
        uint64_t service_ns = sim_the_world.plan->service_ns;
        sim_at(sim_now() + service_ns / 2 + sim_random(service_ns + 1), turn, server,
               server->lives_n);
    }
}

static void on_open(void *owner, sim_socket *socket)
{
    sim_server *server = owner;
    for (unsigned i = 0; i < SIM_PEERS; i++) {
        sim_peer *peer = &sim_the_world.peers[i];
        if (peer->server == NULL) {
            sim_the_world.peers_n = i >= sim_the_world.peers_n ? i + 1 : sim_the_world.peers_n;
            memset(peer, 0, sizeof(*peer));
            peer->server = server;
            peer->socket = socket;
            peer->lives_n = server->lives_n;
            socket->session = peer;
            sim_the_world.connects_n++;
            return;
        }
    }
    sim_fail("too many connections at the servers");
}

static void drop(sim_peer *peer)
{
    peer->socket->session = NULL;
    peer->server = NULL;
}

void sim_peer_hang_up(sim_peer *peer)
{
    sim_net_hang_up(peer->socket, false);
    drop(peer);
}

static void on_bytes(void *owner, sim_socket *socket)
{
    sim_peer *peer = peer_of(socket);
    peer->has_more = true;
    turn_later(owner);
}

sim_server *sim_server_add(void)
{
    if (sim_the_world.servers_n == SIM_SERVERS) {
        sim_fail("too many servers");
    }
    unsigned number = sim_the_world.servers_n++;
    sim_server *server = &sim_the_world.servers[number];
    memset(server, 0, sizeof(*server));
    server->number = number;
    server->primary = (unsigned char)number;
    server->replid = number + 1;
    server->dead_ns = SIM_NEVER;
    server->silent_ns = SIM_NEVER;
    server->left_ns = SIM_NEVER;
    server->lost_ns = SIM_NEVER;
    server->host = sim_host_add(0x0a000001u + number, (uint16_t)(7000 + number));
    server->host->owner = server;
    server->host->on_open = on_open;
    server->host->on_bytes = on_bytes;
    server->host->latency_ns = sim_the_world.plan->latency_ns;
    server->host->jitter_ns = sim_the_world.plan->jitter_ns;
    server->host->bandwidth = sim_the_world.plan->bandwidth;
    memset(server->owners, SIM_NO_SERVER, sizeof(server->owners));
    return server;
}

void sim_server_start(sim_server *server)
{
    if (!server->is_there && !server->is_gone) {
        sim_say("server %u starts", server->number);
        server->is_there = true;
        server->back_ns = sim_now();
        sim_messages_on_start(server);
        server->is_stopped = false;
        server->is_turning = false;
        server->lives_n++;
        server->host->is_listening = true;
    }
}

void sim_server_kill(sim_server *server)
{
    if (!server->is_there) {
        return;
    }
    sim_say("server %u dies", server->number);
    server->is_there = false;
    server->dead_ns = sim_now();
    server->back_ns = SIM_NEVER;
    server->is_stopped = false;
    server->lives_n++;
    server->host->is_listening = false;
    sim_host_reset(server->host);
    for (unsigned i = 0; i < sim_the_world.peers_n; i++) {
        if (sim_the_world.peers[i].server == server) {
            drop(&sim_the_world.peers[i]);
        }
    }
}

void sim_server_stop(sim_server *server, bool stops)
{
    if (server->is_there && server->is_stopped != stops) {
        sim_say("server %u %s", server->number, stops ? "stands still" : "goes on");
        server->is_stopped = stops;
        turn_later(server);
    }
}

void sim_server_peers(sim_server *server, void (*fn)(sim_peer *peer))
{
    for (unsigned i = 0; i < sim_the_world.peers_n; i++) {
        if (sim_the_world.peers[i].server == server) {
            fn(&sim_the_world.peers[i]);
        }
    }
}

void sim_peer_say(sim_peer *peer, const char *format, ...)
{
    static char text[16384];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (len < 0 || (size_t)len >= sizeof(text)) {
        sim_fail("an answer is too long");
    }
    sim_net_answer(peer->socket, text, (size_t)len);
}

unsigned sim_word_number(const sim_word *word)
{
    unsigned number = 0;
    for (size_t i = 0; i < word->len; i++) {
        if (word->data[i] < '0' || word->data[i] > '9') {
            return 0;
        }
        number = 10 * number + (unsigned)(word->data[i] - '0');
    }
    return number;
}

/* "*3\r\n" or "$3\r\n" at *data: the number; -1: not whole. */
static long take_number(const char **data, const char *end, char kind)
{
    const char *at = *data;
    if (at < end && *at != kind) {
        sim_fail("the library sent what is no command: byte %02x in place of %c",
                 (unsigned)(unsigned char)*at, kind);
    }
    long number = 0;
    for (at++; at < end && *at != '\r'; at++) {
        number = 10 * number + (*at - '0');
    }
    if (end - at < 2) {
        return -1;
    }
    *data = at + 2;
    return number;
}

/* The length of the first command; 0: it is not whole yet. */
static size_t parse(sim_word *argv, size_t *argc, const char *data, size_t len)
{
    const char *at = data;
    const char *end = data + len;
    long n = len > 0 ? take_number(&at, end, '*') : -1;
    if (n > WORDS_MAX) {
        sim_fail("a command of %ld words", n);
    }
    for (long i = 0; i < n; i++) {
        long word = at < end ? take_number(&at, end, '$') : -1;
        if (word < 0 || end - at < word + 2) {
            return 0;
        }
        argv[i].data = at;
        argv[i].len = (size_t)word;
        at += word + 2;
    }
    *argc = n > 0 ? (size_t)n : 0;
    return n > 0 ? (size_t)(at - data) : 0;
}

/* True where the peer had a command, which is answered. */
static bool serve(sim_peer *peer)
{
    sim_word argv[WORDS_MAX];
    size_t argc = 0;
    const char *data;
    sim_socket *socket = peer->socket;
    size_t len = sim_net_arrived(socket, &data);
    size_t used = peer->is_blocked ? 0 : parse(argv, &argc, data, len);
    if (used > 0) {
        peer->served_n++;
        sim_peer_run(peer, argv, argc);
        if (peer->server != NULL) {
            sim_net_take(socket, used);
        }
        return true;
    }
    peer->has_more = false;
    if (socket->up.is_ended || socket->up.is_reset) {
        sim_peer_hang_up(peer);
        if (!socket->is_held) { /* both have closed it */
            socket->state = SIM_BROKEN;
        }
    }
    return false;
}

static void turn(void *arg, uint64_t lives_n)
{
    sim_server *server = arg;
    if (server->lives_n != lives_n) {
        return;
    }
    server->is_turning = false;
    if (!is_alive(server)) {
        return;
    }
    unsigned peers_n = sim_the_world.peers_n;
    unsigned first = (unsigned)sim_random(peers_n);
    bool has_served = false;
    bool has_more = false;
    for (unsigned i = 0; i < peers_n; i++) {
        sim_peer *peer = &sim_the_world.peers[(first + i) % peers_n];
        if (peer->server == server && peer->has_more) {
            if (has_served) {
                has_more = true;
                break;
            }
            has_served = serve(peer);
            has_more = has_more || (peer->server == server && peer->has_more);
        }
    }
    if (has_more) {
        turn_later(server);
    }
}

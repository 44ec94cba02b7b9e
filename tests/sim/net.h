/* SPDX-License-Identifier: BSD-3-Clause */
/* Net: hosts, and streams between the program and them. What is sent takes time, is kept in order,
 * and may be lost with its stream. */
#ifndef SIM_NET_H
#define SIM_NET_H

#include "sim/rate.h"

#include <sys/socket.h>
#include <sys/types.h>

#define SIM_HOSTS   40
#define SIM_SOCKETS 1024
#define SIM_FDS     256
#define SIM_FD0     1000 /* the first descriptor's number */

typedef struct sim_socket sim_socket;

/* One address, and what is behind it. */
typedef struct sim_host {
    uint32_t ip; /* in the machine's order */
    uint16_t port;
    uint64_t latency_ns; /* one way */
    uint64_t jitter_ns;
    uint64_t bandwidth; /* bytes a second; 0: no bound */
    bool is_listening;  /* else a connect is refused */
    bool is_cut;        /* packets are swallowed, both ways */
    sim_rate refusals;
    uint64_t late_ns; /* the longest connect that was waited for, and given up */
    void *owner;
    void (*on_open)(void *owner, sim_socket *socket);  /* a client is there */
    void (*on_bytes)(void *owner, sim_socket *socket); /* more has arrived, or the end of it */
} sim_host;

/* One direction of a stream. */
typedef struct sim_pipe {
    char *data; /* from 0: arrived and not read, then under way */
    size_t max;
    size_t begin;
    size_t arrived;
    size_t len;
    uint64_t last_ns; /* when the last of it arrives */
    size_t cut_after; /* so many bytes arrive, then the stream is reset; SIZE_MAX: never */
    bool is_ending;   /* the end is under way */
    bool is_ended;
    bool is_reset;
} sim_pipe;

typedef enum sim_socket_state {
    SIM_UNUSED,
    SIM_FRESH,
    SIM_DIALLING,
    SIM_OPEN,
    SIM_BROKEN
} sim_socket_state;

struct sim_socket {
    sim_host *host;
    sim_socket_state state;
    unsigned number;
    unsigned life; /* of its place: events of one before are nobody's */
    int error;     /* of a connect that failed, or of a stream that was reset; told once */
    bool is_held;  /* the program has its descriptor: fd */
    int fd;
    bool is_shut;
    bool is_silent;     /* half open: nothing gets through, and nobody knows */
    uint64_t late_ns;   /* its host's, when it was dialled */
    uint64_t polled_ns; /* since when somebody waits for the connect */
    uint64_t given_ns;  /* for how long somebody has */
    uint64_t wait_ns;   /* a recv that waits ends after it */
    bool waits;         /* recv waits */
    sim_pipe up;        /* to the server */
    sim_pipe down;
    size_t answer_len; /* of what the server sent last */
    sim_tasks waiters;
    uint64_t sent_ns;  /* when the program sent last */
    uint64_t quiet_ns; /* when the last byte came or went, at the program's end */
    void *session;     /* the server's */
};

void sim_net_begin(void);

/* What is wrong with what is left: a descriptor that is open. */
void sim_net_end(void);

/* A host of all zeros but for its address. */
sim_host *sim_host_add(uint32_t ip, uint16_t port);
sim_host *sim_host_find(uint32_t ip, uint16_t port);

/* Descriptors. So many more can be opened; -1: any number. */
extern long sim_fds_left;
unsigned sim_fds_n(void);
bool sim_net_is_open(int fd);

/* All that is open is a parent's from now on. */
void sim_net_be_child(void);
bool sim_net_is_parents(int fd);
unsigned sim_net_own_n(void); /* opened since */

/* The program's calls: the number, or the negative errno. */
int sim_net_socket(void);
int sim_net_connect(int fd, uint32_t ip, uint16_t port);
int sim_net_error(int fd);
ssize_t sim_net_send(int fd, const char *data, size_t len);
ssize_t sim_net_recv(int fd, char *data, size_t len, bool waits);
int sim_net_shutdown(int fd);
int sim_net_close(int fd);
sim_socket *sim_net_at(int fd);

/* Pollers: a descriptor that watches others, or a counter that others write. */
int sim_net_epoll(void);
int sim_net_event(void);
int sim_net_watch(int epoll, int fd, unsigned events, void *arg, bool is_new);
int sim_net_unwatch(int epoll, int fd);

typedef struct sim_ready {
    unsigned events;
    void *arg;
} sim_ready;
int sim_net_look(int epoll, sim_ready *ready, int ready_max);
int sim_net_count(int fd, uint64_t *value); /* reads it, and makes it 0 */
int sim_net_add(int fd, uint64_t value);

/* POLLIN and the like that the descriptor has; POLLNVAL. */
short sim_net_events(int fd, short wanted);

/* A task begins to wait for the connect, while nobody does, or ends to. */
void sim_socket_await(sim_socket *socket, bool does);

/* The task waits for the descriptor, or does no more. */
void sim_net_wait_for(int fd, bool does);

/* The server's calls. */
size_t sim_net_arrived(const sim_socket *socket, const char **data);
void sim_net_take(sim_socket *socket, size_t len);
void sim_net_answer(sim_socket *socket, const char *data, size_t len);
void sim_net_hang_up(sim_socket *socket, bool resets);

/* Bytes that nobody has asked for, which are there at once. */
void sim_net_inject(sim_socket *socket, const char *data, size_t len);

/* All streams to the host. */
void sim_host_reset(sim_host *host);
/* Streams that are half open are known to be lost from now on, and no other one will be. */
void sim_net_heal(void);

/* How often the program has handed bytes to its system so far. */
unsigned sim_net_sends_n(void);

sim_socket *sim_net_socket_at(unsigned number);
unsigned sim_net_sockets_n(void);

/* True where the stream is open, and nothing is under way on it in any direction. */
bool sim_net_is_quiet(const sim_socket *socket);

#endif

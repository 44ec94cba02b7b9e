/* SPDX-License-Identifier: BSD-3-Clause */
/* A scripted server in this process, on a free loopback port, with a thread of its
 * own. It parses requests, records every command, and answers by these, in order:
 *
 *   1. the script of the connection, while it lasts (kw_fake_script);
 *   2. the first rule whose pattern matches and that has turns left (kw_fake_on);
 *   3. the responder (kw_fake_respond);
 *   4. the greeting: HELLO, AUTH, SELECT, CLIENT, PING, READONLY, READWRITE, ASKING,
 *      ROLE, COMMAND, QUIT, INFO server/replication and CLUSTER MYID/SLOTS/SHARDS as a healthy
 *      server would;
 *   5. -ERR unknown command.
 *
 * Patterns are compared with the command as the log has it (kw_fake_entry), letter case
 * ignored; * is any text and ? any character. All functions may be called from any
 * thread, at any time between start and free. */
#ifndef SUPPORT_FAKE_H
#define SUPPORT_FAKE_H

#include <keyway/export.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct kw_fake kw_fake;

typedef enum kw_fake_act {
    KW_FAKE_DO_END,    /* end of the steps; the connection stays */
    KW_FAKE_DO_EXPECT, /* in scripts: wait for a command, which must match text */
    KW_FAKE_DO_SEND,   /* send bytes */
    KW_FAKE_DO_PIECES, /* send bytes one at a time, ms apart */
    KW_FAKE_DO_FLOOD,  /* send bytes again and again, ms apart, for ever */
    KW_FAKE_DO_DELAY,  /* wait ms */
    KW_FAKE_DO_GATE,   /* wait for kw_fake_pass */
    KW_FAKE_DO_PART,   /* wait for len bytes of a command that is not whole; read no more
                          until the next gate was passed */
    KW_FAKE_DO_CLOSE,  /* close the connection (FIN) */
    KW_FAKE_DO_RESET,  /* close it with RST */
    KW_FAKE_DO_STALL,  /* answer nothing any more, go on reading */
    KW_FAKE_DO_DEAF,   /* answer nothing and read nothing any more */
    KW_FAKE_DO_LOOP    /* in scripts: from the first step again */
} kw_fake_act;

typedef struct kw_fake_step {
    kw_fake_act act;
    const char *bytes; /* copied when the step is given to a fake */
    size_t len;
    unsigned ms;
} kw_fake_step;

/* Steps, for KW_FAKE_STEPS and arrays; arrays end with KW_FAKE_END. text is a string
 * literal and may hold zero bytes. */
/* clang-format off */
#define KW_FAKE_END               { KW_FAKE_DO_END, NULL, 0, 0 }
#define KW_FAKE_EXPECT(text)      { KW_FAKE_DO_EXPECT, "" text, sizeof("" text) - 1, 0 }
#define KW_FAKE_SEND(text)        { KW_FAKE_DO_SEND, "" text, sizeof("" text) - 1, 0 }
#define KW_FAKE_BYTES(data, size) { KW_FAKE_DO_SEND, (data), (size), 0 }
#define KW_FAKE_PIECES(text, ms)  { KW_FAKE_DO_PIECES, "" text, sizeof("" text) - 1, (ms) }
#define KW_FAKE_FLOOD(text, ms)   { KW_FAKE_DO_FLOOD, "" text, sizeof("" text) - 1, (ms) }
#define KW_FAKE_DELAY(ms)         { KW_FAKE_DO_DELAY, NULL, 0, (ms) }
#define KW_FAKE_GATE              { KW_FAKE_DO_GATE, NULL, 0, 0 }
#define KW_FAKE_PART(size)        { KW_FAKE_DO_PART, NULL, (size), 0 }
#define KW_FAKE_CLOSE             { KW_FAKE_DO_CLOSE, NULL, 0, 0 }
#define KW_FAKE_RESET             { KW_FAKE_DO_RESET, NULL, 0, 0 }
#define KW_FAKE_STALL             { KW_FAKE_DO_STALL, NULL, 0, 0 }
#define KW_FAKE_DEAF              { KW_FAKE_DO_DEAF, NULL, 0, 0 }
#define KW_FAKE_LOOP              { KW_FAKE_DO_LOOP, NULL, 0, 0 }
#define KW_FAKE_STEPS(...)        ((const kw_fake_step[]){ __VA_ARGS__, KW_FAKE_END })
/* clang-format on */

/* For times of kw_fake_on. */
#define KW_FAKE_ALWAYS 0u

/* A listening fake; the first one starts the calm clock (calm.h). Stops the program where that
 * cannot be. */
kw_fake *kw_fake_start(void);

/* Closes everything, waits for the thread. NULL is allowed. */
void kw_fake_free(kw_fake *fake);

/* "127.0.0.1:40001", and "redis://127.0.0.1:40001". Borrowed. */
const char *kw_fake_address(const kw_fake *fake);
const char *kw_fake_uri(const kw_fake *fake);
uint16_t kw_fake_port(const kw_fake *fake);

/* A command that matches pattern is answered by steps, the first `times` times
 * (KW_FAKE_ALWAYS: every time); rules are tried in the order given:
 *   kw_fake_on(f, 3, "GET *", KW_FAKE_STEPS(KW_FAKE_SEND("-TRYAGAIN later\r\n")));
 *   kw_fake_on(f, KW_FAKE_ALWAYS, "GET *", KW_FAKE_STEPS(KW_FAKE_SEND("$1\r\nv\r\n"))); */
void kw_fake_on(kw_fake *fake, unsigned times, const char *pattern, const kw_fake_step *steps);

/* A rule with one reply that is made by a format, without the closing CR LF:
 *   kw_fake_on_reply(f, 1, "GET *", "-MOVED %u 127.0.0.1:%u", slot, port); */
void kw_fake_on_reply(kw_fake *fake, unsigned times, const char *pattern, const char *format, ...)
    KW_FORMAT(4, 5);

/* Steps at the start of the next `times` connections (KW_FAKE_ALWAYS: of every one),
 * before anything is read. */
void kw_fake_on_accept(kw_fake *fake, unsigned times, const kw_fake_step *steps);

/* Script of one connection: 1 is the first accepted, 0 every one without a script of
 * its own. Commands of the greeting pass by the script and are answered as above,
 * unless with_greeting: then the script sees them as well. A command that does not
 * match the EXPECT it meets is counted as a mismatch and closes the connection. */
void kw_fake_script(kw_fake *fake, unsigned connection, bool with_greeting,
                    const kw_fake_step *steps);

/* A command as the responder sees it. reply: any number of times; close: after what
 * was replied is sent. Strings end with a zero byte that lens do not count. */
typedef struct kw_fake_call kw_fake_call;
size_t kw_fake_call_argc(const kw_fake_call *call);
const char *kw_fake_call_arg(const kw_fake_call *call, size_t index, size_t *len);
unsigned kw_fake_call_connection(const kw_fake_call *call);
void kw_fake_call_reply(kw_fake_call *call, const char *bytes, size_t len);
void kw_fake_call_replyf(kw_fake_call *call, const char *format, ...) KW_FORMAT(2, 3);
void kw_fake_call_bulk(kw_fake_call *call, const char *bytes, size_t len);
void kw_fake_call_close(kw_fake_call *call);

/* True where the command was dealt with. Called in the fake's thread; may call the
 * kw_fake_call functions, those of the log and of rules, and any of other fakes. */
typedef bool (*kw_fake_fn)(void *arg, kw_fake_call *call);
void kw_fake_respond(kw_fake *fake, kw_fake_fn fn, void *arg);

/* Forgets rules, scripts, accept steps and responder; the map stays. */
void kw_fake_reset(kw_fake *fake);

/* Starts and frees several; and makes them as new, but for their maps: up, without rules, and with
 * an empty log. */
void kw_fake_start_all(kw_fake **fakes, size_t fakes_n);
void kw_fake_free_all(kw_fake **fakes, size_t fakes_n);
void kw_fake_renew_all(kw_fake *const *fakes, size_t fakes_n);

/* Answers to CLUSTER SLOTS and CLUSTER SHARDS, as bytes of the protocol. NULL: an error
 * that says cluster support is disabled (SLOTS), or unknown subcommand (SHARDS). */
void kw_fake_set_map(kw_fake *fake, const char *slots, const char *shards);

/* Who the fake is from now on: its id in the maps of kw_fake_set_cluster that follow, and in its
 * answers to CLUSTER MYID, INFO server and INFO replication. 0, as before: its port. */
#define KW_FAKE_HISTORY 1u /* what the replication ids of all others are made of */
void kw_fake_set_id(kw_fake *fake, unsigned id);
unsigned kw_fake_id(kw_fake *fake);

/* A slot range of a fake cluster. */
typedef struct kw_fake_range {
    unsigned first, last;
    kw_fake *primary;
    kw_fake *replica; /* or NULL */
} kw_fake_range;

/* All fakes answer CLUSTER SLOTS and SHARDS with these ranges from now on, and HELLO
 * says cluster. */
void kw_fake_set_cluster(kw_fake *const *fakes, size_t fakes_n, const kw_fake_range *ranges,
                         size_t ranges_n);

/* A cluster as new: every fake up, without rules and with an empty log; slots 0 to 8000
 * belong to the first one, the others to the second. */
void kw_fake_halves(kw_fake *const *fakes, size_t fakes_n);

/* down: nobody listens and no connections (all closed with RST), so that connects are refused; up:
 * listening again on the same port, which Linux keeps for the fake meanwhile. */
void kw_fake_down(kw_fake *fake);
void kw_fake_up(kw_fake *fake);

/* Closes every open connection, or one of them, with FIN or with RST. */
void kw_fake_disconnect(kw_fake *fake, bool with_reset);
void kw_fake_disconnect_one(kw_fake *fake, unsigned connection, bool with_reset);

/* Lets one connection pass one KW_FAKE_GATE: one that waits there, or the next that comes. */
void kw_fake_pass(kw_fake *fake);

/* Connections that wait at a KW_FAKE_GATE now. */
unsigned kw_fake_at_gates(kw_fake *fake);

/* True where everything that was sent to it is read and answered. */
bool kw_fake_is_at_rest(kw_fake *fake);

/* Waits until so many connections are open, as KW_TEST_AWAIT does. */
void kw_fake_await_open(kw_fake *fake, unsigned n);

/* Sends bytes that nobody asked for on every open connection, or on one. */
void kw_fake_push(kw_fake *fake, const char *bytes, size_t len);
void kw_fake_push_to(kw_fake *fake, unsigned connection, const char *bytes, size_t len);

/* What happened. Entries are copied out; text is the command's arguments joined by
 * spaces, bytes outside of printable ASCII as \xHH, cut at 255 letters. */
typedef struct kw_fake_entry {
    unsigned connection; /* 1 is the first accepted */
    uint64_t time_ms;    /* kw_test_now_ms() when it was read */
    char text[256];
} kw_fake_entry;

size_t kw_fake_log_count(kw_fake *fake);
bool kw_fake_log_at(kw_fake *fake, size_t index, kw_fake_entry *entry);
void kw_fake_log_clear(kw_fake *fake);

/* Commands in the log that match the pattern. */
size_t kw_fake_count(kw_fake *fake, const char *pattern);

/* Waits until the log has n matches; false after timeout_ms. */
bool kw_fake_wait(kw_fake *fake, const char *pattern, size_t n, unsigned timeout_ms);

/* Connections accepted so far; open now; script mismatches so far. */
unsigned kw_fake_accepted(kw_fake *fake);
unsigned kw_fake_open(kw_fake *fake);
unsigned kw_fake_mismatches(kw_fake *fake);

/* Bytes of a bulk string reply into out (at least len + 32); their number. */
size_t kw_fake_bulk(char *out, const char *bytes, size_t len);

#endif

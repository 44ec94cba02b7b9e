/* SPDX-License-Identifier: BSD-3-Clause */
/* Quorum: the life of one read or write of a key that several servers keep a copy of. No
 * I/O, no clock, no memory, no threads: a driver carries what the op asks to the copies,
 * reports what comes back, and looks at the state.
 *
 * WHAT IS PROMISED. Each key is one linearizable register with set, delete, get, and writes on a
 * condition; include/keyway/quorum.h has the words for users. What follows is why.
 *
 * TERMS. N copies; a write is done with W of them (write_n), a read hears R (read_n), and A copies
 * have to agree (agree_n = max(R, N - R + 1)). W + R > N and 2 W > N, so that each A meets each W,
 * each R and each A, and each W meets each R and each W. A record has a stamp (time, writer), no
 * two writes the same, and an origin, the stamp of the write whose value it is. It is safe once A
 * copies hold it at one time or another, and done once W do.
 *
 * WHAT A COPY DOES (the script, quorum_script.c), as long as its key lasts:
 * C1 It takes a record where its stamp is not below what it holds, nor below what it has promised.
 *    So both only go up, and to take one twice is to take it once.
 * C2 It promises a ballot (PREPARE) above both, and says what it holds.
 * C3 It remembers which records came from another hand than their writer's: floor and recent of
 *    record.h. So it can say "I never held your write, and never will" (is_clean).
 *
 * WHY IT HOLDS, step by step.
 * S1 A plain write sends a fresh stamp to all, and is done by W copies that took exactly it. By C1
 *    it is then above all that was done or safe before it began: A and W meet in a copy that would
 *    have refused it.
 *
 * S2 A read hears R copies; the newest of these is its bar: all that was done or safe before it
 *    began is at or below that, since R meets W and A. It is done with a record at or above its
 *    bar that A copies held, each at its time (sights). Then that is safe: every later bar is at
 *    or above it, and by S1 every later write. Where copies differ, they are asked again, then
 *    given the newest.
 *
 * S3 A write that copies refuse, since they hold later ones, takes a later stamp only once nobody
 *    can have read it or will: when so many are clean (C3) that no A are left; otherwise it would
 *    be read, overwritten, and come back. Where that is not known, a ballot finds out: own record
 *    found and safe, done; older found, written again with the same origin, so that it can be
 *    there once; later ones found, nobody can tell any more, and it fails as maybe (is_unclear).
 *
 * S4 A write on a condition is a ballot (CASPaxos, Rystsov 2018): A copies promise the stamp and
 *    say what they hold. Whatever was safe below the stamp is held by one of them, by A meets A,
 *    and nothing below becomes done any more, by C1. The newest is made safe if it is not, by
 *    writing it again at the ballot's stamp; the condition is checked against it; W copies take
 *    the new record. Two ballots on one version: the later one's A has a copy that took the
 *    earlier one's record, or promised the later before and refused it.
 *
 * S5 Beside plain writes: one below the ballot is refused where it has been promised; one above
 *    is a later write, and linearized behind it.
 *
 * WHAT ENDS. Memory of the protocol ends with keys, so what is built on it must not outlive it.
 *
 * E1 A promise, and what a write was refused for, stay for linger_ms from then on; no call takes
 *    longer than a quarter of that, nor do its messages, and an answer that comes later is not
 *    built on.
 *
 * E2 A record with an end that replaces one that would outlive it is kept without end, by as many
 *    copies as make it done (quorum_keep.c): a copy that missed it may still hold the other. A
 *    SEAL, sent when all copies were seen to hold it, lets it end, unless a copy has promised a
 *    ballot above it, which may leave something on one of them; where all have promised to the
 *    sealing op, and it wrote nothing, no other will. A SEAL may be lost, or its sender die: then
 *    the record stays, until a read or a repair sees all copies.
 *
 *    A write that was left on too few copies, and by its promise or by its copies is not
 *    remembered any more, may be found and made the value later on: its client was told maybe.
 *    That is as if it were written just then, also where there has to be no value, as there is
 *    none. It is not for a write on a version. So a ballot for one has the value of that version,
 *    where it has a life, kept by the A that promise, before anything is sent that is built on
 *    it: what is done later meets one of those, and is kept as well, until all copies have it
 *    (leaves_on_version in quorum.c).
 *
 * E3 It still ends on one copy first. A copy without the key therefore takes no version that is
 *    more than behind_ms behind its clock, as if it had promised that: an older record comes back
 *    by a ballot only, above what other copies still remember.
 *
 * E4 A life is over where any copy of the value says so, and nobody makes it longer.
 *
 * WHAT IS LOST. A copy that comes back with other data than it acknowledged breaks C1. It says
 * nothing (quorum-guard) until all keys were repaired (is_repair):
 *
 * R1 A repair hears all N, so whatever was done is held by one that has lost nothing; it is given
 *    to all, with its floor at its stamp, as nobody knows what else was there. A promise in the
 *    way is settled by a ballot with W = A = N.
 *
 * R2 It may have begun before the loss, and heard the copy as it was; or before the end of a call
 *    that counted the copy as one of its W, and becomes done by others behind the repair's back.
 *    So a copy is put into service only where the repair began after the loss, and after all
 *    calls that were under way then (examples/quorum_repair.c: a key that is lost with the rest,
 *    and a wait).
 *
 * R3 Fewer than W copies of a key lose their data between two repairs.
 *
 * A member that joins is such a copy: it is repaired when nobody goes by the old members any more.
 *
 * WHAT HEALS WHAT.
 *
 * A copy that missed a write: the next read that hears it, the next write, its hint, or a repair.
 *
 * A write on too few copies: a read that meets it makes it safe (S2), a ballot as well (S4), or a
 * later write goes over it.
 *
 * A promise whose ballot died: a plain write waits for PATIENCE_NS, and goes on by a ballot above
 * it; a read that it bars does so at once; else it ends (E1).
 *
 * A record that is kept: a write, a read or a repair that has all copies hold it, and its SEAL.
 *
 * A copy that has lost its data, and a member that joins: a repair, then the marker.
 *
 * A version beyond spec.latest, and a value that is no record: DEL on those servers, by hand.
 *
 * CLOCKS. Stamps need not be right: one that is behind is refused and learns (S3). Versions beyond
 * spec.latest are neither believed nor given: reader's and writer's bound are one, so that what is
 * acknowledged can be read, and one broken clock harms the keys that it wrote.
 *
 * WHAT IS ASSUMED: a message arrives within a quarter of linger_ms behind its call, or never; the
 * answer to a PUT or PREPARE is that of the first time that it ran (drive/copy_request.c: what may
 * have run is not sent again; else a copy could call itself clean of what it took and lost, C3);
 * servers' clocks differ by less than that and do not jump by more (E1, E3); nothing is evicted;
 * data that comes back is younger than what has ended since (else it is removed first); R2 and R3;
 * members change one at a time.
 *
 * HOW IT IS CHECKED. tests/support/quorum_model.h drives these ops, event by event, against copies
 * that do as the script (test_quorum_script.c compares them on a real server). All orders are
 * walked through, up to what quorum_model_reduce.c proves to be the same: 2 clients with an act
 * each, of set, delete, if-absent, compare-and-set, with and without lives, get, and repair; 3
 * copies; 7 states to begin with; any one fault (a message lost, doubled, late, or left as a hint;
 * a deadline; a death at any step, also behind the answer; a copy that stops and comes back, with
 * its data, or, beside a repair, without or with older data), any one end, two rounds an op. Two
 * that write (set, delete, if-absent, compare-and-set) always to the end, from all 7 states; with
 * lives, deletion on a condition, gets and repairs to the end or to MODEL_STATES states, as many as
 * one has time for. Beyond that by chance: 2 or 3 clients with two acts, 3 to 5 copies, up to 3
 * faults, 6 ends and 6 rounds.
 * Each of C1 to C3, E1 to E3, R1, R2, W, A and the bound of clocks, taken away, is found by name
 * within a minute. */
#ifndef ENGINE_QUORUM_H
#define ENGINE_QUORUM_H

#include <keyway/error.h>

#include "base/random.h"
#include "engine/quorum_rule.h"
#include "engine/record.h"

/* Where fresh stamps come from: next gives one above past; learn hears of others' stamps. */
typedef struct kw_quorum_clock {
    kw_stamp (*next)(void *arg, kw_stamp past);
    void (*learn)(void *arg, kw_stamp seen);
    void *arg;
} kw_quorum_clock;

typedef enum kw_quorum_kind {
    KW_QUORUM_READ,
    KW_QUORUM_WRITE,  /* whatever is there */
    KW_QUORUM_CHECKED /* if the version there is the expected one */
} kw_quorum_kind;

typedef struct kw_quorum_spec {
    kw_quorum_rule rule;
    kw_quorum_kind kind;
    bool expects_none; /* CHECKED: no value there; else the version expected */
    kw_stamp expected;
    bool is_tombstone; /* a write that deletes */
    bool is_repair;    /* a read of all copies, which brings all of them up, also one that has
                          lost its data */
    uint64_t life_ms;  /* TTL of the value; 0: none */
    uint64_t latest;   /* greatest time of a version that is believed and given; 0: what the
                          format can hold */
    kw_bytes value;    /* borrowed until the op is not used any more */
} kw_quorum_spec;

typedef enum kw_quorum_ask_kind {
    KW_QUORUM_GET,
    KW_QUORUM_PUT,
    KW_QUORUM_PREPARE,
    KW_QUORUM_SEAL /* all copies were seen to hold it: what was kept of it may end */
} kw_quorum_ask_kind;

/* One request to one copy. */
typedef struct kw_quorum_ask {
    unsigned copy;
    unsigned round; /* goes back with the answer */
    kw_quorum_ask_kind kind;
    kw_record record;   /* of PUT; of PREPARE its stamp, and as origin the version whose value is
                           kept from now on where it has a life, zero: none; of SEAL its stamp,
                           and the promise that does not hinder it, zero: none */
    uint64_t life_ms;   /* of PUT: TTL of the value's key, linger included; 0: none */
    uint64_t linger_ms; /* what an answer is built on stays for so long at least */
    uint64_t behind_ms; /* a copy without the key takes no version that is further behind its
                           clock: what it held, and has ended, was older than that */
    bool wants_value;   /* of PUT: where it is refused, all of the record is wanted */
    bool is_repair;     /* of PUT: nobody waits for it */
} kw_quorum_ask;

/* What a copy answered. */
typedef struct kw_quorum_answer {
    bool is_taken;   /* PUT, PREPARE; true for GET, SEAL */
    bool is_kept;    /* PUT, taken: the record does not end before a SEAL */
    bool has_record; /* what the copy holds, or held before a PREPARE */
    kw_record record;
    bool is_mortal;  /* the value has a life, of which .. */
    int64_t left_ms; /* .. this is left */
} kw_quorum_answer;

typedef enum kw_quorum_state {
    KW_QUORUM_WAITING, /* for answers, or for until_ns */
    KW_QUORUM_DONE,    /* read; written; or, where has_mismatch, not written */
    KW_QUORUM_FAILED
} kw_quorum_state;

typedef enum kw_quorum_phase {
    KW_QUORUM_READING,   /* and writing back to copies that are behind */
    KW_QUORUM_SETTING,   /* a plain write */
    KW_QUORUM_PREPARING, /* first round of a ballot: copies promise */
    KW_QUORUM_ACCEPTING, /* second round of a ballot: copies take the record */
    KW_QUORUM_PAUSING,   /* before the next try */
    KW_QUORUM_ENDED
} kw_quorum_phase;

typedef enum kw_quorum_mark {
    KW_QUORUM_IDLE, /* of no use in this round */
    KW_QUORUM_DUE,  /* to be asked */
    KW_QUORUM_ASKED,
    KW_QUORUM_TAKEN,   /* answered; PUT and PREPARE: taken */
    KW_QUORUM_REFUSED, /* holds, or has promised to, something later */
    KW_QUORUM_LOST     /* no answer */
} kw_quorum_mark;

typedef struct kw_quorum_copy {
    kw_quorum_mark mark;
    kw_quorum_ask_kind asked;
    kw_stamp put;     /* ASKED for PUT: what it is to hold */
    bool puts_dead;   /* and whether that is deleted or over */
    kw_stamp held;    /* what it holds, as far as is known in this round */
    kw_stamp promise; /* it takes nothing below; PREPARE, taken: the op's own */
    bool is_known;    /* held says so */
    bool is_dead;     /* what it holds is deleted or has outlived its life */
    bool is_kept;     /* and does not end before a SEAL */
    bool has_taken;   /* PUT, in this round */
    bool is_clean;    /* REFUSED: never held the op's write, and never will */
    kw_effect effect; /* LOST: what the request may have done */
} kw_quorum_copy;

/* A record that copies were seen to hold, at one time or another. */
typedef struct kw_quorum_sight {
    kw_record record;
    bool is_dead;
    int64_t left_ms;
    unsigned holders; /* a bit a copy */
    unsigned keepers; /* those whose record is kept */
} kw_quorum_sight;

#define KW_QUORUM_SIGHTS_MAX 6u

typedef struct kw_quorum_op {
    kw_quorum_spec spec;
    kw_quorum_clock clock;
    kw_random random;
    kw_quorum_phase phase;
    kw_quorum_state state;
    unsigned round;
    unsigned tries_n;   /* stamps and ballots taken */
    uint64_t until_ns;  /* WAITING: on_time is due then; UINT64_MAX: never */
    uint64_t asked_ns;  /* when this round began */
    uint64_t settle_ns; /* when copies that differ have had their time; 0: not begun */
    kw_stamp stamp;     /* of the write, or the ballot, of this round */
    kw_stamp origin;    /* of the write; zero: not sent yet */
    kw_stamp past;      /* highest stamp or promise seen */
    unsigned looks_n;   /* READING: how often the copies that were behind were asked again */
    bool has_bar;       /* READING: read_n copies have answered .. */
    kw_stamp bar;       /* .. and a read may not see less than this */
    unsigned sights_n;
    bool is_identity;  /* ACCEPTING the record that was found, to make it safe, not the op's own */
    bool is_own;       /* and the one found is the op's own write, of an earlier round */
    bool is_balloting; /* PAUSING: goes on with a ballot; else with a plain write */
    bool is_kept;      /* the op's own record is: a copy that took it held what would outlive it */
    bool is_sealed;    /* all copies hold the record, and were told */
    bool may_have_run; /* a copy may hold the op's own write, from an earlier round */
    bool has_newest;   /* the newest record seen */
    bool is_dead;      /* and it is deleted or has outlived its life */
    kw_record newest;  /* its value is borrowed from the answer */
    int64_t left_ms;   /* of a mortal one, at newest_ns at the latest */
    uint64_t newest_ns;
    /* Results */
    bool has_mismatch;
    bool is_unclear;  /* FAILED: later writes hide what became of the op's own */
    bool is_beyond;   /* FAILED: no version is left below the latest one */
    unsigned ahead_n; /* answers that told of versions beyond the latest, and were not believed */
    kw_stamp ahead;   /* one of those .. */
    unsigned ahead_copy; /* .. and who holds it */
    unsigned repaired_n; /* copies that a repair has brought up */
    kw_effect effect;    /* FAILED */
    unsigned got_n;      /* FAILED: copies that answered as wanted */
    unsigned needed_n;   /* FAILED */
    unsigned lost_n;     /* FAILED: copies that did not answer */
    /* Of these two only what is counted is set. */
    kw_quorum_copy copies[KW_QUORUM_COPIES_MAX]; /* spec.rule.copies_n */
    kw_quorum_sight sights[KW_QUORUM_SIGHTS_MAX];
} kw_quorum_op;

/* Starts the op. seed: any number, for pauses. Answers' records are borrowed until the op
 * is not used any more. */
void kw_quorum_start(kw_quorum_op *op, const kw_quorum_spec *spec, const kw_quorum_clock *clock,
                     uint64_t now_ns, uint64_t seed);

/* The next request; false where there is none for now. Also after DONE: repair of copies
 * that were behind, for which nobody waits. */
bool kw_quorum_next(kw_quorum_op *op, kw_quorum_ask *ask, uint64_t now_ns);

/* A copy answered, or did not: effect says what the request may have done there. Answers to
 * rounds that are over still say what the copy holds. */
void kw_quorum_on_answer(kw_quorum_op *op, unsigned copy, unsigned round,
                         const kw_quorum_answer *answer, uint64_t now_ns);
void kw_quorum_on_lost(kw_quorum_op *op, unsigned copy, unsigned round, kw_effect effect,
                       uint64_t now_ns);

/* until_ns has come. */
void kw_quorum_on_time(kw_quorum_op *op, uint64_t now_ns);

/* The deadline: FAILED, unless it had ended before. */
void kw_quorum_on_deadline(kw_quorum_op *op);

/* DONE of a read, or of a mismatch: the value there, NULL where there is none; its version
 * is the record's origin. DONE of a write: op->origin is its version. */
const kw_record *kw_quorum_found(const kw_quorum_op *op);

/* What is left of the life of the newest record, at now_ns at the latest; 0 where it is
 * over, -1 where it has no end. */
int64_t kw_quorum_left_ms(const kw_quorum_op *op, uint64_t now_ns);

#endif

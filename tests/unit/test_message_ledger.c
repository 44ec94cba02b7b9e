/* SPDX-License-Identifier: BSD-3-Clause */
/* The ledger of numbered messages, by which tests judge subscribers: what it forgives, and what it
 * does not. Scripts of what one publisher said in one channel, what the servers answered, and what
 * came. */
#include "live/message_ledger.h"

/* Words of a script:
 *   sN  number N was published: the server that ran it told subscribers
 *   uN  the server that ran it had nobody to tell
 *   dN  no answer came
 *   pN  it is not answered yet; sN, uN and dN may follow
 *   N   it has come
 *   g   a gap has come
 * wrong: a part of what is wrong, NULL where nothing is. */
typedef struct script {
    const char *words;
    bool has_two_owners;
    uint64_t late_n;
    const char *wrong;
} script;

static const script scripts[] = {
    {"s1 s2 s3 1 2 3", false, 0, NULL},
    {"s1 s2 s3 1 2 3", true, 0, NULL},
    {"s1 s2 s3 2 3", true, 0, NULL}, /* before the first nobody was subscribed */
    /* Holes. */
    {"s1 s2 s3 1 3", false, 0, "2 of publisher 0 is missing before 3"},
    {"s1 s2 s3 1 3", true, 0, "2 of publisher 0 is missing before 3"},
    {"s1 s2 s3 1 g 3", false, 0, NULL},
    {"s1 d2 s3 1 3", false, 0, NULL},
    {"s1 u2 s3 1 3", false, 0, "2 of publisher 0 is missing"},
    {"s1 u2 s3 1 3", true, 0, NULL}, /* lost on the bus */
    {"s1 p2 s3 1 3 u2", true, 0, NULL},
    {"s1 p2 s3 1 3 s2", true, 0, "2 of publisher 0 is missing"},
    {"s1 p2 s3 1 3 d2", false, 0, NULL},
    /* Late, for the first time: forgiven where another server than the owner ran it. */
    {"s1 u2 s3 1 3 2", true, 1, NULL},
    {"s1 d2 s3 1 3 2", true, 1, NULL},
    {"s1 u2 u3 s4 1 4 3 2", true, 2, NULL},
    {"s1 p2 s3 1 3 2 u2", true, 1, NULL},
    {"s1 p2 s3 1 3 2 d2", true, 1, NULL},
    {"s1 p2 s3 1 3 2 s2", true, 1, "2 of publisher 0 came late"},
    {"s1 s2 s3 1 g 3 2", true, 1, "2 of publisher 0 came behind 3"},
    {"s1 s2 s3 1 g 3 2", false, 1, "2 of publisher 0 came behind 3"},
    {"s1 u2 s3 1 g 3 2", false, 1, "2 of publisher 0 came behind 3"},
    /* Twice: never. */
    {"s1 s2 1 2 2", true, 0, "2 of publisher 0 came twice"},
    {"s1 s2 1 2 1", true, 0, "1 of publisher 0 came twice"},
    {"s1 u2 s3 1 3 2 2", true, 1, "2 of publisher 0 came twice"},
    {"s1 u2 s3 1 2 3 2", true, 0, "2 of publisher 0 came twice"},
    {"s1 d2 s3 1 2 g 3 2", true, 0, "2 of publisher 0 came twice"},
};

static void play_word(ledger *book, const char *word)
{
    uint64_t number = strtoull(word[0] >= '0' && word[0] <= '9' ? word : word + 1, NULL, 10);
    if (word[0] == 'g') {
        book->channel_gaps_n[0]++;
    } else if (word[0] >= '0' && word[0] <= '9') {
        ledger_note(book, 0, 0, number);
    } else {
        if (number > book->lines[0][0].sent_n) {
            assert_int_equal(ledger_begin(book, 0, 0, 1), number);
        }
        ledger_end(book, 0, 0, number,
                   word[0] == 's'   ? LEDGER_PUBLISHED
                   : word[0] == 'u' ? LEDGER_UNHEARD
                   : word[0] == 'd' ? LEDGER_DOUBTED
                                    : LEDGER_PENDING);
    }
}

static void test_ledger_forgives_what_it_may_and_nothing_else(void **state)
{
    (void)state;
    static ledger book;
    for (size_t i = 0; i < sizeof(scripts) / sizeof(scripts[0]); i++) {
        const script *at = &scripts[i];
        char words[100];
        char *rest;
        ledger_init(&book, "SPUBLISH", KW_TOPIC_SHARDED);
        book.is_judged = true;
        book.has_two_owners = at->has_two_owners;
        snprintf(words, sizeof(words), "%s", at->words);
        for (char *word = strtok_r(words, " ", &rest); word != NULL;
             word = strtok_r(NULL, " ", &rest)) {
            play_word(&book, word);
        }
        ledger_check_suspects(&book);
        bool is_right =
            at->wrong != NULL ? strstr(book.wrong, at->wrong) != NULL : book.wrong[0] == '\0';
        if (!is_right || book.late_n != at->late_n) {
            fail_msg("%s: \"%s\", %llu late", at->words, book.wrong,
                     (unsigned long long)book.late_n);
        }
        ledger_fini(&book);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ledger_forgives_what_it_may_and_nothing_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

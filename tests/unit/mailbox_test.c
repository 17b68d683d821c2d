/* mailbox: order, one wake-up for many letters, letters that post letters, burning, and writers on
 * several threads. */
#include <pthread.h>
#include <stdlib.h>

#include "harness/scripted_io.h"
#include "harness/test.h"
#include "net/mailbox.h"

enum {
    N_WRITERS = 4,
    N_LETTERS = 2000, /* of each writer */
};

struct note {
    struct letter letter;
    unsigned writer;
    unsigned number;
    unsigned n_more; /* letters that it posts when it is opened */
};

static struct rig rig;
static struct mailbox *mailbox;
static unsigned n_opened;
static unsigned n_burnt;
static unsigned next_of[N_WRITERS];

static void post(unsigned writer, unsigned number, unsigned n_more);

static void on_open(struct letter *letter, void *ctx)
{
    struct note *note = CONTAINER_OF(letter, struct note, letter);
    assert_ptr_equal(ctx, &rig);
    assert_int_equal(note->number, next_of[note->writer]);
    next_of[note->writer]++;
    n_opened++;
    if (note->n_more != 0) {
        post(note->writer, note->number + 1, note->n_more - 1);
    }
    free(note);
}

static void on_burn(struct letter *letter)
{
    n_burnt++;
    free(CONTAINER_OF(letter, struct note, letter));
}

static void post(unsigned writer, unsigned number, unsigned n_more)
{
    struct note *note = malloc(sizeof *note);
    if (note == NULL) {
        abort();
    }
    *note = (struct note){{.open = on_open, .burn = on_burn}, writer, number, n_more};
    mailbox_post(mailbox, &note->letter);
}

static int start(void **state)
{
    (void)state;
    rig_start_at(&rig, kit_clock_ms());
    n_opened = 0;
    n_burnt = 0;
    memset(next_of, 0, sizeof next_of);
    return mailbox_create(rig.loop, &rig, &mailbox) == ERR_OK ? 0 : -1;
}

static int stop(void **state)
{
    (void)state;
    if (mailbox != NULL) {
        mailbox_destroy(mailbox);
    }
    rig_stop(&rig);
    return 0;
}

static void letters_of_a_turn_come_together_and_in_order(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 100; i++) {
        post(0, i, 0);
    }
    assert_int_equal(n_opened, 0);
    loop_run_once(rig.loop, true);
    assert_int_equal(n_opened, 100);
    /* And no wake-up is left over: the next turn has nothing. */
    loop_run_once(rig.loop, false);
    assert_int_equal(n_opened, 100);
    post(0, 100, 0);
    loop_run_once(rig.loop, true);
    assert_int_equal(n_opened, 101);
}

static void a_letter_that_posts_waits_for_the_next_turn(void **state)
{
    (void)state;
    post(0, 0, 2);
    for (unsigned i = 1; i <= 3; i++) {
        loop_run_once(rig.loop, true);
        assert_int_equal(n_opened, i);
    }
}

static void unread_letters_are_burnt(void **state)
{
    (void)state;
    post(0, 0, 0);
    post(0, 1, 5);
    mailbox_destroy(mailbox);
    mailbox = NULL;
    assert_int_equal(n_burnt, 2);
    assert_int_equal(n_opened, 0);
}

static void *write_letters(void *ctx)
{
    const unsigned *writer = ctx;
    for (unsigned i = 0; i < N_LETTERS; i++) {
        post(*writer, i, 0);
    }
    return NULL;
}

static void letters_of_several_threads_are_all_opened_in_each_ones_order(void **state)
{
    (void)state;
    pthread_t threads[N_WRITERS];
    unsigned writers[N_WRITERS];
    for (unsigned i = 0; i < N_WRITERS; i++) {
        writers[i] = i;
        assert_int_equal(pthread_create(&threads[i], NULL, write_letters, &writers[i]), 0);
    }
    /* A lost wake-up hangs here, until ctest's time is up. */
    while (n_opened < N_WRITERS * N_LETTERS) {
        loop_run_once(rig.loop, true);
    }
    for (unsigned i = 0; i < N_WRITERS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(next_of[i], N_LETTERS);
    }
    assert_int_equal(n_burnt, 0);
}

#define WITH_MAIL(test) cmocka_unit_test_setup_teardown(test, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_MAIL(letters_of_a_turn_come_together_and_in_order),
        WITH_MAIL(a_letter_that_posts_waits_for_the_next_turn),
        WITH_MAIL(unread_letters_are_burnt),
        WITH_MAIL(letters_of_several_threads_are_all_opened_in_each_ones_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

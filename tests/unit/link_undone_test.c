/* link_undone: what a link keeps of its deliveries until they are acknowledged, and gives back when
 * it ends: in order, to whom it belongs, whatever the order of the acknowledgements; and the last
 * delivery of a session that another handler takes over. */
#include <stdio.h>

#include "backend/link.h"
#include "base/log.h"
#include "harness/record.h"
#include "harness/scripted_io.h"

enum {
    MAX_FRAME = 100 << 10,
    WINDOW = 1 << 20,
    N_SLOTS = 8,
    MOST_UNDONE = 4096,
};

struct slot {
    struct link_owner owner;
    char name;
    uint32_t handle; /* 0 = not open */
    uint64_t sequence;
};

static struct rig rig;
static struct scripted peer;
static struct conn *conn;
static struct link *the_link; /* NULL when gone */
static struct record told;
static struct link_opts opts;
static struct slot slots[N_SLOTS];

/* -- the owner of the slots -------------------------------------------------------------------- */

static char name_of(struct link_owner *owner)
{
    return CONTAINER_OF(owner, struct slot, owner)->name;
}

static void on_verb(struct link_owner *owner, const struct link_verb *verb)
{
    record_add(&told, "%c:%s", name_of(owner), link_verb_name(verb->id));
}

static void on_open_acked(struct link_owner *owner)
{
    record_add(&told, "%c:acked", name_of(owner));
}

static void on_left(struct link_owner *owner)
{
    record_add(&told, "%c:left", name_of(owner));
}

static void on_idle(struct link_owner *owner)
{
    record_add(&told, "%c:idle", name_of(owner));
}

static void on_undone(struct link_owner *owner, const struct undone_message *message)
{
    record_add(&told, "%c:%llu%c(%.*s)", name_of(owner), (unsigned long long)message->sequence,
               message->is_text ? 't' : 'b', (int)message->data.len, message->data.ptr);
}

static void on_orphan(struct link_owner *owner)
{
    record_add(&told, "%c:orphan", name_of(owner));
}

static const struct link_slot_ops slot_ops = {
    .on_verb = on_verb,
    .on_open_acked = on_open_acked,
    .on_left = on_left,
    .on_idle = on_idle,
    .on_undone = on_undone,
    .on_orphan = on_orphan,
};

/* As a relay's: the copies are kept elsewhere. */
static const struct link_slot_ops relay_slot_ops = {
    .on_verb = on_verb,
    .on_open_acked = on_open_acked,
    .on_left = on_left,
    .on_orphan = on_orphan,
};

static void ignore(void *ctx, struct link *link)
{
    (void)ctx;
    (void)link;
}

static void on_done(void *ctx, struct link *link, unsigned source, uint32_t tag)
{
    (void)ctx;
    (void)link;
    fail_msg("nothing was tagged: %u %u", source, tag);
}

static void on_gone(void *ctx, struct link *link)
{
    (void)ctx;
    assert_ptr_equal(link, the_link);
    the_link = NULL;
}

static const struct link_ops ops = {
    .on_ready = ignore,
    .on_room = ignore,
    .on_drain = ignore,
    .on_done = on_done,
    .on_gone = on_gone,
};

/* -- rig --------------------------------------------------------------------------------------- */

static void say(const char *text)
{
    scripted_feed(&peer, span_str(text));
    conn_poke(conn);
    rig_turn(&rig);
}

static int set_up(void **state)
{
    (void)state;
    log_set_level(LOG_ERROR);
    told.len = 0;
    rig_start(&rig);
    opts = (struct link_opts){.max_frame_bytes = MAX_FRAME,
                              .window_bytes = WINDOW,
                              .timeout_ms = 15000,
                              .n_workers = 1,
                              .version = "9.9"};
    for (int i = 0; i < N_SLOTS; i++) {
        slots[i] = (struct slot){.owner = {&slot_ops}, .name = (char)('a' + i)};
    }
    conn = scripted_conn(&rig, &peer);
    assert_int_equal(link_create(&rig.kit, conn, &opts, &ops, &told, &the_link), ERR_OK);
    say("HELLO 1 2\n{}\n");
    scripted_forget_written(&peer);
    return 0;
}

/* The handler is killed. */
static void end_link(void)
{
    scripted_feed_eof(&peer);
    while (the_link != NULL) {
        conn_poke(conn);
    }
    rig_turn(&rig);
}

static int tear_down(void **state)
{
    (void)state;
    conn_end_all(rig.loop);
    rig_turn(&rig);
    assert_null(the_link);
    scripted_fini(&peer);
    rig_stop(&rig);
    return 0;
}

static struct slot *slot_of(char name)
{
    return &slots[name - 'a'];
}

static void open_slot(char name)
{
    struct slot *slot = slot_of(name);
    assert_int_equal(link_deliver_open(the_link, &slot->owner, SPAN_LIT("{}"), &slot->handle),
                     ERR_OK);
    slot->sequence = 0;
}

static enum err deliver_span(char name, struct span text)
{
    struct slot *slot = slot_of(name);
    const struct undone_message message = {++slot->sequence, text, true};
    return link_deliver_msg(the_link, slot->handle, &message, false);
}

static void deliver(char name, const char *text)
{
    assert_int_equal(deliver_span(name, span_str(text)), ERR_OK);
}

#define TOLD(want) CHECK_RECORD(&told, want)

static void check_heard(const char *file, int line, const char *want)
{
    rig_turn(&rig);
    struct span got = scripted_written(&peer);
    if (!span_eq(got, span_str(want))) {
        print_error("got  %.*s\nwant %s\n", (int)got.len, got.ptr != NULL ? got.ptr : "", want);
        _fail(file, line);
    }
    scripted_forget_written(&peer);
}

#define HEARD(want) check_heard(__FILE__, __LINE__, want)

/* -- given back -------------------------------------------------------------------------------- */

static void what_is_not_finished_comes_back_in_order(void **state)
{
    (void)state;
    open_slot('a');
    open_slot('b');
    deliver('a', "one"); /* number 3 */
    deliver('b', "two");
    deliver('a', "");
    deliver('b', "four");
    deliver('a', "five");
    say("DONE 1 4-5 0\n\n");
    TOLD("a:acked");
    end_link();
    TOLD("a:1t(one) b:2t(four) a:3t(five) a:orphan b:orphan");
}

static void what_was_finished_does_not(void **state)
{
    (void)state;
    open_slot('a');
    deliver('a', "one");
    deliver('a', "two");
    say("ACK 2 0\n\n");
    scripted_feed(&peer, SPAN_LIT("ACK 3 0\n\nMSG 1 t 1\n"));
    end_link(); /* what was whole counts */
    TOLD("a:acked a:orphan");
}

static void the_kind_and_the_bytes_are_kept(void **state)
{
    (void)state;
    open_slot('a');
    const struct undone_message binary = {UINT64_MAX, SPAN_LIT("\xff\n"), false};
    assert_int_equal(link_deliver_msg(the_link, 1, &binary, true), ERR_OK);
    HEARD("OPEN 1 1 2\n{}\nMSG 2 1 18446744073709551615 b again 2\n\xff\n\n");
    end_link();
    TOLD("a:18446744073709551615b(\xff\n) a:orphan");
}

static void an_ended_session_gets_its_last_words_back(void **state)
{
    (void)state;
    open_slot('a');
    open_slot('b');
    deliver('a', "last");
    deliver('b', "words");
    link_deliver_close(the_link, slot_of('a')->handle, 1001, SPAN_NONE);
    link_deliver_close(the_link, slot_of('b')->handle, 1001, SPAN_NONE);
    assert_int_equal(the_link->n_sessions, 0);
    link_forget_owner(the_link, slot_of('b')->handle);
    end_link();
    TOLD("a:1t(last) a:orphan");
}

/* The close was acknowledged ahead of a message: the slot has another owner since. */
static void nothing_comes_back_to_the_next_owner_of_a_handle(void **state)
{
    (void)state;
    open_slot('a');
    deliver('a', "old"); /* 2 */
    link_deliver_close(the_link, 1, 1001, SPAN_NONE);
    say("DONE 3 0\n\n");
    TOLD("a:left");
    open_slot('b'); /* 4 */
    assert_int_equal(slot_of('b')->handle, 1);
    deliver('b', "new");
    link_watch_idle(the_link, 1);
    say("DONE 4 0\n\nDONE 2 0\n\n");
    TOLD("b:acked");
    assert_false(link_is_idle(the_link, 1));
    deliver('b', "newer");
    say("DONE 1 0\n\n");
    end_link();
    TOLD("b:1t(new) b:2t(newer) b:orphan");
}

static void copies_may_be_kept_elsewhere(void **state)
{
    (void)state;
    slots[0].owner.ops = &relay_slot_ops;
    open_slot('a');
    open_slot('b');
    deliver('a', "far");
    deliver('b', "near");
    assert_true(undone_bytes(&the_link->kept) < 64);
    end_link();
    TOLD("b:1t(near) a:orphan b:orphan");
}

/* -- bounds ------------------------------------------------------------------------------------ */

/* One delivery that is never finished holds on to itself, and not to all that came after it. */
static void an_old_one_does_not_keep_those_behind_it(void **state)
{
    (void)state;
    static char text[1000];
    char done[64];
    memset(text, 'x', sizeof text);
    open_slot('a');
    deliver('a', "old"); /* 2 */
    for (unsigned i = 3; i < 3000; i++) {
        assert_int_equal(deliver_span('a', span_of(text, sizeof text)), ERR_OK);
        (void)snprintf(done, sizeof done, "DONE %u 0\n\n", i);
        say(done);
        scripted_forget_written(&peer);
        assert_true(undone_bytes(&the_link->kept) < 200 << 10);
    }
    end_link();
    TOLD("a:1t(old) a:orphan");
}

static void numbers_do_not_run_away_from_an_old_one(void **state)
{
    (void)state;
    char done[64];
    open_slot('a');
    for (unsigned i = 2; i <= LINK_MAX_SPREAD; i += 1024) {
        while (the_link->next_number < i + 1024 && the_link->next_number <= LINK_MAX_SPREAD) {
            deliver('a', "");
        }
        (void)snprintf(done, sizeof done, "DONE 2-%llu 0\n\n",
                       (unsigned long long)the_link->next_number - 1);
        say(done);
        scripted_forget_written(&peer);
    }
    assert_int_equal(deliver_span('a', SPAN_NONE), ERR_AGAIN);
    say("ACK 1 0\n\n");
    TOLD("a:acked");
    assert_true(the_link->first_unacked == the_link->next_number);
    deliver('a', "goes on");
}

static void a_link_at_rest_holds_no_storage(void **state)
{
    (void)state;
    for (int is_relay = 0; is_relay <= 1; is_relay++) {
        if (is_relay) {
            assert_int_equal(tear_down(state), 0);
            told.len = 0;
            assert_int_equal(set_up(state), 0);
            timer_cancel(&rig.kit.timers, &the_link->timer);
            opts.is_relay = true; /* near enough */
            rig.kit.counters.relays_open++;
        }
        open_slot('a');
        deliver('a', "x"); /* 2 */
        say("ACK 1 0\n\n");
        rig_pass(&rig, 8000);
        scripted_forget_written(&peer);
        assert_true(undone_has_storage(&the_link->kept));
        say("ACK 2 0\n\n");
        assert_true(undone_has_storage(&the_link->kept)); /* it may be wanted at once */
        rig_pass(&rig, is_relay ? 1000 : 8000);
        assert_false(undone_has_storage(&the_link->kept));
        TOLD("a:acked");
    }
}

/* -- idle, and moved --------------------------------------------------------------------------- */

static void a_draining_link_tells_who_has_nothing_in_flight(void **state)
{
    (void)state;
    open_slot('a');
    open_slot('b');
    open_slot('c');
    deliver('b', "x"); /* 4 */
    link_deliver_close(the_link, slot_of('c')->handle, 1000, SPAN_NONE);
    say("ACK 3 0\n\n");
    TOLD("a:acked b:acked c:acked");
    link_tell_idle(the_link); /* says nothing: it does not drain */
    TOLD("");
    say("DRAIN 0\n\n");
    link_tell_idle(the_link);
    TOLD("a:idle");
    say("ACK 4 0\n\n");
    TOLD("b:idle");
    say("ACK 5 0\n\n");
    TOLD("c:left");
}

static void others_tell_it_once_to_who_asks(void **state)
{
    (void)state;
    open_slot('a');
    deliver('a', "x");
    link_watch_idle(the_link, 1);
    say("DONE 2 0\n\n");
    TOLD("");
    say("DONE 1 0\n\n");
    TOLD("a:acked a:idle");
    deliver('a', "y");
    say("ACK 3 0\n\n");
    TOLD("");
}

static void the_old_handler_has_its_say_until_it_lets_go(void **state)
{
    (void)state;
    open_slot('a');
    say("ACK 1 0\n\n");
    link_deliver_moved(the_link, 1);
    HEARD("OPEN 1 1 2\n{}\nMOVED 2 1 0\n\n");
    assert_int_equal(the_link->n_sessions, 0);
    say("BATCH 36\nMSG 1 t 4\nlast\nSTATE 1 1\nx\nACK 2 0\n\n\nMSG 1 t 4\nlate\n");
    TOLD("a:acked a:MSG a:STATE a:left");
    assert_true(rig.kit.counters.stale_verbs == 1);
    open_slot('b');
    assert_int_equal(slot_of('b')->handle, 1);
}

static void or_dies_first(void **state)
{
    (void)state;
    open_slot('a');
    link_deliver_moved(the_link, 1);
    end_link();
    TOLD("a:orphan");
}

/* -- memory ------------------------------------------------------------------------------------ */

static void a_message_without_room_for_its_copy_is_not_sent(void **state)
{
    (void)state;
    open_slot('a');
    HEARD("OPEN 1 1 2\n{}\n");
    the_link->kept.max_bytes = 10; /* as if the heap were empty */
    assert_int_equal(deliver_span('a', SPAN_LIT("x")), ERR_NOMEM);
    HEARD("");
    assert_true(the_link->next_number == 2);
}

/* -- a naive twin ------------------------------------------------------------------------------ */

/* What must come back, kept as simply as can be. */
struct entry {
    uint64_t number;
    uint64_t sequence;
    char name; /* of the slot; '-' once it has left */
    char verb; /* O, M or C */
    bool is_done;
    size_t len;
};

static struct entry entries[MOST_UNDONE];
static size_t n_entries;

static void note(char name, char verb, size_t len)
{
    assert_true(n_entries < MOST_UNDONE);
    entries[n_entries++] = (struct entry){.number = the_link->next_number - 1,
                                          .sequence = slot_of(name)->sequence,
                                          .name = name,
                                          .verb = verb,
                                          .len = len};
}

static void forget_finished(void)
{
    size_t n = 0;
    for (size_t i = 0; i < n_entries; i++) {
        if (!entries[i].is_done) {
            entries[n++] = entries[i];
        }
    }
    n_entries = n;
}

static void twin_finishes(size_t i)
{
    char done[64];
    struct entry *entry = &entries[i];
    if (entry->verb == 'C') { /* what came before belongs to nobody any more */
        slot_of(entry->name)->handle = 0;
        char name = entry->name;
        for (size_t k = 0; k < n_entries; k++) {
            entries[k].name = entries[k].name == name ? '-' : entries[k].name;
        }
    }
    entry->is_done = true;
    (void)snprintf(done, sizeof done, "DONE %llu 0\n\n", (unsigned long long)entry->number);
    say(done);
    forget_finished();
}

static void random_step(struct test_random *random)
{
    static char text[2000];
    struct slot *slot = &slots[test_below(random, N_SLOTS)];
    bool is_closed = false;
    for (size_t i = 0; i < n_entries; i++) {
        is_closed = is_closed || (entries[i].name == slot->name && entries[i].verb == 'C');
    }
    size_t what = test_below(random, 100);
    if (slot->handle == 0) {
        open_slot(slot->name);
        note(slot->name, 'O', 0);
    } else if (what < 2 && !is_closed) {
        link_deliver_close(the_link, slot->handle, 1000, SPAN_NONE);
        note(slot->name, 'C', 0);
    } else if (what < 50 && !is_closed) {
        size_t len = test_below(random, 10) == 0 ? test_below(random, sizeof text) : what;
        memset(text, (int)('A' + slot->sequence % 26), sizeof text);
        if (deliver_span(slot->name, span_of(text, len)) == ERR_OK) {
            note(slot->name, 'M', len);
        } else {
            slot->sequence--;
        }
    } else if (n_entries != 0) {
        twin_finishes(test_below(random, n_entries < 200 ? n_entries : 50));
    }
}

static void random_undone(struct link_owner *owner, const struct undone_message *message)
{
    size_t i = 0;
    while (i < n_entries && (entries[i].verb != 'M' || entries[i].name == '-')) {
        i++;
    }
    assert_true(i < n_entries);
    assert_int_equal(entries[i].name, name_of(owner));
    assert_true(entries[i].sequence == message->sequence);
    assert_int_equal(entries[i].len, message->data.len);
    for (size_t k = 0; k < message->data.len; k++) {
        assert_int_equal(message->data.ptr[k], 'A' + (message->sequence + 25) % 26);
    }
    entries[i].is_done = true;
    forget_finished();
}

static void whatever_the_order_all_of_it_comes_back(void **state)
{
    (void)state;
    static struct link_slot_ops random_ops;
    random_ops = slot_ops;
    random_ops.on_undone = random_undone;
    opts.window_bytes = 400 << 10;
    for (unsigned seed = 1; seed <= 30; seed++) {
        struct test_random random = {seed * 2654435761U};
        n_entries = 0;
        if (seed > 1) {
            assert_int_equal(tear_down(state), 0);
            assert_int_equal(set_up(state), 0);
        }
        for (int i = 0; i < N_SLOTS; i++) {
            slots[i].owner.ops = &random_ops;
        }
        for (unsigned i = 0; i < 40 * seed * seed % 9000; i++) {
            random_step(&random);
            scripted_forget_written(&peer);
            told.len = 0;
        }
        end_link();
        for (size_t i = 0; i < n_entries; i++) {
            assert_true(entries[i].verb != 'M' || entries[i].name == '-');
        }
        told.len = 0;
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_not_finished_comes_back_in_order),
        TEST(what_was_finished_does_not),
        TEST(the_kind_and_the_bytes_are_kept),
        TEST(an_ended_session_gets_its_last_words_back),
        TEST(nothing_comes_back_to_the_next_owner_of_a_handle),
        TEST(copies_may_be_kept_elsewhere),
        TEST(an_old_one_does_not_keep_those_behind_it),
        TEST(numbers_do_not_run_away_from_an_old_one),
        TEST(a_link_at_rest_holds_no_storage),
        TEST(a_draining_link_tells_who_has_nothing_in_flight),
        TEST(others_tell_it_once_to_who_asks),
        TEST(the_old_handler_has_its_say_until_it_lets_go),
        TEST(or_dies_first),
        TEST(a_message_without_room_for_its_copy_is_not_sent),
        TEST(whatever_the_order_all_of_it_comes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

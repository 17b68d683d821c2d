/*
 * peers: both caps to the very connection, what counts as one address, that refusals leave no
 * trace, and many threads at once (also under ThreadSanitizer).
 */
#include <arpa/inet.h>
#include <pthread.h>
#include <stdatomic.h>

#include "harness/test.h"
#include "net/conn.h"
#include "net/peers.h"

static struct peers *peers;

static void open_with(uint64_t max_total, uint32_t max_per_address)
{
    const struct peers_limits limits = {max_total, max_per_address};
    assert_int_equal(peers_create(&limits, &peers), ERR_OK);
}

static int stop(void **state)
{
    (void)state;
    peers_destroy(peers);
    peers = NULL;
    return 0;
}

/* As net/listener makes them: IPv4 is mapped. */
static struct conn_peer peer_of(const char *text)
{
    struct conn_peer peer = {.family = AF_INET6, .port = 1};
    struct in_addr v4;
    if (inet_pton(AF_INET, text, &v4) == 1) {
        peer.family = AF_INET;
        peer.address.s6_addr[10] = 0xff;
        peer.address.s6_addr[11] = 0xff;
        memcpy(peer.address.s6_addr + 12, &v4, sizeof v4);
    } else {
        assert_int_equal(inet_pton(AF_INET6, text, &peer.address), 1);
    }
    return peer;
}

static enum err enter(const char *text)
{
    const struct conn_peer peer = peer_of(text);
    return peers_enter(peers, &peer);
}

static void leave(const char *text)
{
    const struct conn_peer peer = peer_of(text);
    peers_leave(peers, &peer);
}

static void one_address_gets_its_limit_and_no_more(void **state)
{
    (void)state;
    open_with(0, 3);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(enter("192.0.2.1"), ERR_OK);
    }
    for (int i = 0; i < 100; i++) { /* refusals must not add up */
        assert_int_equal(enter("192.0.2.1"), ERR_LIMIT);
    }
    assert_int_equal(peers_total(peers), 3);
    assert_int_equal(enter("192.0.2.2"), ERR_OK);
    leave("192.0.2.1");
    assert_int_equal(enter("192.0.2.1"), ERR_OK);
    assert_int_equal(enter("192.0.2.1"), ERR_LIMIT);
    assert_int_equal(peers_total(peers), 4);
}

static void the_process_gets_its_limit_and_no_more(void **state)
{
    (void)state;
    open_with(2, 2);
    assert_int_equal(enter("192.0.2.1"), ERR_OK);
    assert_int_equal(enter("2001:db8::1"), ERR_OK);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(enter("192.0.2.1"), ERR_BUSY);
    }
    leave("2001:db8::1");
    assert_int_equal(enter("192.0.2.1"), ERR_OK); /* ERR_BUSY was not held against it */
    assert_int_equal(peers_total(peers), 2);
}

static void no_limit_is_none(void **state)
{
    (void)state;
    open_with(0, 0);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(enter("192.0.2.1"), ERR_OK);
    }
    assert_int_equal(peers_total(peers), 1000);
    for (int i = 0; i < 1000; i++) {
        leave("192.0.2.1");
    }
    assert_int_equal(peers_total(peers), 0);
}

struct couple {
    const char *name;
    const char *first, *second;
    enum err want; /* for the second, at a limit of 1 */
};

static void what_is_one_address(void **state)
{
    (void)state;
    static const struct couple cases[] = {
        {"the same", "192.0.2.1", "192.0.2.1", ERR_LIMIT},
        {"neighbours of IPv4", "192.0.2.1", "192.0.2.2", ERR_OK},
        {"first byte of IPv4", "192.0.2.1", "191.0.2.1", ERR_OK},
        {"IPv4 and the IPv6 unspecified /64", "192.0.2.1", "::1", ERR_OK},
        {"one /64", "2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff", ERR_LIMIT},
        {"the next /64", "2001:db8:1:2::1", "2001:db8:1:3::1", ERR_OK},
        {"mapped is IPv4", "192.0.2.1", "::ffff:192.0.2.1", ERR_LIMIT},
    };
    for (size_t i = 0; i < N_OF(cases); i++) {
        open_with(0, 1);
        CHECK_INT(cases[i].name, enter(cases[i].first), ERR_OK);
        CHECK_INT(cases[i].name, enter(cases[i].second), cases[i].want);
        leave(cases[i].first);
        if (cases[i].want == ERR_OK) {
            leave(cases[i].second);
        }
        CHECK_INT(cases[i].name, peers_total(peers), 0);
        CHECK_INT(cases[i].name, enter(cases[i].second), ERR_OK);
        (void)stop(NULL);
    }
}

static void the_port_does_not_matter(void **state)
{
    (void)state;
    open_with(0, 1);
    struct conn_peer peer = peer_of("192.0.2.1");
    assert_int_equal(peers_enter(peers, &peer), ERR_OK);
    peer.port = 4711;
    assert_int_equal(peers_enter(peers, &peer), ERR_LIMIT);
}

static void unix_sockets_count_for_the_total_only(void **state)
{
    (void)state;
    open_with(3, 1);
    const struct conn_peer local = {.family = AF_UNIX};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(peers_enter(peers, &local), ERR_OK);
    }
    assert_int_equal(peers_enter(peers, &local), ERR_BUSY);
    peers_leave(peers, &local);
    assert_int_equal(enter("::"), ERR_OK); /* the address that they do not have is nobody's */
    assert_int_equal(peers_total(peers), 3);
}

/* Each of 20,000 addresses has one place. With two rows about one in forty finds both its counters
 * taken by others; with one row, or two that are the same, it were one in seven. */
static void many_addresses_seldom_stand_in_each_others_way(void **state)
{
    (void)state;
    enum {
        N = 20000
    };
    open_with(0, 1);
    int n_refused = 0;
    for (unsigned i = 0; i < N; i++) {
        struct conn_peer peer = peer_of("2001:db8::1");
        peer.address.s6_addr[6] = (uint8_t)(i >> 8);
        peer.address.s6_addr[7] = (uint8_t)i;
        n_refused += peers_enter(peers, &peer) != ERR_OK;
    }
    assert_in_range(n_refused, 0, N / 10);
    assert_int_equal(peers_total(peers), N - n_refused);
}

/* -- threads ------------------------------------------------------------------------------------
 */

enum {
    N_THREADS = 4,
    N_TRIES = 20000,
    MAX_SHARED = 3, /* fewer than threads, so that there is always someone to refuse */
};

static atomic_int n_inside;
static atomic_int n_over;
static atomic_int n_let_in;

static void *come_and_go(void *ctx)
{
    (void)ctx;
    const struct conn_peer peer = peer_of("192.0.2.1");
    for (int i = 0; i < N_TRIES; i++) {
        if (peers_enter(peers, &peer) == ERR_OK) {
            (void)atomic_fetch_add(&n_let_in, 1);
            if (atomic_fetch_add(&n_inside, 1) >= MAX_SHARED) {
                (void)atomic_fetch_add(&n_over, 1);
            }
            (void)atomic_fetch_sub(&n_inside, 1);
            peers_leave(peers, &peer);
        }
    }
    return NULL;
}

static void crowd(uint64_t max_total, uint32_t max_per_address)
{
    pthread_t threads[N_THREADS];
    open_with(max_total, max_per_address);
    atomic_store(&n_over, 0);
    atomic_store(&n_let_in, 0);
    for (int i = 0; i < N_THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, come_and_go, NULL), 0);
    }
    for (int i = 0; i < N_THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_int_equal(atomic_load(&n_over), 0);
    assert_true(atomic_load(&n_let_in) > 0);
    /* Nothing has drifted: the limit is still met to the connection. */
    assert_int_equal(peers_total(peers), 0);
    for (int i = 0; i < MAX_SHARED; i++) {
        assert_int_equal(enter("192.0.2.1"), ERR_OK);
    }
    assert_int_not_equal(enter("192.0.2.1"), ERR_OK);
}

static void threads_keep_to_the_limit_of_an_address(void **state)
{
    (void)state;
    crowd(0, MAX_SHARED);
}

static void threads_keep_to_the_limit_of_the_process(void **state)
{
    (void)state;
    crowd(MAX_SHARED, 0);
}

#define TEST(name) cmocka_unit_test_teardown(name, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(one_address_gets_its_limit_and_no_more),
        TEST(the_process_gets_its_limit_and_no_more),
        TEST(no_limit_is_none),
        cmocka_unit_test(what_is_one_address),
        TEST(the_port_does_not_matter),
        TEST(unix_sockets_count_for_the_total_only),
        TEST(many_addresses_seldom_stand_in_each_others_way),
        TEST(threads_keep_to_the_limit_of_an_address),
        TEST(threads_keep_to_the_limit_of_the_process),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

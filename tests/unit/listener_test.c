/*
 * listener: what binds and what does not, and why; accepting; and that a process without
 * descriptors neither spins nor stays deaf. Everything on loopback and in a folder of its own.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "harness/scripted_io.h"
#include "harness/test.h"
#include "net/listener.h"

/* -- helpers ------------------------------------------------------------------------------------
 */

static char folder[64];
static char path[96];

static int make_folder(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof folder, "/tmp/postern-listener-XXXXXX");
    if (mkdtemp(folder) == NULL) {
        return -1;
    }
    (void)snprintf(path, sizeof path, "%s/socket", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    (void)unlink(path);
    return rmdir(folder);
}

static uint16_t port_of(int fd)
{
    struct sockaddr_storage storage;
    socklen_t len = sizeof storage;
    assert_int_equal(getsockname(fd, (struct sockaddr *)&storage, &len), 0);
    if (storage.ss_family == AF_INET6) {
        return ntohs(((struct sockaddr_in6 *)&storage)->sin6_port);
    }
    return ntohs(((struct sockaddr_in *)&storage)->sin_port);
}

static bool is_listening(int fd)
{
    int value = 0;
    socklen_t len = sizeof value;
    assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &value, &len), 0);
    return value != 0;
}

static int bound(const char *address)
{
    int fd = -1;
    assert_int_equal(listener_bind_tcp(span_str(address), &fd, 1), ERR_OK);
    assert_true(is_listening(fd));
    assert_true((fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
    assert_true((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
    return fd;
}

static int connect_to_port(uint16_t port)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons(port)};
    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof addr), 0);
    return fd;
}

static struct sockaddr_un unix_address(void)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    memcpy(addr.sun_path, path, strlen(path));
    return addr;
}

/* -- binding ------------------------------------------------------------------------------------
 */

static void addresses_that_are_none(void **state)
{
    (void)state;
    static const struct span cases[] = {
        SPAN_LIT_INIT(""),
        SPAN_LIT_INIT(":"),
        SPAN_LIT_INIT(":80"),
        SPAN_LIT_INIT("127.0.0.1"),
        SPAN_LIT_INIT("127.0.0.1:"),
        SPAN_LIT_INIT("127.0.0.1:x"),
        SPAN_LIT_INIT("127.0.0.1:-1"),
        SPAN_LIT_INIT("127.0.0.1:+80"),
        SPAN_LIT_INIT("127.0.0.1: 80"),
        SPAN_LIT_INIT("127.0.0.1:65536"),
        SPAN_LIT_INIT("127.0.0.1:000080"),
        SPAN_LIT_INIT("127.0.0.256:80"),
        SPAN_LIT_INIT("localhost:80"),
        SPAN_LIT_INIT("[127.0.0.1]:80"),
        SPAN_LIT_INIT("::1:80"),
        SPAN_LIT_INIT("[::1]"),
        SPAN_LIT_INIT("[::1:80"),
        SPAN_LIT_INIT("[]:80"),
        SPAN_LIT_INIT("[::1%lo]:80"),
        SPAN_LIT_INIT("127.0.0.1\0.evil:80"),
        SPAN_LIT_INIT("127.0.0.1.127.0.0.1.127.0.0.1.127.0.0.1.127.0.0.1.127.0.0.1:80"),
    };
    for (size_t i = 0; i < N_OF(cases); i++) {
        int fd = -7;
        errno = 0;
        CHECK_INT(cases[i].ptr, listener_bind_tcp(cases[i], &fd, 1), ERR_CONFIG);
        CHECK_INT(cases[i].ptr, errno, EINVAL);
        CHECK_INT(cases[i].ptr, fd, -7);
    }
}

static void addresses_that_bind(void **state)
{
    (void)state;
    static const char *const cases[] = {"127.0.0.1:0", "127.0.0.1:00000", "0"};
    for (size_t i = 0; i < N_OF(cases); i++) {
        int fd = bound(cases[i]);
        CHECK(cases[i], port_of(fd) != 0);
        assert_int_equal(close(fd), 0);
    }
}

static void the_highest_port_is_an_address(void **state)
{
    (void)state;
    int fd = -1;
    enum err e = listener_bind_tcp(SPAN_LIT("127.0.0.1:65535"), &fd, 1);
    if (e == ERR_OK) {
        assert_int_equal(port_of(fd), 65535);
        assert_int_equal(close(fd), 0);
    } else {
        assert_int_equal(e, ERR_BUSY); /* somebody else's, but an address */
    }
}

static void an_address_that_is_not_ours(void **state)
{
    (void)state;
    int fd = -1;
    assert_int_equal(listener_bind_tcp(SPAN_LIT("192.0.2.1:0"), &fd, 1), ERR_IO);
    assert_int_equal(errno, EADDRNOTAVAIL);
}

static void a_port_in_use(void **state)
{
    (void)state;
    char address[32];
    int first = bound("127.0.0.1:0");
    int second = -1;
    (void)snprintf(address, sizeof address, "127.0.0.1:%u", port_of(first));
    assert_int_equal(listener_bind_tcp(span_str(address), &second, 1), ERR_BUSY);
    assert_int_equal(errno, EADDRINUSE);
    assert_int_equal(close(first), 0);
    first = bound(address); /* at once again */
    assert_int_equal(close(first), 0);
}

/* Takes the connections that wait at a listening socket; returns how many. */
static unsigned accept_all(int fd)
{
    unsigned n = 0;
    for (int client = accept(fd, NULL, NULL); client >= 0; client = accept(fd, NULL, NULL)) {
        assert_int_equal(close(client), 0);
        n++;
    }
    return n;
}

static void a_port_is_shared_by_the_workers_and_by_nobody_else(void **state)
{
    (void)state;
    enum {
        SOCKETS = 4,
        CLIENTS = 128,
    };
    char address[32];
    int fds[SOCKETS];
    int others[SOCKETS];
    int clients[CLIENTS];
    assert_int_equal(listener_bind_tcp(SPAN_LIT("127.0.0.1:0"), fds, SOCKETS), ERR_OK);
    for (unsigned i = 1; i < SOCKETS; i++) {
        assert_int_equal(port_of(fds[i]), port_of(fds[0]));
    }
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(port_of(fds[0])),
                             .sin_addr = {htonl(INADDR_LOOPBACK)}};
    for (unsigned i = 0; i < CLIENTS; i++) {
        clients[i] = socket(AF_INET, SOCK_STREAM, 0);
        assert_int_equal(connect(clients[i], (struct sockaddr *)&to, sizeof to), 0);
    }
    unsigned sum = 0;
    for (unsigned i = 0; i < SOCKETS; i++) {
        unsigned n = accept_all(fds[i]);
        assert_true(n > 0); /* none of 128: once in 10^16 runs */
        sum += n;
    }
    assert_int_equal(sum, CLIENTS);
    /* A second daemon would do as we do. */
    (void)snprintf(address, sizeof address, "127.0.0.1:%u", port_of(fds[0]));
    assert_int_equal(listener_bind_tcp(span_str(address), others, SOCKETS), ERR_BUSY);
    assert_int_equal(errno, EADDRINUSE);
    for (unsigned i = 0; i < CLIENTS; i++) {
        assert_int_equal(close(clients[i]), 0);
    }
    for (unsigned i = 0; i < SOCKETS; i++) {
        assert_int_equal(close(fds[i]), 0);
    }
    assert_int_equal(listener_bind_tcp(span_str(address), fds, SOCKETS), ERR_OK); /* at once */
    for (unsigned i = 0; i < SOCKETS; i++) {
        assert_int_equal(close(fds[i]), 0);
    }
}

/* -- unix sockets -------------------------------------------------------------------------------
 */

static void mode_bits_are_exact_whatever_the_umask(void **state)
{
    (void)state;
    static const unsigned modes[] = {0600, 0660, 0666};
    for (size_t i = 0; i < N_OF(modes); i++) {
        struct stat info;
        int fd = -1;
        mode_t old = umask(i == 0 ? 0 : 0077);
        enum err e = listener_bind_unix(path, modes[i], &fd);
        (void)umask(old);
        assert_int_equal(e, ERR_OK);
        assert_int_equal(stat(path, &info), 0);
        assert_true(S_ISSOCK(info.st_mode));
        assert_int_equal(info.st_mode & 0777, modes[i]);
        assert_true(is_listening(fd));
        assert_int_equal(close(fd), 0);
    }
}

static void a_stale_socket_is_replaced_one_in_use_is_not(void **state)
{
    (void)state;
    int first = -1;
    int second = -1;
    assert_int_equal(listener_bind_unix(path, 0600, &first), ERR_OK);
    assert_int_equal(listener_bind_unix(path, 0600, &second), ERR_BUSY);
    assert_int_equal(errno, EADDRINUSE);
    assert_int_equal(close(first), 0); /* the file stays, nobody listens */
    assert_int_equal(access(path, F_OK), 0);
    assert_int_equal(listener_bind_unix(path, 0600, &second), ERR_OK);
    struct sockaddr_un addr = unix_address();
    int client = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(connect(client, (struct sockaddr *)&addr, sizeof addr), 0);
    assert_int_equal(close(client), 0);
    assert_int_equal(close(second), 0);
}

static void a_full_backlog_is_in_use(void **state)
{
    (void)state;
    struct sockaddr_un addr = unix_address();
    int busy = socket(AF_UNIX, SOCK_STREAM, 0);
    int client = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    int fd = -1;
    assert_int_equal(bind(busy, (struct sockaddr *)&addr, sizeof addr), 0);
    assert_int_equal(listen(busy, 0), 0);
    assert_int_equal(connect(client, (struct sockaddr *)&addr, sizeof addr), 0);
    assert_int_equal(listener_bind_unix(path, 0600, &fd), ERR_BUSY);
    assert_int_equal(access(path, F_OK), 0);
    assert_int_equal(close(client), 0);
    assert_int_equal(close(busy), 0);
}

static void a_regular_file_is_not_replaced(void **state)
{
    (void)state;
    int fd = -1;
    int file = open(path, O_CREAT | O_WRONLY, 0600);
    assert_true(file >= 0);
    assert_int_equal(write(file, "mine", 4), 4);
    assert_int_equal(close(file), 0);
    assert_int_equal(listener_bind_unix(path, 0600, &fd), ERR_CONFIG);
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_size, 4);
}

static void a_link_to_a_socket_is_not_followed(void **state)
{
    (void)state;
    int fd = -1;
    assert_int_equal(symlink("elsewhere", path), 0);
    assert_int_equal(listener_bind_unix(path, 0600, &fd), ERR_CONFIG);
}

static void paths_that_do_not_bind(void **state)
{
    (void)state;
    char long_path[sizeof(((struct sockaddr_un *)0)->sun_path) + 1];
    int fd = -1;
    memset(long_path, 'x', sizeof long_path);
    long_path[sizeof long_path - 1] = '\0'; /* as long as sun_path, no room for its NUL */
    assert_int_equal(listener_bind_unix(long_path, 0600, &fd), ERR_CONFIG);
    assert_int_equal(errno, ENAMETOOLONG);
    assert_int_equal(listener_bind_unix("", 0600, &fd), ERR_CONFIG);
    char nowhere[128];
    (void)snprintf(nowhere, sizeof nowhere, "%s/no/such/folder", folder);
    assert_int_equal(listener_bind_unix(nowhere, 0600, &fd), ERR_IO);
    assert_int_equal(errno, ENOENT);
}

/* -- accepting ----------------------------------------------------------------------------------
 */

enum {
    MAX_CLIENTS = 2 * LISTENER_BATCH
};

static struct rig rig;
static struct listener *listener;
static int accepted[MAX_CLIENTS];
static size_t n_accepted;
static struct conn_peer last_peer;
static uint16_t port;

static void on_accept(void *ctx, int fd, const struct conn_peer *peer)
{
    assert_ptr_equal(ctx, &rig);
    assert_true(n_accepted < MAX_CLIENTS);
    accepted[n_accepted++] = fd;
    last_peer = *peer;
}

static void start_on(int fd)
{
    rig_start_at(&rig, kit_clock_ms());
    n_accepted = 0;
    assert_int_equal(listener_create(rig.loop, fd, on_accept, &rig, &listener), ERR_OK);
}

static int start_tcp(void **state)
{
    (void)state;
    int fd = bound("127.0.0.1:0");
    port = port_of(fd);
    start_on(fd);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    listener_destroy(listener);
    rig_stop(&rig);
    for (size_t i = 0; i < n_accepted; i++) {
        (void)close(accepted[i]);
    }
    return 0;
}

static void a_tcp_connection_is_accepted(void **state)
{
    (void)state;
    int client = connect_to_port(port);
    loop_run_once(rig.loop, true);
    assert_int_equal(n_accepted, 1);
    assert_int_equal(rig.kit.counters.connections_accepted, 1);
    int on = 0;
    socklen_t len = sizeof on;
    assert_int_equal(getsockopt(accepted[0], IPPROTO_TCP, TCP_NODELAY, &on, &len), 0);
    assert_true(on != 0);
    assert_true((fcntl(accepted[0], F_GETFL) & O_NONBLOCK) != 0);
    assert_true((fcntl(accepted[0], F_GETFD) & FD_CLOEXEC) != 0);
    static const unsigned char mapped[16] = {0, 0, 0,    0,    0,   0, 0, 0,
                                             0, 0, 0xff, 0xff, 127, 0, 0, 1};
    assert_int_equal(last_peer.family, AF_INET);
    assert_int_equal(last_peer.port, port_of(client));
    assert_memory_equal(&last_peer.address, mapped, 16);
    assert_int_equal(close(client), 0);
}

static void an_ipv6_connection_is_accepted(void **state)
{
    (void)state;
    int probe = -1;
    if (listener_bind_tcp(SPAN_LIT("[::1]:0"), &probe, 1) == ERR_IO) {
        skip(); /* a machine without IPv6 */
    }
    assert_int_equal(close(probe), 0);
    int fd = bound("[::1]:0");
    struct sockaddr_in6 addr = {
        .sin6_family = AF_INET6, .sin6_port = htons(port_of(fd)), .sin6_addr = in6addr_loopback};
    start_on(fd);
    int client = socket(AF_INET6, SOCK_STREAM, 0);
    assert_int_equal(connect(client, (struct sockaddr *)&addr, sizeof addr), 0);
    loop_run_once(rig.loop, true);
    assert_int_equal(n_accepted, 1);
    assert_int_equal(last_peer.family, AF_INET6);
    assert_int_equal(last_peer.port, port_of(client));
    assert_memory_equal(&last_peer.address, &in6addr_loopback, 16);
    assert_int_equal(close(client), 0);
    assert_int_equal(stop(state), 0);
}

static void a_unix_connection_is_accepted(void **state)
{
    (void)state;
    int fd = -1;
    assert_int_equal(make_folder(state), 0);
    assert_int_equal(listener_bind_unix(path, 0600, &fd), ERR_OK);
    start_on(fd);
    struct sockaddr_un addr = unix_address();
    int client = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(connect(client, (struct sockaddr *)&addr, sizeof addr), 0);
    loop_run_once(rig.loop, true);
    static const struct conn_peer unix_peer = {.family = AF_UNIX};
    assert_int_equal(n_accepted, 1);
    assert_memory_equal(&last_peer, &unix_peer, sizeof unix_peer);
    assert_int_equal(close(client), 0);
    assert_int_equal(stop(state), 0);
    assert_int_equal(remove_folder(state), 0);
}

static void a_storm_is_taken_in_batches(void **state)
{
    (void)state;
    int clients[LISTENER_BATCH + 1];
    for (size_t i = 0; i < N_OF(clients); i++) {
        clients[i] = connect_to_port(port);
    }
    loop_run_once(rig.loop, true);
    assert_int_equal(n_accepted, LISTENER_BATCH);
    loop_run_once(rig.loop, true);
    assert_int_equal(n_accepted, LISTENER_BATCH + 1);
    for (size_t i = 0; i < N_OF(clients); i++) {
        assert_int_equal(close(clients[i]), 0);
    }
}

/* -- out of descriptors -------------------------------------------------------------------------
 */

static void on_look(struct timer *timer)
{
    (void)timer;
}

/* Runs the loop, waiting, until the look is over; returns the turns that took. */
static unsigned turns_in(uint64_t ms)
{
    struct timer look;
    unsigned n = 0;
    timer_init(&look, on_look);
    timer_arm(&rig.kit.timers, &look, kit_clock_ms() + ms);
    while (timer_is_armed(&look)) {
        loop_run_once(rig.loop, true);
        n++;
    }
    return n;
}

static struct rlimit full_limit;

/* No descriptor is free from now on. */
static void exhaust_descriptors(void)
{
    int next = dup(0);
    assert_true(next >= 0);
    assert_int_equal(close(next), 0);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &full_limit), 0);
    struct rlimit none = {.rlim_cur = (rlim_t)next, .rlim_max = full_limit.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    assert_int_equal(dup(0), -1);
}

static void without_descriptors_it_rests_and_recovers(void **state)
{
    (void)state;
    int client = connect_to_port(port);
    exhaust_descriptors();
    log_set_level(LOG_ERROR + 1);
    unsigned n_turns = turns_in(LISTENER_PAUSE_MS * 3 / 2);
    log_set_level(LOG_INFO);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &full_limit), 0);
    assert_int_equal(n_accepted, 0);
    assert_in_range(n_turns, 2, 20);
    while (n_accepted == 0) {
        loop_run_once(rig.loop, true);
    }
    assert_int_equal(close(client), 0);
}

static void destroyed_while_resting(void **state)
{
    (void)state;
    int client = connect_to_port(port);
    exhaust_descriptors();
    log_set_level(LOG_ERROR + 1);
    loop_run_once(rig.loop, true);
    log_set_level(LOG_INFO);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &full_limit), 0);
    assert_true(timers_next_ms(&rig.kit.timers) != TIMERS_NONE);
    assert_int_equal(stop(state), 0); /* with its timer armed */
    assert_true(timers_next_ms(&rig.kit.timers) == TIMERS_NONE);
    assert_int_equal(close(client), 0);
}

/* Any error that stays must not make the loop spin, also one that we do not know. */
static void a_broken_listener_rests(void **state)
{
    (void)state;
    int fd = bound("127.0.0.1:0");
    int copy = dup(fd);
    start_on(fd);
    assert_int_equal(shutdown(copy, SHUT_RDWR), 0); /* EINVAL from now on */
    log_set_level(LOG_ERROR + 1);
    unsigned n_turns = turns_in(30);
    log_set_level(LOG_INFO);
    assert_in_range(n_turns, 1, 20);
    assert_int_equal(close(copy), 0);
    assert_int_equal(stop(state), 0);
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)
#define ON_TCP(test)    cmocka_unit_test_setup_teardown(test, start_tcp, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_that_are_none),
        cmocka_unit_test(addresses_that_bind),
        cmocka_unit_test(the_highest_port_is_an_address),
        cmocka_unit_test(an_address_that_is_not_ours),
        cmocka_unit_test(a_port_in_use),
        cmocka_unit_test(a_port_is_shared_by_the_workers_and_by_nobody_else),
        IN_FOLDER(mode_bits_are_exact_whatever_the_umask),
        IN_FOLDER(a_stale_socket_is_replaced_one_in_use_is_not),
        IN_FOLDER(a_full_backlog_is_in_use),
        IN_FOLDER(a_regular_file_is_not_replaced),
        IN_FOLDER(a_link_to_a_socket_is_not_followed),
        IN_FOLDER(paths_that_do_not_bind),
        ON_TCP(a_tcp_connection_is_accepted),
        cmocka_unit_test(an_ipv6_connection_is_accepted),
        cmocka_unit_test(a_unix_connection_is_accepted),
        ON_TCP(a_storm_is_taken_in_batches),
        ON_TCP(without_descriptors_it_rests_and_recovers),
        cmocka_unit_test_setup(destroyed_while_resting, start_tcp),
        cmocka_unit_test(a_broken_listener_rests),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

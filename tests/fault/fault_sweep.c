/*
 * fault_sweep: lets every allocation and every system call of a whole session fail, one by one.
 *
 *     fault_sweep [--scene NAME] [--kind KIND] [--mode MODE] [--n N]
 *
 * Without --n all points of what is named; POSTERN_FAULT=full: really all of them, else a sample
 * that is the same in every run (POSTERN_FAULT_SEED chooses another). KIND is a call with an error,
 * as the report prints it. MODE:
 *
 *   once      the n-th call fails
 *   always    and all that follow, for some seconds of the virtual clock
 *   for-good  and until the process has ended
 *
 * Whatever fails: nothing crashes, waits for ever or lies to a client; afterwards a fresh client is
 * served, the counters are at their base, and no block and no descriptor is left. What is only a
 * delay (EINTR, EAGAIN, a short write) or has a way around it must cost nobody anything.
 */
#include <dirent.h>
#include <errno.h>
#include <event2/event.h>
#include <openssl/crypto.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "fault/fault.h"
#include "fault/line.h"
#include "fault/scenes.h"
#include "fault/stage.h"

enum {
    SAMPLE = 4,      /* points of one sweep in a short run */
    SAMPLE_TLS = 1,  /* likewise: each run of these makes an OpenSSL library context */
    SAMPLE_SSL = 8,  /* of OpenSSL's many allocations */
    PATIENCE_S = 60, /* real time of one run: no noise takes that long */
    MAX_COMPLAINTS = 20,
    REPEAT_BYTES = 256,
    DEFAULT_SEED = 20260101,
};

enum mode {
    ONCE,
    ALWAYS,
    FOR_GOOD,
    MODES
};

static const char *const mode_names[MODES] = {"once", "always", "for-good"};

/* When a failure may cost nobody anything. */
enum harm {
    HARMS,
    HARMLESS_ONCE, /* it passes */
    HARMLESS,      /* however often */
};

struct kind {
    enum fault_call call;
    int error;
    enum harm harm;
};

/* Errors that the manual pages name, where the gateway may meet them. */
static const struct kind kinds[] = {
    {FAULT_MEMORY, ENOMEM, HARMS},          {FAULT_SSL_MEMORY, ENOMEM, HARMS},
    {FAULT_ACCEPT, EMFILE, HARMLESS_ONCE},  {FAULT_ACCEPT, ENOMEM, HARMLESS_ONCE},
    {FAULT_ACCEPT, ENOBUFS, HARMLESS_ONCE}, {FAULT_ACCEPT, ECONNABORTED, HARMLESS_ONCE},
    {FAULT_ACCEPT, EINTR, HARMLESS_ONCE},   {FAULT_ACCEPT, EAGAIN, HARMLESS_ONCE},
    {FAULT_RECV, ECONNRESET, HARMS},        {FAULT_RECV, ENOMEM, HARMS},
    {FAULT_RECV, EINTR, HARMLESS_ONCE},     {FAULT_RECV, EAGAIN, HARMLESS_ONCE},
    {FAULT_RECV, FAULT_SHORT, HARMLESS},    {FAULT_SEND, EPIPE, HARMS},
    {FAULT_SEND, ECONNRESET, HARMS},        {FAULT_SEND, ENOBUFS, HARMS},
    {FAULT_SEND, EINTR, HARMLESS_ONCE},     {FAULT_SEND, EAGAIN, HARMLESS_ONCE},
    {FAULT_SEND, FAULT_SHORT, HARMLESS},    {FAULT_EPOLL_CTL, ENOMEM, HARMS},
    {FAULT_EPOLL_CTL, ENOSPC, HARMS},       {FAULT_EPOLL_WAIT, EINTR, HARMLESS_ONCE},
    {FAULT_EPOLL_CREATE, EMFILE, HARMS},    {FAULT_EVENTFD, EMFILE, HARMS},
    {FAULT_EVENTFD, ENOMEM, HARMS},         {FAULT_PIPE, EMFILE, HARMS},
    {FAULT_SOCKET, EMFILE, HARMS},          {FAULT_SOCKET, ENOBUFS, HARMS},
    {FAULT_SOCKETPAIR, EMFILE, HARMS},      {FAULT_BIND, ENOMEM, HARMS},
    {FAULT_LISTEN, EADDRINUSE, HARMS},      {FAULT_SHUTDOWN, ENOTCONN, HARMLESS},
    {FAULT_SHUTDOWN, ENOBUFS, HARMLESS},    {FAULT_POLL, ENOMEM, HARMLESS_ONCE},
    {FAULT_POLL, EINTR, HARMLESS_ONCE},     {FAULT_FCNTL, ENOMEM, HARMS},
    {FAULT_SETSOCKOPT, ENOBUFS, HARMLESS},
};

enum {
    N_KINDS = sizeof kinds / sizeof kinds[0]
};

/* One run, and what a person needs to repeat it. */
static struct {
    const struct scene *scene;
    const struct kind *kind; /* NULL: nothing fails */
    enum mode mode;
    unsigned n;
    bool is_first; /* of the scene */
} now;

static struct stage_home home;
static unsigned *counted; /* calls of the last run; shared with a child */
static unsigned n_complaints;
static unsigned n_runs;

/* -- words ------------------------------------------------------------------------------------ */

static const char *kind_name(const struct kind *kind)
{
    static char name[64];
    (void)snprintf(name, sizeof name, "%s:%s", fault_call_name(kind->call),
                   kind->error == FAULT_SHORT ? "short" : strerrorname_np(kind->error));
    return name;
}

/* The line that repeats the present run; made before it, since nothing can be made in a signal
 * handler. */
static char repeat_line[REPEAT_BYTES];

static void note_repeat(void)
{
    int n = snprintf(repeat_line, sizeof repeat_line, "    repeat: fault_sweep --scene %s",
                     now.scene->name);
    if (now.kind != NULL) {
        n +=
            snprintf(repeat_line + n, sizeof repeat_line - (size_t)n, " --kind %s --mode %s --n %u",
                     kind_name(now.kind), mode_names[now.mode], now.n);
    }
    (void)snprintf(repeat_line + n, sizeof repeat_line - (size_t)n, "\n");
}

static void complain(const char *what, const char *more)
{
    n_complaints++;
    (void)printf("not ok - %s: %s\n%s", what, more, repeat_line);
    fault_print_stack();
    (void)fflush(stdout);
}

/* The sanitizer is about to end the process. */
static void on_death(void)
{
    (void)printf("not ok - the sanitizer has found something\n%s", repeat_line);
    fault_print_stack();
}

static void on_signal(int signal_number)
{
    static const char words[] = "not ok - crashed, aborted or hung\n";
    (void)!write(STDOUT_FILENO, words, sizeof words - 1);
    (void)!write(STDOUT_FILENO, repeat_line, strnlen(repeat_line, sizeof repeat_line));
    _exit(128 + signal_number);
}

/* Of the sanitizers' run time, where there is one. */
void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

static void watch_for_death(void)
{
    (void)signal(SIGABRT, on_signal);
    (void)signal(SIGALRM, on_signal);
    (void)signal(SIGPIPE, SIG_IGN);
    if (__sanitizer_set_death_callback != NULL) {
        __sanitizer_set_death_callback(on_death);
    } else {
        (void)signal(SIGSEGV, on_signal);
        (void)signal(SIGBUS, on_signal);
    }
}

/* -- one run ---------------------------------------------------------------------------------- */

static unsigned count_fds(void)
{
    unsigned n = 0;
    DIR *folder = opendir("/proc/self/fd");
    while (folder != NULL && readdir(folder) != NULL) {
        n++;
    }
    if (folder != NULL) {
        (void)closedir(folder);
    }
    return n;
}

struct base {
    unsigned n_fds;
    long n_blocks;
    long n_ssl_blocks;
};

static struct base take_base(void)
{
    OPENSSL_thread_stop(); /* its error queue and random state are of the thread */
    return (struct base){count_fds(), fault_n_blocks(), fault_n_ssl_blocks()};
}

static void compare(const struct base *before)
{
    struct base after = take_base();
    char text[96];
    if (after.n_fds != before->n_fds) {
        (void)snprintf(text, sizeof text, "%u before, %u after", before->n_fds, after.n_fds);
        complain("descriptors", text);
    }
    if (after.n_blocks != before->n_blocks) {
        (void)snprintf(text, sizeof text, "%ld more", after.n_blocks - before->n_blocks);
        complain("blocks of memory are left", text);
    }
    /* What OpenSSL makes at its first use stays: a start is a first use. */
    if (after.n_ssl_blocks != before->n_ssl_blocks && !now.is_first &&
        now.scene->plot != SCENE_START) {
        (void)snprintf(text, sizeof text, "%ld more", after.n_ssl_blocks - before->n_ssl_blocks);
        complain("blocks of OpenSSL are left", text);
    }
}

static void arm(void)
{
    struct fault_plan plan = {.n = 0};
    if (now.kind != NULL) {
        plan = (struct fault_plan){now.kind->call, now.kind->error, now.n, now.mode != ONCE};
    }
    fault_arm(&plan);
}

static void note_counts(void)
{
    for (int i = 0; i < FAULT_CALLS; i++) {
        counted[i] = fault_n_calls((enum fault_call)i);
    }
}

static bool must_be_whole(void)
{
    if (now.kind == NULL) {
        return true;
    }
    return now.mode == ONCE ? now.kind->harm != HARMS : now.kind->harm == HARMLESS;
}

/* Everybody is served again, and when all have gone nothing is left. */
static void check_recovery(struct stage *stage)
{
    const char *wrong = scene_serve_fresh(now.scene, stage);
    if (wrong != NULL) {
        complain("a fresh client was not served", wrong);
    }
    if (!stage_until(stage, stage_is_quiet)) {
        complain("the counters do not come back", "clients have gone, the handler has not");
    }
}

static void check_empty(struct stage *stage)
{
    stage->handler.is_away = true;
    handler_leave(&stage->handler);
    if (!stage_until(stage, stage_is_empty)) {
        complain("the counters do not come back", "everybody has gone");
    }
}

static void finish(struct stage *stage)
{
    if (now.mode != FOR_GOOD || now.kind == NULL) {
        fault_lift();
        if (now.scene->plot != SCENE_STOP) {
            check_recovery(stage);
        }
        scene_clear();
        if (now.scene->plot != SCENE_STOP) {
            check_empty(stage);
        }
    }
    stage_close(stage, true);
    fault_lift();
    scene_clear();
}

static void run_scene(void)
{
    struct base before = take_base();
    struct stage stage;
    bool is_whole = false;
    if (stage_open(&stage, &home, now.scene->door == STAGE_TLS, false) != ERR_OK) {
        complain("the stage", "did not open");
        return;
    }
    arm();
    const char *wrong = scene_play(now.scene, &stage, &is_whole);
    note_counts();
    if (wrong != NULL) {
        complain("a client waits for ever, or heard what nobody said", wrong);
    } else if (!is_whole && must_be_whole()) {
        complain("a client was not served", "though the failure is no reason");
    }
    finish(&stage);
    compare(&before);
}

/* -- starting --------------------------------------------------------------------------------- */

/* libevent ends the process itself in some places of event_base_new: with a word, and before
 * anything has begun. */
static void on_libevent_fatal(int error)
{
    (void)error;
    _exit(EXIT_SUCCESS);
}

static int start_in_child(void)
{
    struct base before = take_base();
    struct stage stage;
    bool is_whole = false;
    event_set_fatal_callback(on_libevent_fatal);
    arm();
    enum err e = stage_open(&stage, &home, now.scene->door == STAGE_TLS, true);
    note_counts();
    if (e == ERR_OK) {
        fault_lift(); /* what failed was got around, so all must be well */
        const char *wrong = scene_play(now.scene, &stage, &is_whole);
        if (!is_whole) {
            complain("started, but does not serve", wrong != NULL ? wrong : "a client was ended");
        }
        finish(&stage);
    } else if (!fault_has_struck()) {
        complain("did not start", err_text(e));
    }
    scene_clear();
    fault_lift();
    compare(&before);
    return n_complaints != 0;
}

/* A start happens once in a process: OpenSSL and libevent keep what they have begun. */
static void run_start(void)
{
    (void)fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        int code = start_in_child();
        (void)fflush(stdout);
        _exit(code);
    }
    int status = 0;
    (void)waitpid(child, &status, 0);
    n_complaints += status != 0;
}

static void run(void)
{
    (void)alarm(PATIENCE_S);
    note_repeat();
    n_runs++;
    if (now.scene->plot == SCENE_START) {
        run_start();
    } else {
        run_scene();
    }
    (void)alarm(0);
}

/* -- sweeping --------------------------------------------------------------------------------- */

/* How often each call is made while nothing fails. */
static unsigned totals[FAULT_CALLS];

static bool is_full;
static uint64_t seed = DEFAULT_SEED;

static uint64_t draw(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

/* All points of a sweep, or one from each of equal parts. */
static void sweep(const struct kind *kind, enum mode mode)
{
    unsigned total = totals[kind->call];
    unsigned sample = now.scene->door == STAGE_TLS ? SAMPLE_TLS : SAMPLE;
    sample = kind->call == FAULT_SSL_MEMORY ? SAMPLE_SSL : sample;
    unsigned step = is_full || total <= sample ? 1 : total / sample;
    now.kind = kind;
    now.mode = mode;
    for (unsigned from = 1; from <= total && n_complaints < MAX_COMPLAINTS; from += step) {
        now.n = from + (unsigned)(draw() % step);
        run();
    }
}

static bool is_worth(const struct scene *scene, const struct kind *kind, enum mode mode)
{
    return mode != FOR_GOOD || (kind->harm == HARMS && scene->plot != SCENE_START);
}

struct choice {
    const char *scene;
    const char *kind;
    const char *mode;
    unsigned n;
};

static bool is_chosen(const char *choice, const char *name)
{
    return choice == NULL || strcmp(choice, name) == 0;
}

static void sweep_scene(const struct scene *scene, const struct choice *choice)
{
    now.scene = scene;
    now.kind = NULL;
    now.is_first = true;
    run();
    now.is_first = false;
    run();
    memcpy(totals, counted, sizeof totals);
    unsigned points = 0;
    unsigned before = n_runs;
    for (size_t i = 0; i < N_KINDS && n_complaints < MAX_COMPLAINTS; i++) {
        if (!is_chosen(choice->kind, kind_name(&kinds[i]))) {
            continue;
        }
        points += totals[kinds[i].call];
        for (int mode = 0; mode < MODES; mode++) {
            if (!is_chosen(choice->mode, mode_names[mode]) ||
                !is_worth(scene, &kinds[i], (enum mode)mode)) {
                continue;
            }
            if (choice->n == 0) {
                sweep(&kinds[i], (enum mode)mode);
            } else {
                now.kind = &kinds[i];
                now.mode = (enum mode)mode;
                now.n = choice->n;
                run();
            }
        }
    }
    (void)printf("# %s: %u points (memory %u, ssl %u), %u runs\n", scene->name, points,
                 totals[FAULT_MEMORY], totals[FAULT_SSL_MEMORY], n_runs - before);
    (void)fflush(stdout);
}

static int usage(void)
{
    (void)fputs(
        "usage: fault_sweep [--scene NAME] [--kind CALL:ERROR] [--mode once|always|for-good]"
        " [--n N]\n",
        stderr);
    return 2;
}

static bool read_choice(int argc, char **argv, struct choice *choice)
{
    for (int i = 1; i < argc; i += 2) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (value == NULL) {
            return false;
        }
        if (strcmp(argv[i], "--scene") == 0) {
            choice->scene = value;
        } else if (strcmp(argv[i], "--kind") == 0) {
            choice->kind = value;
        } else if (strcmp(argv[i], "--mode") == 0) {
            choice->mode = value;
        } else if (strcmp(argv[i], "--n") == 0) {
            choice->n = (unsigned)strtoul(value, NULL, 10);
        } else {
            return false;
        }
    }
    return true;
}

static void read_environment(void)
{
    const char *form = getenv("POSTERN_FAULT");
    const char *number = getenv("POSTERN_FAULT_SEED");
    is_full = form != NULL && strcmp(form, "full") == 0;
    if (number != NULL && strtoull(number, NULL, 10) != 0) {
        seed = strtoull(number, NULL, 10);
    }
}

int main(int argc, char **argv)
{
    struct choice choice = {0};
    if (!read_choice(argc, argv, &choice)) {
        return usage();
    }
    read_environment();
    fault_init();
    log_set_fd(-1);
    counted = mmap(NULL, FAULT_CALLS * sizeof *counted, PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (counted == MAP_FAILED || !stage_home_create(&home) || !line_init()) {
        perror("fault_sweep");
        return 2;
    }
    watch_for_death();
    for (const struct scene *scene = scenes; scene->name != NULL; scene++) {
        if (is_chosen(choice.scene, scene->name)) {
            sweep_scene(scene, &choice);
        }
    }
    line_fini_all();
    stage_home_destroy(&home);
    (void)printf("%u runs, %u complaints\n", n_runs, n_complaints);
    return n_runs == 0 || n_complaints != 0;
}

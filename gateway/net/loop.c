/* loop: see loop.h. */
#include "net/loop.h"

#include <event2/event.h>

#include "base/mem.h"

struct loop {
    struct kit *kit;
    struct event_base *base;
    struct event *wake; /* the one libevent timer: the next deadline of kit->timers */
    uint64_t wake_ms;   /* what it is armed for, TIMERS_NONE = not armed */
    struct conn_list conns;
    bool is_stopping;
    bool is_clock_old; /* kit->now_ms is of the turn before */
    char scratch[LOOP_LOOKAHEAD_BYTES + LOOP_READ_BYTES];
};

static void on_wake(evutil_socket_t fd, short what, void *ctx)
{
    (void)fd;
    (void)what;
    struct loop *loop = ctx;
    loop->wake_ms = TIMERS_NONE; /* the timers are run after every dispatch anyway */
}

enum err loop_create(struct kit *kit, struct loop **out)
{
    struct loop *loop = MEM_NEW(struct loop);
    if (loop == NULL) {
        return ERR_NOMEM;
    }
    loop->kit = kit;
    loop->wake_ms = TIMERS_NONE;
    enum err e = ERR_NOMEM;
    struct event_config *config = event_config_new();
    if (config == NULL) {
        goto fail;
    }
    /* EV_CLOSED must work while reading is paused: a vanished peer is noticed at once. EV_ET is
     * what epoll alone has: without it libevent would go on with poll(2) when the kernel gives no
     * epoll, and paused connections would spin. */
    if (event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK) != 0 ||
        event_config_require_features(config, EV_FEATURE_EARLY_CLOSE | EV_FEATURE_ET) != 0) {
        goto fail;
    }
    e = ERR_IO;
    loop->base = event_base_new_with_config(config);
    if (loop->base == NULL) {
        goto fail;
    }
    loop->wake = evtimer_new(loop->base, on_wake, loop);
    /* Armed once for nothing: libevent keeps the memory that it takes for this, so that no deadline
     * can be missed later for want of it. */
    const struct timeval some = {.tv_sec = 1};
    if (loop->wake == NULL || evtimer_add(loop->wake, &some) != 0 || evtimer_del(loop->wake) != 0) {
        goto fail;
    }
    event_config_free(config);
    *out = loop;
    return ERR_OK;
fail:
    if (config != NULL) {
        event_config_free(config);
    }
    loop_destroy(loop);
    return e;
}

void loop_destroy(struct loop *loop)
{
    while (loop->base != NULL && !turn_is_idle(&loop->kit->turn)) {
        turn_end(&loop->kit->turn);
    }
    if (loop->wake != NULL) {
        event_free(loop->wake);
    }
    if (loop->base != NULL) {
        event_base_free(loop->base);
    }
    mem_free(loop);
}

static void arm_wake(struct loop *loop)
{
    uint64_t next_ms = timers_next_ms(&loop->kit->timers);
    /* A wake-up that comes too early costs one empty turn; re-arming at each change costs more. */
    if (next_ms >= loop->wake_ms) {
        return;
    }
    uint64_t now_ms = kit_clock_ms();
    uint64_t wait_ms = next_ms > now_ms ? next_ms - now_ms : 0;
    struct timeval wait = {.tv_sec = (time_t)(wait_ms / 1000),
                           .tv_usec = (suseconds_t)(wait_ms % 1000 * 1000)};
    if (evtimer_add(loop->wake, &wait) == 0) {
        loop->wake_ms = next_ms;
    }
}

void loop_run_once(struct loop *loop, bool may_wait)
{
    struct kit *kit = loop->kit;
    arm_wake(loop);
    bool has_rest = !turn_is_idle(&kit->turn);
    loop->is_clock_old = true;
    int flags = EVLOOP_ONCE | (may_wait && !has_rest ? 0 : EVLOOP_NONBLOCK);
    (void)event_base_loop(loop->base, flags);
    kit->now_ms = kit_clock_ms();
    loop->is_clock_old = false;
    timers_run(&kit->timers, kit->now_ms);
    turn_end(&kit->turn);
}

void loop_run(struct loop *loop)
{
    loop->is_stopping = false;
    while (!loop->is_stopping) {
        loop_run_once(loop, true);
    }
}

void loop_stop(struct loop *loop)
{
    loop->is_stopping = true;
}

void loop_touch_clock(struct loop *loop)
{
    if (loop->is_clock_old) {
        loop->kit->now_ms = kit_clock_ms();
        loop->is_clock_old = false;
    }
}

struct conn_list *loop_conns(struct loop *loop)
{
    return &loop->conns;
}

struct kit *loop_kit(struct loop *loop)
{
    return loop->kit;
}

struct event_base *loop_base(struct loop *loop)
{
    return loop->base;
}

char *loop_scratch(struct loop *loop)
{
    return loop->scratch;
}

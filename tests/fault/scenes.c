/* scenes: see scenes.h. */
#include "fault/scenes.h"

#include <stdio.h>
#include <string.h>

#include "fault/fault.h"
#include "server/worker.h"

enum {
    BIG_BYTES = 40000, /* more than a link takes in one read */
    KICKED = 4000,
    RESTARTED = 1012,
    STOP_DRAIN_MS = 3000,
    RESTART_MS = 1,
    AWAY_MS = 1000,
    DESERT_STEPS = 6,
};

const struct scene scenes[] = {
    {"raw", USER_RAW, STAGE_UNIX, SCENE_WHOLE},
    {"deflate", USER_DEFLATE, STAGE_UNIX, SCENE_WHOLE},
    {"websocket", USER_WS, STAGE_UNIX, SCENE_WHOLE},
    {"xhr_streaming", USER_STREAM, STAGE_UNIX, SCENE_WHOLE},
    {"xhr", USER_POLL, STAGE_UNIX, SCENE_WHOLE},
    {"jsonp", USER_JSONP, STAGE_UNIX, SCENE_WHOLE},
    {"raw-tls", USER_RAW, STAGE_TLS, SCENE_WHOLE},
    {"websocket-tls", USER_WS, STAGE_TLS, SCENE_WHOLE},
    {"xhr_streaming-tls", USER_STREAM, STAGE_TLS, SCENE_WHOLE},
    {"xhr-tls", USER_POLL, STAGE_TLS, SCENE_WHOLE},
    {"tcp", USER_WS, STAGE_TCP, SCENE_SHORT},
    {"stop", USER_WS, STAGE_UNIX, SCENE_STOP},
    {"stop-xhr", USER_POLL, STAGE_UNIX, SCENE_STOP},
    {"start", USER_WS, STAGE_UNIX, SCENE_START},
    {"start-tls", USER_RAW, STAGE_TLS, SCENE_START},
    {NULL, USER_RAW, STAGE_UNIX, SCENE_WHOLE},
};

static const char *base_of(const struct scene *scene)
{
    return scene->transport == USER_DEFLATE ? "/z" : "/s";
}

/* Large, and one at a time on the stage for most of it. */
static struct user guest;
static struct user visitor;
static char big[BIG_BYTES + 1];

static void echo(struct user *user, const char *text)
{
    user_say(user, &text, 1);
    user_hear(user, span_str(text));
}

static void echo_two(struct user *user)
{
    static const char *const two[] = {"second", "third"};
    user_say(user, two, 2);
    user_hear(user, span_str(two[0]));
    user_hear(user, span_str(two[1]));
}

static void hear_flood(struct user *user)
{
    static const char *const ask = "flood";
    char text[HANDLER_FLOOD_BYTES];
    user_say(user, &ask, 1);
    for (unsigned i = 0; i < HANDLER_FLOOD_MESSAGES; i++) {
        memset(text, 'a' + (int)i, sizeof text);
        user_hear(user, span_of(text, sizeof text));
    }
}

/* The handler leaves, with all that it has not finished, and comes back after `ms`: the session is
 * to go on with the new link. */
static void send_handler_away(struct stage *stage, unsigned ms)
{
    handler_leave(&stage->handler);
    stage->handler.is_away = true;
    while (!stage_has_no_link(stage) && stage_step(stage)) {
    }
    stage->handler.is_away = false;
    stage->handler.retry_ms = fault_now_ms() + ms;
}

/* The handler goes when it has read this, and before its answer has left. */
static void lose_handler_over(struct stage *stage, struct user *user, const char *text)
{
    unsigned n_before = stage->handler.n_messages;
    stage->handler.is_mute = true;
    user_say(user, &text, 1);
    for (int i = 0; i < DESERT_STEPS && stage->handler.n_messages == n_before; i++) {
        (void)stage_step(stage); /* what has hurt the user shows behind it */
    }
    stage->handler.is_mute = false;
    send_handler_away(stage, RESTART_MS);
    user_hear(user, span_str(text));
}

/* Says more than may wait while the handler is away: its input rests. */
static void say_into_the_void(struct stage *stage, struct user *user)
{
    static const char *const two[] = {big, big};
    send_handler_away(stage, AWAY_MS);
    user_say(user, two, 2);
}

static void hear_from_the_void(struct user *user)
{
    static const char *const last = "last";
    user_say(user, &last, 1); /* a POST is held until there is room */
    user_hear(user, span_str(big));
    user_hear(user, span_str(big));
    user_hear(user, span_str(last));
}

static void play_guest(const struct scene *scene, struct stage *stage)
{
    static const char *const kick = "kick";
    user_open(&guest, stage, scene->transport, scene->door, base_of(scene));
    echo(&guest, "first \\\"one\\\"");
    echo_two(&guest);
    send_handler_away(stage, RESTART_MS);
    memset(big, 'x', BIG_BYTES);
    echo(&guest, big);
    lose_handler_over(stage, &guest, "not lost");
    say_into_the_void(stage, &guest);
    hear_from_the_void(&guest);
    user_say_split(&guest, "half and half");
    user_hear(&guest, SPAN_LIT("half and half"));
    hear_flood(&guest);
    user_say(&guest, &kick, 1);
    user_hear_close(&guest, KICKED);
}

/* Goes while nobody reads what it has said. */
static void play_deserter(const struct scene *scene, struct stage *stage)
{
    user_open(&visitor, stage, scene->transport, scene->door, base_of(scene));
    say_into_the_void(stage, &visitor);
    for (int i = 0; i < DESERT_STEPS; i++) {
        (void)stage_step(stage);
        if (i == DESERT_STEPS / 2) {
            user_hang_up(&visitor);
        }
    }
}

/* Lets the handler decide; leaves by itself. */
static void play_visitor(const struct scene *scene, struct stage *stage)
{
    user_open(&visitor, stage, scene->transport, scene->door, "/wait");
    echo(&visitor, "hello");
    user_leave(&visitor);
}

static const char *judge(const struct user *user, bool *is_whole)
{
    *is_whole = *is_whole && user->fate == USER_CLOSED;
    if (user->fate == USER_STUCK || user->fate == USER_WRONG) {
        return user->note;
    }
    return NULL;
}

static const char *play_stop(const struct scene *scene, struct stage *stage, bool *is_whole)
{
    user_open(&guest, stage, scene->transport, scene->door, base_of(scene));
    echo(&guest, "first");
    fault_enter();
    worker_stop(stage->worker, STOP_DRAIN_MS);
    fault_leave();
    user_hear_close(&guest, RESTARTED);
    return judge(&guest, is_whole);
}

const char *scene_play(const struct scene *scene, struct stage *stage, bool *is_whole)
{
    *is_whole = true;
    if (scene->plot == SCENE_STOP) {
        return play_stop(scene, stage, is_whole);
    }
    const char *wrong = NULL;
    if (scene->plot != SCENE_SHORT) {
        play_guest(scene, stage);
        wrong = judge(&guest, is_whole);
        user_hang_up(&guest);
    }
    if (wrong == NULL) {
        play_visitor(scene, stage);
        wrong = judge(&visitor, is_whole);
    }
    if (wrong == NULL && scene->plot != SCENE_SHORT) {
        play_deserter(scene, stage);
    }
    return wrong;
}

const char *scene_serve_fresh(const struct scene *scene, struct stage *stage)
{
    user_hang_up(&guest);
    user_hang_up(&visitor);
    user_open(&guest, stage, scene->transport, scene->door, base_of(scene));
    echo(&guest, "fresh");
    user_leave(&guest);
    return guest.fate == USER_CLOSED ? NULL : guest.note;
}

void scene_clear(void)
{
    user_hang_up(&guest);
    user_hang_up(&visitor);
}

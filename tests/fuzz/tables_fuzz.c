/*
 * tables: the containers that everything lies in, against twins too simple to be wrong: hmap (an
 * array of flags), timers (an array of deadlines), sendq (an array of lengths). The input is a row
 * of operations; the first byte says on which.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hmap.h"
#include "base/timers.h"
#include "core/sendq.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    N_KEYS = 256,
    N_TIMERS = 16,
    MAX_MESSAGES = 512,
    HARD_BYTES = 4096,
};

struct script {
    const uint8_t *bytes;
    size_t left;
};

static unsigned take(struct script *s)
{
    if (s->left == 0) {
        return 0;
    }
    s->left--;
    return *s->bytes++;
}

static void must(bool holds, const char *what)
{
    if (!holds) {
        (void)fprintf(stderr, "not so: %s\n", what);
        abort();
    }
}

/* -- hmap ------------------------------------------------------------------------------------- */

struct entry {
    struct hnode node;
    char key[4];
    bool is_in;
    bool was_visited;
};

static struct entry entries[N_KEYS];

static struct span key_of(const struct hnode *node)
{
    const struct entry *e = (const struct entry *)(const void *)node; /* its first member */
    return span_of(e->key, 1 + (size_t)(uint8_t)e->key[0] % 4);
}

static void visit(struct hnode *node, void *ctx)
{
    struct entry *e = CONTAINER_OF(node, struct entry, node);
    must(e->is_in && !e->was_visited, "each node is visited once");
    e->was_visited = true;
    if ((uint8_t)e->key[0] % 3 == 0) {
        hmap_remove(ctx, node);
        e->is_in = false;
    }
}

static void visit_all(struct hmap *map)
{
    for (int i = 0; i < N_KEYS; i++) {
        entries[i].was_visited = false;
    }
    hmap_each(map, visit, map);
    for (int i = 0; i < N_KEYS; i++) {
        must(!entries[i].is_in || entries[i].was_visited, "every node is visited");
    }
}

static void play_hmap(struct script *s)
{
    struct hmap map;
    size_t n_in = 0;
    hmap_init(&map, (struct hash_key){take(s), 7}, key_of);
    for (int i = 0; i < N_KEYS; i++) {
        entries[i] = (struct entry){.key = {(char)i, 'k', 'e', 'y'}};
    }
    while (s->left != 0) {
        unsigned what = take(s) % 8;
        struct entry *e = &entries[take(s)];
        if (what == 7) {
            visit_all(&map);
        } else if (what >= 4 && e->is_in) {
            hmap_remove(&map, &e->node);
            e->is_in = false;
        } else if (what < 4 && !e->is_in) {
            must(hmap_insert(&map, &e->node, key_of(&e->node)) == ERR_OK, "there is memory");
            e->is_in = true;
        }
        struct hnode *found = hmap_find(&map, key_of(&e->node));
        must(found == (e->is_in ? &e->node : NULL), "what is in is found, and nothing else");
    }
    for (int i = 0; i < N_KEYS; i++) {
        n_in += entries[i].is_in;
        must((hmap_find(&map, key_of(&entries[i].node)) != NULL) == entries[i].is_in,
             "what is in is found at the end");
    }
    must(map.n_nodes == n_in, "nodes are counted");
    hmap_fini(&map);
}

/* -- timers ----------------------------------------------------------------------------------- */

struct alarm {
    struct timer timer;
    bool is_armed;
    bool is_new;      /* armed by a callback of the present run: fires in a later one */
    uint64_t due_ms;  /* the deadline, or the clock when it was armed with a past one */
    uint8_t then;     /* what its callback does */
    uint8_t other;    /* to which alarm */
    uint32_t then_ms; /* with which delay */
};

static struct {
    struct timers wheel;
    struct alarm alarms[N_TIMERS];
    uint64_t last_ms; /* due time of what fired last in this run */
    bool is_running;
} clock_;

static void arm(struct alarm *a, uint64_t deadline_ms)
{
    uint64_t now_ms = clock_.wheel.now_ms;
    timer_arm(&clock_.wheel, &a->timer, deadline_ms);
    a->is_armed = deadline_ms != TIMERS_NONE;
    a->due_ms = deadline_ms > now_ms ? deadline_ms : now_ms;
    a->is_new = clock_.is_running;
    must(timer_is_armed(&a->timer) == a->is_armed, "what is armed says so");
}

static void cancel(struct alarm *a)
{
    timer_cancel(&clock_.wheel, &a->timer);
    a->is_armed = false;
    must(!timer_is_armed(&a->timer), "what is cancelled says so");
}

static void on_expire(struct timer *timer)
{
    struct alarm *a = CONTAINER_OF(timer, struct alarm, timer);
    must(clock_.is_running && a->is_armed && !a->is_new, "only what was armed before fires");
    must(a->due_ms <= clock_.wheel.now_ms, "nothing fires early");
    must(a->due_ms >= clock_.last_ms, "alarms fire in order");
    must(!timer_is_armed(timer), "what fires is not armed any more");
    clock_.last_ms = a->due_ms;
    a->is_armed = false;
    struct alarm *other = &clock_.alarms[a->other % N_TIMERS];
    if (a->then % 4 == 1) {
        arm(other, clock_.wheel.now_ms + a->then_ms);
    } else if (a->then % 4 == 2) {
        cancel(other);
    } else if (a->then % 4 == 3) {
        arm(other, a->then_ms); /* in the past, most likely */
    }
}

static void run_timers(uint64_t now_ms)
{
    uint64_t first_ms = TIMERS_NONE;
    for (int i = 0; i < N_TIMERS; i++) {
        struct alarm *a = &clock_.alarms[i];
        a->is_new = false;
        first_ms = a->is_armed && a->due_ms < first_ms ? a->due_ms : first_ms;
    }
    uint64_t next_ms = timers_next_ms(&clock_.wheel);
    must((next_ms == TIMERS_NONE) == (first_ms == TIMERS_NONE), "next is none without timers");
    must(next_ms <= first_ms, "next is never too late");
    clock_.last_ms = 0;
    clock_.is_running = true;
    timers_run(&clock_.wheel, now_ms);
    clock_.is_running = false;
    for (int i = 0; i < N_TIMERS; i++) {
        const struct alarm *a = &clock_.alarms[i];
        must(!a->is_armed || a->is_new || a->due_ms > clock_.wheel.now_ms, "all that is due fires");
    }
}

/* Up to 2^40 ms, most of them small. */
static uint64_t take_span_ms(struct script *s)
{
    unsigned shift = take(s) % 40;
    return ((uint64_t)take(s) << shift) >> 7;
}

static void play_timers(struct script *s)
{
    timers_init(&clock_.wheel, take_span_ms(s));
    for (int i = 0; i < N_TIMERS; i++) {
        clock_.alarms[i] = (struct alarm){.is_armed = false};
        timer_init(&clock_.alarms[i].timer, on_expire);
    }
    while (s->left != 0) {
        unsigned what = take(s);
        struct alarm *a = &clock_.alarms[what >> 4];
        switch (what & 7) {
        case 0:
            cancel(a);
            break;
        case 1:
            arm(a, take_span_ms(s));
            break;
        case 2:
            a->then = (uint8_t)take(s);
            a->other = (uint8_t)take(s);
            a->then_ms = (uint32_t)take_span_ms(s);
            break;
        case 3:
            run_timers(timers_next_ms(&clock_.wheel));
            break;
        case 4:
        case 5:
            run_timers(clock_.wheel.now_ms + take_span_ms(s));
            break;
        default:
            arm(a, clock_.wheel.now_ms + take_span_ms(s));
            break;
        }
    }
}

/* -- sendq ------------------------------------------------------------------------------------ */

struct twin {
    uint16_t lens[MAX_MESSAGES];
    uint8_t fills[MAX_MESSAGES];
    size_t n;
    size_t bytes;
};

static void push(struct sendq *queue, struct twin *twin, size_t len, unsigned fill)
{
    char bytes[1024];
    memset(bytes, (int)fill, sizeof bytes);
    const struct message message = {span_of(bytes, len), fill & 1};
    enum err e = sendq_push(queue, &message);
    bool fits = twin->bytes + len + SENDQ_RECORD_BYTES <= HARD_BYTES;
    must(e == (fits ? ERR_OK : ERR_LIMIT), "the bound is kept to the byte");
    if (fits) {
        twin->lens[twin->n] = (uint16_t)len;
        twin->fills[twin->n++] = (uint8_t)fill;
        twin->bytes += len + SENDQ_RECORD_BYTES;
    }
}

static void drop(struct sendq *queue, struct twin *twin, size_t n)
{
    n = n < twin->n ? n : twin->n;
    sendq_drop(queue, n);
    for (size_t i = 0; i < n; i++) {
        twin->bytes -= twin->lens[i] + SENDQ_RECORD_BYTES;
    }
    twin->n -= n;
    memmove(twin->lens, twin->lens + n, twin->n * sizeof *twin->lens);
    memmove(twin->fills, twin->fills + n, twin->n);
}

static void look(const struct sendq *queue, const struct twin *twin, size_t max)
{
    struct message out[MAX_MESSAGES];
    size_t n = sendq_peek(queue, out, max);
    must(n == (twin->n < max ? twin->n : max), "as many as there are");
    for (size_t i = 0; i < n; i++) {
        must(out[i].data.len == twin->lens[i], "lengths are kept");
        must(out[i].is_text == (twin->fills[i] & 1), "kinds are kept");
        must(out[i].data.len == 0 ||
                 ((uint8_t)out[i].data.ptr[0] == twin->fills[i] &&
                  (uint8_t)out[i].data.ptr[out[i].data.len - 1] == twin->fills[i]),
             "bytes are kept");
    }
    must(queue->n_messages == twin->n && sendq_bytes(queue) == twin->bytes, "all is counted");
}

static void play_sendq(struct script *s)
{
    static struct twin twin;
    struct sendq queue;
    sendq_init(&queue, HARD_BYTES);
    memset(&twin, 0, sizeof twin);
    while (s->left != 0) {
        unsigned what = take(s);
        if ((what & 3) == 0) {
            drop(&queue, &twin, what >> 2);
        } else {
            push(&queue, &twin, (what & 3) == 1 ? what >> 2 : (size_t)take(s) * 4, what >> 2);
        }
        look(&queue, &twin, what & 4 ? 1 : MAX_MESSAGES);
    }
    sendq_fini(&queue);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct script s = {data, size};
    switch (take(&s) % 3) {
    case 0:
        play_hmap(&s);
        break;
    case 1:
        play_timers(&s);
        break;
    default:
        play_sendq(&s);
        break;
    }
    return 0;
}

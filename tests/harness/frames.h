/*
 * frames: what the gateway wrote on a handler's link, as words of a record:
 * "OPEN 1 1 {new+headers} MSG 2 1 1 t {hi}". WELCOME is left out; long payloads show 3 bytes; a
 * STATE in OPEN is shown as it is there, in base64.
 */
#ifndef POSTERN_HARNESS_FRAMES_H
#define POSTERN_HARNESS_FRAMES_H

#include "harness/record.h"
#include "wire/link_frame.h"

static inline void record_open(struct record *record, struct span json)
{
    static const char key[] = ",\"state\":\"";
    bool is_resumed = memmem(json.ptr, json.len, ",\"resumed\":true", 15) != NULL;
    bool has_headers = memmem(json.ptr, json.len, ",\"headers\":{", 12) != NULL;
    const char *state = memmem(json.ptr, json.len, key, sizeof key - 1);
    size_t at = state != NULL ? (size_t)(state - json.ptr) + sizeof key - 1 : json.len;
    struct span rest = span_skip(json, at);
    record_add(record, "{%s%s%s%.*s}", is_resumed ? "resumed" : "new",
               has_headers ? "+headers" : "", state != NULL ? "+" : "", (int)span_find(rest, '"'),
               rest.ptr != NULL ? rest.ptr : "");
}

/* `bytes` must be whole frames. */
static inline void record_frames(struct record *record, struct span bytes)
{
    while (bytes.len != 0) {
        struct link_verb verb;
        struct fault fault = {0};
        size_t used = 0;
        size_t needed = 0;
        assert_int_equal(link_frame_parse(bytes, 1 << 20, &verb, &used, &needed, &fault), ERR_OK);
        bytes = span_skip(bytes, used);
        if (verb.id == LINK_WELCOME) {
            continue;
        }
        record_add(record, "%s", link_verb_name(verb.id));
        for (unsigned k = 0; k < verb.n_args; k++) {
            record_add(record, "%.*s", SPAN_FMT(verb.args[k]));
        }
        if (verb.id == LINK_OPEN) {
            record_open(record, verb.payload);
        } else {
            record_add(record, "{%.*s}", verb.payload.len > 60 ? 3 : (int)verb.payload.len,
                       verb.payload.ptr);
        }
    }
}

#endif

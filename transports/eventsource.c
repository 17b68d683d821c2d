/* eventsource: see eventsource.h. */
#include "transports/eventsource.h"

#include "transports/answer.h"

/* The client runs decodeURI over what comes, so a `%` must come coded: else `%20` is read as a
 * blank, and a lone `%` loses the message. CR and LF would end the data line, and old browsers end
 * it at NUL; a dialect that lets them through must not be able to forge an event. */
static bool is_coded(char c)
{
    return c == '%' || c == '\r' || c == '\n' || c == '\0';
}

static enum err escape(struct buf *out, struct span frame)
{
    enum err e = ERR_OK;
    while (frame.len != 0 && e == ERR_OK) {
        size_t n = 0;
        while (n < frame.len && !is_coded(frame.ptr[n])) {
            n++;
        }
        e = buf_append(out, frame.ptr, n);
        frame = span_skip(frame, n);
        if (e == ERR_OK && frame.len != 0) {
            e = buf_printf(out, "%%%02X", (unsigned)frame.ptr[0]);
            frame = span_skip(frame, 1);
        }
    }
    return e;
}

const struct transport_ops eventsource_transport = {
    .name = "eventsource",
    .behaviour = TRANSPORT_STREAM,
    .caps = CAP_MANY_FRAMES,
    .open = stream_open,
    .write = stream_write,
    .room = stream_room,
    .finish = stream_finish,
    .abort = answer_abort,
};

const struct costume eventsource_costume = {
    .fields = SPAN_LIT_INIT("Content-Type: text/event-stream\r\n"
                            "X-Content-Type-Options: nosniff\r\n"),
    .prelude = {SPAN_LIT_INIT("\r\n")}, /* Opera wants a line before the first event */
    .pre = {SPAN_LIT_INIT("data: ")},
    .post = SPAN_LIT_INIT("\r\n\r\n"),
    .escape = escape,
};

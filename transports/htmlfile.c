/* htmlfile: see htmlfile.h. */
#include "transports/htmlfile.h"

#include "transports/answer.h"
#include "transports/script.h"

#define HEAD                                                                                       \
    "<!doctype html>\n"                                                                            \
    "<html><head>\n"                                                                               \
    "  <meta http-equiv=\"X-UA-Compatible\" content=\"IE=edge\" />\n"                              \
    "  <meta http-equiv=\"Content-Type\" content=\"text/html; charset=UTF-8\" />\n"                \
    "</head><body><h2>Don't panic!</h2>\n"                                                         \
    "  <script>\n"                                                                                 \
    "    document.domain = document.domain;\n"                                                     \
    "    var c = parent."

#define BLANKS_64  "                                                                "
#define BLANKS_256 BLANKS_64 BLANKS_64 BLANKS_64 BLANKS_64

/* Old browsers show nothing before they have 1,024 bytes. */
#define AFTER_CALLBACK                                                                             \
    ";\n"                                                                                          \
    "    c.start();\n"                                                                             \
    "    function p(d) {c.message(d);};\n"                                                         \
    "    window.onload = function() {c.stop();};\n"                                                \
    "  </script>" BLANKS_256 BLANKS_256 BLANKS_256 "\r\n\r\n"

_Static_assert(sizeof HEAD + sizeof AFTER_CALLBACK - 2 > 1024, "too few blanks");

const struct transport_ops htmlfile_transport = {
    .name = "htmlfile",
    .behaviour = TRANSPORT_STREAM,
    .caps = CAP_MANY_FRAMES,
    .check = script_check,
    .open = stream_open,
    .write = stream_write,
    .room = stream_room,
    .finish = stream_finish,
    .abort = answer_abort,
};

const struct costume htmlfile_costume = {
    .fields = SPAN_LIT_INIT("Content-Type: text/html; charset=UTF-8\r\n"
                            "X-Content-Type-Options: nosniff\r\n"),
    .prelude = {SPAN_LIT_INIT(HEAD), SPAN_LIT_INIT(AFTER_CALLBACK)},
    .pre = {SPAN_LIT_INIT("<script>\np(")},
    .post = SPAN_LIT_INIT(");\n</script>\r\n"),
    .escape = script_quote,
    .has_callback = true,
};

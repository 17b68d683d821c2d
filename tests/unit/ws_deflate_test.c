/* ws_deflate: every offer of RFC 7692 7.1 and every way to get one wrong. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "harness/test.h"
#include "wire/ws_deflate.h"

#define OFF         "-"   /* the handshake goes on without */
#define REFUSED     "400" /* it does not */
#define DEFLATE     "permessage-deflate"
#define NO_TAKEOVER "; server_no_context_takeover; client_no_context_takeover"

static const struct ws_deflate_opts full = {
    .allow_takeover = true, .max_window_bits = 15, .level = 6};
static const struct ws_deflate_opts usual = {
    .allow_takeover = false, .max_window_bits = 12, .level = 6};

/* Up to two lines. */
static const char *negotiate(const char *first, const char *second,
                             const struct ws_deflate_opts *opts, struct ws_deflate_terms *terms)
{
    static char answer[WS_DEFLATE_ANSWER_BYTES + 1];
    static struct http1_head head;
    head.n_fields = 0;
    head.fields[head.n_fields++] =
        (struct http1_field){SPAN_LIT("Upgrade"), SPAN_LIT("\"websocket")};
    head.fields[head.n_fields++] =
        (struct http1_field){SPAN_LIT("Sec-WebSocket-Extensions"), span_str(first)};
    if (second != NULL) {
        head.fields[head.n_fields++] =
            (struct http1_field){SPAN_LIT("sec-websocket-EXTENSIONS"), span_str(second)};
    }
    enum err e = ws_deflate_negotiate(&head, opts, terms);
    if (e != ERR_OK) {
        assert_int_equal(e, ERR_SYNTAX);
        return REFUSED;
    }
    if (!terms->is_on) {
        return OFF;
    }
    answer[ws_deflate_answer(terms, answer)] = '\0';
    return answer;
}

static void offers_are_answered(void **state)
{
    static const struct {
        const char *offer;
        const char *full;  /* the answer where all is allowed */
        const char *usual; /* without takeover, windows to 12 */
    } cases[] = {
        {"", OFF, OFF},
        {" , ,, ", OFF, OFF},
        {"permessage-deflate", DEFLATE, DEFLATE NO_TAKEOVER},
        {" ,, permessage-deflate ,", DEFLATE, DEFLATE NO_TAKEOVER},
        {"permessage-deflate; client_max_window_bits", DEFLATE,
         DEFLATE NO_TAKEOVER "; client_max_window_bits=12"},
        {"permessage-deflate;client_max_window_bits=10", DEFLATE "; client_max_window_bits=10",
         DEFLATE NO_TAKEOVER "; client_max_window_bits=10"},
        {"permessage-deflate;client_max_window_bits=8", DEFLATE "; client_max_window_bits=8",
         DEFLATE NO_TAKEOVER "; client_max_window_bits=8"},
        {"permessage-deflate;client_max_window_bits=15", DEFLATE,
         DEFLATE NO_TAKEOVER "; client_max_window_bits=12"},
        {"permessage-deflate; server_max_window_bits=10", DEFLATE "; server_max_window_bits=10",
         DEFLATE NO_TAKEOVER "; server_max_window_bits=10"},
        {"permessage-deflate; server_max_window_bits=9", DEFLATE "; server_max_window_bits=9",
         DEFLATE NO_TAKEOVER "; server_max_window_bits=9"},
        {"permessage-deflate; server_max_window_bits=15", DEFLATE "; server_max_window_bits=15",
         DEFLATE NO_TAKEOVER "; server_max_window_bits=12"},
        {"permessage-deflate ; server_max_window_bits = \"1\\0\"",
         DEFLATE "; server_max_window_bits=10", DEFLATE NO_TAKEOVER "; server_max_window_bits=10"},
        {"permessage-deflate; server_no_context_takeover", DEFLATE "; server_no_context_takeover",
         DEFLATE NO_TAKEOVER},
        {"permessage-deflate; client_no_context_takeover", DEFLATE "; client_no_context_takeover",
         DEFLATE NO_TAKEOVER},
        {"permessage-deflate; client_max_window_bits=11; server_max_window_bits=13; "
         "client_no_context_takeover; server_no_context_takeover",
         DEFLATE NO_TAKEOVER "; server_max_window_bits=13; client_max_window_bits=11",
         DEFLATE NO_TAKEOVER "; server_max_window_bits=12; client_max_window_bits=11"},
        /* the first acceptable one */
        {"permessage-deflate; server_max_window_bits=8, permessage-deflate", DEFLATE,
         DEFLATE NO_TAKEOVER},
        {"permessage-deflate; server_max_window_bits=10, permessage-deflate",
         DEFLATE "; server_max_window_bits=10", DEFLATE NO_TAKEOVER "; server_max_window_bits=10"},
        {"x-webkit-deflate-frame, permessage-deflate; client_max_window_bits", DEFLATE,
         DEFLATE NO_TAKEOVER "; client_max_window_bits=12"},
        {"foo; a=\"permessage-deflate, \\\" ; x\"; b=\", permessage-deflate\"", OFF, OFF},
        {"foo; a=\"x, y\", permessage-deflate", DEFLATE, DEFLATE NO_TAKEOVER},
        {"foo; constructor, __proto__, permessage-deflate", DEFLATE, DEFLATE NO_TAKEOVER},
    };
    (void)state;
    for (size_t i = 0; i < N_OF(cases); i++) {
        struct ws_deflate_terms terms;
        check_span(cases[i].offer, span_str(negotiate(cases[i].offer, NULL, &full, &terms)),
                   span_str(cases[i].full));
        check_span(cases[i].offer, span_str(negotiate(cases[i].offer, NULL, &usual, &terms)),
                   span_str(cases[i].usual));
        check_span(cases[i].offer, span_str(negotiate(cases[i].offer, NULL, NULL, &terms)),
                   SPAN_LIT(OFF));
    }
}

/* Each is declined, and what follows it is taken. */
static void bad_offers_are_declined(void **state)
{
    static const char *const params[] = {
        "unknown",
        "unknown=1",
        "constructor",
        "Server_no_context_takeover",
        "server_no_context_takeover=1",
        "server_no_context_takeover=\"\"",
        "client_no_context_takeover=true",
        "server_no_context_takeover=",
        "server_no_context_takeover; server_no_context_takeover",
        "client_no_context_takeover; client_no_context_takeover",
        "server_max_window_bits=10; server_max_window_bits=10",
        "client_max_window_bits; client_max_window_bits=10",
        "server_max_window_bits",
        "server_max_window_bits=",
        "server_max_window_bits=\"\"",
        "server_max_window_bits=0",
        "server_max_window_bits=7",
        "server_max_window_bits=8",
        "server_max_window_bits=16",
        "server_max_window_bits=20",
        "server_max_window_bits=100",
        "server_max_window_bits=09",
        "server_max_window_bits=010",
        "server_max_window_bits=10.0",
        "server_max_window_bits=+10",
        "server_max_window_bits=-10",
        "server_max_window_bits=1e1",
        "server_max_window_bits=0xa",
        "server_max_window_bits=4294967306",
        "server_max_window_bits=\" 10\"",
        "server_max_window_bits=ten",
        "client_max_window_bits=",
        "client_max_window_bits=\"\"",
        "client_max_window_bits=7",
        "client_max_window_bits=16",
        "client_max_window_bits=08",
        "client_max_window_bits=10.0",
        "client_max_window_bits=+10",
        "client_max_window_bits=\"1 0\"",
        "unknown; server_max_window_bits=10",
        "server_max_window_bits=7; client_max_window_bits",
    };
    (void)state;
    for (size_t i = 0; i < N_OF(params); i++) {
        char offer[256];
        struct ws_deflate_terms terms;
        (void)snprintf(offer, sizeof offer, "permessage-deflate; %s", params[i]);
        check_span(offer, span_str(negotiate(offer, NULL, &full, &terms)), SPAN_LIT(OFF));
        check_span(offer, span_str(negotiate(offer, "permessage-deflate", &full, &terms)),
                   SPAN_LIT(DEFLATE));
    }
}

static void what_is_no_list_is_refused(void **state)
{
    static const char *const lines[] = {
        ";",
        "=",
        "\"permessage-deflate\"",
        "permessage-deflate;",
        "permessage-deflate;;x",
        "permessage-deflate; =10",
        "permessage-deflate x",
        "permessage-deflate; x y",
        "permessage-deflate; x=1 2",
        "permessage-deflate; x=\"",
        "permessage-deflate; x=\"a\\",
        "permessage-deflate; x=\"a\\\"",
        "permessage-deflate; x=\"a\"b",
        "permessage-deflate; x=@",
        "permessage-deflate; x=a=b",
        "permessage-deflate, @",
        "permessage-deflate; \"x\"",
        "permessage/deflate",
        "permessage-deflate\x80",
    };
    (void)state;
    for (size_t i = 0; i < N_OF(lines); i++) {
        struct ws_deflate_terms terms;
        check_span(lines[i], span_str(negotiate(lines[i], NULL, &full, &terms)), SPAN_LIT(REFUSED));
        check_span(lines[i], span_str(negotiate(lines[i], NULL, NULL, &terms)), SPAN_LIT(REFUSED));
        check_span(lines[i], span_str(negotiate("permessage-deflate", lines[i], &full, &terms)),
                   SPAN_LIT(REFUSED));
    }
}

static void the_streams_learn_the_windows(void **state)
{
    struct ws_deflate_terms terms;
    (void)state;
    (void)negotiate("permessage-deflate", NULL, &usual, &terms);
    assert_int_equal(terms.server_bits, 12); /* below what the client must take */
    assert_int_equal(terms.client_bits, 15); /* it gave us no say */
    assert_false(terms.server_takeover || terms.client_takeover);
    (void)negotiate("permessage-deflate; client_max_window_bits=8; server_max_window_bits=11", NULL,
                    &full, &terms);
    assert_int_equal(terms.server_bits, 11);
    assert_int_equal(terms.client_bits, 8);
    assert_true(terms.server_takeover && terms.client_takeover);
}

static void the_longest_answer_fits(void **state)
{
    const struct ws_deflate_terms terms = {
        .is_on = true, .names_server_bits = true, .server_bits = 10, .client_bits = 14};
    char out[WS_DEFLATE_ANSWER_BYTES];
    (void)state;
    check_span(
        "longest", span_of(out, ws_deflate_answer(&terms, out)),
        SPAN_LIT(DEFLATE NO_TAKEOVER "; server_max_window_bits=10; client_max_window_bits=14"));
}

/* Doubling the bytes may not much more than double the time; 30 KB pass in a few milliseconds. */
static void hostile_values_cost_linear_time(void **state)
{
    static const char *const units[] = {
        "a,",
        "permessage-deflate; x=",
        ",",
        " ",
        "; ",
        "a; b=\"\\\"\\\"\"; c,",
        "permessage-deflate; server_max_window_bits=1",
        "=\"",
        "\\",
        "permessage-deflate; unknown, ",
    };
    enum {
        BYTES = 30000,
        ROUNDS = 20
    };
    static char line[BYTES + 64];
    (void)state;
    for (size_t i = 0; i < N_OF(units); i++) {
        size_t n = strlen(units[i]);
        size_t len = 0;
        for (; len + n <= BYTES; len += n) {
            memcpy(line + len, units[i], n);
        }
        line[len] = '\0';
        clock_t start = clock();
        for (int round = 0; round < ROUNDS; round++) {
            struct ws_deflate_terms terms;
            (void)negotiate(line, line, &full, &terms);
        }
        CHECK(units[i], (clock() - start) / ROUNDS < CLOCKS_PER_SEC / 20);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(offers_are_answered),
        cmocka_unit_test(bad_offers_are_declined),
        cmocka_unit_test(what_is_no_list_is_refused),
        cmocka_unit_test(the_streams_learn_the_windows),
        cmocka_unit_test(the_longest_answer_fits),
        cmocka_unit_test(hostile_values_cost_linear_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * ws_frame: frames in every cut, refusals, limits, the encoder, and random streams against what was
 * meant. Tables have keys of zero, to be readable; each case runs a second time masked with other
 * keys.
 */
#include <stdlib.h>

#include "harness/drive_ws_frame.h"
#include "harness/test.h"
#include "harness/wire_test.h"
#include "wire/ws_frame.h"

#define K0 "\0\0\0\0" /* a key that masks nothing */

struct ws_case {
    const char *name;
    struct span in;
    const char *want;
};

#define CASE(name, in, want)                                                                       \
    {                                                                                              \
        name, SPAN_LIT_INIT(in), want                                                              \
    }

static const struct ws_limits usual = {.max_message_bytes = 1 << 20, .max_fragments = 1000};

/* The bytes of the header at `bytes`, and the payload's size; 0 when it is not whole or not masked.
 */
static size_t naive_head(const unsigned char *bytes, size_t len, uint64_t *payload_len)
{
    size_t n = 2;

    if (len < 2 || bytes[1] < 0x80) {
        return 0;
    }
    *payload_len = bytes[1] & 0x7f;
    if (*payload_len >= 126) {
        size_t extra = *payload_len == 126 ? 2 : 8;
        if (len < 2 + extra) {
            return 0;
        }
        *payload_len = 0;
        for (; n < 2 + extra; n++) {
            *payload_len = *payload_len << 8 | bytes[n];
        }
    }
    return len >= n + 4 ? n + 4 : 0;
}

/* Puts other keys in, frame by frame, as far as the frames can be read. */
static void mask_anew(unsigned char *bytes, size_t len)
{
    unsigned key = 0x37fa213d;
    uint64_t payload_len = 0;

    for (size_t n = naive_head(bytes, len, &payload_len); n != 0;
         n = naive_head(bytes, len, &payload_len)) {
        for (unsigned i = 0; i < 4; i++) {
            bytes[n - 4 + i] = (unsigned char)(key >> (8 * i));
        }
        for (uint64_t i = 0; i < payload_len && n + i < len; i++) {
            bytes[n + i] ^= bytes[n - 4 + i % 4];
        }
        if (payload_len >= len - n) {
            return;
        }
        bytes += n + payload_len;
        len -= n + (size_t)payload_len;
        key = key * 1664525 + 1013904223;
    }
}

static void check_case(const char *name, struct span in, const struct ws_limits *limits,
                       const char *want, bool exactly)
{
    struct drive_ws drive = {.limits = *limits};
    struct feed feed = drive_ws_feed(&drive);

    wire_check(&feed, name, in, want, exactly);
    char *masked = feed_alloc(in.len);
    feed_copy(masked, in.ptr, in.len);
    mask_anew((unsigned char *)masked, in.len);
    wire_check(&feed, name, span_of(masked, in.len), want, exactly);
    free(masked);
    transcript_free(&drive.transcript);
    transcript_free(&drive.message);
}

static void check_table(const struct ws_case *cases, size_t n, const struct ws_limits *limits,
                        bool exactly)
{
    for (size_t i = 0; i < n; i++) {
        check_case(cases[i].name, cases[i].in, limits, cases[i].want, exactly);
    }
}

static void reads_frames(void **state)
{
    static const struct ws_case cases[] = {
        CASE("text", "\x81\x85" K0 "hello", "text[hello] "),
        CASE("empty text", "\x81\x80" K0, "text[] "),
        CASE("binary", "\x82\x83" K0 "\x00\xff\x80", "binary[\\x00\\xff\\x80] "),
        CASE("two messages", "\x81\x81" K0 "a\x82\x81" K0 "b", "text[a] binary[b] "),
        CASE("fragments", "\x01\x81" K0 "a\x00\x81" K0 "b\x80\x81" K0 "c", "text[abc] "),
        CASE("empty fragments", "\x01\x80" K0 "\x00\x80" K0 "\x80\x80" K0, "text[] "),
        CASE("empty first fragment", "\x02\x80" K0 "\x80\x81" K0 "x", "binary[x] "),
        CASE("empty last fragment", "\x01\x81" K0 "x\x80\x80" K0, "text[x] "),
        CASE("ping and pong between fragments",
             "\x01\x81" K0 "a\x89\x81" K0 "p\x8a\x80" K0 "\x80\x81" K0 "b",
             "ping[p] pong[] text[ab] "),
        CASE("UTF-8 cut between fragments", "\x01\x81" K0 "\xc3\x80\x81" K0 "\xa4",
             "text[\\xc3\\xa4] "),
        CASE("UTF-8 state ends with the message",
             "\x01\x81" K0 "\xc3\x80\x81" K0 "\xa4\x81\x81" K0 "a", "text[\\xc3\\xa4] text[a] "),
        CASE("high bytes in binary, then text", "\x82\x81" K0 "\xff\x81\x81" K0 "a",
             "binary[\\xff] text[a] "),
        CASE("close", "\x88\x80" K0, "close[1005 ] "),
        CASE("close with code", "\x88\x82" K0 "\x03\xe8", "close[1000 ] "),
        CASE("close with reason",
             "\x88\x85" K0 "\x0f\xa0"
             "bye",
             "close[4000 bye] "),
        CASE("close between fragments", "\x01\x81" K0 "a\x88\x80" K0, "close[1005 ] "),
        CASE("nothing counts after close", "\x88\x80" K0 "\x81\x81" K0 "a\xff\xff\xff",
             "close[1005 ] "),
        CASE("text not whole", "\x81\x85" K0 "hell", ""),
        CASE("ping not whole", "\x89\x85" K0 "hell", ""),
        CASE("header not whole", "\x81\xfe\x00", ""),
        CASE("ping of 125",
             "\x89\xfd" K0 "0123456789012345678901234567890123456789012345678901234567890123456789"
             "0123456789012345678901234567890123456789012345678901234",
             "ping[01234567890123456789012345678901234567890123456789012345678901234567890123456789"
             "012345678901234567890123456789012345678901234] "),
    };
    (void)state;
    check_table(cases, N_OF(cases), &usual, true);
}

static void refuses_bad_frames(void **state)
{
    static const struct ws_case cases[] = {
        CASE("not masked", "\x81\x05hello", "!1002 a frame of a client is not masked"),
        CASE("ping not masked", "\x89\x00", "!1002 a frame of a client"),
        CASE("close not masked", "\x88\x00", "!1002 a frame of a client"),
        CASE("RSV1", "\xc1\x80" K0, "!1002 RSV1"),
        CASE("RSV2", "\xa1\x80" K0, "!1002 RSV2 or"),
        CASE("RSV3", "\x91\x80" K0, "!1002 RSV2 or"),
        CASE("RSV2 on a ping", "\xa9\x80" K0, "!1002 RSV2 or"),
        CASE("opcode 3", "\x83\x80" K0, "!1002 an unknown"),
        CASE("opcode 7", "\x87\x80" K0, "!1002 an unknown"),
        CASE("opcode 3, not final", "\x03\x80" K0, "!1002 an unknown"),
        CASE("opcode 3 inside a message", "\x01\x80" K0 "\x03\x80" K0, "!1002 an unknown"),
        CASE("opcode b", "\x8b\x80" K0, "!1002 an unknown"),
        CASE("opcode f", "\x8f\x80" K0, "!1002 an unknown"),
        CASE("ping not final", "\x09\x80" K0, "!1002 a control frame in"),
        CASE("close not final", "\x08\x80" K0, "!1002 a control frame in"),
        CASE("ping of 126", "\x89\xfe\x00\x7e" K0, "!1002 a control frame over"),
        CASE("ping of 126, told at once", "\x89\xfe", "!1002 a control frame over"),
        CASE("pong with a 64-bit length", "\x8a\xff", "!1002 a control frame over"),
        CASE("continuation of nothing", "\x80\x80" K0, "!1002 a continuation"),
        CASE("continuation after a whole message", "\x81\x80" K0 "\x80\x80" K0,
             "text[] !1002 a continuation"),
        CASE("text inside a message", "\x01\x80" K0 "\x81\x80" K0, "!1002 a new message"),
        CASE("binary inside a message", "\x01\x80" K0 "\x02\x80" K0, "!1002 a new message"),
        CASE("16-bit length of 125", "\x81\xfe\x00\x7d", "!1002 a length is longer"),
        CASE("16-bit length of 0", "\x81\xfe\x00\x00", "!1002 a length is longer"),
        CASE("64-bit length of 65535", "\x81\xff\x00\x00\x00\x00\x00\x00\xff\xff",
             "!1002 a length is longer"),
        CASE("64-bit length of 5", "\x82\xff\x00\x00\x00\x00\x00\x00\x00\x05",
             "!1002 a length is longer"),
        CASE("top bit", "\x82\xff\x80\x00\x00\x00\x00\x01\x00\x00", "!1002 the top bit"),
        CASE("all bits", "\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff", "!1002 the top bit"),
        CASE("greatest length", "\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff", "!1009 the message"),
        CASE("close of 1 byte", "\x88\x81" K0 "\x03", "!1002 a Close with half"),
        CASE("close 999", "\x88\x82" K0 "\x03\xe7", "!1002 a Close code"),
        CASE("close 1005", "\x88\x82" K0 "\x03\xed", "!1002 a Close code"),
        CASE("close 1006", "\x88\x82" K0 "\x03\xee", "!1002 a Close code"),
        CASE("close with a bad reason", "\x88\x83" K0 "\x03\xe8\xff", "!1007 a Close reason"),
        CASE("close with half a character", "\x88\x83" K0 "\x03\xe8\xc3", "!1007 a Close reason"),
        CASE("text not UTF-8", "\x81\x81" K0 "\xff", "!1007 a text"),
        CASE("overlong", "\x81\x82" K0 "\xc0\xaf", "!1007 a text"),
        CASE("surrogate", "\x81\x83" K0 "\xed\xa0\x80", "!1007 a text"),
        CASE("above U+10FFFF", "\x81\x84" K0 "\xf4\x90\x80\x80", "!1007 a text"),
        CASE("half a character at the end", "\x81\x82" K0 "a\xc3", "!1007 a text"),
        CASE("half a character at the end of fragments", "\x01\x81" K0 "\xc3\x80\x80" K0,
             "!1007 a text"),
        CASE("bad byte in a frame that never ends", "\x81\xfe\x10\x00" K0 "abc\xff",
             "!1007 a text"),
        CASE("bad byte in a fragment", "\x01\x81" K0 "\xff", "!1007 a text"),
    };
    (void)state;
    check_table(cases, N_OF(cases), &usual, false);
}

static void limits_messages(void **state)
{
    static const struct ws_limits limits = {.max_message_bytes = 5, .max_fragments = 3};
    static const struct ws_case cases[] = {
        CASE("at", "\x81\x85" K0 "hello", "text[hello] "),
        CASE("over, by the header alone", "\x81\x86", "!1009 the message is over the limit"),
        CASE("fragments at", "\x01\x83" K0 "abc\x80\x82" K0 "de", "text[abcde] "),
        CASE("fragments over", "\x01\x83" K0 "abc\x80\x83", "!1009 the message is over the limit"),
        CASE("each message counts alone", "\x81\x85" K0 "hello\x81\x85" K0 "world",
             "text[hello] text[world] "),
        CASE("pings count nothing", "\x01\x83" K0 "abc\x89\x86" K0 "123456\x80\x82" K0 "de",
             "ping[123456] text[abcde] "),
        CASE("3 fragments", "\x01\x80" K0 "\x00\x80" K0 "\x80\x80" K0, "text[] "),
        CASE("4 fragments", "\x01\x80" K0 "\x00\x80" K0 "\x00\x80" K0 "\x80\x80" K0,
             "!1009 the message has too many fragments"),
        CASE("whole messages count one each",
             "\x81\x80" K0 "\x81\x80" K0 "\x81\x80" K0 "\x81\x80" K0,
             "text[] text[] text[] text[] "),
        CASE("16-bit length over", "\x81\xfe\x00\x7e", "!1009 the message is over the limit"),
    };
    (void)state;
    check_table(cases, N_OF(cases), &limits, true);
}

static void takes_rsv1_where_it_was_negotiated(void **state)
{
    static const struct ws_limits limits = {.max_message_bytes = 100,
                                            .max_fragments = 10,
                                            .allow_rsv1 = true,
                                            .max_compressed_bytes = 100};
    static const struct ws_case cases[] = {
        CASE("compressed", "\xc1\x82" K0 "\xff\xc3", "textz[\\xff\\xc3] "),
        CASE("compressed in fragments", "\x41\x81" K0 "\xff\x80\x81" K0 "\xc3",
             "textz[\\xff\\xc3] "),
        CASE("compressed, then not", "\xc2\x81" K0 "a\x81\x81" K0 "b", "binaryz[a] text[b] "),
        CASE("compressed, then bad text", "\xc1\x81" K0 "\xff\x81\x81" K0 "\xff",
             "textz[\\xff] !1007 a text message is not UTF-8"),
        CASE("RSV1 on a continuation", "\x41\x80" K0 "\xc0\x80",
             "!1002 RSV1 without a meaning here"),
        CASE("RSV1 on a ping", "\xc9\x80", "!1002 RSV1 on a control frame"),
        CASE("RSV1 and RSV2", "\xe1\x80", "!1002 RSV2 or RSV3 is set"),
    };
    (void)state;
    check_table(cases, N_OF(cases), &limits, true);
}

static void a_compressed_message_has_its_own_limit(void **state)
{
    static const struct ws_limits limits = {
        .max_message_bytes = 2, .max_fragments = 10, .allow_rsv1 = true, .max_compressed_bytes = 4};
    static const struct ws_case cases[] = {
        CASE("up to it", "\xc1\x84" K0 "abcd\x81\x82" K0 "ab", "textz[abcd] text[ab] "),
        CASE("over it", "\xc1\x85", "!1009 the message is over the limit"),
        CASE("in fragments", "\x41\x83" K0 "abc\x80\x82", "!1009 the message is over the limit"),
        CASE("the other one behind it", "\xc1\x83" K0 "abc\x81\x83",
             "textz[abc] !1009 the message is over the limit"),
        CASE("its fragments behind it", "\xc1\x80" K0 "\x01\x82" K0 "ab\x80\x81",
             "textz[] !1009 the message is over the limit"),
    };
    (void)state;
    check_table(cases, N_OF(cases), &limits, true);
}

/* The sizes where the form of the length changes, out by ws_put_head and back in. */
static void agrees_with_itself_on_lengths(void **state)
{
    static const struct {
        uint64_t len;
        size_t head;
    } cases[] = {{0, 2},   {1, 2},     {125, 2},    {126, 4},
                 {127, 4}, {65535, 4}, {65536, 10}, {70000, 10}};
    (void)state;
    for (size_t i = 0; i < N_OF(cases); i++) {
        size_t payload_len = (size_t)cases[i].len;
        char *bytes = feed_alloc(14 + payload_len);
        size_t n = ws_put_head(bytes, WS_BINARY, 0, cases[i].len);
        assert_int_equal(n, cases[i].head);
        assert_int_equal((unsigned char)bytes[0], 0x82);
        assert_int_equal(bytes[1] & 0x80, 0);
        bytes[1] = (char)(bytes[1] | 0x80);
        memset(bytes + n, 0, 4);
        memset(bytes + n + 4, 'x', payload_len);

        struct ws_parser parser = {0};
        struct ws_event event;
        struct ws_fault fault = {0, NULL};
        size_t used = 0;
        assert_int_equal(
            ws_parse(&parser, &usual, bytes, n + 4 + payload_len, &used, &event, &fault), ERR_OK);
        assert_int_equal(used, n + 4 + payload_len);
        assert_int_equal(event.type, WS_EVENT_DATA);
        assert_true(event.is_first && event.is_last);
        assert_int_equal(event.payload.len, payload_len);
        free(bytes);
    }
}

static void writes_heads(void **state)
{
    static const struct {
        enum ws_opcode opcode;
        uint8_t bits;
        uint64_t len;
        struct span want;
    } cases[] = {
        {WS_TEXT, 0, 5, SPAN_LIT_INIT("\x81\x05")},
        {WS_TEXT, 0x40, 126, SPAN_LIT_INIT("\xc1\x7e\x00\x7e")},
        {WS_BINARY, 0, 65535, SPAN_LIT_INIT("\x82\x7e\xff\xff")},
        {WS_BINARY, 0, 65536, SPAN_LIT_INIT("\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00")},
        {WS_TEXT, 0, 0x123456789abcdef0, SPAN_LIT_INIT("\x81\x7f\x12\x34\x56\x78\x9a\xbc\xde\xf0")},
        {WS_PONG, 0, 125, SPAN_LIT_INIT("\x8a\x7d")},
        {WS_CLOSE, 0, 0, SPAN_LIT_INIT("\x88\x00")},
    };
    (void)state;
    for (size_t i = 0; i < N_OF(cases); i++) {
        char out[WS_MAX_HEAD_BYTES];
        size_t n = ws_put_head(out, cases[i].opcode, cases[i].bits, cases[i].len);
        assert_int_equal(n, cases[i].want.len);
        assert_memory_equal(out, cases[i].want.ptr, n);
    }
}

/* A reason of `n` times 'a' and then "xyz\xc3\xa4\xf0\x9f\x98\x80". */
static void check_reason(size_t n, size_t want_len)
{
    static const char tail[] = "\xc3\xa4\xf0\x9f\x98\x80";
    char reason[160];
    char out[WS_MAX_CONTROL_PAYLOAD];

    memset(reason, 'a', n);
    memcpy(reason + n, tail, sizeof tail);
    size_t got = ws_put_close(out, 4001, span_of(reason, n + sizeof tail - 1));
    assert_int_equal(got, 2 + want_len);
    assert_memory_equal(out, "\x0f\xa1", 2);
    assert_memory_equal(out + 2, reason, want_len);
}

static void writes_close_payloads(void **state)
{
    char out[WS_MAX_CONTROL_PAYLOAD];
    (void)state;
    assert_int_equal(ws_put_close(out, WS_CLOSE_NO_STATUS, SPAN_LIT("x")), 0);
    assert_int_equal(ws_put_close(out, 1000, SPAN_NONE), 2);
    assert_memory_equal(out, "\x03\xe8", 2);
    assert_int_equal(ws_put_close(out, 1009, SPAN_LIT("too big")), 9);
    assert_memory_equal(out, "\x03\xf1too big", 9);
    check_reason(117, 123); /* the whole */
    check_reason(118, 120); /* the last character has no room */
    check_reason(121, 123);
    check_reason(122, 122); /* nor the one before */
    check_reason(123, 123);
    check_reason(124, 123);
    char tails[200];
    memset(tails, 0x80, sizeof tails); /* not UTF-8: cut to nothing, not read before its start */
    assert_int_equal(ws_put_close(out, 1000, span_of(tails, sizeof tails)), 2);
}

static void judges_close_codes(void **state)
{
    (void)state;
    for (unsigned code = 0; code <= 70000; code++) {
        bool is_named = code == 1000 || code == 1001 || code == 1002 || code == 1003 ||
                        (code >= 1007 && code <= 1014);
        bool want = is_named || (code >= 3000 && code <= 4999);
        assert_int_equal(ws_close_code_is_valid(code), want);
    }
}

/* `len` bytes at `offset` in two calls, against the sentence of RFC 6455 5.3; the bytes around
 * stay. */
static void check_unmask(size_t offset, size_t len, size_t cut)
{
    uint8_t mask[4] = {0x12, 0xfe, 0x80, 0x01};
    char room[96];
    char twin[96];

    for (size_t i = 0; i < sizeof room; i++) {
        bool is_inside = i >= offset && i < offset + len;
        room[i] = (char)(i * 7);
        twin[i] = (char)((i * 7) ^ (is_inside ? mask[(i - offset) % 4] : 0U));
    }
    ws_unmask(room + offset, cut, mask);
    ws_unmask(room + offset + cut, len - cut, mask);
    assert_memory_equal(room, twin, sizeof room);
}

static void unmasks_like_its_naive_twin(void **state)
{
    (void)state;
    for (size_t offset = 0; offset < 9; offset++) {
        for (size_t len = 0; len < 70; len++) {
            for (size_t cut = 0; cut <= len; cut++) {
                check_unmask(offset, len, cut);
            }
        }
    }
}

/* ---- random streams against what was meant ---- */

struct stream {
    struct transcript bytes; /* raw, used as a buffer */
    struct transcript want;
};

static void add_raw(struct stream *s, const void *bytes, size_t n)
{
    char *to = transcript_room(&s->bytes, n);
    feed_copy(to, bytes, n);
    to[n] = '\0';
    s->bytes.len += n;
}

static void add_frame(struct stream *s, struct test_random *random, unsigned first,
                      struct span payload)
{
    char head[WS_MAX_HEAD_BYTES];
    uint32_t key = (uint32_t)test_random(random);
    unsigned char key_bytes[4];

    size_t n = ws_put_head(head, WS_TEXT, 0, payload.len);
    head[0] = (char)first;
    head[1] = (char)(head[1] | 0x80);
    memcpy(key_bytes, &key, 4);
    add_raw(s, head, n);
    add_raw(s, key_bytes, 4);
    for (size_t i = 0; i < payload.len; i++) {
        char c = (char)((unsigned char)payload.ptr[i] ^ key_bytes[i % 4]);
        add_raw(s, &c, 1);
    }
}

/* One message in up to 4 fragments, pings between them. */
static void add_message(struct stream *s, struct test_random *random)
{
    static const size_t sizes[] = {0, 1, 5, 125, 126, 200};
    char payload[200];
    size_t len = sizes[test_below(random, N_OF(sizes))];
    size_t n_frames = 1 + test_below(random, 4);
    unsigned opcode = 1 + (unsigned)test_below(random, 2);
    size_t at = 0;

    for (size_t i = 0; i < len; i++) {
        /* As text only ASCII: where characters may be cut is tested above. */
        payload[i] = (char)(opcode == WS_TEXT ? 'a' + (int)test_below(random, 26)
                                              : (int)test_below(random, 256));
    }
    for (size_t i = 0; i < n_frames; i++) {
        size_t n = i + 1 == n_frames ? len - at : test_below(random, len - at + 1);
        unsigned fin = i + 1 == n_frames ? 0x80 : 0;
        add_frame(s, random, fin | (i == 0 ? opcode : 0), span_of(payload + at, n));
        at += n;
        if (fin == 0 && test_below(random, 2) == 0) {
            add_frame(s, random, 0x89, span_of("ping!", i));
            transcript_add(&s->want, "ping[%.*s] ", (int)i, "ping!");
        }
    }
    transcript_add(&s->want, opcode == WS_TEXT ? "text[" : "binary[");
    transcript_bytes(&s->want, span_of(payload, len));
    transcript_add(&s->want, "] ");
}

static void reads_random_streams(void **state)
{
    struct drive_ws drive = {.limits = usual};
    struct feed feed = drive_ws_feed(&drive);
    struct test_random random = {.state = 20111211};
    struct stream s = {{NULL, 0, 0}, {NULL, 0, 0}};
    (void)state;
    for (int round = 0; round < 40; round++) {
        transcript_clear(&s.bytes);
        transcript_clear(&s.want);
        for (size_t n = 1 + test_below(&random, 5); n > 0; n--) {
            add_message(&s, &random);
        }
        wire_check(&feed, "random", span_of(s.bytes.text, s.bytes.len), transcript_text(&s.want),
                   true);
    }
    transcript_free(&s.bytes);
    transcript_free(&s.want);
    transcript_free(&drive.transcript);
    transcript_free(&drive.message);
}

/* Pieces are handed out as they come, not kept back for the end of the frame. */
static void hands_out_pieces(void **state)
{
    char bytes[] = "\x81\x85" K0 "hello";
    struct ws_parser parser = {0};
    struct ws_event event;
    struct ws_fault fault;
    size_t n = 0;
    (void)state;
    assert_int_equal(ws_parse(&parser, &usual, bytes, 8, &n, &event, &fault), ERR_OK);
    assert_int_equal(n, 8);
    assert_int_equal(event.type, WS_EVENT_DATA);
    assert_true(event.is_first && !event.is_last);
    check_span("first", event.payload, SPAN_LIT("he"));
    assert_int_equal(ws_parse(&parser, &usual, bytes + 8, 3, &n, &event, &fault), ERR_OK);
    assert_true(!event.is_first && event.is_last);
    check_span("last", event.payload, SPAN_LIT("llo"));
    assert_int_equal(event.opcode, WS_TEXT);
}

/* A new configuration may lower the limit under what has already come. */
static void survives_a_lower_limit(void **state)
{
    static const struct ws_limits lower = {.max_message_bytes = 2, .max_fragments = 1000};
    char bytes[] = "\x01\x83" K0 "abc\x80\x80" K0;
    struct ws_parser parser = {0};
    struct ws_event event;
    struct ws_fault fault = {0, NULL};
    size_t n = 0;
    (void)state;
    assert_int_equal(ws_parse(&parser, &usual, bytes, 9, &n, &event, &fault), ERR_OK);
    assert_int_equal(ws_parse(&parser, &lower, bytes + 9, 6, &n, &event, &fault), ERR_PROTO);
    assert_int_equal(fault.close_code, WS_CLOSE_TOO_BIG);
}

/* What is left unconsumed must be as it came: it comes again in front of the next bytes. */
static void leaves_an_unfinished_ping_masked(void **state)
{
    char bytes[] = "\x89\x83\x01\x02\x03\x04"
                   "abc";
    char before[sizeof bytes];
    struct ws_parser parser = {0};
    struct ws_event event;
    struct ws_fault fault;
    size_t n = 0;
    (void)state;
    memcpy(before, bytes, sizeof bytes);
    for (size_t len = 0; len < sizeof bytes - 1; len++) {
        assert_int_equal(ws_parse(&parser, &usual, bytes, len, &n, &event, &fault), ERR_OK);
        assert_int_equal(event.type, WS_EVENT_NONE);
        assert_int_equal(n, 0);
        assert_memory_equal(bytes, before, sizeof bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_frames),
        cmocka_unit_test(refuses_bad_frames),
        cmocka_unit_test(limits_messages),
        cmocka_unit_test(takes_rsv1_where_it_was_negotiated),
        cmocka_unit_test(a_compressed_message_has_its_own_limit),
        cmocka_unit_test(agrees_with_itself_on_lengths),
        cmocka_unit_test(writes_heads),
        cmocka_unit_test(writes_close_payloads),
        cmocka_unit_test(judges_close_codes),
        cmocka_unit_test(unmasks_like_its_naive_twin),
        cmocka_unit_test(reads_random_streams),
        cmocka_unit_test(hands_out_pieces),
        cmocka_unit_test(survives_a_lower_limit),
        cmocka_unit_test(leaves_an_unfinished_ping_masked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* router: whole segments, longest prefix, bytes as sent. */
#include "edge/router.h"
#include "harness/test.h"

static void paths_find_their_mount(void **state)
{
    (void)state;
    static const struct mount mounts[] = {
        {.path = SPAN_LIT_INIT("/ws")},
        {.path = SPAN_LIT_INIT("/chat/room")},
        {.path = SPAN_LIT_INIT("/chat")},
        {.path = SPAN_LIT_INIT("/ws-small")},
    };
    static const struct {
        const char *path;
        int mount; /* -1 = none */
        const char *suffix;
    } cases[] = {
        {"/ws", 0, ""},
        {"/ws/", 0, "/"},
        {"/ws/a/b", 0, "/a/b"},
        {"/ws//", 0, "//"},
        {"/ws-small", 3, ""},
        {"/ws-small/x", 3, "/x"},
        {"/ws-smal", -1, ""},
        {"/wsx", -1, ""},
        {"/w", -1, ""},
        {"/", -1, ""},
        {"", -1, ""},
        {"ws", -1, ""},
        {"//ws", -1, ""},
        {"/WS", -1, ""},
        {"/%77s", -1, ""},
        {"/chat", 2, ""},
        {"/chat/roo", 2, "/roo"},
        {"/chat/room", 1, ""},
        {"/chat/room/x", 1, "/x"},
        {"/chat/roomx", 2, "/roomx"},
        {"/chat//room", 2, "//room"},
        {"/chat/../ws", 2, "/../ws"},
    };
    const struct router router = {mounts, N_OF(mounts)};
    for (size_t i = 0; i < N_OF(cases); i++) {
        struct span suffix = SPAN_NONE;
        const struct mount *got = router_find(&router, span_str(cases[i].path), &suffix);
        CHECK_INT(cases[i].path, got != NULL ? got - mounts : -1, cases[i].mount);
        check_span(cases[i].path, suffix, span_str(cases[i].suffix));
    }
}

static void the_root_takes_what_nobody_else_has(void **state)
{
    (void)state;
    static const struct mount mounts[] = {{.path = SPAN_LIT_INIT("/")},
                                          {.path = SPAN_LIT_INIT("/a")}};
    const struct router router = {mounts, N_OF(mounts)};
    static const struct {
        const char *path;
        int mount;
        const char *suffix;
    } cases[] = {
        {"/", 0, "/"}, {"/x", 0, "/x"}, {"/a", 1, ""}, {"/a/b", 1, "/b"}, {"/ab", 0, "/ab"},
    };
    for (size_t i = 0; i < N_OF(cases); i++) {
        struct span suffix = SPAN_NONE;
        const struct mount *got = router_find(&router, span_str(cases[i].path), &suffix);
        CHECK_INT(cases[i].path, got != NULL ? got - mounts : -1, cases[i].mount);
        check_span(cases[i].path, suffix, span_str(cases[i].suffix));
    }
}

static void without_mounts_nothing_is_found(void **state)
{
    (void)state;
    const struct router router = {NULL, 0};
    struct span suffix = SPAN_NONE;
    assert_null(router_find(&router, SPAN_LIT("/"), &suffix));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths_find_their_mount),
        cmocka_unit_test(the_root_takes_what_nobody_else_has),
        cmocka_unit_test(without_mounts_nothing_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

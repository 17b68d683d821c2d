/* users: names and ids of this system's users. */
#include "harness/test.h"
#include "server/users.h"

static void names_and_ids(void **state)
{
    (void)state;
    static const struct {
        const char *user;
        bool is_there;
        uint32_t uid;
    } cases[] = {
        {"root", true, 0},          {"0", true, 0},
        {"4711", true, 4711},       {"4294967294", true, UINT32_MAX - 1},
        {"4294967295", false, 0},   {"99999999999999999999", false, 0},
        {"-1", false, 0},           {"", false, 0},
        {"no-such-user", false, 0}, {"root ", false, 0},
    };
    for (size_t i = 0; i < N_OF(cases); i++) {
        uint32_t uid = 0;
        CHECK(cases[i].user, users_find(cases[i].user, &uid) == cases[i].is_there);
        CHECK(cases[i].user, uid == cases[i].uid);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_and_ids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

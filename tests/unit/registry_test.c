/* registry: sessions by id: found by bytes, not by address; tables of two mounts are apart. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "core/registry.h"
#include "core/session.h"
#include "harness/test.h"

enum {
    N_SESSIONS = 500,
};

static struct session *sessions[N_SESSIONS];

static struct session *named(size_t i)
{
    struct session *session = mem_new(1, sizeof *session + 16);
    assert_non_null(session);
    sessions[i] = session;
    session->sid_len = (uint8_t)snprintf(session->sid, 16, "s%zu", i);
    return session;
}

static int free_all(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_SESSIONS; i++) {
        mem_free(sessions[i]);
        sessions[i] = NULL;
    }
    return 0;
}

static void finds_what_was_added_until_it_is_removed(void **state)
{
    (void)state;
    struct registry registry;
    registry_init(&registry, (struct hash_key){3, 4});
    assert_null(registry_find(&registry, SPAN_LIT("s0")));
    for (size_t i = 0; i < N_SESSIONS; i++) {
        assert_int_equal(registry_add(&registry, named(i)), ERR_OK);
    }
    for (size_t i = 0; i < N_SESSIONS; i += 2) {
        registry_remove(&registry, sessions[i]);
    }
    for (size_t i = 0; i < N_SESSIONS; i++) {
        char sid[16];
        (void)snprintf(sid, sizeof sid, "s%zu", i);
        struct session *want = i % 2 == 0 ? NULL : sessions[i];
        assert_ptr_equal(registry_find(&registry, span_str(sid)), want);
    }
    registry_fini(&registry);
}

static void ids_are_compared_as_bytes(void **state)
{
    (void)state;
    struct registry registry;
    registry_init(&registry, (struct hash_key){3, 4});
    struct session *session = named(0);
    memcpy(session->sid, "a\0b", 3);
    session->sid_len = 3;
    assert_int_equal(registry_add(&registry, session), ERR_OK);
    assert_ptr_equal(registry_find(&registry, span_of("a\0b", 3)), session);
    assert_null(registry_find(&registry, span_of("a\0c", 3)));
    assert_null(registry_find(&registry, SPAN_LIT("a")));
    assert_null(registry_find(&registry, SPAN_LIT("A\0b")));
    assert_null(registry_find(&registry, SPAN_NONE));
    registry_remove(&registry, session);
    registry_fini(&registry);
}

static void mounts_do_not_share_ids(void **state)
{
    (void)state;
    struct registry one;
    struct registry two;
    registry_init(&one, (struct hash_key){3, 4});
    registry_init(&two, (struct hash_key){3, 4});
    struct session *session = named(7);
    assert_int_equal(registry_add(&one, session), ERR_OK);
    assert_null(registry_find(&two, SPAN_LIT("s7")));
    registry_remove(&one, session);
    registry_fini(&one);
    registry_fini(&two);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(finds_what_was_added_until_it_is_removed, free_all),
        cmocka_unit_test_teardown(ids_are_compared_as_bytes, free_all),
        cmocka_unit_test_teardown(mounts_do_not_share_ids, free_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

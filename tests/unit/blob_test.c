/* blob: content, counting, and readers on several threads (the tsan preset is the judge of that).
 */
#include <pthread.h>

#include "base/blob.h"
#include "harness/test.h"

static void content_is_copied(void **state)
{
    (void)state;
    char text[] = "payload\0with nul";
    struct blob *blob = blob_create(span_of(text, sizeof text));
    assert_non_null(blob);
    text[0] = 'X';
    check_span("copy", blob_span(blob), SPAN_LIT("payload\0with nul\0"));
    blob_unref(blob);
}

static void an_empty_blob_is_a_blob(void **state)
{
    (void)state;
    struct blob *blob = blob_create(SPAN_NONE);
    assert_non_null(blob);
    check_span("empty", blob_span(blob), SPAN_NONE);
    blob_unref(blob);
    blob_unref(NULL);
}

static void a_blank_blob_is_writable_to_its_end(void **state)
{
    (void)state;
    struct blob *blob = blob_create_blank(1000);
    assert_non_null(blob);
    assert_int_equal(blob->len, 1000);
    memset(blob->bytes, 'x', 1000);
    blob_unref(blob);
}

static void a_length_that_overflows_is_refused(void **state)
{
    (void)state;
    assert_null(blob_create_blank(SIZE_MAX));
    assert_null(blob_create_blank(SIZE_MAX - sizeof(struct blob) + 1));
}

static void the_last_reference_frees(void **state)
{
    (void)state;
    struct blob *blob = blob_create(SPAN_LIT("abc"));
    assert_non_null(blob);
    assert_ptr_equal(blob_ref(blob), blob);
    assert_int_equal(atomic_load(&blob->refs), 2);
    blob_unref(blob);
    assert_int_equal(atomic_load(&blob->refs), 1);
    check_span("still there", blob_span(blob), SPAN_LIT("abc"));
    blob_unref(blob); /* a leak or a second free is the sanitizer's to report */
}

enum {
    N_THREADS = 4,
    N_REFS = 20000,
};

static void *ref_and_unref(void *arg)
{
    struct blob *blob = arg;
    size_t n_bad = 0;
    for (int i = 0; i < N_REFS; i++) {
        struct blob *mine = blob_ref(blob);
        n_bad += mine->bytes[0] != 'a';
        blob_unref(mine);
    }
    blob_unref(blob);
    return n_bad == 0 ? arg : NULL;
}

static void readers_on_several_threads_may_end_in_any_order(void **state)
{
    (void)state;
    struct blob *blob = blob_create(SPAN_LIT("abc"));
    assert_non_null(blob);
    pthread_t threads[N_THREADS];
    for (int i = 0; i < N_THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, ref_and_unref, blob_ref(blob)), 0);
    }
    struct blob *mine = blob_ref(blob);
    blob_unref(blob);
    for (int i = 0; i < N_THREADS; i++) {
        void *result = NULL;
        assert_int_equal(pthread_join(threads[i], &result), 0);
        assert_ptr_equal(result, mine);
    }
    assert_int_equal(atomic_load(&mine->refs), 1);
    blob_unref(mine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(content_is_copied),
        cmocka_unit_test(an_empty_blob_is_a_blob),
        cmocka_unit_test(a_blank_blob_is_writable_to_its_end),
        cmocka_unit_test(a_length_that_overflows_is_refused),
        cmocka_unit_test(the_last_reference_frees),
        cmocka_unit_test(readers_on_several_threads_may_end_in_any_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

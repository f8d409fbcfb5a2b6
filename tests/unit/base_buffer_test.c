#include "base/buffer.h"

#include <pthread.h>

#include "unit/base_test.h"

static volatile size_t impossible = SIZE_MAX - 8;

static void an_empty_buffer_is_present(void **state)
{
    TH_BUFFER b = {0};
    assert_true(th_str_present(th_buffer_view(&b)));
    assert_int_equal(th_buffer_view(&b).len, 0);
    th_buffer_add(&b, NULL, 0);
    th_buffer_str(&b, TH_STR_ABSENT);
    th_buffer_text(&b, "");
    th_buffer_format(&b, "%s", "");
    assert_str(th_buffer_view(&b), "");
}

static void content_adds_up(void **state)
{
    TH_BUFFER b = {0};
    th_buffer_text(&b, "one");
    th_buffer_str(&b, TH_STR(" t\0wo"));
    th_buffer_add(&b, "three", 2);
    th_buffer_format(&b, "%d%%", 42);
    assert_int_equal(b.len, 13);
    assert_memory_equal(b.data, "one t\0woth42%", 13);
}

static void it_grows_over_many_additions(void **state)
{
    TH_BUFFER b = {0};
    for (int i = 0; i < 100000; i++) {
        char c = (char)('a' + i % 26);
        th_buffer_add(&b, &c, 1);
    }
    assert_int_equal(b.len, 100000);
    for (int i = 0; i < 100000; i++) {
        assert_int_equal(b.data[i], 'a' + i % 26);
    }
}

static void reserved_room_does_not_move(void **state)
{
    TH_BUFFER b = {0};
    th_buffer_reserve(&b, 1000);
    char *data = b.data;
    for (int i = 0; i < 1000; i++) {
        th_buffer_add(&b, "x", 1);
    }
    assert_ptr_equal(b.data, data);
}

/* Every length around the room that is left, where the text is formatted a second time. */
static void formatting_fits_at_every_length(void **state)
{
    static char text[301];
    memset(text, 'x', 300);
    for (int before = 0; before < 130; before++) {
        for (int len = 0; len <= 300; len += 1 + (len > 150) * 30) {
            TH_BUFFER b = {0};
            th_buffer_add(&b, text, (size_t)before);
            th_buffer_format(&b, "%.*s|%d", len, text, 7);
            assert_int_equal(b.len, before + len + 2);
            assert_memory_equal(b.data + b.len - 2, "|7", 2);
        }
    }
}

static void taking_leaves_it_empty(void **state)
{
    TH_BUFFER b = {0};
    char *nothing = th_buffer_take(&b);
    assert_string_equal(nothing, "");
    free(nothing);
    th_buffer_text(&b, "abc");
    char *text = th_buffer_take(&b);
    assert_string_equal(text, "abc");
    free(text);
    assert_int_equal(b.len, 0);
    th_buffer_text(&b, "again");
    assert_str(th_buffer_view(&b), "again");
    th_buffer_deinit(&b);
    th_buffer_deinit(&b); /* twice is fine */
}

static void reserve_too_much(void)
{
    TH_BUFFER b = {0};
    th_buffer_text(&b, "0123456789");
    th_buffer_reserve(&b, impossible);
}

static void blob_too_large(void)
{
    th_blob_alloc(impossible);
}

static void sizes_that_overflow_end_the_process(void **state)
{
    assert_true(dies(reserve_too_much));
    assert_true(dies(blob_too_large));
}

static void a_blob_lives_until_its_last_reference(void **state)
{
    struct th_blob *b = th_blob_new("a\0b", 3);
    assert_int_equal(th_blob_view(b).len, 3);
    assert_ptr_equal(th_blob_ref(b), b);
    th_blob_unref(b);
    assert_memory_equal(th_blob_view(b).data, "a\0b", 3);
    th_blob_unref(b);
}

static void no_blob_is_absent_and_an_empty_one_is_present(void **state)
{
    assert_null(th_blob_ref(NULL));
    th_blob_unref(NULL);
    assert_false(th_str_present(th_blob_view(NULL)));
    struct th_blob *b = th_blob_new(NULL, 0);
    assert_true(th_str_present(th_blob_view(b)));
    assert_int_equal(th_blob_view(b).len, 0);
    th_blob_unref(b);
}

static void *use_blob(void *argument)
{
    struct th_blob *b = argument;
    uintptr_t sum = 0;
    for (int i = 0; i < 10000; i++) {
        struct th_blob *mine = th_blob_ref(b);
        sum += (unsigned char)mine->data[i % 8];
        th_blob_unref(mine);
    }
    th_blob_unref(b);
    return (void *)sum;
}

static void threads_share_a_blob(void **state)
{
    struct th_blob *b = th_blob_alloc(8);
    memset(b->data, 1, 8);
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) {
        pthread_create(&threads[i], NULL, use_blob, th_blob_ref(b));
    }
    th_blob_unref(b); /* the last thread frees it */
    for (int i = 0; i < 4; i++) {
        void *sum;
        pthread_join(threads[i], &sum);
        assert_int_equal((uintptr_t)sum, 10000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_buffer_is_present),
        cmocka_unit_test(content_adds_up),
        cmocka_unit_test(it_grows_over_many_additions),
        cmocka_unit_test(reserved_room_does_not_move),
        cmocka_unit_test(formatting_fits_at_every_length),
        cmocka_unit_test(taking_leaves_it_empty),
        cmocka_unit_test(sizes_that_overflow_end_the_process),
        cmocka_unit_test(a_blob_lives_until_its_last_reference),
        cmocka_unit_test(no_blob_is_absent_and_an_empty_one_is_present),
        cmocka_unit_test(threads_share_a_blob),
    };
    return cmocka_run_group_tests_name("base_buffer", tests, NULL, NULL);
}

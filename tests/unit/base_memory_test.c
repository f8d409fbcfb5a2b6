#include "base/memory.h"

#include "unit/base_test.h"

/* Volatile, so that the compiler does not see the impossible size and complain. */
static volatile size_t impossible = SIZE_MAX / 2 + 2;

static void new_memory_is_zeroed(void **state)
{
    TH_AUTOFREE char *p = th_alloc(4096);
    for (size_t i = 0; i < 4096; i++) {
        assert_int_equal(p[i], 0);
    }
}

static void no_bytes_are_no_failure(void **state)
{
    TH_AUTOFREE void *p = th_alloc(0);
    assert_non_null(p);
    p = th_realloc(p, 0);
    assert_non_null(p);
    assert_null(th_memdup("x", 0));
    assert_null(th_memdup(NULL, 0));
}

static void copies_are_equal(void **state)
{
    TH_AUTOFREE char *p = th_memdup("a\0b", 3);
    assert_memory_equal(p, "a\0b", 3);
}

static void cleanup_takes_null(void **state)
{
    TH_AUTOFREE int *p = NULL;
    assert_null(p);
}

static void arrays_grow_by_doubling(void **state)
{
    size_t capacity = 0;
    int moves = 0;
    TH_AUTOFREE int *items = NULL;
    for (int i = 0; i < 10000; i++) {
        size_t before = capacity;
        items = th_grow(items, &capacity, (size_t)i + 1, sizeof(*items));
        moves += capacity != before;
        assert_true(capacity > (size_t)i);
        items[i] = i;
    }
    assert_in_range(moves, 1, 14);
    for (int i = 0; i < 10000; i++) {
        assert_int_equal(items[i], i);
    }
    int *same = th_grow(items, &capacity, capacity, sizeof(*items));
    assert_ptr_equal(same, items);
}

static void a_large_need_is_met_at_once(void **state)
{
    size_t capacity = 0;
    TH_AUTOFREE char *items = th_grow(NULL, &capacity, 1000, 1);
    assert_int_equal(capacity, 1000);
    assert_ptr_equal(th_grow(items, &capacity, 0, 1), items);
}

static void grow_beyond_size_t(void)
{
    size_t capacity = 0;
    th_grow(NULL, &capacity, impossible, 2); /* the product wraps to 4 */
}

static void alloc_too_much(void)
{
    th_alloc(impossible);
}

static void realloc_too_much(void)
{
    th_realloc(NULL, impossible);
}

static void running_out_ends_the_process(void **state)
{
    assert_true(dies(grow_beyond_size_t));
    assert_true(dies(alloc_too_much));
    assert_true(dies(realloc_too_much));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(new_memory_is_zeroed),
        cmocka_unit_test(no_bytes_are_no_failure),
        cmocka_unit_test(copies_are_equal),
        cmocka_unit_test(cleanup_takes_null),
        cmocka_unit_test(arrays_grow_by_doubling),
        cmocka_unit_test(a_large_need_is_met_at_once),
        cmocka_unit_test(running_out_ends_the_process),
    };
    return cmocka_run_group_tests_name("base_memory", tests, NULL, NULL);
}

#include "base/arena.h"

#include <stdalign.h>

#include "base/hash.h"
#include "unit/base_test.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

static volatile size_t impossible = SIZE_MAX / 2 + 2;

static void every_allocation_is_zeroed_aligned_and_its_own(void **state)
{
    TH_ARENA a = {0};
    struct th_random random;
    th_random_seed(&random, 1);
    enum { COUNT = 3000 };
    static struct {
        unsigned char *p;
        size_t size;
    } all[COUNT];
    for (int round = 0; round < 3; round++) { /* the later ones reuse memory */
        size_t total = 0;
        for (int i = 0; i < COUNT; i++) {
            size_t most = i % 100 == 0 ? 200000 : i % 10 == 0 ? 5000 : 100;
            all[i].size = th_random_below(&random, most);
            all[i].p = th_arena_alloc(&a, all[i].size);
            assert_int_equal((uintptr_t)all[i].p % alignof(max_align_t), 0);
            for (size_t k = 0; k < all[i].size; k++) {
                assert_int_equal(all[i].p[k], 0);
            }
            memset(all[i].p, i % 251 + 1, all[i].size);
            total += all[i].size;
        }
        assert_int_equal(a.total, total);
        for (int i = 0; i < COUNT; i++) {
            for (size_t k = 0; k < all[i].size; k++) {
                assert_int_equal(all[i].p[k], i % 251 + 1);
            }
        }
        th_arena_reset(&a);
        assert_int_equal(a.total, 0);
    }
}

static void no_bytes_have_an_address_of_their_own(void **state)
{
    TH_ARENA a = {0};
    void *first = th_arena_alloc(&a, 0);
    void *second = th_arena_dup(&a, NULL, 0);
    assert_non_null(first);
    assert_non_null(second);
    assert_ptr_not_equal(first, second);
}

static void copies(void **state)
{
    TH_ARENA a = {0};
    assert_memory_equal(th_arena_dup(&a, "a\0b", 3), "a\0b", 3);
    assert_str(th_arena_str(&a, TH_STR("text")), "text");
    assert_string_equal(th_arena_str(&a, th_str_n("text", 3)).data, "tex");
    assert_false(th_str_present(th_arena_str(&a, TH_STR_ABSENT)));
    struct th_str empty = th_arena_str(&a, TH_STR(""));
    assert_true(th_str_present(empty));
    assert_int_equal(empty.len, 0);
}

static void formats_of_every_length(void **state)
{
    TH_ARENA a = {0};
    static char text[10001];
    memset(text, 'x', 10000);
    for (int len = 0; len <= 10000; len += len < 300 ? 1 : 1940) {
        struct th_str s = th_arena_format(&a, "%.*s:%d", len, text, 5);
        assert_int_equal(s.len, len + 2);
        assert_string_equal(s.data + len, ":5");
    }
    assert_true(th_str_present(th_arena_format(&a, "%s", "")));
}

static void a_reset_keeps_one_block(void **state)
{
    TH_ARENA a = {0};
    void *first = th_arena_alloc(&a, 100);
    th_arena_reset(&a);
    assert_ptr_equal(th_arena_alloc(&a, 100), first);
    for (int i = 0; i < 10000; i++) { /* over many blocks, and one large allocation */
        th_arena_alloc(&a, 100);
    }
    th_arena_alloc(&a, 1 << 20);
    th_arena_reset(&a);
    struct th_arena_block *kept = a.blocks;
    assert_non_null(kept);
    for (int i = 0; i < 500; i++) {
        th_arena_alloc(&a, 100);
    }
    assert_ptr_equal(a.blocks, kept); /* the largest, so a middling round needs no more */
}

static void one_huge_request_is_not_kept(void **state)
{
    TH_ARENA a = {0};
    th_arena_alloc(&a, 1 << 20);
    th_arena_reset(&a);
    assert_null(a.blocks);
    assert_non_null(th_arena_alloc(&a, 1));
}

static void what_a_reset_took_back_is_poisoned(void **state)
{
#ifdef __SANITIZE_ADDRESS__
    TH_ARENA a = {0};
    char *p = th_arena_alloc(&a, 3);
    assert_false(__asan_address_is_poisoned(p + 2));
    assert_true(__asan_address_is_poisoned(p + 3));
    th_arena_reset(&a);
    assert_true(__asan_address_is_poisoned(p));
#else
    skip();
#endif
}

static void what_is_adopted_lives_on(void **state)
{
    TH_ARENA arena = {0};
    for (int round = 0; round < 3; round++) {
        struct th_arena other = {0};
        struct th_str text = th_arena_format(&other, "round %d", round);
        char *large = th_arena_alloc(&other, 100000);
        th_arena_adopt(&arena, &other);
        assert_null(other.blocks);
        assert_int_equal(other.total, 0);
        assert_int_equal(text.data[6], '0' + round);
        memset(large, round, 100000);
        th_arena_format(&arena, "beside it");
        th_arena_adopt(&arena, &other); /* nothing is fine */
    }
    assert_true(arena.total > 300000);
}

static void an_unused_arena_costs_nothing(void **state)
{
    TH_ARENA a = {0};
    th_arena_reset(&a);
    th_arena_deinit(&a);
    th_arena_deinit(&a);
    assert_null(a.blocks);
}

static void array_that_wraps(void)
{
    TH_ARENA a = {0};
    TH_ARENA_ARRAY(&a, uint64_t, impossible);
}

static void negative_count(void)
{
    TH_ARENA a = {0};
    volatile int count = -1;
    TH_ARENA_ARRAY(&a, char, count);
}

static void too_much(void)
{
    TH_ARENA a = {0};
    th_arena_alloc(&a, impossible);
}

static void sizes_that_overflow_end_the_process(void **state)
{
    assert_true(dies(array_that_wraps));
    assert_true(dies(negative_count));
    assert_true(dies(too_much));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_allocation_is_zeroed_aligned_and_its_own),
        cmocka_unit_test(no_bytes_have_an_address_of_their_own),
        cmocka_unit_test(copies),
        cmocka_unit_test(formats_of_every_length),
        cmocka_unit_test(a_reset_keeps_one_block),
        cmocka_unit_test(one_huge_request_is_not_kept),
        cmocka_unit_test(what_a_reset_took_back_is_poisoned),
        cmocka_unit_test(what_is_adopted_lives_on),
        cmocka_unit_test(an_unused_arena_costs_nothing),
        cmocka_unit_test(sizes_that_overflow_end_the_process),
    };
    return cmocka_run_group_tests_name("base_arena", tests, NULL, NULL);
}

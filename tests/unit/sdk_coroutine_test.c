/* Coroutines, with our own switch and, in a second program, with ucontext's. */
#include "sdk/coroutine.h"

#include <fenv.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

struct work {
    struct th_coroutine *self;
    int steps, done;
    double sum;
};

static void count(void *argument)
{
    struct work *w = argument;
    double x = 1.5; /* a register that must survive the switch */
    for (w->done = 0; w->done < w->steps; w->done++) {
        x *= 1.25;
        th_coroutine_suspend(w->self);
    }
    w->sum = x;
}

static void test_goes_back_and_forth(void **state)
{
    struct th_stacks *stacks = th_stacks_new(64 * 1024, 4);
    struct work w = {.steps = 3};
    w.self = th_coroutine_new(stacks, count, &w);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(w.done, i ? i - 1 : 0);
        assert_true(th_coroutine_resume(w.self));
    }
    assert_false(th_coroutine_resume(w.self));
    assert_int_equal(w.done, 3);
    assert_true(w.sum == 1.5 * 1.25 * 1.25 * 1.25);
    th_coroutine_free(w.self);
    th_stacks_free(stacks);
}

static void test_many_at_once(void **state)
{
    enum { COUNT = 500 };
    struct th_stacks *stacks = th_stacks_new(64 * 1024, 8);
    struct work *all = calloc(COUNT, sizeof(*all));
    for (int i = 0; i < COUNT; i++) {
        all[i].steps = i % 7;
        all[i].self = th_coroutine_new(stacks, count, &all[i]);
        assert_non_null(all[i].self);
    }
    for (int left = COUNT; left;) {
        for (int i = 0; i < COUNT; i++) {
            if (all[i].self && !th_coroutine_resume(all[i].self)) {
                assert_int_equal(all[i].done, i % 7);
                th_coroutine_free(all[i].self);
                all[i].self = NULL;
                left--;
            }
        }
    }
    free(all);
    th_stacks_free(stacks);
}

/* Stacks are reused, also those of coroutines that never finished. */
static void test_unfinished_may_be_freed(void **state)
{
    struct th_stacks *stacks = th_stacks_new(64 * 1024, 1);
    for (int i = 0; i < 10; i++) {
        struct work w = {.steps = 2};
        w.self = th_coroutine_new(stacks, count, &w);
        if (i % 3) {
            assert_true(th_coroutine_resume(w.self));
        }
        th_coroutine_free(w.self);
    }
    th_coroutine_free(NULL);
    th_stacks_free(stacks);
    th_stacks_free(NULL);
}

static void rounds_up(void *argument)
{
    struct work *w = argument;
    fesetround(FE_UPWARD);
    th_coroutine_suspend(w->self);
    w->done = fegetround();
}

static void test_rounding_mode_stays_inside(void **state)
{
    struct th_stacks *stacks = th_stacks_new(64 * 1024, 1);
    struct work w = {0};
    w.self = th_coroutine_new(stacks, rounds_up, &w);
    assert_true(th_coroutine_resume(w.self));
    assert_int_equal(fegetround(), FE_TONEAREST);
    assert_false(th_coroutine_resume(w.self));
    assert_int_equal(w.done, FE_UPWARD);
    assert_int_equal(fegetround(), FE_TONEAREST);
    th_coroutine_free(w.self);
    th_stacks_free(stacks);
}

static volatile unsigned char sink;

__attribute__((noinline)) static unsigned char deeper(int levels)
{
    volatile unsigned char frame[1024];
    memset((void *)frame, levels, sizeof(frame));
    unsigned char below = levels ? deeper(levels - 1) : 0;
    return (unsigned char)(below + frame[0]);
}

static void deep(void *argument)
{
    sink = deeper(*(int *)argument);
}

/* Runs in a child process: how deep, and with which signal does it end? */
static int ends_with(int levels)
{
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        static char alternative[65536];
        struct rlimit none = {0, 0};
        stack_t ss = {.ss_sp = alternative, .ss_size = sizeof(alternative)};
        setrlimit(RLIMIT_CORE, &none);
        signal(SIGSEGV, SIG_DFL);
        sigaltstack(&ss, NULL);
        struct th_stacks *stacks = th_stacks_new(64 * 1024, 1);
        struct th_coroutine *c = th_coroutine_new(stacks, deep, &levels);
        _exit(th_coroutine_resume(c));
    }
    int status = 0;
    waitpid(child, &status, 0);
    return WIFSIGNALED(status) ? WTERMSIG(status) : -WEXITSTATUS(status);
}

static void test_too_deep_is_a_crash_at_once(void **state)
{
#ifdef __SANITIZE_ADDRESS__
    skip(); /* frames have another size there */
#endif
    assert_int_equal(ends_with(50), 0);
    assert_int_equal(ends_with(70), SIGSEGV);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_goes_back_and_forth),
        cmocka_unit_test(test_many_at_once),
        cmocka_unit_test(test_unfinished_may_be_freed),
        cmocka_unit_test(test_rounding_mode_stays_inside),
        cmocka_unit_test(test_too_deep_is_a_crash_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

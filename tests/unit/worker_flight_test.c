/*
 * The flight recorder: a child process dies in some way inside a slot; what the next one reads
 * must name it. Sanitizers are kept out of the children's crashes by their own signals' defaults.
 */
#include "worker/flight.h"

#include "unit/base_test.h"

#include <pthread.h>
#include <semaphore.h>
#include <signal.h>

#include "base/memory.h"

static char path[64];

static int setup(void **state)
{
    snprintf(path, sizeof path, "/tmp/taskhub-flight-%d", (int)getpid());
    unlink(path);
    return 0;
}

static int teardown(void **state)
{
    unlink(path);
    return 0;
}

/* Runs `act` in a child with a recorder of this file; returns how it ended. */
static int in_child(void (*act)(struct th_flight *flight))
{
    pid_t child = fork();
    int status = 0;
    if (child == 0) {
        struct th_flight *flight = th_flight_open(path, false, NULL);
        if (!flight || !th_flight_guard_process(flight, NULL))
            _exit(99);
        act(flight);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static void busy(struct th_flight *flight, int32_t task_id)
{
    struct th_flight_slot *slot = th_flight_join(flight);
    th_flight_begin(slot, TH_STR("order-17"), task_id, TH_STR("charge"), th_monotonic());
}

static void segfault(struct th_flight *flight)
{
    busy(flight, 5);
    raise(SIGSEGV);
}

static void overflow_down(volatile char *above)
{
    volatile char frame[4096];
    frame[0] = above[0];
    if (frame[0] == 0) /* always, but the compiler cannot know */
        overflow_down(frame);
    above[0] = frame[0];
}

static void *overflow_thread(void *argument)
{
    char start = 0;
    busy(argument, 6);
    overflow_down(&start);
    return NULL;
}

static void stack_overflow(struct th_flight *flight)
{
    pthread_t thread;
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 128 * 1024);
    pthread_create(&thread, &small, overflow_thread, flight);
    pthread_join(thread, NULL);
}

static void aborts(struct th_flight *flight)
{
    busy(flight, TH_FLIGHT_EPISODE);
    abort();
}

static void exits(struct th_flight *flight)
{
    busy(flight, 7);
    exit(3);
}

static void crashes_outside(struct th_flight *flight)
{
    struct th_flight_slot *slot = th_flight_join(flight);
    th_flight_begin(slot, TH_STR("order-17"), 5, TH_STR("charge"), th_monotonic());
    th_flight_end(slot);
    raise(SIGSEGV);
}

static void grandchild_crashes(struct th_flight *flight)
{
    busy(flight, 5);
    pid_t child = fork();
    if (child == 0)
        raise(SIGSEGV);
    waitpid(child, NULL, 0);
}

static void killed(struct th_flight *flight)
{
    busy(flight, 5);
    raise(SIGKILL);
}

static void gets_stuck(struct th_flight *flight)
{
    th_time now = th_monotonic();
    busy(flight, TH_FLIGHT_EPISODE);
    if (th_flight_mark_stuck(flight, now - TH_SECOND, now))
        _exit(98); /* too early */
    th_time later = th_monotonic() + 11 * TH_SECOND;
    if (th_flight_mark_stuck(flight, later - 10 * TH_SECOND, later))
        abort();
}

static void activity_is_never_stuck(struct th_flight *flight)
{
    busy(flight, 5);
    if (th_flight_mark_stuck(flight, th_monotonic() + TH_SECOND, th_monotonic() + TH_SECOND))
        _exit(98);
}

static void expect_culprit(int32_t task_id, const char *reason)
{
    struct th_flight *flight = th_flight_open(path, false, NULL);
    assert_non_null(flight);
    assert_int_equal(th_flight_culprits(flight), 1);
    const struct th_flight_culprit *culprit = th_flight_culprit(flight, 0);
    assert_string_equal(culprit->instance_id, "order-17");
    assert_string_equal(culprit->name, "charge");
    assert_int_equal(culprit->task_id, task_id);
    assert_non_null(strstr(culprit->reason, reason));
    th_flight_close(flight);
}

static void expect_nobody(void)
{
    struct th_flight *flight = th_flight_open(path, false, NULL);
    assert_non_null(flight);
    assert_int_equal(th_flight_culprits(flight), 0);
    th_flight_close(flight);
}

static void names_a_segfault(void **state)
{
    int status = in_child(segfault);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
    expect_culprit(5, "SIGSEGV");
    expect_nobody(); /* reading cleared it */
}

static void names_a_stack_overflow(void **state)
{
    int status = in_child(stack_overflow);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
    expect_culprit(6, "SIGSEGV");
}

static void names_an_abort(void **state)
{
    int status = in_child(aborts);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    expect_culprit(TH_FLIGHT_EPISODE, "SIGABRT");
}

static void names_an_exit(void **state)
{
    int status = in_child(exits);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 3);
    expect_culprit(7, "exit()");
}

static void underscore_exits(struct th_flight *flight)
{
    busy(flight, 8);
    _exit(3);
}

static sem_t is_busy;

static void *busy_thread(void *argument)
{
    busy(argument, 9);
    sem_post(&is_busy);
    for (;;)
        pause();
    return NULL;
}

static void underscore_exits_beside_another(struct th_flight *flight)
{
    pthread_t thread;
    sem_init(&is_busy, 0, 0);
    pthread_create(&thread, NULL, busy_thread, flight);
    sem_wait(&is_busy);
    underscore_exits(flight);
}

/* The count of the culprit with this task id; 0: it is none. */
static uint32_t count_after_exit(int32_t task_id, size_t suspects)
{
    uint32_t count = 0;
    struct th_flight *flight = th_flight_open(path, true, NULL);
    assert_int_equal(th_flight_culprits(flight), suspects);
    for (size_t i = 0; i < suspects; i++)
        if (th_flight_culprit(flight, i)->task_id == task_id)
            count = th_flight_culprit(flight, i)->count;
    th_flight_close(flight);
    return count;
}

static void finds_a_silent_exit(void **state)
{
    in_child(underscore_exits);
    assert_int_equal(count_after_exit(8, 1), 1);
    in_child(underscore_exits);
    expect_nobody(); /* nothing is known of how it ended */
    in_child(underscore_exits_beside_another);
    assert_int_equal(count_after_exit(8, 2), 2); /* seen more often than the other */
    in_child(underscore_exits_beside_another);
    assert_int_equal(count_after_exit(9, 2), 1);
}

static void bounds_what_cannot_be_told_apart(void **state)
{
    uint32_t expected[] = {1, 1, 1, 2, 2, 2, 3};
    for (size_t i = 0; i < TH_COUNT(expected); i++) {
        in_child(underscore_exits_beside_another);
        assert_int_equal(count_after_exit(8, 2), expected[i]);
    }
}

static void names_an_episode_that_spins(void **state)
{
    int status = in_child(gets_stuck);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    expect_culprit(TH_FLIGHT_EPISODE, "11000 ms");
}

static void blames_nobody_else(void **state)
{
    in_child(crashes_outside);
    expect_nobody();
    in_child(killed);
    expect_nobody();
    assert_int_equal(in_child(grandchild_crashes), 0);
    expect_nobody();
    assert_int_equal(in_child(activity_is_never_stuck), 0);
    expect_nobody();
}

static void expect_count(uint32_t count)
{
    struct th_flight *flight = th_flight_open(path, false, NULL);
    assert_int_equal(th_flight_culprits(flight), 1);
    assert_int_equal(th_flight_culprit(flight, 0)->count, count);
    th_flight_close(flight);
}

static void counts_crashes_in_a_row(void **state)
{
    in_child(segfault);
    expect_count(1);
    in_child(segfault);
    expect_count(2);
    in_child(aborts); /* another one */
    expect_count(1);
    in_child(killed);
    expect_nobody();
    in_child(segfault);
    struct th_flight *flight = th_flight_open(path, false, NULL);
    assert_int_equal(th_flight_culprit(flight, 0)->count, 3);
    th_flight_settle(flight, 0);
    th_flight_close(flight);
    in_child(segfault);
    expect_count(1);
}

static void starts_anew_over_garbage(void **state)
{
    FILE *out = fopen(path, "w");
    for (int i = 0; i < 100000; i++)
        fputs("garbage ", out);
    fclose(out);
    expect_nobody();
    struct th_error error;
    assert_null(th_flight_open("/nonexistent/x.flight", false, &error));
    assert_int_equal(error.code, TH_IO);
    assert_non_null(strstr(error.message, "/nonexistent/x.flight"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(names_a_segfault, setup, teardown),
        cmocka_unit_test_setup_teardown(names_a_stack_overflow, setup, teardown),
        cmocka_unit_test_setup_teardown(names_an_abort, setup, teardown),
        cmocka_unit_test_setup_teardown(names_an_exit, setup, teardown),
        cmocka_unit_test_setup_teardown(finds_a_silent_exit, setup, teardown),
        cmocka_unit_test_setup_teardown(bounds_what_cannot_be_told_apart, setup, teardown),
        cmocka_unit_test_setup_teardown(names_an_episode_that_spins, setup, teardown),
        cmocka_unit_test_setup_teardown(blames_nobody_else, setup, teardown),
        cmocka_unit_test_setup_teardown(counts_crashes_in_a_row, setup, teardown),
        cmocka_unit_test_setup_teardown(starts_anew_over_garbage, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

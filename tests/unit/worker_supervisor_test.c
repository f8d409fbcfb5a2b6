/*
 * The supervisor, run in a child of the test, with a child of its own that ends in various ways.
 * Counters live in shared memory so that every process sees them.
 */
#include "worker/supervisor.h"

#include "unit/base_test.h"

#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <time.h>

#include "base/memory.h"

struct counters {
    atomic_int starts;
    atomic_int child; /* pid of the current one, once it is ready */
};

static struct counters *counters;

static int setup(void **state)
{
    counters =
        mmap(NULL, sizeof *counters, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return counters == MAP_FAILED;
}

static int teardown(void **state)
{
    return munmap(counters, sizeof *counters);
}

static pid_t supervise(int (*run)(void *, struct th_supervised *, unsigned))
{
    pid_t pid = fork();
    if (pid == 0) {
        struct th_supervisor_options options = {
            .run = run, .max_failures = 4, .first_delay = TH_MILLISECOND};
        _exit(th_supervise(&options));
    }
    return pid;
}

static int end_of(pid_t pid)
{
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* The pid of a child that is ready and not `before`. */
static pid_t ready_child(pid_t before)
{
    time_t deadline = time(NULL) + 20;
    while (counters->child == 0 || counters->child == before) {
        assert_true(time(NULL) < deadline);
        sched_yield();
    }
    return counters->child;
}

static int refuses(void *argument, struct th_supervised *self, unsigned restarts)
{
    counters->starts++;
    return 2;
}

static int crashes_at_start(void *argument, struct th_supervised *self, unsigned restarts)
{
    counters->starts++;
    raise(SIGKILL);
    return 0;
}

/* As an application does whose work begins before everything is ready. */
static int exits_while_it_starts(void *argument, struct th_supervised *self, unsigned restarts)
{
    counters->starts++;
    if (restarts < 2)
        _exit(0);
    th_supervised_ready(self);
    counters->child = getpid();
    th_supervised_wait(self);
    return 5;
}

static int serves(void *argument, struct th_supervised *self, unsigned restarts)
{
    assert_int_equal(restarts, counters->starts);
    counters->starts++;
    th_supervised_ready(self);
    counters->child = getpid();
    th_supervised_wait(self);
    return 0;
}

static int ends_by_itself(void *argument, struct th_supervised *self, unsigned restarts)
{
    counters->starts++;
    th_supervised_ready(self);
    if (restarts < 2)
        return 0; /* nobody asked for that: it is started again */
    counters->child = getpid();
    th_supervised_wait(self);
    return 5;
}

static int ignores_orders(void *argument, struct th_supervised *self, unsigned restarts)
{
    th_supervised_ready(self);
    counters->child = getpid();
    while (counters->child)
        pause();
    return 0;
}

static void does_not_repeat_a_refusal(void **state)
{
    assert_int_equal(end_of(supervise(refuses)), 2);
    assert_int_equal(counters->starts, 1);
}

static void gives_up_on_a_start_that_crashes(void **state)
{
    assert_int_equal(end_of(supervise(crashes_at_start)), 1);
    assert_int_equal(counters->starts, 4);
}

static void an_exit_in_the_midst_of_a_start_is_no_refusal(void **state)
{
    pid_t pid = supervise(exits_while_it_starts);
    ready_child(0);
    kill(pid, SIGTERM);
    assert_int_equal(end_of(pid), 5);
    assert_int_equal(counters->starts, 3);
}

static void starts_again_after_kills_and_stops_when_told(void **state)
{
    pid_t pid = supervise(serves);
    pid_t child = 0;
    for (int i = 0; i < 5; i++) {
        child = ready_child(child);
        assert_int_equal(kill(child, SIGKILL), 0);
    }
    ready_child(child);
    assert_int_equal(kill(pid, SIGINT), 0); /* passed on as SIGTERM */
    assert_int_equal(end_of(pid), 0);
    assert_int_equal(counters->starts, 6);
}

static void starts_again_what_ends_unasked(void **state)
{
    pid_t pid = supervise(ends_by_itself);
    ready_child(0);
    kill(pid, SIGTERM);
    assert_int_equal(end_of(pid), 5);
    assert_int_equal(counters->starts, 3);
}

static void a_second_order_kills(void **state)
{
    pid_t pid = supervise(ignores_orders);
    ready_child(0);
    kill(pid, SIGTERM);
    /* Two equal signals may merge into one; different ones do not. */
    kill(pid, SIGINT);
    assert_int_equal(end_of(pid), 0);
}

static void takes_its_child_along(void **state)
{
    pid_t pid = supervise(serves);
    pid_t child = ready_child(0);
    kill(pid, SIGKILL);
    int status;
    waitpid(pid, &status, 0);
    time_t deadline = time(NULL) + 20;
    char path[64];
    char state_letter = 'R';
    snprintf(path, sizeof path, "/proc/%d/stat", (int)child);
    while (state_letter != 'Z') { /* gone, or a zombie that nobody reaps in a container */
        FILE *in = fopen(path, "r");
        if (!in)
            break;
        if (fscanf(in, "%*d (%*[^)]) %c", &state_letter) != 1)
            state_letter = 'R';
        fclose(in);
        assert_true(time(NULL) < deadline);
        sched_yield();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(does_not_repeat_a_refusal, setup, teardown),
        cmocka_unit_test_setup_teardown(gives_up_on_a_start_that_crashes, setup, teardown),
        cmocka_unit_test_setup_teardown(an_exit_in_the_midst_of_a_start_is_no_refusal, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(starts_again_after_kills_and_stops_when_told, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(starts_again_what_ends_unasked, setup, teardown),
        cmocka_unit_test_setup_teardown(a_second_order_kills, setup, teardown),
        cmocka_unit_test_setup_teardown(takes_its_child_along, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * Who works on a hub, through a real broker: several members in one process, each with its own
 * thread, which see each other come, speak, end and vanish; and the broker that goes away.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/memory.h"
#include "base/queue.h"
#include "contract/rig.h"
#include "control/control.h"

#define PATIENCE (20 * TH_SECOND)

struct member {
    const char *name;
    struct th_control *control;
    atomic_int joined, changed, gone, farewells, ready;
};

static struct th_kafka_cluster cluster;
static struct th_hub_record hub;

/* ---- callbacks, on the threads of control ---- */

static void on_joined(void *argument, const struct th_member *member)
{
    atomic_fetch_add(&((struct member *)argument)->joined, 1);
}

static void on_changed(void *argument, const struct th_member *before, const struct th_member *now)
{
    if (now->serial > before->serial) {
        atomic_fetch_add(&((struct member *)argument)->changed, 1);
    }
}

static void on_gone(void *argument, const struct th_member *member, bool farewell)
{
    struct member *m = argument;
    atomic_fetch_add(&m->gone, 1);
    atomic_fetch_add(&m->farewells, farewell);
}

static void on_ready(void *argument)
{
    atomic_fetch_add(&((struct member *)argument)->ready, 1);
}

/* ---- members ---- */

static void open_member(struct member *m, const char *name)
{
    struct th_error error;
    *m = (struct member){.name = name};
    const struct th_control_options options = {.cluster = &cluster,
                                               .hub = &hub,
                                               .log = cluster.log,
                                               .argument = m,
                                               .joined = on_joined,
                                               .changed = on_changed,
                                               .gone = on_gone,
                                               .ready = on_ready};
    m->control = th_control_open(&options, &error);
    assert_non_null(m->control);
}

static uint64_t say(struct member *m, uint32_t pid, bool at_once)
{
    const struct th_member self = {
        .kind = TH_MEMBER_WORKER, .name = th_str_of(m->name), .pid = pid, .started = TH_TIME_NONE};
    return th_control_publish(m->control, &self, at_once);
}

static bool sees(struct member *m, const char *name, uint32_t pid)
{
    TH_CONTROL_VIEW view = {0};
    th_control_look(m->control, &view);
    for (size_t i = 0; i < view.count; i++) {
        if (th_str_eq(view.members[i]->name, th_str_of(name))) {
            return view.members[i]->pid == pid;
        }
    }
    return false;
}

#define UNTIL(condition)                                    \
    do {                                                    \
        th_time deadline_ = th_monotonic() + PATIENCE;      \
        while (!(condition)) {                              \
            if (th_monotonic() > deadline_) {               \
                fail_msg("waited in vain: %s", #condition); \
            }                                               \
            usleep(1000);                                   \
        }                                                   \
    } while (0)

/* A hub of its own for each test. */
static void set_up_hub(void)
{
    static char name[64];
    struct th_kafka_hub found;
    struct th_error error;
    rig_hub_name(name);
    rig_create_hub(name, 2);
    assert_true(th_kafka_find_hub(&cluster, name, &found, &error));
    hub = found.record;
}

static void members_see_each_other(void **state)
{
    struct member a, b;
    set_up_hub();
    open_member(&a, "a");
    say(&a, 1, true);
    UNTIL(sees(&a, "a", 1));
    open_member(&b, "b");
    UNTIL(b.ready == 1);
    assert_true(sees(&b, "a", 1));
    assert_true(th_control_alive(b.control, TH_STR("a")));
    assert_false(th_control_alive(a.control, TH_STR("b")));
    say(&b, 2, true);
    UNTIL(sees(&a, "b", 2) && a.joined == 2);
    say(&b, 3, true);
    UNTIL(sees(&a, "b", 3) && a.changed > 0);
    th_control_close(b.control);
    UNTIL(a.gone == 1);
    assert_int_equal(a.farewells, 1);
    assert_false(th_control_alive(a.control, TH_STR("b")));
    th_control_close(a.control);
    rig_delete_hub(hub.name);
}

/* What is published at once is read by others long before the next heartbeat is due. */
static void what_is_urgent_travels_at_once(void **state)
{
    struct member a, b;
    set_up_hub();
    open_member(&a, "a");
    open_member(&b, "b");
    say(&a, 1, true);
    UNTIL(sees(&b, "a", 1));
    th_time began = th_monotonic();
    for (uint32_t n = 2; n < 22; n++) {
        say(&a, n, true);
        UNTIL(sees(&b, "a", n));
    }
    th_time took = (th_monotonic() - began) / 20;
    print_message("a word at once takes %lld us\n", (long long)took);
    assert_true(took < 200 * TH_MILLISECOND);
    th_control_close(a.control);
    th_control_close(b.control);
    rig_delete_hub(hub.name);
}

static void another_incarnation_is_ignored(void **state)
{
    struct member a, b;
    set_up_hub();
    open_member(&a, "a");
    hub.incarnation++;
    open_member(&b, "b");
    say(&a, 1, true);
    say(&b, 1, true);
    UNTIL(sees(&a, "a", 1) && sees(&b, "b", 1));
    assert_false(sees(&a, "b", 1));
    assert_false(sees(&b, "a", 1));
    th_control_close(a.control);
    th_control_close(b.control);
    rig_delete_hub(hub.name);
}

/* The broker is away for longer than the patience; nobody is gone for it. */
static void nobody_is_gone_because_the_broker_is(void **state)
{
    struct member a, b;
    set_up_hub();
    open_member(&a, "a");
    open_member(&b, "b");
    say(&a, 1, true);
    say(&b, 1, true);
    UNTIL(sees(&a, "b", 1) && sees(&b, "a", 1));
    rig_broker("kill");
    UNTIL(th_control_heard_ago(a.control) > 5 * TH_SECOND);
    assert_true(th_control_alive(a.control, TH_STR("b")));
    rig_broker("start");
    say(&a, 2, true);
    say(&b, 2, true);
    UNTIL(sees(&a, "b", 2) && sees(&b, "a", 2));
    assert_int_equal(a.gone, 0);
    assert_int_equal(b.gone, 0);
    UNTIL(th_control_heard_ago(a.control) < 1 * TH_SECOND);
    th_control_close(a.control);
    th_control_close(b.control);
    rig_delete_hub(hub.name);
}

/* A record that nobody renews: of one who died without a word. */
static void who_dies_without_a_word_is_gone(void **state)
{
    struct member a, b;
    set_up_hub();
    open_member(&a, "a");
    say(&a, 1, true);
    UNTIL(sees(&a, "a", 1));
    pid_t child = fork();
    if (child == 0) {
        open_member(&b, "b");
        say(&b, 2, true);
        UNTIL(sees(&b, "b", 2));
        _exit(0);
    }
    UNTIL(sees(&a, "b", 2));
    th_time began = th_monotonic();
    UNTIL(a.gone == 1);
    print_message("gone after %lld ms\n", (long long)((th_monotonic() - began) / TH_MILLISECOND));
    assert_int_equal(a.farewells, 0);
    open_member(&b, "c");
    UNTIL(b.ready == 1);
    assert_false(sees(&b, "b", 2));
    th_control_close(a.control);
    th_control_close(b.control);
    rig_delete_hub(hub.name);
}

int main(void)
{
    cluster = rig_cluster();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_see_each_other),
        cmocka_unit_test(what_is_urgent_travels_at_once),
        cmocka_unit_test(another_incarnation_is_ignored),
        cmocka_unit_test(who_dies_without_a_word_is_gone),
        cmocka_unit_test(nobody_is_gone_because_the_broker_is),
    };
    return cmocka_run_group_tests_name("control", tests, NULL, NULL);
}

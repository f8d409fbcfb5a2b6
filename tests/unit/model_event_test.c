#include "unit/base_test.h"

#include "base/memory.h"
#include "unit/model_sample.h"

static void a_new_event_has_nothing_but_kind_and_time(void **state)
{
    struct th_event event = th_event_of(TH_EVENT_TIMER_FIRED, 42);
    assert_int_equal(event.kind, TH_EVENT_TIMER_FIRED);
    assert_true(event.timestamp == 42);
    assert_true(event.fire_at == TH_TIME_NONE);
    assert_int_equal(event.id, -1);
    assert_int_equal(event.related_id, -1);
    assert_false(th_str_present(event.name));
    assert_null(event.failure);
    assert_int_equal(event.tags.count, 0);
}

static void copies_are_equal_and_own(void **state)
{
    struct th_random random;
    th_random_seed(&random, 11);
    for (int i = 0; i < 1000; i++) {
        TH_ARENA first = {0};
        TH_ARENA second = {0};
        TH_ARENA third = {0};
        struct th_event event = sample_event(&random, &first);
        struct th_event copy = th_event_copy(&second, &event);
        assert_true(th_event_equal(&event, &copy));
        struct th_event kept = th_event_copy(&third, &event);
        th_arena_deinit(&first); /* a sanitizer reports what still points there */
        assert_true(th_event_equal(&copy, &kept));
    }
}

/* Each field alone makes two events differ: a field forgotten in a table of macros would not. */
static void every_field_is_compared(void **state)
{
    static const struct th_failure failure = {.message = {"no", 2}};
    static const struct th_failure other = {.message = {"no", 2}, .inner = &failure};
    static const struct th_parent parent = {.task_id = 3};
    static const struct th_parent other_parent = {.task_id = 4};
    static const struct th_tag tag = {{"k", 1}, {"v", 1}};
    static const struct th_tag other_tag = {{"k", 1}, {"w", 1}};
    static const struct th_str ids[] = {{"a", 1}, {"b", 1}};
    struct th_event a = th_event_of(TH_EVENT_TASK_FAILED, 1);
    a.failure = &failure;
    a.parent = &parent;
    a.tags = (struct th_tags){&tag, 1};
    a.lock_set = (struct th_strs){ids, 1};
#define DIFFERS(field, value)                 \
    do {                                      \
        struct th_event b = a;                \
        assert_true(th_event_equal(&a, &b));  \
        b.field = value;                      \
        assert_false(th_event_equal(&a, &b)); \
        assert_false(th_event_equal(&b, &a)); \
    } while (0)
    DIFFERS(kind, TH_EVENT_TASK_COMPLETED);
    DIFFERS(id, 0);
    DIFFERS(related_id, 0);
    DIFFERS(timestamp, 2);
    DIFFERS(fire_at, 2);
    DIFFERS(status, TH_STATUS_FAILED);
    DIFFERS(recurse, true);
    DIFFERS(name, TH_STR("")); /* empty is not absent */
    DIFFERS(version, TH_STR("1"));
    DIFFERS(data, TH_STR("1"));
    DIFFERS(instance_id, TH_STR("1"));
    DIFFERS(execution_id, TH_STR("1"));
    DIFFERS(reason, TH_STR("1"));
    DIFFERS(trace, TH_STR("1"));
    DIFFERS(request_id, TH_STR("1"));
    DIFFERS(failure, NULL);
    DIFFERS(failure, &other);
    DIFFERS(parent, NULL);
    DIFFERS(parent, &other_parent);
    DIFFERS(tags, ((struct th_tags){0}));
    DIFFERS(tags, ((struct th_tags){&other_tag, 1}));
    DIFFERS(lock_set, ((struct th_strs){0}));
    DIFFERS(lock_set, ((struct th_strs){ids, 2}));
    DIFFERS(lock_set, ((struct th_strs){ids + 1, 1}));
}

static void kinds_have_names(void **state)
{
    enum th_event_kind kind;
    assert_string_equal(th_event_kind_text(TH_EVENT_CHILD_CREATED),
                        "SubOrchestrationInstanceCreated");
    assert_string_equal(th_event_kind_text((enum th_event_kind)33), "?");
#define X(name, number, text)                              \
    assert_true(th_event_kind_parse(TH_STR(text), &kind)); \
    assert_int_equal(kind, number);                        \
    assert_string_equal(th_event_kind_text(kind), text);
    TH_EVENT_KINDS(X)
#undef X
    assert_false(th_event_kind_parse(TH_STR("taskScheduled"), &kind));
    assert_false(th_event_kind_parse(TH_STR(""), &kind));
}

static void statuses_have_names(void **state)
{
    enum th_status status;
#define X(name, number, text, terminal)                  \
    assert_true(th_status_parse(TH_STR(text), &status)); \
    assert_int_equal(status, number);                    \
    assert_string_equal(th_status_text(status), text);   \
    assert_int_equal(th_status_terminal(status), terminal);
    TH_STATUSES(X)
#undef X
    assert_true(th_status_parse(TH_STR("continuedASnew"), &status));
    assert_int_equal(status, TH_STATUS_CONTINUED_AS_NEW);
    assert_false(th_status_parse(TH_STR("Done"), &status));
    assert_string_equal(th_status_text((enum th_status)77), "?");
    assert_false(th_status_terminal((enum th_status)77));
}

static void lists_grow(void **state)
{
    struct th_events list = {0};
    for (int i = 0; i < 1000; i++) {
        struct th_event event = th_event_of(TH_EVENT_GENERIC, i);
        th_events_add(&list, event);
    }
    assert_int_equal(list.count, 1000);
    assert_true(list.items[999].timestamp == 999);
    th_events_deinit(&list);
    assert_int_equal(list.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_event_has_nothing_but_kind_and_time),
        cmocka_unit_test(copies_are_equal_and_own),
        cmocka_unit_test(every_field_is_compared),
        cmocka_unit_test(kinds_have_names),
        cmocka_unit_test(statuses_have_names),
        cmocka_unit_test(lists_grow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

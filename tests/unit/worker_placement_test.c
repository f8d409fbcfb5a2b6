/* Where an activity runs, by a table. */
#include "worker/placement.h"

#include "unit/base_test.h"

#define MS    TH_MILLISECOND
#define NEVER TH_TIME_NONE

static unsigned asked;

static bool others(void *argument, struct th_str name)
{
    asked++;
    assert_str(name, "paint");
    return *(const bool *)argument;
}

struct place {
    const char *what;
    enum th_placement placement;
    bool known, others;
    struct th_pool_load load;
    bool out;
};

static const struct place table[] = {
    {"free threads", TH_PLACEMENT_AUTO, true, true, {4, 3, 0, 900 * MS, 0}, false},
    {"short ones wait", TH_PLACEMENT_AUTO, true, true, {4, 4, 30, 5 * MS, 0}, false},
    {"many short ones wait", TH_PLACEMENT_AUTO, true, true, {4, 4, 300, 5 * MS, 0}, true},
    {"… and nobody else serves it", TH_PLACEMENT_AUTO, true, false, {4, 4, 300, 5 * MS, 0}, false},
    {"long ones wait", TH_PLACEMENT_AUTO, true, true, {4, 4, 1, 2000 * MS, 0}, true},
    {"long ones hold all threads",
     TH_PLACEMENT_AUTO,
     true,
     true,
     {4, 4, 0, 1 * MS, 240000 * MS},
     true},
    {"they have only begun", TH_PLACEMENT_AUTO, true, true, {4, 4, 0, 1 * MS, 4 * MS}, false},
    {"nothing has run yet", TH_PLACEMENT_AUTO, true, true, {4, 0, 3, NEVER, 0}, false},
    {"a fan-out of what has never run", TH_PLACEMENT_AUTO, true, true, {4, 0, 100, NEVER, 0}, true},
    {"not known here", TH_PLACEMENT_AUTO, false, true, {4, 0, 0, NEVER, 0}, true},
    {"known nowhere", TH_PLACEMENT_AUTO, false, false, {4, 0, 0, NEVER, 0}, true},
    {"no thread", TH_PLACEMENT_AUTO, true, true, {0, 0, 0, NEVER, 0}, true},
    {"always out", TH_PLACEMENT_SHARED, true, true, {4, 0, 0, NEVER, 0}, true},
    {"never out", TH_PLACEMENT_LOCAL, false, true, {4, 4, 900, 900 * MS, 0}, false},
};

static void the_table_holds(void **state)
{
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        const struct place *p = &table[i];
        bool serve = p->others;
        if (th_placement_goes_out(p->placement, p->known, &p->load, others, &serve,
                                  TH_STR("paint")) != p->out) {
            fail_msg("%s", p->what);
        }
    }
}

static void others_are_asked_only_when_it_matters(void **state)
{
    const struct th_pool_load idle = {4, 0, 0, NEVER, 0};
    bool serve = true;
    asked = 0;
    th_placement_goes_out(TH_PLACEMENT_AUTO, true, &idle, others, &serve, TH_STR("paint"));
    th_placement_goes_out(TH_PLACEMENT_AUTO, false, &idle, others, &serve, TH_STR("paint"));
    assert_int_equal(asked, 0);
}

static void words_are_read(void **state)
{
    enum th_placement placement = TH_PLACEMENT_AUTO;
    assert_true(th_placement_parse("local", &placement) && placement == TH_PLACEMENT_LOCAL);
    assert_true(th_placement_parse("shared", &placement) && placement == TH_PLACEMENT_SHARED);
    assert_true(th_placement_parse("auto", &placement) && placement == TH_PLACEMENT_AUTO);
    assert_false(th_placement_parse("remote", &placement));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_table_holds),
        cmocka_unit_test(others_are_asked_only_when_it_matters),
        cmocka_unit_test(words_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

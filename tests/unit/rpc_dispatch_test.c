/* Work that is dealt out to streams: who gets what, when, and what becomes of it. */
#include "rpc/dispatch.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/hash.h"
#include "base/memory.h"
#include "unit/base_test.h"

#define MOST 4096

/* A stream as its program sees it. */
struct program {
    struct th_dispatch_stream *stream;
    bool full; /* takes one message, then no more until it is read */
    struct got {
        char token[33];
        uint64_t ticket;
        enum th_function_kind kind;
    } got[MOST];
    size_t count, pings;
};

struct desk {
    struct th_dispatch *d;
    th_time now;
    size_t back, refused;
    uint64_t last_back;
    int owner, other;
};

static bool on_send(void *argument, void *user, struct th_blob *blob, struct th_str token)
{
    struct program *p = user;
    struct got *got = &p->got[p->count++];
    unsigned kind;
    assert_true(p->count < MOST);
    assert_int_equal(token.len, 32);
    snprintf(got->token, sizeof got->token, "%.*s", TH_PRI(token));
    assert_int_equal(sscanf(blob->data, "%u %" SCNu64, &kind, &got->ticket), 2);
    got->kind = (enum th_function_kind)kind;
    return !p->full;
}

static bool on_ping(void *argument, void *user)
{
    ((struct program *)user)->pings++;
    return true;
}

static void on_back(void *argument, void *owner, enum th_function_kind kind, uint64_t ticket)
{
    struct desk *desk = argument;
    desk->back++;
    desk->last_back = ticket;
    assert_int_not_equal(kind, TH_FUNCTION_ACTIVITY);
}

static void on_refused(void *argument, void *owner, enum th_function_kind kind, uint64_t ticket,
                       size_t bytes)
{
    ((struct desk *)argument)->refused++;
}

static void begin(struct desk *desk)
{
    const struct th_dispatch_hooks hooks = {
        .argument = desk, .send = on_send, .ping = on_ping, .back = on_back, .refused = on_refused};
    *desk = (struct desk){.now = 1000 * TH_SECOND};
    desk->d = th_dispatch_new(&hooks, UINT64_C(0x123456789abcdef0));
}

static void add_of(struct desk *desk, enum th_function_kind kind, const char *name,
                   const char *version, uint64_t ticket, size_t bytes)
{
    struct th_blob *blob = th_blob_alloc(bytes < 64 ? 64 : bytes);
    char id[32];
    memset(blob->data, ' ', blob->len);
    snprintf(blob->data, 64, "%u %" PRIu64, (unsigned)kind, ticket);
    snprintf(id, sizeof id, "i%" PRIu64, ticket);
    th_dispatch_add(
        desk->d,
        &(struct th_dispatch_work){.owner = &desk->owner,
                                   .ticket = ticket,
                                   .kind = kind,
                                   .name = th_str_of(name),
                                   .version = version ? th_str_of(version) : TH_STR_ABSENT,
                                   .instance_id = th_str_of(id),
                                   .task_id = kind == TH_FUNCTION_ACTIVITY ? (int32_t)ticket : -1,
                                   .blob = blob},
        desk->now);
}

static void add(struct desk *desk, enum th_function_kind kind, uint64_t ticket)
{
    add_of(desk, kind, "f", NULL, ticket, 0);
}

static const struct th_dispatch_filter everything = {.everything = true};

static void open_with(struct desk *desk, struct program *p,
                      struct th_dispatch_stream_options options)
{
    options.user = p;
    p->stream = th_dispatch_open(desk->d, &options, desk->now);
}

static void open_most(struct desk *desk, struct program *p, uint32_t most)
{
    open_with(desk, p,
              (struct th_dispatch_stream_options){
                  .filters = {everything, everything, everything, everything},
                  .most = {0, most, most, most}});
}

static bool answer(struct desk *desk, const struct got *got)
{
    const struct th_dispatch_key key = {
        .kind = got->kind, .token = th_str_of(got->token), .task_id = -1};
    struct th_dispatch_found found;
    bool known = th_dispatch_find(desk->d, &key, &found);
    if (known) {
        assert_ptr_equal(found.owner, &desk->owner);
        assert_int_equal(found.ticket, got->ticket);
    }
    assert_int_equal(th_dispatch_take(desk->d, &key, desk->now), known);
    return known;
}

#define O TH_FUNCTION_ORCHESTRATOR
#define A TH_FUNCTION_ACTIVITY
#define E TH_FUNCTION_ENTITY

static void the_oldest_goes_first_within_the_bounds(void **state)
{
    struct desk desk;
    static struct program p;
    p = (struct program){0};
    begin(&desk);
    for (uint64_t n = 1; n <= 6; n++)
        add(&desk, A, n);
    open_most(&desk, &p, 2);
    assert_int_equal(p.count, 2);
    assert_int_equal(p.got[0].ticket, 1);
    assert_int_equal(p.got[1].ticket, 2);
    add(&desk, O, 7); /* another kind has room of its own */
    assert_int_equal(p.count, 3);
    assert_true(answer(&desk, &p.got[1]));
    assert_int_equal(p.got[3].ticket, 3);
    assert_false(answer(&desk, &p.got[1]));
    assert_int_equal(th_dispatch_under_way(desk.d, &desk.owner, A), 2);
    assert_int_equal(th_dispatch_under_way(desk.d, &desk.owner, 0), 3);
    assert_int_equal(th_dispatch_under_way(desk.d, &desk.other, 0), 0);
    th_dispatch_free(desk.d);
}

static void streams_take_turns(void **state)
{
    struct desk desk;
    static struct program p[3];
    memset(p, 0, sizeof p);
    begin(&desk);
    for (size_t i = 0; i < 3; i++)
        open_most(&desk, &p[i], 0);
    for (uint64_t n = 0; n < 30; n++)
        add(&desk, O, n);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(p[i].count, 10);
    th_dispatch_free(desk.d);
}

static void filters_decide(void **state)
{
    struct desk desk;
    static struct program some, other;
    some = other = (struct program){0};
    const struct th_str versions[] = {TH_STR("1"), TH_STR("")};
    struct th_dispatch_function functions[] = {{TH_STR("Any"), NULL, 0},
                                               {TH_STR("One"), versions, 2}};
    begin(&desk);
    open_with(&desk, &some,
              (struct th_dispatch_stream_options){.filters = {[A] = {false, functions, 2}}});
    assert_true(th_dispatch_serves(desk.d, A, TH_STR("any"), TH_STR("7")));
    assert_true(th_dispatch_serves(desk.d, A, TH_STR("one"), TH_STR("1")));
    assert_true(th_dispatch_serves(desk.d, A, TH_STR("one"), TH_STR_ABSENT));
    assert_false(th_dispatch_serves(desk.d, A, TH_STR("one"), TH_STR("2")));
    assert_false(th_dispatch_serves(desk.d, O, TH_STR("any"), TH_STR_ABSENT));
    add_of(&desk, A, "one", "2", 1, 0); /* does not hold up what is behind it */
    add_of(&desk, A, "any", NULL, 2, 0);
    assert_int_equal(some.count, 1);
    assert_int_equal(some.got[0].ticket, 2);
    open_most(&desk, &other, 0);
    assert_int_equal(other.got[0].ticket, 1);
    th_dispatch_free(desk.d);
}

static void a_lost_stream_gives_all_to_others(void **state)
{
    struct desk desk;
    static struct program first, second;
    first = second = (struct program){0};
    begin(&desk);
    open_most(&desk, &first, 0);
    for (uint64_t n = 1; n <= 5; n++)
        add(&desk, n % 2 ? O : A, n);
    open_most(&desk, &second, 2);
    assert_int_equal(second.count, 0);
    assert_true(answer(&desk, &first.got[0]));
    th_dispatch_close(desk.d, first.stream, true, desk.now);
    assert_int_equal(second.count, 4);
    assert_int_equal(second.got[0].ticket, 2);
    assert_int_equal(desk.back, 0);
    for (size_t i = 1; i < 5; i++)
        assert_false(answer(&desk, &first.got[i])); /* tokens of before mean nothing */
    for (size_t i = 0; i < 4; i++)
        assert_true(answer(&desk, &second.got[i]));
    th_dispatch_free(desk.d);
}

static void episodes_go_back_when_nobody_takes_them(void **state)
{
    struct desk desk;
    static struct program p;
    p = (struct program){0};
    begin(&desk);
    add(&desk, O, 1); /* came while the last stream went */
    assert_int_equal(desk.back, 1);
    open_most(&desk, &p, 0);
    add(&desk, O, 2);
    add(&desk, E, 3);
    add(&desk, A, 4);
    th_dispatch_close(desk.d, p.stream, false, desk.now);
    assert_int_equal(desk.back, 3);
    p.count = 0;
    open_most(&desk, &p, 0);
    assert_int_equal(p.count, 1); /* activities wait */
    assert_int_equal(p.got[0].ticket, 4);
    th_dispatch_quiet(desk.d, p.stream, desk.now);
    add(&desk, O, 5);
    assert_int_equal(desk.last_back, 5);
    assert_false(th_dispatch_serves(desk.d, O, TH_STR("f"), TH_STR_ABSENT));
    assert_true(answer(&desk, &p.got[0])); /* what it has, it may finish */
    th_dispatch_free(desk.d);
}

static void nothing_is_sent_to_a_full_stream(void **state)
{
    struct desk desk;
    static struct program p;
    p = (struct program){.full = true};
    begin(&desk);
    open_most(&desk, &p, 0);
    for (uint64_t n = 1; n <= 5; n++)
        add(&desk, O, n);
    assert_int_equal(p.count, 1);
    th_dispatch_writable(desk.d, p.stream, desk.now);
    assert_int_equal(p.count, 2);
    assert_true(answer(&desk, &p.got[0]));
    assert_int_equal(p.count, 2);
    p.full = false;
    th_dispatch_writable(desk.d, p.stream, desk.now);
    assert_int_equal(p.count, 5);
    th_dispatch_free(desk.d);
}

static void what_was_abandoned_comes_again_after_a_pause(void **state)
{
    struct desk desk;
    static struct program p;
    th_time pause = 0;
    p = (struct program){0};
    begin(&desk);
    open_most(&desk, &p, 1);
    add(&desk, O, 1);
    for (int round = 0; round < 3; round++) {
        const struct th_dispatch_key key = {
            .kind = O, .token = th_str_of(p.got[p.count - 1].token), .task_id = -1};
        size_t before = p.count;
        assert_true(th_dispatch_abandon(desk.d, &key, desk.now));
        assert_false(th_dispatch_abandon(desk.d, &key, desk.now));
        th_time due = th_dispatch_deadline(desk.d);
        assert_true(due - desk.now > pause); /* longer each time */
        pause = due - desk.now;
        th_dispatch_step(desk.d, due - 1);
        assert_int_equal(p.count, before);
        desk.now = due;
        th_dispatch_step(desk.d, desk.now);
        assert_int_equal(p.count, before + 1);
    }
    th_dispatch_free(desk.d);
}

static void silence_is_broken(void **state)
{
    struct desk desk;
    static struct program p;
    p = (struct program){0};
    begin(&desk);
    assert_true(th_dispatch_step(desk.d, desk.now) == TH_TIME_NONE);
    open_most(&desk, &p, 1);
    th_time due = th_dispatch_step(desk.d, desk.now);
    assert_true(due > desk.now && due <= desk.now + 60 * TH_SECOND);
    desk.now = due;
    assert_true(th_dispatch_step(desk.d, desk.now) > due);
    assert_int_equal(p.pings, 1);
    th_dispatch_free(desk.d);
}

static void programs_without_tokens_are_understood(void **state)
{
    struct desk desk;
    static struct program p;
    p = (struct program){0};
    begin(&desk);
    open_most(&desk, &p, 0);
    add(&desk, O, 1);
    add(&desk, A, 2);
    struct th_dispatch_key key = {.kind = O, .instance_id = TH_STR("i1"), .task_id = -1};
    assert_true(th_dispatch_take(desk.d, &key, desk.now));
    assert_false(th_dispatch_take(desk.d, &key, desk.now));
    key = (struct th_dispatch_key){.kind = A, .instance_id = TH_STR("i2"), .task_id = 3};
    assert_false(th_dispatch_take(desk.d, &key, desk.now));
    key.task_id = 2;
    assert_true(th_dispatch_take(desk.d, &key, desk.now));
    th_dispatch_free(desk.d);
}

static void count_waiting(void *argument, struct th_str name, size_t waiting)
{
    th_buffer_format(argument, "%.*s %zu ", TH_PRI(name), waiting);
}

static void expect_unserved(const struct desk *desk, const void *owner, const char *wanted)
{
    TH_BUFFER found = {0};
    th_dispatch_unserved(desk->d, owner, count_waiting, &found);
    assert_str(th_buffer_view(&found), wanted);
}

static void activities_that_nobody_takes_are_named(void **state)
{
    struct desk desk;
    static struct program p;
    struct th_dispatch_function pay = {.name = TH_STR("pay")};
    const struct th_dispatch_filter some = {.functions = &pay, .count = 1};
    p = (struct program){0};
    begin(&desk);
    for (uint64_t n = 1; n <= 3; n++)
        add_of(&desk, A, n == 1 ? "ship" : "pay", NULL, n, 0);
    expect_unserved(&desk, &desk.owner, "ship 1 pay 2 ");
    expect_unserved(&desk, &desk.other, "");
    open_with(&desk, &p,
              (struct th_dispatch_stream_options){.filters = {[A] = some}, .most = {[A] = 1}});
    expect_unserved(&desk, &desk.owner, "ship 1 "); /* the second one waits for its turn */
    th_dispatch_close(desk.d, p.stream, false, desk.now);
    expect_unserved(&desk, &desk.owner, "ship 1 pay 2 ");
    th_dispatch_free(desk.d);
}

static void owners_take_back_what_is_theirs(void **state)
{
    struct desk desk;
    static struct program p;
    p = (struct program){0};
    begin(&desk);
    open_most(&desk, &p, 1);
    for (uint64_t n = 1; n <= 4; n++)
        add(&desk, A, n);
    assert_false(th_dispatch_withdraw(desk.d, &desk.owner, A, 1)); /* runs */
    assert_true(th_dispatch_withdraw(desk.d, &desk.owner, A, 2));
    assert_false(th_dispatch_withdraw(desk.d, &desk.owner, A, 2));
    assert_true(th_dispatch_cancel(desk.d, &desk.owner, A, 1, desk.now));
    assert_int_equal(p.got[1].ticket, 3);
    assert_false(answer(&desk, &p.got[0]));
    th_dispatch_leave(desk.d, &desk.other);
    assert_int_equal(th_dispatch_under_way(desk.d, &desk.owner, 0), 1);
    th_dispatch_leave(desk.d, &desk.owner);
    assert_int_equal(th_dispatch_under_way(desk.d, &desk.owner, 0), 0);
    assert_false(answer(&desk, &p.got[1]));
    th_dispatch_free(desk.d);
}

static void what_is_too_large_is_not_sent_for_ever(void **state)
{
    struct desk desk;
    static struct program p;
    begin(&desk);
    p = (struct program){0};
    open_most(&desk, &p, 0);
    add(&desk, A, 1);
    add_of(&desk, A, "f", NULL, 2, 5 << 20);
    for (int round = 0; round < 3; round++) {
        assert_int_equal(desk.refused, 0);
        th_dispatch_close(desk.d, p.stream, true, desk.now);
        p = (struct program){0};
        desk.now += TH_SECOND;
        open_most(&desk, &p, 0);
    }
    assert_int_equal(desk.refused, 1);
    assert_int_equal(p.count, 1); /* the small one is not held liable */
    th_dispatch_free(desk.d);
}

/* Also an episode, which otherwise goes back when its only program is gone. */
static void an_episode_that_is_too_large_is_not_sent_for_ever(void **state)
{
    struct desk desk;
    static struct program p;
    begin(&desk);
    add_of(&desk, A, "f", NULL, 1, 0); /* keeps nothing alive */
    p = (struct program){0};
    open_most(&desk, &p, 0);
    add(&desk, O, 2);
    add_of(&desk, O, "f", NULL, 3, 5 << 20);
    for (int round = 0; round < 3; round++) {
        assert_int_equal(desk.refused, 0);
        th_dispatch_close(desk.d, p.stream, true, desk.now);
        p = (struct program){0};
        desk.now += TH_SECOND;
        open_most(&desk, &p, 0);
    }
    assert_int_equal(desk.refused, 1);
    assert_int_equal(desk.back, 1); /* the small one */
    assert_int_equal(desk.last_back, 2);
    assert_int_equal(p.count, 1);
    th_dispatch_free(desk.d);
}

static void tokens_are_not_guessed(void **state)
{
    static const char *const bad[] = {"1", "0123456789abcdef0123456789abcdef0",
                                      "g123456789abcdef0123456789abcdef",
                                      "ffffffff000000000001000000000001"};
    struct desk desk;
    static struct program p;
    p = (struct program){0};
    begin(&desk);
    open_most(&desk, &p, 0);
    add(&desk, O, 1);
    for (size_t i = 0; i < TH_COUNT(bad); i++) {
        const struct th_dispatch_key key = {.kind = O, .token = th_str_of(bad[i]), .task_id = -1};
        assert_false(th_dispatch_take(desk.d, &key, desk.now));
    }
    struct got wrong = p.got[0];
    wrong.kind = A;
    assert_false(answer(&desk, &wrong));
    assert_true(answer(&desk, &p.got[0]));
    th_dispatch_free(desk.d);
}

/* Anything in any order: every activity is answered exactly once, in bounds. */
static void anything_goes(void **state)
{
    enum { PROGRAMS = 4, WORK = 600 };
    static struct program programs[PROGRAMS];
    static uint8_t answered[WORK];
    for (uint64_t seed = 1; seed <= 50; seed++) {
        struct desk desk;
        struct th_random random;
        uint64_t added = 0, done = 0;
        memset(programs, 0, sizeof programs);
        memset(answered, 0, sizeof answered);
        th_random_seed(&random, seed);
        begin(&desk);
        while (done < WORK) {
            struct program *p = &programs[th_random_below(&random, PROGRAMS)];
            desk.now += (th_time)th_random_below(&random, TH_SECOND);
            switch (th_random_below(&random, 8)) {
            case 0:
            case 1:
            case 2:
                if (added < WORK) {
                    add_of(&desk, A, added % 3 ? "f" : "g", NULL, added, 0);
                    added++;
                }
                break;
            case 3:
                if (!p->stream) {
                    p->full = th_random_below(&random, 2);
                    p->count = 0;
                    open_most(&desk, p, (uint32_t)th_random_below(&random, 4));
                }
                break;
            case 4:
                if (p->stream && th_random_below(&random, 4) == 0) {
                    th_dispatch_close(desk.d, p->stream, true, desk.now);
                    p->stream = NULL;
                }
                break;
            case 5:
                if (p->stream)
                    th_dispatch_writable(desk.d, p->stream, desk.now);
                break;
            default:
                if (p->count > 0) {
                    const struct got got = p->got[th_random_below(&random, p->count)];
                    const struct th_dispatch_key key = {
                        .kind = A, .token = th_str_of(got.token), .task_id = -1};
                    if (th_random_below(&random, 5) == 0) {
                        th_dispatch_abandon(desk.d, &key, desk.now);
                    } else if (th_dispatch_take(desk.d, &key, desk.now)) {
                        assert_int_equal(answered[got.ticket]++, 0);
                        done++;
                    }
                }
            }
            th_dispatch_step(desk.d, desk.now);
        }
        struct th_dispatch_stats stats;
        th_dispatch_get_stats(desk.d, &stats);
        assert_int_equal(stats.answered[A], WORK);
        assert_int_equal(stats.waiting[A] + stats.under_way[A], 0);
        th_dispatch_free(desk.d);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_oldest_goes_first_within_the_bounds),
        cmocka_unit_test(streams_take_turns),
        cmocka_unit_test(filters_decide),
        cmocka_unit_test(a_lost_stream_gives_all_to_others),
        cmocka_unit_test(episodes_go_back_when_nobody_takes_them),
        cmocka_unit_test(nothing_is_sent_to_a_full_stream),
        cmocka_unit_test(what_was_abandoned_comes_again_after_a_pause),
        cmocka_unit_test(silence_is_broken),
        cmocka_unit_test(programs_without_tokens_are_understood),
        cmocka_unit_test(activities_that_nobody_takes_are_named),
        cmocka_unit_test(owners_take_back_what_is_theirs),
        cmocka_unit_test(what_is_too_large_is_not_sent_for_ever),
        cmocka_unit_test(an_episode_that_is_too_large_is_not_sent_for_ever),
        cmocka_unit_test(tokens_are_not_guessed),
        cmocka_unit_test(anything_goes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * program: workloads as values. A program is JSON: steps, one after the other, perhaps in several
 * rounds (continue-as-new carries what was found so far). It is made from the seed, interpreted by
 * orchestrators.c, and says by itself what it must answer, so that the judge needs nothing but an
 * instance's input and output.
 *
 *     {"uid": "s3", "rounds": 2, "round": 0, "steps": [{"kind": "call", "n": 7, "step": 0}, …]}
 */
#include <stdarg.h>

#include "tests/sim/sim.h"

json_int_t work_result(json_int_t n)
{
    return n * 3 + 1;
}

/* ---- making ---- */

static json_int_t below(struct maker *m, uint64_t bound)
{
    return (json_int_t)th_random_below(m->random, bound);
}

static bool one_in(struct maker *m, uint64_t bound)
{
    return th_random_below(m->random, bound) == 0;
}

static json_t *numbers(struct maker *m, json_int_t count)
{
    json_t *list = json_array();

    while (count-- > 0)
        json_array_append_new(list, json_integer(below(m, 1000)));
    return list;
}

static void pad(struct maker *m, json_t *step)
{
    if (m->large > 0 && one_in(m, 3))
        json_object_set_new(step, "pad", json_integer(1 + below(m, m->large)));
}

static json_t *make_call(struct maker *m)
{
    json_t *step = json_pack("{sssI}", "kind", "call", "n", below(m, 1000));

    pad(m, step);
    return step;
}

static json_t *make_all(struct maker *m)
{
    const json_int_t count = one_in(m, 4) ? 9 + below(m, 12) : 1 + below(m, 5);
    json_t *step = json_pack("{ssso}", "kind", "all", "numbers", numbers(m, count));

    pad(m, step);
    return step;
}

static json_t *make_any(struct maker *m)
{
    return json_pack("{ssso}", "kind", "any", "numbers", numbers(m, 1 + below(m, 4)));
}

static json_t *make_retry(struct maker *m)
{
    return json_pack("{sssIsIsIsI}", "kind", "retry", "n", below(m, 1000), "fail", below(m, 4),
                     "max", 1 + below(m, 4), "ms", 1 + below(m, 30));
}

static json_t *make_fail(struct maker *m)
{
    return json_pack("{sssIsI}", "kind", "fail", "n", below(m, 1000), "fail", (json_int_t)1000);
}

static json_t *make_timed(struct maker *m)
{
    return json_pack("{sssIsI}", "kind", "timed", "n", below(m, 1000), "ms", 1 + below(m, 20));
}

static json_t *make_sleep(struct maker *m)
{
    return json_pack("{sssI}", "kind", "sleep", "ms", one_in(m, 5) ? below(m, 2000) : below(m, 40));
}

static json_t *make_race(struct maker *m)
{
    return json_pack("{sssI}", "kind", "race", "ms", 1 + below(m, 60));
}

static json_t *make_wait(struct maker *m)
{
    m->waited++;
    return json_pack("{ssss}", "kind", "wait", "name", one_in(m, 2) ? "go" : "GO");
}

static json_t *make_send(struct maker *m)
{
    m->sent++;
    return json_pack("{ssss}", "kind", one_in(m, 3) ? "ask" : "send", "to", m->collector);
}

static json_t *make_random(struct maker *m)
{
    (void)m;
    return json_pack("{ss}", "kind", "random");
}

static json_t *make_status(struct maker *m)
{
    return json_pack("{sssI}", "kind", "status", "n", below(m, 1000));
}

static json_t *make_children(struct maker *m, const char *uid)
{
    json_t *programs = json_array();
    json_t *step = json_pack("{ssso}", "kind", "children", "programs", programs);
    struct maker inner = *m;

    inner.depth--;
    inner.waits = false;
    inner.collector = NULL;
    for (json_int_t count = 1 + below(m, 3); count > 0; count--) {
        char name[128];

        snprintf(name, sizeof(name), "%s.%zu", uid, json_array_size(programs));
        json_array_append_new(programs, program_make(&inner, name));
    }
    if (m->named_children)
        json_object_set_new(step, "named", json_boolean(one_in(m, 2)));
    return step;
}

static json_t *make_flaky(struct maker *m, const char *uid)
{
    json_t *step = one_in(m, 2) ? make_call(m) : make_all(m);
    const size_t root = strcspn(uid, "a.");

    json_object_set_new(step, "flaky", json_stringn(uid, root));
    return step;
}

static json_t *make_step(struct maker *m, const char *uid)
{
    for (;;) {
        switch (th_random_below(m->random, 16)) {
        case 0:
        case 1:
            return make_call(m);
        case 2:
        case 3:
            return make_all(m);
        case 4:
            return make_sleep(m);
        case 5:
            return make_random(m);
        case 6:
            return make_status(m);
        case 7:
            return make_race(m);
        case 8:
            if (m->races)
                return one_in(m, 2) ? make_any(m) : make_timed(m);
            break;
        case 9:
            if (m->failures)
                return make_retry(m);
            break;
        case 10:
            if (m->failures)
                return make_fail(m);
            break;
        case 11:
            if (m->waits)
                return make_wait(m);
            break;
        case 12:
        case 13:
            if (m->depth > 0)
                return make_children(m, uid);
            break;
        case 14:
            if (m->flaky)
                return make_flaky(m, uid);
            break;
        default:
            if (m->collector)
                return make_send(m);
            break;
        }
    }
}

json_t *program_make(struct maker *m, const char *uid)
{
    const unsigned waited = m->waited, sent = m->sent;
    const json_int_t rounds = one_in(m, 4) ? 2 + below(m, 3) : 1;
    json_int_t count = 1 + below(m, m->collector ? 6 : 4);
    json_t *steps = json_array();

    for (json_int_t n = 0; n < count; n++) {
        json_t *step = make_step(m, uid);

        json_object_set_new(step, "step", json_integer(n));
        json_array_append_new(steps, step);
    }
    m->waited = waited + (m->waited - waited) * (unsigned)rounds;
    m->sent = sent + (m->sent - sent) * (unsigned)rounds;
    return json_pack("{sssIsIso}", "uid", uid, "rounds", rounds, "round", (json_int_t)0, "steps",
                     steps);
}

json_t *collector_input(const char *uid, unsigned want, unsigned batch)
{
    return json_pack("{sssIsI}", "uid", uid, "want", (json_int_t)want, "batch", (json_int_t)batch);
}

json_t *endless_input(const char *uid, unsigned rounds)
{
    return json_pack("{sssIsI}", "uid", uid, "round", (json_int_t)0, "rounds", (json_int_t)rounds);
}

/* ---- judging ---- */

static char *wrong(const char *format, ...) __attribute__((format(printf, 1, 2)));

static char *wrong(const char *format, ...)
{
    struct th_buffer text = {0};
    va_list arguments;

    va_start(arguments, format);
    th_buffer_vformat(&text, format, arguments);
    va_end(arguments);
    return th_buffer_take(&text);
}

static char *mismatch(const json_t *step, const json_t *got)
{
    char *asked = json_dumps(step, JSON_COMPACT | JSON_SORT_KEYS);
    char *given = json_dumps(got, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
    char *text = wrong("step %.300s gave %.300s", asked, given);

    free(asked);
    free(given);
    return text;
}

static json_int_t number(const json_t *step, const char *key)
{
    return json_integer_value(json_object_get(step, key));
}

static bool is_work(const json_t *step, json_int_t n, const json_t *got)
{
    if (!json_object_get(step, "pad"))
        return json_is_integer(got) && json_integer_value(got) == work_result(n);
    return json_array_size(got) == 2 &&
           json_integer_value(json_array_get(got, 0)) == work_result(n) &&
           json_integer_value(json_array_get(got, 1)) == number(step, "pad");
}

static bool check_all(const json_t *step, const json_t *got)
{
    const json_t *list = json_object_get(step, "numbers");

    if (!json_is_array(got) || json_array_size(got) != json_array_size(list))
        return false;
    for (size_t n = 0; n < json_array_size(list); n++)
        if (!is_work(step, json_integer_value(json_array_get(list, n)), json_array_get(got, n)))
            return false;
    return true;
}

static bool check_any(const json_t *step, const json_t *got)
{
    const json_t *list = json_object_get(step, "numbers");
    bool one = false;

    for (size_t n = 0; n < json_array_size(list); n++)
        one |= is_work(step, json_integer_value(json_array_get(list, n)), got);
    return one;
}

static bool is_text(const json_t *got, const char *text)
{
    return json_is_string(got) && strcmp(json_string_value(got), text) == 0;
}

static bool check_simple(const char *kind, const json_t *step, const json_t *got)
{
    if (strcmp(kind, "call") == 0)
        return is_work(step, number(step, "n"), got);
    if (strcmp(kind, "retry") == 0)
        return number(step, "fail") < number(step, "max") ? is_work(step, number(step, "n"), got)
                                                          : is_text(got, "failed");
    if (strcmp(kind, "fail") == 0)
        return is_text(got, "Broken");
    if (strcmp(kind, "all") == 0)
        return check_all(step, got);
    if (strcmp(kind, "any") == 0)
        return check_any(step, got);
    if (strcmp(kind, "timed") == 0)
        return is_text(got, "late") || is_work(step, number(step, "n"), got);
    if (strcmp(kind, "sleep") == 0)
        return json_is_true(got);
    if (strcmp(kind, "race") == 0)
        return is_text(got, "timeout");
    if (strcmp(kind, "wait") == 0)
        return json_is_integer(json_object_get(got, "seq"));
    if (strcmp(kind, "ask") == 0)
        return json_is_integer(got);
    if (strcmp(kind, "random") == 0)
        return json_string_length(json_array_get(got, 0)) == 36;
    return json_is_null(got);
}

static char *check_children(const json_t *step, const json_t *got)
{
    const json_t *programs = json_object_get(step, "programs");
    char *bad = NULL;

    if (!json_is_array(got) || json_array_size(got) != json_array_size(programs))
        return mismatch(step, got);
    for (size_t n = 0; n < json_array_size(programs) && !bad; n++)
        bad = program_check("program", json_array_get(programs, n), json_array_get(got, n));
    return bad;
}

static char *check_step(const json_t *step, const json_t *got)
{
    const char *kind = json_string_value(json_object_get(step, "kind"));

    if (strcmp(kind, "caught") == 0 && is_text(got, "failed"))
        return NULL;
    if (strcmp(kind, "children") == 0 || strcmp(kind, "caught") == 0)
        return check_children(step, got);
    return check_simple(kind, step, got) ? NULL : mismatch(step, got);
}

/* Events of one client come in the order they were sent. One that it sent twice, because the first
 * try was not answered, may come again at any time. */
static char *check_waits(const json_t *steps, const json_t *out)
{
    json_int_t last = -1;
    uint64_t seen = 0;

    for (size_t n = 0; n < json_array_size(out); n++) {
        const json_t *step = json_array_get(steps, n % json_array_size(steps));
        const char *kind = json_string_value(json_object_get(step, "kind"));
        json_int_t seq;

        if (strcmp(kind, "wait") != 0)
            continue;
        seq = number(json_array_get(out, n), "seq");
        if (seq < last && !(seen >> (seq & 63) & 1))
            return wrong("event %lld was taken after event %lld", (long long)seq, (long long)last);
        seen |= UINT64_C(1) << (seq & 63);
        last = seq > last ? seq : last;
    }
    return NULL;
}

static char *check_asks(const json_t *steps, const json_t *out)
{
    for (size_t n = 0; n < json_array_size(out); n++) {
        const size_t at = n % json_array_size(steps);
        const json_t *step = json_array_get(steps, at);
        const json_int_t expected = (json_int_t)(n / json_array_size(steps) * 1000 + at);

        if (strcmp(json_string_value(json_object_get(step, "kind")), "ask") == 0 &&
            json_integer_value(json_array_get(out, n)) != expected)
            return mismatch(step, json_array_get(out, n));
    }
    return NULL;
}

static char *check_program(const json_t *input, const json_t *output)
{
    const json_t *steps = json_object_get(input, "steps");
    const json_t *out = json_object_get(output, "out");
    const size_t expected = json_array_size(steps) * (size_t)number(input, "rounds");
    char *bad = NULL;

    if (!json_equal(json_object_get(input, "uid"), json_object_get(output, "uid")))
        return wrong("the output is another program's");
    if (json_array_size(out) != expected)
        return wrong("%zu steps were taken, not %zu", json_array_size(out), expected);
    for (size_t n = 0; n < expected && !bad; n++)
        bad = check_step(json_array_get(steps, n % json_array_size(steps)), json_array_get(out, n));
    if (!bad)
        bad = check_waits(steps, out);
    return bad ? bad : check_asks(steps, out);
}

/* An item of the same sender with a number not above: out of order, or twice. */
static bool after_its_like(const json_t *seen, size_t at)
{
    const json_t *item = json_array_get(seen, at);

    for (size_t n = 0; n < at; n++) {
        const json_t *earlier = json_array_get(seen, n);

        if (json_equal(json_array_get(earlier, 0), json_array_get(item, 0)) &&
            json_integer_value(json_array_get(earlier, 1)) >=
                json_integer_value(json_array_get(item, 1)))
            return false;
    }
    return true;
}

static bool from_client(const json_t *item)
{
    const char *from = json_string_value(json_array_get(item, 0));

    return from && from[0] == 'c';
}

static char *check_collector(const json_t *input, const json_t *output)
{
    const json_t *seen = json_object_get(output, "seen");
    const json_t *again = json_object_get(output, "again");
    const json_t *item;
    size_t n;

    if ((json_int_t)json_array_size(seen) != number(input, "want"))
        return wrong("%zu events were counted, not %lld", json_array_size(seen),
                     (long long)number(input, "want"));
    for (n = 0; n < json_array_size(seen); n++)
        if (!after_its_like(seen, n))
            return mismatch(json_array_get(seen, n), seen);
    json_array_foreach(again, n, item) {
        if (!from_client(item)) /* a client may have asked twice; the hub itself never does */
            return mismatch(item, again);
    }
    return NULL;
}

char *program_check(const char *name, const json_t *input, const json_t *output)
{
    if (strcmp(name, "program") == 0)
        return check_program(input, output);
    if (strcmp(name, "collector") == 0)
        return check_collector(input, output);
    if (strcmp(name, "transfer") == 0)
        return strcmp(json_string_value(output) ? json_string_value(output) : "", "ok") == 0
                   ? NULL
                   : mismatch(input, output);
    if (foreign_name(th_str_of(name)))
        return json_integer_value(output) == number(input, "times") ? NULL
                                                                    : mismatch(input, output);
    return json_integer_value(output) == number(input, "rounds") ? NULL : mismatch(input, output);
}

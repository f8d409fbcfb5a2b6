/*
 * bank: entities, and orchestrations that move money between them. An "account" holds a sum and the
 * keys of all operations it has seen; it tells the account "tally" of each. A "transfer" locks two
 * accounts, takes from one, gives to the other, and looks whether anybody else came in between.
 *
 * Every operation has a key of its own, so that the judge can tell what was lost, what happened
 * twice, and in which order it came.
 */
#include "tests/sim/bank.h"

#include "model/name.h"

#define TALLY "@account@tally"

static json_int_t number(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

static const char *text(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

/* `value` is stolen. */
static struct th_str dump(struct th_arena *arena, json_t *value)
{
    char *dumped = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_SORT_KEYS);
    struct th_str copy = th_arena_str(arena, th_str_of(dumped));

    free(dumped);
    json_decref(value);
    return copy;
}

static json_t *load(struct th_str payload)
{
    return json_loadb(payload.data, payload.len, JSON_DECODE_ANY, NULL);
}

/* ---- accounts ---- */

static bool is_tally(struct th_str id)
{
    return th_str_eq(id, TH_STR(TALLY));
}

static void tell_tally(const struct th_episode *e, struct th_arena *arena, struct th_actions *out,
                       const json_t *input)
{
    struct th_action *action = th_actions_add(out, arena, TH_ACTION_SIGNAL, -1);

    action->instance_id = TH_STR(TALLY);
    action->name = TH_STR("add");
    action->data = th_arena_format(arena, "{\"key\":\"%.*s %s\",\"n\":%lld}",
                                   TH_PRI(th_entity_key(e->instance_id)), text(input, "key"),
                                   (long long)number(input, "n"));
}

static void add(const struct th_episode *e, struct th_arena *arena, struct th_actions *out,
                json_t *account, const struct th_event *op)
{
    json_auto_t *input = load(op->data);

    json_object_set_new(account, "sum", json_integer(number(account, "sum") + number(input, "n")));
    json_array_append_new(
        json_object_get(account, "log"),
        json_pack("[OO]", json_object_get(input, "key"), json_object_get(input, "n")));
    if (!is_tally(e->instance_id))
        tell_tally(e, arena, out, input);
}

/* Now and then a part of a batch is left for the next time. */
static size_t how_many(const struct th_episode *e, const json_t *account)
{
    return number(account, "sum") % 3 == 0 ? (e->fresh_count + 1) / 2 : e->fresh_count;
}

enum th_executor_result bank_serve(const struct th_episode *e, struct th_arena *arena,
                                   struct th_actions *out)
{
    static const struct th_failure refused = {.type = {"Refused", 7}, .message = {"no", 2}};
    json_t *account =
        th_str_present(e->state) ? load(e->state) : json_pack("{sis[]}", "sum", 0, "log");
    const size_t count = how_many(e, account);
    struct th_operation_result *results = TH_ARENA_ARRAY(arena, struct th_operation_result, count);

    for (size_t n = 0; n < count; n++) {
        const struct th_event *op = &e->fresh[n];

        if (th_str_eq(op->name, TH_STR("refuse")))
            results[n].failure = &refused;
        else if (th_str_eq(op->name, TH_STR("add")))
            add(e, arena, out, account, op);
        if (!results[n].failure)
            results[n].data = th_arena_format(arena, "%lld", (long long)number(account, "sum"));
    }
    out->results = results;
    out->result_count = count;
    out->state = dump(arena, account);
    return TH_EXECUTOR_DONE;
}

/* ---- transfers ---- */

/* What the history says so far; a function of the events alone. */
struct transfer {
    json_t *input;
    struct th_str section;
    bool asked_lock, locked, refused;
    size_t called, answered;
    json_int_t sums[3];
};

enum { LOCK_ID, FIRST_CALL_ID, UNLOCK_ID = 10, END_ID = 20 };
enum { TAKE, GIVE, LOOK };

static void see(struct transfer *t, const struct th_event *event)
{
    json_auto_t *sum = NULL;

    switch (event->kind) {
    case TH_EVENT_EXECUTION_STARTED:
        t->input = load(event->data);
        t->section = event->execution_id;
        break;
    case TH_EVENT_ENTITY_LOCK_REQUESTED:
        t->asked_lock = true;
        break;
    case TH_EVENT_ENTITY_LOCK_GRANTED:
        t->locked = true;
        break;
    case TH_EVENT_ENTITY_CALLED:
        t->called++;
        break;
    case TH_EVENT_ENTITY_COMPLETED:
        sum = load(event->data);
        t->sums[t->answered++ % 3] = json_integer_value(sum);
        break;
    case TH_EVENT_ENTITY_FAILED:
        t->refused = true;
        t->answered++;
        break;
    default:
        break;
    }
}

static struct th_event *ask(struct th_actions *out, struct th_arena *arena, enum th_event_kind kind,
                            int32_t id)
{
    struct th_event *event = TH_ARENA_NEW(arena, struct th_event);

    *event = th_event_of(kind, 0);
    th_actions_add(out, arena, TH_ACTION_ENTITY, id)->entity = event;
    return event;
}

static struct th_str account_of(const struct transfer *t, struct th_arena *arena, const char *side)
{
    return th_arena_str(arena, th_str_of(text(t->input, side)));
}

static void lock(const struct transfer *t, struct th_arena *arena, struct th_actions *out)
{
    struct th_str *set = TH_ARENA_ARRAY(arena, struct th_str, 2);
    struct th_event *event = ask(out, arena, TH_EVENT_ENTITY_LOCK_REQUESTED, LOCK_ID);

    set[0] = account_of(t, arena, "from");
    set[1] = account_of(t, arena, "to");
    event->lock_set = (struct th_strs){.items = set, .count = 2};
    event->request_id = t->section;
}

static void unlock(const struct transfer *t, struct th_arena *arena, struct th_actions *out)
{
    static const char *const sides[] = {"from", "to"};

    for (int32_t n = 0; n < 2; n++) {
        struct th_event *event = ask(out, arena, TH_EVENT_ENTITY_UNLOCK_SENT, UNLOCK_ID + n);

        event->request_id = t->section;
        event->instance_id = account_of(t, arena, sides[n]);
    }
}

static void call(const struct transfer *t, struct th_arena *arena, struct th_actions *out)
{
    const json_int_t n = number(t->input, "n");
    const size_t step = t->answered;
    struct th_event *event = ask(out, arena, TH_EVENT_ENTITY_CALLED, FIRST_CALL_ID + (int32_t)step);

    event->instance_id = account_of(t, arena, step == GIVE ? "to" : "from");
    event->request_id = th_arena_format(arena, "%.*s/%zu", TH_PRI(t->section), step);
    if (step == LOOK) {
        event->name = TH_STR("look");
        return;
    }
    event->name =
        json_is_true(json_object_get(t->input, "refused")) ? TH_STR("refuse") : TH_STR("add");
    event->data =
        th_arena_format(arena, "{\"key\":\"%s.%lld\",\"n\":%lld}", text(t->input, "uid"),
                        (long long)number(t->input, "round"), (long long)(step == TAKE ? -n : n));
}

static void end(const struct transfer *t, struct th_arena *arena, struct th_actions *out)
{
    const json_int_t round = number(t->input, "round") + 1;
    const bool alone = t->refused || t->sums[TAKE] == t->sums[LOOK];
    struct th_action *action;

    if (json_is_true(json_object_get(t->input, "unlocks")))
        unlock(t, arena, out);
    action = th_actions_add(out, arena, TH_ACTION_COMPLETE, END_ID);
    if (alone && round < number(t->input, "rounds")) {
        json_object_set_new(t->input, "round", json_integer(round));
        action->status = TH_STATUS_CONTINUED_AS_NEW;
        action->data = dump(arena, json_incref(t->input));
    } else {
        action->status = TH_STATUS_COMPLETED;
        action->data = alone ? TH_STR("\"ok\"") : TH_STR("\"disturbed\"");
    }
}

void bank_transfer(const struct th_episode *e, struct th_arena *arena, struct th_actions *out)
{
    struct transfer t = {0};

    for (size_t n = 0; n < e->past_count; n++)
        see(&t, &e->past[n]);
    for (size_t n = 0; n < e->fresh_count; n++)
        see(&t, &e->fresh[n]);
    if (!t.asked_lock)
        lock(&t, arena, out);
    else if (t.locked && t.answered == t.called && (t.answered > LOOK || t.refused))
        end(&t, arena, out);
    else if (t.locked && t.answered == t.called)
        call(&t, arena, out);
    json_decref(t.input);
}

/* ---- the judge ---- */

struct seen {
    UT_hash_handle hh;
    char *key; /* "account key" */
    json_int_t n;
    size_t at; /* its place in the account's log */
};

struct books {
    struct run *run;
    struct facts *facts;
    struct seen *seen;
    size_t entries, told;
};

static struct seen *find(const struct books *b, const char *account, const char *key)
{
    TH_ARENA arena = {0};
    const struct th_str whole =
        th_arena_format(&arena, "%.*s %s", TH_PRI(th_entity_key(th_str_of(account))), key);
    struct seen *s;

    HASH_FIND(hh, b->seen, whole.data, whole.len, s);
    return s;
}

static void note(struct books *b, struct th_str account, const char *key, json_int_t n, size_t at)
{
    const struct th_str whole = th_arena_format(&b->facts->arena, "%.*s %s", TH_PRI(account), key);
    struct seen *s;

    HASH_FIND(hh, b->seen, whole.data, whole.len, s);
    if (s) {
        run_fail(b->run, "operation \"%.*s\" happened twice", TH_PRI(whole));
        return;
    }
    s = TH_ARENA_NEW(&b->facts->arena, struct seen);
    *s = (struct seen){.key = (char *)whole.data, .n = n, .at = at};
    HASH_ADD_KEYPTR(hh, b->seen, s->key, whole.len, s);
}

static void read_account(struct books *b, const struct fact *f)
{
    json_auto_t *account = load(f->info.output);
    const json_t *log = json_object_get(account, "log"), *entry;
    const struct th_str id = th_str_of(f->id);
    json_int_t sum = 0;
    size_t n;

    if (th_str_present(f->info.section) || f->info.voided.count > 0)
        run_fail(b->run, "entity \"%s\" is locked in the end, by \"%.*s\"", f->id,
                 TH_PRI(f->info.locked_by));
    json_array_foreach(log, n, entry) {
        sum += json_integer_value(json_array_get(entry, 1));
        note(b, th_entity_key(id), json_string_value(json_array_get(entry, 0)),
             json_integer_value(json_array_get(entry, 1)), n);
    }
    if (sum != number(account, "sum"))
        run_fail(b->run, "entity \"%s\" holds %lld, its operations make %lld", f->id,
                 (long long)number(account, "sum"), (long long)sum);
    *(is_tally(id) ? &b->told : &b->entries) += json_array_size(log);
}

static bool moved(const struct books *b, const json_t *input, const char *side, json_int_t round,
                  json_int_t n)
{
    char key[80];
    const struct seen *s;

    snprintf(key, sizeof(key), "%s.%lld", text(input, "uid"), (long long)round);
    s = find(b, text(input, side), key);
    if (s && s->n != n)
        run_fail(b->run, "operation \"%s\" is of %lld, not %lld", s->key, (long long)s->n,
                 (long long)n);
    return s != NULL;
}

static void check_transfer(const struct books *b, const struct fact *f)
{
    json_auto_t *input = load(f->info.input);
    const bool whole = f->info.status == TH_STATUS_COMPLETED;
    const bool refused = json_is_true(json_object_get(input, "refused"));

    for (json_int_t round = 0; round <= number(input, "round"); round++) {
        const bool last = round == number(input, "round") && !whole;
        const bool taken = moved(b, input, "from", round, -number(input, "n"));
        const bool given = moved(b, input, "to", round, number(input, "n"));

        if (last ? given && !taken : (taken == refused || given == refused))
            run_fail(b->run, "round %lld of transfer \"%s\" was %staken and %sgiven",
                     (long long)round, f->id, taken ? "" : "not ", given ? "" : "not ");
    }
}

/* Those that were answered happened, and in the order in which they were asked. */
static void check_signals(const struct books *b)
{
    const struct bank_note *previous = NULL;

    for (const struct bank_note *n = clients_notes(b->run->clients); n; n = n->next) {
        const struct seen *s = n->answered ? find(b, n->account, n->key) : NULL;

        if (n->answered && !s)
            run_fail(b->run, "signal \"%s\" to \"%s\" was accepted, and is lost", n->key,
                     n->account);
        if (!s || n->later)
            continue;
        if (previous && previous->session == n->session && find(b, n->account, previous->key) &&
            find(b, n->account, previous->key)->at > s->at)
            run_fail(b->run, "signals \"%s\" and \"%s\" changed places", previous->key, n->key);
        previous = n;
    }
}

void bank_check(struct run *run, struct facts *facts)
{
    struct books b = {.run = run, .facts = facts};
    const struct fact *f, *next;

    HASH_ITER(hh, facts->instances, f, next)
        if (f->exists && f->info.status == TH_STATUS_ENTITY)
            read_account(&b, f);
    HASH_ITER(hh, facts->instances, f, next)
        if (f->exists && th_str_eq(f->info.name, TH_STR("transfer")))
            check_transfer(&b, f);
    check_signals(&b);
    if (b.told != b.entries)
        run_fail(run, "the accounts took %zu operations, and told of %zu", b.entries, b.told);
    run->report->operations += b.entries;
    HASH_CLEAR(hh, b.seen);
}

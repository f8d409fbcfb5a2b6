/*
 * turn: one episode of one instance, from the letters in its mailbox to the record. Also the
 * partition's work loop: timers that are due, instances that can run, marks, checkpoints.
 */
#include "base/uuid.h"
#include "model/name.h"
#include "partition/internal.h"

/* Letters offered in one episode at the most, by number and by bytes. */
#define MAX_OFFERS      4096
#define MAX_OFFER_BYTES (32u << 20)

/* Below this many open activities an episode follows each result; above it results gather while
 * the last record travels, so that a fan-out of n costs far fewer than n episodes. */
#define GATHER_ABOVE 8

/* Turns kept for the next episodes, with the memory they grew to. */
#define SPARE_TURNS 64

static struct turn *turn_new(struct th_partition *p)
{
    struct turn *t = p->free_turns;

    if (t) {
        p->free_turns = t->next_free;
        p->free_turn_count--;
    } else {
        t = TH_NEW(struct turn);
    }
    p->turn_count++;
    t->id = ++p->next_turn;
    return t;
}

void turn_free(struct th_partition *p, struct turn *t)
{
    th_events_deinit(&t->past);
    p->turn_count--;
    if (p->free_turn_count >= SPARE_TURNS) {
        th_arena_deinit(&t->arena);
        free(t);
        return;
    }
    th_arena_reset(&t->arena);
    *t = (struct turn){.arena = t->arena, .next_free = p->free_turns};
    p->free_turns = t;
    p->free_turn_count++;
}

static bool has_offer(const struct th_instance *i)
{
    const struct letter *l;

    DL_FOREACH(i->mailbox, l)
        if (!l->offered)
            return true;
    return false;
}

bool turn_can_run(const struct th_instance *i)
{
    return i->known && !i->wants_code && !i->busy && !i->loading && !i->turn &&
           i->partition->active && ((i->info.starting && !i->unserved) || has_offer(i));
}

/* ---- what the engine asks ---- */

struct view {
    struct th_instance *instance;
    uint64_t turn;
    struct pending *child; /* the one asked for last, and its number */
    size_t child_index;
};

/* The number of a task may come again: whether the answer is for another scheduling of it. */
static bool is_for_another(const struct pending *d, uint64_t scheduled)
{
    return scheduled > 0 && scheduled != d->stamp &&
           !MUTANT(d->instance->partition, ACCEPT_RESCHEDULED);
}

static bool take_pending(void *argument, enum th_pending_kind kind, int32_t event_id,
                         uint64_t scheduled)
{
    struct view *v = argument;
    struct pending *d;

    HASH_FIND_INT(v->instance->pending, &event_id, d);
    if (MUTANT(v->instance->partition, ACCEPT_STALE))
        return true;
    if (!d || d->kind != kind || d->taken_turn == v->turn || is_for_another(d, scheduled))
        return false;
    d->taken_turn = v->turn;
    return true;
}

static struct pending *next_child(struct pending *d)
{
    while (d && d->kind != TH_PENDING_CHILD)
        d = d->hh.next;
    return d;
}

static bool repeated(void *argument, struct th_str request_id)
{
    const struct view *v = argument;

    return request_remembered(v->instance->partition, request_id);
}

/* Asked for one after the other: what is open is walked through once. */
static bool child_at(void *argument, size_t index, struct th_str *id)
{
    struct view *v = argument;

    if (index == 0) {
        v->child = next_child(v->instance->pending);
        v->child_index = 0;
    }
    for (; v->child && v->child_index < index; v->child_index++)
        v->child = next_child(v->child->hh.next);
    if (v->child)
        *id = v->child->child_id;
    return v->child != NULL;
}

static void collect(struct th_instance *i, struct turn *t)
{
    size_t count = 0, bytes = 0;
    struct letter *l;

    DL_FOREACH(i->mailbox, l) {
        count += !l->offered;
        if (count == MAX_OFFERS)
            break;
    }
    t->offers = TH_ARENA_ARRAY(&t->arena, struct th_offer, count);
    t->letters = TH_ARENA_ARRAY(&t->arena, struct letter *, count);
    DL_FOREACH(i->mailbox, l) {
        if (l->offered)
            continue;
        if (t->count == count || bytes > MAX_OFFER_BYTES)
            break;
        bytes += l->message.event.data.len;
        l->offered = true;
        t->letters[t->count] = l;
        t->offers[t->count++] = (struct th_offer){.message = &l->message, .parked = l->was_parked};
    }
}

/* The first children, which derive their ids from it, are placed in this partition; those of a
 * child are not, or a large tree of them would be in one partition as a whole. */
static void new_execution_id(struct th_partition *p, const struct th_instance *i,
                             char out[static 33])
{
    const uint64_t high = th_random_next(&p->random);
    const uint64_t low = th_random_next(&p->random);

    th_id_hex(high,
              th_is_beside_parent(th_str_of(i->id))
                  ? low
                  : th_number_of_partition(low, p->options.index, p->options.count),
              out);
}

static void prepare(struct th_partition *p, struct th_instance *i, struct turn *t)
{
    struct view *v = TH_ARENA_NEW(&t->arena, struct view);

    *v = (struct view){.instance = i, .turn = t->id};
    new_execution_id(p, i, t->execution_id);
    new_execution_id(p, i, t->next_execution_id);
    t->in = (struct th_engine_in){
        .info = &i->info,
        .pending = {.argument = v, .take = take_pending, .child = child_at, .repeated = repeated},
        .now = p->now > i->info.updated ? p->now : i->info.updated,
        .new_execution_id = th_str_n(t->execution_id, 32),
        .next_execution_id = th_str_n(t->next_execution_id, 32),
        .max_operations = i->careful > 0 ? 1 : p->options.max_operations,
    };
}

/* ---- history from memory ---- */

static bool decode_past(struct th_partition *p, struct th_instance *i, struct turn *t)
{
    struct th_error error = {.code = TH_OK};

    for (size_t n = 0; n < i->chunk_count; n++) {
        struct th_reader reader = partition_reader(p, i->chunks[n].bytes, &t->arena, &error);

        if (th_decode_events(&reader, &t->past))
            continue;
        fence(p, TH_CORRUPT, "the history of instance \"%.*s\": %s", TH_PRI(instance_id(i)),
              error.message);
        return false;
    }
    return true;
}

/* The offers of a turn that cannot go on yet. */
static void take_back(struct turn *t)
{
    for (size_t n = 0; n < t->count; n++)
        t->letters[n]->offered = false;
}

/* ---- the turn ---- */

static void end_turn(struct th_partition *p, struct th_instance *i, struct turn *t)
{
    i->busy = false;
    i->turn = NULL;
    turn_free(p, t);
    instance_ready(i);
    instance_touch(i);
}

static void fail_crashed(struct th_instance *i, struct turn *t)
{
    const bool entity = th_is_entity(instance_id(i));
    const struct th_str message = th_arena_format(
        &t->arena,
        "the process died %u times running this %s (the last time: %s); it is not tried again",
        i->crashes, entity ? "operation" : "orchestrator",
        i->crash_reason ? i->crash_reason : "unknown");

    th_engine_fail(&t->in, entity ? TH_STR("EntityCrashed") : TH_STR("OrchestratorCrashed"),
                   message, &t->arena, &t->outcome);
}

/* Operations that the code left for the next time. */
static void give_back(struct turn *t)
{
    size_t left = t->outcome.left_over;

    for (size_t n = t->count; n > 0 && left > 0; n--) {
        struct th_offer *offer = &t->offers[n - 1];
        const enum th_event_kind kind = offer->message->event.kind;

        if (offer->verdict != TH_VERDICT_TAKEN ||
            (kind != TH_EVENT_ENTITY_SIGNALED && kind != TH_EVENT_ENTITY_CALLED))
            continue;
        offer->verdict = TH_VERDICT_LEFT;
        left--;
    }
}

static void write_outcome(struct th_partition *p, struct th_instance *i, struct turn *t)
{
    if (!MUTANT(p, DROP_LEFT_OVER))
        give_back(t);
    if (t->outcome.gone)
        write_purge(p, i, t);
    else
        write_turn(p, i, t);
}

/* The run never was, but for the instance's place in the order. */
static void undo(struct th_partition *p, struct th_instance *i, struct turn *t)
{
    take_back(t);
    i->wants_code = p->held;
    if (p->active)
        write_marks(p); /* of what came during the run */
    end_turn(p, i, t);
    if (i->info.status != TH_STATUS_SUSPENDED && i->info.status != TH_STATUS_PENDING)
        instance_unpark(i);
}

void turn_interrupt(struct th_instance *i)
{
    struct th_effect *e = effect_now(i->partition, TH_EFFECT_INTERRUPT);

    e->id = th_str_dup(instance_id(i));
    e->tag = i->turn->id;
}

const struct th_instance *th_partition_interrupt(struct th_partition *p, struct th_str id,
                                                 uint64_t tag, th_time now)
{
    struct th_instance *i = instance_find(p, id);

    if (!i || !i->busy || i->turn->id != tag)
        return NULL;
    th_partition_interrupted(p, i, now);
    return i;
}

void th_partition_interrupted(struct th_partition *p, struct th_instance *i, th_time now)
{
    p->now = now > p->now ? now : p->now;
    undo(p, i, i->turn);
}

void th_partition_hold(struct th_partition *p, bool held)
{
    struct th_instance *i, *next;

    p->held = held;
    HASH_ITER(hh, p->instances, i, next) {
        if (held || !i->wants_code)
            continue;
        i->wants_code = false;
        instance_ready(i);
        instance_touch(i);
    }
}

void effect_run(struct th_instance *i)
{
    struct th_effect *e = effect_now(i->partition, TH_EFFECT_RUN);

    e->instance = i;
    e->tag = i->turn->id;
}

static void run_code(struct th_partition *p, struct th_instance *i, struct turn *t)
{
    if (i->crashes >= p->options.max_crashes) {
        fail_crashed(i, t);
        write_outcome(p, i, t);
        end_turn(p, i, t);
        return;
    }
    if (p->held) {
        undo(p, i, t);
        return;
    }
    i->busy = true;
    i->turn = t;
    effect_run(i);
}

void turn_run(struct th_partition *p, struct th_instance *i)
{
    struct turn *t = turn_new(p);
    enum th_begin begin;

    prepare(p, i, t);
    collect(i, t);
    begin = th_engine_begin(&t->in, t->offers, t->count, &t->arena, &t->outcome);
    if (begin == TH_BEGIN_HISTORY) {
        if (!i->whole) {
            take_back(t);
            turn_free(p, t);
            instance_load(i);
            return;
        }
        if (!decode_past(p, i, t)) {
            take_back(t);
            turn_free(p, t);
            return;
        }
        t->in.past = t->past.items;
        t->in.past_count = t->past.count;
        t->outcome = (struct th_outcome){0};
        begin = th_engine_begin(&t->in, t->offers, t->count, &t->arena, &t->outcome);
    }
    switch (begin) {
    case TH_BEGIN_RUN:
        run_code(p, i, t);
        return;
    case TH_BEGIN_DECIDED:
        th_engine_finish(&t->in, NULL, &t->arena, &t->outcome);
        write_outcome(p, i, t);
        break;
    case TH_BEGIN_PURGE:
        write_purge(p, i, t);
        break;
    case TH_BEGIN_NOTHING:
    case TH_BEGIN_HISTORY:
        write_nothing(p, t);
        break;
    }
    end_turn(p, i, t);
}

/* ---- while it runs ---- */

/* Whether others are to know by now that it was accepted. */
static bool is_news(const struct th_offer *offer)
{
    const struct th_message *m = offer->message;
    const bool starts = m->event.kind == TH_EVENT_EXECUTION_STARTED && !offer->parked;

    return offer->verdict == TH_VERDICT_TAKEN && (starts || th_str_present(m->reply_to));
}

static bool has_news(const struct turn *t)
{
    for (size_t n = 0; n < t->count; n++)
        if (is_news(&t->offers[n]))
            return true;
    return false;
}

/* The instance as the events of this turn make it. */
static struct th_instance_info as_it_runs(const struct th_instance *i)
{
    struct th_instance_info info = i->info;

    for (size_t n = 0; n < i->turn->outcome.fresh.count; n++)
        th_info_apply(&info, &i->turn->outcome.fresh.items[n]);
    return info;
}

static bool decides_existence(enum th_event_kind kind)
{
    return kind == TH_EVENT_EXECUTION_STARTED || kind == TH_EVENT_EXECUTION_REWOUND ||
           kind == TH_EVENT_EXECUTION_TERMINATED || kind == TH_EVENT_PURGE_REQUESTED;
}

/* Whether it may be decided now: nothing before it in the mailbox decides it otherwise. */
static bool is_next_to_decide(const struct letter *l)
{
    const struct letter *before;

    DL_FOREACH(l->instance->mailbox, before) {
        if (before == l)
            return true;
        if (!before->offered && decides_existence(before->message.event.kind))
            return false;
    }
    return true;
}

/* The offer of this one letter to the instance as it runs. */
static void decide_meanwhile(struct th_instance *i, struct letter *l, struct th_arena *arena,
                             struct th_offer *offer)
{
    const struct th_instance_info info = as_it_runs(i);
    struct view v = {.instance = i, .turn = i->turn->id};
    const struct th_engine_in in = {
        .info = &info,
        .pending = {.argument = &v, .take = take_pending, .child = child_at, .repeated = repeated},
        .now = i->turn->in.now,
        .new_execution_id = th_str_of(i->turn->execution_id),
        .next_execution_id = th_str_of(i->turn->next_execution_id),
    };
    struct th_outcome outcome = {0};

    *offer = (struct th_offer){.message = &l->message};
    th_engine_begin(&in, offer, 1, arena, &outcome);
}

void turn_meanwhile(struct letter *l)
{
    struct th_instance *i = l->instance;
    TH_ARENA arena = {0};
    struct th_offer offer;

    if (!i->busy || th_is_entity(instance_id(i)) || !th_str_present(l->message.reply_to) ||
        !is_next_to_decide(l))
        return;
    if (!decides_existence(l->message.event.kind)) {
        if (!has_news(i->turn)) /* or the next owner would meet it before what it follows */
            write_acceptance(i->partition, l);
        return;
    }
    decide_meanwhile(i, l, &arena, &offer);
    if (offer.verdict == TH_VERDICT_DROPPED)
        write_refusal(i->partition, l, &offer);
    else if (l->message.event.kind == TH_EVENT_EXECUTION_STARTED)
        turn_interrupt(i);
}

bool th_partition_episode(struct th_partition *p, struct th_instance *i, bool history,
                          struct th_episode *out)
{
    struct turn *t = i->turn;
    const bool begins = t->outcome.replace_history;

    if (th_is_entity(instance_id(i))) {
        *out = (struct th_episode){.instance_id = instance_id(i),
                                   .past_loaded = true,
                                   .fresh = t->outcome.fresh.items,
                                   .fresh_count = t->outcome.fresh.count,
                                   .entity = true,
                                   .name = th_entity_name(instance_id(i)),
                                   .state = i->info.output};
        return true;
    }
    *out = (struct th_episode){.instance_id = instance_id(i),
                               .execution_id = t->outcome.execution_id,
                               .past_loaded = begins,
                               .past_stored = !begins,
                               .past = t->outcome.past.items,
                               .past_count = begins ? t->outcome.past.count : i->info.event_count,
                               .fresh = t->outcome.fresh.items,
                               .fresh_count = t->outcome.fresh.count,
                               .turn_trace = begins ? TH_STR_ABSENT : i->info.turn_trace};
    th_partition_function(i, &out->name, &out->version);
    i->replays = history && !begins;
    if (begins || !history)
        return true;
    if (!i->whole) {
        instance_load(i);
        return false;
    }
    if (t->past.count == 0 && !decode_past(p, i, t))
        return false;
    out->past_loaded = true;
    out->past = t->past.items;
    out->past_count = t->past.count;
    return true;
}

struct th_arena *th_partition_arena(struct th_instance *i)
{
    return &i->turn->arena;
}

void th_partition_ran(struct th_partition *p, struct th_instance *i,
                      const struct th_actions *actions, th_time now)
{
    struct turn *t = i->turn;

    p->now = now > p->now ? now : p->now;
    if (!p->active)
        return; /* fenced meanwhile */
    if (t->in.now < p->now)
        t->in.now = p->now; /* it may have taken long */
    t->actions = th_is_entity(instance_id(i))
                     ? results_in_size(p, actions, &t->arena)
                     : actions_in_size(p, actions, as_it_runs(i).parent != NULL, &t->arena);
    th_engine_finish(&t->in, t->actions, &t->arena, &t->outcome);
    write_outcome(p, i, t);
    end_turn(p, i, t);
}

struct th_str th_partition_instance_id(const struct th_instance *i)
{
    return instance_id(i);
}

void th_partition_function(struct th_instance *i, struct th_str *name, struct th_str *version)
{
    const struct th_instance_info info = as_it_runs(i);
    const bool entity = th_is_entity(instance_id(i));

    *name = entity ? th_entity_name(instance_id(i)) : info.name;
    *version = info.version;
}

/* What the code would have led to is said when it runs. */
static void keep_refusals(struct th_outcome *out)
{
    size_t kept = 0;

    for (size_t n = 0; n < out->outgoing_count; n++)
        if (out->outgoing[n].refusal)
            out->outgoing[kept++] = out->outgoing[n];
    out->outgoing_count = kept;
}

void th_partition_put_back(struct th_partition *p, struct th_instance *i, th_time now)
{
    struct turn *t = i->turn;

    p->now = now > p->now ? now : p->now;
    for (size_t n = 0; n < t->count; n++) {
        if (t->offers[n].verdict == TH_VERDICT_TAKEN)
            t->offers[n].verdict = TH_VERDICT_PARKED;
    }
    keep_refusals(&t->outcome);
    write_nothing(p, t);
    i->unserved = true;
    end_turn(p, i, t);
}

static void serve(struct th_instance *i)
{
    i->unserved = false;
    instance_unpark(i);
    instance_ready(i);
    instance_touch(i);
}

/* What is rewound shows it by its episode's record only. */
static bool is_rewound(const struct turn *t)
{
    return t->outcome.past.count > 0;
}

bool th_partition_accept(struct th_partition *p, struct th_instance *i, th_time now)
{
    if (!has_news(i->turn) || is_rewound(i->turn))
        return false;
    th_partition_put_back(p, i, now);
    write_marks(p);
    serve(i);
    return true;
}

void th_partition_serve_again(struct th_partition *p, th_time now)
{
    struct th_instance *i, *next;

    p->now = now > p->now ? now : p->now;
    HASH_ITER(hh, p->instances, i, next)
        if (i->unserved)
            serve(i);
}

bool th_partition_served(struct th_partition *p, struct th_instance *i, th_time now)
{
    if (!i->unserved)
        return true;
    th_partition_interrupted(p, i, now);
    serve(i);
    return false;
}

bool th_partition_next_unserved(struct th_partition *p, void **cursor, enum th_function_kind *kind,
                                struct th_str *name)
{
    struct th_instance *i = *cursor ? ((struct th_instance *)*cursor)->hh.next : p->instances;

    while (i && !i->unserved)
        i = i->hh.next;
    *cursor = i;
    if (!i)
        return false;
    *kind = th_function_kind_of(instance_id(i));
    *name = *kind == TH_FUNCTION_ENTITY ? th_entity_name(instance_id(i)) : i->info.name;
    return true;
}

/* ---- the work loop ---- */

static void fire_timer(struct pending *d)
{
    letter_answer(d, TH_EVENT_TIMER_FIRED, TH_STR_ABSENT)->message.event.fire_at = d->fire_at;
}

static void fire_due(struct th_partition *p)
{
    struct due due;

    while (heap_due(p, p->now, &due)) {
        if (due.letter) {
            instance_unpark_due(due.letter);
        } else if (!due.timer->answered) {
            fire_timer(due.timer);
        }
    }
}

/* Whether the next episode should wait for an acknowledgement. */
static bool should_wait(const struct th_partition *p, const struct th_instance *i)
{
    return i->hold || (i->crashes > 0 && i->crash_stamp > p->acked) ||
           (i->careful > 0 && i->last > p->acked) ||
           (i->last > p->acked && i->open_tasks > GATHER_ABOVE);
}

static void run_ready(struct th_partition *p)
{
    while (p->runnable && !p->paused && p->flight_count + p->turn_count < p->options.max_unacked) {
        struct th_instance *i = p->runnable;

        p->runnable = i->next_runnable;
        if (!p->runnable)
            p->runnable_last = &p->runnable;
        if (should_wait(p, i)) {
            i->next_runnable = p->deferred;
            p->deferred = i;
            continue;
        }
        i->queued = false;
        if (turn_can_run(i))
            turn_run(p, i);
        else
            instance_touch(i);
    }
}

th_time th_partition_work(struct th_partition *p, th_time now)
{
    p->now = now > p->now ? now : p->now;
    if (!p->active)
        return TH_TIME_NONE;
    if (p->redispatch)
        dispatch_again(p);
    fire_due(p);
    run_ready(p);
    write_marks(p);
    write_seal(p);
    clean_maybe(p);
    checkpoint_maybe(p);
    evict_idle(p);
    return verify_due(p, heap_next(p));
}

void th_partition_pause(struct th_partition *p)
{
    p->paused = true;
}

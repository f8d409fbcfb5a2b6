/*
 * promises: what must hold whatever goes wrong. A seeded driver claims, appends, sends and
 * projects through several handles of a simulated world with every fault switched on; processes
 * are killed, paused and replaced meanwhile, some behind the fault-injecting provider. Afterwards
 * the truth is compared with what the handles were told:
 *
 *   - each submission of a living handle completed once; appends and sends in their order;
 *   - what was acknowledged is there, at the offset that was told;
 *   - of each epoch's records a prefix is in the log, in order, and after a failed one no
 *     acknowledged one follows;
 *   - messages appear first in the order of their sending;
 *   - ordered: what was submitted before a failure was seen is not there if the failed one is not.
 *
 * TASKHUB_SEEDS sets how many seeds each shape runs (default 150), TASKHUB_SEED runs one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"
#include "provider/faulty/faulty.h"
#include "provider/provider.h"
#include "provider/simulated/simulated.h"

#include <cmocka.h>

enum { LOGS = 3, HANDLES = 3, ROUNDS = 250, NEVER = INT32_MAX };

enum outcome { UNKNOWN, DONE, FAILED };

/* One submission and its fate. Its content is its number, so that the truth can be searched. */
struct fact {
    enum th_completion_kind kind;
    unsigned handle;
    uint32_t partition, source;
    uint64_t epoch;
    enum outcome outcome;
    int64_t offset;
    int submitted, seen; /* ticks of the driver */
    bool hopeless;       /* its epoch was known to be broken when it was submitted */
    unsigned landed;     /* how often it is in the truth */
};

struct process {
    struct th_provider *provider; /* what the driver uses */
    struct th_provider *handle;   /* the simulated one, inside when it is wrapped */
    unsigned number;
    bool paused;
    bool claiming[LOGS], leading[LOGS], broken[LOGS];
    uint64_t epoch[LOGS];
    int64_t delivered[LOGS];
};

struct driver {
    struct th_sim_world *world;
    struct th_random random;
    struct process processes[HANDLES];
    bool wrapped, ordered;
    uint64_t seed;
    int tick;
    unsigned opened;
    struct fact *facts;
    size_t count, capacity;
};

static void check(const struct driver *d, bool holds, const char *promise, size_t fact)
{
    if (!holds) {
        fail_msg("seed %llu%s: submission %zu: %s", (unsigned long long)d->seed,
                 d->wrapped ? ", wrapped" : "", fact, promise);
    }
}

static uint64_t roll(struct driver *d, uint64_t bound)
{
    return th_random_below(&d->random, bound);
}

/* ---- what a process does ---- */

static size_t fact_add(struct driver *d, const struct process *process,
                       enum th_completion_kind kind, uint32_t partition, uint32_t source,
                       uint64_t epoch)
{
    d->facts = th_grow(d->facts, &d->capacity, d->count + 1, sizeof(struct fact));
    d->facts[d->count] = (struct fact){.kind = kind,
                                       .handle = process->number,
                                       .partition = partition,
                                       .source = source,
                                       .epoch = epoch,
                                       .submitted = d->tick++,
                                       .seen = NEVER};
    return d->count++;
}

static struct th_blob *content(size_t fact)
{
    char text[32];
    return th_blob_new(text, (size_t)snprintf(text, sizeof(text), "%zu", fact));
}

static void submit_claim(struct driver *d, struct process *process, uint32_t p)
{
    size_t fact = fact_add(d, process, TH_DONE_CLAIM, p, 0, 0);
    struct th_blob *record = content(fact);
    process->claiming[p] = true;
    process->leading[p] = false;
    process->provider->ops->claim(process->provider, p, record, fact);
    th_blob_unref(record);
}

static void submit_append(struct driver *d, struct process *process, uint32_t p)
{
    size_t fact = fact_add(d, process, TH_DONE_APPEND, p, 0, process->epoch[p]);
    d->facts[fact].hopeless = process->broken[p];
    struct th_blob *record = content(fact);
    process->provider->ops->append(process->provider, p, process->epoch[p], record, fact);
    th_blob_unref(record);
}

static void submit_send(struct driver *d, struct process *process, uint32_t source)
{
    uint32_t destination = (uint32_t)roll(d, LOGS);
    size_t fact = fact_add(d, process, TH_DONE_SEND, destination, source, 0);
    struct th_blob *message = content(fact);
    process->provider->ops->send(process->provider, source, destination, message, fact);
    th_blob_unref(message);
}

static void submit_project(struct driver *d, struct process *process, uint32_t p)
{
    size_t fact = fact_add(d, process, TH_DONE_PROJECT, p, 0, 0);
    struct th_row row = {.instance_id = TH_STR("a"), .last = fact, .name = TH_STR("n")};
    struct th_projection batch = {.partition = p, .rows = &row, .count = 1};
    batch.previous = th_sim_projection(d->world, p).watermark; /* often overtaken */
    batch.next = (struct th_watermark){(int64_t)fact, 0, 0};
    process->provider->ops->project(process->provider, &batch, fact);
}

static void act(struct driver *d, struct process *process)
{
    uint32_t p = (uint32_t)roll(d, LOGS);
    uint64_t what = roll(d, 12);
    if (!process->leading[p] && !process->claiming[p]) {
        submit_claim(d, process, p);
    } else if (what == 0 && !process->claiming[p]) {
        submit_claim(d, process, p);
    } else if (what < 7 && process->leading[p] && (!process->broken[p] || roll(d, 4) == 0)) {
        submit_append(d, process, p);
    } else if (what < 10) {
        submit_send(d, process, p);
    } else if (what == 10) {
        submit_project(d, process, p);
    } else {
        size_t fact = fact_add(d, process, TH_DONE_STATE, p, 0, 0);
        process->provider->ops->state(process->provider, p, fact);
    }
}

static void note_delivery(struct driver *d, struct process *process,
                          const struct th_completion *done)
{
    check(d, done->offset > process->delivered[done->partition], "deliveries go back", 0);
    process->delivered[done->partition] = done->offset;
}

static void note_lease(struct process *process, const struct th_completion *done)
{
    uint32_t p = done->partition;
    if (done->kind == TH_DONE_CLAIM) {
        process->claiming[p] = false;
        process->leading[p] = done->error.code == TH_OK;
        process->epoch[p] = (uint64_t)done->offset;
        process->broken[p] = false;
    }
}

static void note(struct driver *d, struct process *process, const struct th_completion *done)
{
    if (done->kind == TH_DONE_DELIVER) {
        note_delivery(d, process, done);
        return;
    }
    size_t i = done->tag;
    check(d, i < d->count, "a completion nobody asked for", i);
    struct fact *fact = &d->facts[i];
    check(d, fact->outcome == UNKNOWN, "completed twice", i);
    check(d, fact->kind == done->kind, "completed as another kind", i);
    check(d, fact->handle == process->number, "completed at another process", i);
    fact->outcome = done->error.code == TH_OK ? DONE : FAILED;
    fact->offset = done->offset;
    fact->seen = d->tick++;
    note_lease(process, done);
    if (fact->kind == TH_DONE_APPEND && fact->outcome == FAILED &&
        fact->epoch == process->epoch[fact->partition]) {
        process->broken[fact->partition] = true; /* goes on all the same: it must keep failing */
    }
}

static void drain(struct driver *d, struct process *process, size_t max)
{
    struct th_completion out[8];
    size_t count = process->provider->ops->poll(process->provider, out, max);
    for (size_t i = 0; i < count; i++) {
        note(d, process, &out[i]);
        th_completion_deinit(&out[i]);
    }
}

/* ---- births and deaths ---- */

static void start(struct driver *d, struct process *process)
{
    static const struct th_faulty_plan plan = {.fail_log = 0.02,
                                               .lose_log_ack = 0.02,
                                               .fail_send = 0.02,
                                               .lose_send_ack = 0.02,
                                               .fail_project = 0.05,
                                               .fail_answer = 0.05,
                                               .delay = 0.3,
                                               .delay_polls = 6};
    struct th_provider *handle = th_sim_open(d->world, NULL);
    if (!handle) {
        return; /* ordered: another one lives */
    }
    struct th_faulty_plan own = plan;
    own.seed = d->seed + d->opened;
    *process = (struct process){.handle = handle, .number = ++d->opened};
    process->provider = d->wrapped ? th_faulty_open(handle, &own) : handle;
    for (uint32_t p = 0; p < LOGS; p++) {
        process->delivered[p] = -1;
        process->provider->ops->inbox_open(process->provider, p, 0);
    }
}

static void stop(struct process *process, bool kill)
{
    if (kill) {
        th_sim_kill(process->handle);
    }
    process->provider->ops->close(process->provider);
    process->provider = NULL;
}

static void disaster(struct driver *d, struct process *process)
{
    uint64_t what = roll(d, 3);
    if (what == 0) {
        stop(process, roll(d, 2));
    } else if (what == 1) {
        th_sim_pause(process->handle);
        process->paused = true;
    } else {
        th_sim_resume(process->handle);
        process->paused = false;
    }
}

static void turn(struct driver *d)
{
    struct process *process = &d->processes[roll(d, HANDLES)];
    if (!process->provider) {
        start(d, process);
        return;
    }
    if (roll(d, 60) == 0) {
        disaster(d, process);
        return;
    }
    for (uint64_t n = roll(d, 4); n > 0 && !process->paused; n--) {
        act(d, process);
    }
    for (uint64_t n = roll(d, 12); n > 0; n--) {
        th_sim_step(d->world);
    }
    drain(d, process, 1 + roll(d, 8));
}

/* Everything that can still happen happens, and every living process sees it. */
static void run_out(struct driver *d)
{
    for (int i = 0; i < HANDLES; i++) {
        if (d->processes[i].provider) {
            th_sim_resume(d->processes[i].handle);
        }
    }
    for (int quiet = 0; quiet < 20;) {
        quiet = th_sim_step(d->world) ? 0 : quiet + 1;
        for (int i = 0; i < HANDLES; i++) {
            if (d->processes[i].provider) {
                drain(d, &d->processes[i], 8);
            }
        }
    }
}

/* Without further faults, every living process can work again. */
static void calm(struct driver *d)
{
    struct th_sim_options *options = th_sim_options(d->world);
    options->lose_append = options->lose_append_ack = options->lose_send = 0;
    options->lose_send_ack = options->lose_project = options->lose_project_ack = 0;
    for (int i = 0; d->wrapped && i < HANDLES; i++) {
        if (d->processes[i].provider) {
            *th_faulty_plan(d->processes[i].provider) = (struct th_faulty_plan){0};
        }
    }
}

static void check_recovery(struct driver *d)
{
    calm(d);
    for (int i = 0; i < HANDLES; i++) {
        struct process *process = &d->processes[i];
        if (!process->provider) {
            continue;
        }
        size_t first = d->count;
        submit_claim(d, process, 0);
        run_out(d);
        submit_append(d, process, 0);
        submit_send(d, process, 0);
        run_out(d);
        for (size_t n = first; n < d->count; n++) {
            check(d, d->facts[n].outcome == DONE, "nothing works again after the faults", n);
        }
    }
}

/* ---- the checks ---- */

static size_t fact_of(const struct th_sim_record *record)
{
    long long fact = -1;
    assert_true(th_str_to_i64(th_blob_view(record->bytes), &fact));
    return (size_t)fact;
}

static void count_landed(struct driver *d)
{
    for (uint32_t p = 0; p < LOGS; p++) {
        struct th_sim_topic log = th_sim_log(d->world, p);
        for (size_t i = 0; i < log.count; i++) {
            check(d, log.records[i].offset == (int64_t)i, "the log has a hole", i);
            d->facts[fact_of(&log.records[i])].landed++;
        }
        struct th_sim_topic inbox = th_sim_inbox(d->world, p);
        for (size_t i = 0; i < inbox.count; i++) {
            d->facts[fact_of(&inbox.records[i])].landed += inbox.records[i].durable;
        }
    }
}

static void check_told(struct driver *d)
{
    for (size_t i = 0; i < d->count; i++) {
        const struct fact *fact = &d->facts[i];
        bool in_log = fact->kind == TH_DONE_CLAIM || fact->kind == TH_DONE_APPEND;
        if (in_log) {
            check(d, fact->landed <= 1, "is in the log twice", i);
        }
        if (fact->outcome == DONE && (in_log || fact->kind == TH_DONE_SEND)) {
            check(d, fact->landed >= 1, "was acknowledged and is lost", i);
        }
        if (fact->outcome == DONE && in_log) {
            struct th_sim_topic log = th_sim_log(d->world, fact->partition);
            check(d, fact_of(&log.records[fact->offset]) == i, "is at another offset", i);
        }
    }
}

static void check_all_completed(struct driver *d)
{
    for (size_t i = 0; i < d->count; i++) {
        for (int n = 0; n < HANDLES; n++) {
            const struct process *process = &d->processes[n];
            if (process->provider && process->number == d->facts[i].handle) {
                check(d, d->facts[i].outcome != UNKNOWN, "was never completed", i);
            }
        }
    }
}

static bool same_lane(const struct fact *a, const struct fact *b)
{
    return a->kind == b->kind && a->handle == b->handle && a->partition == b->partition &&
           a->source == b->source && a->epoch == b->epoch;
}

/* a was submitted before b, in the same order of the contract. */
static void check_pair(struct driver *d, size_t a, size_t b)
{
    const struct fact *first = &d->facts[a];
    const struct fact *second = &d->facts[b];
    check(d, first->seen <= second->seen, "completed before what was submitted before it", b);
    if (first->kind != TH_DONE_APPEND) {
        return;
    }
    check(d, first->outcome != FAILED || second->outcome != DONE, "the epoch went on", b);
    check(d, first->landed || !second->landed, "a middle is lost", a);
}

static void check_epochs(struct driver *d)
{
    for (size_t b = 0; b < d->count; b++) {
        if (d->facts[b].kind != TH_DONE_APPEND && d->facts[b].kind != TH_DONE_SEND) {
            continue;
        }
        for (size_t a = b; a-- > 0;) {
            if (same_lane(&d->facts[a], &d->facts[b])) {
                check_pair(d, a, b);
                break; /* neighbours are enough: each of these is transitive along a lane */
            }
        }
    }
}

static void check_topic_order(struct driver *d, struct th_sim_topic topic)
{
    TH_AUTOFREE bool *met = th_alloc(d->count);
    for (size_t i = 0; i < topic.count; i++) {
        size_t b = fact_of(&topic.records[i]);
        for (size_t j = 0; !met[b] && j < i; j++) {
            size_t a = fact_of(&topic.records[j]);
            check(d, !same_lane(&d->facts[a], &d->facts[b]) || a < b, "landed out of order", b);
        }
        met[b] = true;
    }
}

/* What a failure keeps from landing in an ordered world. */
static void check_ordered(struct driver *d)
{
    for (size_t a = 0; d->ordered && a < d->count; a++) {
        const struct fact *first = &d->facts[a];
        bool counts = first->kind == TH_DONE_CLAIM || first->kind == TH_DONE_APPEND ||
                      first->kind == TH_DONE_SEND;
        if (!counts || first->landed || first->outcome == DONE || first->hopeless) {
            continue;
        }
        for (size_t b = a + 1; b < d->count; b++) {
            const struct fact *second = &d->facts[b];
            check(d,
                  second->handle != first->handle || second->submitted > first->seen ||
                      !second->landed,
                  "landed although what came before it had not", b);
        }
    }
}

/* ---- runs ---- */

static struct th_sim_options faults(bool ordered)
{
    struct th_sim_options options = th_sim_defaults();
    options.partitions = LOGS;
    options.ordered = options.early_delivery = ordered;
    options.lose_append = options.lose_append_ack = 0.01;
    options.lose_send = options.lose_send_ack = 0.01;
    options.lose_project = options.lose_project_ack = 0.05;
    options.duplicate_send = 0.05;
    options.fail_answer = 0.1;
    options.zombie = 0.7;
    return options;
}

/* The hash of the run. */
static uint64_t run(uint64_t seed, bool ordered, bool wrapped)
{
    struct th_sim_options options = faults(ordered);
    struct driver d = {.seed = seed, .ordered = ordered, .wrapped = wrapped};
    d.world = th_sim_world_new(seed, &options);
    th_random_seed(&d.random, ~seed);
    for (int i = 0; i < ROUNDS; i++) {
        turn(&d);
    }
    run_out(&d);
    check_recovery(&d);
    count_landed(&d);
    check_told(&d);
    check_all_completed(&d);
    check_epochs(&d);
    for (uint32_t p = 0; p < LOGS; p++) {
        check_topic_order(&d, th_sim_log(d.world, p));
        check_topic_order(&d, th_sim_inbox(d.world, p));
    }
    check_ordered(&d);
    uint64_t hash = th_sim_hash(d.world);
    for (int i = 0; i < HANDLES; i++) {
        if (d.processes[i].provider) {
            stop(&d.processes[i], false);
        }
    }
    th_sim_world_free(d.world);
    free(d.facts);
    return hash;
}

static uint64_t number_from(const char *variable, uint64_t otherwise)
{
    const char *text = getenv(variable);
    long long value;
    return text && th_str_to_i64(th_str_of(text), &value) ? (uint64_t)value : otherwise;
}

static void run_seeds(bool ordered, bool wrapped)
{
    uint64_t one = number_from("TASKHUB_SEED", 0);
    uint64_t count = number_from("TASKHUB_SEEDS", 150);
    for (uint64_t seed = one ? one : 1; seed <= (one ? one : count); seed++) {
        run(seed, ordered, wrapped);
    }
}

static void unordered_promises(void **state)
{
    run_seeds(false, false);
}

static void ordered_promises(void **state)
{
    run_seeds(true, false);
}

static void unordered_promises_wrapped(void **state)
{
    run_seeds(false, true);
}

static void ordered_promises_wrapped(void **state)
{
    run_seeds(true, true);
}

static void same_seed_same_run(void **state)
{
    for (uint64_t seed = 1; seed <= 20; seed++) {
        uint64_t hash = run(seed, seed % 2, false);
        assert_true(hash == run(seed, seed % 2, false));
        assert_false(hash == run(seed + 2, seed % 2, false));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unordered_promises),         cmocka_unit_test(ordered_promises),
        cmocka_unit_test(unordered_promises_wrapped), cmocka_unit_test(ordered_promises_wrapped),
        cmocka_unit_test(same_seed_same_run),
    };
    return cmocka_run_group_tests_name("promises", tests, NULL, NULL);
}

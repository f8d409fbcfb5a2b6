#include "provider/faulty/faulty.h"

#include <stdlib.h>

#include "base/hash.h"
#include "base/memory.h"
#include "provider/provider.h"

/*
 * Every submission is an entry; its address is the tag that the inner provider gives back. Entries
 * whose completions have an order wait in one lane, and only the first of a lane may come out:
 * that keeps the order although some are failed at once, some are answered and some are delayed.
 */
struct entry {
    struct entry *next;
    enum th_completion_kind kind;
    uint64_t tag; /* the node's */
    bool lost;    /* report a failure, whatever the inner provider says */
    bool ready;
    uint64_t release; /* the poll from which on it may come out */
    struct th_completion completion;
};

struct lane {
    enum th_completion_kind kind; /* claims wait with the appends */
    uint32_t partition, source;
    struct entry *first, *last;
};

struct log_state {
    uint64_t broken_below; /* appends of epochs below this fail */
    bool landing;          /* the last one's acknowledgement was lost: what follows may be, too */
};

struct faulty {
    struct th_provider provider;
    struct th_provider *inner;
    struct th_faulty_plan plan;
    struct th_faulty_stats stats;
    struct th_random random;
    bool ordered;
    uint64_t submissions, polls;
    size_t unseen; /* failures not yet polled, after which nothing may take effect */
    struct log_state *logs;
    struct lane *lanes;
    size_t lane_count, lane_capacity;
    struct th_completions done;
};

enum verdict { PASS, FAIL, LOSE };

static struct faulty *faulty_of(struct th_provider *provider)
{
    return (struct faulty *)provider; /* its first member */
}

static bool chance(struct faulty *f, double probability)
{
    return f->submissions > f->plan.spared && probability > 0 &&
           th_random_unit(&f->random) < probability;
}

/* ---- lanes ---- */

static struct lane *lane_add(struct faulty *f, enum th_completion_kind kind, uint32_t partition,
                             uint32_t source)
{
    f->lanes = th_grow(f->lanes, &f->lane_capacity, f->lane_count + 1, sizeof(struct lane));
    f->lanes[f->lane_count] = (struct lane){.kind = kind, .partition = partition, .source = source};
    return &f->lanes[f->lane_count++];
}

static bool has_order(enum th_completion_kind kind)
{
    return kind == TH_DONE_CLAIM || kind == TH_DONE_APPEND || kind == TH_DONE_SEND ||
           kind == TH_DONE_PROJECT;
}

static struct lane *lane_for(struct faulty *f, enum th_completion_kind kind, uint32_t partition,
                             uint32_t source)
{
    kind = kind == TH_DONE_CLAIM ? TH_DONE_APPEND : kind;
    for (size_t i = 0; has_order(kind) && i < f->lane_count; i++) {
        struct lane *lane = &f->lanes[i];
        if (lane->kind == kind && lane->partition == partition && lane->source == source) {
            return lane;
        }
    }
    return lane_add(f, kind, partition, source);
}

static struct entry *entry_new(struct faulty *f, enum th_completion_kind kind, uint32_t partition,
                               uint32_t source, uint64_t tag)
{
    struct lane *lane = lane_for(f, kind, partition, source);
    struct entry *entry = TH_NEW(struct entry);
    entry->kind = kind;
    entry->tag = tag;
    entry->completion.partition = partition;
    if (lane->last) {
        lane->last->next = entry;
    } else {
        lane->first = entry;
    }
    lane->last = entry;
    f->submissions++;
    return entry;
}

static uint64_t inner_tag(const struct entry *entry)
{
    return (uint64_t)(uintptr_t)entry;
}

/* ---- failures ---- */

/* Failures of these kinds keep what follows from taking effect until the node has seen them. */
static bool is_counted(const struct faulty *f, enum th_completion_kind kind)
{
    return kind == TH_DONE_SEND || (f->ordered && has_order(kind));
}

/* `last` means nothing in completions of mutations: until poll it marks our own counted failures.
 */
static void set_failed(const struct faulty *f, struct entry *entry)
{
    uint32_t partition = entry->completion.partition;
    const char *what = th_completion_kind_text(entry->kind);
    th_completion_deinit(&entry->completion);
    entry->completion =
        th_completion_failed(entry->kind, partition, entry->tag, TH_UNAVAILABLE,
                             "injected: the %s on partition %u failed", what, partition);
    entry->completion.last = is_counted(f, entry->kind);
}

static void make_ready(struct faulty *f, struct entry *entry)
{
    entry->ready = true;
    entry->release = f->polls;
    if (f->plan.delay_polls > 0 && chance(f, f->plan.delay)) {
        entry->release += 1 + th_random_below(&f->random, f->plan.delay_polls);
        f->stats.delayed++;
    }
}

/* Carries a verdict out; true when the submission is to be passed on. */
static bool judge(struct faulty *f, struct entry *entry, enum verdict verdict)
{
    if (verdict != PASS && is_counted(f, entry->kind)) {
        f->unseen++;
    }
    if (verdict == FAIL) {
        f->stats.failed++;
        set_failed(f, entry);
        make_ready(f, entry);
        th_provider_wake(&f->provider);
        return false;
    }
    entry->lost = verdict == LOSE;
    f->stats.lost += entry->lost;
    f->stats.passed++;
    return true;
}

static enum verdict draw(struct faulty *f, double fail, double lose)
{
    if (chance(f, fail)) {
        return FAIL;
    }
    return chance(f, lose) ? LOSE : PASS;
}

/* What is submitted before a failure was seen; PASS when there is none. */
static enum verdict draw_mutation(struct faulty *f, enum th_completion_kind kind, double fail,
                                  double lose)
{
    return f->unseen > 0 && is_counted(f, kind) ? FAIL : draw(f, fail, lose);
}

/* ---- submissions ---- */

static struct th_provider_traits faulty_traits(struct th_provider *provider)
{
    struct faulty *f = faulty_of(provider);
    return f->inner->ops->traits(f->inner);
}

static void faulty_claim(struct th_provider *provider, uint32_t partition, struct th_blob *record,
                         uint64_t tag)
{
    struct faulty *f = faulty_of(provider);
    struct entry *entry = entry_new(f, TH_DONE_CLAIM, partition, 0, tag);
    if (judge(f, entry, draw_mutation(f, TH_DONE_CLAIM, f->plan.fail_log, f->plan.lose_log_ack))) {
        f->inner->ops->claim(f->inner, partition, record, inner_tag(entry));
    }
}

/* Once an acknowledgement is lost, those behind it may land unacknowledged as well, until the first
 * that does not: after that one, none. */
static enum verdict draw_append(struct faulty *f, struct log_state *log, uint64_t epoch)
{
    if (epoch < log->broken_below) {
        log->landing = log->landing && !f->ordered && chance(f, 0.5);
        return log->landing ? LOSE : FAIL;
    }
    enum verdict verdict = draw_mutation(f, TH_DONE_APPEND, f->plan.fail_log, f->plan.lose_log_ack);
    if (verdict != PASS) {
        log->broken_below = epoch + 1;
        log->landing = verdict == LOSE;
    }
    return verdict;
}

static void faulty_append(struct th_provider *provider, uint32_t partition, uint64_t epoch,
                          struct th_blob *record, uint64_t tag)
{
    struct faulty *f = faulty_of(provider);
    struct entry *entry = entry_new(f, TH_DONE_APPEND, partition, 0, tag);
    bool known = partition < f->provider.hub.partitions; /* else the inner one refuses it */
    if (judge(f, entry, known ? draw_append(f, &f->logs[partition], epoch) : PASS)) {
        f->inner->ops->append(f->inner, partition, epoch, record, inner_tag(entry));
    }
}

static void faulty_send(struct th_provider *provider, uint32_t source, uint32_t destination,
                        struct th_blob *message, uint64_t tag)
{
    struct faulty *f = faulty_of(provider);
    struct entry *entry = entry_new(f, TH_DONE_SEND, destination, source, tag);
    if (judge(f, entry, draw_mutation(f, TH_DONE_SEND, f->plan.fail_send, f->plan.lose_send_ack))) {
        f->inner->ops->send(f->inner, source, destination, message, inner_tag(entry));
    }
}

static void faulty_project(struct th_provider *provider, const struct th_projection *batch,
                           uint64_t tag)
{
    struct faulty *f = faulty_of(provider);
    struct entry *entry = entry_new(f, TH_DONE_PROJECT, batch->partition, 0, tag);
    if (judge(f, entry,
              draw_mutation(f, TH_DONE_PROJECT, f->plan.fail_project, f->plan.lose_project_ack))) {
        f->inner->ops->project(f->inner, batch, inner_tag(entry));
    }
}

/* A trim may rest on an append that has just failed: nobody is told, so it is just dropped. */
static bool trim_passes(struct faulty *f)
{
    f->submissions++;
    return !(f->ordered && f->unseen > 0) && !chance(f, f->plan.lose_trim);
}

static void faulty_trim_log(struct th_provider *provider, uint32_t partition, int64_t below)
{
    struct faulty *f = faulty_of(provider);
    if (trim_passes(f)) {
        f->inner->ops->trim_log(f->inner, partition, below);
    }
}

static void faulty_trim_inbox(struct th_provider *provider, uint32_t partition, int64_t below)
{
    struct faulty *f = faulty_of(provider);
    if (trim_passes(f)) {
        f->inner->ops->trim_inbox(f->inner, partition, below);
    }
}

/* ---- reads ---- */

static struct entry *question(struct faulty *f, enum th_completion_kind kind, uint32_t partition,
                              uint64_t tag)
{
    struct entry *entry = entry_new(f, kind, partition, 0, tag);
    return judge(f, entry, draw(f, f->plan.fail_answer, 0)) ? entry : NULL;
}

static void faulty_read(struct th_provider *provider, uint32_t partition, int64_t from, int64_t to,
                        uint64_t tag)
{
    struct faulty *f = faulty_of(provider);
    struct entry *entry = question(f, TH_DONE_READ, partition, tag);
    if (entry) {
        f->inner->ops->read(f->inner, partition, from, to, inner_tag(entry));
    }
}

static void faulty_load(struct th_provider *provider, uint32_t partition, struct th_str instance_id,
                        bool history, uint64_t tag)
{
    struct faulty *f = faulty_of(provider);
    struct entry *entry = question(f, TH_DONE_LOAD, partition, tag);
    if (entry) {
        f->inner->ops->load(f->inner, partition, instance_id, history, inner_tag(entry));
    }
}

static void faulty_query(struct th_provider *provider, const struct th_query *query, uint64_t tag)
{
    struct faulty *f = faulty_of(provider);
    struct entry *entry = question(f, TH_DONE_QUERY, 0, tag);
    if (entry) {
        f->inner->ops->query(f->inner, query, inner_tag(entry));
    }
}

static void faulty_state(struct th_provider *provider, uint32_t partition, uint64_t tag)
{
    struct faulty *f = faulty_of(provider);
    struct entry *entry = question(f, TH_DONE_STATE, partition, tag);
    if (entry) {
        f->inner->ops->state(f->inner, partition, inner_tag(entry));
    }
}

static void faulty_inbox_open(struct th_provider *provider, uint32_t partition, int64_t from)
{
    struct faulty *f = faulty_of(provider);
    th_completions_drop_deliveries(&f->done, partition);
    f->inner->ops->inbox_open(f->inner, partition, from);
}

static void faulty_inbox_close(struct th_provider *provider, uint32_t partition)
{
    struct faulty *f = faulty_of(provider);
    f->inner->ops->inbox_close(f->inner, partition);
    th_completions_drop_deliveries(&f->done, partition);
}

/* ---- completions ---- */

/* The inner provider's own failure: it believes the node has seen it, but we may delay it. */
static void count_failure(struct faulty *f, struct th_completion *done)
{
    if (done->error.code != TH_OK && done->error.code != TH_FENCED && is_counted(f, done->kind)) {
        done->last = true;
        f->unseen++;
    }
}

static void take_answer(struct faulty *f, struct th_completion *done)
{
    if (done->kind == TH_DONE_DELIVER) {
        th_completions_push(&f->done, done);
        return;
    }
    struct entry *entry = (struct entry *)(uintptr_t)done->tag;
    entry->completion = *done;
    entry->completion.tag = entry->tag;
    if (entry->lost) {
        set_failed(f, entry);
    } else {
        count_failure(f, &entry->completion);
    }
    make_ready(f, entry);
}

static void take_answers(struct faulty *f)
{
    struct th_completion out[32];
    size_t count;
    while ((count = f->inner->ops->poll(f->inner, out, TH_COUNT(out))) > 0) {
        for (size_t i = 0; i < count; i++) {
            take_answer(f, &out[i]);
        }
    }
}

/* Lets the ready ones at the front of a lane out; true when the lane is empty. */
static bool release_lane(struct faulty *f, struct lane *lane)
{
    while (lane->first && lane->first->ready && lane->first->release <= f->polls) {
        struct entry *entry = lane->first;
        lane->first = entry->next;
        th_completions_push(&f->done, &entry->completion);
        free(entry);
    }
    return !lane->first;
}

/* True when something is ready and only delayed. */
static bool release(struct faulty *f)
{
    bool delayed = false;
    size_t kept = 0;
    for (size_t i = 0; i < f->lane_count; i++) {
        struct lane lane = f->lanes[i];
        if (!release_lane(f, &lane)) {
            delayed |= lane.first->ready;
            f->lanes[kept++] = lane;
        }
    }
    f->lane_count = kept;
    return delayed;
}

static size_t faulty_poll(struct th_provider *provider, struct th_completion *out, size_t max)
{
    struct faulty *f = faulty_of(provider);
    f->polls++;
    take_answers(f);
    bool delayed = release(f);
    size_t count = th_completions_pop(&f->done, out, max);
    for (size_t i = 0; i < count; i++) {
        if (has_order(out[i].kind) && out[i].last) { /* the mark of set_failed */
            out[i].last = false;
            f->unseen--;
        }
    }
    if (delayed) {
        th_provider_wake(&f->provider);
    }
    return count;
}

/* ---- opening and closing ---- */

static void lane_deinit(struct lane *lane)
{
    while (lane->first) {
        struct entry *entry = lane->first;
        lane->first = entry->next;
        th_completion_deinit(&entry->completion);
        free(entry);
    }
}

static void faulty_close(struct th_provider *provider)
{
    struct faulty *f = faulty_of(provider);
    f->inner->ops->close(f->inner);
    for (size_t i = 0; i < f->lane_count; i++) {
        lane_deinit(&f->lanes[i]);
    }
    th_completions_deinit(&f->done);
    free(f->lanes);
    free(f->logs);
    free(f);
}

static const struct th_provider_ops faulty_ops = {
    .traits = faulty_traits,
    .claim = faulty_claim,
    .read = faulty_read,
    .append = faulty_append,
    .send = faulty_send,
    .inbox_open = faulty_inbox_open,
    .inbox_close = faulty_inbox_close,
    .project = faulty_project,
    .load = faulty_load,
    .query = faulty_query,
    .state = faulty_state,
    .trim_log = faulty_trim_log,
    .trim_inbox = faulty_trim_inbox,
    .poll = faulty_poll,
    .close = faulty_close,
};

/* Called by the inner provider from any thread; the node's own hook stands in the outer one. */
static void relay_wake(void *argument)
{
    th_provider_wake(argument);
}

struct th_provider *th_faulty_open(struct th_provider *inner, const struct th_faulty_plan *plan)
{
    struct faulty *f = TH_NEW(struct faulty);
    f->inner = inner;
    f->plan = *plan;
    f->ordered = inner->ops->traits(inner).ordered;
    f->logs = th_alloc(inner->hub.partitions * sizeof(struct log_state));
    th_random_seed(&f->random, plan->seed);
    f->provider.ops = &faulty_ops;
    f->provider.hub = inner->hub;
    inner->wake = relay_wake;
    inner->wake_argument = &f->provider;
    return &f->provider;
}

struct th_faulty_plan *th_faulty_plan(struct th_provider *provider)
{
    return &faulty_of(provider)->plan;
}

void th_faulty_stats(const struct th_provider *provider, struct th_faulty_stats *out)
{
    *out = ((const struct faulty *)provider)->stats;
}

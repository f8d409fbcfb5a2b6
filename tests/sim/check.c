/*
 * check: the end of a run. Nothing is under way any more, so everything that was promised has to be
 * there: each instance as its program says, each row as the fold of the log, each answer as it was
 * given, each message and activity as the valid records ask for it.
 */
#include "provider/provider.h"
#include "tests/sim/bank.h"

/* ---- what an instance came to ---- */

static const char *uid_of(const json_t *input)
{
    const char *uid = json_string_value(json_object_get(input, "uid"));

    return uid ? uid : "";
}

static void check_failed(struct run *run, const struct fact *f)
{
    const struct th_failure *failure = f->info.failure;

    run_fail(run, "instance \"%s\" failed: %.*s: %.*s", f->id,
             TH_PRI(failure ? failure->type : TH_STR_ABSENT),
             TH_PRI(failure ? failure->message : TH_STR_ABSENT));
}

static void check_output(struct run *run, const struct fact *f, const json_t *input)
{
    json_auto_t *output =
        json_loadb(f->info.output.data, f->info.output.len, JSON_DECODE_ANY, NULL);
    char *name = th_str_dup(f->info.name);
    char *why = program_check(name, input, output);

    if (why)
        run_fail(run, "instance \"%s\" (%s): %s", f->id, name, why);
    free(why);
    free(name);
}

static void check_instance(struct run *run, const struct fact *f)
{
    json_auto_t *input = json_loadb(f->info.input.data, f->info.input.len, 0, NULL);
    const struct verdict verdict = clients_verdict(run->clients, uid_of(input));

    if (!verdict.known)
        run_fail(run, "instance \"%s\" was started by nobody", f->id);
    else if (f->info.status == TH_STATUS_COMPLETED)
        check_output(run, f, input);
    else if (f->info.status == TH_STATUS_FAILED)
        check_failed(run, f);
    else if (f->info.status != TH_STATUS_TERMINATED || !verdict.may_be_terminated)
        run_fail(run, "instance \"%s\" is %s in the end", f->id, th_status_text(f->info.status));
}

/* The history shows no event more often than it was sent. */
static void check_raised(struct run *run, struct facts *facts, const struct fact *f)
{
    for (size_t n = 0; n < f->history.count; n++) {
        const struct th_event *e = &f->history.items[n];
        unsigned seen = 0;

        if (e->kind != TH_EVENT_EVENT_RAISED)
            continue;
        for (size_t m = 0; m < f->history.count; m++)
            seen +=
                f->history.items[m].kind == e->kind && th_str_eq(f->history.items[m].data, e->data);
        if (seen > log_copies(facts, th_str_of(f->id), e->data))
            run_fail(run, "instance \"%s\" took event %.*s %u times, more often than it was sent",
                     f->id, TH_PRI(e->data), seen);
    }
}

/* ---- rows ---- */

static const struct th_row *row_of(const struct run *run, const struct fact *f)
{
    const struct th_sim_projection projection = th_sim_projection(run->world, f->partition);

    for (size_t n = 0; n < projection.count; n++)
        if (th_str_eq(projection.rows[n]->instance_id, th_str_of(f->id)))
            return projection.rows[n];
    return NULL;
}

static bool same_bytes(const struct th_blob *blob, struct th_str text)
{
    const struct th_str stored = th_blob_view(blob);

    return th_str_present(stored) == th_str_present(text) && th_str_eq(stored, text);
}

/* The column that differs from the log; NULL: none. */
static const char *other_column(const struct th_row *row, const struct fact *f)
{
    TH_BUFFER info = {0};

    th_encode_info(&info, &f->info, false);
    return row->status != f->info.status                   ? "status"
           : row->created != f->info.created               ? "created"
           : row->updated != f->info.updated               ? "updated"
           : row->completed != f->info.completed           ? "completed"
           : !th_str_eq(row->name, f->info.name)           ? "name"
           : !same_bytes(row->input, f->info.input)        ? "input"
           : !same_bytes(row->output, f->info.output)      ? "output"
           : !same_bytes(row->info, th_buffer_view(&info)) ? "info"
                                                           : NULL;
}

static void check_stored_history(struct run *run, const struct fact *f, const struct th_row *row)
{
    TH_ARENA arena = {0};
    struct th_events events = {0};
    size_t same = 0;

    for (size_t n = 0; n < row->history_count; n++) {
        struct th_reader in = sim_reader(th_blob_view(row->history[n]), &arena, NULL);

        if (!th_decode_events(&in, &events))
            run_fail(run, "the stored history of \"%s\" cannot be read", f->id);
    }
    while (same < events.count && same < f->history.count &&
           th_event_equal(&events.items[same], &f->history.items[same]))
        same++;
    if (same < events.count || same < f->history.count)
        run_fail(
            run,
            "the stored history of \"%s\" differs from the log's at event %zu (of %zu and %zu)",
            f->id, same, events.count, f->history.count);
    th_events_deinit(&events);
}

static void check_row(struct run *run, const struct fact *f)
{
    const struct th_row *row = row_of(run, f);
    const char *column = row ? other_column(row, f) : NULL;

    if (!row)
        run_fail(run, "the projection lacks instance \"%s\"", f->id);
    else if (column)
        run_fail(run,
                 "the row of instance \"%s\" is not what the log says: its %s differs (%s, %s)",
                 f->id, column, th_status_text(row->status), th_status_text(f->info.status));
    else
        check_stored_history(run, f, row);
}

static void check_no_more_rows(struct run *run, const struct facts *facts)
{
    for (uint32_t p = 0; p < run->plan.world.partitions; p++) {
        const struct th_sim_projection projection = th_sim_projection(run->world, p);

        for (size_t n = 0; n < projection.count; n++) {
            char *id = th_str_dup(projection.rows[n]->instance_id);
            const struct fact *f = log_find(facts, id);

            if (!f || !f->exists)
                run_fail(run, "the projection shows instance \"%s\", which does not exist", id);
            free(id);
        }
    }
}

/* ---- answers ---- */

static bool same_output(const char *told, struct th_str output)
{
    return told ? th_str_eq(th_str_of(told), output) : !th_str_present(output);
}

static void check_accepted(struct run *run, const struct subject *s, const struct fact *f)
{
    json_auto_t *input = json_loadb(f->info.input.data, f->info.input.len, 0, NULL);

    if (s->uid && strcmp(s->uid, uid_of(input)) != 0)
        run_fail(run, "instance \"%s\" runs start %s, but %s was accepted", s->id, uid_of(input),
                 s->uid);
}

static void check_subject(struct run *run, struct facts *facts, const struct subject *s)
{
    const struct fact *f = log_find(facts, s->id);
    const bool there = f && f->exists;

    if (s->exists && !s->may_go && !there)
        run_fail(run, "instance \"%s\" was known to exist, and is lost", s->id);
    if (s->purged && there && log_copies(facts, th_str_of(s->id), TH_STR("start")) < 2)
        run_fail(run, "instance \"%s\" was purged, and is there", s->id);
    if (!there || s->may_go)
        return;
    if (f->begun > 1 && !s->may_change)
        run_fail(run, "instance \"%s\" began %u times", s->id, f->begun);
    check_accepted(run, s, f);
    if (s->ended && !s->may_change &&
        (f->info.status != s->status || !same_output(s->output, f->info.output)))
        run_fail(run, "instance \"%s\" was answered to be %s, and is %s", s->id,
                 th_status_text(s->status), th_status_text(f->info.status));
}

/* A start makes one instance at most. */
static void check_start(struct run *run, const struct facts *facts, const char *uid)
{
    const struct verdict verdict = clients_verdict(run->clients, uid);
    const struct fact *f, *next;
    unsigned made = 0;

    HASH_ITER(hh, facts->instances, f, next) {
        json_auto_t *input = NULL;

        if (!f->exists || f->info.parent)
            continue;
        input = json_loadb(f->info.input.data, f->info.input.len, 0, NULL);
        made += strcmp(uid_of(input), uid) == 0;
    }
    if (made > 1 && !verdict.may_repeat)
        run_fail(run, "start %s made %u instances", uid, made);
    if (made > 0 && clients_start(run->clients, uid) == START_REFUSED)
        run_fail(run, "start %s was refused, and made an instance", uid);
}

static void check_answers(struct run *run, struct facts *facts)
{
    const struct subject *s;
    const char *const *uids;
    const size_t count = clients_uids(run->clients, &uids);

    for (s = clients_subjects(run->clients); s; s = s->hh.next)
        check_subject(run, facts, s);
    for (size_t n = 0; n < count; n++)
        check_start(run, facts, uids[n]);
}

/* ---- activities ---- */

static void check_dispatched(struct run *run, const struct facts *facts)
{
    const struct dispatched *d;

    for (size_t n = 0; (d = pool_dispatched(run->pool, n)); n++) {
        const struct told_task *t = log_told(facts, d);

        if (!t)
            run_fail(run, "activity %s/%d follows from no valid record", d->instance_id,
                     d->task_id);
        else if (t->offset >= d->log_end)
            run_fail(run, "activity %s/%d began before its record was written", d->instance_id,
                     d->task_id);
    }
}

/* ---- the log's length ---- */

static void check_bounded(struct run *run, const struct facts *facts)
{
    const uint64_t unit = run->plan.checkpoint_records + run->plan.checkpoint_bytes / 40 + 20;

    if (!run->plan.endless)
        return;
    for (uint32_t p = 0; p < run->plan.world.partitions; p++) {
        const struct th_sim_topic log = th_sim_log(run->world, p);
        const uint64_t kept = (uint64_t)(log.end - log.start);

        run->report->trims += log.start > 0;
        if (facts->valid[p] > 20 * unit && kept > 10 * unit)
            run_fail(run, "the log of partition %u keeps %llu of %llu records", p,
                     (unsigned long long)kept, (unsigned long long)facts->valid[p]);
    }
}

/* ---- all of it ---- */

static void check_instances(struct run *run, struct facts *facts)
{
    const struct fact *f, *next;

    HASH_ITER(hh, facts->instances, f, next) {
        if (!f->exists || run->report->failed)
            continue;
        run->report->instances++;
        if (f->info.status == TH_STATUS_ENTITY) {
            check_row(run, f);
            continue;
        }
        check_instance(run, f);
        check_raised(run, facts, f);
        history_check(run, f);
        check_row(run, f);
        history_replay(run, f);
    }
}

void check_end(struct run *run)
{
    struct facts facts;

    log_read(run, &facts);
    run->report->parts = facts.parts;
    run->report->invalid = facts.invalid;
    run->report->events = facts.events;
    for (uint32_t p = 0; p < run->plan.world.partitions; p++)
        run->report->trims += th_sim_log(run->world, p).start > 0;
    if (!run->report->failed) {
        check_dispatched(run, &facts);
        check_instances(run, &facts);
        check_no_more_rows(run, &facts);
        check_answers(run, &facts);
        check_bounded(run, &facts);
        bank_check(run, &facts);
    }
    log_free(&facts);
}

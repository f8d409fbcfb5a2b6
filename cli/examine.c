/*
 * examine: in the order that doctor.h asks for. Questions to the provider are answered by
 * completions; each step here waits for those of its own.
 */
#include "cli/examine.h"

#include <stdlib.h>

#include "base/hash.h"
#include "base/memory.h"
#include "provider/provider.h"

#define GRACE    (10 * TH_SECOND)
#define SILENCE  (20 * TH_SECOND)
#define PAGE     1000
#define PIPELINE 64

struct examination {
    struct cli_patient *patient;
    struct th_provider *provider;
    struct th_doctor *doctor;
    struct th_error *error;
    size_t open;                /* questions */
    struct th_watermark *marks; /* of each partition, before its rows were read */
};

static uint32_t partitions(const struct examination *e)
{
    return e->provider->hub.partitions;
}

/* ---- completions ----------------------------------------------------------------------------- */

static void wake(void *argument)
{
    th_queue_wake(argument);
}

void cli_patient_init(struct cli_patient *patient)
{
    th_queue_init(&patient->news);
    patient->provider->wake_argument = &patient->news;
    patient->provider->wake = wake;
}

void cli_patient_deinit(struct cli_patient *patient)
{
    th_control_close(patient->control);
    th_kafka_survey_close(patient->survey);
    if (!patient->provider)
        return;
    patient->provider->ops->close(patient->provider);
    th_queue_deinit(&patient->news);
}

/* Whatever comes, one by one; false: nothing came for long. */
static bool next(struct examination *e, struct th_completion *out)
{
    th_time deadline = th_monotonic() + SILENCE;
    while (e->provider->ops->poll(e->provider, out, 1) == 0) {
        if (th_monotonic() > deadline)
            return th_fail(e->error, TH_TIMEOUT, "the hub's storage does not answer");
        th_queue_wait(&e->patient->news, th_monotonic() + 100 * TH_MILLISECOND);
    }
    return true;
}

/* The answer to a question of that kind. Others are spontaneous, or come too late: of a look that
 * was broken off. */
static bool answer(struct examination *e, int kind, struct th_completion *out)
{
    while (next(e, out)) {
        if ((int)out->kind == kind)
            return true;
        th_completion_deinit(out);
    }
    return false;
}

#define COMPLETION __attribute__((cleanup(th_completion_deinit))) struct th_completion

static bool refuse(struct examination *e, const struct th_completion *c)
{
    *e->error = c->error;
    return false;
}

/* ---- where everything stands ----------------------------------------------------------------- */

static bool ask_state(struct examination *e, uint32_t partition, struct th_completion *out)
{
    e->provider->ops->state(e->provider, partition, partition);
    return answer(e, TH_DONE_STATE, out);
}

/* Of a fleet the ends come also when Redis does not answer. */
static bool has_ends(const struct examination *e, const struct th_completion *c)
{
    return c->error.code == TH_OK || (e->patient->fleet && c->log_end > 0);
}

/* ---- rows ------------------------------------------------------------------------------------ */

/* Whether a projection that was whole has been wiped since: of what is not there then nothing
 * follows. */
static bool is_another(const struct examination *e, uint32_t partition,
                       const struct th_watermark *now)
{
    const struct th_watermark *then = &e->marks[partition];
    return !e->provider->ops->traits(e->provider).durable_projection &&
           (now->offset < then->offset || (now->building && !then->building)) &&
           !th_fail(e->error, TH_UNAVAILABLE,
                    "the projection of partition %u lost its rows while they were read",
                    (unsigned)partition);
}

static bool take_row(struct examination *e, const struct th_completion *c)
{
    if (c->error.code == TH_NOT_FOUND) /* it was purged meanwhile */
        return !is_another(e, c->partition, &c->watermark);
    if (c->error.code != TH_OK || c->row_count == 0)
        return refuse(e, c);
    th_doctor_row(e->doctor, c->partition, c->rows);
    return true;
}

static bool settle(struct examination *e, size_t most)
{
    while (e->open > most) {
        COMPLETION c = {.tag = 0};
        if (!answer(e, TH_DONE_LOAD, &c))
            return false;
        e->open--;
        if (!take_row(e, &c))
            return false;
    }
    return true;
}

static bool load_rows(struct examination *e, const struct th_completion *page)
{
    for (size_t n = 0; n < page->row_count; n++) {
        struct th_str id = page->rows[n].instance_id;
        uint32_t partition = th_partition_of(id, partitions(e));
        e->provider->ops->load(e->provider, partition, id, true, 0);
        e->open++;
        if (!settle(e, PIPELINE))
            return false;
    }
    return settle(e, 0);
}

static bool is_same(const struct examination *e, const struct th_completion *page)
{
    for (uint32_t p = 0; page->watermarks && p < partitions(e); p++)
        if (is_another(e, p, &page->watermarks[p]))
            return false;
    return true;
}

static bool read_rows(struct examination *e)
{
    struct th_query query = {.statuses = TH_STATUS_ORCHESTRATIONS | TH_STATUS_BIT(TH_STATUS_ENTITY),
                             .from = TH_TIME_NONE,
                             .to = TH_TIME_NONE,
                             .completed_from = TH_TIME_NONE,
                             .completed_to = TH_TIME_NONE,
                             .limit = PAGE};
    TH_AUTOFREE char *token = NULL;
    do {
        COMPLETION page = {.tag = 0};
        query.continuation = th_str_of(token);
        e->provider->ops->query(e->provider, &query, 0);
        if (!answer(e, TH_DONE_QUERY, &page))
            return false;
        if (page.error.code != TH_OK)
            return refuse(e, &page);
        if (!is_same(e, &page) || !load_rows(e, &page))
            return false;
        free(token);
        token = th_str_dup(th_str_of(page.continuation));
    } while (token);
    return true;
}

/* Drops what is still to be answered, so that nothing of it is taken for another answer. */
static bool abandon(struct examination *e)
{
    for (; e->open > 0; e->open--) {
        COMPLETION c = {.tag = 0};
        if (!answer(e, TH_DONE_LOAD, &c))
            return false;
    }
    return true;
}

/* A projection that cannot be read is no reason not to read the rest. */
static bool read_projection(struct examination *e)
{
    for (uint32_t p = 0; p < partitions(e); p++) {
        COMPLETION c = {.tag = 0};
        if (!ask_state(e, p, &c))
            return false;
        if (c.error.code != TH_OK && !has_ends(e, &c))
            return refuse(e, &c);
        if (c.error.code != TH_OK) {
            th_doctor_projection_away(e->doctor, c.error.message);
            return true;
        }
        e->marks[p] = c.watermark;
        th_doctor_watermark(e->doctor, p, &c.watermark, c.stored_rows);
    }
    struct th_error why = {.code = TH_OK};
    struct th_error *asked = e->error;
    e->error = &why;
    bool done = read_rows(e);
    e->open -= !done && e->open > 0;
    bool settled = abandon(e);
    e->error = asked;
    if (!done && settled)
        th_doctor_projection_away(e->doctor, why.message);
    else if (!settled)
        *asked = why;
    return settled;
}

/* ---- logs ------------------------------------------------------------------------------------ */

static bool read_log(struct examination *e, uint32_t p, const struct th_completion *state)
{
    int64_t at = state->log_start, end = state->log_end;
    th_doctor_log(e->doctor, p, at, end);
    while (at < end) {
        COMPLETION c = {.tag = 0};
        e->provider->ops->read(e->provider, p, at, end, 0);
        if (!answer(e, TH_DONE_READ, &c))
            return false;
        if (c.error.code != TH_OK)
            return refuse(e, &c);
        for (size_t n = 0; n < c.record_count; n++)
            if (c.records[n].offset < end)
                th_doctor_record(e->doctor, p, c.records[n].offset, c.records[n].bytes);
        at = c.last ? end : c.offset;
    }
    th_doctor_log_done(e->doctor, p);
    return true;
}

/* ---- inboxes --------------------------------------------------------------------------------- */

struct inbox {
    struct examination *e;
    uint32_t partition;
    int64_t at, end;
};

static void take_delivery(struct inbox *in, const struct th_completion *c)
{
    if (c->kind != TH_DONE_DELIVER || c->partition != in->partition)
        return;
    if (c->error.code == TH_OK && (c->offset < in->at || c->offset >= in->end)) {
        in->at = c->offset >= in->end ? in->end : in->at;
        return;
    }
    th_doctor_message(in->e->doctor, in->partition, in->at,
                      c->error.code == TH_OK ? c->blob : NULL);
    in->at = c->error.code == TH_OK ? c->offset + 1 : in->at + 1;
    if (c->error.code != TH_OK && in->at < in->end)
        in->e->provider->ops->inbox_open(in->e->provider, in->partition, in->at);
}

static bool read_inbox(struct examination *e, uint32_t p, const struct th_completion *state)
{
    struct inbox in = {.e = e, .partition = p, .at = state->inbox_start, .end = state->inbox_end};
    bool done = true;
    th_doctor_inbox(e->doctor, p, in.at, in.end);
    if (in.at >= in.end)
        return true;
    e->provider->ops->inbox_open(e->provider, p, in.at);
    while (done && in.at < in.end) {
        COMPLETION c = {.tag = 0};
        done = next(e, &c);
        if (done)
            take_delivery(&in, &c);
    }
    e->provider->ops->inbox_close(e->provider, p);
    return done;
}

/* Of each partition what `read` reads, up to where it stands at that moment. */
static bool read_each(struct examination *e,
                      bool (*read)(struct examination *, uint32_t, const struct th_completion *))
{
    for (uint32_t p = 0; p < partitions(e); p++) {
        COMPLETION state = {.tag = 0};
        if (!ask_state(e, p, &state))
            return false;
        if (!has_ends(e, &state))
            return refuse(e, &state);
        if (!read(e, p, &state))
            return false;
    }
    return true;
}

/* ---- activities ------------------------------------------------------------------------------ */

struct activity_reading {
    struct th_doctor *doctor;
    uint32_t partition;
};

static bool take_activity(void *argument, int64_t offset, struct th_str bytes)
{
    const struct activity_reading *r = argument;
    struct th_blob *blob = th_str_present(bytes) ? th_blob_new(bytes.data, bytes.len) : NULL;
    th_doctor_activity(r->doctor, r->partition, offset, blob);
    th_blob_unref(blob);
    return true;
}

/* What is finished is asked before the inboxes are read: its result is in them then. */
static bool read_activities(struct examination *e)
{
    struct th_kafka_survey *survey = e->patient->survey;
    if (!survey)
        return true;
    uint32_t count = th_kafka_survey_partitions(survey, TH_KAFKA_ACTIVITIES);
    TH_AUTOFREE int64_t *starts = th_alloc(count * sizeof *starts);
    TH_AUTOFREE int64_t *ends = th_alloc(count * sizeof *ends);
    TH_AUTOFREE int64_t *committed = th_alloc(count * sizeof *committed);
    bool done = th_kafka_survey_committed(survey, TH_KAFKA_ACTIVITIES, committed, e->error) &&
                th_kafka_survey_starts(survey, TH_KAFKA_ACTIVITIES, starts, e->error) &&
                th_kafka_survey_ends(survey, TH_KAFKA_ACTIVITIES, ends, e->error);
    for (uint32_t n = 0; done && n < count; n++) {
        struct activity_reading reading = {.doctor = e->doctor, .partition = n};
        th_doctor_activities(e->doctor, n, starts[n], ends[n], committed[n]);
        done = th_kafka_survey_read(survey, TH_KAFKA_ACTIVITIES, n, starts[n], ends[n],
                                    take_activity, &reading, e->error);
    }
    return done;
}

/* ---- who works on it ------------------------------------------------------------------------- */

static void take_unserved(struct th_doctor *d, const struct th_member *m)
{
    for (size_t n = 0; n < m->unserved_count; n++)
        th_doctor_unserved(d, (enum th_function_kind)m->unserved[n].kind, m->unserved[n].name);
}

static void take_partitions(struct th_doctor *d, const struct th_member *m)
{
    TH_AUTOFREE char *name = th_str_dup(m->name);
    for (size_t n = 0; n < m->partitions_count; n++) {
        const struct th_member_partition *p = &m->partitions[n];
        if (p->epoch >= 0)
            th_doctor_owner(d, p->index, name);
        if (th_str_present(p->trouble)) {
            TH_AUTOFREE char *trouble = th_str_dup(p->trouble);
            th_doctor_trouble(d, p->index, trouble);
        }
    }
}

static void look_at_members(struct examination *e)
{
    TH_CONTROL_VIEW view = {.members = NULL};
    if (!e->patient->control)
        return;
    th_control_look(e->patient->control, &view);
    for (size_t n = 0; n < view.count; n++) {
        const struct th_member *m = view.members[n];
        if (m->kind != TH_MEMBER_WORKER)
            continue;
        TH_AUTOFREE char *name = th_str_dup(m->name);
        th_doctor_worker(e->doctor, name);
        take_unserved(e->doctor, m);
        take_partitions(e->doctor, m);
    }
}

/* ---- all of it ------------------------------------------------------------------------------- */

static struct th_doctor *doctor_for(const struct cli_patient *patient)
{
    const struct th_hub_record *hub = &patient->provider->hub;
    const struct th_doctor_options options = {
        .hub = hub->name,
        .incarnation = hub->incarnation,
        .partitions = hub->partitions,
        .activity_partitions = patient->fleet ? patient->fleet->activity_partitions : 0,
        .traits = patient->provider->ops->traits(patient->provider),
        .now = th_now(),
        .grace = GRACE,
    };
    return th_doctor_new(&options);
}

struct th_doctor *cli_examine(struct cli_patient *patient, struct th_error *error)
{
    struct examination e = {.patient = patient,
                            .provider = patient->provider,
                            .doctor = doctor_for(patient),
                            .error = error};
    TH_AUTOFREE struct th_watermark *marks =
        th_alloc(patient->provider->hub.partitions * sizeof *marks);
    e.marks = marks;
    bool done = read_projection(&e) && read_each(&e, read_log) && read_activities(&e) &&
                read_each(&e, read_inbox);
    look_at_members(&e);
    if (done)
        th_doctor_judge(e.doctor);
    return done ? e.doctor : (th_doctor_free(e.doctor), NULL);
}

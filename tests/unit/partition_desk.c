#include "unit/partition_desk.h"

/* ---- life ---- */

void desk_init(struct desk *d, uint32_t count, desk_code *code)
{
    *d = (struct desk){
        .options = {.index = 0,
                    .count = count,
                    .incarnation = 77,
                    .traits = {.name = "desk", .durable_projection = true, .ordered = true},
                    .seed = 1,
                    .worker = "w",
                    .max_instances = 1000,
                    .checkpoint_records = SIZE_MAX,
                    .checkpoint_bytes = 0,
                    .max_unacked = 1000,
                    .max_rows = 1000,
                    .max_crashes = 3},
        .code = code,
        .now = 1000 * TH_SECOND,
        .watermark = TH_WATERMARK_NONE,
        .read_from = -1,
        .verify = -1,
    };
}

static void drop_under_way(struct desk *d)
{
    for (size_t n = 0; n < d->append_count; n++)
        th_blob_unref(d->appends[n].blob);
    for (size_t n = 0; n < d->send_count; n++)
        th_blob_unref(d->sends[n].blob);
    for (size_t n = 0; n < d->activity_count; n++)
        free(d->activities[n].id);
    for (size_t n = 0; n < d->load_count; n++)
        free(d->loads[n]);
    d->append_count = d->send_count = d->activity_count = d->load_count = d->run_count = 0;
    d->projecting = false;
    d->read_from = d->verify = -1;
    d->walk = 0;
}

void desk_crash(struct desk *d)
{
    th_partition_free(d->p);
    d->p = NULL;
    drop_under_way(d);
    d->fenced = false;
}

static void row_clear(struct desk_row *r)
{
    th_blob_unref(r->row.info);
    th_blob_unref(r->row.input);
    th_blob_unref(r->row.output);
    for (size_t n = 0; n < r->count; n++)
        th_blob_unref(r->history[n]);
    free((void *)r->history);
    free(r->id);
    free(r->name);
}

void desk_deinit(struct desk *d)
{
    desk_crash(d);
    for (size_t n = 0; n < d->log_count; n++)
        th_blob_unref(d->log[n].bytes);
    for (size_t n = 0; n < d->inbox_count; n++)
        th_blob_unref(d->inbox[n]);
    for (size_t n = 0; n < d->row_count; n++)
        row_clear(&d->rows[n]);
    free(d->log);
    free((void *)d->inbox);
    free(d->rows);
    free(d->appends);
    free(d->sends);
    free(d->activities);
    free((void *)d->loads);
    free((void *)d->runs);
    th_buffer_deinit(&d->trace);
}

static int64_t log_add(struct desk *d, struct th_blob *blob)
{
    d->log = th_grow(d->log, &d->log_capacity, d->log_count + 1, sizeof(*d->log));
    d->log[d->log_count++] =
        (struct th_log_record){.offset = d->log_end, .bytes = th_blob_ref(blob)};
    return d->log_end++;
}

static int64_t log_start(const struct desk *d)
{
    return d->log_count > 0 ? d->log[0].offset : d->log_end;
}

/* As a node does it: a projection that may vanish has to say that it is whole. */
static bool believed(const struct desk *d)
{
    const struct th_watermark *w = &d->watermark;

    if (d->options.traits.durable_projection)
        return true;
    return w->offset >= 0 && !w->building &&
           (w->floor >= 0 ? w->floor >= log_start(d) : log_start(d) == 0);
}

static bool give_bases(struct desk *d, struct th_partition *p, bool none, struct th_error *error)
{
    struct th_str id;

    for (size_t n = 0; th_str_present(id = th_partition_wanted(p, n)); n++) {
        TH_AUTOFREE char *text = th_str_dup(id);
        const struct desk_row *r = none ? NULL : desk_row(d, text);
        struct th_row row = r ? r->row : (struct th_row){0};

        if (!th_partition_base(p, id, r ? &row : NULL, error))
            return false;
    }
    return true;
}

void desk_bases(struct desk *d, struct th_partition *p, bool none)
{
    struct th_error error = {0};

    if (!give_bases(d, p, none, &error))
        fail_msg("base: %s", error.message);
}

static bool folds(struct th_partition *p, struct th_error *error)
{
    struct th_effect e;

    if (th_partition_fold(p))
        return true;
    while (th_partition_effect(p, &e)) {
        if (e.kind == TH_EFFECT_FENCED)
            *error = *e.error;
        th_effect_deinit(&e);
    }
    return false;
}

/* Takes `p` over. False: it refuses what it reads. */
static bool recover(struct desk *d, struct th_partition *p, int64_t epoch, size_t records,
                    struct th_error *error)
{
    const bool rebuild = !believed(d);
    const int64_t from = rebuild ? 0 : d->watermark.floor;
    bool first = true, good = true;

    th_partition_begin(p, epoch, log_start(d), &d->watermark, 0, rebuild, d->now);
    for (size_t n = 0; n < records && good; n++) {
        if (d->log[n].offset < from)
            continue;
        good = th_partition_feed(p, d->log[n].offset, d->log[n].bytes,
                                 first && d->log[n].offset > 0, error);
        first = false;
    }
    if (good && give_bases(d, p, rebuild, error) && (!d->may_refuse || folds(p, error))) {
        th_partition_activate(p, d->now);
        d->p = p;
        return true;
    }
    th_partition_free(p);
    d->p = NULL;
    return false;
}

bool desk_try_open(struct desk *d, struct th_error *error)
{
    struct th_partition *p = th_partition_new(&d->options);
    struct th_blob *claim = th_partition_claim(p, d->now);
    const size_t records = d->log_count;
    const int64_t epoch = log_add(d, claim);
    struct th_partition_stats stats;

    th_blob_unref(claim);
    d->options.seed++;
    if (!recover(d, p, epoch, records, error))
        return false;
    th_partition_get_stats(d->p, &stats);
    for (size_t n = (size_t)stats.position; n < d->inbox_count; n++)
        if ((int64_t)n >= d->inbox_start)
            th_partition_deliver(d->p, (int64_t)n, d->inbox[n], d->now);
    return true;
}

void desk_open(struct desk *d)
{
    struct th_error error = {0};

    if (!desk_try_open(d, &error))
        fail_msg("open: %s", error.message);
}

/* ---- the trace ---- */

#define SAY(d, ...)                                     \
    do {                                                \
        if (!(d)->quiet_trace)                          \
            th_buffer_format(&(d)->trace, __VA_ARGS__); \
    } while (0)

void desk_forget(struct desk *d)
{
    d->trace.len = 0;
}

void desk_expect_at(struct desk *d, const char *expected, const char *file, int line)
{
    const struct th_str got = th_buffer_view(&d->trace);

    if (!th_str_eq(got, th_str_of(expected))) {
        print_error("trace:\n%.*s\nexpected:\n%s\n", TH_PRI(got), expected);
        _fail(file, line);
    }
    desk_forget(d);
}

static void say_append(struct desk *d, const struct th_effect *e)
{
    static const char *const kinds[] = {"?",     "claim",      "episode",  "marks", "purge",
                                        "crash", "checkpoint", "snapshot", "part"};
    TH_ARENA arena = {0};
    struct th_reader reader = th_reader_of(th_blob_view(e->blob), &arena, NULL);
    struct th_record r;

    reader.format = UINT32_MAX;
    assert_true(th_decode_record(&reader, &r));
    assert_int_equal(r.sequence, e->tag);
    SAY(d, "append %llu %s", (unsigned long long)e->tag, kinds[r.kind]);
    if (th_str_present(r.instance_id))
        SAY(d, " %.*s", TH_PRI(r.instance_id));
    SAY(d, "\n");
}

static void say_send(struct desk *d, const struct th_effect *e)
{
    TH_ARENA arena = {0};
    struct th_reader reader = th_reader_of(th_blob_view(e->blob), &arena, NULL);
    struct th_message m;

    reader.format = UINT32_MAX;
    assert_true(th_decode_message(&reader, &m));
    SAY(d, "send to %u, %llu.%u: %s for %.*s\n", e->destination,
        (unsigned long long)m.origin.sequence, m.origin.index, th_event_kind_text(m.event.kind),
        TH_PRI(m.instance_id));
}

/* ---- effects ---- */

static void run_one(struct desk *d, struct th_instance *instance)
{
    struct th_episode e;
    struct th_actions actions = {0};

    if (!th_partition_episode(d->p, instance, !d->warm, &e))
        return; /* a LOAD follows, and the run comes again */
    SAY(d, "run %.*s:", TH_PRI(e.instance_id));
    for (size_t n = 0; n < e.fresh_count; n++)
        SAY(d, " %s", th_event_kind_text(e.fresh[n].kind));
    SAY(d, "\n");
    d->code(d, &e, th_partition_arena(instance), &actions);
    th_partition_ran(d->p, instance, &actions, d->now);
}

static void load_one(struct desk *d, const char *id)
{
    const struct desk_row *r = desk_row(d, id);

    th_partition_loaded(d->p, th_str_of(id), r ? &r->row : NULL, d->now);
}

static void keep_append(struct desk *d, struct th_effect *e)
{
    say_append(d, e);
    d->appends = th_grow(d->appends, &d->append_capacity, d->append_count + 1, sizeof(*d->appends));
    d->appends[d->append_count++] = (struct desk_append){.tag = e->tag, .blob = e->blob};
    if (e->blob->len > d->largest_append)
        d->largest_append = e->blob->len;
    e->blob = NULL;
}

static void keep_send(struct desk *d, struct th_effect *e)
{
    say_send(d, e);
    d->sends = th_grow(d->sends, &d->send_capacity, d->send_count + 1, sizeof(*d->sends));
    d->sends[d->send_count++] =
        (struct desk_send){.tag = e->tag, .destination = e->destination, .blob = e->blob};
    e->blob = NULL;
}

static void start_activity(struct desk *d, const struct th_effect *e)
{
    struct th_partition_task task;

    if (!th_partition_activity(d->p, e->token, &task))
        return;
    SAY(d, "activity %.*s/%d %.*s\n", TH_PRI(task.instance_id), task.task_id, TH_PRI(task.name));
    d->activities = th_grow(d->activities, &d->activity_capacity, d->activity_count + 1,
                            sizeof(*d->activities));
    d->activities[d->activity_count++] = (struct desk_activity){
        .token = e->token, .id = th_str_dup(task.instance_id), .task_id = task.task_id};
}

static void activity_remove(struct desk *d, size_t n)
{
    free(d->activities[n].id);
    memmove(&d->activities[n], &d->activities[n + 1],
            (--d->activity_count - n) * sizeof(*d->activities));
}

static void cancel_activity(struct desk *d, uint64_t token)
{
    for (size_t n = 0; n < d->activity_count; n++) {
        if (d->activities[n].token != token)
            continue;
        SAY(d, "cancel %s/%d\n", d->activities[n].id, d->activities[n].task_id);
        activity_remove(d, n);
        return;
    }
}

/* In order: not before the records in front of it are durable. */
static void trim_inbox(struct desk *d, int64_t below)
{
    assert_true(below <= d->p->position);
    if (d->append_count > 0)
        d->appends[d->append_count - 1].trim = below;
    else
        d->inbox_start = below;
}

static void trim_log(struct desk *d, int64_t below)
{
    size_t n = 0;

    while (n < d->log_count && d->log[n].offset < below)
        th_blob_unref(d->log[n++].bytes);
    d->log_count -= n;
    memmove(d->log, d->log + n, d->log_count * sizeof(*d->log));
}

static void keep_load(struct desk *d, const char *id)
{
    SAY(d, "load %s\n", id);
    if (!d->hold_loads) {
        load_one(d, id);
        return;
    }
    d->loads = th_grow((void *)d->loads, &d->load_capacity, d->load_count + 1, sizeof(*d->loads));
    d->loads[d->load_count++] = th_str_dup(th_str_of(id));
}

static void keep_run(struct desk *d, struct th_instance *instance)
{
    if (!d->hold_runs) {
        run_one(d, instance);
        return;
    }
    d->runs = th_grow((void *)d->runs, &d->run_capacity, d->run_count + 1, sizeof(*d->runs));
    d->runs[d->run_count++] = instance;
}

static void drop_run(struct desk *d, const struct th_instance *instance)
{
    size_t kept = 0;

    for (size_t n = 0; n < d->run_count; n++)
        if (d->runs[n] != instance)
            d->runs[kept++] = d->runs[n];
    d->run_count = kept;
}

static void note_fence(struct desk *d, const struct th_effect *e)
{
    SAY(d, "fenced: %s\n", e->error->message);
    d->fenced = true;
    d->fence = *e->error;
}

static void carry_out(struct desk *d, struct th_effect *e)
{
    switch (e->kind) {
    case TH_EFFECT_APPEND:
        keep_append(d, e);
        break;
    case TH_EFFECT_SEND:
        keep_send(d, e);
        break;
    case TH_EFFECT_ACTIVITY:
        start_activity(d, e);
        break;
    case TH_EFFECT_CANCEL:
        cancel_activity(d, e->token);
        break;
    case TH_EFFECT_REPLY:
        SAY(d, "reply %s for %s: %s\n", e->reply_to, e->id, e->error ? e->error->message : "ok");
        break;
    case TH_EFFECT_CHANGED:
        SAY(d, "changed %s\n", e->id);
        break;
    case TH_EFFECT_RUN:
        keep_run(d, e->instance);
        break;
    case TH_EFFECT_INTERRUPT:
        SAY(d, "interrupt %s\n", e->id);
        drop_run(d, th_partition_interrupt(d->p, th_str_of(e->id), e->tag, d->now));
        break;
    case TH_EFFECT_FORGET:
        SAY(d, "forget %s\n", e->id);
        break;
    case TH_EFFECT_LOAD:
        keep_load(d, e->id);
        break;
    case TH_EFFECT_READ:
        SAY(d, "read %lld to %lld\n", (long long)e->from, (long long)e->to);
        d->read_from = e->from;
        d->read_to = e->to;
        break;
    case TH_EFFECT_VERIFY:
        SAY(d, "verify %lld\n", (long long)e->from);
        d->verify = e->from;
        break;
    case TH_EFFECT_WALK:
        SAY(d, "walk below %llu\n", (unsigned long long)e->tag);
        d->walk = e->tag;
        break;
    case TH_EFFECT_TRIM_INBOX:
        trim_inbox(d, e->to);
        break;
    case TH_EFFECT_TRIM_LOG:
        SAY(d, "trim log below %lld\n", (long long)e->to);
        trim_log(d, e->to);
        break;
    case TH_EFFECT_FENCED:
        note_fence(d, e);
        break;
    }
}

static bool pull(struct desk *d)
{
    struct th_effect e;
    bool any = false;

    while (!d->fenced && th_partition_effect(d->p, &e)) {
        any = true;
        carry_out(d, &e);
        th_effect_deinit(&e);
    }
    return any;
}

void desk_pull(struct desk *d)
{
    pull(d);
}

void desk_work(struct desk *d)
{
    do {
        th_partition_work(d->p, d->now);
    } while (pull(d));
}

/* ---- inputs ---- */

void desk_deliver_bytes(struct desk *d, struct th_str bytes)
{
    d->inbox = th_grow((void *)d->inbox, &d->inbox_capacity, d->inbox_count + 1, sizeof(*d->inbox));
    d->inbox[d->inbox_count] = th_blob_new(bytes.data, bytes.len);
    th_partition_deliver(d->p, (int64_t)d->inbox_count, d->inbox[d->inbox_count], d->now);
    d->inbox_count++;
}

void desk_deliver(struct desk *d, struct th_message message)
{
    TH_BUFFER bytes = {0};

    th_encode_message(&bytes, &message);
    desk_deliver_bytes(d, th_buffer_view(&bytes));
}

void desk_ack(struct desk *d, size_t count)
{
    size_t n = 0;

    if (d->append_count == 0)
        return;
    for (; n < count && n < d->append_count; n++) {
        const int64_t offset = log_add(d, d->appends[n].blob);
        if (d->appends[n].trim > 0)
            d->inbox_start = d->appends[n].trim;
        th_partition_acked(d->p, d->appends[n].tag, offset, d->now);
        th_blob_unref(d->appends[n].blob);
    }
    memmove(d->appends, d->appends + n, (d->append_count - n) * sizeof(*d->appends));
    d->append_count -= n;
}

void desk_sent(struct desk *d, size_t count)
{
    size_t n = 0;

    if (d->send_count == 0)
        return;
    for (; n < count && n < d->send_count; n++) {
        th_partition_sent(d->p, d->sends[n].tag);
        th_blob_unref(d->sends[n].blob);
    }
    memmove(d->sends, d->sends + n, (d->send_count - n) * sizeof(*d->sends));
    d->send_count -= n;
}

static bool answer(struct desk *d, const char *id, int32_t task_id, const char *data,
                   const struct th_failure *failure)
{
    for (size_t n = 0; n < d->activity_count; n++) {
        const uint64_t token = d->activities[n].token;

        if (strcmp(d->activities[n].id, id) != 0 || d->activities[n].task_id != task_id)
            continue;
        activity_remove(d, n);
        th_partition_answer(d->p, token, th_str_of(data), failure, d->now);
        return true;
    }
    return false;
}

bool desk_answer(struct desk *d, const char *id, int32_t task_id, const char *data)
{
    return answer(d, id, task_id, data, NULL);
}

bool desk_fail(struct desk *d, const char *id, int32_t task_id, const char *message)
{
    const struct th_failure failure = {.type = TH_STR("Boom"), .message = th_str_of(message)};

    return answer(d, id, task_id, NULL, &failure);
}

void desk_load(struct desk *d)
{
    const size_t count = d->load_count;

    d->load_count = 0;
    for (size_t n = 0; n < count; n++) {
        char *id = d->loads[n];
        load_one(d, id);
        free(id);
    }
}

void desk_run(struct desk *d)
{
    const size_t count = d->run_count;

    d->run_count = 0;
    for (size_t n = 0; n < count; n++)
        run_one(d, d->runs[n]);
}

void desk_foreign(struct desk *d, const struct th_record *record)
{
    TH_BUFFER bytes = {0};
    struct th_blob *blob;

    th_encode_record(&bytes, record);
    blob = th_blob_new(bytes.data, bytes.len);
    log_add(d, blob);
    th_blob_unref(blob);
}

void desk_gap(struct desk *d)
{
    const struct th_log_record *first = NULL;
    size_t count = 0;

    assert_true(d->read_from >= 0);
    for (size_t n = 0; n < d->log_count; n++) {
        if (d->log[n].offset < d->read_from || d->log[n].offset >= d->read_to)
            continue;
        first = first ? first : &d->log[n];
        count++;
    }
    d->read_from = -1;
    th_partition_gap(d->p, first, count, d->now);
}

/* ---- the projection ---- */

const struct desk_row *desk_row(const struct desk *d, const char *id)
{
    for (size_t n = 0; n < d->row_count; n++)
        if (strcmp(d->rows[n].id, id) == 0)
            return &d->rows[n];
    return NULL;
}

static struct desk_row *row_get(struct desk *d, struct th_str id)
{
    TH_AUTOFREE char *text = th_str_dup(id);
    const struct desk_row *found = desk_row(d, text);

    if (found)
        return &d->rows[found - d->rows];
    d->rows = th_grow(d->rows, &d->row_capacity, d->row_count + 1, sizeof(*d->rows));
    d->rows[d->row_count] = (struct desk_row){.id = th_str_dup(id)};
    return &d->rows[d->row_count++];
}

static void row_drop(struct desk *d, struct th_str id)
{
    struct desk_row *r = row_get(d, id);

    row_clear(r);
    *r = d->rows[--d->row_count];
}

static void row_store(struct desk *d, const struct th_row *from)
{
    struct desk_row *r = row_get(d, from->instance_id);
    struct desk_row old = *r;

    *r = (struct desk_row){.row = *from, .id = old.id, .name = th_str_dup(from->name)};
    r->row.instance_id = th_str_of(r->id);
    r->row.name = th_str_of(r->name);
    th_blob_ref(r->row.info);
    th_blob_ref(r->row.input);
    th_blob_ref(r->row.output);
    if (!from->replace_history) {
        r->history = old.history;
        r->count = old.count;
        r->capacity = old.capacity;
        old.history = NULL;
        old.count = 0;
    }
    for (size_t n = 0; n < from->history_count; n++) {
        r->history = th_grow((void *)r->history, &r->capacity, r->count + 1, sizeof(*r->history));
        r->history[r->count++] = th_blob_ref(from->history[n]);
    }
    r->row.history = r->history;
    r->row.history_count = r->count;
    old.id = NULL;
    row_clear(&old);
}

bool desk_project(struct desk *d)
{
    assert_false(d->projecting);
    d->projecting = th_partition_project(d->p, false, INT64_MAX, &d->batch);
    return d->projecting;
}

/* The rows of one batch, as a storage takes them. */
void desk_store(struct desk *d, const struct th_projection *batch)
{
    assert_true(th_watermark_equal(&batch->previous, &d->watermark));
    if (batch->clear)
        desk_wipe(d);
    d->watermark = batch->next;
    for (size_t n = 0; n < batch->count; n++) {
        if (batch->rows[n].deleted)
            row_drop(d, batch->rows[n].instance_id);
        else
            row_store(d, &batch->rows[n]);
    }
    assert_true(d->options.traits.durable_projection || d->watermark.rows == d->row_count);
}

void desk_wipe(struct desk *d)
{
    for (size_t n = 0; n < d->row_count; n++)
        row_clear(&d->rows[n]);
    d->row_count = 0;
    d->watermark = TH_WATERMARK_NONE;
}

void desk_projected(struct desk *d, enum th_code code)
{
    const struct th_error error = {.code = code, .message = "as the test wants"};

    assert_true(d->projecting);
    d->projecting = false;
    if (code == TH_OK)
        desk_store(d, &d->batch);
    th_partition_projected(d->p, &error);
}

void desk_walk(struct desk *d, size_t limit)
{
    static const struct th_error fine = {.code = TH_OK};
    struct th_row *rows = th_alloc(d->row_count * sizeof(*rows));
    size_t count = 0;

    for (size_t n = 0; n < d->row_count && count < limit; n++)
        if (d->rows[n].row.full < d->walk)
            rows[count++] = d->rows[n].row;
    d->walk = 0;
    th_partition_walked(d->p, rows, count, &d->watermark, d->row_count, &fine, d->now);
    free(rows);
}

void desk_verify(struct desk *d)
{
    struct th_log_record found = {.offset = -1};
    const int64_t start = d->log_count > 0 ? d->log[0].offset : d->log_end;
    const int64_t from = d->verify > start ? d->verify : start;

    for (size_t n = 0; n < d->log_count; n++)
        if (d->log[n].offset == d->verify)
            found = d->log[n];
    d->verify = -1;
    th_partition_verified(d->p, &found, found.offset >= 0, from + (found.offset >= 0), d->now);
}

void desk_settle(struct desk *d)
{
    bool any;

    do {
        any = d->append_count > 0 || d->send_count > 0 || d->load_count > 0 || d->run_count > 0 ||
              d->walk > 0;
        desk_work(d);
        desk_ack(d, SIZE_MAX);
        desk_work(d);
        desk_sent(d, SIZE_MAX);
        desk_load(d);
        desk_run(d);
        desk_pull(d);
        if (d->walk > 0)
            desk_walk(d, SIZE_MAX);
        if (desk_project(d)) {
            desk_projected(d, TH_OK);
            any = true;
        }
        desk_work(d);
    } while (any || d->append_count > 0);
}

/* ---- checks ---- */

static void decode_chunk(struct th_str bytes, struct th_arena *arena, struct th_events *out)
{
    struct th_events chunk = {0};
    struct th_reader reader = th_reader_of(bytes, arena, NULL);

    assert_true(th_decode_events(&reader, &chunk));
    for (size_t n = 0; n < chunk.count; n++) {
        if (out->count == out->capacity) {
            const struct th_event *old = out->items;
            out->capacity = out->capacity ? out->capacity * 2 : 16;
            out->items = TH_ARENA_ARRAY(arena, struct th_event, out->capacity);
            if (old)
                memcpy(out->items, old, out->count * sizeof(*old));
        }
        out->items[out->count++] = chunk.items[n];
    }
    th_events_deinit(&chunk);
}

struct th_events desk_history(struct desk *d, const char *id, struct th_arena *arena)
{
    const struct th_instance *i = instance_find(d->p, th_str_of(id));
    const struct desk_row *r = desk_row(d, id);
    struct th_events all = {0};

    if (r && !(i && (i->whole || i->replace_stored || i->purged)))
        for (size_t n = 0; n < r->count; n++)
            decode_chunk(th_blob_view(r->history[n]), arena, &all);
    for (size_t n = 0; i && n < i->chunk_count; n++)
        if (i->whole || i->replace_stored || !r || i->chunks[n].stamp > r->row.last)
            decode_chunk(i->chunks[n].bytes, arena, &all);
    return all;
}

void desk_expect_history(struct desk *d, const char *id, const char *expected)
{
    TH_ARENA arena = {0};
    TH_BUFFER text = {0};
    const struct th_events all = desk_history(d, id, &arena);

    for (size_t n = 0; n < all.count; n++) {
        th_buffer_format(&text, "%s%s", n ? " " : "", th_event_kind_text(all.items[n].kind));
        if (all.items[n].kind == TH_EVENT_ORCHESTRATOR_COMPLETED && n + 1 < all.count)
            th_buffer_text(&text, " |");
    }
    th_buffer_add(&text, "", 1);
    assert_string_equal(text.data, expected);
}

const struct th_instance_info *desk_info(struct desk *d, const char *id)
{
    static struct th_instance_info stored;
    static struct th_arena arena;
    const struct th_instance *i = instance_find(d->p, th_str_of(id));
    const struct desk_row *r = desk_row(d, id);
    struct th_reader reader;

    if (i && i->known)
        return th_info_exists(&i->info) ? &i->info : NULL;
    if (!r)
        return NULL;
    th_arena_deinit(&arena);
    reader = th_reader_of(th_blob_view(r->row.info), &arena, NULL);
    reader.format = UINT32_MAX;
    assert_true(th_decode_info(&reader, &stored));
    stored = th_info_copy(&arena, &stored);
    stored.input = th_arena_str(&arena, th_blob_view(r->row.input));
    stored.output = th_arena_str(&arena, th_blob_view(r->row.output));
    return &stored;
}

enum th_status desk_status(struct desk *d, const char *id)
{
    const struct th_instance_info *info = desk_info(d, id);

    if (!info)
        fail_msg("instance %s does not exist", id);
    return info->status;
}

/* ---- the fold as text ---- */

struct lines {
    char **items;
    size_t count, capacity;
};

static void line(struct lines *l, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void line(struct lines *l, const char *format, ...)
{
    struct th_buffer b = {0};
    va_list arguments;

    va_start(arguments, format);
    th_buffer_vformat(&b, format, arguments);
    va_end(arguments);
    l->items = th_grow((void *)l->items, &l->capacity, l->count + 1, sizeof(*l->items));
    l->items[l->count++] = th_buffer_take(&b);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void dump_inbox(const struct th_partition *p, struct lines *l)
{
    line(l, "position %lld", (long long)p->position);
    for (uint32_t n = 0; n < p->options.count; n++)
        if (p->vector_position[n].sequence > 0)
            line(l, "vector %u %llu.%u", n, (unsigned long long)p->vector_position[n].sequence,
                 p->vector_position[n].index);
    for (size_t n = p->early_first; n < p->early_count; n++)
        line(l, "consumed %lld", (long long)p->early[n]);
    for (size_t n = 0; n < p->slot_count; n++)
        if (p->slots[p->slot_first + n].consumed)
            line(l, "consumed %lld", (long long)(p->position + (int64_t)n));
}

static void dump_letters(const struct th_partition *p, struct lines *l)
{
    struct letter *letter, *next;
    struct outgoing *o;

    HASH_ITER(hh, p->locals, letter, next)
        line(l, "local %llu.%llu %s for %.*s", (unsigned long long)letter->local.sequence,
             (unsigned long long)letter->local.index,
             th_event_kind_text(letter->message.event.kind), TH_PRI(letter->message.instance_id));
    DL_FOREACH(p->outbox, o)
        line(l, "outbox %llu.%u to %u, %zu bytes", (unsigned long long)o->sequence, o->index,
             o->destination, o->blob->len);
}

static void dump_pending(const struct th_partition *p, struct lines *l)
{
    struct pending *d, *next;

    HASH_ITER(hh_token, p->tokens, d, next)
        line(
            l, "pending %.*s/%.*s/%d kind %d%s%s crashes %u name %.*s data %.*s child %.*s at %lld",
            TH_PRI(instance_id(d->instance)), TH_PRI(th_str_of(d->execution_id)), d->event_id,
            (int)d->kind, d->orphan ? " orphan" : "", d->answer_parked ? " parked" : "", d->crashes,
            TH_PRI(d->name), TH_PRI(d->data), TH_PRI(d->child_id), (long long)d->fire_at);
}

static void dump_instance(struct desk *d, const char *id, struct lines *l)
{
    const struct th_instance_info *info = desk_info(d, id);
    TH_ARENA arena = {0};
    TH_BUFFER bytes = {0};

    if (!info)
        return;
    th_encode_info(&bytes, info, true);
    line(l, "instance %s %s events %u generation %u info %08x", id, th_status_text(info->status),
         info->event_count, info->generation, th_crc32c(0, bytes.data, bytes.len));
    const struct th_events history = desk_history(d, id, &arena);
    bytes.len = 0;
    th_encode_events(&bytes, history.items, history.count);
    line(l, "history %s %zu %08x", id, history.count,
         th_crc32c(0, bytes.data ? bytes.data : "", bytes.len));
}

static void dump_instances(struct desk *d, struct lines *l)
{
    struct th_instance *i, *next;

    HASH_ITER(hh, d->p->instances, i, next) {
        if (i->crashes > 0)
            line(l, "crashes %s %u", i->id, i->crashes);
        if (i->known)
            dump_instance(d, i->id, l);
    }
    for (size_t n = 0; n < d->row_count; n++) {
        i = instance_find(d->p, th_str_of(d->rows[n].id));
        if (!i || !i->known)
            dump_instance(d, d->rows[n].id, l);
    }
}

char *desk_dump(struct desk *d)
{
    struct lines l = {0};
    struct th_buffer out = {0};

    line(&l, "sequence %llu", (unsigned long long)d->p->next_sequence);
    dump_inbox(d->p, &l);
    dump_letters(d->p, &l);
    dump_pending(d->p, &l);
    dump_instances(d, &l);
    qsort((void *)l.items, l.count, sizeof(*l.items), by_text);
    for (size_t n = 0; n < l.count; n++) {
        th_buffer_format(&out, "%s\n", l.items[n]);
        free(l.items[n]);
    }
    free((void *)l.items);
    return th_buffer_take(&out);
}

void desk_expect_recovery(struct desk *d)
{
    TH_AUTOFREE char *live = NULL, *recovered = NULL;
    struct th_partition *p = d->p;
    struct th_error error = {0};

    assert_int_equal(d->append_count, 0);
    live = desk_dump(d);
    if (!recover(d, th_partition_new(&d->options), d->log_end, d->log_count, &error))
        fail_msg("recovery: %s", error.message);
    recovered = desk_dump(d);
    th_partition_free(d->p);
    d->p = p;
    if (strcmp(live, recovered) != 0)
        fail_msg("live:\n%s\nrecovered:\n%s\n", live, recovered);
}

/* ---- messages ---- */

struct th_message desk_message(const char *id, enum th_event_kind kind)
{
    struct th_message m = {.instance_id = th_str_of(id),
                           .origin = {.partition = TH_FROM_CLIENT},
                           .event = th_event_of(kind, 900 * TH_SECOND)};
    return m;
}

struct th_message desk_start(const char *id, const char *name)
{
    struct th_message m = desk_message(id, TH_EVENT_EXECUTION_STARTED);

    m.event.name = th_str_of(name);
    return m;
}

struct th_message desk_raise(const char *id, const char *name, const char *data)
{
    struct th_message m = desk_message(id, TH_EVENT_EVENT_RAISED);

    m.event.name = th_str_of(name);
    m.event.data = th_str_of(data);
    return m;
}

struct th_message desk_asked(struct th_message m, const char *request)
{
    m.request_id = m.reply_to = th_str_of(request);
    return m;
}

struct th_message desk_from(struct th_message m, int32_t partition, uint64_t sequence,
                            uint32_t index)
{
    m.origin = (struct th_origin){.partition = partition, .sequence = sequence, .index = index};
    return m;
}

const char *desk_id(const struct desk *d, const char *stem, uint32_t partition, char out[40])
{
    snprintf(out, 40, "%s", stem);
    for (int n = 0; th_partition_of(th_str_of(out), d->options.count) != partition; n++)
        snprintf(out, 40, "%s%d", stem, n);
    return out;
}

/* ---- for codes ---- */

size_t code_fresh_count(const struct th_episode *e, enum th_event_kind kind)
{
    size_t count = 0;

    for (size_t n = 0; n < e->fresh_count; n++)
        count += e->fresh[n].kind == kind;
    return count;
}

size_t code_count(const struct th_episode *e, enum th_event_kind kind)
{
    size_t count = code_fresh_count(e, kind);

    for (size_t n = 0; n < e->past_count; n++)
        count += e->past[n].kind == kind;
    return count;
}

const struct th_event *code_last(const struct th_episode *e, enum th_event_kind kind)
{
    for (size_t n = e->fresh_count; n-- > 0;)
        if (e->fresh[n].kind == kind)
            return &e->fresh[n];
    for (size_t n = e->past_count; n-- > 0;)
        if (e->past[n].kind == kind)
            return &e->past[n];
    return NULL;
}

bool code_is(const struct th_episode *e, const char *name)
{
    const struct th_event *started = code_last(e, TH_EVENT_EXECUTION_STARTED);

    return started && th_str_eq(started->name, th_str_of(name));
}

struct th_action *code_task(struct th_actions *out, struct th_arena *arena, int32_t id,
                            const char *name)
{
    struct th_action *a = th_actions_add(out, arena, TH_ACTION_SCHEDULE_TASK, id);

    a->name = th_str_of(name);
    a->data = TH_STR("\"in\"");
    return a;
}

void code_complete(struct th_actions *out, struct th_arena *arena, const char *result)
{
    struct th_action *a = th_actions_add(out, arena, TH_ACTION_COMPLETE, -1);

    a->status = TH_STATUS_COMPLETED;
    a->data = th_arena_str(arena, th_str_of(result));
}

void code_continue(struct th_actions *out, struct th_arena *arena, const char *input)
{
    struct th_action *a = th_actions_add(out, arena, TH_ACTION_COMPLETE, -1);

    a->status = TH_STATUS_CONTINUED_AS_NEW;
    a->data = th_arena_str(arena, th_str_of(input));
}

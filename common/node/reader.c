/*
 * reader: folds a log into a core, piece by piece. For a new lease it leads from the claim to an
 * active partition; beside a living owner it makes the rows of a projection again that lost them.
 *
 *     STATE ─┬▶ CHECKS ──▶ TAKES ─┬▶ READS ──piece──▶ ROWS ──▶ fold ──▶ STORES ──▶ READS … ──▶ end
 *            └▶ LOOKS ────────────┘
 *
 * Where the projection can be believed, the record it stands at is read back, because a log that
 * lost its end may be shorter by now, or hold others. Then the projection is taken over, by an
 * empty batch of the new epoch: what a former owner still has on its way to it is refused from then
 * on. The log is read from the projection's floor on, and the rows of the instances it speaks of
 * are asked for. Where it cannot be believed, the log is read from its start, and rows come only
 * from what was stored on the way, so that instances need not stay in memory. First it is looked
 * through for a newer claim: the owner behind it may have cleaned the log, and then the copies of
 * instances stand where this reading does not come. Whenever log or rows turn out to be others than
 * those it began with, it begins again.
 */
#include "node/internal.h"

static void ask_state(struct th_node *node, struct part *part, struct reader *r)
{
    r->state = READER_STATE;
    r->again_at = TH_TIME_NONE;
    node->provider->ops->state(node->provider, part->index,
                               node_op(node, OP_STATE, part->index, TH_STR_ABSENT, r->serial));
}

static void begin(struct th_node *node, struct part *part, struct reader *r)
{
    r->serial = ++node->next_serial;
    r->begun = r->stored = false;
    r->fed = r->rows_missing = 0;
    ask_state(node, part, r);
}

void reader_start(struct th_node *node, struct part *part, struct reader *r, int64_t to)
{
    *r = (struct reader){
        .core = r->beside ? node_core_new(node, part) : part->core, .beside = r->beside, .to = to};
    begin(node, part, r);
}

void reader_stop(struct reader *r)
{
    if (r->beside)
        th_partition_free(r->core);
    *r = (struct reader){.beside = r->beside};
}

struct reader *reader_of(struct part *part, uint64_t serial)
{
    if (part->lease.core && part->lease.serial == serial)
        return &part->lease;
    if (part->rebuild.core && part->rebuild.serial == serial)
        return &part->rebuild;
    return NULL;
}

/* Somebody changed under the reader's eyes what it reads: another owner, a wipe, a cleaning. */
static void begin_again(struct th_node *node, struct part *part, struct reader *r)
{
    struct th_partition *core = th_partition_again(r->core);

    th_partition_free(r->core);
    r->core = core;
    if (!r->beside)
        part->core = core;
    begin(node, part, r);
}

static void ask_again(struct th_node *node, struct part *part, struct reader *r,
                      const struct th_error *error)
{
    part_trouble(part, error->message);
    r->again_at = node->now + ASK_AGAIN;
}

/* ---- where to begin ---- */

static bool can_be_believed(const struct th_node *node, const struct part *part,
                            const struct th_completion *c)
{
    const struct th_watermark *w = &c->watermark;

    if (node->traits.durable_projection)
        return true;
    return !part->distrusted && w->offset >= 0 && !w->building && w->rows == c->stored_rows &&
           (w->floor >= 0 ? w->floor >= c->log_start : c->log_start == 0);
}

/* The claim itself is no longer there: cleaned by a later owner, or lost with the log's end. */
static bool lost_claim(const struct part *part, const struct th_completion *c,
                       struct th_error *error)
{
    if (c->log_start > part->epoch)
        return !th_fail(error, TH_FENCED, "the log of partition %u was cleaned by another owner",
                        part->index);
    if (c->log_end <= part->epoch)
        return !th_fail(error, TH_TRUNCATED,
                        "the log of partition %u lost its end: it ends at %lld, the claim stood at "
                        "%lld",
                        part->index, (long long)c->log_end, (long long)part->epoch);
    return false;
}

/* Rows of a later owner are not replaced. */
static bool is_of_another(const struct th_node *node, const struct part *part,
                          const struct th_watermark *w, struct th_error *error)
{
    if (node->traits.durable_projection || w->offset < 0 || w->epoch <= (uint64_t)part->epoch)
        return false;
    return !th_fail(error, TH_FENCED, "the projection of partition %u is another owner's",
                    part->index);
}

static void read_on(struct th_node *node, struct part *part, struct reader *r)
{
    r->state = READER_READS;
    r->again_at = TH_TIME_NONE;
    node->provider->ops->read(node->provider, part->index, r->at, r->to,
                              node_op(node, OP_READ, part->index, TH_STR_ABSENT, r->serial));
}

static void fold(struct th_node *node, struct part *part, struct reader *r);

/* The highest number of a batch that this process knows of. One that came to nothing counts, too:
 * what became of it is told by the watermark, and a batch of the reader must not look like it. */
static uint64_t known_batch(const struct part *part)
{
    const uint64_t stored = part->watermark.batch, sent = part->projecting.batch;

    return stored > sent ? stored : sent;
}

static void begin_reading(struct th_node *node, struct part *part, struct reader *r)
{
    const struct th_watermark *w = &r->expected;

    th_partition_begin(r->core, part->epoch, r->at, w, known_batch(part), r->rebuild, node->now);
    if (!r->rebuild && !node->traits.durable_projection && w->floor >= 0)
        r->at = w->floor;
    if (r->at < r->to)
        read_on(node, part, r);
    else
        fold(node, part, r);
}

static bool is_ours(const struct th_node *node, const struct part *part, const struct reader *r)
{
    return node->traits.durable_projection || r->expected.epoch == (uint64_t)part->epoch;
}

/* ---- rows that are believed ---- */

static void take_projection(struct th_node *node, struct part *part, struct reader *r)
{
    struct th_projection batch = {
        .partition = part->index, .previous = r->expected, .next = r->expected};

    batch.next.offset = part->epoch;
    batch.next.epoch = (uint64_t)part->epoch;
    batch.next.batch++;
    r->state = READER_TAKES;
    r->projecting = batch.next;
    node->provider->ops->project(node->provider, &batch,
                                 node_op(node, OP_STORE, part->index, TH_STR_ABSENT, r->serial));
}

static void projection_taken(struct th_node *node, struct part *part, struct reader *r,
                             const struct th_error *error)
{
    if (error->code == TH_OK) {
        r->expected = r->projecting;
        begin_reading(node, part, r);
        return;
    }
    part->distrusted |= error->code == TH_CORRUPT;
    if (error->code == TH_CORRUPT || error->code == TH_FENCED) {
        begin(node, part, r);
        return;
    }
    r->state = READER_STATE; /* whether it was taken shows there */
    ask_again(node, part, r, error);
}

static void lose_truncated(struct th_node *node, struct part *part, const struct reader *r)
{
    struct th_error error;

    th_fail(&error, TH_TRUNCATED,
            "the log of partition %u lost its end: its projection reflects another record at %lld",
            part->index, (long long)r->expected.offset);
    part_lose(node, part, &error);
}

static void check_end(struct th_node *node, struct part *part, struct reader *r)
{
    const int64_t offset = r->expected.offset;

    if (offset >= part->epoch) {
        lose_truncated(node, part, r);
        return;
    }
    r->state = READER_CHECKS;
    node->provider->ops->read(node->provider, part->index, offset, offset + 1,
                              node_op(node, OP_READ, part->index, TH_STR_ABSENT, r->serial));
}

static void end_checked(struct th_node *node, struct part *part, struct reader *r,
                        const struct th_completion *c)
{
    if (c->record_count == 0 || c->records[0].offset != r->expected.offset)
        begin(node, part, r); /* cleaned meanwhile */
    else if (!th_partition_reflected(&c->records[0], &r->expected))
        lose_truncated(node, part, r);
    else
        take_projection(node, part, r);
}

/* ---- rows that are not ---- */

static void look_on(struct th_node *node, struct part *part, struct reader *r)
{
    r->again_at = TH_TIME_NONE;
    if (r->looked >= r->log_end) {
        begin_reading(node, part, r);
        return;
    }
    r->state = READER_LOOKS;
    node->provider->ops->read(node->provider, part->index, r->looked, r->log_end,
                              node_op(node, OP_READ, part->index, TH_STR_ABSENT, r->serial));
}

static void looked(struct th_node *node, struct part *part, struct reader *r,
                   const struct th_completion *c)
{
    struct th_error error;

    for (size_t n = 0; n < c->record_count; n++)
        if (th_partition_is_claim(&c->records[n])) {
            th_fail(&error, TH_FENCED, "partition %u was claimed by another owner at offset %lld",
                    part->index, (long long)c->records[n].offset);
            part_lose(node, part, &error);
            return;
        }
    r->looked = c->last ? r->log_end : c->offset;
    look_on(node, part, r);
}

void reader_state(struct th_node *node, struct part *part, struct reader *r,
                  struct th_completion *c)
{
    const struct th_watermark *w = &c->watermark;
    struct th_error error;

    if (c->error.code != TH_OK) {
        ask_again(node, part, r, &c->error);
        return;
    }
    if (lost_claim(part, c, &error) || is_of_another(node, part, w, &error)) {
        part_lose(node, part, &error);
        return;
    }
    r->rebuild = r->beside || !can_be_believed(node, part, c);
    r->expected = *w;
    r->at = c->log_start;
    if (!r->beside && part->promised < c->inbox_end)
        part->promised = c->inbox_end;
    r->looked = r->to > part->epoch ? r->to : part->epoch + 1;
    r->log_end = c->log_end;
    if (r->rebuild)
        look_on(node, part, r);
    else if (is_ours(node, part, r))
        begin_reading(node, part, r);
    else
        check_end(node, part, r);
}

/* ---- reading ---- */

static bool at_end(const struct reader *r)
{
    return r->at >= r->to;
}

/* Records follow each other without holes; what is missing was cleaned meanwhile. */
static bool lacks_records(const struct reader *r, const struct th_completion *c)
{
    if (c->record_count == 0)
        return c->last;
    return c->records[0].offset > r->at || (c->last && c->offset < r->to);
}

/* False: not as it should be, and dealt with. */
static bool feed(struct th_node *node, struct part *part, struct reader *r,
                 const struct th_log_record *record)
{
    struct th_error error = {.code = TH_OK};
    const bool first = !r->begun && record->offset > 0;

    r->begun = true;
    r->fed++;
    if (th_partition_feed(r->core, record->offset, record->bytes, first, &error))
        return true;
    part_lose(node, part, &error);
    return false;
}

static void ask_rows(struct th_node *node, struct part *part, struct reader *r);

void reader_read(struct th_node *node, struct part *part, struct reader *r, struct th_completion *c)
{
    if (c->error.code != TH_OK) {
        if (r->state == READER_CHECKS)
            r->state = READER_STATE;
        ask_again(node, part, r, &c->error);
        return;
    }
    if (r->state == READER_CHECKS) {
        end_checked(node, part, r, c);
        return;
    }
    if (r->state == READER_LOOKS) {
        looked(node, part, r, c);
        return;
    }
    if (lacks_records(r, c)) {
        begin_again(node, part, r);
        return;
    }
    for (size_t n = 0; n < c->record_count; n++)
        if (c->records[n].offset < r->to && !feed(node, part, r, &c->records[n]))
            return;
    r->at = c->last ? r->to : c->offset;
    if (at_end(r) || r->fed >= node->options.piece_records)
        ask_rows(node, part, r);
    else
        read_on(node, part, r);
}

/* ---- rows ---- */

/* Without a projection to believe, the log alone says what there is; what it says less than all of
 * is skipped until a full copy comes (I4). */
static bool base_of_nothing(struct part *part, struct reader *r)
{
    struct th_str id;

    for (size_t n = 0; th_str_present(id = th_partition_wanted(r->core, n)); n++)
        if (!th_partition_base(r->core, id, NULL, NULL))
            return false;
    return true;
}

static void ask_rows(struct th_node *node, struct part *part, struct reader *r)
{
    struct th_str id;

    r->state = READER_ROWS;
    if (r->rebuild && !r->stored) {
        base_of_nothing(part, r);
        fold(node, part, r);
        return;
    }
    for (size_t n = 0; th_str_present(id = th_partition_wanted(r->core, n)); n++) {
        r->rows_missing++;
        node->provider->ops->load(node->provider, part->index, id, false,
                                  node_op(node, OP_ROW, part->index, id, r->serial));
    }
    if (r->rows_missing == 0)
        fold(node, part, r);
}

/* All rows have to be those of the watermark that was read before them. A projection that can be
 * wiped comes back to the watermark "nothing" later, and would then take a batch that leaves out
 * what was believed to be stored. */
static bool is_another_projection(const struct th_node *node, const struct reader *r,
                                  const struct th_completion *c)
{
    return !node->traits.durable_projection && !th_watermark_equal(&c->watermark, &r->expected);
}

bool reader_row(struct th_node *node, struct part *part, struct reader *r, const struct op *op,
                struct th_completion *c)
{
    struct th_error error = {.code = TH_OK};

    if (c->error.code == TH_CORRUPT) {
        part_lose(node, part, &c->error);
        return true;
    }
    if (c->error.code != TH_OK && c->error.code != TH_NOT_FOUND)
        return false;
    if (is_another_projection(node, r, c)) {
        begin_again(node, part, r);
    } else if (!th_partition_base(r->core, th_str_of(op->id), c->row_count > 0 ? c->rows : NULL,
                                  &error)) {
        part_lose(node, part, &error);
    } else if (--r->rows_missing == 0) {
        fold(node, part, r);
    }
    return true;
}

/* ---- folding, and rows that go out in between ---- */

static void lose_corrupt(struct th_node *node, struct part *part, struct reader *r)
{
    struct th_effect effect;
    struct th_error error;

    th_fail(&error, TH_CORRUPT, "the log of partition %u is corrupt", part->index);
    while (th_partition_effect(r->core, &effect)) {
        if (effect.kind == TH_EFFECT_FENCED && effect.error)
            error = *effect.error;
        th_effect_deinit(&effect);
    }
    part_lose(node, part, &error);
}

/* For a living owner everything; for a lease only so much as memory needs, its own projection
 * brings the rest. */
static bool has_to_store(const struct th_node *node, const struct reader *r)
{
    if (node->traits.durable_projection)
        return false;
    if (r->beside)
        return true;
    return !at_end(r) && th_partition_loaded_instances(r->core) > node->options.max_instances;
}

static void rebuilt(struct th_node *node, struct part *part, struct reader *r)
{
    th_partition_projection_rebuilt(part->core, r->core);
    part->watermark = r->expected;
    part->trouble[0] = '\0';
    reader_stop(r);
    node_say(node, TH_LOG_INFO, "the projection of partition %u is whole again", part->index);
}

static void go_on(struct th_node *node, struct part *part, struct reader *r)
{
    if (!at_end(r)) {
        read_on(node, part, r);
    } else if (r->beside) {
        rebuilt(node, part, r);
    } else {
        part->watermark = r->expected;
        part_activate(node, part);
    }
}

static void store(struct th_node *node, struct part *part, struct reader *r)
{
    struct th_projection batch;

    r->state = READER_STORES;
    r->again_at = TH_TIME_NONE;
    if (!th_partition_project(r->core, false, INT64_MAX, &batch)) {
        go_on(node, part, r);
        return;
    }
    node->stats.projections++;
    r->projecting = batch.next;
    node->provider->ops->project(node->provider, &batch,
                                 node_op(node, OP_STORE, part->index, TH_STR_ABSENT, r->serial));
}

static void fold(struct th_node *node, struct part *part, struct reader *r)
{
    r->fed = 0;
    if (!th_partition_fold(r->core))
        lose_corrupt(node, part, r);
    else if (has_to_store(node, r))
        store(node, part, r);
    else
        go_on(node, part, r);
}

/* A batch whose fate is not known is not worth a second thought here. */
void reader_stored(struct th_node *node, struct part *part, struct reader *r,
                   struct th_completion *c)
{
    if (r->state == READER_TAKES) {
        projection_taken(node, part, r, &c->error);
        return;
    }
    if (c->error.code != TH_OK) {
        node_say(node, TH_LOG_WARN, "the rows of partition %u are made again from the start: %s",
                 part->index, c->error.message);
        th_partition_projected(r->core, &c->error);
        begin_again(node, part, r);
        return;
    }
    r->expected = r->projecting;
    r->stored = true;
    th_partition_projected(r->core, NULL);
    store(node, part, r);
}

/* ---- time ---- */

th_time reader_step(struct th_node *node, struct part *part, struct reader *r)
{
    if (!r->core || r->again_at == TH_TIME_NONE)
        return TH_TIME_NONE;
    if (r->again_at > node->now)
        return r->again_at;
    if (r->state == READER_STATE)
        ask_state(node, part, r);
    else if (r->state == READER_LOOKS)
        look_on(node, part, r);
    else if (r->state == READER_READS)
        read_on(node, part, r);
    return TH_TIME_NONE;
}

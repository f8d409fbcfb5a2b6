/*
 * clean: cleaning by copying forward (I4). Where the projection may vanish, the log must hold every
 * instance. When enough has been written since the last time, the owner takes the projection's
 * floor k, an acknowledged checkpoint, and walks through the rows of instances whose last full copy
 * stands below k. Each is appended as a snapshot. When no row is left whose copy stands below, the
 * snapshots are durable and in rows, and the log below k is dropped: it then begins with a
 * checkpoint, and holds all that is retained.
 *
 * Most of these instances are not in memory and need not come there for long: the rows are the
 * source, and a row newer than what memory knows of is combined with it. That the rows are all
 * there is checked by their number with every batch and every walk (th_watermark).
 */
#include "partition/internal.h"

/* After a walk that failed. */
#define CLEAN_AGAIN (5 * TH_SECOND)

/* ---- when ---- */

static bool is_worth_it(const struct th_partition *p)
{
    return p->bytes_since_clean >= p->options.clean_bytes &&
           p->bytes_since_clean >= p->last_clean_bytes;
}

static bool can_clean(const struct th_partition *p)
{
    return p->options.traits.shared && !p->options.traits.durable_projection && !p->rebuild &&
           !p->rebuilding && p->floor.stamp > 0 && p->floor.offset > p->log_start &&
           p->now >= p->cleaning.not_before;
}

void clean_stop(struct th_partition *p)
{
    p->cleaning = (struct cleaning){.not_before = p->now + CLEAN_AGAIN};
}

static void walk_on(struct th_partition *p)
{
    struct th_effect *e = effect_now(p, TH_EFFECT_WALK);

    p->cleaning.walking = true;
    e->tag = p->cleaning.below.stamp;
}

void clean_maybe(struct th_partition *p)
{
    struct cleaning *c = &p->cleaning;

    if (p->paused)
        return;
    if (!c->on && can_clean(p) && is_worth_it(p))
        *c = (struct cleaning){.on = true, .below = p->floor};
    /* What was copied has to be in rows before these are asked what is left to copy. */
    if (c->on && !c->walking && p->watermark.sequence >= c->last)
        walk_on(p);
}

/* ---- snapshots ---- */

/* The history in rows is another execution's, or what a rewind mended: memory holds all of it. */
static bool replaces_row(const struct th_instance *i)
{
    return i->replace_stored || (i->projecting && i->replacing);
}

/* The whole history: that of the row, and what memory has beyond it. */
static struct th_str whole_history(const struct th_instance *i, const struct th_row *row,
                                   struct th_buffer *out)
{
    for (size_t n = 0; n < row->history_count && !replaces_row(i); n++)
        th_buffer_str(out, th_blob_view(row->history[n]));
    for (size_t n = 0; n < i->chunk_count; n++)
        if (replaces_row(i) || i->chunks[n].stamp > row->last)
            th_buffer_str(out, i->chunks[n].bytes);
    return th_buffer_view(out);
}

/* An older answer than what memory goes on from leaves a hole; the next one is newer. */
static bool fits(const struct th_instance *i, const struct th_row *row)
{
    return !i->known || (i->full < i->partition->cleaning.below.stamp && !i->purged &&
                         (i->row <= row->last || replaces_row(i)));
}

static bool copy_forward(struct th_partition *p, const struct th_row *row)
{
    struct th_instance *i = instance_get(p, row->instance_id);
    struct th_error error = {.code = TH_OK};
    TH_BUFFER history = {0};

    if (!fits(i, row))
        return true;
    if (!i->known && !th_partition_base(p, row->instance_id, row, &error)) {
        fence(p, error.code, "the row of instance \"%.*s\": %s", TH_PRI(row->instance_id),
              error.message);
        return false;
    }
    p->cleaning.bytes += write_snapshot(p, i, whole_history(i, row, &history));
    p->cleaning.last = p->next_sequence;
    instance_ready(i); /* it may have been waiting for its row */
    instance_touch(i);
    return true;
}

/* ---- the end ---- */

static void drop_below(struct th_partition *p)
{
    struct cleaning *c = &p->cleaning;

    effect_now(p, TH_EFFECT_TRIM_LOG)->to = p->log_start = c->below.offset;
    p->last_clean_bytes = c->bytes;
    p->bytes_since_clean = 0;
    p->stats.cleanings++;
    *c = (struct cleaning){0};
}

/* Not older than what this owner knows to be stored, either: memory may have let go of an instance
 * because its row is newer than this answer. */
static bool is_trusted(const struct th_partition *p, const struct th_watermark *watermark,
                       uint64_t stored, const struct th_error *error)
{
    return error->code == TH_OK && stored == watermark->rows && !p->rebuild && !p->rebuilding &&
           !watermark->building && watermark->epoch == p->epoch &&
           watermark->sequence >= p->cleaning.below.stamp && watermark->batch >= p->watermark.batch;
}

void th_partition_walked(struct th_partition *p, const struct th_row *rows, size_t count,
                         const struct th_watermark *watermark, uint64_t stored,
                         const struct th_error *error, th_time now)
{
    p->now = now > p->now ? now : p->now;
    if (!p->cleaning.on || !p->active)
        return;
    p->cleaning.walking = false;
    if (error->code == TH_CORRUPT) {
        fence(p, TH_CORRUPT, "%s", error->message);
        return;
    }
    if (!is_trusted(p, watermark, stored, error)) {
        clean_stop(p);
        return;
    }
    for (size_t n = 0; n < count; n++)
        if (!(MUTANT(p, CLEAN_SKIPS) && n % 2 == 1) && !copy_forward(p, &rows[n]))
            return;
    if (count == 0 || MUTANT(p, CLEAN_EARLY) || MUTANT(p, CLEAN_SKIPS))
        drop_below(p);
}

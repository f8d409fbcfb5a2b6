/*
 * rebuild: a projection that lost its rows while its owner lives. Everything is in the log, so a
 * second object, made and fed by the caller, makes the rows again from there (recover.c), up to the
 * last record that was durable when the loss was noticed: the target. The owner goes on meanwhile.
 * Its rows wait, and so do instances that it would have to load. When the rows are there again, it
 * takes over the watermark, forgets what of its changes they hold, and goes on from the target.
 */
#include "partition/internal.h"

int64_t th_partition_projection_lost(struct th_partition *p)
{
    clean_stop(p);
    p->rebuilding = true;
    p->rebuild_until = p->acked;
    p->floor = (struct checkpoint){.offset = -1};
    return p->acked_offset + 1;
}

bool th_partition_rebuilding(const struct th_partition *p)
{
    return p->rebuilding;
}

bool th_partition_clears(const struct th_partition *p)
{
    return p->clear;
}

/* The last of its records up to the target: those that are not in a stored row are in memory. */
static uint64_t stored_stamp(const struct th_instance *i, uint64_t target)
{
    uint64_t stamp = i->row <= target ? i->row : target;

    for (size_t n = 0; n < i->chunk_count; n++)
        if (i->chunks[n].stamp <= target && i->chunks[n].stamp > stamp)
            stamp = i->chunks[n].stamp;
    return stamp;
}

static uint64_t first_after(const struct th_instance *i, uint64_t target)
{
    uint64_t stamp = i->last;

    for (size_t n = 0; n < i->chunk_count; n++)
        if (i->chunks[n].stamp > target && i->chunks[n].stamp < stamp)
            stamp = i->chunks[n].stamp;
    return stamp;
}

/* All that happened to it is in the rows. */
static void row_is_stored(struct th_instance *i)
{
    instance_undirty(i);
    i->row = i->purged ? 0 : i->last;
    i->replace_stored = i->hold = false;
}

static void correct_row(struct th_instance *i, uint64_t target)
{
    if (!i->known)
        return;
    if (i->last == 0 && !i->busy) {
        i->known = false; /* that there is no row of it was not to be believed */
        return;
    }
    if (i->last <= target) {
        row_is_stored(i);
        return;
    }
    i->row = stored_stamp(i, target);
    if (i->dirty && i->dirty_stamp <= target) {
        i->dirty_stamp = first_after(i, target);
        i->dirty_position = i->partition->acked_position < i->dirty_position
                                ? i->partition->acked_position
                                : i->dirty_position;
    }
}

/* What was asked for before, or meanwhile. */
static void load_again(struct th_instance *i)
{
    if (i->loading)
        instance_load(i);
    else
        instance_ready(i);
}

void th_partition_projection_rebuilt(struct th_partition *p, const struct th_partition *copy)
{
    const uint64_t target = MUTANT(p, REBUILD_SHORT) ? p->acked : p->rebuild_until;
    struct th_instance *i, *next;

    p->watermark = p->stored = copy->watermark;
    p->batch = copy->batch > p->batch ? copy->batch : p->batch;
    p->floor = copy->floor;
    p->rebuilding = p->clear = false;
    p->rebuild = true;
    HASH_ITER(hh, p->instances, i, next) {
        correct_row(i, target);
        load_again(i);
        instance_touch(i);
        instance_free_if_empty(i);
    }
    sort_dirty(p);
    watermark_moved(p);
}

/*
 * projection: after every record the core gives the rows that an owner would store; one that is
 * stored is compared when the log has come to the record that it reflects.
 */
#include "doctor/internal.h"

/* ---- what is stored ---- */

void th_doctor_watermark(struct th_doctor *d, uint32_t partition, const struct th_watermark *mark,
                         uint64_t stored_rows)
{
    struct part *part = &d->parts[partition];

    part->mark = *mark;
    part->stored_rows = stored_rows;
    part->looked_at = true;
    if (d->options.traits.durable_projection)
        return;
    if (mark->offset < 0 || mark->building)
        note_finding(d, TH_DOCTOR_PROJECTION_BUILDING, part, TH_STR_ABSENT,
                     "the projection of partition %u %s; queries wait for it", part->index,
                     mark->building ? "is being made again" : "holds nothing yet");
    else if (stored_rows == UINT64_MAX)
        note_finding(
            d, TH_DOCTOR_ROW_COUNT, part, TH_STR_ABSENT,
            "parts of the projection of partition %u are missing; its owner makes it again "
            "when it notices",
            part->index);
    else if (stored_rows != mark->rows)
        note_finding(d, TH_DOCTOR_ROW_COUNT, part, TH_STR_ABSENT,
                     "the projection of partition %u holds %lld rows, its watermark says %llu",
                     part->index, (long long)stored_rows, (unsigned long long)mark->rows);
}

void th_doctor_projection_away(struct th_doctor *d, const char *why)
{
    d->projection_away = true;
    note_finding(d, TH_DOCTOR_PROJECTION_AWAY, NULL, TH_STR_ABSENT,
                 "the projection was not looked at: %s", why);
}

static void add_history(struct image *image, const struct th_row *row)
{
    for (size_t n = 0; n < row->history_count; n++) {
        const struct th_blob *chunk = row->history[n];

        image->crc = th_crc32c(image->crc, chunk->data, chunk->len);
        image->len += chunk->len;
    }
}

static void image_set(struct image *image, const struct th_row *row)
{
    struct th_row lean = *row;

    lean.history = NULL;
    lean.history_count = 0;
    lean.news = NULL;
    th_row_deinit(&image->row);
    th_row_copy(&image->row, &lean);
    image->present = true;
}

void th_doctor_row(struct th_doctor *d, uint32_t partition, const struct th_row *row)
{
    struct seat *s = seat_get(&d->parts[partition], row->instance_id);

    s->stored.crc = 0;
    s->stored.len = 0;
    image_set(&s->stored, row);
    add_history(&s->stored, row);
    d->counts.rows++;
}

/* ---- what the log says ---- */

const struct th_row *base_row(const struct th_doctor *d, const struct part *part, struct th_str id)
{
    const struct seat *s = seat_find(part, id);
    const struct image *image = !s                                     ? NULL
                                : d->options.traits.durable_projection ? &s->stored
                                                                       : &s->folded;

    return image && image->present ? &image->row : NULL;
}

static const char *first_difference(const struct image *a, const struct image *b)
{
    const struct th_row *x = &a->row, *y = &b->row;

    if (x->status != y->status)
        return "status";
    if (!th_str_eq(x->name, y->name))
        return "name";
    if (x->created != y->created)
        return "time of creation";
    if (x->updated != y->updated)
        return "time of change";
    if (x->completed != y->completed)
        return "time of its end";
    if (!th_str_eq(th_blob_view(x->input), th_blob_view(y->input)))
        return "input";
    if (!th_str_eq(th_blob_view(x->output), th_blob_view(y->output)))
        return "output";
    if (a->len != b->len || a->crc != b->crc)
        return "history";
    if (!th_str_eq(th_blob_view(x->info), th_blob_view(y->info)))
        return "description";
    return x->full != y->full ? "last full copy" : NULL;
}

static void compare(struct th_doctor *d, const struct part *part, struct seat *s)
{
    const char *what = first_difference(&s->stored, &s->folded);

    s->compared = true;
    if (!what) {
        d->counts.equal++;
        return;
    }
    note_finding(
        d, TH_DOCTOR_ROW_DIFFERS, part, th_str_of(s->id),
        "the row of %s has another %s than the log at record number %llu of partition %u (the "
        "row is %s with %zu bytes of history, the log says %s with %zu)",
        s->id, what, (unsigned long long)(s->stored.row.last - 1), part->index,
        th_status_text(s->stored.row.status), s->stored.len, th_status_text(s->folded.row.status),
        s->folded.len);
}

static void take_row(struct th_doctor *d, struct part *part, const struct th_row *row)
{
    struct seat *s = seat_get(part, row->instance_id);

    if (row->deleted) {
        s->folded.present = false;
        s->folded.crc = 0;
        s->folded.len = 0;
        s->due = 0;
        s->deleted = row->last;
        return;
    }
    if (row->replace_history) {
        s->folded.crc = 0;
        s->folded.len = 0;
    }
    image_set(&s->folded, row);
    add_history(&s->folded, row);
    if (row->last <= part->mark.sequence)
        s->due = row->last;
    if (s->stored.present && s->stored.row.last == row->last)
        compare(d, part, s);
}

/* What an owner would do besides is not done. */
static void drop_effects(struct part *part)
{
    struct th_effect effect;

    while (th_partition_effect(part->core, &effect))
        th_effect_deinit(&effect);
}

void take_rows(struct th_doctor *d, struct part *part)
{
    struct th_projection batch;

    if (!d->options.traits.durable_projection &&
        th_partition_project(part->core, false, INT64_MAX, &batch)) {
        for (size_t n = 0; n < batch.count; n++)
            take_row(d, part, &batch.rows[n]);
        th_partition_projected(part->core, NULL);
    }
    drop_effects(part);
}

/* ---- what was not found ---- */

static void check_stored(struct th_doctor *d, const struct part *part, const struct seat *s)
{
    const uint64_t last = s->stored.row.last;

    if (s->compared) {
        if (last < s->due)
            note_finding(
                d, TH_DOCTOR_ROW_STALE, part, th_str_of(s->id),
                "the row of %s reflects record number %llu of partition %u, the watermark covers "
                "number %llu of it",
                s->id, (unsigned long long)(last - 1), part->index,
                (unsigned long long)(s->due - 1));
        return;
    }
    if (!s->folded.present && s->deleted > 0 && s->deleted <= part->mark.sequence)
        note_finding(d, TH_DOCTOR_ROW_STALE, part, th_str_of(s->id),
                     "there is a row of %s, which record number %llu of partition %u purged", s->id,
                     (unsigned long long)(s->deleted - 1), part->index);
    else if (last <= part->first_sequence || part->log_start > 0)
        d->counts.older++;
    else
        note_finding(
            d, TH_DOCTOR_ROW_UNFOUNDED, part, th_str_of(s->id),
            "the row of %s reflects record number %llu of partition %u, which is none of its "
            "records",
            s->id, (unsigned long long)(last - 1), part->index);
}

/* While rows are made again, those that are not there yet may exist. */
static bool may_lack_rows(const struct th_doctor *d, const struct part *part)
{
    return d->projection_away || !part->looked_at || part->mark.offset < 0 || part->mark.building;
}

void check_rows(struct th_doctor *d, struct part *part)
{
    struct seat *s, *next;

    if (d->options.traits.durable_projection)
        return;
    HASH_ITER(hh, part->seats, s, next) {
        if (s->stored.present)
            check_stored(d, part, s);
        else if (s->folded.present && s->due > 0 && !may_lack_rows(d, part))
            note_finding(d, TH_DOCTOR_ROW_MISSING, part, th_str_of(s->id),
                         "the projection of partition %u lacks %s (%s, record number %llu)",
                         part->index, s->id, th_status_text(s->folded.row.status),
                         (unsigned long long)(s->due - 1));
    }
}

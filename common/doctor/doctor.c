/* doctor: making and freeing, findings, and who works on the hub. */
#include "doctor/doctor.h"

#include <stdarg.h>

#include "doctor/internal.h"

/* ---- words ---- */

struct words {
    const char *text, *meaning;
    enum th_doctor_severity severity;
};

static const struct words kinds[] = {
#define X(name, severity, text, meaning) {text, meaning, TH_DOCTOR_##severity},
    TH_DOCTOR_KINDS(X)
#undef X
};

const char *th_doctor_kind_text(enum th_doctor_kind kind)
{
    return kinds[kind].text;
}

const char *th_doctor_kind_meaning(enum th_doctor_kind kind)
{
    return kinds[kind].meaning;
}

enum th_doctor_severity th_doctor_severity(enum th_doctor_kind kind)
{
    return kinds[kind].severity;
}

const char *th_doctor_severity_text(enum th_doctor_severity severity)
{
    static const char *const texts[] = {"note", "stuck", "damage"};

    return texts[severity];
}

const char *th_doctor_state_text(enum th_doctor_state state)
{
    static const char *const texts[] = {"ended", "resting", "waiting", "stuck"};

    return texts[state];
}

/* ---- life ---- */

static void make_part(struct th_doctor *d, struct part *part, uint32_t index)
{
    const struct th_doctor_options *o = &d->options;
    const struct th_partition_options options = {
        .index = index,
        .count = o->partitions,
        .incarnation = o->incarnation,
        .traits = o->traits,
        .worker = "doctor",
        .max_instances = SIZE_MAX,
        .checkpoint_records = SIZE_MAX,
        .clean_bytes = SIZE_MAX,
        .max_unacked = SIZE_MAX,
        .max_rows = SIZE_MAX,
        .max_crashes = UINT32_MAX,
    };

    part->index = index;
    part->core = th_partition_new(&options);
    part->mark = TH_WATERMARK_NONE;
    part->parts_next = UINT32_MAX;
    part->last_record = TH_TIME_NONE;
    part->highest = th_alloc(o->partitions * sizeof(*part->highest));
    part->accepted = th_alloc(o->partitions * sizeof(*part->accepted));
    part->lowest = th_alloc(o->partitions * sizeof(*part->lowest));
}

struct th_doctor *th_doctor_new(const struct th_doctor_options *options)
{
    struct th_doctor *d = TH_NEW(struct th_doctor);

    d->options = *options;
    d->hub = th_str_dup(th_str_of(options->hub));
    d->parts = th_alloc(options->partitions * sizeof(*d->parts));
    d->activities = th_alloc((options->activity_partitions + 1) * sizeof(*d->activities));
    for (uint32_t p = 0; p < options->partitions; p++)
        make_part(d, &d->parts[p], p);
    return d;
}

static void free_seats(struct part *part)
{
    struct seat *s, *next;

    HASH_ITER(hh, part->seats, s, next) {
        HASH_DEL(part->seats, s);
        th_row_deinit(&s->stored.row);
        th_row_deinit(&s->folded.row);
        free(s->text);
        free(s->name);
        free(s->id);
        free(s);
    }
}

static void free_part(struct part *part)
{
    free_seats(part);
    th_partition_free(part->core);
    th_buffer_deinit(&part->parts);
    free(part->highest);
    free(part->accepted);
    free(part->lowest);
    free(part->owner);
    free(part->trouble);
}

static void free_sent(struct th_doctor *d)
{
    struct sent *s, *next;

    HASH_ITER(hh, d->sent, s, next) {
        HASH_DEL(d->sent, s);
        free(s);
    }
}

static void free_address(struct address *a)
{
    while (a->first) {
        struct travelling *t = a->first;
        a->first = t->next;
        free(t->execution_id);
        free(t);
    }
    free(a->pending);
    free(a->name);
    free(a->id);
    free(a);
}

static void free_addresses(struct th_doctor *d)
{
    struct address *a, *next;

    HASH_ITER(hh, d->addresses, a, next) {
        HASH_DEL(d->addresses, a);
        free_address(a);
    }
}

void th_doctor_free(struct th_doctor *d)
{
    if (!d)
        return;
    for (uint32_t p = 0; p < d->options.partitions; p++)
        free_part(&d->parts[p]);
    free_sent(d);
    free_addresses(d);
    for (size_t n = 0; n < d->finding_count; n++) {
        free((void *)d->findings[n].instance_id);
        free((void *)d->findings[n].text);
    }
    for (size_t n = 0; n < d->function_count; n++)
        free(d->functions[n].name);
    th_arena_deinit(&d->arena);
    th_arena_deinit(&d->kept);
    free(d->functions);
    free(d->findings);
    free(d->activities);
    free(d->parts);
    free(d->hub);
    free(d);
}

/* ---- instances ---- */

struct seat *seat_find(const struct part *part, struct th_str id)
{
    struct seat *s;

    HASH_FIND(hh, part->seats, id.data, id.len, s);
    return s;
}

struct seat *seat_get(struct part *part, struct th_str id)
{
    struct seat *s = seat_find(part, id);

    if (s)
        return s;
    s = TH_NEW(struct seat);
    s->id = th_str_dup(id);
    HASH_ADD_KEYPTR(hh, part->seats, s->id, id.len, s);
    return s;
}

/* ---- findings ---- */

void note_finding(struct th_doctor *d, enum th_doctor_kind kind, const struct part *part,
                  struct th_str id, const char *format, ...)
{
    struct th_buffer text = {NULL, 0, 0};
    va_list arguments;

    va_start(arguments, format);
    th_buffer_vformat(&text, format, arguments);
    va_end(arguments);
    d->findings =
        th_grow(d->findings, &d->finding_capacity, d->finding_count + 1, sizeof(*d->findings));
    d->findings[d->finding_count++] =
        (struct th_doctor_finding){.kind = kind,
                                   .partition = part ? (int32_t)part->index : -1,
                                   .instance_id = th_str_dup(id),
                                   .text = th_buffer_take(&text)};
}

const struct th_doctor_finding *th_doctor_finding(const struct th_doctor *d, size_t index)
{
    return index < d->finding_count ? &d->findings[index] : NULL;
}

bool th_doctor_healthy(const struct th_doctor *d)
{
    for (size_t n = 0; n < d->finding_count; n++)
        if (th_doctor_severity(d->findings[n].kind) != TH_DOCTOR_NOTE)
            return false;
    return true;
}

void th_doctor_count(const struct th_doctor *d, struct th_doctor_counts *out)
{
    *out = d->counts;
}

/* ---- who works on it ---- */

void th_doctor_worker(struct th_doctor *d, const char *name)
{
    (void)name;
    d->counts.workers++;
}

void th_doctor_owner(struct th_doctor *d, uint32_t partition, const char *name)
{
    if (partition >= d->options.partitions)
        return;
    free(d->parts[partition].owner);
    d->parts[partition].owner = th_str_dup(th_str_of(name));
}

void th_doctor_trouble(struct th_doctor *d, uint32_t partition, const char *trouble)
{
    if (partition >= d->options.partitions)
        return;
    free(d->parts[partition].trouble);
    d->parts[partition].trouble = th_str_dup(th_str_of(trouble));
}

void th_doctor_unserved(struct th_doctor *d, enum th_function_kind kind, struct th_str name)
{
    d->functions =
        th_grow(d->functions, &d->function_capacity, d->function_count + 1, sizeof(*d->functions));
    d->functions[d->function_count++] = (struct function){.kind = kind, .name = th_str_dup(name)};
}

/* ---- all of it ---- */

static void judge_part(struct th_doctor *d, struct part *part)
{
    if (d->counts.workers > 0 && part->trouble && !part->owner)
        note_finding(d, TH_DOCTOR_TROUBLE, part, TH_STR_ABSENT, "partition %u is not worked on: %s",
                     part->index, part->trouble);
    else if (d->counts.workers > 0 && !part->owner)
        note_finding(d, TH_DOCTOR_NOT_OWNED, part, TH_STR_ABSENT,
                     "partition %u has no owner, though %llu workers are there", part->index,
                     (unsigned long long)d->counts.workers);
}

void th_doctor_judge(struct th_doctor *d)
{
    for (uint32_t p = 0; p < d->options.partitions; p++)
        judge_part(d, &d->parts[p]);
    check_traffic(d);
    judge_instances(d);
}

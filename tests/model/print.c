/*
 * print: a trace for people.
 */
#include "tests/model/model.h"

#include <stdio.h>

static const char *const words[ACT_COUNT] = {
    [ACT_CLAIM] = "claims, epoch",
    [ACT_DIE] = "dies or is fenced",
    [ACT_DROP] = "what it sent never arrives",
    [ACT_ADOPT] = "reads the watermark (1 believed, 0 not)",
    [ACT_LOAD] = "reads log and rows (1 all, 0 begins again, 2 the log lost its end)",
    [ACT_LOAD_REST] = "reads all of the log",
    [ACT_EPISODE] = "consumes message",
    [ACT_CHECKPOINT] = "writes a checkpoint",
    [ACT_SNAPSHOT] = "writes a snapshot of instance",
    [ACT_CLEAN] = "asks for DeleteRecords below",
    [ACT_LAND] = "its append arrives",
    [ACT_ACK] = "takes the acknowledgement of offset",
    [ACT_READ_BACK] = "reads back its last record",
    [ACT_SEND] = "its message arrives, number",
    [ACT_BATCH] = "sends rows, set",
    [ACT_BATCH_ALL] = "sends all rows it may, set",
    [ACT_BATCH_LANDS] = "its batch arrives (1 taken, 0 fenced, 2 corrupt)",
    [ACT_LATE_LANDS] = "its older batch arrives (1 taken, 0 fenced, 2 corrupt)",
    [ACT_TIMEOUT] = "gets no answer for its batch",
    [ACT_LOOK] = "sees that the projection is not as it left it",
    [ACT_WINDOW] = "makes the projection again: next window",
    [ACT_DELETE] = "DeleteRecords takes effect, the log begins at",
    [ACT_WIPE] = "THE PROJECTION IS WIPED",
    [ACT_SAVE] = "the projection is saved",
    [ACT_ROLLBACK] = "THE PROJECTION IS ROLLED BACK to what was saved",
    [ACT_LOSE_ROW] = "A ROW IS LOST, of instance",
    [ACT_CUT] = "THE LOG LOSES ITS END, from",
    [ACT_HOLE] = "ITS APPEND IS LOST, the one behind it not",
    [ACT_WORK] = "an activity completes, of stamp",
    [ACT_WORK_AGAIN] = "an activity runs again, of stamp",
    [ACT_STREAM] = "the source sends message",
    [ACT_STREAM_BACK] = "the source begins again at",
};

const char *step_words(u8 act)
{
    return words[act];
}

static bool by_owner(u8 act)
{
    return act < ACT_DELETE;
}

static void print_watermark(const struct watermark *w)
{
    if (w->offset == 0)
        printf("none");
    else
        printf("offset %d epoch %u seq<%u batch %u floor %u rows %u%s", w->offset - 1, w->epoch,
               w->seq, w->batch, w->floor, w->rows, w->building ? " building" : "");
}

void print_step(struct step step, const struct state *after)
{
    const struct part *p = &after->parts[step.part];

    if (by_owner(step.act))
        printf("  p%u owner %u: %s %u", step.part, step.owner + 1, words[step.act], step.arg);
    else
        printf("  p%u: %s %u", step.part, words[step.act], step.arg);
    if (step.act == ACT_BATCH || step.act == ACT_BATCH_ALL) {
        printf(" → ");
        print_watermark(&p->owners[step.owner].batch.next);
    }
    printf("\n");
}

static void print_record(u8 offset, const struct record *r)
{
    static const char *const kinds[] = {"claim", "episode",    "purge",   "marks",
                                        "park",  "checkpoint", "snapshot"};

    printf(" %u:%s", offset, kinds[r->kind]);
    if (r->kind == CLAIM) {
        printf("(owner %u)", r->owner);
        return;
    }
    printf("(owner %u epoch %u seq %u", r->owner, r->epoch, r->seq);
    if (r->instance != NONE)
        printf(" %c%s", 'a' + r->instance, r->flags & CREATES ? "+" : "");
    if (r->message != NONE)
        printf(" m%u", r->message);
    if (r->source == FROM_INBOX)
        printf(" inbox %u", r->from);
    if (r->source == FROM_LOCAL)
        printf(" local %u.%u", r->from / 2, r->from % 2);
    printf(" pos %u vec %u sent %u)", r->pos, r->vec, r->sent);
}

static void print_part(const struct part *p, u8 part)
{
    const u32 valid = valid_records(p);

    printf("  p%u log from %u:", part, p->start);
    for (u8 n = 0; n < p->count; n++) {
        print_record(n, &p->log[n]);
        if (p->log[n].kind != CLAIM && !(valid >> n & 1))
            printf("VOID");
    }
    printf("\n  p%u inbox from %u:", part, p->inbox_start);
    for (u8 n = 0; n < p->inbox_count; n++)
        printf(" %u:m%u%s", n, p->inbox[n].message,
               p->inbox[n].source == PARTITION  ? "(source)"
               : p->inbox[n].source == ACTIVITY ? "(completion)"
                                                : "");
    printf("\n");
    if (!config->project[part])
        return;
    printf("  p%u rows at ", part);
    print_watermark(&p->now.w);
    for (u8 n = 0; n < INSTANCES; n++)
        if (p->now.rows[n].last)
            printf("; %c last<%u full<%u history %x", 'a' + n, p->now.rows[n].last,
                   p->now.rows[n].full, p->now.rows[n].history);
    printf("\n");
}

void print_state(const struct state *s)
{
    for (u8 n = 0; n < config->parts; n++)
        print_part(&s->parts[n], n);
}

/*
 * world: disasters, activities, claims, and the collection of all steps.
 */
#include "tests/model/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void out_of_bounds(const char *what)
{
    fprintf(stderr, "model: configuration %s needs a larger %s\n", config->name, what);
    exit(2);
}

struct part *change(struct steps *steps, u8 part)
{
    memcpy(&steps->to, steps->from, state_size());
    return &steps->to.parts[part];
}

void emit(struct steps *steps, enum act act, u8 part, u8 owner, u8 arg)
{
    steps->take(steps, &steps->to, (struct step){(u8)act, part, owner, arg});
}

/* ---- who comes next ---- */

static u8 owner_slot(struct steps *steps, const struct part *p, u8 part)
{
    if (!steps->finishing)
        return p->claims < config->claims[part] ? p->claims : NONE;
    return p->claims < OWNERS ? p->claims : NONE;
}

static void claim(struct steps *steps, u8 part)
{
    const u8 index = owner_slot(steps, &steps->from->parts[part], part);
    struct part *p;
    struct owner *o;
    struct fold before;

    if (index == NONE || steps->from->parts[part].stopped)
        return;
    p = change(steps, part);
    if (p->count == LOG_MAX)
        out_of_bounds("LOG_MAX");
    o = &p->owners[index];
    fold_truth(p, part, p->count, NONE, &before);
    *o = (struct owner){
        .phase = CLAIMED, .epoch = p->count, .base = before.next, .expected = (u8)(p->count + 1)};
    p->claims++;
    p->log[p->count++] = (struct record){.kind = CLAIM,
                                         .owner = (u8)(index + 1),
                                         .epoch = o->epoch,
                                         .instance = NONE,
                                         .message = NONE};
    if (p->acked_end < p->count)
        p->acked_end = p->count;
    emit(steps, ACT_CLAIM, part, index, o->epoch);
}

/* ---- activities ---- */

static void work(struct steps *steps, u8 part, bool again)
{
    const struct part *p = &steps->from->parts[part];

    if (again && (steps->finishing || steps->from->again >= config->again))
        return;
    for (u8 n = 0; n < p->work_count; n++) {
        struct part *q;
        const u8 stamp = p->work[n], offset = offset_of_stamp(p, stamp);
        const struct message *m;

        if ((n > 0 && p->work[n - 1] == stamp) || offset == NONE)
            continue;
        q = change(steps, part);
        if (q->inbox_count == INBOX_MAX)
            out_of_bounds("INBOX_MAX");
        m = &workload->messages[p->log[offset].message];
        q->inbox[q->inbox_count++] = (struct entry){ACTIVITY, stamp, 0, (u8)(m->activity - 1)};
        if (again) {
            steps->to.again++;
        } else {
            q->work_count--;
            memmove(q->work + n, q->work + n + 1, (size_t)(q->work_count - n));
            q->work[q->work_count] = 0;
        }
        emit(steps, again ? ACT_WORK_AGAIN : ACT_WORK, part, 0, stamp);
    }
}

/* ---- a source that is not modelled: in order, and from anywhere again ---- */

static u8 stream_message(u8 position)
{
    for (u8 n = 0; n < workload->count; n++)
        if (workload->messages[n].arrival == BY_STREAM && position-- == 0)
            return n;
    return NONE;
}

static void stream(struct steps *steps)
{
    const struct part *from = &steps->from->parts[0];
    const u8 message = stream_message(from->env_next);
    struct part *p;

    if (message != NONE) {
        p = change(steps, 0);
        if (p->inbox_count == INBOX_MAX)
            out_of_bounds("INBOX_MAX");
        p->inbox[p->inbox_count++] = (struct entry){PARTITION, p->env_next, 0, message};
        p->env_next++;
        emit(steps, ACT_STREAM, 0, 0, message);
    }
    if (steps->finishing || from->env_back >= config->backs)
        return;
    for (u8 n = 0; n < from->env_next; n++) {
        p = change(steps, 0);
        p->env_next = n;
        p->env_back++;
        emit(steps, ACT_STREAM_BACK, 0, 0, n);
    }
}

/* ---- disasters ---- */

static void projection_disasters(struct steps *steps, u8 part)
{
    const struct state *s = steps->from;
    const struct projection *now = &s->parts[part].now, *saved = &s->parts[part].saved;

    if (s->wipes < config->wipes && now->w.offset > 0) {
        memset(&change(steps, part)->now, 0, sizeof(*now));
        steps->to.wipes++;
        emit(steps, ACT_WIPE, part, 0, 0);
    }
    if (s->saves < config->saves && now->w.offset > 0) {
        change(steps, part)->saved = *now;
        steps->to.saves++;
        emit(steps, ACT_SAVE, part, 0, 0);
    }
    if (saved->w.offset > 0 && memcmp(saved, now, sizeof(*now)) != 0) {
        struct part *p = change(steps, part);

        p->now = *saved;
        memset(&p->saved, 0, sizeof(p->saved));
        emit(steps, ACT_ROLLBACK, part, 0, 0);
    }
    for (u8 n = 0; n < INSTANCES && s->losses < config->losses; n++) {
        if (now->rows[n].last == 0)
            continue;
        memset(&change(steps, part)->now.rows[n], 0, sizeof(now->rows[n]));
        steps->to.losses++;
        emit(steps, ACT_LOSE_ROW, part, 0, n);
    }
}

static void cut_owner(struct part *p, u8 part, u8 index, const struct record *gone)
{
    struct owner *o = &p->owners[index];
    const bool own = gone->owner == index + 1;

    if (o->phase == UNUSED || o->phase == DEAD)
        return;
    o->doubt = o->phase == ACTIVE;
    if (o->phase != ACTIVE && o->epoch >= p->count) {
        owner_die(p, part, index); /* its claim is gone, and it looks before it works */
    } else if (o->expected > p->count) {
        o->lost = 1;
        o->released = o->sent = 0;
        memset(&o->batch, 0, sizeof(o->batch));
        memset(&o->window, 0, sizeof(o->window));
        memset(&o->late, 0, sizeof(o->late));
        o->unresolved = 0;
        if (own && gone->kind != CLAIM)
            o->acked--;
    } else if (own && o->flying < FLIGHT_MAX) { /* not acknowledged: it is sent again */
        memmove(o->flight + 1, o->flight, sizeof(o->flight) - sizeof(*o->flight));
        o->flight[0] = *gone;
        o->flying++;
    }
}

/* The log loses its last record; whoever is connected notices the break, if nothing else. */
static void cut(struct steps *steps, u8 part)
{
    const struct part *from = &steps->from->parts[part];
    struct state *to = &steps->to;
    struct record gone;
    struct part *p;

    if (steps->from->cuts >= config->cuts || from->count <= from->start + (from->start > 0))
        return;
    p = change(steps, part);
    to->cuts++;
    gone = p->log[p->count - 1];
    p->count--;
    memset(&p->log[p->count], 0, sizeof(gone));
    if (p->count < p->acked_end) {
        to->damaged = (u8)(to->damaged | (gone.kind != CLAIM));
        p->acked_end = p->count;
    }
    for (u8 n = 0; n < OWNERS; n++)
        cut_owner(p, part, n, &gone);
    emit(steps, ACT_CUT, part, 0, p->count);
}

/* ---- all of them ---- */

/* What the dead sent may never arrive. To reach that on purpose is only of use at the end. */
static void drop(struct steps *steps, u8 part, u8 index)
{
    const struct owner *o = &steps->from->parts[part].owners[index];
    const struct owner grave = {.phase = DEAD};

    if (!steps->finishing || o->phase != DEAD || memcmp(o, &grave, sizeof(grave)) == 0)
        return;
    change(steps, part)->owners[index] = grave;
    emit(steps, ACT_DROP, part, index, 0);
}

static void part_steps(struct steps *steps, u8 part)
{
    claim(steps, part);
    for (u8 n = 0; n < OWNERS && steps->from->parts[part].owners[n].phase != UNUSED; n++) {
        drop(steps, part, n);
        owner_steps(steps, part, n);
        if (steps->from->parts[part].owners[n].phase < ACTIVE)
            project_load_steps(steps, part, n);
        if (config->project[part])
            project_steps(steps, part, n);
    }
    work(steps, part, false);
    work(steps, part, true);
    if (steps->finishing)
        return;
    if (config->project[part])
        projection_disasters(steps, part);
    cut(steps, part);
}

void successors(struct steps *steps)
{
    for (u8 n = 0; n < config->parts; n++)
        part_steps(steps, n);
    stream(steps);
}

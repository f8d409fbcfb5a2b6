/* inspect: read-only views of the fold. */
#include "partition/inspect.h"

#include "partition/internal.h"

static struct th_inspect_pending pending_of(const struct pending *d)
{
    return (struct th_inspect_pending){
        .kind = d->kind,
        .instance_id = instance_id(d->instance),
        .execution_id = th_str_of(d->execution_id),
        .name = d->name,
        .child_id = d->child_id,
        .event_id = d->event_id,
        .fire_at = d->fire_at,
        .stamp = d->stamp,
        .shared = d->shared,
        .worker = th_str_of(d->worker),
        .crashes = d->crashes,
        .orphan = d->orphan,
        .answered = d->answered,
    };
}

void th_inspect_pending(const struct th_partition *p,
                        void (*visit)(void *argument, const struct th_inspect_pending *pending),
                        void *argument)
{
    const struct pending *d, *next;

    HASH_ITER(hh_token, p->tokens, d, next) {
        const struct th_inspect_pending view = pending_of(d);

        visit(argument, &view);
    }
}

bool th_inspect_is_pending(struct th_partition *p, struct th_str id, struct th_str execution_id,
                           int32_t event_id)
{
    struct th_instance *i = instance_find(p, id);

    return i && pending_find(i, execution_id, event_id);
}

void th_inspect_letters(const struct th_partition *p,
                        void (*visit)(void *argument, const struct th_inspect_letter *letter),
                        void *argument)
{
    const struct letter *l, *next;

    HASH_ITER(hh, p->locals, l, next) {
        const struct th_inspect_letter view = {.message = &l->message,
                                               .sequence = l->local.sequence,
                                               .index = l->local.index,
                                               .parked = l->parked,
                                               .not_before = l->not_before};

        visit(argument, &view);
    }
}

bool th_inspect_is_letter(struct th_partition *p, struct th_local_ref ref)
{
    const struct letter *l;

    HASH_FIND(hh, p->locals, &ref, sizeof(ref), l);
    return l != NULL;
}

void th_inspect_outbox(const struct th_partition *p,
                       void (*visit)(void *argument, const struct th_inspect_outgoing *outgoing),
                       void *argument)
{
    const struct outgoing *o;

    DL_FOREACH(p->outbox, o) {
        const struct th_inspect_outgoing view = {
            .sequence = o->sequence, .destination = o->destination, .bytes = th_blob_view(o->blob)};

        visit(argument, &view);
    }
}

struct th_inspect_marks th_inspect_marks(const struct th_partition *p)
{
    return (struct th_inspect_marks){.position = p->position,
                                     .sent = p->sent,
                                     .vector = p->vector_position,
                                     .early = p->early + p->early_first,
                                     .early_count = p->early_count - p->early_first};
}

const struct th_instance_info *th_inspect_instance(struct th_partition *p, struct th_str id,
                                                   uint64_t *last)
{
    const struct th_instance *i = instance_find(p, id);

    *last = i ? i->last : 0;
    return i && i->known && th_info_exists(&i->info) ? &i->info : NULL;
}

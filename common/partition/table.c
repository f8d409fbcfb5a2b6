/* table: instances, letters, pending answers and the timer heap. Bookkeeping without decisions. */
#include "partition/internal.h"

static void heap_remove(struct th_partition *p, size_t *at);

/* ---- instances ---- */

struct th_str instance_id(const struct th_instance *i)
{
    return th_str_n(i->id, i->id_len);
}

struct th_instance *instance_find(struct th_partition *p, struct th_str id)
{
    struct th_instance *i = NULL;

    if (id.len > 0)
        HASH_FIND(hh, p->instances, id.data, id.len, i);
    return i;
}

static struct th_instance_info info_none(struct th_str id)
{
    return (struct th_instance_info){.instance_id = id,
                                     .created = TH_TIME_NONE,
                                     .updated = TH_TIME_NONE,
                                     .completed = TH_TIME_NONE,
                                     .scheduled = TH_TIME_NONE};
}

struct th_instance *instance_get(struct th_partition *p, struct th_str id)
{
    struct th_instance *i = instance_find(p, id);

    if (i)
        return i;
    i = TH_NEW(struct th_instance);
    i->partition = p;
    i->id = th_str_dup(id);
    i->id_len = id.len;
    i->info = info_none(instance_id(i));
    HASH_ADD_KEYPTR(hh, p->instances, i->id, i->id_len, i);
    return i;
}

void instance_set_info(struct th_instance *i, const struct th_instance_info *info)
{
    struct th_arena old = i->memory;

    i->memory = (struct th_arena){0};
    i->info = th_info_copy(&i->memory, info);
    i->info.instance_id = instance_id(i);
    th_arena_deinit(&old);
}

void instance_keeps(struct th_instance *i, size_t bytes)
{
    i->partition->kept_bytes += bytes - i->kept;
    i->kept = bytes;
}

void instance_drop_chunks(struct th_instance *i)
{
    for (size_t n = 0; n < i->chunk_count; n++)
        th_blob_unref(i->chunks[n].blob);
    i->chunk_count = 0;
    instance_keeps(i, 0);
}

void instance_add_chunk(struct th_instance *i, struct th_blob *blob, struct th_str bytes,
                        uint64_t stamp)
{
    i->chunks = th_grow(i->chunks, &i->chunk_capacity, i->chunk_count + 1, sizeof(*i->chunks));
    i->chunks[i->chunk_count++] =
        (struct chunk){.blob = th_blob_ref(blob), .bytes = bytes, .stamp = stamp};
}

void instance_forget_info(struct th_instance *i)
{
    instance_drop_chunks(i);
    free(i->chunks);
    i->chunks = NULL;
    i->chunk_capacity = 0;
    i->whole = false;
    i->known = false;
    i->info = info_none(instance_id(i));
    th_arena_deinit(&i->memory);
}

void instance_not_idle(struct th_instance *i)
{
    if (!i->idle)
        return;
    DL_DELETE2(i->partition->idle, i, lru_prev, lru_next);
    i->partition->idle_count--;
    i->idle = false;
}

void instance_free(struct th_instance *i)
{
    struct th_partition *p = i->partition;
    struct letter *l, *next_letter;

    instance_not_idle(i);
    instance_undirty(i);
    if (i->turn)
        turn_free(p, i->turn);
    pending_close_all(i, false, 0);
    while (i->orphans)
        pending_close(i->orphans);
    DL_FOREACH_SAFE(i->mailbox, l, next_letter)
        letter_free(l);
    DL_FOREACH_SAFE(i->parked, l, next_letter)
        letter_free(l);
    HASH_DELETE(hh, p->instances, i);
    instance_forget_info(i);
    free(i->crash_reason);
    free(i->id);
    free(i);
}

void instance_free_if_empty(struct th_instance *i)
{
    /* A count of crashes outlives its instance's stay in memory: it must reach its limit. */
    if (!i->known && !i->loading && !i->queued && !i->busy && !i->dirty && !i->projecting &&
        !i->mailbox && !i->parked && !i->pending && !i->orphans && !i->turn && i->crashes == 0)
        instance_free(i);
}

void instance_touch(struct th_instance *i)
{
    const bool idle = i->known && !i->dirty && !i->projecting && !i->busy && !i->queued &&
                      !i->wants_code && !i->loading && !i->mailbox && !i->turn && !i->info.starting;

    instance_not_idle(i);
    if (!idle)
        return;
    DL_APPEND2(i->partition->idle, i, lru_prev, lru_next);
    i->partition->idle_count++;
    i->idle = true;
}

void instance_load(struct th_instance *i)
{
    struct th_partition *p = i->partition;

    i->loading = true;
    i->load_row = i->row;
    if (p->rebuilding)
        return; /* it is asked for when the rows are there again */
    p->stats.loads++;
    effect_now(p, TH_EFFECT_LOAD)->id = th_str_dup(instance_id(i));
}

/* A start with an id that was generated for it: nothing can be stored, unless it was parked, which
 * left a placeholder, or this is a second copy: only where everything takes effect in order does a
 * message come once. */
static bool is_fresh_start(const struct letter *l, bool ordered)
{
    return l->message.fresh && l->message.event.kind == TH_EVENT_EXECUTION_STARTED &&
           !l->was_parked && ordered;
}

void instance_ready(struct th_instance *i)
{
    struct th_partition *p = i->partition;

    if (i->mailbox)
        instance_not_idle(i);
    if (!i->known && !i->loading && i->mailbox && p->active) {
        if (is_fresh_start(i->mailbox, p->options.traits.ordered))
            i->known = true;
        else
            instance_load(i);
    }
    if (i->queued || !turn_can_run(i))
        return;
    i->queued = true;
    i->next_runnable = NULL;
    *p->runnable_last = i;
    p->runnable_last = &i->next_runnable;
}

/* A start waits for its time only as long as its placeholder stands. */
static bool stays_parked(const struct th_instance *i, const struct letter *l)
{
    const bool placed = !i->known || i->info.status == TH_STATUS_PENDING;

    return l->not_before != TH_TIME_NONE &&
           (placed || l->message.event.kind != TH_EVENT_EXECUTION_STARTED);
}

/* By the record that holds them: what one sender sent is in that order, parked or not. */
static bool is_before(const struct letter *a, const struct letter *b)
{
    return a->from == LETTER_LOCAL &&
           (a->local.sequence < b->local.sequence ||
            (a->local.sequence == b->local.sequence && a->local.index < b->local.index));
}

/* What was parked is older than what came since; but some of it may be in the mailbox already. */
static void put_in_front(struct th_instance *i, struct letter *back)
{
    struct letter *l, *next, *at = i->mailbox;

    DL_FOREACH_SAFE(back, l, next) {
        while (at && is_before(at, l))
            at = at->next;
        DL_DELETE(back, l);
        if (at)
            DL_PREPEND_ELEM(i->mailbox, at, l);
        else
            DL_APPEND(i->mailbox, l);
    }
}

/* A letter that is parked again goes back to its place. */
static void put_in_place(struct th_instance *i, struct letter *l)
{
    struct letter *at = i->parked ? i->parked->prev : NULL;

    while (at && l->from == LETTER_LOCAL && !is_before(at, l))
        at = at == i->parked ? NULL : at->prev;
    if (at)
        DL_APPEND_ELEM(i->parked, at, l);
    else
        DL_PREPEND(i->parked, l);
}

static void leave_parked(struct letter *l)
{
    struct th_instance *i = l->instance;

    heap_remove(i->partition, &l->heap_at);
    DL_DELETE(i->parked, l);
    i->parked_untimed -= l->not_before == TH_TIME_NONE;
}

static void take_back(struct letter *l, struct letter **back)
{
    leave_parked(l);
    DL_APPEND(*back, l);
    l->parked = false;
    l->not_before = TH_TIME_NONE;
}

void instance_unpark(struct th_instance *i)
{
    struct letter *l, *next, *back = NULL;

    DL_FOREACH_SAFE(i->parked, l, next)
        if (!stays_parked(i, l))
            take_back(l, &back);
    if (!back)
        return;
    put_in_front(i, back);
    instance_ready(i);
}

void instance_unpark_due(struct letter *l)
{
    struct th_instance *i = l->instance;
    struct letter *back = NULL;

    take_back(l, &back);
    put_in_front(i, back);
    instance_ready(i);
}

/* ---- letters ---- */

struct letter *letter_new(struct th_partition *p, enum letter_from from)
{
    struct letter *l = TH_NEW(struct letter);

    l->from = from;
    l->not_before = TH_TIME_NONE;
    l->arrived = p->now;
    p->letter_count++;
    return l;
}

struct th_reader partition_reader(const struct th_partition *p, struct th_str bytes,
                                  struct th_arena *arena, struct th_error *error)
{
    struct th_reader reader = th_reader_of(bytes, arena, error);

    reader.format = p->options.formats.reads;
    return reader;
}

bool letter_decode(struct th_partition *p, struct letter *l, struct th_blob *blob,
                   struct th_str bytes, struct th_error *error)
{
    struct th_reader reader = partition_reader(p, bytes, &l->nested, error);

    l->blob = th_blob_ref(blob);
    return th_decode_message(&reader, &l->message) && l->message.instance_id.len > 0 &&
           !memchr(l->message.instance_id.data, 0, l->message.instance_id.len);
}

void letter_deliver(struct letter *l, struct th_instance *i)
{
    l->instance = i;
    DL_APPEND(i->mailbox, l);
    if (i->busy && l->message.event.kind == TH_EVENT_EXECUTION_TERMINATED)
        turn_interrupt(i);
}

void letter_park(struct letter *l, th_time not_before)
{
    struct th_instance *i = l->instance;

    DL_DELETE(i->mailbox, l);
    put_in_place(i, l);
    l->parked = l->was_parked = true;
    l->offered = false;
    l->not_before = not_before;
    i->parked_untimed += not_before == TH_TIME_NONE;
    if (not_before != TH_TIME_NONE)
        heap_add_letter(l);
}

void letter_discard(struct th_partition *p, struct letter *l)
{
    th_blob_unref(l->blob);
    th_arena_deinit(&l->nested);
    p->letter_count--;
    free(l);
}

void letter_free(struct letter *l)
{
    struct th_instance *i = l->instance;
    struct th_partition *p = i->partition;

    if (l->parked)
        leave_parked(l);
    else
        DL_DELETE(i->mailbox, l);
    if (l->from == LETTER_LOCAL)
        HASH_DELETE(hh, p->locals, l);
    letter_discard(p, l);
}

struct letter *letter_answer(struct pending *d, enum th_event_kind kind, struct th_str data)
{
    struct letter *l = letter_new(d->instance->partition, LETTER_ANSWER);
    const struct th_str execution = th_str_of(d->execution_id);

    d->answered = true;
    l->blob = th_blob_alloc(execution.len + data.len);
    memcpy(l->blob->data, execution.data ? execution.data : "", execution.len);
    memcpy(l->blob->data + execution.len, data.data ? data.data : "", data.len);
    l->message.instance_id = instance_id(d->instance);
    l->message.execution_id = th_str_n(l->blob->data, execution.len);
    l->message.event = th_event_of(kind, d->instance->partition->now);
    l->message.event.related_id = d->event_id;
    l->message.scheduled = d->stamp; /* its number may be open again when this is taken */
    if (th_str_present(data))
        l->message.event.data = th_str_n(l->blob->data + execution.len, data.len);
    letter_deliver(l, d->instance);
    instance_ready(d->instance);
    return l;
}

/* ---- pending answers ---- */

struct pending *pending_open(struct th_instance *i, enum th_pending_kind kind,
                             const struct th_event *event, struct th_str execution_id,
                             struct th_blob *blob, uint64_t stamp)
{
    struct th_partition *p = i->partition;
    struct pending *d = TH_NEW(struct pending);
    const struct th_event copy = th_event_copy(&d->nested, &(struct th_event){.tags = event->tags});

    d->kind = kind;
    d->event_id = event->id;
    d->instance = i;
    d->execution_id = th_str_dup(execution_id);
    if (kind != TH_PENDING_TIMER) { /* a timer may wait for months: it holds on to no record */
        d->blob = th_blob_ref(blob);
        d->name = event->name;
        d->version = event->version;
        d->data = kind == TH_PENDING_TASK ? event->data : TH_STR_ABSENT;
        d->child_id = kind == TH_PENDING_TASK ? TH_STR_ABSENT : event->instance_id;
        d->tags = copy.tags;
        d->trace = kind == TH_PENDING_TASK ? event->trace : TH_STR_ABSENT;
    }
    d->fire_at = event->fire_at;
    d->stamp = stamp;
    d->token = ++p->next_token;
    HASH_ADD_INT(i->pending, event_id, d);
    HASH_ADD(hh_token, p->tokens, token, sizeof(d->token), d);
    i->open_tasks += kind == TH_PENDING_TASK;
    p->task_count += kind == TH_PENDING_TASK;
    p->timer_count += kind == TH_PENDING_TIMER;
    if (kind == TH_PENDING_TIMER)
        heap_add_timer(d);
    return d;
}

struct th_event pending_event(const struct pending *d)
{
    static const enum th_event_kind kinds[] = {[TH_PENDING_TASK] = TH_EVENT_TASK_SCHEDULED,
                                               [TH_PENDING_CHILD] = TH_EVENT_CHILD_CREATED,
                                               [TH_PENDING_TIMER] = TH_EVENT_TIMER_CREATED,
                                               [TH_PENDING_ENTITY] = TH_EVENT_ENTITY_CALLED};
    struct th_event event = th_event_of(kinds[d->kind], 0);

    event.id = d->event_id;
    event.name = d->name;
    event.version = d->version;
    event.data = d->data;
    event.instance_id = d->child_id;
    event.fire_at = d->fire_at;
    event.tags = d->tags;
    event.trace = d->trace;
    return event;
}

struct pending *pending_by_token(struct th_partition *p, uint64_t token)
{
    struct pending *d;

    HASH_FIND(hh_token, p->tokens, &token, sizeof(token), d);
    return d;
}

struct pending *pending_find(struct th_instance *i, struct th_str execution_id, int32_t event_id)
{
    struct pending *d;

    HASH_FIND_INT(i->pending, &event_id, d);
    if (d && th_str_eq(execution_id, th_str_of(d->execution_id)))
        return d;
    DL_FOREACH(i->orphans, d)
        if (d->event_id == event_id && th_str_eq(execution_id, th_str_of(d->execution_id)))
            return d;
    return NULL;
}

void pending_close(struct pending *d)
{
    struct th_instance *i = d->instance;
    struct th_partition *p = i->partition;

    if (d->orphan) {
        DL_DELETE(i->orphans, d);
    } else {
        HASH_DEL(i->pending, d);
        i->open_tasks -= d->kind == TH_PENDING_TASK;
    }
    p->task_count -= d->kind == TH_PENDING_TASK;
    p->timer_count -= d->kind == TH_PENDING_TIMER;
    heap_remove(p, &d->heap_at);
    HASH_DELETE(hh_token, p->tokens, d);
    th_blob_unref(d->blob);
    th_arena_deinit(&d->nested);
    free(d->execution_id);
    free(d->crash_reason);
    free(d->worker);
    free(d);
}

static void cancel(struct pending *d)
{
    struct th_partition *p = d->instance->partition;

    if (d->kind == TH_PENDING_TASK && d->dispatched && !d->answered)
        effect_hold(p, TH_EFFECT_CANCEL, p->next_sequence)->token = d->token;
    pending_close(d);
}

/* The execution is over. Tasks it scheduled run on unless they are cancelled; those opened by the
 * record with `keep_stamp` are its last wish and always run. */
void pending_close_all(struct th_instance *i, bool cancel_tasks, uint64_t keep_stamp)
{
    struct pending *d, *next;

    HASH_ITER(hh, i->pending, d, next) {
        if (d->kind != TH_PENDING_TASK) {
            pending_close(d);
        } else if (cancel_tasks && d->stamp != keep_stamp) {
            cancel(d);
        } else {
            HASH_DEL(i->pending, d);
            i->open_tasks--;
            d->orphan = true;
            DL_APPEND(i->orphans, d);
        }
    }
}

void pending_cancel_orphans(struct th_instance *i, uint64_t keep_stamp)
{
    struct pending *d, *next;

    DL_FOREACH_SAFE(i->orphans, d, next)
        if (d->stamp != keep_stamp)
            cancel(d);
}

/* ---- timers and parked letters: a binary heap by time; each item knows its place ---- */

static bool before(const struct due *a, const struct due *b)
{
    return a->when < b->when || (a->when == b->when && a->order < b->order);
}

static void heap_set(struct th_partition *p, size_t n, struct due due)
{
    p->heap[n] = due;
    *(due.timer ? &due.timer->heap_at : &due.letter->heap_at) = n + 1;
}

static void heap_swap(struct th_partition *p, size_t a, size_t b)
{
    const struct due swap = p->heap[a];

    heap_set(p, a, p->heap[b]);
    heap_set(p, b, swap);
}

static void sift_up(struct th_partition *p, size_t n)
{
    for (; n > 0 && before(&p->heap[n], &p->heap[(n - 1) / 2]); n = (n - 1) / 2)
        heap_swap(p, n, (n - 1) / 2);
}

static void sift_down(struct th_partition *p, size_t n)
{
    for (;;) {
        size_t least = n;

        for (size_t child = 2 * n + 1; child <= 2 * n + 2 && child < p->heap_count; child++)
            if (before(&p->heap[child], &p->heap[least]))
                least = child;
        if (least == n)
            return;
        heap_swap(p, n, least);
        n = least;
    }
}

static void heap_add(struct th_partition *p, struct due due)
{
    due.order = ++p->next_due;
    p->heap = th_grow(p->heap, &p->heap_capacity, p->heap_count + 1, sizeof(*p->heap));
    heap_set(p, p->heap_count, due);
    sift_up(p, p->heap_count++);
}

void heap_add_timer(struct pending *d)
{
    heap_add(d->instance->partition, (struct due){.when = d->fire_at, .timer = d});
}

void heap_add_letter(struct letter *l)
{
    heap_add(l->instance->partition, (struct due){.when = l->not_before, .letter = l});
}

/* `at`: the place an item knows, plus one; 0: it is not in the heap. */
static void heap_remove(struct th_partition *p, size_t *at)
{
    const size_t n = *at - 1;

    if (*at == 0)
        return;
    *at = 0;
    if (n == --p->heap_count)
        return;
    heap_set(p, n, p->heap[p->heap_count]);
    sift_up(p, n);
    sift_down(p, n);
}

bool heap_due(struct th_partition *p, th_time now, struct due *out)
{
    if (p->heap_count == 0 || p->heap[0].when > now)
        return false;
    *out = p->heap[0];
    heap_remove(p, out->timer ? &out->timer->heap_at : &out->letter->heap_at);
    return true;
}

th_time heap_next(const struct th_partition *p)
{
    return p->heap_count > 0 ? p->heap[0].when : TH_TIME_NONE;
}

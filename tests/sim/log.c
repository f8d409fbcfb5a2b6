/*
 * log: what the logs and inboxes really say, read by code of the judge's own: which records are
 * valid (I1), which messages an inbox's owner had to accept (I3), what was consumed and when, what
 * had been written before a message or an activity left (I2), and each instance as a fold of the
 * events. Nothing here knows how the partition core does it; only the codecs and th_info_apply are
 * shared.
 */
#include "tests/sim/sim.h"

#include "partition/record.h"

/* A message of a valid record: to another partition by its origin, to the own one by its place. */
struct outbound {
    UT_hash_handle hh;
    struct place {
        uint32_t partition, index;
        uint64_t sequence;
    } place;
    int64_t offset; /* of its record */
    uint32_t destination;
    bool arrived; /* accepted, or consumed when local */
};

/* A message in an inbox. */
struct arrival {
    bool readable, accepted, consumed;
    struct th_origin origin;
    char *instance;
};

/* How often an event was sent to an instance, by "instance data". */
struct copies {
    UT_hash_handle hh;
    char *key;
    unsigned sent, starts;
};

struct reading {
    struct run *run;
    struct facts *facts;
    uint32_t partition;
    struct arrival *inbox;
    int64_t inbox_end;
    struct outbound *locals;
    /* validity */
    bool claimed;
    uint64_t epoch, next;
    struct th_buffer parts;
    uint32_t parts_next;
    int64_t position;
};

/* ---- while it runs ---- */

void log_watch(struct run *run)
{
    for (uint32_t p = 0; p < run->plan.world.partitions; p++) {
        const size_t end = (size_t)th_sim_inbox(run->world, p).end;

        if (run->landing_count[p] > end) /* what was delivered early, and never written */
            run->landing_count[p] = end;
        run->landings[p] = th_grow(run->landings[p], &run->landing_capacity[p], end + 1,
                                   sizeof(*run->landings[p]));
        for (; run->landing_count[p] < end; run->landing_count[p]++)
            for (uint32_t q = 0; q < run->plan.world.partitions; q++)
                run->landings[p][run->landing_count[p]].log_end[q] = th_sim_log(run->world, q).end;
    }
}

/* Handles are numbered as they open, and so are lives. */
bool log_is_owner(struct run *run, uint64_t life, uint32_t partition)
{
    const struct th_sim_topic log = th_sim_log(run->world, partition);

    for (size_t n = log.count; n > 0; n--) {
        TH_ARENA arena = {0};
        struct th_reader in = sim_reader(th_blob_view(log.records[n - 1].bytes), &arena, NULL);
        struct th_record record;

        if (th_decode_record(&in, &record) && record.kind == TH_RECORD_CLAIM)
            return log.records[n - 1].handle == life;
    }
    return false;
}

/* ---- inboxes: what had to be accepted ---- */

static struct copies *copies_of(struct facts *facts, struct th_str instance, struct th_str data)
{
    const struct th_str key =
        th_arena_format(&facts->arena, "%.*s %.*s", TH_PRI(instance), TH_PRI(data));
    struct copies *c;

    HASH_FIND(hh, facts->copies, key.data, key.len, c);
    if (c)
        return c;
    c = TH_ARENA_NEW(&facts->arena, struct copies);
    c->key = th_arena_dup(&facts->arena, key.data, key.len);
    HASH_ADD_KEYPTR(hh, facts->copies, c->key, key.len, c);
    return c;
}

unsigned log_copies(struct facts *facts, struct th_str instance, struct th_str data)
{
    return copies_of(facts, instance, data)->sent;
}

static void count_copy(struct facts *facts, const struct th_message *m)
{
    if (m->event.kind == TH_EVENT_EVENT_RAISED)
        copies_of(facts, m->instance_id, m->event.data)->sent++;
    if (m->event.kind == TH_EVENT_EXECUTION_STARTED)
        copies_of(facts, m->instance_id, TH_STR("start"))->sent++;
}

static bool above(const struct th_origin *origin, const struct th_origin *last)
{
    return last->partition < 0 || origin->sequence > last->sequence ||
           (origin->sequence == last->sequence && origin->index > last->index);
}

static void read_inbox(struct reading *r)
{
    const struct th_sim_topic inbox = th_sim_inbox(r->run->world, r->partition);
    struct th_origin last[MAX_PARTITIONS];

    for (size_t n = 0; n < MAX_PARTITIONS; n++)
        last[n].partition = -1;
    r->inbox_end = inbox.end;
    r->inbox = TH_ARENA_ARRAY(&r->facts->arena, struct arrival, inbox.end + 1);
    for (size_t n = 0; n < inbox.count; n++) {
        struct arrival *a = &r->inbox[inbox.records[n].offset];
        struct th_reader in =
            sim_reader(th_blob_view(inbox.records[n].bytes), &r->facts->arena, NULL);
        struct th_message m;

        a->readable = th_decode_message(&in, &m);
        if (!a->readable)
            continue;
        a->origin = m.origin;
        a->instance = th_arena_dup(&r->facts->arena, m.instance_id.data, m.instance_id.len + 1);
        a->instance[m.instance_id.len] = '\0';
        a->accepted = m.origin.partition < 0 || above(&m.origin, &last[m.origin.partition]);
        if (a->accepted && m.origin.partition >= 0)
            last[m.origin.partition] = m.origin;
        if (a->accepted)
            count_copy(r->facts, &m);
    }
}

/* ---- the fold ---- */

struct fact *log_find(const struct facts *facts, const char *id)
{
    struct fact *f;

    HASH_FIND_STR(facts->instances, id, f);
    return f;
}

static struct fact *fact_of(struct reading *r, struct th_str id)
{
    struct fact *f;

    HASH_FIND(hh, r->facts->instances, id.data, id.len, f);
    if (f)
        return f;
    f = TH_ARENA_NEW(&r->facts->arena, struct fact);
    f->id = th_arena_alloc(&r->facts->arena, id.len + 1);
    memcpy(f->id, id.data, id.len);
    f->partition = r->partition;
    HASH_ADD_KEYPTR(hh, r->facts->instances, f->id, id.len, f);
    if (r->partition != run_partition(r->run, f->id))
        run_fail(r->run, "instance \"%s\" is in the log of partition %u", f->id, r->partition);
    return f;
}

static void note_task(struct reading *r, const struct th_record *record,
                      const struct th_event *event, int64_t offset)
{
    const struct th_str key =
        th_arena_format(&r->facts->arena, "%u/%.*s/%.*s/%d", r->partition,
                        TH_PRI(record->instance_id), TH_PRI(record->execution_id), event->id);
    struct told_task *t;

    HASH_FIND(hh, r->facts->tasks, key.data, key.len, t);
    if (t)
        return;
    t = TH_ARENA_NEW(&r->facts->arena, struct told_task);
    t->key = th_arena_dup(&r->facts->arena, key.data, key.len);
    t->offset = offset;
    HASH_ADD_KEYPTR(hh, r->facts->tasks, t->key, key.len, t);
}

/* A mended history: the instance was rewound, and keeps its age. */
static bool is_rewind(const struct th_record *record, const struct th_events *events)
{
    size_t episodes = 0;

    for (size_t n = 0; n < events->count; n++)
        episodes += events->items[n].kind == TH_EVENT_ORCHESTRATOR_STARTED;
    return record->replace_history && episodes > 1;
}

static void fold_events(struct reading *r, struct fact *f, const struct th_record *record,
                        const struct th_events *events)
{
    if (record->replace_history) {
        f->begun += !f->info.starting && !is_rewind(record, events);
        f->history.count = 0;
        f->info.event_count = 0;
        f->rewound = is_rewind(record, events);
        f->info.starting |= f->rewound;
    }
    for (size_t n = 0; n < events->count; n++) {
        th_info_apply(&f->info, &events->items[n]);
        th_events_add(&f->history, events->items[n]);
    }
    if (record->has_custom_status)
        f->info.custom_status = record->custom_status;
    if (th_str_present(record->turn_trace))
        f->info.turn_trace = record->turn_trace;
    r->facts->events += events->count;
}

static void fold_episode(struct reading *r, const struct th_record *record, int64_t offset)
{
    struct fact *f = fact_of(r, record->instance_id);
    struct th_events events = {0};
    struct th_reader in = sim_reader(record->events, &r->facts->arena, NULL);

    if (th_str_present(record->events) && !th_decode_events(&in, &events))
        run_fail(r->run, "record %lld of partition %u: its events cannot be read",
                 (long long)offset, r->partition);
    if (!f->exists && !record->replace_history && !th_str_present(record->next))
        run_fail(r->run, "record %lld of partition %u goes on with instance \"%s\", which is not",
                 (long long)offset, r->partition, f->id);
    for (size_t n = 0; n < events.count; n++)
        if (events.items[n].kind == TH_EVENT_TASK_SCHEDULED)
            note_task(r, record, &events.items[n], offset);
    if (th_str_present(record->next)) {
        in = sim_reader(record->next, &r->facts->arena, NULL);
        th_decode_info(&in, &f->info);
        f->history.count = 0;
    } else {
        fold_events(r, f, record, &events);
    }
    f->exists = true;
    f->last = record->sequence + 1;
    th_events_deinit(&events);
}

static void fold_placeholder(struct reading *r, const struct th_record *record,
                             const struct th_message *m)
{
    struct fact *f = fact_of(r, m->instance_id);

    f->info = th_info_pending(m);
    f->exists = true;
    f->history.count = 0;
    f->last = record->sequence + 1;
}

static void fold_purge(struct reading *r, const struct th_record *record)
{
    struct fact *f = fact_of(r, record->instance_id);

    f->exists = false;
    f->history.count = 0;
    memset(&f->info, 0, sizeof(f->info));
}

/* A copy changes nothing: it says what the records before it say. */
static void check_snapshot(struct reading *r, const struct th_record *record, int64_t offset)
{
    struct fact *f = fact_of(r, record->instance_id);
    struct th_events events = {0};
    struct th_reader in = sim_reader(record->events, &r->facts->arena, NULL);
    TH_BUFFER info = {0};
    size_t same = 0;

    th_encode_info(&info, &f->info, true);
    if (!f->exists || !th_str_eq(th_buffer_view(&info), record->next))
        run_fail(r->run, "record %lld of partition %u: the copy of instance \"%s\" is another one",
                 (long long)offset, r->partition, f->id);
    if (th_str_present(record->events))
        th_decode_events(&in, &events);
    while (same < events.count && same < f->history.count &&
           th_event_equal(&events.items[same], &f->history.items[same]))
        same++;
    if (same < events.count || same < f->history.count)
        run_fail(r->run,
                 "record %lld of partition %u: the copied history of instance \"%s\" differs "
                 "at event %zu (of %zu and %zu)",
                 (long long)offset, r->partition, f->id, same, events.count, f->history.count);
    f->last = record->sequence + 1;
    th_events_deinit(&events);
}

/* ---- for the reader of a trace ---- */

static void show_entity(struct th_buffer *line, const struct th_record *record)
{
    TH_ARENA arena = {0};
    struct th_reader in = sim_reader(record->next, &arena, NULL);
    struct th_instance_info info;

    if (!th_str_present(record->next) || !th_decode_info(&in, &info) ||
        info.status != TH_STATUS_ENTITY)
        return;
    th_buffer_format(line, ", locked by \"%.*s\" in %.*s, void %zu, %.*s", TH_PRI(info.locked_by),
                     TH_PRI(info.section), info.voided.count, TH_PRI(info.output));
}

static void show(const struct reading *r, const struct th_record *record, int64_t offset)
{
    static const char *const kinds[] = {"",      "claim",      "episode",  "marks", "purge",
                                        "crash", "checkpoint", "snapshot", "part"};
    TH_BUFFER line = {0};
    TH_ARENA arena = {0};
    struct th_events events = {0};
    struct th_reader in = sim_reader(record->events, &arena, NULL);

    th_buffer_format(&line, "record p%u @%lld s%llu %s \"%.*s\"%s position %lld, consumes",
                     r->partition, (long long)offset, (unsigned long long)record->sequence,
                     kinds[record->kind], TH_PRI(record->instance_id),
                     record->kind == TH_RECORD_SNAPSHOT ? ""
                     : th_str_present(record->next)     ? " is now"
                     : record->replace_history          ? " begins"
                                                        : "",
                     (long long)record->position);
    for (uint32_t n = 0; n < record->consumed_count; n++)
        th_buffer_format(&line, " %lld", (long long)record->consumed[n]);
    for (uint32_t n = 0; n < record->consumed_local_count; n++)
        th_buffer_format(&line, " %llu.%llu",
                         (unsigned long long)record->consumed_local[n].sequence,
                         (unsigned long long)record->consumed_local[n].index);
    if (th_str_present(record->events) && th_decode_events(&in, &events))
        for (size_t n = 0; n < events.count; n++)
            th_buffer_format(&line, ", %s", th_event_kind_text(events.items[n].kind));
    show_entity(&line, record);
    run_show(r->run, "%.*s", TH_PRI(th_buffer_view(&line)));
    th_events_deinit(&events);
}

static void show_message(const struct reading *r, const struct th_record_message *sent,
                         const struct th_message *m)
{
    run_show(r->run, "    %s p%u \"%.*s\" %s %llu.%u", sent->parked ? "parks" : "sends",
             sent->destination, TH_PRI(m->instance_id), th_event_kind_text(m->event.kind),
             (unsigned long long)m->origin.sequence, m->origin.index);
}

/* ---- messages ---- */

static void add_outbound(struct outbound **table, struct facts *facts, struct place place,
                         int64_t offset, uint32_t destination)
{
    struct outbound *o = TH_ARENA_NEW(&facts->arena, struct outbound);

    o->place = place;
    o->offset = offset;
    o->destination = destination;
    HASH_ADD(hh, *table, place, sizeof(o->place), o);
}

static void fold_message(struct reading *r, const struct th_record *record, uint32_t index,
                         int64_t offset)
{
    const struct th_record_message *sent = &record->messages[index];
    const struct place local = {
        .partition = r->partition, .sequence = record->sequence, .index = index};
    struct th_reader in = sim_reader(sent->bytes, &r->facts->arena, NULL);
    struct th_message m;

    if (!th_decode_message(&in, &m)) {
        run_fail(r->run, "record %lld of partition %u holds a message that cannot be read",
                 (long long)offset, r->partition);
        return;
    }
    if (r->run->options->trace)
        show_message(r, sent, &m);
    if (sent->destination == r->partition) {
        add_outbound(&r->locals, r->facts, local, offset, r->partition);
        if (sent->parked && m.event.kind == TH_EVENT_EXECUTION_STARTED)
            fold_placeholder(r, record, &m);
        if (!sent->parked)
            count_copy(r->facts, &m);
        return;
    }
    add_outbound(&r->facts->outbound, r->facts,
                 (struct place){.partition = (uint32_t)m.origin.partition,
                                .sequence = m.origin.sequence,
                                .index = m.origin.index},
                 offset, sent->destination);
}

/* ---- consumption ---- */

static void consume(struct reading *r, int64_t offset, int64_t at)
{
    struct arrival *a = offset >= r->position && offset < r->inbox_end ? &r->inbox[offset] : NULL;

    if (!a)
        run_fail(r->run, "record %lld of partition %u consumes message %lld, which is not",
                 (long long)at, r->partition, (long long)offset);
    else if (!a->readable || !a->accepted)
        run_fail(r->run, "record %lld of partition %u consumes message %lld, a duplicate",
                 (long long)at, r->partition, (long long)offset);
    else if (a->consumed)
        run_fail(r->run, "message %lld of partition %u is consumed a second time by record %lld",
                 (long long)offset, r->partition, (long long)at);
    if (a)
        a->consumed = true;
}

static void consume_local(struct reading *r, const struct th_local_ref *ref, int64_t at)
{
    const struct place place = {
        .partition = r->partition, .sequence = ref->sequence, .index = (uint32_t)ref->index};
    struct outbound *o;

    HASH_FIND(hh, r->locals, &place, sizeof(place), o);
    if (!o)
        run_fail(r->run, "record %lld of partition %u consumes local message %llu.%u, which is not",
                 (long long)at, r->partition, (unsigned long long)ref->sequence, place.index);
    else if (o->arrived)
        run_fail(r->run, "local message %llu.%u of partition %u is consumed twice",
                 (unsigned long long)ref->sequence, place.index, r->partition);
    if (o)
        o->arrived = true;
}

/* What the position passes is consumed by the record that moves it, if not before. */
static void move_position(struct reading *r, int64_t position, int64_t at)
{
    for (; r->position < position; r->position++) {
        struct arrival *a = r->position < r->inbox_end ? &r->inbox[r->position] : NULL;

        if (!a) {
            run_fail(r->run, "record %lld of partition %u: there is no message below position %lld",
                     (long long)at, r->partition, (long long)position);
            return;
        }
        if (a->accepted)
            a->consumed = true;
    }
}

/* ---- records ---- */

static void fold(struct reading *r, const struct th_record *record, int64_t offset)
{
    if (r->run->options->trace)
        show(r, record, offset);
    for (uint32_t n = 0; n < record->consumed_count; n++)
        consume(r, record->consumed[n], offset);
    for (uint32_t n = 0; n < record->consumed_local_count; n++)
        consume_local(r, &record->consumed_local[n], offset);
    if (record->kind == TH_RECORD_EPISODE)
        fold_episode(r, record, offset);
    if (record->kind == TH_RECORD_PURGE)
        fold_purge(r, record);
    if (record->kind == TH_RECORD_SNAPSHOT)
        check_snapshot(r, record, offset);
    for (uint32_t n = 0; n < record->message_count; n++)
        fold_message(r, record, n, offset);
    move_position(r, record->position, offset);
}

static bool decode(struct reading *r, struct th_str bytes, int64_t offset, struct th_record *out)
{
    struct th_error error = {.code = TH_OK};
    struct th_reader in = sim_reader(bytes, &r->facts->arena, &error);

    if (th_decode_record(&in, out))
        return true;
    run_fail(r->run, "record %lld of partition %u: %s", (long long)offset, r->partition,
             error.message);
    return false;
}

static void take_part(struct reading *r, const struct th_record *part, int64_t offset)
{
    struct th_record whole;
    struct th_str bytes;

    if (part->part == 0)
        r->parts.len = r->parts_next = 0;
    if (part->part != r->parts_next++)
        return;
    r->facts->parts++;
    th_buffer_str(&r->parts, part->body);
    if (part->part + 1 < part->parts)
        return;
    bytes = th_arena_str(&r->facts->arena, th_buffer_view(&r->parts));
    if (decode(r, bytes, offset, &whole))
        fold(r, &whole, offset);
}

static bool is_valid(struct reading *r, const struct th_record *record, int64_t offset)
{
    if (record->kind == TH_RECORD_CLAIM) {
        r->claimed = true;
        r->epoch = (uint64_t)offset;
        r->parts_next = UINT32_MAX;
        return false;
    }
    if (!r->claimed || record->epoch != r->epoch || record->sequence != r->next) {
        r->facts->invalid++;
        return false;
    }
    r->next++;
    r->facts->valid[r->partition]++;
    return true;
}

static void read_log(struct reading *r)
{
    const struct th_sim_topic log = th_sim_log(r->run->world, r->partition);

    for (size_t n = 0; n < log.count; n++) {
        struct th_record record;

        if (!decode(r, th_blob_view(log.records[n].bytes), log.records[n].offset, &record) ||
            !is_valid(r, &record, log.records[n].offset))
            continue;
        if (record.kind == TH_RECORD_PART)
            take_part(r, &record, log.records[n].offset);
        else
            fold(r, &record, log.records[n].offset);
    }
    r->facts->position[r->partition] = r->position;
}

/* ---- across partitions ---- */

static void check_arrival(struct reading *r, int64_t offset)
{
    const struct arrival *a = &r->inbox[offset];
    const struct place place = {.partition = (uint32_t)a->origin.partition,
                                .sequence = a->origin.sequence,
                                .index = a->origin.index};
    struct outbound *o;

    if (!a->consumed)
        run_fail(r->run, "message %lld of partition %u for \"%s\" was never consumed",
                 (long long)offset, r->partition, a->instance);
    if (a->origin.partition < 0)
        return;
    HASH_FIND(hh, r->facts->outbound, &place, sizeof(place), o);
    if (!o || o->destination != r->partition)
        run_fail(r->run, "message %lld of partition %u for \"%s\" follows from no valid record",
                 (long long)offset, r->partition, a->instance);
    else if (o->offset >= r->run->landings[r->partition][offset].log_end[o->place.partition])
        run_fail(r->run, "message %lld of partition %u left before its record was written",
                 (long long)offset, r->partition);
    if (o)
        o->arrived = true;
}

static void check_locals(struct reading *r)
{
    struct outbound *o, *next;

    HASH_ITER(hh, r->locals, o, next) {
        if (!o->arrived)
            run_fail(r->run, "local message %llu.%u of partition %u was never consumed",
                     (unsigned long long)o->place.sequence, o->place.index, r->partition);
    }
    HASH_CLEAR(hh, r->locals);
}

static void check_outbound(struct facts *facts)
{
    struct outbound *o, *next;

    HASH_ITER(hh, facts->outbound, o, next) {
        if (!o->arrived)
            run_fail(facts->run, "message %llu.%u of partition %u never came to partition %u",
                     (unsigned long long)o->place.sequence, o->place.index, o->place.partition,
                     o->destination);
    }
}

void log_read(struct run *run, struct facts *facts)
{
    struct reading readings[MAX_PARTITIONS];

    *facts = (struct facts){.run = run};
    for (uint32_t p = 0; p < run->plan.world.partitions; p++) {
        readings[p] = (struct reading){.run = run, .facts = facts, .partition = p};
        read_inbox(&readings[p]);
        read_log(&readings[p]);
        th_buffer_deinit(&readings[p].parts);
    }
    for (uint32_t p = 0; p < run->plan.world.partitions; p++) {
        for (int64_t n = 0; n < readings[p].inbox_end; n++)
            if (readings[p].inbox[n].accepted)
                check_arrival(&readings[p], n);
        check_locals(&readings[p]);
    }
    check_outbound(facts);
}

void log_free(struct facts *facts)
{
    struct fact *f, *next;

    HASH_ITER(hh, facts->instances, f, next)
        th_events_deinit(&f->history);
    HASH_CLEAR(hh, facts->instances);
    HASH_CLEAR(hh, facts->tasks);
    HASH_CLEAR(hh, facts->outbound);
    HASH_CLEAR(hh, facts->copies);
    th_arena_deinit(&facts->arena);
}

struct told_task *log_told(const struct facts *facts, const struct dispatched *d)
{
    TH_BUFFER key = {0};
    struct told_task *t;

    th_buffer_format(&key, "%u/%s/%s/%d", d->partition, d->instance_id, d->execution_id,
                     d->task_id);
    HASH_FIND(hh, facts->tasks, key.data, key.len, t);
    return t;
}

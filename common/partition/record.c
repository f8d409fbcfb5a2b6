#include "partition/record.h"

enum field {
    F_FORMAT = 1,
    F_KIND,
    F_INCARNATION,
    F_EPOCH,
    F_SEQUENCE,
    F_TIME,
    F_WORKER,
    F_NONCE,
    F_POSITION,
    F_SENT,
    F_VECTOR,
    F_CONSUMED,
    F_CONSUMED_LOCAL,
    F_CLOSED_TASKS,
    F_MESSAGES,
    F_INSTANCE,
    F_EXECUTION,
    F_REPLACE,
    F_EVENTS,
    F_CUSTOM_STATUS,
    F_NEXT,
    F_TASK,
    F_CRASHES,
    F_REASON,
    F_BODY,
    F_PART,
    F_PARTS,
    F_SHARED_TASKS,
    F_RUNNING_TASKS,
    F_TURN_TRACE,
};

/* ---- encoding: each field is a pair; the count is patched in at the end ---- */

struct pairs {
    struct th_buffer *out;
    size_t count_at; /* where the map's 16-bit count stands */
    uint32_t count;
};

static struct pairs pairs_begin(struct th_buffer *out)
{
    static const char map16[3] = {(char)0xde, 0, 0};
    struct pairs p = {.out = out, .count_at = out->len + 1};

    th_buffer_add(out, map16, sizeof(map16));
    return p;
}

static void pairs_end(struct pairs *p)
{
    p->out->data[p->count_at] = (char)(p->count >> 8);
    p->out->data[p->count_at + 1] = (char)p->count;
}

static void key(struct pairs *p, enum field field)
{
    th_write_u64(p->out, field);
    p->count++;
}

static void put_u64(struct pairs *p, enum field field, uint64_t value)
{
    if (value == 0)
        return;
    key(p, field);
    th_write_u64(p->out, value);
}

static void put_i64(struct pairs *p, enum field field, int64_t value, int64_t none)
{
    if (value == none)
        return;
    key(p, field);
    th_write_i64(p->out, value);
}

static void put_str(struct pairs *p, enum field field, struct th_str value)
{
    if (!th_str_present(value))
        return;
    key(p, field);
    th_write_str(p->out, value);
}

static void put_vector(struct pairs *p, const struct th_record *r)
{
    if (r->vector_count == 0)
        return;
    key(p, F_VECTOR);
    th_write_array(p->out, r->vector_count * 3);
    for (uint32_t i = 0; i < r->vector_count; i++) {
        th_write_u64(p->out, r->vector[i].partition);
        th_write_u64(p->out, r->vector[i].sequence);
        th_write_u64(p->out, r->vector[i].index);
    }
}

static void put_consumed(struct pairs *p, const struct th_record *r)
{
    if (r->consumed_count > 0) {
        key(p, F_CONSUMED);
        th_write_array(p->out, r->consumed_count);
        for (uint32_t i = 0; i < r->consumed_count; i++)
            th_write_i64(p->out, r->consumed[i]);
    }
    if (r->consumed_local_count > 0) {
        key(p, F_CONSUMED_LOCAL);
        th_write_array(p->out, r->consumed_local_count * 2);
        for (uint32_t i = 0; i < r->consumed_local_count; i++) {
            th_write_u64(p->out, r->consumed_local[i].sequence);
            th_write_u64(p->out, r->consumed_local[i].index);
        }
    }
}

static void put_tasks(struct pairs *p, enum field field, const struct th_task_ref *tasks,
                      uint32_t count)
{
    if (count == 0)
        return;
    key(p, field);
    th_write_array(p->out, count * 3);
    for (uint32_t i = 0; i < count; i++) {
        th_write_str(p->out, tasks[i].instance_id);
        th_write_str(p->out, tasks[i].execution_id);
        th_write_i64(p->out, tasks[i].event_id);
    }
}

static void put_messages(struct pairs *p, const struct th_record *r)
{
    if (r->message_count == 0)
        return;
    key(p, F_MESSAGES);
    th_write_array(p->out, r->message_count * 4);
    for (uint32_t i = 0; i < r->message_count; i++) {
        th_write_u64(p->out, r->messages[i].destination);
        th_write_bool(p->out, r->messages[i].parked);
        th_write_i64(p->out, r->messages[i].not_before);
        th_write_str(p->out, r->messages[i].bytes);
    }
}

static void put_shared(struct pairs *p, const struct th_record *r)
{
    if (r->shared_task_count == 0)
        return;
    key(p, F_SHARED_TASKS);
    th_write_array(p->out, r->shared_task_count);
    for (uint32_t i = 0; i < r->shared_task_count; i++)
        th_write_i64(p->out, r->shared_tasks[i]);
}

void th_encode_record(struct th_buffer *out, const struct th_record *r)
{
    struct pairs p = pairs_begin(out);

    put_u64(&p, F_FORMAT, r->kind == TH_RECORD_CLAIM ? 1 : r->format ? r->format : TH_FORMAT);
    put_u64(&p, F_KIND, r->kind);
    put_u64(&p, F_INCARNATION, r->incarnation);
    put_u64(&p, F_EPOCH, r->epoch);
    put_u64(&p, F_SEQUENCE, r->sequence);
    put_i64(&p, F_TIME, r->time, 0);
    put_str(&p, F_WORKER, r->worker);
    put_u64(&p, F_NONCE, r->nonce);
    put_i64(&p, F_POSITION, r->position, 0);
    put_u64(&p, F_SENT, r->sent);
    put_vector(&p, r);
    put_consumed(&p, r);
    put_tasks(&p, F_CLOSED_TASKS, r->closed_tasks, r->closed_task_count);
    put_tasks(&p, F_RUNNING_TASKS, r->running_tasks, r->running_task_count);
    put_messages(&p, r);
    put_str(&p, F_INSTANCE, r->instance_id);
    put_str(&p, F_EXECUTION, r->execution_id);
    put_u64(&p, F_REPLACE, r->replace_history);
    put_str(&p, F_EVENTS, r->events);
    if (r->has_custom_status) {
        key(&p, F_CUSTOM_STATUS);
        th_write_str(out, r->custom_status);
    }
    put_str(&p, F_TURN_TRACE, r->turn_trace);
    put_str(&p, F_NEXT, r->next);
    put_i64(&p, F_TASK, r->task_id, 0);
    put_u64(&p, F_CRASHES, r->crashes);
    put_str(&p, F_REASON, r->reason);
    put_str(&p, F_BODY, r->body);
    put_u64(&p, F_PART, r->part);
    put_u64(&p, F_PARTS, r->parts);
    put_shared(&p, r);
    pairs_end(&p);
}

/* ---- decoding ---- */

uint32_t th_read_groups(struct th_reader *in, uint32_t width)
{
    const uint32_t n = th_read_array(in);

    if (n % width != 0)
        th_read_fail(in, "an array of %u values where groups of %u are expected", n, width);
    return in->failed ? 0 : n / width;
}

uint32_t th_read_u32(struct th_reader *in)
{
    const uint64_t value = th_read_u64(in);

    if (value > UINT32_MAX)
        th_read_fail(in, "%llu does not fit 32 bits", (unsigned long long)value);
    return (uint32_t)value;
}

static int32_t read_i32(struct th_reader *in)
{
    const int64_t value = th_read_i64(in);

    if (value > INT32_MAX || value < INT32_MIN)
        th_read_fail(in, "%lld does not fit 32 bits", (long long)value);
    return (int32_t)value;
}

static void get_vector(struct th_reader *in, struct th_record *r)
{
    struct th_vector_entry *entries;

    r->vector_count = th_read_groups(in, 3);
    entries = TH_ARENA_ARRAY(in->arena, struct th_vector_entry, r->vector_count);
    for (uint32_t i = 0; i < r->vector_count; i++) {
        entries[i].partition = th_read_u32(in);
        entries[i].sequence = th_read_u64(in);
        entries[i].index = th_read_u32(in);
    }
    r->vector = entries;
}

static void get_consumed(struct th_reader *in, struct th_record *r)
{
    int64_t *offsets;

    r->consumed_count = th_read_groups(in, 1);
    offsets = TH_ARENA_ARRAY(in->arena, int64_t, r->consumed_count);
    for (uint32_t i = 0; i < r->consumed_count; i++)
        offsets[i] = th_read_i64(in);
    r->consumed = offsets;
}

static void get_consumed_local(struct th_reader *in, struct th_record *r)
{
    struct th_local_ref *refs;

    r->consumed_local_count = th_read_groups(in, 2);
    refs = TH_ARENA_ARRAY(in->arena, struct th_local_ref, r->consumed_local_count);
    for (uint32_t i = 0; i < r->consumed_local_count; i++) {
        refs[i].sequence = th_read_u64(in);
        refs[i].index = th_read_u64(in);
    }
    r->consumed_local = refs;
}

static const struct th_task_ref *get_tasks(struct th_reader *in, uint32_t *count)
{
    struct th_task_ref *tasks;

    *count = th_read_groups(in, 3);
    tasks = TH_ARENA_ARRAY(in->arena, struct th_task_ref, *count);
    for (uint32_t i = 0; i < *count; i++) {
        tasks[i].instance_id = th_read_str(in);
        tasks[i].execution_id = th_read_str(in);
        tasks[i].event_id = read_i32(in);
    }
    return tasks;
}

static void get_messages(struct th_reader *in, struct th_record *r)
{
    struct th_record_message *messages;

    r->message_count = th_read_groups(in, 4);
    messages = TH_ARENA_ARRAY(in->arena, struct th_record_message, r->message_count);
    for (uint32_t i = 0; i < r->message_count; i++) {
        messages[i].destination = th_read_u32(in);
        messages[i].parked = th_read_bool(in);
        messages[i].not_before = th_read_i64(in);
        messages[i].bytes = th_read_str(in);
    }
    r->messages = messages;
}

static void get_shared(struct th_reader *in, struct th_record *r)
{
    int32_t *tasks;

    r->shared_task_count = th_read_groups(in, 1);
    tasks = TH_ARENA_ARRAY(in->arena, int32_t, r->shared_task_count);
    for (uint32_t i = 0; i < r->shared_task_count; i++)
        tasks[i] = read_i32(in);
    r->shared_tasks = tasks;
}

static void get_kind(struct th_reader *in, struct th_record *r)
{
    const uint32_t kind = th_read_u32(in);

    r->kind = (enum th_record_kind)kind;
    if (!in->failed && (kind < TH_RECORD_CLAIM || kind > TH_RECORD_PART))
        th_read_fail(in, "unknown record kind %u", kind);
}

static void get_field(struct th_reader *in, uint64_t field, struct th_record *r)
{
    switch ((enum field)field) {
    case F_FORMAT:
        r->format = th_read_format(in, "a record");
        break;
    case F_KIND:
        get_kind(in, r);
        break;
    case F_INCARNATION:
        r->incarnation = th_read_u64(in);
        break;
    case F_EPOCH:
        r->epoch = th_read_u64(in);
        break;
    case F_SEQUENCE:
        r->sequence = th_read_u64(in);
        break;
    case F_TIME:
        r->time = th_read_i64(in);
        break;
    case F_WORKER:
        r->worker = th_read_str(in);
        break;
    case F_NONCE:
        r->nonce = th_read_u64(in);
        break;
    case F_POSITION:
        r->position = th_read_i64(in);
        if (r->position < 0 || r->position > TH_POSITION_MAX)
            th_read_fail(in, "%lld is no position", (long long)r->position);
        break;
    case F_SENT:
        r->sent = th_read_u64(in);
        break;
    case F_VECTOR:
        get_vector(in, r);
        break;
    case F_CONSUMED:
        get_consumed(in, r);
        break;
    case F_CONSUMED_LOCAL:
        get_consumed_local(in, r);
        break;
    case F_CLOSED_TASKS:
        r->closed_tasks = get_tasks(in, &r->closed_task_count);
        break;
    case F_RUNNING_TASKS:
        r->running_tasks = get_tasks(in, &r->running_task_count);
        break;
    case F_MESSAGES:
        get_messages(in, r);
        break;
    case F_INSTANCE:
        r->instance_id = th_read_str(in);
        break;
    case F_EXECUTION:
        r->execution_id = th_read_str(in);
        break;
    case F_REPLACE:
        r->replace_history = th_read_u64(in) != 0;
        break;
    case F_EVENTS:
        r->events = th_read_str(in);
        break;
    case F_CUSTOM_STATUS:
        r->has_custom_status = true;
        r->custom_status = th_read_str(in);
        break;
    case F_TURN_TRACE:
        r->turn_trace = th_read_str(in);
        break;
    case F_NEXT:
        r->next = th_read_str(in);
        break;
    case F_TASK:
        r->task_id = read_i32(in);
        break;
    case F_CRASHES:
        r->crashes = th_read_u32(in);
        break;
    case F_REASON:
        r->reason = th_read_str(in);
        break;
    case F_BODY:
        r->body = th_read_str(in);
        break;
    case F_PART:
        r->part = th_read_u32(in);
        break;
    case F_PARTS:
        r->parts = th_read_u32(in);
        break;
    case F_SHARED_TASKS:
        get_shared(in, r);
        break;
    default:
        th_read_skip(in);
        break;
    }
}

static bool of_an_instance(enum th_record_kind kind)
{
    return kind == TH_RECORD_EPISODE || kind == TH_RECORD_PURGE || kind == TH_RECORD_CRASH ||
           kind == TH_RECORD_SNAPSHOT;
}

bool th_decode_record(struct th_reader *in, struct th_record *out)
{
    uint32_t pairs = th_read_map(in);

    memset(out, 0, sizeof(*out));
    for (; pairs > 0 && !in->failed; pairs--)
        get_field(in, th_read_u64(in), out);
    if (!in->failed && out->kind == 0)
        th_read_fail(in, "a record without a kind");
    if (!in->failed && of_an_instance(out->kind) && out->instance_id.len == 0)
        th_read_fail(in, "a record of kind %d names no instance", (int)out->kind);
    return !in->failed;
}

bool th_validity_feed(struct th_validity *v, int64_t offset, const struct th_record *record,
                      bool trusted)
{
    if (record->kind == TH_RECORD_CLAIM) {
        v->started = true;
        v->epoch = (uint64_t)offset;
        v->nonce = record->nonce;
        return false;
    }
    if (trusted) {
        *v = (struct th_validity){.started = true,
                                  .epoch = record->epoch,
                                  .nonce = record->nonce,
                                  .next = record->sequence};
    }
    if (!v->started || record->epoch != v->epoch || record->nonce != v->nonce ||
        record->sequence != v->next)
        return false;
    v->next++;
    return true;
}

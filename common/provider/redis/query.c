/*
 * query: one page of all partitions' rows in the order of (created, id).
 *
 * Each partition is a stream in that order, read in steps: a step asks for the next few rows that
 * meet the conditions, and looks at a bounded number of rows for them. So a stream has rows that
 * wait, or a place up to which it has none, or has ended. The page takes whichever comes first;
 * when that is a mere place, its stream is asked on. So a page costs about its own size, and
 * streams that have nothing are read not much further than the others have come.
 *
 * The watermark of a partition is that of its first step, unless a later one found the projection
 * put back or being made again: then rows may be missing, and that is what is told.
 */
#include <stdlib.h>

#include "base/memory.h"
#include "provider/redis/internal.h"

/* Limits of a step: rows wanted; rows looked at, where their columns decide and where the index
 * does (a thousand take Redis 2 ms and 0.7 ms); bytes answered. */
enum {
    WANTED = 250,
    DOUBLINGS = 8,
    LOOKS_AT_ROWS = 500,
    LOOKS_AT_INDEX = 1000,
    STEP_BYTES = 4 << 20
};
/* Steps under way at once: Redis works off what one client has sent before it turns to others. */
enum { AT_ONCE = 4 };

/* In the order of rows. */
struct place {
    th_time created;
    struct th_str id;
};

struct search;

struct stream {
    struct th_redis_request request; /* the step under way */
    struct search *search;
    uint32_t partition;
    bool asked, answered, ended;
    unsigned steps;
    struct th_row *rows; /* rows[first..count) wait */
    size_t first, count;
    struct th_str member; /* the last one looked at, heap; absent: none yet */
    struct th_watermark mark;
};

struct search {
    struct th_redis_task task;
    struct th_redis_loop *loop;
    struct th_query query;            /* of its strings only id_prefix, a heap copy */
    struct th_buffer from, to, named; /* as projection.lua wants them */
    struct stream *streams;
    uint32_t stream_count;
    unsigned asked;
    struct th_completion done;
    size_t capacity, bytes; /* of its rows */
};

/* ---- the end ---- */

static void stream_deinit(struct stream *s)
{
    for (size_t i = s->first; i < s->count; i++) {
        th_row_deinit(&s->rows[i]);
    }
    free(s->rows);
    free((void *)s->member.data);
}

static void search_free(struct search *q)
{
    for (uint32_t i = 0; i < q->stream_count; i++) {
        stream_deinit(&q->streams[i]);
    }
    free(q->streams);
    free((void *)q->query.id_prefix.data);
    th_buffer_deinit(&q->from);
    th_buffer_deinit(&q->to);
    th_buffer_deinit(&q->named);
    free(q);
}

static bool more_may_follow(const struct search *q)
{
    for (uint32_t i = 0; i < q->stream_count; i++) {
        if (q->streams[i].first < q->streams[i].count || !q->streams[i].ended) {
            return true;
        }
    }
    return false;
}

static void complete(struct search *q)
{
    struct th_completion *done = &q->done;
    done->watermarks = th_alloc(q->stream_count * sizeof(*done->watermarks));
    for (uint32_t i = 0; i < q->stream_count; i++) {
        done->watermarks[i] = q->streams[i].mark;
    }
    if (done->row_count > 0 && more_may_follow(q)) {
        done->continuation = th_cursor_encode(&done->rows[done->row_count - 1]);
    }
}

/* A failed query says nothing but the failure. */
static void fail(struct search *q)
{
    struct th_completion failed = {
        .kind = TH_DONE_QUERY, .tag = q->done.tag, .offset = -1, .error = q->done.error};
    th_completion_deinit(&q->done);
    q->done = failed;
}

static void finish(struct search *q)
{
    if (q->done.error.code == TH_OK) {
        complete(q);
    } else {
        fail(q);
    }
    th_redis_complete(q->loop, &q->done);
    search_free(q);
}

/* ---- steps ---- */

/* Its share of what the page lacks and a little more, because partitions are not even; and twice as
 * much each time it is asked again. */
static unsigned wanted(const struct stream *s)
{
    const struct search *q = s->search;
    size_t lacking = q->query.limit - q->done.row_count + 1;
    size_t share = (lacking * 5 / 4 / q->stream_count + 2)
                   << (s->steps < DOUBLINGS ? s->steps : DOUBLINGS);
    size_t most = lacking < WANTED ? lacking : WANTED;
    return (unsigned)(share < most ? share : most);
}

static void add_statuses(struct th_redis_command *c, uint32_t statuses)
{
    char bytes[TH_REDIS_STATUSES];
    size_t count = 0;
    for (unsigned status = 0; status < TH_REDIS_STATUSES; status++) {
        if (!statuses || (statuses & TH_STATUS_BIT(status))) {
            bytes[count++] = (char)status;
        }
    }
    th_redis_command_add(c, th_str_n(bytes, count));
}

static void add_from(struct th_redis_command *c, const struct stream *s)
{
    if (!th_str_present(s->member)) {
        th_redis_command_add(c, th_buffer_view(&s->search->from));
        return;
    }
    th_redis_command_open(c, s->member.len + 1);
    th_redis_command_part(c, TH_STR("("));
    th_redis_command_part(c, s->member);
    th_redis_command_close(c);
}

static void add_bound(struct th_redis_command *c, th_time t)
{
    char bytes[8];
    th_redis_time_write(t, bytes);
    th_redis_command_add(c, th_str_n(bytes, t == TH_TIME_NONE ? 0 : sizeof(bytes)));
}

static bool decided_by_index(const struct search *q)
{
    return q->named.len == 0 && q->query.completed_from == TH_TIME_NONE &&
           q->query.completed_to == TH_TIME_NONE;
}

static void step(struct stream *s)
{
    struct search *q = s->search;
    struct th_redis_command *c = &s->request.command;
    th_redis_command_function(c, TH_REDIS_FUNCTION("query"), &q->loop->provider.hub, s->partition);
    add_statuses(c, q->query.statuses);
    add_from(c, s);
    th_redis_command_add(c, th_buffer_view(&q->to));
    th_redis_command_number(c, wanted(s));
    th_redis_command_number(c, decided_by_index(q) ? LOOKS_AT_INDEX : LOOKS_AT_ROWS);
    th_redis_command_number(c, STEP_BYTES);
    th_redis_command_text(c, q->query.payloads ? "1" : "0");
    th_redis_command_add(c, q->query.id_prefix);
    th_redis_command_add(c, th_buffer_view(&q->named));
    add_bound(c, q->query.completed_from);
    add_bound(c, q->query.completed_to);
    s->asked = true;
    s->steps++;
    q->asked++;
    th_redis_session_send(&q->loop->commands, &s->request);
}

/* ---- answers ---- */

static bool keep_mark(struct stream *s, const redisReply *reply)
{
    struct th_watermark mark;
    if (!th_redis_mark_read(th_redis_string(reply, 1), &mark)) {
        return false;
    }
    if (!s->answered || mark.offset < s->mark.offset || (mark.building && !s->mark.building)) {
        s->mark = mark;
    }
    s->answered = true;
    return true;
}

static bool keep_member(struct stream *s, struct th_str member)
{
    struct place place;
    s->ended = th_str_present(member) && member.len == 0;
    if (!s->ended && !th_redis_member_read(member, &place.created, &place.id)) {
        return false;
    }
    free((void *)s->member.data);
    s->member = th_str_n(th_str_dup(member), member.len);
    return true;
}

static void keep_rows(struct stream *s, const redisReply *reply, struct th_error *error)
{
    size_t count = reply->elements - 3;
    enum th_redis_values values = s->search->query.payloads ? TH_REDIS_PAYLOADS : TH_REDIS_LEAN;
    free(s->rows);
    s->rows = th_alloc(count * sizeof(*s->rows));
    s->first = s->count = 0;
    while (s->count < count && th_redis_row_read(th_redis_array(reply, 3 + s->count), values,
                                                 &s->rows[s->count], error)) {
        s->count++;
    }
}

static void read_step(struct stream *s, const redisReply *reply, struct th_error *error)
{
    if (!th_redis_function_ok(reply, s->partition, error)) {
        return;
    }
    if (!keep_mark(s, reply) || !keep_member(s, th_redis_string(reply, 2))) {
        th_fail(error, TH_IO, "the projection of partition %u answered nothing known",
                s->partition);
        return;
    }
    keep_rows(s, reply, error);
}

static void advance(struct search *q);

static void answered(struct th_redis_request *request, const redisReply *reply,
                     const struct th_error *error)
{
    struct stream *s = (struct stream *)request;
    struct search *q = s->search;
    th_redis_command_deinit(&request->command);
    s->asked = false;
    q->asked--;
    if (q->done.error.code == TH_OK) {
        if (error) {
            q->done.error = *error;
        } else {
            read_step(s, reply, &q->done.error);
        }
    }
    advance(q);
}

/* ---- the page ---- */

static bool has_rows(const struct stream *s)
{
    return s->first < s->count;
}

/* Where a stream goes on: its next row, or the place up to which it has none. */
static struct place head_of(const struct stream *s)
{
    struct place head = {.created = INT64_MIN, .id = TH_STR("")};
    if (has_rows(s)) {
        return (struct place){s->rows[s->first].created, s->rows[s->first].instance_id};
    }
    th_redis_member_read(s->member, &head.created, &head.id);
    return head;
}

static bool is_before(const struct place *a, const struct place *b)
{
    return a->created != b->created ? a->created < b->created : th_str_cmp(a->id, b->id) < 0;
}

/* The stream that goes on first, among all or among those that can be asked; NULL: none does. */
static struct stream *first_stream(const struct search *q, bool askable)
{
    struct stream *first = NULL;
    struct place first_head = {0};
    for (uint32_t i = 0; i < q->stream_count; i++) {
        struct stream *s = &q->streams[i];
        if (!has_rows(s) && s->ended) {
            continue;
        }
        struct place head = head_of(s);
        bool counts = !askable || (!has_rows(s) && !s->asked);
        if (counts && (!first || is_before(&head, &first_head))) {
            first = s;
            first_head = head;
        }
    }
    return first;
}

static void take_row(struct search *q, struct stream *s)
{
    struct th_completion *done = &q->done;
    done->rows = th_grow(done->rows, &q->capacity, done->row_count + 1, sizeof(*done->rows));
    struct th_row *row = &done->rows[done->row_count++];
    *row = s->rows[s->first++];
    q->bytes += th_query_row_bytes(row);
}

/* Takes rows as long as it is known which comes next; true when the page is complete. */
static bool take_rows(struct search *q)
{
    while (q->done.row_count < q->query.limit) {
        struct stream *first = first_stream(q, false);
        if (!first) {
            return true;
        }
        if (!has_rows(first)) {
            return false;
        }
        if (th_query_page_ends(&q->query, q->done.row_count, q->bytes,
                               th_query_row_bytes(&first->rows[first->first]))) {
            return true;
        }
        take_row(q, first);
    }
    return true;
}

/* After it the search asks for more, waits for what it asked, or is finished and gone. */
static void advance(struct search *q)
{
    bool complete = q->done.error.code != TH_OK || take_rows(q);
    struct stream *next;
    while (!complete && q->asked < AT_ONCE && (next = first_stream(q, true))) {
        step(next);
    }
    if (complete && q->asked == 0) {
        finish(q);
    }
}

/* ---- submission: on the node's thread ---- */

static void add_time(struct th_buffer *out, const char *kind, th_time t)
{
    char bytes[8];
    th_redis_time_write(t, bytes);
    th_buffer_text(out, kind);
    th_buffer_add(out, bytes, sizeof(bytes));
}

/* Behind the last page or at `from`, whichever is later; up to `to`. */
static void set_bounds(struct search *q, const struct th_cursor *cursor)
{
    if (cursor->instance_id && cursor->created >= q->query.from) {
        add_time(&q->from, "(", cursor->created);
        th_buffer_add(&q->from, cursor->instance_id, cursor->len);
    } else if (q->query.from != TH_TIME_NONE) {
        add_time(&q->from, "[", q->query.from);
    } else {
        th_buffer_text(&q->from, "-");
    }
    if (q->query.to != TH_TIME_NONE) {
        add_time(&q->to, "(", q->query.to);
    } else {
        th_buffer_text(&q->to, "+");
    }
}

static void set_name(struct search *q, struct th_str name)
{
    if (!th_str_present(name)) {
        return;
    }
    th_buffer_text(&q->named, "=");
    th_buffer_str(&q->named, name);
    for (size_t i = 1; i < q->named.len; i++) {
        char *c = &q->named.data[i];
        *c = (char)(*c >= 'A' && *c <= 'Z' ? *c | 0x20 : *c);
    }
}

static void run(struct th_redis_loop *loop, struct th_redis_task *task)
{
    advance((struct search *)task);
}

static struct search *search_new(struct th_redis_loop *loop, const struct th_query *query,
                                 const struct th_cursor *cursor, uint64_t tag)
{
    struct search *q = TH_NEW(struct search);
    q->task.run = run;
    q->loop = loop;
    q->query = *query;
    q->query.id_prefix = th_str_n(th_str_dup(query->id_prefix), query->id_prefix.len);
    q->done = (struct th_completion){.kind = TH_DONE_QUERY, .tag = tag, .offset = -1};
    set_bounds(q, cursor);
    set_name(q, query->name);
    q->stream_count = loop->provider.hub.partitions;
    q->streams = th_alloc(q->stream_count * sizeof(*q->streams));
    for (uint32_t i = 0; i < q->stream_count; i++) {
        q->streams[i].request.answered = answered;
        q->streams[i].search = q;
        q->streams[i].partition = i;
    }
    return q;
}

void th_redis_query(struct th_provider *provider, const struct th_query *query, uint64_t tag)
{
    struct th_redis_loop *loop = (struct th_redis_loop *)provider;
    struct th_completion wrong = {.kind = TH_DONE_QUERY, .tag = tag, .offset = -1};
    TH_CURSOR cursor = {0};
    if (th_query_check(query, &wrong.error) &&
        (!th_str_present(query->continuation) ||
         th_cursor_decode(query->continuation, &cursor, &wrong.error))) {
        th_redis_loop_submit(loop, &search_new(loop, query, &cursor, tag)->task);
    } else {
        th_redis_complete(loop, &wrong);
    }
}

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"
#include "contract/conformance.h"

/* Tags are large, so that a provider that clips them is noticed. */
#define FIRST_TAG UINT64_C(0xfedcba9800000001)

/* A provider with threads gets this long for one thing; nothing waits it out unless it is broken.
 */
enum { PATIENCE_SECONDS = 20, IMPATIENCE_SECONDS = 2 };

bool expect(struct fixture *f, bool holds, const char *text, const char *file, int line)
{
    if (!holds && !f->failed) {
        f->failed = true;
        const char *slash = strrchr(file, '/');
        snprintf(f->failure, sizeof(f->failure), "%s:%d: %s", slash ? slash + 1 : file, line, text);
    }
    return holds && !f->failed;
}

static void broken_promise(struct fixture *f, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void broken_promise(struct fixture *f, const char *format, ...)
{
    if (!f->failed) {
        f->failed = true;
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(f->failure, sizeof(f->failure), format, arguments);
        va_end(arguments);
    }
}

const char *text_of(struct fixture *f, const char *format, ...)
{
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    return th_arena_dup(&f->arena, text, strlen(text) + 1);
}

/* ---- completions ---- */

uint64_t ask(struct fixture *f, enum th_completion_kind kind)
{
    f->asked = th_grow(f->asked, &f->asked_capacity, f->asked_count + 1, sizeof(f->asked[0]));
    f->asked[f->asked_count] = TH_ARENA_NEW(&f->arena, struct asked);
    f->asked[f->asked_count]->kind = kind;
    return FIRST_TAG + f->asked_count++;
}

static void keep_delivery(struct fixture *f, const struct th_completion *done)
{
    f->deliveries = th_grow(f->deliveries, &f->delivery_capacity, f->delivery_count + 1,
                            sizeof(struct th_completion));
    f->deliveries[f->delivery_count++] = *done;
}

static void keep_told(struct fixture *f, const struct th_completion *done)
{
    f->told = th_grow(f->told, &f->told_capacity, f->told_count + 1, sizeof(struct th_completion));
    f->told[f->told_count++] = *done;
}

static void keep(struct fixture *f, struct th_completion *done)
{
    uint64_t i = done->tag - FIRST_TAG;
    const char *kind = th_completion_kind_text(done->kind);
    f->arrived++;
    if (done->kind == TH_DONE_DELIVER) {
        keep_delivery(f, done);
        return;
    }
    if (done->kind == TH_DONE_DOUBT && done->partition < PARTITIONS) {
        f->doubted[done->partition] = f->arrived;
        return;
    }
    if (done->kind == TH_DONE_REPLY || done->kind == TH_DONE_NEWS) {
        keep_told(f, done);
        return;
    }
    if (i >= f->asked_count || f->asked[i]->kind != done->kind) {
        broken_promise(f, "a %s completed that nobody asked for", kind);
    } else if (f->asked[i]->done) {
        broken_promise(f, "a %s completed twice", kind);
    } else {
        f->asked[i]->done = true;
        f->asked[i]->arrived = f->arrived;
        f->asked[i]->completion = *done;
        return;
    }
    th_completion_deinit(done);
}

size_t collect(struct fixture *f)
{
    struct th_completion out[7];
    size_t max = 1 + f->arrived % TH_COUNT(out);
    size_t count = f->provider->ops->poll(f->provider, out, max);
    if (count > max) {
        broken_promise(f, "poll gave %zu completions of at most %zu", count, max);
        return 0;
    }
    for (size_t i = 0; i < count; i++) {
        keep(f, &out[i]);
    }
    return count;
}

/* Until the wake-up hook is called; false when that takes too long. */
static bool wait_for_wake(struct fixture *f, unsigned before)
{
    int seconds = f->subject->impatient ? IMPATIENCE_SECONDS : PATIENCE_SECONDS;
    th_time deadline = th_monotonic() + seconds * TH_SECOND;
    while (atomic_load(&f->wakes) == before) {
        if (th_monotonic() >= deadline) {
            return false;
        }
        th_queue_wait(&f->queue, deadline);
    }
    return true;
}

bool let_happen(struct fixture *f)
{
    unsigned before = atomic_load(&f->wakes);
    if (collect(f) > 0) {
        return true;
    }
    if (f->subject->pump) { /* a poll that calls the hook wants to be called again */
        return f->subject->pump(f->storage) || atomic_load(&f->wakes) != before;
    }
    return wait_for_wake(f, before);
}

const struct th_completion *result(struct fixture *f, uint64_t tag)
{
    while (!f->failed && !f->asked[tag - FIRST_TAG]->done) {
        if (!let_happen(f)) {
            broken_promise(f, "a %s was never completed",
                           th_completion_kind_text(f->asked[tag - FIRST_TAG]->kind));
        }
    }
    return f->failed ? NULL : &f->asked[tag - FIRST_TAG]->completion;
}

uint64_t arrival(const struct fixture *f, uint64_t tag)
{
    return f->asked[tag - FIRST_TAG]->arrived;
}

bool wait_all(struct fixture *f)
{
    for (size_t i = 0; i < f->asked_count && !f->failed; i++) {
        result(f, FIRST_TAG + i);
    }
    return !f->failed;
}

bool wait_deliveries(struct fixture *f, size_t count)
{
    while (!f->failed && f->delivery_count < count) {
        if (!let_happen(f)) {
            broken_promise(f, "only %zu of %zu messages were delivered", f->delivery_count, count);
        }
    }
    return !f->failed;
}

const struct th_completion *told(struct fixture *f, size_t i)
{
    while (!f->failed && f->told_count <= i) {
        if (!let_happen(f)) {
            broken_promise(f, "only %zu replies and news came, not %zu", f->told_count, i + 1);
        }
    }
    return f->failed ? NULL : &f->told[i];
}

/* A pumped provider has nothing left to do then. One with threads has answered a question and
 * finished a send that came after everything else; there is no better sign that nothing follows. */
bool settle(struct fixture *f)
{
    for (int round = 0; round < 2; round++) {
        for (uint32_t p = 0; p < PARTITIONS; p++) {
            ask_state(f, p);
        }
        if (!wait_all(f)) {
            return false;
        }
        while (collect(f) > 0 || (f->subject->pump && f->subject->pump(f->storage))) {
        }
    }
    return !f->failed;
}

/* ---- opening and closing ---- */

static void count_wake(void *argument)
{
    struct fixture *f = argument;
    atomic_fetch_add(&f->wakes, 1);
    th_queue_wake(&f->queue);
}

static bool open_provider(struct fixture *f)
{
    struct th_error error = {0};
    f->provider = f->subject->open(f->storage, &error);
    if (!f->provider) {
        broken_promise(f, "the hub could not be opened: %s", error.message);
        return false;
    }
    f->provider->wake = count_wake;
    f->provider->wake_argument = f;
    return true;
}

static void close_provider(struct fixture *f)
{
    if (f->provider) {
        f->provider->ops->close(f->provider);
        f->provider = NULL;
    }
}

/* What a close dropped will never complete, and its tag is not given out again. */
bool reopen(struct fixture *f)
{
    close_provider(f);
    for (size_t i = 0; i < f->asked_count; i++) {
        if (!f->asked[i]->done) {
            f->asked[i]->done = true;
            f->asked[i]->completion.error.code = TH_CANCELED;
        }
    }
    for (size_t i = 0; i < f->delivery_count; i++) {
        th_completion_deinit(&f->deliveries[i]);
    }
    f->delivery_count = 0;
    return open_provider(f);
}

static void fixture_deinit(struct fixture *f)
{
    close_provider(f);
    for (size_t i = 0; i < f->asked_count; i++) {
        th_completion_deinit(&f->asked[i]->completion);
    }
    for (size_t i = 0; i < f->delivery_count; i++) {
        th_completion_deinit(&f->deliveries[i]);
    }
    for (size_t i = 0; i < f->told_count; i++) {
        th_completion_deinit(&f->told[i]);
    }
    for (size_t p = 0; p < PARTITIONS; p++) {
        free(f->ids[p].items);
    }
    free(f->asked);
    free(f->deliveries);
    free(f->told);
    f->subject->destroy(f->storage);
    th_queue_deinit(&f->queue);
    th_arena_deinit(&f->arena);
}

bool conformance_run(const struct subject *subject, const struct named_case *named,
                     char failure[static 512])
{
    struct fixture f = {.subject = subject};
    th_queue_init(&f.queue);
    f.storage = subject->create(subject, PARTITIONS, 0);
    if (open_provider(&f)) {
        named->run(&f);
    }
    if (!f.failed) {
        wait_all(&f);
        settle(&f); /* a second completion of anything would come now */
    }
    memcpy(failure, f.failure, sizeof(f.failure));
    fixture_deinit(&f);
    return !f.failed;
}

/* ---- submissions ---- */

static struct th_blob *blob_of(const char *text)
{
    return text ? th_blob_new(text, strlen(text)) : NULL;
}

/* The caller's own copy is overwritten, then freed: a provider that keeps a pointer into what it
 * was lent reads nonsense, and with the address sanitizer stops. */
static struct th_str lend(const char *text)
{
    return text ? th_str_n(th_str_dup(th_str_of(text)), strlen(text)) : TH_STR_ABSENT;
}

static void take_back(struct th_str lent)
{
    if (lent.data) {
        memset((char *)lent.data, '#', lent.len);
        free((char *)lent.data);
    }
}

uint64_t ask_claim(struct fixture *f, uint32_t partition, const char *text)
{
    uint64_t tag = ask(f, TH_DONE_CLAIM);
    struct th_blob *record = blob_of(text);
    f->provider->ops->claim(f->provider, partition, record, tag);
    th_blob_unref(record);
    return tag;
}

uint64_t ask_append_blob(struct fixture *f, uint32_t partition, uint64_t epoch, struct th_blob *b)
{
    uint64_t tag = ask(f, TH_DONE_APPEND);
    f->provider->ops->append(f->provider, partition, epoch, b, tag);
    th_blob_unref(b);
    return tag;
}

uint64_t ask_append(struct fixture *f, uint32_t partition, uint64_t epoch, const char *text)
{
    return ask_append_blob(f, partition, epoch, blob_of(text));
}

uint64_t ask_send(struct fixture *f, uint32_t source, uint32_t destination, const char *text)
{
    uint64_t tag = ask(f, TH_DONE_SEND);
    struct th_blob *message = blob_of(text);
    f->provider->ops->send(f->provider, source, destination, message, tag);
    th_blob_unref(message);
    return tag;
}

uint64_t ask_read(struct fixture *f, uint32_t partition, int64_t from, int64_t to)
{
    uint64_t tag = ask(f, TH_DONE_READ);
    f->provider->ops->read(f->provider, partition, from, to, tag);
    return tag;
}

uint64_t ask_load(struct fixture *f, uint32_t partition, const char *id, bool history)
{
    uint64_t tag = ask(f, TH_DONE_LOAD);
    struct th_str lent = lend(id);
    f->provider->ops->load(f->provider, partition, lent, history, tag);
    take_back(lent);
    return tag;
}

uint64_t ask_state(struct fixture *f, uint32_t partition)
{
    uint64_t tag = ask(f, TH_DONE_STATE);
    f->provider->ops->state(f->provider, partition, tag);
    return tag;
}

uint64_t ask_query(struct fixture *f, const struct th_query *query)
{
    uint64_t tag = ask(f, TH_DONE_QUERY);
    struct th_query lent = *query;
    lent.id_prefix = lend(query->id_prefix.data);
    lent.name = lend(query->name.data);
    lent.continuation = lend(query->continuation.data);
    f->provider->ops->query(f->provider, &lent, tag);
    take_back(lent.id_prefix);
    take_back(lent.name);
    take_back(lent.continuation);
    return tag;
}

bool claimed(struct fixture *f, uint32_t partition, uint64_t *epoch)
{
    const struct th_completion *done = result(f, ask_claim(f, partition, "claim"));
    REQUIRE(f, done && done->error.code == TH_OK);
    REQUIRE(f, done->offset >= 0);
    *epoch = (uint64_t)done->offset;
    return true;
}

bool appended(struct fixture *f, uint32_t partition, uint64_t epoch, const char *label,
              size_t count, int64_t *offsets)
{
    uint64_t first = FIRST_TAG + f->asked_count;
    for (size_t i = 0; i < count; i++) {
        ask_append(f, partition, epoch, text_of(f, "p%u %s %zu", partition, label, i));
    }
    for (size_t i = 0; i < count; i++) {
        const struct th_completion *done = result(f, first + i);
        REQUIRE(f, done && done->error.code == TH_OK);
        if (offsets) {
            offsets[i] = done->offset;
        }
    }
    return true;
}

bool sent(struct fixture *f, uint32_t source, uint32_t destination, const char *label, size_t count)
{
    uint64_t first = FIRST_TAG + f->asked_count;
    for (size_t i = 0; i < count; i++) {
        ask_send(f, source, destination, text_of(f, "s%u %s %zu", source, label, i));
    }
    for (size_t i = 0; i < count; i++) {
        const struct th_completion *done = result(f, first + i);
        REQUIRE(f, done && done->error.code == TH_OK);
    }
    return true;
}

static bool read_piece(struct fixture *f, uint32_t partition, int64_t *from, int64_t to,
                       struct th_log_record *all, size_t *count, bool *last)
{
    const struct th_completion *done = result(f, ask_read(f, partition, *from, to));
    REQUIRE(f, done && done->error.code == TH_OK);
    REQUIRE(f, *count + done->record_count <= 10000);
    for (size_t i = 0; i < done->record_count; i++) {
        REQUIRE(f, done->records[i].offset >= *from);
        REQUIRE(f, done->records[i].offset < to);
        REQUIRE(f, *count == 0 || done->records[i].offset > all[*count - 1].offset);
        all[(*count)++] = done->records[i];
    }
    REQUIRE(f, done->last || done->offset > *from); /* else it would never end */
    REQUIRE(f,
            done->record_count == 0 || done->offset > done->records[done->record_count - 1].offset);
    *from = done->offset;
    *last = done->last;
    return true;
}

bool read_all(struct fixture *f, uint32_t partition, int64_t from, int64_t to, struct records *out)
{
    struct th_log_record *all = TH_ARENA_ARRAY(&f->arena, struct th_log_record, 10000);
    size_t count = 0;
    bool last = false;
    for (int pieces = 0; !last; pieces++) {
        REQUIRE(f, pieces < 10000);
        if (!read_piece(f, partition, &from, to, all, &count, &last)) {
            return false;
        }
    }
    *out = (struct records){all, count};
    return true;
}

bool blob_is(const struct th_blob *blob, const char *text)
{
    if (!blob || !text) {
        return !blob && !text;
    }
    return th_str_eq(th_blob_view(blob), th_str_of(text));
}

/* ---- projections ---- */

struct th_watermark mark(int64_t n)
{
    return n < 0 ? TH_WATERMARK_NONE
                 : (struct th_watermark){n, (uint64_t)n + 100, (uint64_t)n + 200};
}

static struct th_row lend_row(const struct plain_row *plain)
{
    struct th_row row = {
        .instance_id = lend(plain->id),
        .last = plain->last,
        .full = plain->full,
        .stored = plain->stored,
        .deleted = plain->deleted,
        .status = plain->status,
        .created = plain->created,
        .updated = plain->updated,
        .completed = plain->completed,
        .name = lend(plain->name),
        .info = blob_of(plain->info),
        .state = blob_of(plain->state),
        .input = blob_of(plain->input),
        .output = blob_of(plain->output),
        .replace_history = plain->replace_history,
        .news = blob_of(plain->news),
    };
    if (plain->history) {
        struct th_blob **chunks = TH_NEW(struct th_blob *);
        chunks[0] = blob_of(plain->history);
        row.history = chunks;
        row.history_count = 1;
    }
    return row;
}

static void take_back_row(struct th_row *row)
{
    memset((char *)row->instance_id.data, '#', row->instance_id.len);
    if (row->name.data) {
        memset((char *)row->name.data, '#', row->name.len);
    }
    th_row_deinit(row);
}

uint64_t ask_batch(struct fixture *f, const struct plain_batch *batch)
{
    uint64_t tag = ask(f, TH_DONE_PROJECT);
    struct th_row *lent = th_alloc(batch->count * sizeof(struct th_row));
    for (size_t i = 0; i < batch->count; i++) {
        lent[i] = lend_row(&batch->rows[i]);
    }
    struct th_projection projection = {.partition = batch->partition,
                                       .previous = batch->previous,
                                       .next = batch->next,
                                       .clear = batch->clear,
                                       .rows = lent,
                                       .count = batch->count};
    f->provider->ops->project(f->provider, &projection, tag);
    for (size_t i = 0; i < batch->count; i++) {
        take_back_row(&lent[i]);
    }
    free(lent);
    return tag;
}

/* How many rows there are after a batch, whose rows are told which are there; `keep`: from now on.
 */
static size_t rows_after(struct fixture *f, uint32_t partition, struct plain_row *rows,
                         size_t count, bool keep)
{
    size_t before = f->ids[partition].count;
    const char **ids = th_memdup(f->ids[partition].items, before * sizeof(char *));
    size_t capacity = before;
    size_t there = before;
    for (size_t i = 0; i < count; i++) {
        size_t at = 0;
        while (at < there && strcmp(ids[at], rows[i].id) != 0) {
            at++;
        }
        rows[i].stored = at < there;
        if (rows[i].deleted && at < there) {
            ids[at] = ids[--there];
        } else if (!rows[i].deleted && at == there) {
            ids = th_grow(ids, &capacity, there + 1, sizeof(char *));
            ids[there++] = text_of(f, "%s", rows[i].id);
        }
    }
    if (keep) {
        free(f->ids[partition].items);
        f->ids[partition].items = ids;
        f->ids[partition].count = there;
    } else {
        free(ids);
    }
    return there;
}

uint64_t ask_project(struct fixture *f, uint32_t partition, struct th_watermark previous,
                     struct th_watermark next, const struct plain_row *rows, size_t count)
{
    struct plain_row *told = th_memdup(rows, count * sizeof(*rows));
    struct plain_batch batch = {
        .partition = partition, .previous = previous, .next = next, .rows = told, .count = count};
    batch.next.rows = rows_after(f, partition, told, count, false);
    uint64_t tag = ask_batch(f, &batch);
    free(told);
    return tag;
}

bool projected(struct fixture *f, uint32_t partition, int64_t n, const struct plain_row *rows,
               size_t count)
{
    uint64_t tag = ask_project(f, partition, mark(n - 1), mark(n), rows, count);
    const struct th_completion *done = result(f, tag);
    REQUIRE(f, done && done->error.code == TH_OK);
    struct plain_row *told = th_memdup(rows, count * sizeof(*rows));
    rows_after(f, partition, told, count, true);
    free(told);
    return true;
}

void forget_rows(struct fixture *f)
{
    for (size_t p = 0; p < PARTITIONS; p++) {
        f->ids[p].count = 0;
    }
}

static bool history_is(struct fixture *f, const struct th_row *row, const char *history)
{
    TH_BUFFER all = {0}; /* chunks may be stored together: only their bytes in order count */
    for (size_t i = 0; i < row->history_count; i++) {
        th_buffer_str(&all, th_blob_view(row->history[i]));
    }
    REQUIRE(f, th_str_eq(th_buffer_view(&all), th_str_of(history)));
    return true;
}

bool row_is(struct fixture *f, uint32_t partition, const struct plain_row *row, const char *history)
{
    const struct th_completion *done = result(f, ask_load(f, partition, row->id, true));
    REQUIRE(f, done && done->error.code == TH_OK);
    REQUIRE(f, done->row_count == 1);
    const struct th_row *got = done->rows;
    REQUIRE(f, th_str_eq(got->instance_id, th_str_of(row->id)));
    REQUIRE(f, got->last == row->last);
    REQUIRE(f, !got->deleted);
    REQUIRE(f, got->status == row->status);
    REQUIRE(f, got->created == row->created);
    REQUIRE(f, got->updated == row->updated);
    REQUIRE(f, got->completed == row->completed);
    REQUIRE(f, th_str_eq(got->name, th_str_of(row->name)));
    REQUIRE(f, blob_is(got->info, row->info));
    REQUIRE(f, blob_is(got->state, row->state));
    REQUIRE(f, blob_is(got->input, row->input));
    REQUIRE(f, blob_is(got->output, row->output));
    return history_is(f, got, history);
}

bool row_absent(struct fixture *f, uint32_t partition, const char *id)
{
    const struct th_completion *done = result(f, ask_load(f, partition, id, true));
    REQUIRE(f, done && done->error.code == TH_NOT_FOUND);
    REQUIRE(f, done->row_count == 0);
    return true;
}

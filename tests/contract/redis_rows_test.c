/*
 * The rows in Redis against the simplest thing that does the same: the projection of the simulated
 * hub. Random batches go to both; loads, walks and pages of both must be alike. And what is found
 * when somebody has deleted a part.
 */
#include "contract/subject_redis.h"
#include "provider/simulated/truth.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/memory.h"

#include <cmocka.h>

enum { BATCHES = 1000, IDS = 120, MOST_ROWS = 12, MOST_CHUNKS = 4, LONG = 3000 };

/* ---- random rows ---- */

struct model {
    struct th_random random;
    struct truth_projection truth[PARTITIONS];
    uint64_t sequence;
};

static uint64_t below(struct model *m, uint64_t bound)
{
    return th_random_below(&m->random, bound);
}

static bool chance(struct model *m, unsigned percent)
{
    return below(m, 100) < percent;
}

/* Short, empty, long or none; of any bytes. */
static struct th_blob *random_blob(struct model *m, unsigned percent)
{
    if (!chance(m, percent)) {
        return NULL;
    }
    size_t len = chance(m, 10) ? 0 : chance(m, 15) ? below(m, LONG) : below(m, 60);
    struct th_blob *blob = th_blob_alloc(len);
    for (size_t i = 0; i < len; i++) {
        blob->data[i] = (char)below(m, 256);
    }
    return blob;
}

/* Ids of few beginnings, some with bytes that sort or print oddly. No two partitions share one. */
static struct th_str random_id(struct model *m, struct fixture *f, uint32_t partition)
{
    static const char *const beginnings[] = {"a", "a@", "b-", "\xc3\xa9", "\xff", "\x01", "A"};
    unsigned i = (unsigned)below(m, IDS) * PARTITIONS + partition;
    return th_str_of(text_of(f, "%s%u", beginnings[i % TH_COUNT(beginnings)], i));
}

static th_time random_time(struct model *m)
{
    static const th_time times[] = {-5, 0, 1, 1000, 1001, INT64_C(1) << 60, INT64_MIN + 1};
    return chance(m, 5) ? times[below(m, TH_COUNT(times))] : (th_time)below(m, 40) * 1000;
}

static void add_chunks(struct model *m, struct th_row *row)
{
    size_t count = chance(m, 40) ? 1 + below(m, MOST_CHUNKS) : 0;
    struct th_blob **chunks = th_alloc(count * sizeof(*chunks));
    for (size_t i = 0; i < count; i++) {
        struct th_blob *chunk = random_blob(m, 100);
        chunks[i] = chunk;
    }
    row->history = chunks;
    row->history_count = count;
}

/* Owns what th_row_deinit frees. */
static struct th_row random_row(struct model *m, struct fixture *f, uint32_t partition)
{
    static const char *const names[] = {"Hello", "hello", "World", "", "HELLO2"};
    struct th_str id = random_id(m, f, partition);
    struct th_row row = {.instance_id = th_str_n(th_str_dup(id), id.len),
                         .deleted = chance(m, 15),
                         .completed = TH_TIME_NONE};
    if (row.deleted) {
        return row;
    }
    struct th_str name = th_str_of(names[below(m, TH_COUNT(names))]);
    row.last = ++m->sequence;
    row.full = chance(m, 30) ? m->sequence : below(m, 50);
    row.status = (enum th_status)below(m, 8);
    row.created = random_time(m);
    row.updated = random_time(m);
    row.completed = chance(m, 50) ? random_time(m) : TH_TIME_NONE;
    row.name = chance(m, 90) ? th_str_n(th_str_dup(name), name.len) : TH_STR_ABSENT;
    row.info = random_blob(m, 95);
    row.state = random_blob(m, 50);
    row.input = random_blob(m, 70);
    row.output = random_blob(m, 50);
    row.replace_history = chance(m, 15);
    add_chunks(m, &row);
    return row;
}

/* ---- batches ---- */

/* To the model; `clear` is not its business yet. */
static void project_truth(struct truth_projection *truth, const struct th_projection *batch)
{
    if (batch->clear) {
        struct th_watermark mark = truth->watermark;
        truth_projection_clear(truth);
        truth->watermark = mark;
    }
    if (truth_project(truth, batch, false) != TH_OK) {
        abort();
    }
    truth->watermark.rows = truth->count;
}

static bool random_batch(struct model *m, struct fixture *f)
{
    struct th_row rows[MOST_ROWS];
    uint32_t p = (uint32_t)below(m, PARTITIONS);
    struct truth_projection *truth = &m->truth[p];
    struct th_projection batch = {.partition = p,
                                  .previous = truth->watermark,
                                  .clear = chance(m, 1),
                                  .rows = rows,
                                  .count = below(m, MOST_ROWS + 1)};
    for (size_t i = 0; i < batch.count; i++) {
        rows[i] = random_row(m, f, p);
        rows[i].stored = truth_is_there(truth, &batch, i);
    }
    batch.next = (struct th_watermark){.offset = truth->watermark.offset + 1 + (int64_t)below(m, 3),
                                       .epoch = below(m, 3),
                                       .sequence = m->sequence,
                                       .batch = truth->watermark.batch + 1,
                                       .floor = (int64_t)below(m, 100) - 1,
                                       .position = (int64_t)below(m, 100),
                                       .building = chance(m, 20)};
    project_truth(truth, &batch);
    batch.next.rows = truth->count;
    uint64_t tag = ask(f, TH_DONE_PROJECT);
    f->provider->ops->project(f->provider, &batch, tag);
    for (size_t i = 0; i < batch.count; i++) {
        th_row_deinit(&rows[i]);
    }
    REQUIRE(f, result(f, tag) && result(f, tag)->error.code == TH_OK);
    return true;
}

/* ---- comparing ---- */

static bool same_blob(const struct th_blob *a, const struct th_blob *b)
{
    return a && b ? th_str_eq(th_blob_view(a), th_blob_view(b)) : !a && !b;
}

static bool same_columns(struct fixture *f, const struct th_row *a, const struct th_row *b)
{
    REQUIRE(f, th_str_eq(a->instance_id, b->instance_id));
    REQUIRE(f, a->last == b->last && a->full == b->full && a->status == b->status);
    REQUIRE(f, a->created == b->created && a->updated == b->updated);
    REQUIRE(f, a->completed == b->completed);
    REQUIRE(f, th_str_present(a->name) == th_str_present(b->name) && th_str_eq(a->name, b->name));
    REQUIRE(f, same_blob(a->info, b->info));
    return true;
}

/* Chunk by chunk: they come back as they were given. */
static bool same_history(struct fixture *f, const struct th_row *a, const struct th_row *b)
{
    REQUIRE(f, a->history_count == b->history_count);
    for (size_t i = 0; i < a->history_count; i++) {
        REQUIRE(f, same_blob(a->history[i], b->history[i]));
    }
    return true;
}

static bool same_row(struct fixture *f, const struct th_row *a, const struct th_row *b,
                     bool history)
{
    REQUIRE(f, same_columns(f, a, b));
    REQUIRE(f, same_blob(a->state, b->state));
    REQUIRE(f, same_blob(a->input, b->input) && same_blob(a->output, b->output));
    REQUIRE(f, history ? same_history(f, a, b) : a->history_count == 0);
    return true;
}

static bool same_mark(struct fixture *f, const struct th_watermark *a, const struct th_watermark *b)
{
    REQUIRE(f, th_watermark_equal(a, b) && a->rows == b->rows && a->building == b->building);
    REQUIRE(f, a->floor == b->floor && a->position == b->position);
    return true;
}

static bool same_load(struct model *m, struct fixture *f)
{
    uint32_t p = (uint32_t)below(m, PARTITIONS);
    struct th_str id = random_id(m, f, p);
    bool history = chance(m, 60);
    const struct th_row *expected = truth_projection_row(&m->truth[p], id);
    const struct th_completion *done = result(f, ask_load(f, p, id.data, history));
    REQUIRE(f, done && done->error.code == (expected ? TH_OK : TH_NOT_FOUND));
    REQUIRE(f, same_mark(f, &done->watermark, &m->truth[p].watermark));
    REQUIRE(f, !expected || same_row(f, &done->rows[0], expected, history));
    return true;
}

static bool same_walk(struct model *m, struct fixture *f)
{
    uint32_t p = (uint32_t)below(m, PARTITIONS);
    const struct truth_projection *truth = &m->truth[p];
    uint64_t full = chance(m, 50) ? below(m, 50) : below(m, m->sequence + 2);
    uint32_t limit = 1 + (uint32_t)below(m, 20);
    size_t expected = 0;
    for (size_t i = 0; i < truth->count; i++) {
        expected += truth->rows[i]->full < full;
    }
    uint64_t tag = ask(f, TH_DONE_WALK);
    f->provider->ops->walk(f->provider, p, full, limit, tag);
    const struct th_completion *done = result(f, tag);
    REQUIRE(f, done && done->error.code == TH_OK);
    REQUIRE(f, done->row_count == (expected < limit ? expected : limit));
    REQUIRE(f, same_mark(f, &done->watermark, &truth->watermark));
    for (size_t i = 0; i < done->row_count; i++) {
        const struct th_row *row = truth_projection_row(truth, done->rows[i].instance_id);
        REQUIRE(f, row && row->full < full && same_row(f, &done->rows[i], row, true));
    }
    return true;
}

/* ---- queries ---- */

static struct th_query random_query(struct model *m)
{
    static const char *const names[] = {"hello", "WORLD", "", "nobody"};
    static const char *const prefixes[] = {"a", "a@", "\xff", "", "b-1", "none"};
    return (struct th_query){
        .statuses = chance(m, 50) ? (uint32_t)below(m, 256) : 0,
        .from = chance(m, 30) ? random_time(m) : TH_TIME_NONE,
        .to = chance(m, 30) ? random_time(m) : TH_TIME_NONE,
        .completed_from = chance(m, 20) ? random_time(m) : TH_TIME_NONE,
        .completed_to = chance(m, 20) ? random_time(m) : TH_TIME_NONE,
        .name = chance(m, 30) ? th_str_of(names[below(m, TH_COUNT(names))]) : TH_STR_ABSENT,
        .id_prefix =
            chance(m, 30) ? th_str_of(prefixes[below(m, TH_COUNT(prefixes))]) : TH_STR_ABSENT,
        .limit = 1 + (uint32_t)(chance(m, 50) ? below(m, 10) : below(m, 1000)),
        .payloads = chance(m, 50),
    };
}

static int by_order(const void *a, const void *b)
{
    return th_row_order(*(const struct th_row *const *)a, *(const struct th_row *const *)b);
}

struct expected {
    const struct th_row *rows[PARTITIONS * IDS];
    size_t count;
};

static void find_expected(struct model *m, const struct th_query *query, struct expected *out)
{
    out->count = 0;
    for (size_t p = 0; p < PARTITIONS; p++) {
        for (size_t i = 0; i < m->truth[p].count; i++) {
            if (th_query_matches(query, m->truth[p].rows[i])) {
                out->rows[out->count++] = m->truth[p].rows[i];
            }
        }
    }
    qsort(out->rows, out->count, sizeof(out->rows[0]), by_order);
}

static bool same_page(struct model *m, struct fixture *f, const struct th_query *query,
                      const struct th_completion *page, const struct expected *expected, size_t at)
{
    REQUIRE(f, page && page->error.code == TH_OK && page->row_count <= query->limit);
    REQUIRE(f, at + page->row_count <= expected->count);
    for (size_t p = 0; p < PARTITIONS; p++) {
        REQUIRE(f, same_mark(f, &page->watermarks[p], &m->truth[p].watermark));
    }
    for (size_t i = 0; i < page->row_count; i++) {
        const struct th_row *row = expected->rows[at + i];
        const struct th_row *got = &page->rows[i];
        REQUIRE(f, same_columns(f, got, row) && !got->state && got->history_count == 0);
        REQUIRE(f, same_blob(got->input, query->payloads ? row->input : NULL));
        REQUIRE(f, same_blob(got->output, query->payloads ? row->output : NULL));
    }
    return true;
}

/* All pages. A page that has a next one is full, but that its neighbour may be empty. */
static bool same_query(struct model *m, struct fixture *f)
{
    struct th_query query = random_query(m);
    struct expected expected;
    size_t at = 0;
    find_expected(m, &query, &expected);
    do {
        const struct th_completion *page = result(f, ask_query(f, &query));
        if (!same_page(m, f, &query, page, &expected, at)) {
            return false;
        }
        at += page->row_count;
        query.continuation = th_str_of(page->continuation);
        REQUIRE(f, !page->continuation || page->row_count == query.limit);
    } while (th_str_present(query.continuation));
    REQUIRE(f, at == expected.count);
    return true;
}

/* ---- the comparison ---- */

static void model_init(struct model *m, uint64_t seed)
{
    *m = (struct model){.sequence = 0};
    th_random_seed(&m->random, seed);
    for (size_t p = 0; p < PARTITIONS; p++) {
        m->truth[p].watermark = TH_WATERMARK_NONE;
    }
}

static void case_random_batches(struct fixture *f)
{
    struct model m;
    model_init(&m, 20260101);
    bool good = true;
    for (int i = 0; good && i < BATCHES; i++) {
        good = random_batch(&m, f) && same_load(&m, f) && same_load(&m, f);
        good = good && (i % 5 != 0 || same_query(&m, f)) && (i % 7 != 0 || same_walk(&m, f));
    }
    for (size_t p = 0; p < PARTITIONS; p++) {
        truth_projection_clear(&m.truth[p]);
    }
}

/* Pages of many sizes over rows that share their times, and over all of the steps of one. */
static void case_many_pages(struct fixture *f)
{
    enum { ROWS = 3000, STEP = 250 };
    static struct plain_row rows[STEP];
    for (unsigned first = 0; first < ROWS; first += STEP) {
        uint32_t p = first / STEP % 3; /* the fourth has none */
        for (unsigned i = 0; i < STEP; i++) {
            unsigned n = first + i;
            rows[i] =
                (struct plain_row){.id = text_of(f, "%04u", n * 7919 % 10000),
                                   .last = n,
                                   .status = n % 50 == 0 ? TH_STATUS_FAILED : TH_STATUS_PENDING,
                                   .created = n / 10 * 10,
                                   .completed = TH_TIME_NONE,
                                   .name = n % 100 == 0 ? "rare" : "common",
                                   .info = "info"};
        }
        EXPECT(f, projected(f, p, first / STEP / 3, rows, STEP));
    }
    static const struct {
        uint32_t limit, statuses;
        const char *name;
        size_t count;
    } queries[] = {{1000, 0, NULL, ROWS},
                   {999, 0, "common", ROWS - ROWS / 100},
                   {7, 0, "rare", ROWS / 100},
                   {50, TH_STATUS_BIT(TH_STATUS_FAILED), NULL, ROWS / 50},
                   {1000, 0, "nobody", 0}};
    for (size_t i = 0; i < TH_COUNT(queries); i++) {
        struct th_query query = {.from = TH_TIME_NONE,
                                 .to = TH_TIME_NONE,
                                 .completed_from = TH_TIME_NONE,
                                 .completed_to = TH_TIME_NONE,
                                 .limit = queries[i].limit,
                                 .statuses = queries[i].statuses,
                                 .name = th_str_of(queries[i].name)};
        size_t count = 0;
        do {
            const struct th_completion *page = result(f, ask_query(f, &query));
            EXPECT(f, page && page->error.code == TH_OK);
            for (size_t k = 1; k < page->row_count; k++) {
                EXPECT(f, th_row_order(&page->rows[k - 1], &page->rows[k]) < 0);
            }
            count += page->row_count;
            query.continuation = th_str_of(page->continuation);
        } while (th_str_present(query.continuation));
        EXPECT(f, count == queries[i].count);
    }
}

/* Batches that do not wait for each other are taken in the order in which they were submitted. */
static void case_batches_in_order(struct fixture *f)
{
    enum { MANY = 300 };
    struct plain_row row = {
        .id = "a", .completed = TH_TIME_NONE, .name = "Hello", .info = "info", .history = "x"};
    uint64_t tags[MANY];
    for (int64_t n = 0; n < MANY; n++) {
        struct plain_batch batch = {
            .previous = mark(n - 1), .next = mark(n), .rows = &row, .count = 1};
        batch.next.rows = 1;
        row.stored = n > 0;
        tags[n] = ask_batch(f, &batch);
    }
    for (size_t n = 0; n < MANY; n++) {
        EXPECT(f, result(f, tags[n]) && result(f, tags[n])->error.code == TH_OK);
    }
    const struct th_completion *load = result(f, ask_load(f, 0, "a", true));
    EXPECT(f, load && load->error.code == TH_OK && load->rows[0].history_count == MANY);
}

/* A long history grows without being touched: what a batch costs does not depend on it. */
static void case_long_history(struct fixture *f)
{
    enum { CHUNKS = 9000, SIZE = 100 };
    struct plain_row row = {.id = "long",
                            .completed = TH_TIME_NONE,
                            .name = "Long",
                            .info = "info",
                            .history = text_of(f, "%0*d", SIZE, 7)};
    static struct plain_row same[500];
    for (size_t i = 0; i < TH_COUNT(same); i++) {
        same[i] = row;
    }
    TH_BUFFER whole = {0};
    for (int i = 0; i < CHUNKS; i++) {
        th_buffer_text(&whole, row.history);
    }
    for (int64_t n = 0; n < CHUNKS / (int64_t)TH_COUNT(same); n++) {
        EXPECT(f, projected(f, 0, n, same, TH_COUNT(same)));
    }
    th_buffer_add(&whole, "", 1);
    EXPECT(f, row_is(f, 0, &row, whole.data));
    row.replace_history = true;
    EXPECT(f, projected(f, 0, CHUNKS / (int64_t)TH_COUNT(same), &row, 1));
    EXPECT(f, row_is(f, 0, &row, row.history));
    EXPECT(f, redis_server_number(redis_access_of(f)->server, "HLEN %sparts",
                                  redis_keys_of(f, 0)) == 1);
}

/* ---- parts that somebody deleted ---- */

static struct plain_row sample(struct fixture *f, const char *id, unsigned n)
{
    char *text = th_alloc(LONG + 1);
    memset(text, 'x', LONG);
    const char *output = th_arena_dup(&f->arena, text, LONG + 1);
    free(text);
    return (struct plain_row){.id = id,
                              .last = n,
                              .full = n,
                              .status = n % 2 ? TH_STATUS_RUNNING : TH_STATUS_COMPLETED,
                              .created = 1000,
                              .updated = 2000,
                              .completed = TH_TIME_NONE,
                              .name = "Hello",
                              .info = "info",
                              .output = output,
                              .history = "events;"};
}

static bool is_corrupt(struct fixture *f, uint64_t tag)
{
    const struct th_completion *done = result(f, tag);
    REQUIRE(f, done && done->error.code == TH_CORRUPT);
    REQUIRE(f, strstr(done->error.message, "partition 0") && strstr(done->error.message, "lacks"));
    return true;
}

/* Nothing that rests on the rows is answered; a batch changes nothing; with `clear` all is well. */
static bool not_believed(struct fixture *f, const struct plain_row *row, int64_t n)
{
    struct th_query query = {.from = TH_TIME_NONE,
                             .to = TH_TIME_NONE,
                             .completed_from = TH_TIME_NONE,
                             .completed_to = TH_TIME_NONE,
                             .limit = 10};
    struct plain_row stored = *row;
    stored.stored = true;
    struct plain_batch batch = {
        .previous = mark(n), .next = mark(n + 1), .rows = &stored, .count = 1};
    batch.next.rows = 3;
    if (!is_corrupt(f, ask_batch(f, &batch)) || !is_corrupt(f, ask_query(f, &query))) {
        return false;
    }
    uint64_t walk = ask(f, TH_DONE_WALK);
    f->provider->ops->walk(f->provider, 0, 100, 10, walk);
    return is_corrupt(f, walk);
}

static void lose(struct fixture *f, const char *command, const char *key, const char *field)
{
    long long deleted = redis_server_number(redis_access_of(f)->server, "%s %s%s %s", command,
                                            redis_keys_of(f, 0), key, field);
    expect(f, deleted > 0, "something was deleted", __FILE__, __LINE__);
}

static bool all_there(struct fixture *f, int64_t from, const struct plain_row rows[static 3])
{
    struct plain_batch batch = {
        .previous = mark(from), .next = mark(from + 1), .clear = true, .rows = rows, .count = 3};
    batch.next.rows = 3;
    const struct th_completion *done = result(f, ask_batch(f, &batch));
    REQUIRE(f, done && done->error.code == TH_OK);
    return row_is(f, 0, &rows[0], "events;") && row_is(f, 0, &rows[2], "events;");
}

static void case_partial_loss(struct fixture *f)
{
    static const struct {
        const char *command, *key, *field;
    } losses[] = {{"HDEL", "rows", "a"},
                  {"DEL", "rows", ""},
                  {"DEL", "full", ""},
                  {"DEL", "status:0", ""},
                  {"DEL", "status:1", ""}};
    struct plain_row rows[] = {sample(f, "a", 1), sample(f, "b", 2), sample(f, "c", 3)};
    EXPECT(f, projected(f, 0, 0, rows, 3));
    for (size_t i = 0; i < TH_COUNT(losses); i++) {
        int64_t n = (int64_t)i;
        lose(f, losses[i].command, losses[i].key, losses[i].field);
        EXPECT(f, not_believed(f, &rows[1], n));
        if (i == 0) {
            EXPECT(f, is_corrupt(f, ask_load(f, 0, "a", true)));
            EXPECT(f, row_is(f, 0, &rows[1], "events;")); /* what is there is true */
        }
        EXPECT(f, all_there(f, n, rows));
    }
}

/* Histories and long values: what lacks them is not answered, and a batch notices, too. */
static void case_parts_lost(struct fixture *f)
{
    struct plain_row rows[] = {sample(f, "a", 1), sample(f, "b", 2), sample(f, "c", 3)};
    EXPECT(f, projected(f, 0, 0, rows, 3));
    lose(f, "DEL", "parts", "");
    EXPECT(f, is_corrupt(f, ask_load(f, 0, "a", true)));
    EXPECT(f, is_corrupt(f, ask_load(f, 0, "b", false)));
    const struct th_completion *state = result(f, ask_state(f, 0));
    EXPECT(f, state && state->error.code == TH_OK && state->stored_rows == UINT64_MAX);
    struct plain_row again = rows[0];
    again.stored = true;
    struct plain_batch batch = {.previous = mark(0), .next = mark(1), .rows = &again, .count = 1};
    batch.next.rows = 3;
    EXPECT(f, is_corrupt(f, ask_batch(f, &batch)) && all_there(f, 0, rows));
}

/* A batch that fails half way leaves nothing behind, rather than half of itself. */
static void case_half_written(struct fixture *f)
{
    struct redis_server *redis = redis_access_of(f)->server;
    const char *keys = redis_keys_of(f, 0);
    struct plain_row rows[] = {sample(f, "a", 1), sample(f, "b", 2), sample(f, "c", 3)};
    EXPECT(f, projected(f, 0, 0, rows, 3) && projected(f, 1, 0, rows, 3));
    EXPECT(f, redis_server_number(redis, "HSET %srows c nonsense", keys) == 0);
    const struct th_completion *load = result(f, ask_load(f, 0, "c", true));
    EXPECT(f, load && load->error.code == TH_CORRUPT);

    struct plain_row again[] = {rows[0], rows[1], rows[2]};
    again[0].stored = again[1].stored = again[2].stored = true;
    struct plain_batch batch = {.previous = mark(0), .next = mark(1), .rows = again, .count = 3};
    batch.next.rows = 3;
    const struct th_completion *done = result(f, ask_batch(f, &batch));
    EXPECT(f, done && done->error.code == TH_CORRUPT);
    EXPECT(f, strstr(done->error.message, "was dropped"));
    EXPECT(f, redis_server_number(redis, "EXISTS %sstate %srows %sparts %sfull %sstatus:0", keys,
                                  keys, keys, keys, keys) == 0);
    EXPECT(f, row_absent(f, 0, "a") && row_is(f, 1, &rows[0], "events;"));
    EXPECT(f, all_there(f, -1, rows));
}

/* ---- the cases ---- */

static const struct named_case cases[] = {
    {"random_batches", case_random_batches},     {"many_pages", case_many_pages},
    {"batches_in_order", case_batches_in_order}, {"long_history", case_long_history},
    {"partial_loss", case_partial_loss},         {"parts_lost", case_parts_lost},
    {"half_written", case_half_written},
};

static struct redis_server *server;

static void run_named(void **data)
{
    const struct named_case *named = *data;
    struct redis_access access = {.server = server};
    struct subject subject = redis_subject(&access);
    char failure[512];
    if (!conformance_run(&subject, named, failure)) {
        fail_msg("%s: %s", named->name, failure);
    }
}

int main(int argc, char **argv)
{
    struct CMUnitTest tests[TH_COUNT(cases)];
    size_t count = 0;
    for (size_t i = 0; i < TH_COUNT(cases); i++) {
        if (argc < 2 || strcmp(argv[1], cases[i].name) == 0) {
            tests[count++] = (struct CMUnitTest){
                .name = cases[i].name, .test_func = run_named, .initial_state = (void *)&cases[i]};
        }
    }
    server = redis_server_start(NULL);
    int failed = _cmocka_run_group_tests("redis rows", tests, count, NULL, NULL);
    redis_server_stop(server);
    return failed;
}

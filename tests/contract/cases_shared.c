/*
 * Cases about what only shared providers have: walk, reply, watch and news, and a projection that
 * is never believed when a part of it may be missing. Others pass them by doing nothing.
 */
#include <stdlib.h>

#include "base/memory.h"
#include "contract/conformance.h"

static bool shared(struct fixture *f)
{
    return f->provider->ops->traits(f->provider).shared;
}

#define SHARED_ONLY(f)    \
    do {                  \
        if (!shared(f)) { \
            return;       \
        }                 \
    } while (0)

static struct plain_row sample(const char *id, uint64_t full)
{
    return (struct plain_row){.id = id,
                              .last = full,
                              .full = full,
                              .status = TH_STATUS_RUNNING,
                              .created = 1000,
                              .updated = 2000,
                              .completed = TH_TIME_NONE,
                              .name = "Hello",
                              .info = "info",
                              .state = "state",
                              .input = "input"};
}

static enum th_code batch_code(struct fixture *f, const struct plain_batch *batch)
{
    const struct th_completion *done = result(f, ask_batch(f, batch));
    return done ? done->error.code : TH_INTERNAL;
}

static struct th_watermark mark_with(int64_t n, uint64_t rows)
{
    struct th_watermark next = mark(n);
    next.rows = rows;
    return next;
}

/* ---- watermarks ---- */

static bool same_mark(struct fixture *f, const struct th_watermark *a, const struct th_watermark *b)
{
    REQUIRE(f, th_watermark_equal(a, b));
    REQUIRE(f, a->floor == b->floor && a->position == b->position && a->rows == b->rows);
    REQUIRE(f, a->building == b->building);
    return true;
}

static bool state_is(struct fixture *f, uint32_t partition, const struct th_watermark *expected)
{
    const struct th_completion *state = result(f, ask_state(f, partition));
    REQUIRE(f, state && state->error.code == TH_OK);
    return same_mark(f, &state->watermark, expected);
}

void case_shared_watermark(struct fixture *f)
{
    SHARED_ONLY(f);
    struct th_watermark nothing = TH_WATERMARK_NONE;
    struct th_watermark next = {.offset = INT64_C(1) << 60,
                                .epoch = UINT64_C(1) << 63,
                                .sequence = UINT64_MAX,
                                .floor = 12,
                                .position = INT64_C(1) << 61,
                                .rows = 1};
    struct plain_row row = sample("a", 3);
    struct plain_batch batch = {.previous = nothing, .next = next, .rows = &row, .count = 1};
    EXPECT(f, state_is(f, 0, &nothing));
    EXPECT(f, batch_code(f, &batch) == TH_OK && state_is(f, 0, &next) && state_is(f, 1, &nothing));

    const struct th_completion *load = result(f, ask_load(f, 0, "a", false));
    EXPECT(f, load && load->error.code == TH_OK && load->rows[0].full == 3);
    EXPECT(f, same_mark(f, &load->watermark, &next));
    load = result(f, ask_load(f, 0, "b", false));
    EXPECT(f, load && load->error.code == TH_NOT_FOUND && same_mark(f, &load->watermark, &next));
    EXPECT(f, reopen(f) && state_is(f, 0, &next));
}

void case_shared_building(struct fixture *f)
{
    SHARED_ONLY(f);
    struct plain_batch batch = {.previous = mark(-1), .next = mark(0)};
    batch.next.building = true;
    EXPECT(f, batch_code(f, &batch) == TH_OK && state_is(f, 0, &batch.next));
    batch.previous = mark(0); /* the flag does not make another one of it */
    batch.next = mark(1);
    EXPECT(f, batch_code(f, &batch) == TH_OK && state_is(f, 0, &batch.next));
}

/* A batch is told from another one by its number alone. */
void case_shared_batch_numbers(struct fixture *f)
{
    SHARED_ONLY(f);
    struct plain_batch batch = {.previous = mark(-1), .next = mark(0)};
    batch.next.batch = UINT64_C(1) << 40;
    EXPECT(f, batch_code(f, &batch) == TH_OK && state_is(f, 0, &batch.next));
    batch.previous = batch.next;
    batch.previous.batch++;
    batch.next.batch += 2;
    EXPECT(f, batch_code(f, &batch) == TH_FENCED);
    batch.previous.batch--;
    EXPECT(f, batch_code(f, &batch) == TH_OK && state_is(f, 0, &batch.next));
    EXPECT(f, batch_code(f, &batch) == TH_FENCED); /* said again */
}

/* A batch after which there would be another number of rows than it says is refused. */
void case_shared_rows_count(struct fixture *f)
{
    SHARED_ONLY(f);
    struct plain_row rows[] = {sample("a", 1), sample("b", 2), sample("a", 3), sample("never", 4)};
    rows[2].stored = rows[3].deleted = true;
    struct plain_batch batch = {.previous = mark(-1), .rows = rows, .count = TH_COUNT(rows)};
    static const uint64_t wrong[] = {0, 1, 3, 4};
    for (size_t i = 0; i < TH_COUNT(wrong); i++) {
        batch.next = mark_with(0, wrong[i]);
        EXPECT(f, batch_code(f, &batch) == TH_CORRUPT && row_absent(f, 0, "a"));
    }
    batch.next = mark_with(0, 2);
    EXPECT(f, batch_code(f, &batch) == TH_OK && row_is(f, 0, &rows[2], ""));
    rows[1].stored = rows[1].deleted = true;
    struct plain_batch drop = {
        .previous = mark(0), .next = mark_with(1, 2), .rows = &rows[1], .count = 1};
    EXPECT(f, batch_code(f, &drop) == TH_CORRUPT);
    rows[1].deleted = false;
    EXPECT(f, row_is(f, 0, &rows[1], ""));
}

/* One row got lost and another one that was dropped is back: their number alone tells nothing. */
void case_shared_stored_rows(struct fixture *f)
{
    SHARED_ONLY(f);
    struct plain_row rows[] = {sample("a", 1), sample("b", 2)};
    EXPECT(f, projected(f, 0, 0, rows, 1));
    struct plain_batch batch = {
        .previous = mark(0), .next = mark_with(1, 2), .rows = rows, .count = 2};
    rows[0].stored = rows[1].stored = true;
    EXPECT(f, batch_code(f, &batch) == TH_CORRUPT);
    rows[0].stored = rows[1].stored = false;
    EXPECT(f, batch_code(f, &batch) == TH_CORRUPT && row_absent(f, 0, "b"));
    rows[0].stored = true;
    EXPECT(f, batch_code(f, &batch) == TH_OK && row_is(f, 0, &rows[1], ""));
    const struct th_completion *state = result(f, ask_state(f, 0));
    EXPECT(f, state && state->stored_rows == 2);
}

static struct th_query everything(void)
{
    return (struct th_query){.from = TH_TIME_NONE,
                             .to = TH_TIME_NONE,
                             .completed_from = TH_TIME_NONE,
                             .completed_to = TH_TIME_NONE,
                             .limit = 100};
}

void case_shared_clear(struct fixture *f)
{
    SHARED_ONLY(f);
    struct plain_row rows[] = {sample("a", 1), sample("b", 2), sample("c", 3)};
    rows[0].history = rows[1].history = "old;";
    EXPECT(f, projected(f, 0, 0, rows, 3) && projected(f, 1, 0, rows, 1));
    struct plain_row fresh[] = {sample("b", 20), sample("d", 40)};
    fresh[0].history = "new;";
    struct plain_batch clear = {.previous = mark(5),
                                .next = mark_with(1, 2),
                                .clear = true,
                                .rows = fresh,
                                .count = TH_COUNT(fresh)};
    EXPECT(f, batch_code(f, &clear) == TH_FENCED && row_is(f, 0, &rows[0], "old;"));
    clear.previous = mark(0);
    clear.next.building = true;
    EXPECT(f, batch_code(f, &clear) == TH_OK && state_is(f, 0, &clear.next));
    EXPECT(f, row_absent(f, 0, "a") && row_absent(f, 0, "c"));
    EXPECT(f, row_is(f, 0, &fresh[0], "new;") && row_is(f, 0, &fresh[1], ""));
    EXPECT(f, row_is(f, 1, &rows[0], "old;"));

    struct th_query query = everything();
    const struct th_completion *page = result(f, ask_query(f, &query));
    EXPECT(f, page && page->error.code == TH_OK && page->row_count == 3);
    struct plain_batch empty = {.previous = clear.next, .next = mark(2), .clear = true};
    EXPECT(f, batch_code(f, &empty) == TH_OK && row_absent(f, 0, "b"));
}

void case_shared_query_watermarks(struct fixture *f)
{
    SHARED_ONLY(f);
    struct plain_row row = sample("a", 1);
    EXPECT(f, projected(f, 0, 0, NULL, 0) && projected(f, 0, 1, &row, 1));
    EXPECT(f, projected(f, 2, 0, NULL, 0));
    struct th_query query = everything();
    const struct th_completion *page = result(f, ask_query(f, &query));
    EXPECT(f, page && page->error.code == TH_OK && page->watermarks);
    struct th_watermark expected[PARTITIONS] = {mark_with(1, 1), mark(-1), mark(0), mark(-1)};
    for (size_t p = 0; p < PARTITIONS; p++) {
        EXPECT(f, same_mark(f, &page->watermarks[p], &expected[p]));
    }
}

/* ---- walk ---- */

static const struct th_completion *walk(struct fixture *f, uint64_t full_below, uint32_t limit)
{
    uint64_t tag = ask(f, TH_DONE_WALK);
    f->provider->ops->walk(f->provider, 0, full_below, limit, tag);
    return result(f, tag);
}

/* Whoever copies instances forward: walks, and stores what it found with a later `full`. */
void case_shared_walk(struct fixture *f)
{
    enum { ROWS = 30, OLD = 20, STEP = 7 };
    SHARED_ONLY(f);
    struct plain_row rows[ROWS];
    for (unsigned i = 0; i < ROWS; i++) {
        rows[i] = sample(text_of(f, "row %u", i), i * 10);
        rows[i].history = text_of(f, "history %u;", i);
        rows[i].output = i % 2 ? "output" : NULL;
    }
    EXPECT(f, projected(f, 0, 0, rows, ROWS));
    size_t seen = 0;
    for (int64_t n = 1; seen < OLD; n++) {
        const struct th_completion *found = walk(f, OLD * 10, STEP);
        EXPECT(f, found && found->error.code == TH_OK);
        EXPECT(f, found->row_count >= 1 && found->row_count <= STEP);
        struct th_watermark now = mark_with(n - 1, ROWS);
        EXPECT(f, same_mark(f, &found->watermark, &now) && found->stored_rows == ROWS);
        struct plain_row moved[STEP];
        for (size_t i = 0; i < found->row_count; i++) {
            const struct th_row *row = &found->rows[i];
            EXPECT(f, row->full < OLD * 10 && row->full % 10 == 0);
            struct plain_row *original = &rows[row->full / 10];
            EXPECT(f, th_str_eq(row->instance_id, th_str_of(original->id)));
            EXPECT(f, row->history_count == 1 && blob_is(row->history[0], original->history));
            EXPECT(f, blob_is(row->output, original->output) && blob_is(row->state, "state"));
            original->full = 1000 + row->full;
            moved[i] = *original;
            moved[i].history = NULL;
        }
        seen += found->row_count;
        EXPECT(f, projected(f, 0, n, moved, found->row_count));
    }
    EXPECT(f, seen == OLD);
    const struct th_completion *none = walk(f, OLD * 10, STEP);
    EXPECT(f, none && none->error.code == TH_OK && none->row_count == 0);
}

void case_shared_walk_limits(struct fixture *f)
{
    SHARED_ONLY(f);
    const struct th_completion *found = walk(f, UINT64_MAX, 10);
    EXPECT(f, found && found->error.code == TH_OK && found->row_count == 0);
    struct plain_row rows[] = {sample("a", 0), sample("b", 5), sample("c", UINT64_C(1) << 62)};
    EXPECT(f, projected(f, 0, 0, rows, TH_COUNT(rows)));
    found = walk(f, 0, 10);
    EXPECT(f, found && found->row_count == 0);
    found = walk(f, 5, 10);
    EXPECT(f, found && found->row_count == 1 && found->rows[0].full == 0);
    found = walk(f, 6, 1);
    EXPECT(f, found && found->row_count == 1);
    found = walk(f, (UINT64_C(1) << 62) + 1, 10);
    EXPECT(f, found && found->row_count == 3);
    rows[0].deleted = true;
    EXPECT(f, projected(f, 0, 1, rows, 1));
    found = walk(f, 5, 10);
    EXPECT(f, found && found->row_count == 0);
}

/* ---- news and replies ---- */

static void watch(struct fixture *f, uint32_t partition, bool wanted)
{
    f->provider->ops->watch(f->provider, partition, wanted);
}

/* Watches, and waits until it is certain to get what comes. */
static bool watching(struct fixture *f, uint32_t partition)
{
    size_t before = f->told_count;
    watch(f, partition, true);
    const struct th_completion *begun = told(f, before);
    REQUIRE(f, begun && begun->kind == TH_DONE_NEWS && begun->error.code == TH_OK);
    REQUIRE(f, begun->partition == partition && !begun->blob);
    return true;
}

static bool told_is(struct fixture *f, size_t i, enum th_completion_kind kind, uint32_t partition,
                    const char *text)
{
    const struct th_completion *it = told(f, i);
    REQUIRE(f, it && it->kind == kind && it->error.code == TH_OK);
    REQUIRE(f, it->kind != TH_DONE_NEWS || it->partition == partition);
    REQUIRE(f, it->blob && blob_is(it->blob, text));
    return true;
}

void case_shared_watch(struct fixture *f)
{
    SHARED_ONLY(f);
    struct plain_row rows[] = {sample("a", 1), sample("b", 2), sample("a", 3)};
    rows[0].news = "first";
    rows[2].news = ""; /* empty is not the same as none */
    EXPECT(f, watching(f, 2) && projected(f, 2, 0, rows, 3));
    EXPECT(f, told_is(f, 1, TH_DONE_NEWS, 2, "first") && told_is(f, 2, TH_DONE_NEWS, 2, ""));
    rows[0].deleted = true;
    rows[0].news = "gone";
    EXPECT(f, projected(f, 2, 1, rows, 1) && told_is(f, 3, TH_DONE_NEWS, 2, "gone"));
    EXPECT(f, watching(f, 2)); /* again: it is told again that it will be told */
}

/* What is told can be loaded, and what was refused is not told. */
void case_shared_news_of_stored_rows(struct fixture *f)
{
    SHARED_ONLY(f);
    struct plain_row row = sample("a", 1);
    EXPECT(f, watching(f, 0));
    row.news = "refused";
    const struct th_completion *done = result(f, ask_project(f, 0, mark(5), mark(6), &row, 1));
    EXPECT(f, done && done->error.code == TH_FENCED);
    for (int64_t n = 0; n < 20; n++) {
        row.last = (uint64_t)n;
        row.news = text_of(f, "%lld", (long long)n);
        struct plain_batch batch = {
            .previous = mark(n - 1), .next = mark_with(n, 1), .rows = &row, .count = 1};
        row.stored = n > 0;
        uint64_t tag = ask_batch(f, &batch);
        EXPECT(f, told_is(f, (size_t)n + 1, TH_DONE_NEWS, 0, row.news) && row_is(f, 0, &row, ""));
        EXPECT(f, result(f, tag) && result(f, tag)->error.code == TH_OK);
    }
}

void case_shared_news_of_other_places(struct fixture *f)
{
    SHARED_ONLY(f);
    struct plain_row row = sample("a", 1);
    EXPECT(f, watching(f, 0) && watching(f, 1));
    row.news = "not watched";
    EXPECT(f, projected(f, 2, 0, &row, 1));
    watch(f, 0, false);
    EXPECT(f, watching(f, 3)); /* what was asked before has happened */
    row.news = "no longer watched";
    EXPECT(f, projected(f, 0, 0, &row, 1));
    row.news = "watched";
    EXPECT(f, projected(f, 1, 0, &row, 1));
    EXPECT(f, told_is(f, 3, TH_DONE_NEWS, 1, "watched"));
    EXPECT(f, settle(f) && f->told_count == 4);
}

static void reply(struct fixture *f, const char *address, const char *text)
{
    struct th_blob *message = th_blob_new(text, strlen(text));
    f->provider->ops->reply(f->provider, address, message);
    th_blob_unref(message);
}

void case_shared_reply(struct fixture *f)
{
    SHARED_ONLY(f);
    static const char *const texts[] = {"one", "", "three"};
    EXPECT(f, f->provider->address[0] != '\0' && !strchr(f->provider->address, ' '));
    EXPECT(f, watching(f, 0)); /* who gets news gets replies */
    reply(f, "nobody", "lost");
    for (size_t i = 0; i < TH_COUNT(texts); i++) {
        reply(f, f->provider->address, texts[i]);
    }
    for (size_t i = 0; i < TH_COUNT(texts); i++) {
        EXPECT(f, told_is(f, 1 + i, TH_DONE_REPLY, 0, texts[i]));
    }
    char *before = th_str_dup(th_str_of(f->provider->address));
    bool other = reopen(f) && strcmp(before, f->provider->address) != 0;
    free(before);
    EXPECT(f, other);
}

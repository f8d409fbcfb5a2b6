/* Cases about projections and the rows in them. */
#include <stdlib.h>

#include "base/memory.h"
#include "contract/conformance.h"

static struct plain_row sample(const char *id)
{
    return (struct plain_row){
        .id = id,
        .last = 7,
        .status = TH_STATUS_RUNNING,
        .created = 1000,
        .updated = 2000,
        .completed = TH_TIME_NONE,
        .name = "Hello",
        .info = "info",
        .state = "state",
        .input = "input",
    };
}

static bool watermark_is(struct fixture *f, uint32_t partition, int64_t n)
{
    const struct th_completion *state = result(f, ask_state(f, partition));
    REQUIRE(f, state && state->error.code == TH_OK);
    struct th_watermark expected = mark(n);
    REQUIRE(f, th_watermark_equal(&state->watermark, &expected));
    return true;
}

static enum th_code project_code(struct fixture *f, struct th_watermark previous,
                                 struct th_watermark next)
{
    const struct th_completion *done = result(f, ask_project(f, 0, previous, next, NULL, 0));
    return done ? done->error.code : TH_INTERNAL;
}

void case_project_compare(struct fixture *f)
{
    EXPECT(f, projected(f, 0, 0, NULL, 0) && watermark_is(f, 0, 0));
    EXPECT(f, watermark_is(f, 1, -1));
    EXPECT(f, project_code(f, mark(-1), mark(1)) == TH_FENCED);
    EXPECT(f, project_code(f, mark(1), mark(2)) == TH_FENCED);
    struct th_watermark wrong = mark(0);
    wrong.epoch++;
    EXPECT(f, project_code(f, wrong, mark(1)) == TH_FENCED);
    wrong = mark(0);
    wrong.sequence++;
    EXPECT(f, project_code(f, wrong, mark(1)) == TH_FENCED);
    EXPECT(f, watermark_is(f, 0, 0));
    EXPECT(f, projected(f, 0, 1, NULL, 0) && watermark_is(f, 0, 1));
}

void case_project_refused_changes_nothing(struct fixture *f)
{
    struct plain_row row = sample("a");
    row.history = "one;";
    EXPECT(f, projected(f, 0, 0, &row, 1));
    struct plain_row rows[] = {sample("a"), sample("b"), sample("a")};
    rows[0].name = "Changed";
    rows[0].history = "two;";
    rows[2].deleted = true;
    const struct th_completion *done =
        result(f, ask_project(f, 0, mark(-1), mark(1), rows, TH_COUNT(rows)));
    EXPECT(f, done && done->error.code == TH_FENCED);
    EXPECT(f, row_is(f, 0, &row, "one;") && row_absent(f, 0, "b"));
}

void case_row_columns(struct fixture *f)
{
    struct plain_row rows[] = {sample("a"), sample("ünï 'code' \"%_\\"), sample("done")};
    rows[2].status = TH_STATUS_COMPLETED;
    rows[2].completed = 3000;
    rows[2].output = "output";
    rows[2].input = NULL;
    rows[2].last = UINT64_C(1) << 62;
    rows[2].created = -5; /* before 1970 */
    EXPECT(f, projected(f, 3, 0, rows, TH_COUNT(rows)));
    for (size_t i = 0; i < TH_COUNT(rows); i++) {
        EXPECT(f, row_is(f, 3, &rows[i], ""));
    }
}

void case_row_upsert(struct fixture *f)
{
    struct plain_row row = sample("a");
    EXPECT(f, projected(f, 0, 0, &row, 1));
    row.last = 9;
    row.status = TH_STATUS_FAILED;
    row.created = 1001;
    row.updated = 5000;
    row.completed = 4000;
    row.name = "Other";
    row.info = "more info";
    row.state = "";
    row.input = NULL; /* a row is replaced whole: what it lacks is gone */
    row.output = "output";
    EXPECT(f, projected(f, 0, 1, &row, 1));
    EXPECT(f, row_is(f, 0, &row, ""));

    struct plain_row twice[] = {sample("b"), sample("b")}; /* in one batch: in order */
    twice[1].name = "Last";
    EXPECT(f, projected(f, 0, 2, twice, 2));
    EXPECT(f, row_is(f, 0, &twice[1], ""));
}

void case_row_history(struct fixture *f)
{
    struct plain_row row = sample("a");
    row.history = "one;";
    EXPECT(f, projected(f, 0, 0, &row, 1));
    row.history = "two;";
    EXPECT(f, projected(f, 0, 1, &row, 1));
    row.history = NULL;
    EXPECT(f, projected(f, 0, 2, &row, 1));
    EXPECT(f, row_is(f, 0, &row, "one;two;"));

    const struct th_completion *lean = result(f, ask_load(f, 0, "a", false));
    EXPECT(f, lean && lean->error.code == TH_OK && lean->row_count == 1);
    EXPECT(f, lean->rows[0].history_count == 0 && blob_is(lean->rows[0].state, "state"));

    struct plain_row batch[] = {row, row};
    batch[0].replace_history = true;
    batch[0].history = "three;";
    batch[1].history = "four;";
    EXPECT(f, projected(f, 0, 3, batch, 2));
    EXPECT(f, row_is(f, 0, &row, "three;four;"));
    row.replace_history = true; /* by nothing */
    EXPECT(f, projected(f, 0, 4, &row, 1));
    EXPECT(f, row_is(f, 0, &row, ""));
}

void case_row_delete(struct fixture *f)
{
    struct plain_row rows[] = {sample("a"), sample("b")};
    rows[0].history = "one;";
    EXPECT(f, projected(f, 0, 0, rows, 2));
    struct plain_row gone[] = {sample("a"), sample("never was")};
    gone[0].deleted = gone[1].deleted = true;
    EXPECT(f, projected(f, 0, 1, gone, 2));
    EXPECT(f, row_absent(f, 0, "a") && row_is(f, 0, &rows[1], ""));

    rows[0].history = "new;";
    EXPECT(f, projected(f, 0, 2, rows, 1)); /* re-created: without the old history */
    EXPECT(f, row_is(f, 0, &rows[0], "new;"));
    struct plain_row again[] = {gone[0], sample("a")};
    again[1].history = "newest;";
    EXPECT(f, projected(f, 0, 3, again, 2));
    EXPECT(f, row_is(f, 0, &again[1], "newest;"));
}

void case_row_absent_and_partitions(struct fixture *f)
{
    struct plain_row here = sample("a");
    struct plain_row there = sample("a");
    there.name = "There";
    EXPECT(f, row_absent(f, 0, "a"));
    EXPECT(f, projected(f, 0, 0, &here, 1));
    EXPECT(f, row_absent(f, 1, "a") && row_absent(f, 0, "A") && row_absent(f, 0, "aa"));
    EXPECT(f, projected(f, 1, 0, &there, 1));
    EXPECT(f, row_is(f, 0, &here, "") && row_is(f, 1, &there, ""));
}

void case_row_zero_length(struct fixture *f)
{
    struct plain_row rows[] = {sample("absent"), sample("empty")};
    rows[0].input = rows[0].output = NULL;
    rows[1].input = rows[1].output = "";
    EXPECT(f, projected(f, 0, 0, rows, 2));
    EXPECT(f, row_is(f, 0, &rows[0], "") && row_is(f, 0, &rows[1], ""));
}

void case_row_reopen(struct fixture *f)
{
    struct plain_row row = sample("a");
    row.history = "one;";
    EXPECT(f, projected(f, 0, 0, &row, 1));
    EXPECT(f, reopen(f));
    EXPECT(f, watermark_is(f, 0, 0) && row_is(f, 0, &row, "one;"));
    row.history = "two;";
    EXPECT(f, projected(f, 0, 1, &row, 1));
    EXPECT(f, row_is(f, 0, &row, "one;two;"));
}

static char *large_text(size_t len, unsigned seed)
{
    char *text = th_alloc(len + 1);
    for (size_t i = 0; i < len; i++) {
        text[i] = (char)('a' + (i * 7 + (i >> 10) + seed) % 26);
    }
    return text;
}

void case_big_rows(struct fixture *f)
{
    TH_AUTOFREE char *input = large_text(20 << 20, 1);
    TH_AUTOFREE char *history = large_text(20 << 20, 2);
    struct plain_row row = sample("big");
    row.input = input;
    row.history = history;
    EXPECT(f, projected(f, 0, 0, &row, 1));
    EXPECT(f, row_is(f, 0, &row, history));
}

/*
 * Cases about queries. The hub they look at holds 60 rows spread over the partitions:
 * row i is "a_00" … "B%59", created at 100 * (i / 3) so that three share each time, its status
 * and name by turns; every third has ended, 50 later.
 */
#include <stdio.h>

#include "base/memory.h"
#include "contract/conformance.h"

enum { ROWS = 60 };

static const enum th_status statuses[] = {TH_STATUS_RUNNING, TH_STATUS_PENDING,
                                          TH_STATUS_COMPLETED};

static struct plain_row row_number(struct fixture *f, unsigned i)
{
    static const char *const prefixes[] = {"a_", "ab", "B%"};
    static const char *const names[] = {"Hello", "hello", "World", "HELLO2"};
    enum th_status status = statuses[i % TH_COUNT(statuses)];
    th_time created = 100 * (th_time)(i / 3);
    return (struct plain_row){
        .id = text_of(f, "%s%02u", prefixes[i % 3 == 0 ? 2 : i % 3 - 1], i),
        .last = i,
        .status = status,
        .created = created,
        .updated = created + 60,
        .completed = status == TH_STATUS_COMPLETED ? created + 50 : TH_TIME_NONE,
        .name = names[i % TH_COUNT(names)],
        .info = text_of(f, "info %u", i),
        .state = "state",
        .input = text_of(f, "input %u", i),
        .output = status == TH_STATUS_COMPLETED ? "output" : NULL,
        .history = "events;",
    };
}

/* Rows from `first` up to `end`, projected as batch n. */
static bool fill(struct fixture *f, unsigned first, unsigned end, int64_t n)
{
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        struct plain_row rows[ROWS];
        size_t count = 0;
        for (unsigned i = first; i < end; i++) {
            if (i * 7 % PARTITIONS == p) {
                rows[count++] = row_number(f, i);
            }
        }
        if (!projected(f, p, n, rows, count)) {
            return false;
        }
    }
    return true;
}

static struct th_query everything(uint32_t limit)
{
    return (struct th_query){.from = TH_TIME_NONE,
                             .to = TH_TIME_NONE,
                             .completed_from = TH_TIME_NONE,
                             .completed_to = TH_TIME_NONE,
                             .limit = limit};
}

/* All pages of a query in one list. */
struct found {
    struct th_row rows[4 * ROWS];
    size_t count, pages;
};

static bool has_size(const struct th_completion *page, size_t most)
{
    size_t bytes = 0;
    for (size_t i = 0; i < page->row_count; i++) {
        bytes += th_query_row_bytes(&page->rows[i]);
    }
    return most == 0 || page->row_count == 1 || bytes <= most;
}

static bool next_page(struct fixture *f, const struct th_query *query, struct found *all,
                      const char **continuation)
{
    const struct th_completion *done = result(f, ask_query(f, query));
    REQUIRE(f, done && done->error.code == TH_OK);
    REQUIRE(f, done->row_count <= query->limit);
    REQUIRE(f, all->count + done->row_count <= TH_COUNT(all->rows));
    REQUIRE(f, has_size(done, query->bytes));
    for (size_t i = 0; i < done->row_count; i++) {
        all->rows[all->count++] = done->rows[i];
    }
    all->pages++;
    *continuation = done->continuation;
    return true;
}

static bool find(struct fixture *f, struct th_query query, struct found *all)
{
    const char *continuation = NULL;
    *all = (struct found){0};
    do {
        query.continuation = th_str_of(continuation);
        REQUIRE(f, all->pages < TH_COUNT(all->rows));
        if (!next_page(f, &query, all, &continuation)) {
            return false;
        }
    } while (continuation);
    for (size_t i = 1; i < all->count; i++) {
        REQUIRE(f, th_row_order(&all->rows[i - 1], &all->rows[i]) < 0);
    }
    return true;
}

typedef bool chosen(const struct plain_row *row);

/* What was found is exactly what `is_chosen` says of rows 0 to `end`, with their columns. */
static bool found_exactly(struct fixture *f, const struct found *all, unsigned end,
                          chosen *is_chosen)
{
    size_t expected = 0;
    for (unsigned i = 0; i < end; i++) {
        struct plain_row row = row_number(f, i);
        size_t at = 0;
        while (at < all->count && !th_str_eq(all->rows[at].instance_id, th_str_of(row.id))) {
            at++;
        }
        REQUIRE(f, (at < all->count) == is_chosen(&row));
        if (at < all->count) {
            const struct th_row *got = &all->rows[at];
            REQUIRE(f, got->status == row.status && got->created == row.created);
            REQUIRE(f, got->completed == row.completed && got->updated == row.updated);
            REQUIRE(f, th_str_eq(got->name, th_str_of(row.name)));
            REQUIRE(f, blob_is(got->info, row.info) && got->history_count == 0);
            expected++;
        }
    }
    REQUIRE(f, all->count == expected);
    return true;
}

static bool any(const struct plain_row *row)
{
    return true;
}

void case_query_order(struct fixture *f)
{
    struct found all;
    EXPECT(f, find(f, everything(100), &all));
    EXPECT(f, all.count == 0);
    EXPECT(f, fill(f, 0, ROWS, 0));
    EXPECT(f, find(f, everything(1000), &all)); /* find checks the order */
    EXPECT(f, all.pages == 1 && found_exactly(f, &all, ROWS, any));
}

static bool runs_or_waits(const struct plain_row *row)
{
    return row->status == TH_STATUS_RUNNING || row->status == TH_STATUS_PENDING;
}

static bool completed(const struct plain_row *row)
{
    return row->status == TH_STATUS_COMPLETED;
}

void case_query_status(struct fixture *f)
{
    struct found all;
    struct th_query query = everything(100);
    EXPECT(f, fill(f, 0, ROWS, 0));
    query.statuses = TH_STATUS_BIT(TH_STATUS_COMPLETED);
    EXPECT(f, find(f, query, &all) && found_exactly(f, &all, ROWS, completed));
    query.statuses = TH_STATUS_BIT(TH_STATUS_RUNNING) | TH_STATUS_BIT(TH_STATUS_PENDING);
    EXPECT(f, find(f, query, &all) && found_exactly(f, &all, ROWS, runs_or_waits));
    query.statuses = TH_STATUS_BIT(TH_STATUS_FAILED);
    EXPECT(f, find(f, query, &all) && all.count == 0);
}

static bool created_between(const struct plain_row *row)
{
    return row->created >= 300 && row->created < 700;
}

static bool created_later(const struct plain_row *row)
{
    return row->created >= 300;
}

static bool created_earlier(const struct plain_row *row)
{
    return row->created < 700;
}

void case_query_created(struct fixture *f)
{
    struct found all;
    struct th_query query = everything(100);
    EXPECT(f, fill(f, 0, ROWS, 0));
    query.from = 300; /* included */
    EXPECT(f, find(f, query, &all) && found_exactly(f, &all, ROWS, created_later));
    query.to = 700; /* excluded */
    EXPECT(f, find(f, query, &all) && found_exactly(f, &all, ROWS, created_between));
    query.from = TH_TIME_NONE;
    EXPECT(f, find(f, query, &all) && found_exactly(f, &all, ROWS, created_earlier));
    query.from = query.to;
    EXPECT(f, find(f, query, &all) && all.count == 0);
}

static bool completed_between(const struct plain_row *row)
{
    return row->completed != TH_TIME_NONE && row->completed >= 350 && row->completed < 750;
}

static bool completed_earlier(const struct plain_row *row)
{
    return row->completed != TH_TIME_NONE && row->completed < 750;
}

void case_query_completed(struct fixture *f)
{
    struct found all;
    struct th_query query = everything(100);
    EXPECT(f, fill(f, 0, ROWS, 0));
    query.completed_to = 750; /* excluded; and what has not ended is not before it */
    EXPECT(f, find(f, query, &all) && found_exactly(f, &all, ROWS, completed_earlier));
    query.completed_from = 350; /* included */
    EXPECT(f, find(f, query, &all) && found_exactly(f, &all, ROWS, completed_between));
    query.completed_from = 0;
    query.completed_to = TH_TIME_NONE;
    EXPECT(f, find(f, query, &all) && found_exactly(f, &all, ROWS, completed));
}

static bool begins_a_(const struct plain_row *row)
{
    return th_str_starts(th_str_of(row->id), TH_STR("a_"));
}

static bool begins_percent(const struct plain_row *row)
{
    return th_str_starts(th_str_of(row->id), TH_STR("B%"));
}

/* Bytes are bytes: no wildcards, no folding of case. */
void case_query_prefix(struct fixture *f)
{
    struct found all;
    struct th_query query = everything(100);
    EXPECT(f, fill(f, 0, ROWS, 0));
    query.id_prefix = TH_STR("a_");
    EXPECT(f, find(f, query, &all) && found_exactly(f, &all, ROWS, begins_a_));
    query.id_prefix = TH_STR("B%");
    EXPECT(f, find(f, query, &all) && found_exactly(f, &all, ROWS, begins_percent));
    query.id_prefix = TH_STR("A");
    EXPECT(f, find(f, query, &all) && all.count == 0);
    query.id_prefix = TH_STR("");
    EXPECT(f, find(f, query, &all) && found_exactly(f, &all, ROWS, any));
}

static bool is_hello(const struct plain_row *row)
{
    return th_str_eq_nocase(th_str_of(row->name), TH_STR("hello"));
}

void case_query_name(struct fixture *f)
{
    struct found all;
    struct th_query query = everything(100);
    EXPECT(f, fill(f, 0, ROWS, 0));
    query.name = TH_STR("hELLo");
    EXPECT(f, find(f, query, &all) && found_exactly(f, &all, ROWS, is_hello));
    query.name = TH_STR("Hell%");
    EXPECT(f, find(f, query, &all) && all.count == 0);
}

static bool all_conditions(const struct plain_row *row)
{
    return is_hello(row) && begins_a_(row) && row->created >= 300 && runs_or_waits(row);
}

void case_query_together(struct fixture *f)
{
    struct found all;
    struct th_query query = everything(2);
    EXPECT(f, fill(f, 0, ROWS, 0));
    query.name = TH_STR("HELLO");
    query.id_prefix = TH_STR("a_");
    query.from = 300;
    query.statuses = TH_STATUS_BIT(TH_STATUS_RUNNING) | TH_STATUS_BIT(TH_STATUS_PENDING);
    EXPECT(f, find(f, query, &all) && found_exactly(f, &all, ROWS, all_conditions));
    EXPECT(f, all.count > 4);
}

void case_query_pages(struct fixture *f)
{
    static const uint32_t limits[] = {1, 7, 20, 59, 60, 61};
    EXPECT(f, fill(f, 0, ROWS, 0));
    for (size_t i = 0; i < TH_COUNT(limits); i++) {
        struct found all;
        EXPECT(f, find(f, everything(limits[i]), &all));
        EXPECT(f, found_exactly(f, &all, ROWS, any));
        EXPECT(f, all.pages >= (ROWS + limits[i] - 1) / limits[i]);
        EXPECT(f, all.pages <= ROWS / limits[i] + 1);
    }
}

/* A page has its size or less, and never less than the next row could have been. */
void case_query_page_bytes(struct fixture *f)
{
    static const size_t sizes[] = {1, 20, 50, 100000};
    EXPECT(f, fill(f, 0, ROWS, 0));
    for (size_t i = 0; i < TH_COUNT(sizes); i++) {
        struct found all;
        struct th_query query = everything(1000);
        query.payloads = true;
        query.bytes = sizes[i];
        EXPECT(f, find(f, query, &all));
        EXPECT(f, all.count == ROWS);
        EXPECT(f, sizes[i] > 1 || all.pages == ROWS);
        EXPECT(f, sizes[i] < 100000 || all.pages == 1);
    }
}

/* Rows come while pages are read: those that were there are each seen once, whatever comes. */
void case_query_pages_while_rows_come(struct fixture *f)
{
    struct found all = {0};
    struct th_query query = everything(10);
    const char *continuation = NULL;
    EXPECT(f, fill(f, 15, 45, 0));
    EXPECT(f, next_page(f, &query, &all, &continuation));
    EXPECT(f, continuation != NULL);
    EXPECT(f, fill(f, 0, 15, 1));  /* before the page's end: they are not seen any more */
    EXPECT(f, fill(f, 45, 60, 2)); /* behind it: they are */
    while (continuation) {
        query.continuation = th_str_of(continuation);
        EXPECT(f, all.pages < ROWS && next_page(f, &query, &all, &continuation));
    }
    EXPECT(f, all.count == 45);
    for (size_t i = 0; i < all.count; i++) {
        EXPECT(f, i == 0 || th_row_order(&all.rows[i - 1], &all.rows[i]) < 0);
        EXPECT(f, all.rows[i].last >= 15);
    }
}

void case_query_garbage(struct fixture *f)
{
    static const char *const garbage[] = {"x", "garbage", "000000", "'; drop table instances; --",
                                          "0123456789abcdef0123456789abcdef"};
    EXPECT(f, fill(f, 0, ROWS, 0));
    for (size_t i = 0; i < TH_COUNT(garbage); i++) {
        struct th_query query = everything(10);
        query.continuation = th_str_of(garbage[i]);
        const struct th_completion *done = result(f, ask_query(f, &query));
        EXPECT(f, done && done->error.code == TH_INVALID && done->error.message[0] != '\0');
        EXPECT(f, done->row_count == 0 && !done->continuation);
    }
}

void case_query_payloads(struct fixture *f)
{
    struct found all;
    struct th_query query = everything(100);
    EXPECT(f, fill(f, 0, ROWS, 0));
    EXPECT(f, find(f, query, &all));
    for (size_t i = 0; i < all.count; i++) {
        EXPECT(f, !all.rows[i].input && !all.rows[i].output);
    }
    query.payloads = true;
    EXPECT(f, find(f, query, &all) && all.count == ROWS);
    for (size_t i = 0; i < all.count; i++) {
        struct plain_row row = row_number(f, (unsigned)all.rows[i].last);
        EXPECT(f, blob_is(all.rows[i].input, row.input));
        EXPECT(f, blob_is(all.rows[i].output, row.output));
    }
}

void case_query_deleted(struct fixture *f)
{
    struct found all;
    struct plain_row gone = row_number(f, 8);
    gone.deleted = true;
    EXPECT(f, fill(f, 0, ROWS, 0));
    EXPECT(f, projected(f, 8 * 7 % PARTITIONS, 1, &gone, 1));
    EXPECT(f, find(f, everything(100), &all) && all.count == ROWS - 1);
    for (size_t i = 0; i < all.count; i++) {
        EXPECT(f, all.rows[i].last != 8);
    }
    EXPECT(f, reopen(f) && find(f, everything(100), &all) && all.count == ROWS - 1);
}

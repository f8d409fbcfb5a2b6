/*
 * conformance: what every implementation of provider/contract.h must do, as cases that know
 * nothing but the table of operations. A provider joins with one subject and one line:
 *
 *     int main(void) { return conformance_main(&subject, NULL); }
 *
 * A case is a function that returns at its first unmet expectation and leaves its words in the
 * fixture. It never jumps, so a run against a provider that is broken on purpose (mutation_test)
 * is an ordinary run whose outcome is looked at.
 */
#pragma once

#include "base/arena.h"
#include "base/queue.h"
#include "provider/provider.h"

/* What of contract.h a provider has: a fleet's is made of two halves. */
enum half { WHOLE, LOG_HALF, PROJECTION_HALF };

/* How to get at one provider. A storage outlives its provider: it is opened, closed and opened
 * again; only one provider is open at a time. */
struct subject {
    const char *name;
    enum half half;       /* cases that need the other one are left out */
    const void *argument; /* for the functions below, through the fixture's storage */
    /* Storage of a fresh hub; `number` differs between the hubs of one case. */
    void *(*create)(const struct subject *subject, uint32_t partitions, unsigned number);
    struct th_provider *(*open)(void *storage, struct th_error *error);
    void (*destroy)(void *storage);
    /* Lets one pending thing happen, false when nothing is pending; NULL: the provider has threads
     * of its own and calls the wake-up hook. */
    bool (*pump)(void *storage);
    bool impatient; /* gives up sooner: something that is waited for is known not to come */
    /* Makes every append fail from now on, or stops that; NULL: cannot. */
    void (*fail_appends)(void *storage, bool on);
};

enum { PARTITIONS = 4 };

struct asked {
    enum th_completion_kind kind;
    bool done;
    uint64_t arrived; /* the how-manieth completion it was */
    struct th_completion completion;
};

struct fixture {
    const struct subject *subject;
    void *storage;
    struct th_provider *provider;
    struct th_queue queue; /* only its wake-up is used */
    atomic_uint wakes;
    struct th_arena arena;
    struct asked **asked; /* by tag - FIRST_TAG; the items stay where they are */
    size_t asked_count, asked_capacity;
    uint64_t arrived;
    uint64_t doubted[PARTITIONS]; /* the how-manieth completion a log's last DOUBT was */
    struct th_completion *deliveries;
    size_t delivery_count, delivery_capacity;
    struct th_completion *told; /* replies and news */
    size_t told_count, told_capacity;
    struct {
        const char **items;
        size_t count;
    } ids[PARTITIONS]; /* of the rows that are there after the last `projected` */
    bool failed;
    char failure[512];
};

typedef void conformance_case(struct fixture *f);

struct named_case {
    const char *name;
    conformance_case *run;
    enum half needs; /* WHOLE: both */
    bool heavy;      /* moves tens of megabytes */
};

extern const struct named_case conformance_cases[];
extern const size_t conformance_case_count;

/* Runs one case on a fresh hub. False when it failed: `failure` then says where and why. */
bool conformance_run(const struct subject *subject, const struct named_case *named,
                     char failure[static 512]);

/* All cases as a cmocka group; the number of failed ones. `only` limits them to one name. */
int conformance_main(const struct subject *subject, const char *only);

/* ---- for cases ---- */

bool expect(struct fixture *f, bool holds, const char *text, const char *file, int line);
#define EXPECT(f, condition)                                             \
    do {                                                                 \
        if (!expect((f), (condition), #condition, __FILE__, __LINE__)) { \
            return;                                                      \
        }                                                                \
    } while (0)
/* The same in a function that answers whether to go on. */
#define REQUIRE(f, condition)                                            \
    do {                                                                 \
        if (!expect((f), (condition), #condition, __FILE__, __LINE__)) { \
            return false;                                                \
        }                                                                \
    } while (0)

/* A tag for a submission of this kind; its completion is expected exactly once. */
uint64_t ask(struct fixture *f, enum th_completion_kind kind);
/* Takes what poll has and does not wait; how many completions that were. */
size_t collect(struct fixture *f);
/* Lets something happen; false when nothing more comes (or did not for a long time). */
bool let_happen(struct fixture *f);
/* The completion of a tag, or NULL when it never comes. Borrowed until the fixture ends. */
const struct th_completion *result(struct fixture *f, uint64_t tag);
uint64_t arrival(const struct fixture *f, uint64_t tag); /* 0: not completed */
bool wait_all(struct fixture *f);
bool wait_deliveries(struct fixture *f, size_t count);
/* Waits for reply or news number `i` since the fixture began; NULL when it never comes. */
const struct th_completion *told(struct fixture *f, size_t i);
/* Waits until what was submitted so far has had every chance to show itself. */
bool settle(struct fixture *f);

/* Closes the provider, forgets what was not completed, opens the storage again. */
bool reopen(struct fixture *f);

/* Submissions with a text as the record. The caller's memory is gone when they return. */
uint64_t ask_claim(struct fixture *f, uint32_t partition, const char *text);
uint64_t ask_append(struct fixture *f, uint32_t partition, uint64_t epoch, const char *text);
uint64_t ask_append_blob(struct fixture *f, uint32_t partition, uint64_t epoch, struct th_blob *b);
uint64_t ask_send(struct fixture *f, uint32_t source, uint32_t destination, const char *text);
uint64_t ask_read(struct fixture *f, uint32_t partition, int64_t from, int64_t to);
uint64_t ask_load(struct fixture *f, uint32_t partition, const char *id, bool history);
uint64_t ask_state(struct fixture *f, uint32_t partition);
uint64_t ask_query(struct fixture *f, const struct th_query *query);

/* A text of this case, alive until its end. */
const char *text_of(struct fixture *f, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* A claim that must succeed. */
bool claimed(struct fixture *f, uint32_t partition, uint64_t *epoch);
/* `count` appends "p0 a 0", "p0 a 1", … that must succeed; offsets may be NULL. */
bool appended(struct fixture *f, uint32_t partition, uint64_t epoch, const char *label,
              size_t count, int64_t *offsets);
bool sent(struct fixture *f, uint32_t source, uint32_t destination, const char *label,
          size_t count);

/* The records of a log in [from, to), read in as many pieces as it takes. */
struct records {
    const struct th_log_record *items;
    size_t count;
};

bool read_all(struct fixture *f, uint32_t partition, int64_t from, int64_t to, struct records *out);
bool blob_is(const struct th_blob *blob, const char *text); /* NULL text: absent */

/* ---- projections ---- */

/* A row in plain words. NULL: absent. `history` is at most one chunk. */
struct plain_row {
    const char *id;
    const char *name, *info, *state, *input, *output, *history;
    enum th_status status;
    bool stored, deleted, replace_history;
    th_time created, updated, completed;
    uint64_t last, full;
    const char *news;
};

struct plain_batch {
    uint32_t partition;
    struct th_watermark previous, next;
    bool clear;
    const struct plain_row *rows;
    size_t count;
};

/* As it is given. */
uint64_t ask_batch(struct fixture *f, const struct plain_batch *batch);
/* With next.rows and each row's `stored` as they are, when nothing but `projected` moved the
 * partition. */
uint64_t ask_project(struct fixture *f, uint32_t partition, struct th_watermark previous,
                     struct th_watermark next, const struct plain_row *rows, size_t count);
struct th_watermark mark(int64_t n); /* {n, n + 100, n + 200}; mark(-1): nothing yet */
/* Projects from mark(n - 1) to mark(n), which must succeed. */
bool projected(struct fixture *f, uint32_t partition, int64_t n, const struct plain_row *rows,
               size_t count);
/* The projection was wiped: `projected` begins anew. */
void forget_rows(struct fixture *f);
/* Loads with history and compares every column. */
bool row_is(struct fixture *f, uint32_t partition, const struct plain_row *row,
            const char *history);
bool row_absent(struct fixture *f, uint32_t partition, const char *id);

#define CASES_LOG(X)          \
    X(hub_record)             \
    X(claim_offsets_grow)     \
    X(append_order)           \
    X(read_back)              \
    X(read_bounds)            \
    X(two_epochs)             \
    X(failed_append)          \
    X(failed_is_ordered)      \
    X(record_too_large)       \
    X(trim_log)               \
    X(state_ends)             \
    X(wake_up)                \
    X(exactly_one_completion) \
    X(close_under_way)        \
    X(reopen_keeps_log)

#define CASES_INBOX(X)   \
    X(send_deliver)      \
    X(send_before_open)  \
    X(inbox_reopen)      \
    X(inbox_close_stops) \
    X(inbox_partitions)  \
    X(trim_inbox)        \
    X(reopen_keeps_inbox)

#define CASES_PROJECTION(X)            \
    X(project_compare)                 \
    X(project_refused_changes_nothing) \
    X(row_columns)                     \
    X(row_upsert)                      \
    X(row_history)                     \
    X(row_delete)                      \
    X(row_absent_and_partitions)       \
    X(row_zero_length)                 \
    X(row_reopen)

#define CASES_QUERY(X)             \
    X(query_order)                 \
    X(query_status)                \
    X(query_created)               \
    X(query_completed)             \
    X(query_prefix)                \
    X(query_name)                  \
    X(query_together)              \
    X(query_pages)                 \
    X(query_page_bytes)            \
    X(query_pages_while_rows_come) \
    X(query_garbage)               \
    X(query_payloads)              \
    X(query_deleted)

/* Of shared providers only; they hold for others because they return at once. */
#define CASES_SHARED(X)            \
    X(shared_watermark)            \
    X(shared_building)             \
    X(shared_batch_numbers)        \
    X(shared_stored_rows)          \
    X(shared_rows_count)           \
    X(shared_clear)                \
    X(shared_query_watermarks)     \
    X(shared_walk)                 \
    X(shared_walk_limits)          \
    X(shared_watch)                \
    X(shared_news_of_stored_rows)  \
    X(shared_news_of_other_places) \
    X(shared_reply)

#define CASES_HEAVY_LOG(X)        X(big_records)
#define CASES_HEAVY_PROJECTION(X) X(big_rows)

#define X(name) void case_##name(struct fixture *f);
CASES_LOG(X)
CASES_INBOX(X)
CASES_PROJECTION(X)
CASES_QUERY(X)
CASES_SHARED(X)
CASES_HEAVY_LOG(X)
CASES_HEAVY_PROJECTION(X)
#undef X

/*
 * query: pages of instances in the order of (created, id). The index `listing` has everything a
 * condition needs, in that order, so a page costs the entries it passes over, and a row is read
 * only when it is part of the answer. A token names the last row of the page before, so rows that
 * come or go between two pages move no others.
 */
#include <stdlib.h>

#include "base/memory.h"
#include "provider/provider.h"
#include "provider/sqlite/internal.h"

enum {
    Q_HUB = 1,
    Q_AFTER,
    Q_AFTER_ID,
    Q_TO,
    Q_STATUSES,
    Q_DONE_FROM,
    Q_DONE_TO,
    Q_PREFIX,
    Q_PREFIX_END,
    Q_NAME
};

/* Only the conditions that are asked for stand in the text: the index cannot serve the others.
 * `created` is NULL for no instance. */
static void build(struct th_buffer *sql, const struct th_query *query, bool prefix_end)
{
    th_buffer_text(sql, "SELECT " TH_SQLITE_COLUMNS ", input, output FROM instances"
                        " INDEXED BY listing WHERE hub=?1 AND (created, id)>(?2, ?3)");
    if (query->to != TH_TIME_NONE) {
        th_buffer_text(sql, " AND created<?4");
    }
    if (query->statuses) {
        th_buffer_text(sql, " AND ((1<<status)&?5)!=0");
    }
    if (query->completed_from != TH_TIME_NONE) {
        th_buffer_text(sql, " AND completed>=?6");
    }
    if (query->completed_to != TH_TIME_NONE) {
        th_buffer_text(sql, " AND completed<?7");
    }
    if (th_str_present(query->id_prefix)) {
        th_buffer_text(sql, " AND id>=?8");
    }
    if (prefix_end) {
        th_buffer_text(sql, " AND id<?9");
    }
    if (th_str_present(query->name)) {
        th_buffer_text(sql, " AND name=?10 COLLATE NOCASE");
    }
    th_buffer_text(sql, " ORDER BY created, id");
    th_buffer_add(sql, "", 1);
}

/* The first text behind all that begin with `prefix`; false when there is none. */
static bool behind(struct th_str prefix, struct th_buffer *out)
{
    th_buffer_str(out, prefix);
    while (out->len > 0 && (unsigned char)out->data[out->len - 1] == 0xff) {
        out->len--;
    }
    if (out->len == 0) {
        return false;
    }
    out->data[out->len - 1]++;
    return true;
}

/* The page begins after this place: behind the last page, or just before `from`. */
static bool begin_after(const struct th_query *query, struct th_cursor *after,
                        struct th_error *error)
{
    *after = (struct th_cursor){.created = query->from}; /* TH_TIME_NONE is the least time */
    if (th_str_present(query->continuation)) {
        struct th_cursor page;
        if (!th_cursor_decode(query->continuation, &page, error)) {
            return false;
        }
        if (page.created >= query->from) {
            *after = page;
        } else {
            th_cursor_deinit(&page);
        }
    }
    return true;
}

static void bind(sqlite3_stmt *s, int64_t hub, const struct th_query *query,
                 const struct th_cursor *after, const struct th_buffer *prefix_end)
{
    sqlite3_bind_int64(s, Q_HUB, hub);
    sqlite3_bind_int64(s, Q_AFTER, after->created);
    th_sqlite_bind_str(s, Q_AFTER_ID,
                       after->instance_id ? th_str_n(after->instance_id, after->len) : TH_STR(""));
    sqlite3_bind_int64(s, Q_TO, query->to);
    sqlite3_bind_int64(s, Q_STATUSES, query->statuses);
    sqlite3_bind_int64(s, Q_DONE_FROM, query->completed_from);
    sqlite3_bind_int64(s, Q_DONE_TO, query->completed_to);
    th_sqlite_bind_str(s, Q_PREFIX, query->id_prefix);
    th_sqlite_bind_str(s, Q_PREFIX_END, th_buffer_view(prefix_end));
    th_sqlite_bind_str(s, Q_NAME, query->name);
}

static bool read_row(const struct th_sqlite_db *db, sqlite3_stmt *values, sqlite3_stmt *s,
                     const struct th_query *query, struct th_row *row, struct th_error *error)
{
    return th_sqlite_row(db, values, s, row, error) &&
           (!query->payloads ||
            (th_sqlite_value(db, values, s, TH_COLUMNS, TH_VALUE_INPUT, &row->input, error) &&
             th_sqlite_value(db, values, s, TH_COLUMNS + 1, TH_VALUE_OUTPUT, &row->output, error)));
}

/* The page ends before the row that was read last. */
static void end_page(struct th_completion *out)
{
    th_row_deinit(&out->rows[--out->row_count]);
    out->continuation = th_cursor_encode(&out->rows[out->row_count - 1]);
}

static bool collect(const struct th_sqlite_db *db, sqlite3_stmt *values, sqlite3_stmt *s,
                    const struct th_query *query, struct th_completion *out, struct th_error *error)
{
    size_t capacity = 0;
    size_t bytes = 0;
    int result;
    while ((result = sqlite3_step(s)) == SQLITE_ROW) {
        if (out->row_count == query->limit) {
            out->continuation = th_cursor_encode(&out->rows[out->row_count - 1]);
            return true;
        }
        out->rows = th_grow(out->rows, &capacity, out->row_count + 1, sizeof(*out->rows));
        struct th_row *row = &out->rows[out->row_count++];
        if (!read_row(db, values, s, query, row, error)) {
            return false;
        }
        size_t row_bytes = th_query_row_bytes(row);
        if (th_query_page_ends(query, out->row_count - 1, bytes, row_bytes)) {
            end_page(out);
            return true;
        }
        bytes += row_bytes;
    }
    return result == SQLITE_DONE || th_sqlite_fail(error, db, "read");
}

bool th_sqlite_query(const struct th_sqlite_db *db, int64_t hub, sqlite3_stmt *values,
                     const struct th_query *query, struct th_completion *out,
                     struct th_error *error)
{
    TH_CURSOR after = {0};
    if (!th_query_check(query, error) || !begin_after(query, &after, error)) {
        return false;
    }
    TH_BUFFER end = {0};
    TH_BUFFER sql = {0};
    build(&sql, query, th_str_present(query->id_prefix) && behind(query->id_prefix, &end));
    TH_SQLITE_STMT *s = NULL;
    if (!th_sqlite_prepare(db, sql.data, &s, error)) {
        return false;
    }
    bind(s, hub, query, &after, &end);
    return collect(db, values, s, query, out, error);
}

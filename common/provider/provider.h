/*
 * provider: what implementations of contract.h share, and nothing the node needs besides
 * th_completion_deinit: rows that own what they hold, a queue of completions, the meaning of a
 * query and its page tokens. No locks: each value belongs to one thread at a time.
 *
 * Ownership in a completion: instance_id.data and name.data of each row are separate heap copies,
 * `rows`, `records`, each row's `history` array and `continuation` are heap memory, each blob is
 * one reference. th_completion_deinit frees exactly that, so build rows with th_row_copy.
 */
#pragma once

#include "provider/contract.h"

#define TH_WATERMARK_NONE ((struct th_watermark){.offset = -1, .floor = -1, .settled = -1})

bool th_watermark_equal(const struct th_watermark *a, const struct th_watermark *b);

/* Fills `to` (its old content is overwritten) with copies of the strings, references to the blobs
 * and a copy of the history's array. Absent stays absent, empty stays empty. */
void th_row_copy(struct th_row *to, const struct th_row *from);
/* Frees what th_row_copy made and clears the row. */
void th_row_deinit(struct th_row *row);

/* ---- completions waiting for poll ---- */

struct th_completions {
    struct th_completion *items;
    size_t first, end, capacity; /* items[first..end) wait */
};

/* Takes over what `completion` holds. True when the queue was empty: time to wake the node. */
bool th_completions_push(struct th_completions *queue, const struct th_completion *completion);
/* Moves up to `max` of the oldest to `out`, which then owns what they hold. */
size_t th_completions_pop(struct th_completions *queue, struct th_completion *out, size_t max);
/* Drops the deliveries of one inbox: after inbox_close nothing of it may come out any more. */
void th_completions_drop_deliveries(struct th_completions *queue, uint32_t partition);
void th_completions_deinit(struct th_completions *queue);

/* Calls the provider's wake-up hook, if it has one. */
void th_provider_wake(const struct th_provider *provider);

/* A completion that only says what went wrong. */
struct th_completion th_completion_failed(enum th_completion_kind kind, uint32_t partition,
                                          uint64_t tag, enum th_code code, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

const char *th_completion_kind_text(enum th_completion_kind kind); /* "append" */

/* ---- queries ---- */

/* Where a page ended: the next one begins with the first row after (created, id). */
struct th_cursor {
    th_time created;
    char *instance_id; /* heap; `len` bytes */
    size_t len;
};

void th_cursor_deinit(struct th_cursor *cursor);
#define TH_CURSOR __attribute__((cleanup(th_cursor_deinit))) struct th_cursor

/* The token of the page after `row`; the caller frees it. */
char *th_cursor_encode(const struct th_row *row);
/* False, with INVALID, for anything th_cursor_encode did not make. */
bool th_cursor_decode(struct th_str token, struct th_cursor *out, struct th_error *error);

/* Whether a query can be asked at all: its limit; INVALID otherwise. */
bool th_query_check(const struct th_query *query, struct th_error *error);
/* Whether a row meets every condition; the continuation is not one of them. */
bool th_query_matches(const struct th_query *query, const struct th_row *row);
/* What a row counts for in a page. */
size_t th_query_row_bytes(const struct th_row *row);
/* Whether the page ends before a row of so many bytes; a page holds one row whatever its size. */
bool th_query_page_ends(const struct th_query *query, size_t rows, size_t bytes, size_t next_bytes);
/* The order of a query's result: by creation, then by id. As for strcmp. */
int th_row_order(const struct th_row *a, const struct th_row *b);

/*
 * broken_shared: as broken.h, for what only shared providers promise. It wraps one that has at
 * least the projection's half; see redis_mutation_test.c.
 */
#pragma once

#include "provider/provider.h"

/* name, the case that must notice (others may, too), what is wrong */
#define SHARED_MUTATIONS(X)                                                                      \
    X(LOSE_FLOOR, shared_watermark, "the watermark's floor is lost")                             \
    X(FORGET_BUILDING, shared_building, "whether rows are being made again is forgotten")        \
    X(FORGET_BATCH, shared_batch_numbers, "batches have no numbers")                             \
    X(FORGET_STORED, shared_stored_rows, "what a batch knows of its rows is not looked at")      \
    X(MISCOUNT, shared_rows_count, "a batch with a wrong number of rows is called good")         \
    X(CLEAR_LATER, shared_clear, "a batch that clears leaves the old rows")                      \
    X(NO_WATERMARKS, shared_query_watermarks, "a page does not say how far its rows go")         \
    X(WRONG_WATERMARKS, shared_query_watermarks, "a page's watermarks are those of neighbours")  \
    X(WALK_ALL, shared_walk, "a walk shows rows whatever their last full copy")                  \
    X(WALK_LEAN, shared_walk, "a walk leaves out histories")                                     \
    X(WALK_NO_LIMIT, shared_walk_limits, "a walk shows more rows than were asked for")           \
    X(WALK_INCLUDES, shared_walk_limits, "a walk includes its bound")                            \
    X(SILENT_WATCH, shared_watch, "that news will come is not told")                             \
    X(NEWS_TOO_EARLY, shared_news_of_stored_rows, "news are told before their row is stored")    \
    X(WATCH_FOR_EVER, shared_news_of_other_places, "news go on when they are no longer wanted")  \
    X(NEWS_OF_ANYWHERE, shared_news_of_other_places, "news are said to be of another partition") \
    X(LOSE_REPLY, shared_reply, "an empty reply is lost")

enum shared_mutation {
    SHARED_MUTATION_NONE,
#define X(name, case_name, text) SHARED_MUTATION_##name,
    SHARED_MUTATIONS(X)
#undef X
};

/* Takes over `inner`. NULL stays NULL. */
struct th_provider *broken_shared_open(struct th_provider *inner, enum shared_mutation mutation);

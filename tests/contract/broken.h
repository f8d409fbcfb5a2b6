/*
 * broken: a provider that breaks one promise of the contract on purpose, around a good one. If the
 * suite cannot tell it from a good one, the suite is not worth its name: see mutation_test.c.
 */
#pragma once

#include "provider/provider.h"

/* name, the case that must notice (others may, too), what is wrong */
#define MUTATIONS(X)                                                                             \
    X(WRONG_INCARNATION, hub_record, "each opening has another incarnation")                     \
    X(CLAIM_NOT_LOGGED, claim_offsets_grow, "a claim gets an offset but no place in the log")    \
    X(SWAP_APPENDS, append_order, "neighbouring appends are exchanged")                          \
    X(SWAP_APPEND_DONE, append_order, "neighbouring appends are completed in exchanged order")   \
    X(OFFSET_TOO_HIGH, append_order, "appends are told the offset of the next one")              \
    X(LOSE_APPEND, read_back, "a record is lost in the middle")                                  \
    X(DAMAGE_RECORD, read_back, "a record's last byte is changed")                               \
    X(READ_WRONG_LOG, read_back, "partition 2 is read from partition 3")                         \
    X(READ_INCLUDES_TO, read_bounds, "a read includes its upper bound")                          \
    X(READ_SKIPS_FROM, read_bounds, "a read begins after its lower bound")                       \
    X(READ_NEVER_LAST, read_bounds, "a read never says that it is the last")                     \
    X(OLD_EPOCH_BREAKS_NEW, two_epochs, "a late append makes the owner's fail")                  \
    X(GO_ON_AFTER_FAILURE, failed_append, "after a failed append the epoch goes on")             \
    X(SEND_IN_SPITE, failed_is_ordered, "a send behind a failed append goes out")                \
    X(NO_LIMIT, record_too_large, "a record over the limit is taken and lost")                   \
    X(TRIM_TOO_FAR, trim_log, "a log is trimmed one record too far")                             \
    X(STATE_END, state_ends, "the state's log end is one too low")                               \
    X(STATE_INBOX_END, state_ends, "the state's inbox end is one too low")                       \
    X(STATE_WATERMARK, state_ends, "the state's watermark is never told")                        \
    X(NEVER_WAKE, wake_up, "the wake-up hook is not called")                                     \
    X(COMPLETE_TWICE, exactly_one_completion, "a load is completed twice")                       \
    X(LOSE_COMPLETION, exactly_one_completion, "a query is never completed")                     \
    X(WRONG_TAG, exactly_one_completion, "tags are clipped to 32 bits")                          \
    X(ACK_TOO_EARLY, close_under_way, "appends are acknowledged before they are written")        \
    X(ACK_TOO_EARLY_TOO, reopen_keeps_log, "the same, as seen by another case")                  \
    X(SWAP_SENDS, send_deliver, "neighbouring sends of a source are exchanged")                  \
    X(DELIVER_TWICE, send_deliver, "a message is delivered twice")                               \
    X(LOSE_SEND, send_before_open, "a message is acknowledged and lost")                         \
    X(OPEN_FROM_START, inbox_reopen, "an inbox always opens from its start")                     \
    X(OPEN_SKIPS, inbox_reopen, "an inbox opens after the offset it is given")                   \
    X(CLOSE_IGNORED, inbox_close_stops, "deliveries go on after inbox_close")                    \
    X(DELIVER_WRONG_PARTITION, inbox_partitions, "inbox 1 also shows what comes for 3")          \
    X(TRIM_INBOX_TOO_FAR, trim_inbox, "an inbox is trimmed one message too far")                 \
    X(SEND_ACK_TOO_EARLY, reopen_keeps_inbox, "sends are acknowledged before they are written")  \
    X(FORGET_WATERMARK, project_compare, "the previous watermark is not looked at")              \
    X(WATERMARK_OFFSET_ONLY, project_compare, "only the watermark's offset is looked at")        \
    X(REFUSED_IS_APPLIED, project_refused_changes_nothing, "a refused batch is applied")         \
    X(ROW_TIMES, row_columns, "the time of completion is lost")                                  \
    X(ROW_KEEPS_INPUT, row_upsert, "an upsert without input keeps the old one")                  \
    X(KEEP_HISTORY, row_history, "replace_history is ignored")                                   \
    X(LOSE_HISTORY, row_history, "history is always replaced")                                   \
    X(HISTORY_UNASKED, row_history, "a load without history brings it")                          \
    X(IGNORE_DELETE, row_delete, "deleted rows stay")                                            \
    X(LOAD_ANY_PARTITION, row_absent_and_partitions, "a row is loaded wherever it lies")         \
    X(EMPTY_IS_ABSENT, row_zero_length, "an empty input is stored as none")                      \
    X(ABSENT_IS_EMPTY, row_zero_length, "an absent output is stored as empty")                   \
    X(PROJECT_ACK_TOO_EARLY, row_reopen, "projections are acknowledged before they are written") \
    X(REVERSE, query_order, "the newest rows come first")                                        \
    X(ANY_STATUS, query_status, "the status condition is ignored")                               \
    X(TO_INCLUDED, query_created, "the upper bound of creation is included")                     \
    X(FROM_EXCLUDED, query_created, "the lower bound of creation is excluded")                   \
    X(RUNNING_HAS_ENDED, query_completed, "the conditions on the end are ignored")               \
    X(PREFIX_FOLDS_CASE, query_prefix, "an upper-case prefix finds lower-case ids")              \
    X(NAME_BY_CASE, query_name, "names are compared with their case")                            \
    X(LAST_CONDITION_WINS, query_together, "with a name, the prefix is ignored")                 \
    X(PAGE_GAP, query_pages, "the last row of a page is left out")                               \
    X(NO_LIMIT_ON_PAGES, query_pages, "every page holds all rows")                               \
    X(NO_SIZE_OF_PAGES, query_page_bytes, "a page may be as large as it likes")                  \
    X(PAGE_BY_COUNT, query_pages_while_rows_come, "pages go on by number, not by place")         \
    X(ACCEPT_GARBAGE, query_garbage, "any token is an empty page")                               \
    X(PAYLOADS_UNASKED, query_payloads, "payloads come unasked")                                 \
    X(NO_PAYLOADS, query_payloads, "payloads never come")                                        \
    X(QUERY_SHOWS_DELETED, query_deleted, "deleted rows are marked, not dropped")                \
    X(CUT_BIG_RECORDS, big_records, "records are cut at 1 MiB")                                  \
    X(CUT_BIG_INPUTS, big_rows, "inputs are cut at 16 MiB")

enum mutation {
    MUTATION_NONE,
#define X(name, case_name, text) MUTATION_##name,
    MUTATIONS(X)
#undef X
};

/* Takes over `inner`. NULL stays NULL. */
struct th_provider *broken_open(struct th_provider *inner, enum mutation mutation);

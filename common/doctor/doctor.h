/*
 * doctor: says of a hub, from what is stored of it and nothing else, whether it is well: every
 * instance has ended or waits for something that can come; every message was consumed once; the
 * projection says what the log says; the invariants I1 to I5 of the architecture hold as far as the
 * topics show them. It is fed by whoever can read the hub, and does no I/O itself.
 *
 *     rows, watermarks ─▶ logs ─▶ inboxes, activities ─▶ who works on it ─▶ judge ─▶ findings
 *
 * In this order, so that a hub may go on meanwhile: a row read first is found again in the log read
 * later, a message that a log calls sent is in the inbox that is read after it. What may be a
 * matter of time on a running hub has to be found twice; that is left to the caller.
 *
 * The log is folded with the product's own core (partition.h), record by record, and rows come out
 * of it as an owner would make them; so the comparison with the stored rows is exact at the record
 * that each of them reflects. Memory: about what the rows are without their histories, and a few
 * words for each message between partitions.
 *
 * One thread at a time. Nothing is kept of what it is fed but copies and references to blobs.
 */
#pragma once

#include "partition/partition.h"

struct th_doctor;

enum th_doctor_severity {
    TH_DOCTOR_NOTE,   /* worth knowing, nothing is wrong */
    TH_DOCTOR_STUCK,  /* something does not go on that should */
    TH_DOCTOR_DAMAGE, /* what is stored contradicts itself */
};

/* kind, severity, name in JSON, what it means */
#define TH_DOCTOR_KINDS(X)                                                                         \
    X(LOG_UNREADABLE, DAMAGE, "log-unreadable", "a record of a log cannot be read")                \
    X(LOG_HOLE, DAMAGE, "log-hole", "records are missing within a log")                            \
    X(LOG_START, DAMAGE, "log-start", "a log that was cleaned does not begin with a checkpoint")   \
    X(LOG_END, DAMAGE, "log-end", "the projection knows more than the log: that lost its end")     \
    X(SEQUENCE_SKIPPED, DAMAGE, "sequence-skipped", "I1: an owner's record is missing")            \
    X(SEQUENCE_REPEATED, DAMAGE, "sequence-repeated", "I1: an owner wrote a record twice")         \
    X(EPOCH_UNKNOWN, DAMAGE, "epoch-unknown", "I1: a record follows from no claim of the log")     \
    X(POSITION_BACK, DAMAGE, "position-back", "the inbox position went back")                      \
    X(POSITION_AHEAD, DAMAGE, "position-ahead", "the inbox position passed messages not consumed") \
    X(CONSUMED_TWICE, DAMAGE, "consumed-twice", "a message was consumed by two records")           \
    X(LOCAL_TWICE, DAMAGE, "local-twice", "a local message was consumed that was not there")       \
    X(ANSWER_TWICE, DAMAGE, "answer-twice", "a history holds an answer that nobody waited for")    \
    X(VECTOR, DAMAGE, "vector", "I3: what was accepted of a partition is not what the log says")   \
    X(MESSAGE_LOST, DAMAGE, "message-lost", "a message was sent, but is not where it was sent to") \
    X(MESSAGE_UNFOUNDED, DAMAGE, "message-unfounded",                                              \
      "I2: a message follows from no valid record")                                                \
    X(MESSAGE_UNREADABLE, DAMAGE, "message-unreadable", "a message cannot be read")                \
    X(INBOX_TRIMMED, DAMAGE, "inbox-trimmed", "messages were dropped before they were consumed")   \
    X(ACTIVITY_LOST, STUCK, "activity-lost", "an activity is waited for that nobody has to run")   \
    X(ROW_MISSING, DAMAGE, "row-missing", "the projection lacks an instance")                      \
    X(ROW_STALE, DAMAGE, "row-stale", "a row is older than its projection's watermark")            \
    X(ROW_DIFFERS, DAMAGE, "row-differs", "a row says something else than the log")                \
    X(ROW_UNFOUNDED, DAMAGE, "row-unfounded", "I2: a row follows from no valid record")            \
    X(ROW_COUNT, DAMAGE, "row-count", "the projection does not hold as many rows as it says")      \
    X(PROJECTION_AWAY, NOTE, "projection-away", "the projection was not looked at")                \
    X(PROJECTION_BUILDING, NOTE, "projection-building", "the projection is made again")            \
    X(NOT_OWNED, STUCK, "not-owned", "workers are there, but none owns the partition")             \
    X(TROUBLE, STUCK, "trouble", "its owner cannot work on a partition")                           \
    X(INSTANCE_STUCK, STUCK, "instance-stuck", "an instance waits for what will not come")

enum th_doctor_kind {
#define X(name, severity, text, meaning) TH_DOCTOR_##name,
    TH_DOCTOR_KINDS(X)
#undef X
};

const char *th_doctor_kind_text(enum th_doctor_kind kind);    /* "log-hole" */
const char *th_doctor_kind_meaning(enum th_doctor_kind kind); /* the sentence */
enum th_doctor_severity th_doctor_severity(enum th_doctor_kind kind);
const char *th_doctor_severity_text(enum th_doctor_severity severity); /* "damage" */

struct th_doctor_options {
    const char *hub;
    uint64_t incarnation;
    uint32_t partitions, activity_partitions;
    struct th_provider_traits traits;
    th_time now;   /* of the look, wall clock */
    th_time grace; /* what is overdue for longer is stuck */
};

struct th_doctor *th_doctor_new(const struct th_doctor_options *options);
void th_doctor_free(struct th_doctor *d); /* NULL is fine */

/* ---- the projection, first --------------------------------------------------------------------
 */

/* Where the projection of a partition stood before its rows were read, and how many there really
 * were (UINT64_MAX: they contradict each other). */
void th_doctor_watermark(struct th_doctor *d, uint32_t partition, const struct th_watermark *mark,
                         uint64_t stored_rows);
/* It was not looked at: why. */
void th_doctor_projection_away(struct th_doctor *d, const char *why);
/* A row with its whole history. */
void th_doctor_row(struct th_doctor *d, uint32_t partition, const struct th_row *row);

/* ---- then the logs ----------------------------------------------------------------------------
 */

/* Retained are [start, end). Every record follows, in order, then the end. */
void th_doctor_log(struct th_doctor *d, uint32_t partition, int64_t start, int64_t end);
void th_doctor_record(struct th_doctor *d, uint32_t partition, int64_t offset,
                      struct th_blob *bytes);
void th_doctor_log_done(struct th_doctor *d, uint32_t partition);

/* ---- then what travels ------------------------------------------------------------------------
 */

/* NULL: it cannot be read. */
void th_doctor_inbox(struct th_doctor *d, uint32_t partition, int64_t start, int64_t end);
void th_doctor_message(struct th_doctor *d, uint32_t partition, int64_t offset,
                       struct th_blob *bytes);

/* Of a partition of the activity messages; everything below `committed` is finished. */
void th_doctor_activities(struct th_doctor *d, uint32_t partition, int64_t start, int64_t end,
                          int64_t committed);
void th_doctor_activity(struct th_doctor *d, uint32_t partition, int64_t offset,
                        struct th_blob *bytes);

/* ---- then who works on it ---------------------------------------------------------------------
 */

/* There is a worker. Without any the hub is stopped, and waiting for one is no trouble. */
void th_doctor_worker(struct th_doctor *d, const char *name);
void th_doctor_owner(struct th_doctor *d, uint32_t partition, const char *name);
void th_doctor_trouble(struct th_doctor *d, uint32_t partition, const char *trouble);
/* Work of this function waits, and no program serves it, as its owner says. */
void th_doctor_unserved(struct th_doctor *d, enum th_function_kind kind, struct th_str name);

/* ---- what it says -----------------------------------------------------------------------------
 */

/* Once, after everything was fed. */
void th_doctor_judge(struct th_doctor *d);

struct th_doctor_finding {
    enum th_doctor_kind kind;
    int32_t partition;       /* -1: of none */
    const char *instance_id; /* NULL: of none */
    const char *text;        /* a sentence */
};
/* In the order of finding; NULL at the end. */
const struct th_doctor_finding *th_doctor_finding(const struct th_doctor *d, size_t index);

enum th_doctor_state {
    TH_DOCTOR_ENDED,   /* terminal */
    TH_DOCTOR_RESTING, /* an entity without anything to do */
    TH_DOCTOR_WAITING, /* for what `text` says */
    TH_DOCTOR_STUCK_STATE,
};
const char *th_doctor_state_text(enum th_doctor_state state);

struct th_doctor_instance {
    struct th_str instance_id, name;
    enum th_status status;
    enum th_doctor_state state;
    th_time created, updated;
    uint32_t partition;
    const char *text; /* what it waits for, or why it is stuck; empty when it has ended */
};
/* In any order; those that only a message in an inbox knows included. */
void th_doctor_each(const struct th_doctor *d,
                    void (*visit)(void *argument, const struct th_doctor_instance *instance),
                    void *argument);

struct th_doctor_counts {
    uint64_t claims, valid, fenced, foreign; /* records: valid; of owners that were replaced; of an
                                                earlier hub of this name */
    uint64_t consumed_locally;
    uint64_t messages, repeated, waiting; /* in inboxes; sent again and dropped; not consumed yet */
    uint64_t sent, found, trimmed;        /* between partitions; of these there; dropped since */
    uint64_t from_before;                 /* follow from records that were cleaned away */
    uint64_t activities, activities_repeated;
    uint64_t rows, equal, older; /* compared; equal; of records that were cleaned away */
    uint64_t ended, resting, waiting_instances, stuck;
    uint64_t workers;
};
void th_doctor_count(const struct th_doctor *d, struct th_doctor_counts *out);

/* Nothing is stuck or damaged. */
bool th_doctor_healthy(const struct th_doctor *d);

/*
 * internal: what the files of this folder share.
 *
 *   doctor.c      making and freeing, findings
 *   log.c         records: validity, what each consumed, the fold
 *   projection.c  rows as the log has them, and as they are stored
 *   traffic.c     what was sent against what is there
 *   instance.c    what each instance waits for
 */
#pragma once

#include <uthash.h>

#include "base/buffer.h"
#include "base/hash.h"
#include "base/memory.h"
#include "doctor/doctor.h"
#include "partition/inspect.h"
#include "provider/provider.h"

/* A row, with what matters of its history. */
struct image {
    bool present;
    struct th_row row; /* without history */
    uint32_t crc;
    size_t len;
};

/* An instance, as the projection has it and as the log says it. */
struct seat {
    UT_hash_handle hh; /* part->seats */
    char *id;
    struct image stored, folded;
    uint64_t due;     /* the last record of it that the watermark covers */
    uint64_t deleted; /* stamp of its last purge; 0: none since it was made */
    bool compared;
    enum th_doctor_state state; /* as it was judged, with a text that is NULL before: */
    char *text;
    char *name;
    enum th_status status;
    th_time created, updated;
};

/* A message that has not reached its instance. */
struct travelling {
    struct travelling *next; /* of the same instance */
    enum th_event_kind kind;
    int32_t related_id;
    char *execution_id; /* NULL: any */
    const char *where;
    bool parked, taken_up; /* of the log, not of an inbox */
    th_time not_before, since;
};

struct address {
    UT_hash_handle hh; /* d->addresses */
    char *id;
    struct travelling *first;
    struct th_inspect_pending *pending; /* strings are copies in d->arena */
    size_t pending_count, pending_capacity;
    char *name; /* of the orchestrator of a start that travels; NULL: none does */
};

/* What a record sent, by its origin. */
struct sent_key {
    uint64_t sequence;
    uint32_t partition, index;
    uint64_t activity; /* as wide as the sequence: no padding */
};

struct sent {
    UT_hash_handle hh; /* d->sent */
    struct sent_key key;
    uint64_t record;
    uint32_t destination;
    bool there, accepted;
    int64_t offset; /* of an activity message, the first */
    uint32_t place; /* and its partition */
};

struct part {
    uint32_t index;
    struct th_partition *core;
    struct seat *seats;
    struct th_watermark mark;
    uint64_t stored_rows;
    bool looked_at; /* its projection */

    struct th_validity validity;
    int64_t log_start, log_end, next_offset;
    bool begun, done;
    uint64_t first_sequence; /* of the retained records */
    struct th_buffer parts;
    uint32_t parts_next;
    th_time last_record;

    int64_t inbox_start, inbox_end;
    struct th_vector_entry *highest;  /* by source: accepted of the whole inbox */
    struct th_vector_entry *accepted; /* below the position */
    struct th_vector_entry *lowest;   /* the first that is retained; sequence 0: none */

    char *owner, *trouble;
};

struct activities {
    int64_t start, end, committed;
};

struct function {
    enum th_function_kind kind;
    char *name;
};

struct th_doctor {
    struct th_doctor_options options;
    char *hub;
    struct part *parts;
    struct activities *activities;
    struct th_doctor_finding *findings;
    size_t finding_count, finding_capacity;
    struct sent *sent;
    struct address *addresses;
    struct function *functions;
    size_t function_count, function_capacity;
    struct th_arena arena; /* of one message or record */
    struct th_arena kept;
    struct th_doctor_counts counts;
    bool projection_away;
};

/* ---- doctor.c ---- */
void note_finding(struct th_doctor *d, enum th_doctor_kind kind, const struct part *part,
                  struct th_str id, const char *format, ...) __attribute__((format(printf, 5, 6)));
struct seat *seat_find(const struct part *part, struct th_str id);
struct seat *seat_get(struct part *part, struct th_str id);

/* ---- projection.c ---- */
void take_rows(struct th_doctor *d, struct part *part);
const struct th_row *base_row(const struct th_doctor *d, const struct part *part, struct th_str id);
void check_rows(struct th_doctor *d, struct part *part);

/* ---- traffic.c ---- */
void note_sent(struct th_doctor *d, struct part *part, const struct th_record *record);
void note_outbox(struct th_doctor *d, struct part *part);
void check_traffic(struct th_doctor *d);
struct sent *sent_find(struct th_doctor *d, struct sent_key key);
void note_travelling(struct th_doctor *d, const struct th_message *message, const char *where,
                     const struct th_inspect_letter *letter);
struct address *address_get(struct th_doctor *d, struct th_str id);

/* ---- instance.c ---- */
void judge_instances(struct th_doctor *d);

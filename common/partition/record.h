/*
 * record: what stands in a partition's log L[p]. One record is one append, atomic. Encoded as a
 * msgpack map of field numbers; a reader skips fields it does not know and refuses a record whose
 * `format` is newer than it can fold.
 *
 * I1 (validity): a record is valid iff it carries the epoch and the nonce of the latest claim
 * before it and the sequence after the previous valid record's. th_validity decides this, for every
 * reader alike. The epoch is an offset: after a log lost its end two claims may have stood at the
 * same one.
 */
#pragma once

#include "model/codec.h"

#define TH_RECORD_FORMAT TH_FORMAT

/* Offsets stay far below this, so that adding to one cannot overflow. */
#define TH_POSITION_MAX (INT64_MAX / 4)

enum th_record_kind {
    TH_RECORD_CLAIM = 1,      /* worker, nonce; starts an epoch: its offset. No sequence. */
    TH_RECORD_EPISODE = 2,    /* one instance moved on */
    TH_RECORD_MARKS = 3,      /* no instance moved: consumption, parking, progress of marks */
    TH_RECORD_PURGE = 4,      /* the instance leaves the fold */
    TH_RECORD_CRASH = 5,      /* the process died running this work */
    TH_RECORD_CHECKPOINT = 6, /* all partition state but the instances, in `body` */
    TH_RECORD_SNAPSHOT = 7,   /* a full copy of one instance, in `next` and `events` */
    TH_RECORD_PART = 8,       /* piece of a record too large for the log; the last one counts */
};

/* A local message by the place that made it: record sequence and index. */
struct th_local_ref {
    uint64_t sequence;
    uint64_t index; /* as wide as the sequence: a key of hash tables must have no padding */
};

/* A message a record sends. To the own partition it is local: part of the fold until consumed. */
struct th_record_message {
    uint32_t destination;
    bool parked;         /* taken from the inbox, to be offered again later */
    th_time not_before;  /* TH_TIME_NONE: at once (or, parked, when the instance resumes) */
    struct th_str bytes; /* encoded th_message */
};

/* The last message accepted from a source partition (I3), as of the inbox position. */
struct th_vector_entry {
    uint32_t partition;
    uint64_t sequence;
    uint32_t index;
};

/* An activity, by the place where it was scheduled. */
struct th_task_ref {
    struct th_str instance_id, execution_id;
    int32_t event_id;
};

struct th_record {
    uint32_t format; /* 0: TH_RECORD_FORMAT. Of a CLAIM always 1: every program has to see it */
    enum th_record_kind kind;
    uint64_t incarnation, epoch, sequence;
    th_time time;

    struct th_str worker; /* CLAIM; with `running_tasks` */
    uint64_t nonce;       /* of the claim: random */

    /* marks, on every record but CLAIM and PART */
    int64_t position; /* every inbox offset below is consumed */
    uint64_t sent;    /* every outgoing message of records below this sequence is sent */
    const struct th_vector_entry *vector; /* entries that changed */
    uint32_t vector_count;
    const int64_t *consumed; /* inbox offsets at or above `position`, consumed by this record */
    uint32_t consumed_count;
    const struct th_local_ref *consumed_local;
    uint32_t consumed_local_count;
    const struct th_task_ref *closed_tasks; /* their results will enter no history: the execution
                                               is over */
    uint32_t closed_task_count;
    const struct th_task_ref *running_tasks; /* `worker` gave the partition up and goes on running
                                                them: their results come as messages */
    uint32_t running_task_count;
    const struct th_record_message *messages;
    uint32_t message_count;

    struct th_str instance_id;  /* EPISODE, PURGE, CRASH, SNAPSHOT */
    struct th_str execution_id; /* CRASH */
    bool replace_history;       /* EPISODE: `events` is the whole history now */
    struct th_str events;       /* EPISODE, SNAPSHOT: encoded chunk */
    bool has_custom_status;
    struct th_str custom_status;
    struct th_str turn_trace; /* EPISODE: replaces the former; absent: that stays */
    struct th_str next; /* EPISODE that continued as new, SNAPSHOT: encoded th_instance_info */
    const int32_t *shared_tasks; /* EPISODE: activities that were sent to all processes, by id */
    uint32_t shared_task_count;
    int32_t task_id;      /* CRASH: -1 an episode */
    uint32_t crashes;     /* CRASH: how often by now */
    struct th_str reason; /* CRASH: what happened; PURGE: the request id of the start */
    struct th_str body;   /* CHECKPOINT, PART */
    uint32_t part, parts;
};

void th_encode_record(struct th_buffer *out, const struct th_record *record);
/* Arrays go into the reader's arena, strings point into its bytes. */
bool th_decode_record(struct th_reader *in, struct th_record *out);

/* Readers for what stands in records: an array written flat, `width` values an item (the result
 * counts items), and a number of 32 bits. */
uint32_t th_read_groups(struct th_reader *in, uint32_t width);
uint32_t th_read_u32(struct th_reader *in);

/* I1, as a small machine fed with every record of a log in order. */
struct th_validity {
    bool started; /* has seen a claim, or began at a trusted first record */
    uint64_t epoch, nonce;
    uint64_t next; /* sequence the next valid record must carry */
};

/* `trusted`: this is the first retained record of a log that was cleaned, valid by construction.
 * False for claims (they are never "valid records", they change the epoch). */
bool th_validity_feed(struct th_validity *v, int64_t offset, const struct th_record *record,
                      bool trusted);

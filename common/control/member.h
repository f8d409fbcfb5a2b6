/*
 * member: what a process that works on a hub says of itself, again and again, in the hub's control
 * topic. A member is made by its process, travels as msgpack by the numbers below (an older reader
 * skips what a newer writer adds), and never changes once it was read, so it is shared by count.
 * Any thread.
 */
#pragma once

#include "base/arena.h"
#include "base/buffer.h"
#include "base/clock.h"
#include "base/error.h"
#include "model/name.h"

/* name, number, text (in keys of the topic, in views and metrics) */
#define TH_MEMBER_KINDS(X) \
    X(WORKER, 1, "worker") \
    X(COORDINATOR, 2, "coordinator")

enum th_member_kind {
#define X(name, number, text) TH_MEMBER_##name = number,
    TH_MEMBER_KINDS(X)
#undef X
};

/*
 * Tables: number, field, type, meaning. Types: U32, U64, I64, TIME (wall clock, in microseconds;
 * TH_TIME_NONE: none), STR, and lists of the tables before, each a pointer `field` and a
 * `field`_count. A field that is 0, no time, absent or empty is not written.
 */

/* A function that the process serves, or of which it only waits for another to serve it. */
#define TH_MEMBER_FUNCTION_FIELDS(X)                                             \
    X(1, kind, U32, "enum th_function_kind")                                     \
    X(2, name, STR, "as it was registered")                                      \
    X(3, requests, U64, "attempts or episodes that have ended, since the start") \
    X(4, errors, U64, "of these, those that failed")                             \
    X(5, latency_sum, U64, "microseconds that all of them took")                 \
    X(6, latency_max, U64, "microseconds that the longest took, of late")        \
    X(7, running, U64, "now")                                                    \
    X(8, waiting, U64, "here, for a free thread or the function's limit")

/* An instance partition that the process owns, or wants and cannot have. */
#define TH_MEMBER_PARTITION_FIELDS(X)                                           \
    X(1, index, U32, "which partition")                                         \
    X(2, epoch, I64, "of its claim; -1: it is not active here")                 \
    X(3, position, I64, "inbox offset below which everything is consumed")      \
    X(4, end, I64, "inbox offset after the last message it has seen")           \
    X(5, oldest, TIME, "arrival of the oldest unprocessed message; none: none") \
    X(6, log_start, I64, "first offset of its log")                             \
    X(7, log_end, I64, "offset of the log's next record")                       \
    X(8, trouble, STR, "why it is not active; absent: no trouble")              \
    X(9, pending, U64, "activities that were scheduled and have not completed") \
    X(10, instances, U64, "in memory")                                          \
    X(20, letters, U64, "messages for instances that none has taken yet")       \
    X(21, timers, U64, "that are not due yet")

/* An activity partition that the process consumes. */
#define TH_MEMBER_ACTIVITIES_FIELDS(X)                          \
    X(1, partition, U32, "which activity partition")            \
    X(2, position, I64, "lowest offset that is not finished")   \
    X(3, end, I64, "offset after the last message it has seen") \
    X(4, oldest, TIME, "arrival of the oldest unfinished message; none: none")

/* An activity message that still runs here although its partition went to another process. */
#define TH_MEMBER_LEFT_FIELDS(X)                     \
    X(1, partition, U32, "which activity partition") \
    X(2, offset, I64, "of the message")

/* Work that reached this process and waits because nobody serves its function. */
#define TH_MEMBER_UNSERVED_FIELDS(X)         \
    X(1, kind, U32, "enum th_function_kind") \
    X(2, name, STR, "of the function")       \
    X(3, waiting, U64, "how many")

#define TH_MEMBER_FIELDS(X)                                                     \
    X(1, serial, U64, "counts what this process has said; control sets it")     \
    X(2, kind, U32, "enum th_member_kind")                                      \
    X(3, name, STR, "of this start of the process; no spaces")                  \
    X(4, incarnation, U64, "of the hub; control sets it")                       \
    X(5, host, STR, "host name")                                                \
    X(6, pid, U32, "process id there")                                          \
    X(7, version, STR, "of the program")                                        \
    X(8, format, U32, "of the records it writes")                               \
    X(9, started, TIME, "by its own clock")                                     \
    X(10, url, STR, "of its HTTP port; absent: none")                           \
    X(11, application, STR, "file name; absent: none")                          \
    X(12, threads, U32, "activities it runs at a time")                         \
    X(13, running, U64, "activities under way")                                 \
    X(14, waiting, U64, "activities that wait for a thread")                    \
    X(15, draining, U32, "1: it ends as soon as what runs here has ended")      \
    X(16, functions, FUNCTIONS, "what it serves")                               \
    X(17, partitions, PARTITIONS, "instance partitions it owns or wants")       \
    X(18, activities, ACTIVITIES, "activity partitions it consumes")            \
    X(19, left, LEFT, "activities of partitions it had")                        \
    X(20, unserved, UNSERVED, "work for functions that nobody serves")          \
    X(21, handed, U64, "activities that run on for instance partitions it had") \
    X(22, episodes, U64, "since the start, as the next two")                    \
    X(23, records, U64, "appended")                                             \
    X(24, activities_run, U64, "attempts that have ended")                      \
    X(25, ended, U32, "1: its last word; control sets it")                      \
    X(40, queued_since, TIME, "arrival here of the activity that waits longest for a thread")

#define TH_MEMBER_C_U32(field)  uint32_t field;
#define TH_MEMBER_C_U64(field)  uint64_t field;
#define TH_MEMBER_C_I64(field)  int64_t field;
#define TH_MEMBER_C_TIME(field) th_time field;
#define TH_MEMBER_C_STR(field)  struct th_str field;
#define TH_MEMBER_C_LIST(item, field)     \
    const struct th_member_##item *field; \
    size_t field##_count;
#define TH_MEMBER_C_FUNCTIONS(field)  TH_MEMBER_C_LIST(function, field)
#define TH_MEMBER_C_PARTITIONS(field) TH_MEMBER_C_LIST(partition, field)
#define TH_MEMBER_C_ACTIVITIES(field) TH_MEMBER_C_LIST(activities, field)
#define TH_MEMBER_C_LEFT(field)       TH_MEMBER_C_LIST(left, field)
#define TH_MEMBER_C_UNSERVED(field)   TH_MEMBER_C_LIST(unserved, field)

#define X(number, field, type, meaning) TH_MEMBER_C_##type(field)
struct th_member_function {
    TH_MEMBER_FUNCTION_FIELDS(X)
};
struct th_member_partition {
    TH_MEMBER_PARTITION_FIELDS(X)
};
struct th_member_activities {
    TH_MEMBER_ACTIVITIES_FIELDS(X)
};
struct th_member_left {
    TH_MEMBER_LEFT_FIELDS(X)
};
struct th_member_unserved {
    TH_MEMBER_UNSERVED_FIELDS(X)
};

/* Whoever makes one to say it fills the fields and keeps what they point to for the call. One that
 * was read owns all of it, and is released with th_member_unref. */
struct th_member {
    TH_MEMBER_FIELDS(X)
    th_time heard; /* the broker's time of the record it was read from */
    atomic_int references;
    struct th_arena arena;
};
#undef X

void th_member_encode(struct th_buffer *out, const struct th_member *member);
/* NULL for bytes that are no member: CORRUPT, with the field. One reference. */
struct th_member *th_member_decode(struct th_str bytes, struct th_error *error);
struct th_member *th_member_ref(struct th_member *member);
void th_member_unref(struct th_member *member); /* NULL is fine */

const char *th_member_kind_text(uint32_t kind); /* "unknown" for one that is */
bool th_member_serves(const struct th_member *member, enum th_function_kind kind,
                      struct th_str name); /* without regard to case, as functions are called */
/* What it says of an instance partition; NULL: nothing. */
const struct th_member_partition *th_member_partition(const struct th_member *member,
                                                      uint32_t index);

/* "host-pid-random": another one at each start of a process. */
#define TH_MEMBER_NAME 96
void th_member_name(char out[static TH_MEMBER_NAME]);

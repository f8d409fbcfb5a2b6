/*
 * flight: the flight recorder. A small file beside the database, mapped shared, in which each
 * thread that runs an application's code says what it is running. When that code takes the process
 * down, the crash handler marks the thread's slot as the culprit; the next process reads the file
 * and knows whom to blame, so that a function that crashes fails after a few attempts instead of
 * keeping the hub down for ever.
 *
 * The hub's log counts the crashes of a culprit that is certain. The file counts as well, for the
 * deaths that name nobody (_exit): who was there every time shows only over several of them.
 *
 * The crash handler runs on a stack of its own and touches nothing but the slot. The slot's
 * address is thread-local, the one thing a signal handler can reach; a process has one recorder.
 */
#pragma once

#include <signal.h>

#include "base/clock.h"
#include "base/error.h"

struct th_flight;
struct th_flight_slot;

#define TH_FLIGHT_SLOTS   1024
#define TH_FLIGHT_EPISODE (-1) /* task id of an orchestrator's episode */

/* Who took the last process down. */
struct th_flight_culprit {
    char instance_id[257];
    char name[129];  /* of the activity, when known */
    int32_t task_id; /* TH_FLIGHT_EPISODE, or the activity's */
    char reason[96]; /* "crashed the process with SIGSEGV" */
    bool certain;    /* its own slot says so; otherwise it was only there */
    uint32_t count;  /* deaths in a row, this one included */
};

/* Maps the file, making it when it is missing, takes the last process's culprits out of it and
 * clears it. A file that is none of ours is started anew. The caller closes it when every thread
 * has left; the file itself stays. `ended_by_exit`: the last process is known to have ended by an
 * exit that nobody asked for; if no slot is marked, but one alone was busy, that one called _exit.
 */
struct th_flight *th_flight_open(const char *path, bool ended_by_exit, struct th_error *error);
void th_flight_close(struct th_flight *flight);

size_t th_flight_culprits(const struct th_flight *flight);
const struct th_flight_culprit *th_flight_culprit(const struct th_flight *flight, size_t index);
/* The culprit is not tried again: if it ever crashes anew, that is another one's first time. */
void th_flight_settle(struct th_flight *flight, size_t index);

/* From now on SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT and exit() inside of a slot mark it. Once a
 * process, before its threads start. */
bool th_flight_guard_process(struct th_flight *flight, struct th_error *error);

/* The calling thread's slot and its signal stack; NULL when all slots are taken (its crashes then
 * stay without culprit). Given back by the same thread. */
struct th_flight_slot *th_flight_join(struct th_flight *flight);
void th_flight_leave(struct th_flight *flight, struct th_flight_slot *slot);

/* Around a call of the application's code, on the slot's thread. A NULL slot is fine. */
void th_flight_begin(struct th_flight_slot *slot, struct th_str instance_id, int32_t task_id,
                     struct th_str name, th_time monotonic);
void th_flight_end(struct th_flight_slot *slot);

/* Any thread. An episode that began before `began_before` is marked as the culprit: true, and the
 * caller aborts the process. */
bool th_flight_mark_stuck(struct th_flight *flight, th_time began_before, th_time now);

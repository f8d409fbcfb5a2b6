/*
 * control: who works on a hub. Each process says what it is and does, again and again, in the hub's
 * control topic; everybody reads all of it from the topic's start. There is no leader, no lock and
 * no second copy: what a member said last is what is known of it.
 *
 *     own thread ──heartbeat──▶ <hub>.control ──▶ own thread ──▶ view, callbacks
 *          ▲                    key worker/NAME, coordinator/NAME; compacted
 *      th_control_publish, any thread
 *
 * The record of one who is gone stays for a while, and says what it said last: who takes over finds
 * there what it had finished. Then the others remove it.
 *
 * Time is the broker's: the newest record's time against that of the member's last one, so no
 * clock of this or any other machine is asked. A silence of everybody at once is the broker's, not
 * theirs, and counts for little. With the broker away nothing is known to change: members stay as
 * they were, and heartbeats go on when it is back.
 */
#pragma once

#include "base/log.h"
#include "control/member.h"
#include "provider/kafka/kafka.h"

struct th_control;

struct th_control_options {
    const struct th_kafka_cluster *cluster; /* borrowed until close, as is the log */
    const struct th_hub_record *hub;        /* copied; what others say of another incarnation is
                                               ignored */
    const struct th_log *log;
    th_time interval; /* of heartbeats; 0: 250 ms */
    th_time patience; /* a member that says nothing for so long is gone; 0: 3 s */

    /* On control's thread, one at a time, without a lock held; may publish, must not close. The
     * member is valid during the call (th_member_ref keeps it). NULL: not called. */
    void *argument;
    void (*joined)(void *argument, const struct th_member *member); /* also one that was gone */
    void (*changed)(void *argument, const struct th_member *before, const struct th_member *now);
    void (*gone)(void *argument, const struct th_member *member,
                 bool farewell);   /* said so itself */
    void (*ready)(void *argument); /* once, see th_control_ready; those there have joined */
};

/* Starts the thread; does not wait for a broker. The hub must exist: a stock broker would create
 * its topic otherwise. NULL: INVALID (properties), INTERNAL (no thread). */
struct th_control *th_control_open(const struct th_control_options *options,
                                   struct th_error *error);

/* Says farewell, if anything was said: all that was published last, and that it has ended. Waits up
 * to a second until that is written. Blocks; not on control's thread. NULL is fine. */
void th_control_close(struct th_control *control);

/* ---- any thread; none of them waits for a broker ---- */

/* What this process says from now on, in each heartbeat; copied. `at_once`: not only in the next
 * one. Returns the serial of what was said: a member with this serial, or a higher one, has been
 * told it. Kind and name must stay the same. */
uint64_t th_control_publish(struct th_control *control, const struct th_member *self, bool at_once);

/* Everything that had been said when it was opened has been read. */
bool th_control_ready(struct th_control *control);

/* True for a member that said something and is not gone. */
bool th_control_alive(struct th_control *control, struct th_str name);

/* What one said last who is gone: a new reference; NULL: it is alive, or its record was removed,
 * ten minutes later or so. */
struct th_member *th_control_last_words(struct th_control *control, struct th_str name);

/* How long ago, by this machine's monotonic clock, the brokers last took a heartbeat of this
 * process; TH_TIME_NONE: never. */
th_time th_control_heard_ago(struct th_control *control);

/* All who are alive, this process included, by kind and name; each is a reference. */
struct th_control_view {
    struct th_member **members;
    size_t count;
    th_time now; /* the broker's time of the newest record; TH_TIME_NONE: there is none */
    bool ready;
};
void th_control_look(struct th_control *control, struct th_control_view *out);
void th_control_view_deinit(struct th_control_view *view);
#define TH_CONTROL_VIEW __attribute__((cleanup(th_control_view_deinit))) struct th_control_view

/*
 * liveness: who is there, from what stands in the control topic and when the brokers wrote it.
 * Pure: records go in, in order; changes come out. One thread at a time.
 *
 * Two measures of a silence. The plain one is the time between the member's last record and the
 * newest of all. For the verdict "gone" another one counts: of the time between two records that
 * follow each other no more than a stride does. As long as anybody speaks, both are the same; when
 * the brokers were away nobody could, and nobody is gone for it.
 */
#pragma once

#include "control/member.h"

struct th_liveness;

enum th_change_kind { TH_MEMBER_JOINED, TH_MEMBER_CHANGED, TH_MEMBER_GONE };

struct th_change {
    enum th_change_kind kind;
    bool farewell;                  /* GONE: it said so itself */
    struct th_member *before, *now; /* references; JOINED has no `before`, GONE no `now` */
};
void th_change_deinit(struct th_change *change);

/* Until th_liveness_begin nothing changes for anybody: what was said before is caught up with. */
struct th_liveness *th_liveness_new(th_time patience, th_time stride);
void th_liveness_free(struct th_liveness *liveness);
void th_liveness_begin(struct th_liveness *liveness); /* those who are there join */

/* A record of the topic, at the broker's time. A member is a reference that is taken over; one that
 * says it has ended bids farewell; NULL: its record is removed. */
void th_liveness_record(struct th_liveness *liveness, struct th_str key, struct th_member *member,
                        th_time at);

/* The next change, in order; the caller deinits it. */
bool th_liveness_next(struct th_liveness *liveness, struct th_change *out);

bool th_liveness_alive(const struct th_liveness *liveness, struct th_str name);
/* What one said last who is gone: a new reference, until its record is removed; else NULL. */
struct th_member *th_liveness_last_words(const struct th_liveness *liveness, struct th_str name);
/* How many there are, and each as a new reference by kind and name; the caller frees the array. */
struct th_member **th_liveness_members(const struct th_liveness *liveness, size_t *count);
th_time th_liveness_now(const struct th_liveness *liveness); /* NONE: no record yet */

/* The key of one who is gone since at least `since`: somebody has to remove its last record, or
 * compaction keeps it for ever. Absent: none. Each is told once. */
struct th_str th_liveness_ghost(struct th_liveness *liveness, th_time since);

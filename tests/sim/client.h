/*
 * client: the clients' insides. What they ask is a script (script.c), how they ask and wait is
 * client.c, what they make of the answers answer.c, and what they know by then subject.c.
 */
#pragma once

#include <utlist.h>

#include "tests/sim/bank.h"

enum act {
    ACT_START,
    ACT_AWAIT,
    ACT_STATUS,
    ACT_HISTORY,
    ACT_RAISE,
    ACT_SIGNAL,
    ACT_ENTITY,
    ACT_TERMINATE,
    ACT_SUSPEND,
    ACT_RESUME,
    ACT_REWIND,
    ACT_RESTART,
    ACT_PURGE,
    ACT_PURGE_BY,
    ACT_QUERY,
    ACT_HUB,
};

struct op {
    enum act act;
    char *id;         /* NULL: the instance of the session */
    const char *name; /* START, RAISE */
    json_t *data;     /* START, SIGNAL: uid or key is set at each attempt; RAISE, TERMINATE */
    bool generated;   /* START without an id */
    bool recursive, new_id, until_started;
    bool rival;  /* START: the id may be another session's */
    bool revive; /* AWAIT behind a REWIND: rewind again if it failed before it was healed */
    th_reuse reuse;
    th_time pause;    /* before it is asked */
    th_time start_in; /* START, SIGNAL: this much later; 0: at once */
    unsigned limit;   /* QUERY: rows a page */
};

struct start {
    UT_hash_handle hh;
    char *uid;
    enum start_answer answer;
    struct session *session;
};

struct session {
    struct session *prev, *next;
    struct clients *clients;
    unsigned number;
    struct op *ops;
    size_t count, capacity, at;
    const struct session *gate; /* begins when this one is past gate_at */
    size_t gate_at;
    char id[TH_ID_MAX];
    struct verdict verdict;
    unsigned starts, signals; /* uids and keys used */

    /* the command under way */
    struct op *op;
    bool busy;
    unsigned attempt;
    bool unknown;      /* an attempt at this op was never answered */
    bool ever_unknown; /* … at any op of this session */
    bool nudge;        /* this attempt is a RESUME in place of an AWAIT */
    char uid[32], request_id[48];
    struct bank_note *note; /* SIGNAL */
    struct process *process;
    uint64_t life, ticket, issued, listing; /* listing: when the first page was asked for */
    th_time due, deadline;
    enum th_status last_status;
    char *continuation;
    json_t *listed; /* ids of the pages of a query so far */
};

struct clients {
    struct run *run;
    struct session *sessions;
    unsigned count;
    struct subject *subjects;
    struct start *starts;
    struct bank_note *notes;
    const char **uids;
    size_t uid_count, uid_capacity;
    uint64_t clock;
};

/* ---- script.c ---- */
void script_all(struct clients *clients);

/* ---- subject.c: what was answered about an instance, and that it is never taken back ---- */
struct subject *subject_of(struct clients *c, const char *id);
void subject_exists(struct clients *c, struct subject *s);
void subject_absent(struct session *session, struct subject *s);
void subject_seen(struct session *session, struct subject *s, const struct th_instance_info *info,
                  bool payloads);
/* Whether the process that answered had lost the partition, without knowing it yet. */
bool subject_is_stale(struct session *session, const struct subject *s);
struct start *start_of_session(struct session *session); /* made when missing */
void subjects_free(struct clients *c);

/* ---- answer.c ---- */
void answer(struct session *s, const struct th_reply *reply);

/* ---- client.c ---- */
const char *session_target(const struct session *s);
void session_next_op(struct session *s);
void session_again(struct session *s);
/* Nobody will ever know what became of it. */
void session_unanswered(struct session *s);
const char *session_act(const struct session *s);

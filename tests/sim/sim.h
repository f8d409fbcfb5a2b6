/*
 * sim: a whole hub in one thread. The product's own engine, partition, node and SDK executor run
 * over the simulated provider; clients, activities, time and disasters come from one seed. A run is
 * a pure function of its options: the same seed gives the same trace, hash and report.
 *
 *     client.c ─▶ ┌────────┐ ─▶ simulated provider ─▶ log.c reads what
 *     pool.c   ─▶ │ th_node│    logs, inboxes, rows     is really there,
 *     run.c    ─▶ └────────┘ ◀─                         check.c judges
 *
 *   profile.c        what a profile leaves to the seed: sizes, rates, disasters
 *   program.c        workloads: random programs, and what each must answer
 *   orchestrators.c  the functions that run them, written against taskhub.h like any other
 *   foreign.c        orchestrators of other SDKs         bank.c       entities, transfers
 *   away.c           episodes that run elsewhere
 *   pool.c           activities: results after a while, lost with their process
 *   script.c         what each session asks for        client.c   how it asks and waits
 *   answer.c         what it makes of the answers      subject.c  that none is ever taken back
 *   run.c            one run: processes, disasters, the loop
 *   log.c            the judge's own reading of logs and inboxes
 *   history.c        what every history must look like, and its replay
 *   check.c          the end: everything promised against everything that happened
 *   truncation.c     a log that loses its end
 *   main.c           seeds, crash at every step, mutations
 */
#pragma once

#include <jansson.h>
#include <stdio.h>
#include <uthash.h>

#include "base/hash.h"
#include "base/memory.h"
#include "node/node.h"
#include "partition/record.h"
#include "provider/simulated/simulated.h"
#include "sdk/application.h"

struct run;
struct pool;
struct clients;

#define MAX_PROCESSES  3
#define MAX_PARTITIONS 4

/* ---- profile.c ------------------------------------------------------------------------------ */

/* What the seed decides before a run begins. Disasters are probabilities per step of the loop. */
struct plan {
    struct th_sim_options world;
    unsigned processes;
    size_t max_instances, max_warm, checkpoint_records, checkpoint_bytes;
    size_t clean_bytes, piece_records, max_rows, max_unprojected, max_kept_bytes;
    size_t max_operations, max_entities; /* of entities; 0: any number */
    th_time project_interval;
    th_time skew; /* clocks are wrong by up to this much, either way */
    unsigned sessions;
    bool replay_always;
    double kill, stop, power_cut, pause, move, wipe, dump, restore, lose_row, down, doubt;
    double goes_out;  /* an activity is put where any process may take it */
    double blame;     /* a process that died is said to have died running some instance */
    double away;      /* an episode runs elsewhere */
    double strike;    /* a process serves nothing for a while */
    double lazy;      /* a process is not stepped although something happened */
    double astray;    /* a client asks a process that does not own the partition */
    double impatient; /* a client gives up and asks again */
    bool truncate;    /* once, a log loses its end */
    bool endless;     /* one instance that goes on as new for ever, instead of sessions */
    bool upgrade;     /* processes are programs of several releases, see release.c … */
    bool any_order;   /* … and all of them from the start */
};

struct profile {
    const char *name, *about;
    void (*draw)(struct plan *plan, struct th_random *random);
};

const struct profile *profile_find(const char *name); /* NULL: none */
const struct profile *profile_at(size_t index);       /* NULL: no more */

/* ---- release.c ------------------------------------------------------------------------------ */

struct process;
struct run;

/* Which program a process runs in its next life, and the formats of that one. */
unsigned release_draw(struct run *run);
struct th_formats release_formats(unsigned release);
/* Half-way: what is older than the last release's predecessor has to be gone. */
bool release_is_over(const struct run *run, const struct process *p);
/* Reads what any release has written. */
struct th_reader sim_reader(struct th_str bytes, struct th_arena *arena, struct th_error *error);

/* ---- run.c ---------------------------------------------------------------------------------- */

struct sim_options {
    const struct profile *profile;
    uint64_t seed;
    uint64_t steps;    /* of trouble, before everything calms down */
    uint64_t crash_at; /* instead of the profile's disasters: one kill at this step; 0: none */
    int mutation;
    FILE *trace; /* or NULL */
};

struct report {
    bool failed;
    char why[2048];
    uint64_t steps, hash;
    uint64_t kills, stops, moves, pauses, wipes, commands, answers, stale, activities;
    uint64_t episodes, records, loads, evictions, replays, projections;
    uint64_t operations; /* of entities */
    uint64_t instances, events, trims, parts, invalid, snapshots, cleanings, rebuilds, out;
    th_time elapsed; /* virtual */
};

void sim_run(const struct sim_options *options, struct report *report);

struct process {
    struct run *run;
    unsigned number;
    uint64_t life; /* grows with every restart */
    char name[32]; /* another one in each life */
    struct th_provider *provider;
    struct th_node *node;
    struct th_executor *executor;
    bool paused, stopping;
    th_time skew; /* of its clock */
    th_time resume_at, next;
    th_time served_at; /* until then it serves nothing; NONE: it does */
    bool taken[MAX_PARTITIONS];
    unsigned release; /* of its program, in this life */
};

struct run {
    const struct sim_options *options;
    struct plan plan;
    struct th_random random;
    struct th_sim_world *world;
    struct th_app *app;
    struct th_log log;
    struct process processes[MAX_PROCESSES];
    unsigned owner[MAX_PARTITIONS];     /* the process that is meant to own it */
    th_time release_at[MAX_PARTITIONS]; /* when the others are told so */
    struct pool *pool;
    struct away *away;
    struct clients *clients;
    struct report *report;
    uint64_t step, lives, hash;
    bool calm; /* no more trouble */
    bool truncated;
    uint32_t truncated_partition;
    size_t dispatched_before;
    struct rolled_back {
        int64_t highest; /* where the projection ever stood */
        int64_t offset;  /* where it has to come again; -1: it did */
        th_time until;   /* what it says may be old */
    } rolled_back[MAX_PARTITIONS];
    bool down;
    th_time up_at;
    struct landing *landings[MAX_PARTITIONS]; /* by inbox offset, see log.c */
    size_t landing_count[MAX_PARTITIONS], landing_capacity[MAX_PARTITIONS];
};

/* What a message in an inbox could have followed from: the ends of all logs when it landed. */
struct landing {
    int64_t log_end[MAX_PARTITIONS];
};

/* A projection was put back to an old copy. Until its owner has noticed, those that look at it for
 * the first time cannot tell. */
bool run_may_be_old(struct run *run, uint32_t partition);

/* Another process, and no longer the present one, is to own the partition. */
void run_move(struct run *run, uint32_t partition);
void run_step_all(struct run *run);

/* The run is wrong; the first reason stays. */
void run_fail(struct run *run, const char *format, ...) __attribute__((format(printf, 2, 3)));
void run_trace(struct run *run, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* As above, but only for the reader: not part of the run's hash. */
void run_show(struct run *run, const char *format, ...) __attribute__((format(printf, 2, 3)));
th_time run_now(const struct run *run);
th_time process_now(const struct process *process); /* as its own clock has it */
bool run_chance(struct run *run, double probability);
uint64_t run_below(struct run *run, uint64_t bound);
uint32_t run_partition(const struct run *run, const char *id);

/* ---- program.c: what a workload does, and what it must answer ---------------------------------
 */

/* What the maker of programs may use. */
struct maker {
    struct th_random *random;
    unsigned depth;        /* of sub-orchestrations */
    bool failures;         /* activities that fail and are retried, or caught */
    bool waits;            /* events from a client; `waited` counts them */
    bool named_children;   /* children with ids made from the parent's */
    bool flaky;            /* activities that fail until the session is healed */
    bool races;            /* steps whose result depends on what comes first */
    size_t large;          /* payloads of up to this size, now and then; 0: none */
    const char *collector; /* instance that counts events; NULL: none */
    unsigned waited, sent; /* out: events it waits for, and sends to the collector */
};

json_t *program_make(struct maker *maker, const char *uid);
/* The input of a collector that waits for `want` items. */
json_t *collector_input(const char *uid, unsigned want, unsigned batch);
json_t *endless_input(const char *uid, unsigned rounds);
/* The result of the activity "work" for n. */
json_int_t work_result(json_int_t n);
/* NULL: `output` is what an instance of `name` with this (last) input must answer. Otherwise what
 * is wrong; the caller frees it. */
char *program_check(const char *name, const json_t *input, const json_t *output);

/* ---- orchestrators.c --------------------------------------------------------------------------
 */

void orchestrators_register(struct th_app *app);

/* ---- foreign.c ---------------------------------------------------------------------------------
 */

/* Whether the instance of this episode is such an orchestrator's; its past has to be loaded. */
bool foreign_is(const struct th_episode *episode);
bool foreign_name(struct th_str name);
enum th_executor_result foreign_run(const struct th_episode *episode, struct th_arena *arena,
                                    struct th_actions *out);

/* ---- away.c ------------------------------------------------------------------------------------
 */

typedef enum th_executor_result away_code(struct process *p, const struct th_episode *episode,
                                          struct th_arena *arena, struct th_actions *out);
/* Runs `code`, now and then so that its actions come later. */
enum th_executor_result away_run(struct process *p, const struct th_episode *episode,
                                 struct th_arena *arena, struct th_actions *out, away_code *code);
void away_canceled(void *process, uint64_t episode);
void away_lost(struct run *run, const struct process *process); /* it died */
bool away_runs_elsewhere(void *process, enum th_function_kind kind, struct th_str name);
bool away_serves(void *process, enum th_function_kind kind, struct th_str name,
                 struct th_str version);
void away_strike(struct run *run, struct process *p); /* it serves nothing for a while */
th_time away_next(const struct run *run);
void away_step(struct run *run);

/* ---- pool.c ------------------------------------------------------------------------------------
 */

struct pool *pool_new(struct run *run);
void pool_free(struct pool *pool);
void pool_activity(void *process, const struct th_activity_work *work);
void pool_canceled(void *process, uint64_t token);
bool pool_goes_out(void *process, struct th_str name, struct th_str version);
bool pool_is_alive(void *process, struct th_str worker);
void pool_lost(struct pool *pool, const struct process *process); /* its process died */
void pool_heal(struct pool *pool, const char *session);
th_time pool_next(const struct pool *pool);
void pool_step(struct pool *pool, th_time now); /* hands over what is due */
size_t pool_open(const struct pool *pool);

/* An activity that was started: it must have been in the log by then. */
struct dispatched {
    uint32_t partition;
    char *instance_id, *execution_id;
    int32_t task_id;
    int64_t log_end;
};
const struct dispatched *pool_dispatched(const struct pool *pool, size_t index);
size_t pool_dispatched_count(const struct pool *pool);

/* ---- client.c -----------------------------------------------------------------------------------
 */

/* What clients were told about an instance, and what they did to it. */
struct subject {
    UT_hash_handle hh;
    char *id;
    bool exists; /* an answer said so */
    bool ended;  /* … and that it has ended, like this: */
    enum th_status status;
    char *output;            /* NULL: none */
    bool may_go, may_change; /* a purge was asked for; a rewind, restart or replacement was */
    bool purged;             /* answered: it is gone */
    bool meddled;            /* it was suspended: a late suspension may come at any time */
    uint64_t exists_at, ended_at, purged_at; /* when this was learned, by the clients' count */
    unsigned starts_unknown;                 /* starts whose answer never came */
    unsigned starts_accepted, starts_refused;
    char *uid; /* of the start that was accepted last; NULL: none */
};

/* What the sessions allow an instance to be in the end, by the session its input names. */
struct verdict {
    bool known; /* there is such a session */
    bool may_be_terminated, may_fail, may_repeat;
};

struct clients *clients_new(struct run *run);
void clients_free(struct clients *clients);
th_time clients_next(const struct clients *clients);
void clients_step(struct clients *clients, th_time now);
bool clients_done(const struct clients *clients);
/* What the first unfinished session waits for; the caller frees it. */
char *clients_waiting(const struct clients *clients);
/* The id of an instance that may be running, for a process to have died on; NULL: none. */
const char *clients_suspect(const struct clients *clients, uint64_t which);
void clients_lost(struct clients *clients, const struct process *process);
const struct subject *clients_subjects(const struct clients *clients);
struct verdict clients_verdict(const struct clients *clients, const char *uid);
/* How a start with this uid was answered: accepted, refused or unknown. */
enum start_answer { START_NEVER, START_UNKNOWN, START_ACCEPTED, START_REFUSED };
enum start_answer clients_start(const struct clients *clients, const char *uid);
size_t clients_uids(const struct clients *clients, const char *const **uids);

/* ---- log.c
 * ---------------------------------------------------------------------------------------- */

struct fact { /* an instance as the valid records have it */
    UT_hash_handle hh;
    char *id;
    uint32_t partition;
    bool exists, rewound;
    struct th_instance_info info;
    struct th_events history;
    uint64_t last;
    unsigned begun; /* how often a start was taken, in all its lives */
};

struct told_task { /* TASK_SCHEDULED in a valid record */
    UT_hash_handle hh;
    char *key; /* "partition/instance/execution/id" */
    int64_t offset;
};

struct facts {
    struct run *run;
    struct th_arena arena;
    struct fact *instances;
    struct told_task *tasks;
    struct outbound *outbound; /* messages in valid records, by where they came from */
    struct copies *copies;     /* how often something was sent to an instance */
    uint64_t valid[MAX_PARTITIONS], parts, invalid, events;
    int64_t position[MAX_PARTITIONS];
};

/* Whether the last claim of a partition is that of the process with this life. */
bool log_is_owner(struct run *run, uint64_t life, uint32_t partition);
/* Notes what landed in the inboxes since the last call. */
void log_watch(struct run *run);
/* Reads every log and inbox and judges them: validity by its own code, consumption, I2, I3. */
void log_read(struct run *run, struct facts *facts);
void log_free(struct facts *facts);
/* Whether a valid record asks for this activity. */
struct told_task *log_told(const struct facts *facts, const struct dispatched *d);
struct fact *log_find(const struct facts *facts, const char *id);
/* How often an event with this data was sent to an instance; "start": how often it was started. */
unsigned log_copies(struct facts *facts, struct th_str instance, struct th_str data);

/* ---- history.c
 * -------------------------------------------------------------------------------------- */

void history_check(struct run *run, const struct fact *fact);
void history_replay(struct run *run, const struct fact *fact);

/* ---- truncation.c ------------------------------------------------------------------------------
 */

void truncation_happen(struct run *run);
void truncation_check(struct run *run);

/* ---- check.c
 * ---------------------------------------------------------------------------------------- */

void check_end(struct run *run);

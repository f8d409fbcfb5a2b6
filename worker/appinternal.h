/*
 * The state of an application's process, and what its files share.
 *
 *   appproc.c     the process itself: started, heard, buried, started again; activities; blame
 *   appepisode.c  episodes, on the node's thread
 *   appclient.c   client functions for callers of the HTTP API, commands of the application's
 * clients
 *
 * Who owns what. `lock` guards what several threads touch: the tables, the bytes to be sent, the
 * hand-over of channels. The manager alone reads the work channel. The node's thread alone uses the
 * episode channel and a pidfd of its own, which the manager lays ready and the host tells it to
 * take. Both kill by pidfd, so no stranger's process is ever hit.
 *
 * A process is `up` once it was told to BEGIN. What is to be sent before waits in the tables:
 * activities and requests keep their frames until they are answered.
 *
 * Lock order: the host's locks before ours. The gateway is therefore never called with ours held.
 */
#pragma once

#include <uthash.h>
#include <utlist.h>

#include "worker/appproc.h"
#include "worker/wire.h"

#define TH_APPPROC_FILES 64 /* descriptors received and not yet claimed by an answer */

/* An activity that is with the process, or waits for it. */
struct item {
    UT_hash_handle hh;
    uint64_t token;
    int32_t task_id;
    char *instance_id;
    struct th_buffer frame;
    bool sent;
};

/* A client function that somebody waits for; on that thread's stack. */
struct visit {
    struct visit *prev, *next;
    uint64_t number;
    struct th_buffer frame;
    bool sent, done;
    struct th_buffer answer; /* the frame's content; empty: the process died */
    int file;
    pthread_cond_t changed;
};

/* A command of the application's clients. Freed by the reply, by the cancellation, or by
 * `th_appproc_command` when the reply came during the submission. */
struct command {
    struct command *prev, *next;
    struct th_appproc *proc;
    uint64_t number; /* the application's */
    uint64_t ticket; /* the gateway's */
    bool listed, answered, dropped;
};

struct suspect {
    char *instance_id;
    char reason[160];
};

struct th_appproc {
    struct th_appproc_options options;
    struct th_host_options settings;
    const struct th_log *log;
    struct th_app *app;
    pthread_t manager;
    int wake; /* eventfd */

    pthread_mutex_t lock;
    pthread_cond_t changed; /* for th_appproc_start */
    bool stopping, quiet, draining;
    bool loaded, refused; /* the first process has said HELLO, or cannot be had */
    struct th_error error;
    struct th_host *host; /* between attach and detach */
    struct item *items;
    size_t sent_items;
    struct visit *visits;
    uint64_t last_number;
    struct command *commands;
    size_t command_count;
    struct th_buffer out;
    size_t out_at;
    bool up;
    int work;                      /* manager's; sent to by others while `up`; -1: none */
    int next_episodes, next_pidfd; /* laid ready for the node's thread; -1: none */
    struct suspect suspect;        /* the episode that was killed; no instance id: none */

    /* The manager's alone. */
    pid_t pid;
    int pidfd, episodes;
    bool greeted;
    bool asked_to_exit; /* its exit blames nobody */
    bool exited;        /* the last process left by exit code */
    struct th_buffer hello;
    struct th_wire wire;
    int files[TH_APPPROC_FILES];
    size_t file_count;
    unsigned deaths_in_a_row;
    th_time started;

    /* The node's thread alone. */
    int node_episodes, node_pidfd;
    struct th_wire node_wire;
    struct th_buffer node_out;
};

/* ---- appproc.c ---- */
void th_appproc_close(int *fd); /* -1 afterwards */
/* Lock held, and the process up. Does not block. */
void th_appproc_send(struct th_appproc *proc, const struct th_buffer *frame);
/* The manager's: the first descriptor received and not claimed; -1: none. */
int th_appproc_take_file(struct th_appproc *proc);

/* ---- appepisode.c: the runner's functions of these names ---- */
void th_appproc_taken_up(void *argument);
enum th_executor_result th_appproc_orchestrate(void *argument, const struct th_episode *episode,
                                               struct th_arena *arena, struct th_actions *out);
void th_appproc_forget(void *argument, struct th_str instance_id);

/* ---- appclient.c ---- */
int th_appproc_serve(void *argument, struct th_operation *op);
void th_appproc_visit_send(struct th_appproc *proc, struct visit *visit); /* lock held; once */
/* The manager's; false: the frame is not what it should be. */
bool th_appproc_answer(struct th_appproc *proc, struct th_str frame, struct th_reader *in);
bool th_appproc_command(struct th_appproc *proc, struct th_reader *in);
bool th_appproc_give_up(struct th_appproc *proc, struct th_reader *in);
/* The process is gone: nobody waits for its commands any more. Lock not held. */
void th_appproc_drop_commands(struct th_appproc *proc);

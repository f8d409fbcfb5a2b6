/*
 * supervisor: runs the program's work in a child process and starts it again when it dies, so
 * that a crash in an application's code costs a restart and not the hub. Single-threaded; call it
 * before any thread is started.
 *
 * SIGTERM, SIGINT and SIGHUP ask the child to stop (it gets SIGTERM); a second one kills it. The
 * child dies with its supervisor. A child whose `run` returns before it says that it is ready has
 * told the reason and is not started again; one that keeps dying as it starts is given up.
 */
#pragma once

#include "base/clock.h"
#include "base/log.h"

struct th_supervised; /* the child's way to report */

struct th_supervisor_options {
    const struct th_log *log;
    /* The child's work; returns its exit code. `restarts` counts the deaths before it. */
    int (*run)(void *argument, struct th_supervised *self, unsigned restarts);
    void *argument;
    int restart_code;      /* an exit with it is the child's own wish; 0: none */
    unsigned max_failures; /* deaths in a row before the child was ready; default 8 */
    th_time first_delay;   /* before the second restart in a row; doubles; default 50 ms */
    th_time max_delay;     /* default 5 s */
    th_time healthy_after; /* a child that lived this long starts the count anew; default 30 s */
};

/* Blocks until the child has ended for good; returns the exit code for the program. */
int th_supervise(const struct th_supervisor_options *options);

/* In the child. `ended_by_exit`: the one before it ended by an exit that nobody asked for. */
bool th_supervised_after_exit(const struct th_supervised *self);
void th_supervised_ready(struct th_supervised *self);
/* Waits for the order to stop. `self` may be NULL: without a supervisor. Signals must have been
 * blocked by th_supervised_block before the first thread was started (th_supervise does it). */
void th_supervised_wait(struct th_supervised *self);
/* The same, but no longer than this: true, it is to stop. */
bool th_supervised_wait_for(struct th_supervised *self, th_time patience);
void th_supervised_block(void);

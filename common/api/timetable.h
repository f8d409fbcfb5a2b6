/*
 * timetable: runs the application's cron functions when they are due, on client-function threads.
 * A function runs at most once per due time; a due time that comes while it still runs, or that
 * passed while the process was not there, is left out.
 */
#pragma once

#include "api/management.h"
#include "api/threads.h"

struct th_timetable;

/* Starts a thread. NULL: the application has no cron functions. */
struct th_timetable *th_timetable_start(const struct th_api *api, struct th_threads *threads);
/* Starts nothing any more; what runs goes on. NULL is fine. */
void th_timetable_stop(struct th_timetable *timetable);
/* After th_threads_stop. NULL is fine. */
void th_timetable_free(struct th_timetable *timetable);

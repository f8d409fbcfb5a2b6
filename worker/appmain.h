/*
 * appmain: the application's side of worker/appproc.h: the process that has loaded the shared
 * object and runs its functions. The main thread serves episodes, one at a time; a second one reads
 * the work channel; activities run on a pool's threads, client functions on threads of their own,
 * and their th_client asks the hub over the work channel. The process ends with the hub.
 */
#pragma once

/* Runs the application at `path` over descriptors 3 (work) and 4 (episodes) until the hub hangs up.
 * Returns the program's exit code; blocks. */
int th_appmain(const char *path);

/*
 * run: the commands that run an application in this process: dev, invoke, replay, bench.
 */
#pragma once

#include "cli/options.h"

struct th_app;
struct th_log;

int cli_dev(const struct cli_options *options);
int cli_invoke(const struct cli_options *options);
/* One operation of the entity that the second argument names; `state` NULL: none. */
int cli_invoke_entity(const struct cli_options *options, const struct th_app *app,
                      const struct th_log *log, const char *input, const char *state);
int cli_replay(const struct cli_options *options);
int cli_bench(const struct cli_options *options);

/* Removes a directory that holds files only, as those of a throw-away hub do. */
void cli_remove_directory(const char *path);

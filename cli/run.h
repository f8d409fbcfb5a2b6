/*
 * run: the commands that run an application in this process: dev, invoke, replay, bench.
 */
#pragma once

#include "cli/options.h"

int cli_dev(const struct cli_options *options);
int cli_invoke(const struct cli_options *options);
int cli_replay(const struct cli_options *options);
int cli_bench(const struct cli_options *options);

/* Removes a directory that holds files only, as those of a throw-away hub do. */
void cli_remove_directory(const char *path);

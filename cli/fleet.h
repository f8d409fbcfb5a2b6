/*
 * fleet: where the fleet is, for the commands that talk to it without a program between: from the
 * options, else from the environment, else the defaults of control/options.h.
 */
#pragma once

#include "cli/options.h"
#include "control/options.h"

struct cli_fleet {
    struct th_fleet_options options;
    struct th_log log;
    struct th_fleet_place place;
};

/* False: said on standard error. What it holds lives until cli_fleet_deinit. */
bool cli_fleet_init(struct cli_fleet *fleet, const struct cli_options *options);
void cli_fleet_deinit(struct cli_fleet *fleet);
#define CLI_FLEET __attribute__((cleanup(cli_fleet_deinit))) struct cli_fleet

/* --hub, else $TASKHUB_HUB, else the default. */
const char *cli_fleet_hub(const struct cli_fleet *fleet);

/* Says what went wrong and returns the exit code for it. */
int cli_refused(const struct th_error *error);

/*
 * remote: the commands that talk to a running hub over its HTTP API. Each returns an exit code.
 */
#pragma once

#include "cli/options.h"

int cli_start(const struct cli_options *options);
int cli_status(const struct cli_options *options);
int cli_wait(const struct cli_options *options);
int cli_raise_event(const struct cli_options *options);
int cli_terminate(const struct cli_options *options);
int cli_suspend(const struct cli_options *options);
int cli_resume(const struct cli_options *options);
int cli_rewind(const struct cli_options *options);
int cli_restart(const struct cli_options *options);
int cli_purge(const struct cli_options *options);
int cli_list(const struct cli_options *options);
int cli_history(const struct cli_options *options);
int cli_entity(const struct cli_options *options);
int cli_hub(const struct cli_options *options);
int cli_lag(const struct cli_options *options);
int cli_doctor(const struct cli_options *options);

/* The text of an option that holds JSON: itself, @FILE or - (standard input); malloc'ed. NULL when
 * there is none (`*ok` true) or it cannot be read or is no JSON (`*ok` false, said). */
char *cli_json_text(const char *option, const char *name, bool *ok);

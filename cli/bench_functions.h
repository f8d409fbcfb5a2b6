/*
 * bench_functions: what `taskhub bench` measures with. The embedded bench has them in its own
 * process; for a fleet they are an application, apps/bench.so, that workers run.
 */
#pragma once

#include "sdk/taskhub.h"

void bench_register(struct th_app *app);

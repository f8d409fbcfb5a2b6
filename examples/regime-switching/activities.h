/*
 * The work of the application, one function each. Everything that computes, reads files or talks to
 * the world is here; the orchestrator only decides what is done next.
 *
 *   plan           a request                          -> a plan, see plan.h
 *   estimate       {request, run}                     -> {run, seed, llf, .., fit}: one random
 * start t_statistics   {request, fit}                     -> see statistics.h chart {request, fit,
 * view}               -> an SVG picture, as a string save_outputs   {request, files, fit,
 * statistics, charts} -> nothing notify         {to, subject, addresses, statistics or failure} ->
 * what was done, as a string
 *
 * They run on the activity pool and may block. Each may run twice for one step.
 */
#pragma once

#include <taskhub.h>

int activity_plan(struct th_activity *activity);
int activity_estimate(struct th_activity *activity);
int activity_t_statistics(struct th_activity *activity);
int activity_chart(struct th_activity *activity);
int activity_save_outputs(struct th_activity *activity);
int activity_notify(struct th_activity *activity);

/*
 * faulty: a provider around any other that fails or delays what passes through, by a seeded plan.
 * What it does is within the contract: completions keep their order, after a failed append the rest
 * of its epoch fails, and around an `ordered` provider nothing takes effect that was submitted
 * between a failure and the poll that shows it. A submission that fails was either never passed on
 * or, when its acknowledgement is "lost", has taken effect all the same.
 *
 * It adds no thread: faults are decided at submission and delays are counted in polls; while
 * something is only delayed, poll calls the wake-up hook, so that the node polls again. The inner
 * provider may have threads.
 */
#pragma once

#include "provider/contract.h"

/* Probabilities are 0 to 1. */
struct th_faulty_plan {
    uint64_t seed;
    uint64_t spared;     /* the first so many submissions are left alone */
    double fail_log;     /* claims and appends that are not passed on */
    double lose_log_ack; /* passed on, reported as failed */
    double fail_send;
    double lose_send_ack;
    double fail_project;
    double lose_project_ack;
    double fail_answer;   /* reads, loads, queries, states */
    double lose_trim;     /* trims that are forgotten, which the contract allows */
    double delay;         /* completions that are held back for … */
    uint32_t delay_polls; /* … 1 to this many polls */
};

struct th_faulty_stats {
    uint64_t passed, failed, lost, delayed;
};

/* Takes over `inner`: it is closed with the provider returned, which never is NULL. */
struct th_provider *th_faulty_open(struct th_provider *inner, const struct th_faulty_plan *plan);

/* The live plan (of a provider of th_faulty_open): it may be changed between calls. */
struct th_faulty_plan *th_faulty_plan(struct th_provider *provider);
void th_faulty_stats(const struct th_provider *provider, struct th_faulty_stats *out);

/*
 * coroutine: a function that can stop in the middle and go on later. The only file that knows how:
 * an own stack per coroutine, and on x86-64 a switch of a dozen instructions (elsewhere ucontext,
 * whose two signal-mask system calls cost more than all the rest).
 *
 * Stacks come from a pool. Each is mapped with a guard page below it: running over the end is a
 * crash, never silent corruption. Only the pages that were touched cost memory. On kernels before
 * 6.13 each stack takes two of the process's mappings (vm.max_map_count, 65,530 by default).
 *
 * A pool and its coroutines belong to one thread. Nothing here blocks.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct th_coroutine;
struct th_stacks;

/* `stack_bytes` is rounded up to pages; up to `keep` unused stacks wait for the next coroutine. */
struct th_stacks *th_stacks_new(size_t stack_bytes, size_t keep);
void th_stacks_free(struct th_stacks *stacks); /* its coroutines must be freed; NULL is fine */

/* Ready to run `function(argument)` at its first resume. NULL: the system gives no more stacks. */
struct th_coroutine *th_coroutine_new(struct th_stacks *stacks, void (*function)(void *argument),
                                      void *argument);
/* Runs it until it suspends (true) or its function returns (false). Not from inside itself. */
bool th_coroutine_resume(struct th_coroutine *coroutine);
/* From inside: goes back to whoever resumed it. */
void th_coroutine_suspend(struct th_coroutine *coroutine);
/* Gives the stack back, finished or not: what is on it is simply forgotten. NULL is fine. */
void th_coroutine_free(struct th_coroutine *coroutine);

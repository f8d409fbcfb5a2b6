/*
 * release: a rolling upgrade over two releases whose formats differ. The first knows format 1 only,
 * the second reads format 2 and writes format 1, the third reads and writes format 2:
 *
 *     first half   programs 0 and 1, in any order, back and forth
 *     second half  programs 1 and 2
 *
 * So each process meets at most its neighbours, and everybody can take over from everybody. In any
 * order means that all three are there from the start: then the first refuses what it does not
 * know, and the others go on with it when the first is gone.
 */
#include "tests/sim/sim.h"

#define NEWEST 2

static const struct th_formats releases[] = {
    {.writes = 1, .reads = 1},
    {.writes = 1, .reads = NEWEST},
    {.writes = NEWEST, .reads = NEWEST},
};

static bool is_second_half(const struct run *run)
{
    return run->calm || run->step >= run->options->steps / 2;
}

unsigned release_draw(struct run *run)
{
    if (!run->plan.upgrade)
        return 0;
    if (run->plan.any_order && !is_second_half(run))
        return (unsigned)run_below(run, 3);
    return (unsigned)run_below(run, 2) + is_second_half(run);
}

struct th_formats release_formats(unsigned release)
{
    return releases[release];
}

bool release_is_over(const struct run *run, const struct process *p)
{
    return run->plan.upgrade && is_second_half(run) && p->release == 0;
}

struct th_reader sim_reader(struct th_str bytes, struct th_arena *arena, struct th_error *error)
{
    struct th_reader reader = th_reader_of(bytes, arena, error);

    reader.format = NEWEST;
    return reader;
}

/*
 * truncation: a log loses its end, acknowledged records among it, and another owner's claim comes
 * to stand where they were. What was promised is gone, so the run is judged by this alone: whoever
 * wrote the lost records notices, and does nothing more that follows from them.
 */
#include "tests/sim/sim.h"

static bool is_claim(struct th_blob *bytes)
{
    TH_ARENA arena = {0};
    struct th_reader in = sim_reader(th_blob_view(bytes), &arena, NULL);
    struct th_record record;

    return th_decode_record(&in, &record) && record.kind == TH_RECORD_CLAIM;
}

/* Records of the present lease at the log's end. */
static int64_t records_of_lease(const struct run *run, uint32_t partition)
{
    const struct th_sim_topic log = th_sim_log(run->world, partition);
    int64_t count = 0;

    while (count < (int64_t)log.count &&
           !is_claim(log.records[log.count - 1 - (size_t)count].bytes))
        count++;
    return count;
}

void truncation_happen(struct run *run)
{
    const uint32_t partition = (uint32_t)run_below(run, run->plan.world.partitions);
    const int64_t there = records_of_lease(run, partition);
    const int64_t end = th_sim_log(run->world, partition).end;

    if (run->truncated || there < 3)
        return;
    run_step_all(run); /* what was acknowledged before may still lead on */
    run->truncated = true;
    run->truncated_partition = partition;
    run->dispatched_before = pool_dispatched_count(run->pool);
    th_sim_truncate_log(run->world, partition, end - 1 - (int64_t)run_below(run, 2));
    th_sim_doubt(run->world, partition);
    run_move(run, partition);
}

/* Activities that began since then, of the partition whose log it is. */
void truncation_check(struct run *run)
{
    struct facts facts;
    struct report *report = run->report;
    struct report other = {.failed = true}; /* of what was lost, the judge has much to say */
    const struct dispatched *d;

    if (!run->truncated)
        return;
    run->report = &other;
    log_read(run, &facts);
    run->report = report;
    for (size_t n = run->dispatched_before; (d = pool_dispatched(run->pool, n)); n++)
        if (d->partition == run->truncated_partition && !log_told(&facts, d))
            run_fail(run, "activity %s/%d follows from a record that the log lost", d->instance_id,
                     d->task_id);
    log_free(&facts);
}

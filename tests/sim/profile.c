/*
 * profile: what kinds of hubs are simulated, and what the seed decides within a kind. Every number
 * is small, so that evictions, cold loads, parts, checkpoints and trims happen all the time.
 */
#include "tests/sim/sim.h"

static double up_to(struct th_random *random, double most)
{
    return th_random_below(random, 3) == 0 ? 0 : th_random_unit(random) * most;
}

static uint64_t between(struct th_random *random, uint64_t least, uint64_t most)
{
    return least + th_random_below(random, most - least + 1);
}

static void draw_common(struct plan *plan, struct th_random *random)
{
    struct th_sim_options *w = &plan->world;

    *w = th_sim_defaults();
    w->hub = "Simulated";
    w->start = INT64_C(1700000000) * TH_SECOND;
    w->step_us = (th_time)between(random, 1, 200);
    w->keep_trimmed = true;
    w->read_records = (uint32_t)between(random, 1, 40);
    for (size_t n = 0; n < TH_SIM_EVENT_COUNT; n++) /* some are far slower than others */
        w->weight[n] = 1u << between(random, 0, 7);
    plan->processes = 1;
    plan->sessions = (unsigned)between(random, 3, 8);
    plan->max_instances = between(random, 1, 8);
    plan->max_warm = between(random, 1, 12);
    plan->checkpoint_records = between(random, 5, 60);
    plan->checkpoint_bytes = between(random, 100, 4000);
    plan->clean_bytes = between(random, 500, 20000);
    plan->piece_records = between(random, 1, 100);
    plan->max_rows = between(random, 1, 20);
    plan->max_unprojected = between(random, 2, 40);
    plan->max_operations = between(random, 0, 4);
    plan->max_entities = between(random, 0, 2);
    plan->project_interval = (th_time)between(random, 1, 40) * TH_MILLISECOND;
    plan->replay_always = th_random_below(random, 4) == 0;
    plan->lazy = up_to(random, 0.5);
    plan->away = th_random_below(random, 2) == 0 ? 0 : th_random_unit(random);
    plan->skew = (th_time)up_to(random, 3.0 * TH_SECOND);
}

/* One process, one file: everything takes effect in order, or dies with the process. */
static void draw_embedded(struct plan *plan, struct th_random *random)
{
    struct th_sim_options *w = &plan->world;

    draw_common(plan, random);
    w->partitions = (uint32_t)between(random, 1, MAX_PARTITIONS);
    w->durable_projection = true;
    w->ordered = true;
    w->early_delivery = th_random_below(random, 2) == 0;
    w->max_record_bytes = th_random_below(random, 2) == 0 ? 0 : between(random, 5000, 9000);
    w->max_message_bytes = w->max_record_bytes > 0 ? 400000 : 0;
    w->zombie = 0.5;
    w->lose_append = up_to(random, 0.003);
    w->lose_append_ack = up_to(random, 0.003);
    w->lose_send = up_to(random, 0.003);
    w->lose_project = up_to(random, 0.003);
    w->fail_answer = up_to(random, 0.01);
    w->lose_trim = up_to(random, 0.3);
    plan->kill = up_to(random, 0.02);
    plan->stop = up_to(random, 0.005);
    plan->strike = up_to(random, 0.005);
    plan->power_cut = up_to(random, 0.002);
    plan->blame = up_to(random, 0.2);
    plan->impatient = up_to(random, 0.02);
}

/* Several processes and a broker that is late, repeats itself, and does what the dead asked for. */
static void draw_cluster(struct plan *plan, struct th_random *random)
{
    struct th_sim_options *w = &plan->world;

    draw_common(plan, random);
    plan->processes = (unsigned)between(random, 2, MAX_PROCESSES);
    w->partitions = (uint32_t)between(random, 2, MAX_PARTITIONS);
    w->shared = true;
    w->max_record_bytes = between(random, 5000, 9000);
    w->max_message_bytes = 400000;
    w->zombie = 0.7;
    w->lose_append = up_to(random, 0.003);
    w->lose_append_ack = up_to(random, 0.005);
    w->lose_send = up_to(random, 0.005);
    w->lose_send_ack = up_to(random, 0.005);
    w->duplicate_send = up_to(random, 0.1);
    w->lose_project = up_to(random, 0.005);
    w->lose_project_ack = up_to(random, 0.005);
    w->fail_answer = up_to(random, 0.005);
    w->lose_trim = up_to(random, 0.3);
    w->lose_word = up_to(random, 0.2);
    plan->goes_out = th_random_below(random, 2) == 0 ? 0 : th_random_unit(random);
    plan->doubt = up_to(random, 0.01);
    plan->kill = up_to(random, 0.01);
    plan->stop = up_to(random, 0.003);
    plan->strike = up_to(random, 0.005);
    plan->power_cut = up_to(random, 0.001);
    plan->blame = up_to(random, 0.2);
    plan->pause = up_to(random, 0.01);
    plan->move = up_to(random, 0.02);
    plan->astray = th_random_unit(random);
    plan->impatient = up_to(random, 0.02);
}

/* As cluster, with a projection that loses everything, or goes back to an old copy. */
static void draw_wiped(struct plan *plan, struct th_random *random)
{
    draw_cluster(plan, random);
    plan->wipe = up_to(random, 0.005);
    plan->lose_row = up_to(random, 0.05);
    plan->dump = up_to(random, 0.01);
    plan->restore = up_to(random, 0.005);
    plan->down = up_to(random, 0.005);
}

/* Acknowledged records are lost: a broker that must not be trusted, or one that lost its power. */
static void draw_truncated(struct plan *plan, struct th_random *random)
{
    draw_cluster(plan, random);
    plan->kill = plan->stop = plan->power_cut = plan->pause = plan->move = 0;
    plan->world.lose_append = plan->world.lose_append_ack = 0;
    plan->goes_out = 0;
    plan->truncate = true;
}

/* Nothing goes wrong: what fails here fails without any help. */
static void draw_calm(struct plan *plan, struct th_random *random)
{
    draw_common(plan, random);
    plan->world.partitions = (uint32_t)between(random, 1, MAX_PARTITIONS);
    plan->world.ordered = th_random_below(random, 2) == 0;
    plan->world.shared = !plan->world.ordered;
    plan->world.durable_projection = plan->world.ordered;
    plan->world.max_record_bytes = between(random, 5000, 9000);
    plan->world.max_message_bytes = 400000;
    plan->goes_out = plan->world.shared ? up_to(random, 1) : 0;
    plan->processes = plan->world.ordered ? 1 : (unsigned)between(random, 1, MAX_PROCESSES);
}

/* Programs of several releases take over from each other. */
static void draw_upgrade(struct plan *plan, struct th_random *random)
{
    if (th_random_below(random, 3) == 0)
        draw_embedded(plan, random);
    else
        draw_wiped(plan, random);
    plan->kill += 0.003;
    plan->upgrade = true;
}

static void draw_upgrade_any(struct plan *plan, struct th_random *random)
{
    draw_upgrade(plan, random);
    plan->any_order = true;
}

/* One instance that goes on as new, thousands of times: everything stays bounded. */
static void draw_endless(struct plan *plan, struct th_random *random)
{
    if (th_random_below(random, 2) == 0)
        draw_embedded(plan, random);
    else
        draw_cluster(plan, random);
    plan->world.lose_trim = 0;
    plan->endless = true;
}

static const struct profile profiles[] = {
    {"embedded", "one process on one file, kills and power cuts", draw_embedded},
    {"cluster", "several processes on a broker, zombies and duplicates", draw_cluster},
    {"cluster-wiped", "as cluster, with a projection that loses everything", draw_wiped},
    {"truncated", "as cluster, with a log that loses its end", draw_truncated},
    {"calm", "nothing goes wrong", draw_calm},
    {"endless", "one instance goes on as new, thousands of times", draw_endless},
    {"upgrade", "programs of three releases, two at a time", draw_upgrade},
    {"upgrade-any", "as upgrade, in any order: the oldest refuses what it does not know",
     draw_upgrade_any},
};

const struct profile *profile_at(size_t index)
{
    return index < TH_COUNT(profiles) ? &profiles[index] : NULL;
}

const struct profile *profile_find(const char *name)
{
    for (size_t n = 0; n < TH_COUNT(profiles); n++)
        if (strcmp(profiles[n].name, name) == 0)
            return &profiles[n];
    return NULL;
}

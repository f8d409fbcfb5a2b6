/*
 * config: what is explored, within which bounds; and where each broken rule must show.
 */
#include "tests/model/model.h"

#include <string.h>

const struct config *config;
bool broken[RULES_TOTAL];

#define LOG(name_, workload_, claims_, flight_) \
    .name = name_, .workload = workload_, .parts = 1, .claims = {claims_}, .flight = flight_
#define LOGS(name_, workload_, other_claims_, flight_)                              \
    .name = name_, .workload = workload_, .parts = 2, .claims = {2, other_claims_}, \
    .flight = flight_
#define ROWS(name_, workload_, claims_, flight_, window_) \
    LOG(name_, workload_, claims_, flight_), .project = {true}, .evict = true, .window = window_
#define CLEAN(name_, workload_, claims_, window_) \
    ROWS(name_, workload_, claims_, 1, window_), .clean = true, .checkpoints = 1, .snapshots = 1
#define LONG(bits) .long_run = true, .table_bits = bits

static const struct config configs[] = {
    /* ---- quick: log, inbox, outbox, activities ---- */
    {LOG("inbox", "inbox-small", 2, 2), .backs = 1, .holes = 1,
     .about = "marks, vector, local messages; two owners, a source that repeats itself"},
    {LOGS("send", "send", 1, 2),
     .about = "source and destination partition, two owners of the source"},
    {LOG("activity", "activity", 2, 2), .again = 1,
     .about = "activities through A, one of them twice"},
    {LOG("cut", "inbox-small", 2, 2), .cuts = 1, .about = "the log loses its end"},
    /* ---- quick: projection ---- */
    {ROWS("rows", "one", 2, 1, 2), .wipes = 1, .about = "cold instances, the projection is wiped"},
    {ROWS("rows-floor", "one", 2, 1, 2), .checkpoints = 1, .about = "rows and a floor"},
    {ROWS("rows-left-out", "two", 2, 1, 0), .subset = true, .wipes = 1,
     .about = "batches that leave instances out, the projection is wiped"},
    {ROWS("rows-late", "three", 1, 2, 2), .subset = true, .timeouts = 1,
     .about = "batches without an answer"},
    {ROWS("rows-cut", "one", 2, 1, 2), .cuts = 1,
     .about = "the log loses its end, the projection is ahead"},
    /* ---- quick: cleaning ---- */
    {CLEAN("clean", "single", 2, 2), .wipes = 1, .about = "cleaning, the projection is wiped"},
    {CLEAN("clean-rolled-back", "single", 2, 0), .saves = 1,
     .about = "cleaning, the projection is rolled back"},
    {CLEAN("clean-lost-row", "single", 2, 2), .losses = 1,
     .about = "cleaning, a single row is lost"},
    {CLEAN("clean-owners", "single", 3, 0), .settled = true, .wipes = 1, .table_bits = 24,
     .about = "two owners more, one of them slow, cleaning, the projection is wiped"},
    /* ---- long ---- */
    {LOG("inbox-long", "inbox", 2, 2), .backs = 1, .holes = 1, LONG(26),
     .about = "one message more, another is parked"},
    {LOG("inbox-owners", "inbox-small", 3, 2), .holes = 1, LONG(24), .about = "three owners"},
    {LOGS("send-back", "send-back", 2, 1), LONG(26),
     .about = "there and back, two owners of each partition"},
    {LOG("activity-purge", "activity-again", 2, 2), .again = 1, LONG(25),
     .about = "an instance that is purged and comes back, its activities run again"},
    {LOG("cut-twice", "inbox-small", 2, 2), .backs = 1, .cuts = 2, LONG(24),
     .about = "the log loses its end twice, a repeating source"},
    {ROWS("rows-long", "one", 2, 2, 2), .checkpoints = 1, .wipes = 1, LONG(26),
     .about = "two records under way, a floor, the projection is wiped"},
    {ROWS("rows-cut-owners", "one", 3, 1, 0), .cuts = 2, LONG(26),
     .about = "three owners, the log loses its end twice"},
    {CLEAN("clean-late", "single", 2, 2), .wipes = 1, .timeouts = 1, LONG(26),
     .about = "cleaning, the projection is wiped, a batch without an answer"},
    {CLEAN("clean-gone", "gone", 2, 1), .saves = 1, LONG(26),
     .about = "cleaning, the projection is rolled back; the instance is purged"},
    {CLEAN("clean-wiped-purge", "gone", 2, 1), .wipes = 1, LONG(26),
     .about = "cleaning, the projection is wiped; the instance is purged"},
};

const struct config *config_at(size_t index)
{
    return index < sizeof(configs) / sizeof(*configs) ? &configs[index] : NULL;
}

const struct config *config_find(const char *name)
{
    for (size_t n = 0; config_at(n); n++)
        if (strcmp(config_at(n)->name, name) == 0)
            return config_at(n);
    return NULL;
}

/* ---- rules ---- */

static const struct {
    const char *name, *text;
} rules[] = {
#define RULE_ROW(name, text) {#name, text},
    RULES(RULE_ROW)
#undef RULE_ROW
};

enum rule rule_find(const char *name)
{
    int n = 0;

    while (n < RULES_TOTAL && strcmp(rules[n].name, name) != 0)
        n++;
    return (enum rule)n;
}

const char *rule_name(enum rule rule)
{
    return rules[rule].name;
}

const char *rule_text(enum rule rule)
{
    return rules[rule].text;
}

#define ONE(a, where)        \
    {                        \
        {RULE_##a}, 1, where \
    }
#define TWO(a, b, where)               \
    {                                  \
        {RULE_##a, RULE_##b}, 2, where \
    }

static const struct mutation mutations[] = {
    ONE(ACK_CHECK, "inbox"),
    ONE(SEQUENCE, "inbox"),
    ONE(NONCE, "cut"),
    ONE(READ_BACK, "cut"),
    ONE(RELEASE_ACKED, "send"),
    ONE(DEDUPE, "send"),
    ONE(VECTOR_AT_POSITION, "inbox"),
    ONE(POSITION_CONSUMED, "inbox"),
    ONE(MARKS, "inbox"),
    ONE(LOCALS, "inbox"),
    ONE(SENT_MARK, "send"),
    ONE(SENT_MARK, "activity"),
    ONE(TRIM_ACKED, "inbox"),
    ONE(SCHEDULING, "activity"),
    ONE(NUMBER, "rows-late"),
    ONE(ABOVE, "rows"),
    ONE(LATER, "rows"),
    ONE(STORED, "clean-lost-row"),
    ONE(ROW_COUNT, "clean-lost-row"),
    ONE(BUILDING, "clean"),
    ONE(FLOOR_BELOW, "rows-floor"),
    ONE(FLOOR_OFFSET, "clean-gone"),
    ONE(WATERMARK_THERE, "rows-cut-owners"),
    ONE(SEQUENCE_THERE, "rows-cut"),
    ONE(SKIP, "rows-floor"),
    ONE(ROWS_ACKED, "rows"),
    ONE(COLD_LOOK, "rows"),
    ONE(TARGET_ACKED, "rows-left-out"),
    ONE(TARGET_STAMPS, "rows"),
    ONE(READ_TO_END, "clean-owners"),
    TWO(CLEAR, ROW_COUNT, "clean-wiped-purge"),
    TWO(OVERTAKEN, ROW_COUNT, "clean-gone"),
    ONE(CLEAN_CHECKPOINT, "clean"),
    ONE(CLEAN_ACKED, "clean"),
    ONE(CLEAN_FLOOR, "clean"),
    ONE(CLEAN_LOOK, "clean"),
};

const struct mutation *mutation_at(size_t index)
{
    return index < sizeof(mutations) / sizeof(*mutations) ? &mutations[index] : NULL;
}

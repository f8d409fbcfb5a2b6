/*
 * config: what is explored, within which bounds.
 */
#include "tests/model/model.h"

#include <string.h>

const struct config *config;
bool broken[RULES_TOTAL];

static const struct config configs[] = {
    {.name = "inbox", .workload = "inbox-small", .about = "", .parts = 1, .claims = {2}, .flight = 2,
     .backs = 1},
    {.name = "send", .workload = "send", .about = "", .parts = 2, .claims = {2, 1}, .flight = 2},
    {.name = "activity", .workload = "activity", .about = "", .parts = 1, .claims = {2},
     .flight = 2, .again = 1},
    {.name = "rows", .workload = "rows", .about = "", .parts = 1, .claims = {2}, .flight = 2,
     .project = {true}, .evict = true, .wipes = 1, .checkpoints = 1, .window = 2},
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

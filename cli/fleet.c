#include "cli/fleet.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/memory.h"

static const char *given(const char *option, const char *variable)
{
    const char *value = option ? option : getenv(variable);
    return value && *value ? value : NULL;
}

/* Between semicolons. */
static void add_properties(struct th_argument_list *list, const char *text)
{
    while (text && *text) {
        size_t len = strcspn(text, ";");
        list->items = th_grow(list->items, &list->capacity, list->count + 1, sizeof *list->items);
        list->items[list->count++] = th_str_dup(th_str_n(text, len));
        text += len;
        text += *text == ';';
    }
}

bool cli_fleet_init(struct cli_fleet *fleet, const struct cli_options *options)
{
    struct th_error error;
    *fleet = (struct cli_fleet){.log = {.level = TH_LOG_ERROR, .fd = STDERR_FILENO}};
    fleet->options = (struct th_fleet_options){
        .hub = given(options->hub, "TASKHUB_HUB"),
        .kafka = given(options->kafka, "TASKHUB_KAFKA"),
        .redis = given(options->redis, "TASKHUB_REDIS"),
        .log_level = options->log_level,
    };
    add_properties(&fleet->options.properties,
                   given(options->kafka_property, "TASKHUB_KAFKA_PROPERTIES"));
    if (th_fleet_log(&fleet->options, &fleet->log, &error) &&
        th_fleet_place(&fleet->options, &fleet->log, &fleet->place, &error))
        return true;
    cli_refused(&error);
    return false;
}

void cli_fleet_deinit(struct cli_fleet *fleet)
{
    th_fleet_place_deinit(&fleet->place);
    for (size_t i = 0; i < fleet->options.properties.count; i++)
        free(fleet->options.properties.items[i]);
    free(fleet->options.properties.items);
}

const char *cli_fleet_hub(const struct cli_fleet *fleet)
{
    return fleet->options.hub ? fleet->options.hub : "TestHubName";
}

int cli_refused(const struct th_error *error)
{
    fprintf(stderr, "taskhub: %s\n", error->message);
    switch (error->code) {
    case TH_NOT_FOUND:
        return CLI_NOT_FOUND;
    case TH_EXISTS:
    case TH_PRECONDITION:
        return CLI_CONFLICT;
    case TH_UNAVAILABLE:
        return CLI_UNAVAILABLE;
    default:
        return CLI_ERROR;
    }
}

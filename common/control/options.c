#include "control/options.h"

#include <stdlib.h>

#include "base/buffer.h"
#include "base/memory.h"
#include "provider/redis/redis.h"

const struct th_argument th_fleet_arguments[] = {
#define X(...) TH_ARGUMENT_ROW(struct th_fleet_options, __VA_ARGS__)
    TH_FLEET_ARGUMENTS(X)
#undef X
};
const size_t th_fleet_argument_count = TH_COUNT(th_fleet_arguments);

/* "NAME=VALUE" each; the copies are cut at the first "=". */
static bool split_properties(const struct th_argument_list *list, struct th_fleet_place *out,
                             struct th_error *error)
{
    size_t bytes = 1;
    for (size_t i = 0; i < list->count; i++) {
        bytes += strlen(list->items[i]) + 1;
    }
    out->texts = th_alloc(bytes);
    out->properties = th_alloc((list->count + 1) * sizeof(*out->properties));
    char *at = out->texts;
    for (size_t i = 0; i < list->count; i++) {
        strcpy(at, list->items[i]);
        char *sign = strchr(at, '=');
        if (!sign || sign == at) {
            return th_fail(error, TH_INVALID, "-X needs NAME=VALUE, not \"%.80s\"", at);
        }
        *sign = '\0';
        out->properties[i] = (struct th_kafka_property){at, sign + 1};
        at = sign + 1 + strlen(sign + 1) + 1;
    }
    return true;
}

/* "host:port" is as good as a URL. */
static char *redis_url(const char *given)
{
    TH_BUFFER url = {0};
    if (!given) {
        return th_str_dup(TH_STR(TH_DEFAULT_REDIS));
    }
    th_buffer_format(&url, "%s%s", strstr(given, "://") ? "" : "redis://", given);
    return th_buffer_take(&url);
}

bool th_fleet_place(const struct th_fleet_options *options, const struct th_log *log,
                    struct th_fleet_place *out, struct th_error *error)
{
    if (!split_properties(&options->properties, out, error)) {
        return false;
    }
    out->redis = redis_url(options->redis);
    out->cluster = (struct th_kafka_cluster){
        .brokers = options->kafka ? options->kafka : TH_DEFAULT_KAFKA,
        .properties = out->properties,
        .property_count = options->properties.count,
        .log = log,
        .keep = options->keep,
    };
    return th_kafka_check_properties(&out->cluster, error) && th_redis_check_url(out->redis, error);
}

void th_fleet_place_deinit(struct th_fleet_place *place)
{
    free(place->redis);
    free(place->properties);
    free(place->texts);
    *place = (struct th_fleet_place){0};
}

bool th_fleet_log(const struct th_fleet_options *options, struct th_log *log,
                  struct th_error *error)
{
    const char *level = options->log_level;
    log->json |= options->log_json;
    return !level || th_level_parse(th_str_of(level), &log->level) ||
           th_fail(error, TH_INVALID, "the log level is error, warn, info or debug, not \"%.40s\"",
                   level);
}

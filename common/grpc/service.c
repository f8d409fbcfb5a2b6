/* service: what the connections of a server share: its methods, its limits, and how much is open.
 */
#include <stdlib.h>

#include "base/memory.h"
#include "grpc/internal.h"

const char *th_grpc_status_text(enum th_grpc_status status)
{
    switch (status) {
#define X(name, number)  \
    case TH_GRPC_##name: \
        return #name;
        TH_GRPC_STATUSES(X)
#undef X
    }
    return "UNKNOWN";
}

struct th_str th_grpc_metadata_get(struct th_grpc_metadata metadata, const char *name)
{
    for (size_t i = 0; i < metadata.count; i++) {
        if (th_str_eq(metadata.fields[i].name, th_str_of(name))) {
            return metadata.fields[i].value;
        }
    }
    return TH_STR_ABSENT;
}

static void set_limits(struct th_grpc_limits *limits, const struct th_grpc_limits *wanted)
{
#define X(name, standard, text) limits->name = wanted->name ? wanted->name : (standard);
    TH_GRPC_LIMITS(X)
#undef X
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct th_grpc_method *)a)->path,
                  ((const struct th_grpc_method *)b)->path);
}

static bool distinct(const struct th_grpc_service *service, struct th_error *error)
{
    for (size_t i = 1; i < service->method_count; i++) {
        if (by_path(&service->methods[i - 1], &service->methods[i]) == 0) {
            return th_fail(error, TH_INVALID, "two gRPC methods have the path %s",
                           service->methods[i].path);
        }
    }
    return true;
}

bool th_grpc_service_init(struct th_grpc_service *service,
                          const struct th_grpc_server_options *options, struct th_error *error)
{
    *service = (struct th_grpc_service){.find = options->find, .argument = options->argument};
    set_limits(&service->limits, &options->limits);
    service->method_count = options->method_count;
    service->methods =
        th_memdup(options->methods, options->method_count * sizeof(*options->methods));
    for (size_t i = 0; i < service->method_count; i++) {
        service->methods[i].path = th_str_dup(th_str_of(options->methods[i].path));
    }
    if (service->method_count) {
        qsort(service->methods, service->method_count, sizeof(*service->methods), by_path);
    }
    if (!distinct(service, error)) {
        th_grpc_service_deinit(service);
        return false;
    }
    return true;
}

void th_grpc_service_deinit(struct th_grpc_service *service)
{
    for (size_t i = 0; i < service->method_count; i++) {
        free((char *)service->methods[i].path);
    }
    free(service->methods);
    service->methods = NULL;
    service->method_count = 0;
}

static int compare(struct th_str path, const char *with)
{
    return th_str_cmp(path, th_str_of(with));
}

const struct th_grpc_method *th_grpc_service_find(const struct th_grpc_service *service,
                                                  struct th_str path)
{
    size_t from = 0, to = service->method_count;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        int order = compare(path, service->methods[middle].path);
        if (order == 0) {
            return &service->methods[middle];
        }
        from = order > 0 ? middle + 1 : from;
        to = order < 0 ? middle : to;
    }
    return service->find ? service->find(service->argument, path) : NULL;
}

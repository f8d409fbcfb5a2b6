/*
 * The provider refuses what it cannot do; what is added here are the rules of names and counts and
 * sentences that say what to do instead.
 */
#include "coordinator/provisioning.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/memory.h"
#include "model/name.h"

#define MAX_PARTITIONS 1024

static bool check(const char *name, uint32_t partitions, struct th_error *error)
{
    if (!th_hub_name_check(th_str_of(name), error))
        return false;
    if (partitions < 1 || partitions > MAX_PARTITIONS)
        return th_fail(error, TH_INVALID, "a hub has 1 to %d partitions, not %" PRIu32,
                       MAX_PARTITIONS, partitions);
    return true;
}

/* Clients name hubs without regard to case, so no two may differ by case alone. */
static bool check_case(const struct th_hub_store *store, const char *name, struct th_error *error)
{
    struct th_hub_record *hubs = NULL;
    size_t count = 0;
    bool good = true;
    if (!store->list(store, &hubs, &count, error))
        return false;
    for (size_t i = 0; good && i < count; i++)
        if (strcmp(hubs[i].name, name) != 0 &&
            th_str_eq_nocase(th_str_of(hubs[i].name), th_str_of(name)))
            good = th_fail(error, TH_EXISTS,
                           "hub %s differs only by case from hub %s, which is in %s already", name,
                           hubs[i].name, store->where);
    free(hubs);
    return good;
}

bool th_provision_create(const struct th_hub_store *store, const char *name, uint32_t partitions,
                         struct th_hub_record *out, struct th_error *error)
{
    struct th_hub_record hub;
    return check(name, partitions, error) && check_case(store, name, error) &&
           store->create(store, name, partitions, out ? out : &hub, error);
}

static void warn_of_partitions(uint32_t asked, const struct th_hub_record *hub,
                               const struct th_log *log)
{
    if (asked && asked != hub->partitions)
        th_log(log, TH_LOG_WARN, "coordinator",
               "hub %s has %" PRIu32 " partitions and keeps them; the %" PRIu32
               " asked for are for new hubs",
               hub->name, hub->partitions, asked);
}

bool th_provision_ensure(const struct th_hub_store *store, const char *name, uint32_t asked,
                         uint32_t fallback, const struct th_log *log, struct th_hub_record *out,
                         struct th_error *error)
{
    struct th_error why = {.code = TH_OK};
    if (!check(name, asked ? asked : fallback, error))
        return false;
    *out = (struct th_hub_record){.partitions = 0};
    bool there = store->find(store, name, out, &why);
    if (!there && why.code == TH_NOT_FOUND) {
        if (th_provision_create(store, name, asked ? asked : fallback, out, &why))
            return true;
        there = why.code == TH_EXISTS && th_str_eq(th_str_of(out->name), th_str_of(name));
    }
    if (there)
        warn_of_partitions(asked, out, log);
    else if (error)
        *error = why;
    return there;
}

/* "Other, Second": what there is instead. */
static char *names_in(const struct th_hub_store *store)
{
    struct th_hub_record *hubs = NULL;
    size_t count = 0;
    TH_BUFFER text = {NULL, 0, 0};
    if (store->list(store, &hubs, &count, NULL))
        for (size_t i = 0; i < count; i++)
            th_buffer_format(&text, "%s%s", i ? ", " : "", hubs[i].name);
    free(hubs);
    return th_buffer_take(&text);
}

/* Adds to "no such hub" which there are. */
static bool explain(const struct th_hub_store *store, const char *name, struct th_error *error)
{
    if (!error || error->code != TH_NOT_FOUND)
        return false;
    TH_AUTOFREE char *names = names_in(store);
    if (names && *names)
        return th_fail(error, TH_NOT_FOUND, "there is no hub %s in %s; there are: %.300s", name,
                       store->where, names);
    return th_fail(error, TH_NOT_FOUND, "there is no hub %s: %s holds none", name, store->where);
}

bool th_provision_delete(const struct th_hub_store *store, const char *name, struct th_error *error)
{
    return store->remove(store, name, error) || explain(store, name, error);
}

bool th_provision_show(const struct th_hub_store *store, const char *name,
                       struct th_hub_record *out, struct th_error *error)
{
    return store->find(store, name, out, error) || explain(store, name, error);
}

bool th_provision_list(const struct th_hub_store *store, struct th_hub_record **hubs, size_t *count,
                       struct th_error *error)
{
    return store->list(store, hubs, count, error);
}

json_t *th_provision_json(const struct th_hub_record *hub)
{
    char created[40];
    char incarnation[17];
    th_time_format(hub->created, 0, created);
    snprintf(incarnation, sizeof incarnation, "%016" PRIx64, hub->incarnation);
    return json_pack("{s:s, s:s, s:I, s:s}", "name", hub->name, "incarnation", incarnation,
                     "partitions", (json_int_t)hub->partitions, "created", created);
}

/* ---- for the HTTP API ------------------------------------------------------------------------ */

static json_t *document(const struct th_provisioning *p, const struct th_hub_record *hub)
{
    json_t *json = th_provision_json(hub);
    bool running = p->running && th_str_eq_nocase(th_str_of(p->running), th_str_of(hub->name));
    json_object_set_new(json, "running", json_boolean(running));
    return json;
}

static json_t *http_list(void *argument, struct th_error *error)
{
    struct th_provisioning *p = argument;
    struct th_hub_record *hubs = NULL;
    size_t count = 0;
    if (!th_provision_list(p->store, &hubs, &count, error))
        return NULL;
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, document(p, &hubs[i]));
    free(hubs);
    return list;
}

static json_t *http_show(void *argument, const char *name, struct th_error *error)
{
    struct th_provisioning *p = argument;
    struct th_hub_record hub;
    return th_provision_show(p->store, name, &hub, error) ? document(p, &hub) : NULL;
}

static bool partitions_of(const struct th_provisioning *p, const json_t *options, uint32_t *out,
                          struct th_error *error)
{
    const json_t *value = json_object_get(options, "partitions");
    *out = p->partitions ? p->partitions : 1;
    if (!value || json_is_null(value))
        return true;
    json_int_t number = json_integer_value(value);
    if (!json_is_integer(value) || number < 1 || number > MAX_PARTITIONS)
        return th_fail(error, TH_INVALID, "\"partitions\" must be a whole number from 1 to %d",
                       MAX_PARTITIONS);
    *out = (uint32_t)number;
    return true;
}

static json_t *http_create(void *argument, const char *name, const json_t *options,
                           struct th_error *error)
{
    struct th_provisioning *p = argument;
    uint32_t partitions;
    struct th_hub_record hub;
    if (!partitions_of(p, options, &partitions, error) ||
        !th_provision_create(p->store, name, partitions, &hub, error))
        return NULL;
    return document(p, &hub);
}

static bool http_remove(void *argument, const char *name, struct th_error *error)
{
    struct th_provisioning *p = argument;
    if (p->running && th_str_eq_nocase(th_str_of(name), th_str_of(p->running)))
        return th_fail(error, TH_PRECONDITION,
                       "hub %s is running in this process; stop it, then delete it with "
                       "`taskhub hub delete %s %s %s`",
                       name, name, p->store->option, p->store->where);
    return th_provision_delete(p->store, name, error);
}

struct th_http_hubs th_provision_http(struct th_provisioning *provisioning)
{
    return (struct th_http_hubs){
        .argument = provisioning,
        .list = http_list,
        .show = http_show,
        .create = http_create,
        .remove = http_remove,
    };
}

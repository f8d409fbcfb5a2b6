/* Hubs in a file of SQLite. */
#include <stddef.h>

#include "coordinator/provisioning.h"
#include "provider/sqlite/sqlite.h"

static bool list(const struct th_hub_store *store, struct th_hub_record **hubs, size_t *count,
                 struct th_error *error)
{
    return th_sqlite_list_hubs(store->where, hubs, count, error);
}

static bool find(const struct th_hub_store *store, const char *name, struct th_hub_record *out,
                 struct th_error *error)
{
    return th_sqlite_hub(store->where, name, out, error);
}

static bool create(const struct th_hub_store *store, const char *name, uint32_t partitions,
                   struct th_hub_record *out, struct th_error *error)
{
    bool made = th_sqlite_create_hub(store->where, name, partitions, false, error);
    if (!made && (!error || error->code != TH_EXISTS))
        return false;
    return th_sqlite_hub(store->where, name, out, made ? error : NULL) && made;
}

static bool remove_hub(const struct th_hub_store *store, const char *name, struct th_error *error)
{
    return th_sqlite_delete_hub(store->where, name, error);
}

struct th_hub_store th_file_store(const char *file)
{
    return (struct th_hub_store){.where = file,
                                 .option = "--db",
                                 .list = list,
                                 .find = find,
                                 .create = create,
                                 .remove = remove_hub};
}

/*
 * hub: the hubs of a file. A hub takes a run of streams, one per partition, the lowest run that no
 * other hub has: streams of a deleted hub are free again because nothing is left in them.
 */
#include <stdlib.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/memory.h"
#include "provider/sqlite/internal.h"

static bool letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool check_name(const char *name, struct th_error *error)
{
    size_t len = strlen(name);
    bool good = len > 0 && len < sizeof(((struct th_hub_record *)0)->name) && letter(name[0]);
    for (size_t i = 0; good && i < len; i++) {
        good = letter(name[i]) || (name[i] >= '0' && name[i] <= '9');
    }
    return good || th_fail(error, TH_INVALID,
                           "a hub's name is a letter followed by letters and digits, at most 63 "
                           "in all; \"%.80s\" is not",
                           name);
}

static void read_hub(sqlite3_stmt *statement, struct th_sqlite_hub_row *out)
{
    *out = (struct th_sqlite_hub_row){
        .hub = sqlite3_column_int64(statement, 0),
        .base = (uint32_t)sqlite3_column_int64(statement, 4),
        .record.incarnation = (uint64_t)sqlite3_column_int64(statement, 2),
        .record.partitions = (uint32_t)sqlite3_column_int64(statement, 3),
        .record.created = sqlite3_column_int64(statement, 5),
    };
    struct th_str name = th_sqlite_column(statement, 1);
    size_t room = sizeof(out->record.name) - 1;
    memcpy(out->record.name, name.data ? name.data : "", name.len < room ? name.len : room);
}

static bool plausible(const struct th_sqlite_db *db, const struct th_sqlite_hub_row *hub,
                      struct th_error *error)
{
    uint32_t count = hub->record.partitions;
    return (count >= 1 && count <= TH_SQLITE_MAX_PARTITIONS &&
            hub->base <= TH_SQLITE_STREAMS - count) ||
           th_fail(error, TH_CORRUPT, "the record of hub %s in %s is damaged", hub->record.name,
                   db->file);
}

#define SELECT_HUB "SELECT hub, name, incarnation, partitions, base, created FROM hubs "

bool th_sqlite_find_hub(const struct th_sqlite_db *db, const char *name,
                        struct th_sqlite_hub_row *out, struct th_error *error)
{
    TH_SQLITE_STMT *statement = NULL;
    if (!th_sqlite_prepare(db, SELECT_HUB "WHERE name=?1", &statement, error)) {
        return false;
    }
    th_sqlite_bind_str(statement, 1, th_str_of(name));
    switch (sqlite3_step(statement)) {
    case SQLITE_ROW:
        read_hub(statement, out);
        return plausible(db, out, error);
    case SQLITE_DONE:
        return th_fail(error, TH_NOT_FOUND, "there is no hub %s in %s", name, db->file);
    default:
        return th_sqlite_fail(error, db, "read");
    }
}

static bool open_hub(struct th_sqlite_db *db, const char *file, const char *name,
                     struct th_sqlite_hub_row *hub, struct th_error *error)
{
    return check_name(name, error) &&
           th_sqlite_db_open(db, file, NULL, TH_SQLITE_EXISTING, error) &&
           th_sqlite_find_hub(db, name, hub, error);
}

bool th_sqlite_hub(const char *file, const char *name, struct th_hub_record *out,
                   struct th_error *error)
{
    TH_SQLITE_DB db = {0};
    struct th_sqlite_hub_row hub;
    if (!open_hub(&db, file, name, &hub, error)) {
        return false;
    }
    *out = hub.record;
    return true;
}

static bool collect(const struct th_sqlite_db *db, sqlite3_stmt *statement,
                    struct th_hub_record **hubs, size_t *count, struct th_error *error)
{
    size_t capacity = 0;
    int result;
    while ((result = sqlite3_step(statement)) == SQLITE_ROW) {
        struct th_sqlite_hub_row hub;
        read_hub(statement, &hub);
        *hubs = th_grow(*hubs, &capacity, *count + 1, sizeof(**hubs));
        (*hubs)[(*count)++] = hub.record;
    }
    return result == SQLITE_DONE || th_sqlite_fail(error, db, "read");
}

bool th_sqlite_list_hubs(const char *file, struct th_hub_record **hubs, size_t *count,
                         struct th_error *error)
{
    *hubs = NULL;
    *count = 0;
    if (access(file, F_OK) != 0) {
        return true;
    }
    TH_SQLITE_DB db = {0};
    TH_SQLITE_STMT *statement = NULL;
    if (th_sqlite_db_open(&db, file, NULL, TH_SQLITE_EXISTING, error) &&
        th_sqlite_prepare(&db, SELECT_HUB "ORDER BY name", &statement, error) &&
        collect(&db, statement, hubs, count, error)) {
        return true;
    }
    free(*hubs);
    *hubs = NULL;
    *count = 0;
    return false;
}

/* ---- creating and deleting ---- */

static bool find_base(const struct th_sqlite_db *db, uint32_t partitions, uint32_t *out,
                      struct th_error *error)
{
    TH_SQLITE_STMT *statement = NULL;
    if (!th_sqlite_prepare(db, "SELECT base, partitions FROM hubs ORDER BY base", &statement,
                           error)) {
        return false;
    }
    int64_t base = 0;
    int result;
    while ((result = sqlite3_step(statement)) == SQLITE_ROW &&
           sqlite3_column_int64(statement, 0) - base < partitions) {
        base = sqlite3_column_int64(statement, 0) + sqlite3_column_int64(statement, 1);
    }
    if (result != SQLITE_ROW && result != SQLITE_DONE) {
        return th_sqlite_fail(error, db, "read");
    }
    if (base + partitions > TH_SQLITE_STREAMS) {
        return th_fail(error, TH_PRECONDITION, "%s has no room for %u more partitions", db->file,
                       (unsigned)partitions);
    }
    *out = (uint32_t)base;
    return true;
}

static bool insert_hub(const struct th_sqlite_db *db, const char *name, uint32_t partitions,
                       uint32_t base, struct th_error *error)
{
    TH_SQLITE_STMT *statement = NULL;
    if (!th_sqlite_prepare(db,
                           "INSERT INTO hubs(name, incarnation, partitions, base, created)"
                           " VALUES(?1, ?2, ?3, ?4, ?5)",
                           &statement, error)) {
        return false;
    }
    th_sqlite_bind_str(statement, 1, th_str_of(name));
    sqlite3_bind_int64(statement, 2, (int64_t)th_random_system());
    sqlite3_bind_int64(statement, 3, partitions);
    sqlite3_bind_int64(statement, 4, base);
    sqlite3_bind_int64(statement, 5, th_now());
    return th_sqlite_run(db, statement, "write to", error);
}

static bool insert_partitions(const struct th_sqlite_db *db, uint32_t base, uint32_t count,
                              struct th_error *error)
{
    TH_SQLITE_STMT *statement = NULL;
    bool done = th_sqlite_prepare(db, "INSERT INTO partitions VALUES(?1, 0, 0, 0, 0, -1, 0, 0)",
                                  &statement, error);
    for (uint32_t i = 0; done && i < count; i++) {
        sqlite3_bind_int64(statement, 1, base + i);
        done = th_sqlite_run(db, statement, "write to", error);
    }
    return done;
}

static bool delete_range(const struct th_sqlite_db *db, const char *sql, int64_t from, int64_t to,
                         struct th_error *error)
{
    TH_SQLITE_STMT *statement = NULL;
    if (!th_sqlite_prepare(db, sql, &statement, error)) {
        return false;
    }
    sqlite3_bind_int64(statement, 1, from);
    sqlite3_bind_int64(statement, 2, to);
    return th_sqlite_run(db, statement, "write to", error);
}

static bool delete_rows(const struct th_sqlite_db *db, const struct th_sqlite_hub_row *hub,
                        struct th_error *error)
{
    uint32_t end = hub->base + hub->record.partitions;
    int64_t first = th_sqlite_key(hub->base, 0);
    int64_t last = th_sqlite_key(end - 1, TH_SQLITE_OFFSET_MAX);
    return delete_range(db, "DELETE FROM log WHERE stream>=?1 AND stream<?2", hub->base, end,
                        error) &&
           delete_range(db, "DELETE FROM inbox WHERE key BETWEEN ?1 AND ?2", first, last, error) &&
           delete_range(db,
                        "DELETE FROM history WHERE EXISTS (SELECT 1 FROM instances"
                        " WHERE row=key>>22 AND stream>=?1 AND stream<?2)",
                        hub->base, end, error) &&
           delete_range(db,
                        "DELETE FROM long_values WHERE EXISTS (SELECT 1 FROM instances"
                        " WHERE row=key>>2 AND stream>=?1 AND stream<?2)",
                        hub->base, end, error) &&
           delete_range(db, "DELETE FROM instances WHERE stream>=?1 AND stream<?2", hub->base, end,
                        error) &&
           delete_range(db, "DELETE FROM partitions WHERE stream>=?1 AND stream<?2", hub->base, end,
                        error) &&
           delete_range(db, "DELETE FROM hubs WHERE hub BETWEEN ?1 AND ?2", hub->hub, hub->hub,
                        error);
}
_Static_assert(TH_SQLITE_CHUNK_BITS == 22 && TH_SQLITE_VALUE_BITS == 2, "as delete_rows has it");

static bool begin(const struct th_sqlite_db *db, struct th_error *error)
{
    return th_sqlite_exec(db, "BEGIN IMMEDIATE", error);
}

static bool finish(const struct th_sqlite_db *db, bool done, struct th_error *error)
{
    if (done && th_sqlite_exec(db, "COMMIT", error)) {
        return true;
    }
    sqlite3_exec(db->handle, "ROLLBACK", NULL, NULL, NULL);
    return false;
}

static bool make_room(const struct th_sqlite_db *db, const char *name, bool replace,
                      struct th_error *error)
{
    struct th_sqlite_hub_row old;
    struct th_error reason;
    if (!th_sqlite_find_hub(db, name, &old, &reason)) {
        return reason.code == TH_NOT_FOUND || th_fail(error, reason.code, "%s", reason.message);
    }
    return replace ? delete_rows(db, &old, error)
                   : th_fail(error, TH_EXISTS, "hub %s in %s exists already", name, db->file);
}

bool th_sqlite_create_hub(const char *file, const char *name, uint32_t partitions, bool replace,
                          struct th_error *error)
{
    if (!check_name(name, error)) {
        return false;
    }
    if (partitions < 1 || partitions > TH_SQLITE_MAX_PARTITIONS) {
        return th_fail(error, TH_INVALID, "a hub has 1 to %d partitions, not %u",
                       TH_SQLITE_MAX_PARTITIONS, (unsigned)partitions);
    }
    TH_SQLITE_DB db = {0};
    int lock = -1;
    uint32_t base = 0;
    bool done =
        th_sqlite_db_open(&db, file, NULL, TH_SQLITE_CREATE, error) &&
        (!replace || (lock = th_sqlite_lock(file, name, error)) >= 0) && begin(&db, error) &&
        finish(&db,
               make_room(&db, name, replace, error) && find_base(&db, partitions, &base, error) &&
                   insert_hub(&db, name, partitions, base, error) &&
                   insert_partitions(&db, base, partitions, error),
               error);
    th_sqlite_unlock(lock);
    return done;
}

bool th_sqlite_delete_hub(const char *file, const char *name, struct th_error *error)
{
    TH_SQLITE_DB db = {0};
    struct th_sqlite_hub_row hub;
    if (!open_hub(&db, file, name, &hub, error)) {
        return false;
    }
    int lock = th_sqlite_lock(file, name, error);
    if (lock < 0) {
        return false;
    }
    bool done =
        begin(&db, error) &&
        finish(&db, th_sqlite_find_hub(&db, name, &hub, error) && delete_rows(&db, &hub, error),
               error);
    if (done) {
        th_sqlite_lock_remove(file, name);
    }
    th_sqlite_unlock(lock);
    return done;
}

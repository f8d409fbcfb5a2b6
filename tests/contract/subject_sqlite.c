#include "contract/subject_sqlite.h"

#include "provider/sqlite/sqlite.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/memory.h"

struct storage {
    char folder[256];
    char file[300];
};

static void die(const char *what, const struct th_error *error)
{
    fprintf(stderr, "contract_sqlite: %s: %s\n", what, error->message);
    abort();
}

static void *create(const struct subject *subject, uint32_t partitions, unsigned number)
{
    const char *temporary = getenv("TMPDIR");
    struct storage *s = TH_NEW(struct storage);
    struct th_error error = {0};
    snprintf(s->folder, sizeof(s->folder), "%s/taskhub-XXXXXX", temporary ? temporary : "/tmp");
    if (!mkdtemp(s->folder)) {
        th_fail(&error, TH_IO, "no folder %s", s->folder);
        die("create", &error);
    }
    snprintf(s->file, sizeof(s->file), "%s/hub.db", s->folder);
    if (!th_sqlite_create_hub(s->file, "contract", partitions, false, &error)) {
        die("create", &error);
    }
    return s;
}

static struct th_provider *open_hub(void *storage, struct th_error *error)
{
    struct storage *s = storage;
    struct th_sqlite_options options = {.file = s->file, .hub = "contract"};
    return th_sqlite_open(&options, error);
}

static void destroy(void *storage)
{
    static const char *const suffixes[] = {"", "-wal", "-shm", "-journal", "-lock", ".lock"};
    struct storage *s = storage;
    struct th_error error;
    th_sqlite_delete_hub(s->file, "contract", &error);
    for (size_t i = 0; i < TH_COUNT(suffixes); i++) {
        char path[400];
        snprintf(path, sizeof(path), "%s%s", s->file, suffixes[i]);
        unlink(path);
    }
    if (rmdir(s->folder) != 0) {
        perror(s->folder);
    }
    free(s);
}

const struct subject sqlite_subject = {
    .name = "sqlite", .create = create, .open = open_hub, .destroy = destroy};

/* sqlite_vfs: see the header. A sector is lost or kept as a whole; within a sector bytes outside a
 * write are never harmed (what SQLite calls power-safe overwrite, its default for Unix). */
#include "unit/sqlite_vfs.h"

#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/memory.h"

enum { SECTOR = 512 };

struct change {
    bool truncation;
    int64_t offset; /* or the new size */
    size_t len;
    char *data;
};

/* One file by its path, however often it is open. */
struct image {
    struct image *next;
    char *path;
    struct th_buffer durable;
    struct change *changes;
    size_t count, capacity;
};

struct file {
    sqlite3_file base;
    struct image *image; /* NULL: not followed */
    sqlite3_file *real;
};

static struct {
    pthread_mutex_t mutex;
    sqlite3_vfs vfs;
    sqlite3_vfs *real;
    struct image *images;
    bool dead;
    int failure;
    int writes_left;
    uint64_t syncs;
} disk = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static sqlite3_file *real_of(sqlite3_file *f)
{
    return ((struct file *)f)->real;
}

/* ---- images ---- */

static void patch(struct th_buffer *b, int64_t offset, const char *data, size_t len)
{
    size_t end = (size_t)offset + len;
    if (end > b->len) {
        th_buffer_reserve(b, end - b->len);
        memset(b->data + b->len, 0, end - b->len);
        b->len = end;
    }
    memcpy(b->data + offset, data, len);
}

static void resize(struct th_buffer *b, size_t size)
{
    if (size < b->len) {
        b->len = size;
    } else if (size > b->len) {
        patch(b, (int64_t)size - 1, "", 1);
    }
}

static void forget_changes(struct image *image)
{
    for (size_t i = 0; i < image->count; i++) {
        free(image->changes[i].data);
    }
    image->count = 0;
}

static void apply(struct image *image, const struct change *c)
{
    if (c->truncation) {
        resize(&image->durable, (size_t)c->offset);
    } else {
        patch(&image->durable, c->offset, c->data, c->len);
    }
}

static struct image *find_image(const char *path)
{
    for (struct image *i = disk.images; i; i = i->next) {
        if (strcmp(i->path, path) == 0) {
            return i;
        }
    }
    return NULL;
}

static void load(struct image *image)
{
    FILE *in = fopen(image->path, "rb");
    char block[65536];
    size_t n;
    while (in && (n = fread(block, 1, sizeof(block), in)) > 0) {
        th_buffer_add(&image->durable, block, n);
    }
    if (in) {
        fclose(in);
    }
}

static struct image *image_of(const char *path)
{
    struct image *image = find_image(path);
    if (!image) {
        image = TH_NEW(struct image);
        image->path = strdup(path);
        load(image);
        image->next = disk.images;
        disk.images = image;
    }
    return image;
}

static void add_change(struct image *image, struct change change)
{
    image->changes =
        th_grow(image->changes, &image->capacity, image->count + 1, sizeof(*image->changes));
    image->changes[image->count++] = change;
}

/* ---- the methods of a file ---- */

static int failing(void)
{
    if (disk.dead) {
        return SQLITE_IOERR;
    }
    if (disk.failure && disk.writes_left > 0) {
        disk.writes_left--;
        return SQLITE_OK;
    }
    return disk.failure;
}

static int on_close(sqlite3_file *f)
{
    struct file *file = (struct file *)f;
    int result = file->real->pMethods ? file->real->pMethods->xClose(file->real) : SQLITE_OK;
    free(file->real);
    return result;
}

static int on_read(sqlite3_file *f, void *to, int n, sqlite3_int64 at)
{
    return real_of(f)->pMethods->xRead(real_of(f), to, n, at);
}

static int on_write(sqlite3_file *f, const void *data, int n, sqlite3_int64 at)
{
    struct file *file = (struct file *)f;
    pthread_mutex_lock(&disk.mutex);
    int result = failing();
    if (!result && file->image) {
        add_change(file->image, (struct change){false, at, (size_t)n, th_memdup(data, (size_t)n)});
    }
    result = result ? result : file->real->pMethods->xWrite(file->real, data, n, at);
    pthread_mutex_unlock(&disk.mutex);
    return result;
}

static int on_truncate(sqlite3_file *f, sqlite3_int64 size)
{
    struct file *file = (struct file *)f;
    pthread_mutex_lock(&disk.mutex);
    int result = failing();
    if (!result && file->image) {
        add_change(file->image, (struct change){true, size, 0, NULL});
    }
    result = result ? result : file->real->pMethods->xTruncate(file->real, size);
    pthread_mutex_unlock(&disk.mutex);
    return result;
}

static int on_sync(sqlite3_file *f, int flags)
{
    struct file *file = (struct file *)f;
    pthread_mutex_lock(&disk.mutex);
    int result = failing();
    disk.syncs++;
    for (size_t i = 0; !result && file->image && i < file->image->count; i++) {
        apply(file->image, &file->image->changes[i]);
    }
    if (!result && file->image) {
        forget_changes(file->image);
    }
    pthread_mutex_unlock(&disk.mutex);
    return result;
}

static int on_size(sqlite3_file *f, sqlite3_int64 *size)
{
    return real_of(f)->pMethods->xFileSize(real_of(f), size);
}

static int on_lock(sqlite3_file *f, int level)
{
    return real_of(f)->pMethods->xLock(real_of(f), level);
}

static int on_unlock(sqlite3_file *f, int level)
{
    return real_of(f)->pMethods->xUnlock(real_of(f), level);
}

static int on_check_lock(sqlite3_file *f, int *out)
{
    return real_of(f)->pMethods->xCheckReservedLock(real_of(f), out);
}

static int on_control(sqlite3_file *f, int op, void *argument)
{
    return real_of(f)->pMethods->xFileControl(real_of(f), op, argument);
}

static int on_sector_size(sqlite3_file *f)
{
    return SECTOR;
}

static int on_characteristics(sqlite3_file *f)
{
    return SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

static int on_shm_map(sqlite3_file *f, int page, int size, int extend, void volatile **out)
{
    return real_of(f)->pMethods->xShmMap(real_of(f), page, size, extend, out);
}

static int on_shm_lock(sqlite3_file *f, int offset, int n, int flags)
{
    return real_of(f)->pMethods->xShmLock(real_of(f), offset, n, flags);
}

static void on_shm_barrier(sqlite3_file *f)
{
    real_of(f)->pMethods->xShmBarrier(real_of(f));
}

static int on_shm_unmap(sqlite3_file *f, int remove)
{
    return real_of(f)->pMethods->xShmUnmap(real_of(f), remove);
}

static const sqlite3_io_methods methods = {
    .iVersion = 2,
    .xClose = on_close,
    .xRead = on_read,
    .xWrite = on_write,
    .xTruncate = on_truncate,
    .xSync = on_sync,
    .xFileSize = on_size,
    .xLock = on_lock,
    .xUnlock = on_unlock,
    .xCheckReservedLock = on_check_lock,
    .xFileControl = on_control,
    .xSectorSize = on_sector_size,
    .xDeviceCharacteristics = on_characteristics,
    .xShmMap = on_shm_map,
    .xShmLock = on_shm_lock,
    .xShmBarrier = on_shm_barrier,
    .xShmUnmap = on_shm_unmap,
};

/* ---- the methods of the VFS ---- */

static int on_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *f, int flags, int *out_flags)
{
    struct file *file = (struct file *)f;
    *file = (struct file){.real = th_alloc((size_t)disk.real->szOsFile)};
    pthread_mutex_lock(&disk.mutex);
    if (name && (flags & (SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_WAL))) {
        file->image = image_of(name);
    }
    pthread_mutex_unlock(&disk.mutex);
    int result = disk.real->xOpen(disk.real, name, file->real, flags, out_flags);
    if (result == SQLITE_OK) {
        file->base.pMethods = &methods;
    } else {
        free(file->real);
    }
    return result;
}

static int on_delete(sqlite3_vfs *vfs, const char *name, int sync)
{
    pthread_mutex_lock(&disk.mutex);
    int result = failing();
    struct image *image = result ? NULL : find_image(name);
    if (image) {
        forget_changes(image);
        image->durable.len = 0;
    }
    result = result ? result : disk.real->xDelete(disk.real, name, sync);
    pthread_mutex_unlock(&disk.mutex);
    return result;
}

void faulty_disk_install(void)
{
    disk.real = sqlite3_vfs_find(NULL);
    disk.vfs = *disk.real;
    disk.vfs.zName = FAULTY_DISK;
    disk.vfs.pNext = NULL;
    disk.vfs.szOsFile = sizeof(struct file);
    disk.vfs.xOpen = on_open;
    disk.vfs.xDelete = on_delete;
    sqlite3_vfs_register(&disk.vfs, 0);
}

/* ---- controls ---- */

void faulty_disk_fail_after(int code, int writes)
{
    pthread_mutex_lock(&disk.mutex);
    disk.failure = code;
    disk.writes_left = writes;
    pthread_mutex_unlock(&disk.mutex);
}

void faulty_disk_fail(int code)
{
    faulty_disk_fail_after(code, 0);
}

void faulty_disk_cut(void)
{
    pthread_mutex_lock(&disk.mutex);
    disk.dead = true;
    pthread_mutex_unlock(&disk.mutex);
}

/* Each sector of a write that was not synced is there or not. */
static void survive(struct image *image, const struct change *c, struct th_random *random)
{
    if (c->truncation) {
        if (th_random_below(random, 2)) {
            apply(image, c);
        }
        return;
    }
    size_t at = 0;
    while (at < c->len) {
        size_t room = SECTOR - (size_t)(c->offset + (int64_t)at) % SECTOR;
        size_t n = c->len - at < room ? c->len - at : room;
        if (th_random_below(random, 2)) {
            patch(&image->durable, c->offset + (int64_t)at, c->data + at, n);
        }
        at += n;
    }
}

static void write_out(const struct image *image)
{
    struct th_str bytes = th_buffer_view(&image->durable);
    FILE *out = fopen(image->path, "wb");
    if (!out || fwrite(bytes.data, 1, bytes.len, out) != bytes.len || fclose(out) != 0) {
        abort();
    }
    char shm[4096];
    snprintf(shm, sizeof(shm), "%s-shm", image->path);
    unlink(shm); /* it is memory */
}

void faulty_disk_restore(uint64_t seed)
{
    struct th_random random;
    th_random_seed(&random, seed);
    pthread_mutex_lock(&disk.mutex);
    for (struct image *image = disk.images; image; image = image->next) {
        bool none = th_random_below(&random, 4) == 0; /* often nothing more had arrived */
        for (size_t i = 0; !none && i < image->count; i++) {
            survive(image, &image->changes[i], &random);
        }
        forget_changes(image);
        write_out(image);
    }
    disk.dead = false;
    disk.failure = 0;
    pthread_mutex_unlock(&disk.mutex);
}

void faulty_disk_reset(void)
{
    while (disk.images) {
        struct image *image = disk.images;
        disk.images = image->next;
        forget_changes(image);
        free(image->changes);
        th_buffer_deinit(&image->durable);
        free(image->path);
        free(image);
    }
    disk.dead = false;
    disk.failure = 0;
}

uint64_t faulty_disk_syncs(void)
{
    pthread_mutex_lock(&disk.mutex);
    uint64_t syncs = disk.syncs;
    pthread_mutex_unlock(&disk.mutex);
    return syncs;
}

#include "examples/regime-switching/outputs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "examples/regime-switching/fail.h"

#define UUID_LENGTH 36

const char *outputs_folder(void)
{
    const char *folder = getenv("TASKHUB_OUTPUTS");

    return folder && *folder ? folder : "outputs";
}

/* ---- names ---- */

static bool is_dash(size_t i)
{
    return i == 8 || i == 13 || i == 18 || i == 23;
}

bool outputs_new_name(const char *extension, char name[static OUTPUT_NAME_SIZE])
{
    uint8_t bits[16];
    size_t at = 0;

    if (getrandom(bits, sizeof bits, 0) != (ssize_t)sizeof bits)
        return false;
    bits[6] = (uint8_t)((bits[6] & 0x0f) | 0x40); /* version 4 */
    bits[8] = (uint8_t)((bits[8] & 0x3f) | 0x80);
    for (size_t i = 0; i < sizeof bits; i++) {
        if (is_dash(at))
            name[at++] = '-';
        snprintf(name + at, 3, "%02x", bits[i]);
        at += 2;
    }
    snprintf(name + at, OUTPUT_NAME_SIZE - at, "%s", extension);
    return true;
}

bool outputs_is_name(const char *name)
{
    if (strlen(name) < UUID_LENGTH)
        return false;
    for (size_t i = 0; i < UUID_LENGTH; i++)
        if (is_dash(i) ? name[i] != '-' : !strchr("0123456789abcdef", name[i]))
            return false;
    return strcmp(name + UUID_LENGTH, ".json") == 0 || strcmp(name + UUID_LENGTH, ".svg") == 0;
}

char *outputs_path(const char *name)
{
    char *path;

    return asprintf(&path, "%s/%s", outputs_folder(), name) < 0 ? NULL : path;
}

/* ---- saving ---- */

static int fail_here(const char *doing, const char *path, char *err, size_t errsize)
{
    int code = -errno;

    return regime_fail(code, err, errsize, "cannot %s %s: %s", doing, path, strerror(-code));
}

/* All bytes, and on the disk. */
static bool write_fully(int file, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t written = write(file, data, len);
        if (written < 0 && errno != EINTR)
            return false;
        if (written > 0) {
            data += written;
            len -= (size_t)written;
        }
    }
    return fchmod(file, 0644) == 0 && fsync(file) == 0;
}

/* A rename is durable when its folder is. */
static bool sync_folder(void)
{
    int folder = open(outputs_folder(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool synced = folder >= 0 && fsync(folder) == 0;

    if (folder >= 0)
        close(folder);
    return synced;
}

/* Under a name of its own first: two attempts at the same step may run at once. */
static int replace(const char *path, const void *data, size_t len, char *err, size_t errsize)
{
    char *draft;
    int file, rc = 0;

    if (asprintf(&draft, "%s.XXXXXX", path) < 0)
        return regime_fail_memory(err, errsize);
    file = mkostemp(draft, O_CLOEXEC);
    if (file < 0) {
        rc = fail_here("make", draft, err, errsize);
        free(draft);
        return rc;
    }
    if (!write_fully(file, data, len))
        rc = fail_here("write", draft, err, errsize);
    if (close(file) != 0 && rc == 0)
        rc = fail_here("write", draft, err, errsize);
    if (rc == 0 && (rename(draft, path) != 0 || !sync_folder()))
        rc = fail_here("make", path, err, errsize);
    if (rc != 0)
        unlink(draft);
    free(draft);
    return rc;
}

int outputs_save(const char *name, const void *data, size_t len, char *err, size_t errsize)
{
    char *path;
    int rc;

    if (mkdir(outputs_folder(), 0755) != 0 && errno != EEXIST)
        return fail_here("make the folder", outputs_folder(), err, errsize);
    path = outputs_path(name);
    if (!path)
        return regime_fail_memory(err, errsize);
    rc = replace(path, data, len, err, errsize);
    free(path);
    return rc;
}

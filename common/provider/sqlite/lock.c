/*
 * lock: one process per hub. A file beside the database is locked with flock, which the kernel
 * gives back however its holder ends; the holder's pid stands in it for the message the next one
 * gets. The file stays when the hub is closed: removing it would race with who waits for it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "provider/sqlite/internal.h"

static char *lock_path(const char *file, const char *hub)
{
    TH_BUFFER path = {0};
    th_buffer_format(&path, "%s-%s.lock", file, hub);
    return th_buffer_take(&path);
}

static bool refuse(int fd, const char *file, const char *hub, struct th_error *error)
{
    char pid[32] = "";
    ssize_t n = pread(fd, pid, sizeof(pid) - 1, 0);
    pid[n > 0 ? n : 0] = '\0';
    long holder = strtol(pid, NULL, 10);
    if (holder > 0) {
        return th_fail(error, TH_UNAVAILABLE,
                       "hub %s in %s is open in process %ld: stop that one first", hub, file,
                       holder);
    }
    return th_fail(error, TH_UNAVAILABLE, "hub %s in %s is open in another process", hub, file);
}

static void write_pid(int fd)
{
    char pid[32];
    int n = snprintf(pid, sizeof(pid), "%ld\n", (long)getpid());
    /* Only for the message above: a full disk must not keep a hub from opening. */
    if (ftruncate(fd, 0) == 0 && pwrite(fd, pid, (size_t)n, 0) < 0) {
        return;
    }
}

/* The name may have been removed, and made anew by another, between our open and our flock. */
static bool still_there(int fd, const char *path)
{
    struct stat held, named;
    return fstat(fd, &held) == 0 && stat(path, &named) == 0 && held.st_ino == named.st_ino &&
           held.st_dev == named.st_dev;
}

int th_sqlite_lock(const char *file, const char *hub, struct th_error *error)
{
    TH_AUTOFREE char *path = lock_path(file, hub);
    for (;;) {
        int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
        if (fd < 0) {
            th_fail(error, TH_IO, "cannot create the lock file %s: %s", path, strerror(errno));
            return -1;
        }
        if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
            refuse(fd, file, hub, error);
            close(fd);
            return -1;
        }
        if (still_there(fd, path)) {
            write_pid(fd);
            return fd;
        }
        close(fd);
    }
}

void th_sqlite_unlock(int lock)
{
    if (lock >= 0) {
        /* The pid goes first, so that nobody is told of a process that has ended. */
        if (ftruncate(lock, 0) != 0) {
            /* then the message is merely old */
        }
        close(lock);
    }
}

void th_sqlite_lock_remove(const char *file, const char *hub)
{
    TH_AUTOFREE char *path = lock_path(file, hub);
    unlink(path);
}

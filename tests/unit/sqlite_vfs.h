/*
 * sqlite_vfs: a disk that forgets. An SQLite VFS over the default one that remembers, per file,
 * what has been synced and each write since. After a power cut every call fails; then
 * faulty_disk_restore makes each file what a disk might hold: everything synced, and of what was
 * not any sectors. It can also refuse writes (a full or broken disk).
 * Calls come from several threads; the controls below from the test's.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buffer.h"

#define FAULTY_DISK "faulty-disk"

void faulty_disk_install(void); /* once per process */

/* From now on writes and syncs give this SQLite error; 0: they work again. */
void faulty_disk_fail(int code);
/* Lets `writes` more writes through first. */
void faulty_disk_fail_after(int code, int writes);

void faulty_disk_cut(void);
/* After everything is closed: rewrites the files and lets calls work again. The seed decides which
 * unsynced sectors survived. */
void faulty_disk_restore(uint64_t seed);
/* Forgets all files. */
void faulty_disk_reset(void);
uint64_t faulty_disk_syncs(void);

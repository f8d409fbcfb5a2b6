/*
 * The file: a head and TH_FLIGHT_SLOTS slots of fixed size, in the byte order of the machine; it
 * never travels. A slot's state is written last and read first (release, acquire), so whoever sees
 * BUSY also sees whose work it is. The crash handler only moves BUSY to CULPRIT.
 *
 * A child that an activity forks inherits the mapping and the thread-local slot; the head's process
 * id keeps its crashes apart from ours.
 */
#include "worker/flight.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"

#define MAGIC        UINT64_C(0x31746867696c6674) /* "tflight1" */
#define SIGNAL_STACK (64 * 1024)                  /* sanitizers' handlers need room, too */

enum slot_state { FREE, IDLE, BUSY, CULPRIT };

struct th_flight_slot {
    _Atomic uint32_t state;
    _Atomic int32_t task_id;
    _Atomic int64_t began; /* monotonic, microseconds */
    int32_t signal;        /* 0: left through exit(); SIGNAL_STUCK: did not come back */
    int32_t stuck_ms;
    char instance_id[257];
    char name[129];
};

#define SIGNAL_STUCK (-1)

/* One that crashed before. */
struct known {
    uint32_t count; /* 0: free */
    int32_t task_id;
    int64_t last; /* monotonic */
    char instance_id[257];
};

#define KNOWN 64
/* An attempt that begins this soon after the last crash is one more of a row. */
#define IN_A_ROW (UINT64_C(600) * TH_SECOND)

struct flight_file {
    uint64_t magic;
    uint64_t size;
    int64_t pid;
    struct known known[KNOWN];
    struct th_flight_slot slots[TH_FLIGHT_SLOTS];
};

struct th_flight {
    struct flight_file *file;
    struct th_flight_culprit *culprits;
    size_t culprit_count, culprit_capacity;
};

struct guard {
    struct flight_file *file;
    struct th_flight_slot *slot;
    void *stack;
    stack_t before; /* a sanitizer's, perhaps */
};

static _Thread_local struct guard guard;

/* ---- reading what the last process left ------------------------------------------------------ */

static const char *signal_name(int32_t number)
{
    switch (number) {
    case SIGSEGV:
        return "SIGSEGV";
    case SIGBUS:
        return "SIGBUS";
    case SIGFPE:
        return "SIGFPE";
    case SIGILL:
        return "SIGILL";
    case SIGABRT:
        return "SIGABRT";
    default:
        return "a signal";
    }
}

static void describe(const struct th_flight_slot *slot, struct th_flight_culprit *culprit)
{
    snprintf(culprit->instance_id, sizeof culprit->instance_id, "%.*s",
             (int)sizeof slot->instance_id - 1, slot->instance_id);
    snprintf(culprit->name, sizeof culprit->name, "%.*s", (int)sizeof slot->name - 1, slot->name);
    culprit->task_id = atomic_load(&slot->task_id);
    if (slot->signal == SIGNAL_STUCK)
        snprintf(culprit->reason, sizeof culprit->reason,
                 "did not come back within %d ms (an orchestrator must not block or spin)",
                 slot->stuck_ms);
    else if (slot->signal == 0)
        snprintf(culprit->reason, sizeof culprit->reason, "ended the process by an exit()");
    else
        snprintf(culprit->reason, sizeof culprit->reason, "crashed the process with %s",
                 signal_name(slot->signal));
}

static bool is_about(const struct known *known, const struct th_flight_culprit *culprit)
{
    return known->count && known->task_id == culprit->task_id &&
           strncmp(known->instance_id, culprit->instance_id, sizeof known->instance_id) == 0;
}

/* The culprit's entry: its own, a free one, or that of the one longest ago. */
static struct known *known_of(struct flight_file *file, const struct th_flight_culprit *culprit)
{
    struct known *best = &file->known[0];
    for (size_t i = 0; i < KNOWN; i++) {
        struct known *known = &file->known[i];
        if (is_about(known, culprit))
            return known;
        if (best->count && (!known->count || known->last < best->last))
            best = known;
    }
    memset(best, 0, sizeof *best);
    best->task_id = culprit->task_id;
    memcpy(best->instance_id, culprit->instance_id, sizeof best->instance_id);
    return best;
}

static void count_crash(struct flight_file *file, struct th_flight_culprit *culprit, th_time began)
{
    struct known *known = known_of(file, culprit);
    bool again = began >= known->last && (uint64_t)began - (uint64_t)known->last < IN_A_ROW;
    known->count = known->count && again && known->count < 1000 ? known->count + 1 : 1;
    known->last = th_monotonic();
    culprit->count = known->count;
}

void th_flight_settle(struct th_flight *flight, size_t index)
{
    memset(known_of(flight->file, &flight->culprits[index]), 0, sizeof(struct known));
}

static void read_slots(struct th_flight *flight, enum slot_state state)
{
    for (size_t i = 0; i < TH_FLIGHT_SLOTS; i++) {
        const struct th_flight_slot *slot = &flight->file->slots[i];
        if (atomic_load(&slot->state) != state)
            continue;
        flight->culprits = th_grow(flight->culprits, &flight->culprit_capacity,
                                   flight->culprit_count + 1, sizeof *flight->culprits);
        struct th_flight_culprit *culprit = &flight->culprits[flight->culprit_count++];
        describe(slot, culprit);
        culprit->certain = state == CULPRIT;
        count_crash(flight->file, culprit, atomic_load(&slot->began));
    }
}

/* The one that was there more often than any other; NULL: there are several. */
static struct th_flight_culprit *most_suspect(struct th_flight *flight)
{
    struct th_flight_culprit *most = NULL;
    bool alone = true;
    for (size_t i = 0; i < flight->culprit_count; i++) {
        struct th_flight_culprit *c = &flight->culprits[i];
        if (!most || c->count >= most->count) {
            alone = !most || c->count > most->count;
            most = c;
        }
    }
    return alone ? most : NULL;
}

/*
 * _exit runs no handler, so nobody marked the slot: all that were busy are suspects. From death to
 * death the innocent ones change and the culprit stays, so only the one seen most often counts in
 * full. Those that cannot be told apart count for a third: they are bounded, too, but late,
 * because to fail what is innocent is worse than some more attempts.
 */
static void read_suspects(struct th_flight *flight)
{
    read_slots(flight, BUSY);
    const struct th_flight_culprit *most = most_suspect(flight);
    for (size_t i = 0; i < flight->culprit_count; i++) {
        struct th_flight_culprit *c = &flight->culprits[i];
        if (c == most)
            continue;
        c->count = (c->count + 2) / 3;
        snprintf(c->reason, sizeof c->reason, "was running when the process ended by an exit()");
    }
}

static void read_culprits(struct th_flight *flight, bool ended_by_exit)
{
    read_slots(flight, CULPRIT);
    if (flight->culprit_count == 0 && ended_by_exit)
        read_suspects(flight);
}

static struct flight_file *map_file(const char *path, struct th_error *error)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    struct flight_file *file = MAP_FAILED;
    if (fd >= 0 && ftruncate(fd, sizeof *file) == 0)
        file = mmap(NULL, sizeof *file, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (file == MAP_FAILED) {
        th_fail(error, TH_IO, "cannot open the flight recorder %s: %s", path, strerror(errno));
        file = NULL;
    }
    if (fd >= 0)
        close(fd);
    return file;
}

struct th_flight *th_flight_open(const char *path, bool ended_by_exit, struct th_error *error)
{
    struct flight_file *file = map_file(path, error);
    if (!file)
        return NULL;
    struct th_flight *flight = TH_NEW(struct th_flight);
    flight->file = file;
    if (file->magic != MAGIC || file->size != sizeof *file)
        memset(file, 0, sizeof *file);
    read_culprits(flight, ended_by_exit);
    memset(file->slots, 0, sizeof file->slots);
    file->magic = MAGIC;
    file->size = sizeof *file;
    file->pid = getpid();
    return flight;
}

void th_flight_close(struct th_flight *flight)
{
    if (!flight)
        return;
    munmap(flight->file, sizeof *flight->file);
    free(flight->culprits);
    free(flight);
}

size_t th_flight_culprits(const struct th_flight *flight)
{
    return flight->culprit_count;
}

const struct th_flight_culprit *th_flight_culprit(const struct th_flight *flight, size_t index)
{
    return &flight->culprits[index];
}

/* ---- marking --------------------------------------------------------------------------------- */

/* Async-signal-safe: atomics on mapped memory, getpid. */
static void mark_own_slot(int number)
{
    struct th_flight_slot *slot = guard.slot;
    if (!slot || guard.file->pid != getpid())
        return;
    uint32_t busy = BUSY;
    if (atomic_compare_exchange_strong(&slot->state, &busy, CULPRIT))
        slot->signal = number;
}

static void on_crash(int number, siginfo_t *info, void *context)
{
    /* Sent by someone else (kill -SEGV): nobody here is to blame. */
    bool from_outside = info->si_code == SI_USER && info->si_pid != getpid();
    if (!from_outside)
        mark_own_slot(number);
    /* SA_RESETHAND put the default action back; this arrives when the handler returns. */
    raise(number);
}

static void at_exit(void)
{
    mark_own_slot(0);
}

bool th_flight_guard_process(struct th_flight *flight, struct th_error *error)
{
    static const int crashes[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
    struct sigaction action = {.sa_sigaction = on_crash,
                               .sa_flags = SA_SIGINFO | SA_ONSTACK | (int)SA_RESETHAND};
    sigemptyset(&action.sa_mask);
    flight->file->pid = getpid();
    for (size_t i = 0; i < TH_COUNT(crashes); i++)
        if (sigaction(crashes[i], &action, NULL) != 0)
            return th_fail(error, TH_INTERNAL, "cannot install the crash handler: %s",
                           strerror(errno));
    if (atexit(at_exit) != 0)
        return th_fail(error, TH_INTERNAL, "cannot watch for exit()");
    return true;
}

static void use_signal_stack(void)
{
    stack_t own = {.ss_sp = th_alloc(SIGNAL_STACK), .ss_size = SIGNAL_STACK};
    if (sigaltstack(&own, &guard.before) == 0)
        guard.stack = own.ss_sp;
    else
        free(own.ss_sp);
}

static void drop_signal_stack(void)
{
    if (!guard.stack)
        return;
    sigaltstack(&guard.before, NULL);
    free(guard.stack);
    guard.stack = NULL;
}

struct th_flight_slot *th_flight_join(struct th_flight *flight)
{
    if (!flight)
        return NULL;
    for (size_t i = 0; i < TH_FLIGHT_SLOTS; i++) {
        uint32_t free_state = FREE;
        struct th_flight_slot *slot = &flight->file->slots[i];
        if (!atomic_compare_exchange_strong(&slot->state, &free_state, IDLE))
            continue;
        use_signal_stack();
        guard.file = flight->file;
        guard.slot = slot;
        return slot;
    }
    return NULL;
}

void th_flight_leave(struct th_flight *flight, struct th_flight_slot *slot)
{
    if (!slot)
        return;
    guard.slot = NULL;
    drop_signal_stack();
    atomic_store(&slot->state, FREE);
}

static void copy_text(char *out, size_t size, struct th_str text)
{
    size_t n = text.len < size - 1 ? text.len : size - 1;
    if (n)
        memcpy(out, text.data, n);
    out[n] = 0;
}

void th_flight_begin(struct th_flight_slot *slot, struct th_str instance_id, int32_t task_id,
                     struct th_str name, th_time monotonic)
{
    if (!slot)
        return;
    copy_text(slot->instance_id, sizeof slot->instance_id, instance_id);
    copy_text(slot->name, sizeof slot->name, name);
    atomic_store_explicit(&slot->task_id, task_id, memory_order_relaxed);
    atomic_store_explicit(&slot->began, monotonic, memory_order_relaxed);
    atomic_store_explicit(&slot->state, BUSY, memory_order_release);
}

void th_flight_end(struct th_flight_slot *slot)
{
    if (slot)
        atomic_store_explicit(&slot->state, IDLE, memory_order_release);
}

bool th_flight_mark_stuck(struct th_flight *flight, th_time began_before, th_time now)
{
    for (size_t i = 0; i < TH_FLIGHT_SLOTS; i++) {
        struct th_flight_slot *slot = &flight->file->slots[i];
        if (atomic_load_explicit(&slot->state, memory_order_acquire) != BUSY)
            continue;
        if (atomic_load(&slot->task_id) != TH_FLIGHT_EPISODE)
            continue;
        th_time began = atomic_load(&slot->began);
        if (began >= began_before)
            continue;
        uint32_t busy = BUSY;
        if (!atomic_compare_exchange_strong(&slot->state, &busy, CULPRIT))
            continue;
        slot->signal = SIGNAL_STUCK;
        slot->stuck_ms = (int32_t)((now - began) / TH_MILLISECOND);
        return true;
    }
    return false;
}

#include "contract/rig.h"

#include <dirent.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char *from_environment(const char *name)
{
    const char *value = getenv(name);
    if (!value) {
        fprintf(stderr, "%s is not set: run this test by tests/contract/with_fleet.sh\n", name);
        exit(1);
    }
    return value;
}

static void die(const char *what, const struct th_error *error)
{
    fprintf(stderr, "%s: %s\n", what, error->message);
    exit(1);
}

struct th_kafka_cluster rig_cluster(void)
{
    static struct th_log log = {.fd = STDERR_FILENO, .level = TH_LOG_ERROR};
    const char *level = getenv("TASKHUB_LOG");
    bool wanted = level && th_level_parse(th_str_of(level), &log.level);
    return (struct th_kafka_cluster){.brokers = from_environment("TASKHUB_KAFKA"),
                                     .log = wanted ? &log : NULL};
}

void rig_hub_name(char out[static 64])
{
    static unsigned number;
    snprintf(out, 64, "Hub%ldx%u", (long)getpid(), number++);
}

void rig_create_hub(const char *name, uint32_t partitions)
{
    struct th_kafka_cluster cluster = rig_cluster();
    struct th_kafka_hub_options options = {.name = name, .partitions = partitions};
    struct th_error error;
    if (!th_kafka_create_hub(&cluster, &options, NULL, &error)) {
        die("create", &error);
    }
}

void rig_delete_hub(const char *name)
{
    struct th_kafka_cluster cluster = rig_cluster();
    struct th_error error;
    if (!th_kafka_delete_hub(&cluster, name, &error)) {
        fprintf(stderr, "hub %s stays behind: %s\n", name, error.message);
    }
}

void rig_broker(const char *command)
{
    TH_BUFFER line = {0};
    th_buffer_format(&line, "'%s/deploy/kafka.sh' %s --folder '%s'%c",
                     from_environment("TASKHUB_SOURCE"), command, from_environment("TASKHUB_FLEET"),
                     '\0');
    if (system(line.data) != 0) {
        fprintf(stderr, "%s failed\n", line.data);
        exit(1);
    }
}

static pid_t broker_pid(void)
{
    char path[512];
    long pid = 0;
    snprintf(path, sizeof(path), "%s/kafka-1/pid", from_environment("TASKHUB_FLEET"));
    FILE *file = fopen(path, "r");
    if (!file || fscanf(file, "%ld", &pid) != 1 || pid <= 0) {
        fprintf(stderr, "%s names no process\n", path);
        exit(1);
    }
    fclose(file);
    return (pid_t)pid;
}

/* proc(5): the state stands behind the name, which is in parentheses. */
static bool thread_stopped(pid_t pid, const char *thread)
{
    char path[512];
    char state = 'T'; /* also of a thread that has ended meanwhile */
    snprintf(path, sizeof(path), "/proc/%ld/task/%s/stat", (long)pid, thread);
    FILE *file = fopen(path, "r");
    if (file) {
        if (fscanf(file, "%*d (%*[^)]) %c", &state) != 1) {
            state = 'T';
        }
        fclose(file);
    }
    return state == 'T';
}

static bool stopped(pid_t pid)
{
    char path[64];
    bool all = true;
    snprintf(path, sizeof(path), "/proc/%ld/task", (long)pid);
    DIR *threads = opendir(path);
    for (struct dirent *entry; threads && all && (entry = readdir(threads));) {
        all = entry->d_name[0] == '.' || thread_stopped(pid, entry->d_name);
    }
    if (threads) {
        closedir(threads);
    }
    return threads && all;
}

/* The signal is sent at once, and reaches a thread that runs a little later. */
void rig_freeze(bool on)
{
    pid_t pid = broker_pid();
    if (kill(pid, on ? SIGSTOP : SIGCONT) != 0) {
        perror("the broker's process");
        exit(1);
    }
    while (on && !stopped(pid)) {
        sched_yield();
    }
}

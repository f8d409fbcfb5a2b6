#include "contract/rig.h"

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

void rig_freeze(bool on)
{
    char path[512];
    long pid = 0;
    snprintf(path, sizeof(path), "%s/kafka-1/pid", from_environment("TASKHUB_FLEET"));
    FILE *file = fopen(path, "r");
    if (!file || fscanf(file, "%ld", &pid) != 1 || kill((pid_t)pid, on ? SIGSTOP : SIGCONT) != 0) {
        perror(path);
        exit(1);
    }
    fclose(file);
}

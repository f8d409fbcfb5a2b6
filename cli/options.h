/*
 * options: what the program's commands understand. Options are one table (CLI_OPTIONS) from which
 * the struct, the parser and --help come; commands are a table in main.c that names, per command,
 * the options it takes.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Exit codes: code, number, meaning (in --help). */
#define CLI_EXITS(X)                                                              \
    X(OK, 0, "done")                                                              \
    X(ERROR, 1, "it failed; the message says why")                                \
    X(USAGE, 2, "the command line is wrong")                                      \
    X(NOT_FOUND, 3, "no such instance, entity, hub or function")                  \
    X(CONFLICT, 4, "the id is in use, or the instance's state does not allow it") \
    X(TIMEOUT, 5, "the time given with --timeout is over")                        \
    X(FAILED, 6, "the instance ended, but not as Completed")                      \
    X(UNAVAILABLE, 7, "nobody answers at the hub's address, or it cannot now")    \
    X(UNHEALTHY, 8, "the hub is not well; the report says why")

enum cli_exit {
#define X(name, number, text) CLI_##name = number,
    CLI_EXITS(X)
#undef X
};

/*
 * field, type, "name", letter or 0, "ARGUMENT" (NULL for flags), help
 * Types: FLAG bool; TEXT const char *; COUNT int64_t, not negative; PERIOD int64_t milliseconds,
 * written "250ms", "10s", "5m", "2h", or a number of seconds.
 */
#define CLI_OPTIONS(X)                                                                             \
    X(url, TEXT, "url", 'u', "URL",                                                                \
      "address of the hub's API; default $TASKHUB_URL, else http://127.0.0.1:7071")                \
    X(key, TEXT, "key", 'k', "KEY", "API key; default $TASKHUB_KEY")                               \
    X(json, FLAG, "json", 'j', NULL, "print JSON, for programs")                                   \
    X(timeout, PERIOD, "timeout", 't', "TIME", "give up after so long (10s, 5m, 250ms)")           \
    X(id, TEXT, "id", 'i', "ID", "instance id; default: a new one")                                \
    X(input, TEXT, "input", 'I', "JSON", "the input: JSON, @FILE, or - for standard input")        \
    X(data, TEXT, "data", 'd', "JSON", "the event's data: JSON, @FILE, or - for standard input")   \
    X(version, TEXT, "version", 0, "VERSION", "version of the orchestration")                      \
    X(wait, FLAG, "wait", 'w', NULL, "wait for the end and print the output")                      \
    X(reason, TEXT, "reason", 'r', "TEXT", "why; kept in the instance's history")                  \
    X(same_id, FLAG, "same-id", 0, NULL, "keep the instance id (it must have ended)")              \
    X(history, FLAG, "history", 'H', NULL, "show the history, too")                                \
    X(status, TEXT, "status", 's', "LIST",                                                         \
      "Running, Completed, Failed, Terminated, Pending, Suspended; several with commas")           \
    X(prefix, TEXT, "prefix", 'p', "TEXT", "only ids that begin so")                               \
    X(from, TEXT, "created-from", 0, "TIME", "created at or after (2026-11-22T10:00:00Z)")         \
    X(to, TEXT, "created-to", 0, "TIME", "created before")                                         \
    X(at, TEXT, "at", 0, "TIME", "not before (2026-11-22T10:00:00Z); default: at once")            \
    X(changed_from, TEXT, "changed-from", 0, "TIME", "last operation at or after")                 \
    X(changed_to, TEXT, "changed-to", 0, "TIME", "last operation before")                          \
    X(all, FLAG, "all", 0, NULL, "whatever ended, without a lower bound of time")                  \
    X(limit, COUNT, "limit", 'n', "N", "at most so many; default 100, 0: all")                     \
    X(db, TEXT, "db", 'D', "FILE", "the hub's database; default taskhub.db")                       \
    X(kafka, TEXT, "kafka", 0, "HOST:PORT,...",                                                    \
      "the Kafka brokers of a fleet; default $TASKHUB_KAFKA, else 127.0.0.1:9092")                 \
    X(redis, TEXT, "redis", 0, "URL",                                                              \
      "the fleet's Redis; default $TASKHUB_REDIS, else 127.0.0.1:6379")                            \
    X(kafka_property, TEXT, "kafka-property", 0, "NAME=VALUE;...",                                 \
      "properties of librdkafka, as security.protocol=ssl; default $TASKHUB_KAFKA_PROPERTIES")     \
    X(watch, FLAG, "watch", 'W', NULL, "again every second, until stopped")                        \
    X(port, COUNT, "port", 'P', "N", "port of the HTTP API; default 7071, 0: any free one")        \
    X(rpc_port, COUNT, "rpc-port", 0, "N",                                                         \
      "port for programs with a Durable Task SDK, 0: any free one; default 4001 without APP, "     \
      "else none")                                                                                 \
    X(rpc_certificate, TEXT, "rpc-certificate", 0, "FILE", "PEM: TLS for them; needs --rpc-key")   \
    X(rpc_key, TEXT, "rpc-key", 0, "FILE", "PEM: its private key")                                 \
    X(rpc_client_ca, TEXT, "rpc-client-ca", 0, "FILE",                                             \
      "PEM: they need a certificate signed by one of these")                                       \
    X(address, TEXT, "address", 0, "IP",                                                           \
      "where to listen; default 127.0.0.1; any other needs --key")                                 \
    X(hub, TEXT, "hub", 0, "NAME",                                                                 \
      "name of the hub; default host.json's, else TestHubName; of `dev` without APP several, A,B") \
    X(partitions, COUNT, "partitions", 0, "N",                                                     \
      "partitions of a new hub; default host.json's, else 1")                                      \
    X(host_json, TEXT, "host-json", 0, "DIR",                                                      \
      "where host.json and local.settings.json lie; default: beside the application")              \
    X(activities, COUNT, "activities", 'a', "N",                                                   \
      "activities at once; default host.json's, else 2 per processor, at least 4")                 \
    X(replay_always, FLAG, "replay-always", 0, NULL,                                               \
      "replay every episode from its start and compare: finds orchestrators that are not "         \
      "deterministic")                                                                             \
    X(isolate, FLAG, "isolate", 0, NULL,                                                           \
      "run the application in a process of its own: its crashes leave hub and API alone")          \
    X(no_supervisor, FLAG, "no-supervisor", 0, NULL, "run in one process (for debuggers)")         \
    X(episode_limit, PERIOD, "episode-limit", 0, "TIME",                                           \
      "an orchestrator that does not come back within it is stopped; default 10s")                 \
    X(function_timeout, PERIOD, "function-timeout", 0, "TIME",                                     \
      "an activity without a heartbeat for so long fails; default host.json's, else 30m")          \
    X(drain, PERIOD, "drain", 0, "TIME", "at a stop, wait so long for activities; default 10s")    \
    X(log_level, TEXT, "log-level", 'l', "LEVEL", "error, warn, info or debug; default info")      \
    X(log_json, FLAG, "log-json", 0, NULL, "log lines as JSON")                                    \
    X(route, TEXT, "route", 0, "PATH", "call the HTTP function at this route")                     \
    X(method, TEXT, "method", 'X', "METHOD", "with this method; default GET, with input POST")     \
    X(operation, TEXT, "operation", 'o', "NAME", "the operation of the entity")                    \
    X(state, TEXT, "state", 0, "JSON", "its state: JSON, @FILE, or -; default: none")              \
    X(provider, TEXT, "provider", 0, "NAME",                                                       \
      "what to measure: sqlite (embedded) or kafka (a fleet)")                                     \
    X(clients, COUNT, "clients", 'c', "N", "clients at once; default 64")                          \
    X(seconds, COUNT, "seconds", 'S', "N", "how long to measure; default 10")                      \
    X(count, COUNT, "count", 0, "N", "how many: timers 100000, events of long-history 100000")     \
    X(fsync_delay, COUNT, "fsync-delay-ms", 0, "N", "each commit takes so many milliseconds longer")

enum cli_type { CLI_FLAG, CLI_TEXT, CLI_COUNT, CLI_PERIOD };

#define CLI_C_FLAG   bool
#define CLI_C_TEXT   const char *
#define CLI_C_COUNT  int64_t
#define CLI_C_PERIOD int64_t

#define CLI_NOT_GIVEN (-1) /* COUNT and PERIOD */

enum cli_option {
#define X(field, ...) CLI_OPTION_##field,
    CLI_OPTIONS(X)
#undef X
        CLI_OPTION_COUNT
};

struct cli_options {
#define X(field, type, ...) CLI_C_##type field;
    CLI_OPTIONS(X)
#undef X
    char **arguments; /* what is no option */
    int argument_count;
};

struct cli_command {
    const char *name;
    const char *arguments; /* "ID NAME" */
    int least, most;       /* arguments; most < 0: any number */
    const char *summary;   /* one line */
    const char *text;      /* what it does, for --help */
    const char *examples;  /* lines; NULL: none */
    const char *options;   /* names of fields, separated by blanks */
    int (*run)(const struct cli_options *options);
};

/* Reads the command line behind the command's name; strings point into argv. False: it is wrong,
 * which was said on standard error. `*help` is set when --help was given. */
bool cli_parse(const struct cli_command *command, int argc, char **argv, struct cli_options *out,
               bool *help);

void cli_command_help(const struct cli_command *command, FILE *out);
void cli_exits_help(FILE *out);

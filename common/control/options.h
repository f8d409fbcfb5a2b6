/*
 * options: what every program of a fleet is told of where the fleet is. Worker, coordinator and
 * command line take them from one table, so that names, variables and words are the same.
 */
#pragma once

#include "base/arguments.h"
#include "base/log.h"
#include "provider/kafka/kafka.h"

#define TH_FLEET_ARGUMENTS(X)                                                                       \
    X(hub, TEXT, "hub", 0, "NAME", "TASKHUB_HUB", 0,                                                \
      "name of the hub; several, with commas, for programs with an SDK; default host.json's, else " \
      "TestHubName")                                                                                \
    X(kafka, TEXT, "kafka", 0, "HOST:PORT,...", "TASKHUB_KAFKA", 0,                                 \
      "the Kafka brokers, one or several; default 127.0.0.1:9092")                                  \
    X(redis, TEXT, "redis", 0, "URL", "TASKHUB_REDIS", 0,                                           \
      "redis[s]://[user:password@]host[:port][/database], or host:port; default 127.0.0.1:6379")    \
    X(properties, LIST, "kafka-property", 'X', "NAME=VALUE", "TASKHUB_KAFKA_PROPERTIES", 0,         \
      "a property of librdkafka, as security.protocol=ssl; as often as needed")                     \
    X(keep, FLAG, "keep-messages", 0, NULL, "TASKHUB_KEEP_MESSAGES", 0,                             \
      "drop nothing of the topics, so that taskhub doctor sees all that ever was")                  \
    X(log_level, TEXT, "log-level", 'l', "LEVEL", "TASKHUB_LOG", 0,                                 \
      "error, warn, info or debug; default info")                                                   \
    X(log_json, FLAG, "log-json", 0, NULL, "TASKHUB_LOG_JSON", 0, "log lines as JSON")

/* Of those that programs with a Durable Task SDK connect to. `port_words`: the default. */
#define TH_RPC_ARGUMENTS(X, port_words)                                                      \
    X(rpc_port, COUNT, "rpc-port", 0, "N", "TASKHUB_RPC_PORT", 65535,                        \
      "port for programs with a Durable Task SDK; 0: any free one; default " port_words)     \
    X(rpc_certificate, TEXT, "rpc-certificate", 0, "FILE", "TASKHUB_RPC_CERTIFICATE", 0,     \
      "PEM: TLS on that port; needs --rpc-key")                                              \
    X(rpc_key, TEXT, "rpc-key", 0, "FILE", "TASKHUB_RPC_KEY", 0, "PEM: its private key")     \
    X(rpc_client_ca, TEXT, "rpc-client-ca", 0, "FILE", "TASKHUB_RPC_CLIENT_CA", 0,           \
      "PEM: whoever connects needs a certificate signed by one of these, and other workers " \
      "have theirs by them")

struct th_fleet_options {
    TH_FLEET_ARGUMENTS(TH_ARGUMENT_FIELD)
};

#define TH_DEFAULT_KAFKA "127.0.0.1:9092"
#define TH_DEFAULT_REDIS "redis://127.0.0.1:6379"

extern const struct th_argument th_fleet_arguments[];
extern const size_t th_fleet_argument_count;

/* What the options say, for the providers. Begins zeroed; borrows the options and the log. */
struct th_fleet_place {
    struct th_kafka_cluster cluster;
    char *redis; /* a URL */
    struct th_kafka_property *properties;
    char *texts; /* of the properties */
};

/* INVALID: a property without "=", one that the protocol forbids, a bad URL. Reads the certificates
 * that a URL names. */
bool th_fleet_place(const struct th_fleet_options *options, const struct th_log *log,
                    struct th_fleet_place *out, struct th_error *error);
void th_fleet_place_deinit(struct th_fleet_place *place);

/* INVALID: --log-level is none. One that is not given leaves the log as it is. */
bool th_fleet_log(const struct th_fleet_options *options, struct th_log *log,
                  struct th_error *error);

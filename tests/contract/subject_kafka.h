/* subject_kafka: the Kafka half alone as a subject, for cases about what only it has. */
#pragma once

#include "contract/conformance.h"
#include "provider/kafka/kafka.h"

struct kafka_storage {
    const struct th_kafka_options *options; /* the subject's argument: all but cluster and hub */
    char hub[64];
};

struct subject kafka_subject(const char *name, const struct th_kafka_options *options);

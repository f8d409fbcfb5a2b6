/*
 * rig: the broker that with_fleet.sh started, for tests on a real one. A test that finds none ends
 * with the reason; it is never skipped.
 */
#pragma once

#include "provider/kafka/kafka.h"

/* Its address, the log of its client in TASKHUB_LOG's level (default: none), patience of 10 s. */
struct th_kafka_cluster rig_cluster(void);

/* A name no other hub of this broker has. */
void rig_hub_name(char out[static 64]);
/* Creates it. */
void rig_create_hub(const char *name, uint32_t partitions);
void rig_delete_hub(const char *name); /* what cannot be deleted goes with the broker */

/* One of deploy/kafka.sh's: "kill", "start", "stop". Waits until it is done. */
void rig_broker(const char *command);
/* The broker freezes, or goes on. */
void rig_freeze(bool on);

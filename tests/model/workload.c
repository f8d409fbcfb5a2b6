/*
 * workload: the messages of a run, and what each leads to when it takes effect.
 */
#include "tests/model/model.h"

#include <string.h>

#define TO(message) ((message) + 1)

enum { A, B, C };

static const struct workload workloads[] = {
    /* One instance sends to another of its partition; one message is parked first. */
    {"inbox",
     {{0, A, START, BY_STREAM, .out = {TO(3)}},
      {0, B, START, BY_STREAM, .parked = true},
      {0, A, EVENT, BY_STREAM},
      {0, C, START, OUTPUT}},
     4},
    {"inbox-small",
     {{0, A, START, BY_STREAM, .out = {TO(2)}}, {0, B, START, BY_STREAM}, {0, C, START, OUTPUT}},
     3},
    /* There and back again. */
    {"send",
     {{0, A, START, BY_CLIENT, .out = {TO(2)}},
      {0, B, START, BY_CLIENT, .out = {TO(3)}},
      {1, A, START, OUTPUT},
      {1, B, START, OUTPUT}},
     4},
    {"send-back",
     {{0, A, START, BY_CLIENT, .out = {TO(2)}},
      {0, B, START, BY_CLIENT, .out = {TO(3)}},
      {1, A, START, OUTPUT, .out = {TO(4)}},
      {1, B, START, OUTPUT},
      {0, A, EVENT, OUTPUT}},
     5},
    /* An activity, again, and a purged instance that comes back and runs it once more. */
    {"activity",
     {{0, A, START, BY_CLIENT, .activity = TO(1)},
      {0, A, EVENT, OUTPUT, .activity = TO(2)},
      {0, A, EVENT, OUTPUT}},
     3},
    {"activity-again",
     {{0, A, START, BY_CLIENT, .activity = TO(3)},
      {0, A, REMOVE, BY_CLIENT},
      {0, A, START, BY_CLIENT, .activity = TO(4)},
      {0, A, EVENT, OUTPUT},
      {0, A, EVENT, OUTPUT}},
     5},
    {"rows", {{0, A, START, BY_CLIENT}, {0, A, EVENT, BY_CLIENT}, {0, B, START, BY_CLIENT}}, 3},
    {"rows-more",
     {{0, A, START, BY_CLIENT},
      {0, A, EVENT, BY_CLIENT},
      {0, B, START, BY_CLIENT},
      {0, B, EVENT, BY_CLIENT}},
     4},
    {"purge", {{0, A, START, BY_CLIENT}, {0, A, REMOVE, BY_CLIENT}, {0, A, START, BY_CLIENT}}, 3},
    {"two", {{0, A, START, BY_CLIENT}, {0, B, START, BY_CLIENT}}, 2},
    {"gone", {{0, A, START, BY_CLIENT}, {0, A, REMOVE, BY_CLIENT}}, 2},
    {"three",
     {{0, A, START, BY_CLIENT},
      {0, B, START, BY_CLIENT},
      {0, C, START, BY_CLIENT},
      {0, B, EVENT, BY_CLIENT}},
     4},
    {"all",
     {{0, A, START, BY_CLIENT, .out = {TO(1)}, .activity = TO(2)},
      {0, B, START, OUTPUT},
      {0, A, EVENT, OUTPUT}},
     3},
    {"all-sends",
     {{0, A, START, BY_CLIENT, .out = {TO(1), TO(2)}},
      {0, B, START, OUTPUT},
      {1, A, START, OUTPUT}},
     3},
    {"single", {{0, A, START, BY_CLIENT}}, 1},
    {"one", {{0, A, START, BY_CLIENT}, {0, A, EVENT, BY_CLIENT}}, 2},
};

const struct workload *workload;

const struct workload *workload_find(const char *name)
{
    for (size_t n = 0; n < sizeof(workloads) / sizeof(*workloads); n++)
        if (strcmp(workloads[n].name, name) == 0)
            return &workloads[n];
    return NULL;
}

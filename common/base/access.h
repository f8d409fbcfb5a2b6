/*
 * access: what whoever listens to others asks before it answers. Pure.
 */
#pragma once

#include <stdbool.h>

#include "base/str.h"

/* Takes as long for a wrong secret as for a nearly right one. */
bool th_secret_equal(struct th_str given, struct th_str wanted);

/* Whether a numeric address is a loopback one. */
bool th_is_loopback(const char *address);

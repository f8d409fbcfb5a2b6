/* subject_fleet: the fleet's provider as a subject: a real broker's log half, and a projection
 * half. */
#pragma once

#include "contract/conformance.h"

extern const struct subject fleet_subject;

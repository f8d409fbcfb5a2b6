/* half_simulated: the projection half of a simulated provider, whose world takes every step at
 * once, so that it needs nobody to pump it. For tests of what is put together of halves. */
#pragma once

#include "provider/simulated/simulated.h"

struct th_provider *half_simulated_open(struct th_sim_world *world, struct th_error *error);

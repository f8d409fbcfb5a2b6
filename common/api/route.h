/*
 * route: does a path fit a pattern? Patterns are those of function routes:
 * "orders/{id}/items/{item?}" and "files/{*rest}". Literal segments are compared without regard to
 * case; "{name}" takes one segment, "{name?}" at the end one or none, "{*name}" at the end all that
 * are left; a constraint, "{id:int}", is accepted and not checked. Pure.
 */
#pragma once

#include "api/url.h"

/* Segments from `first` on. True: it fits, `params` (may be NULL) has the parameters. */
bool th_route_match(const char *pattern, const struct th_target *target, size_t first,
                    struct th_arena *arena, struct th_pairs *params);

/* Whether a comma list ("GET, POST") names the method; an empty list names all. */
bool th_route_allows(const char *methods, struct th_str method);

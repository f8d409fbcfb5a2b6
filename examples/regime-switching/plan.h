/*
 * What the orchestrator is started with: a request that was checked, and the names of the files
 * that its outputs will be.
 *
 *     {"request": {...}, "runs": 20, "notify": "who@example.org" or null,
 *      "base": "http://localhost:7071/api/outputs/",
 *      "files": {"result": "<uuid>.json", "statistics": "<uuid>.json", "charts": ["<uuid>.svg"]}}
 *
 * Names are random, so a plan is made once, outside of the orchestrator.
 */
#pragma once

#include <jansson.h>

/* One chart each: the whole series, its end, the residuals. */
#define CHART_VIEWS 3
extern const char *const chart_views[CHART_VIEWS];

/*
 * Checks a request and plans it; `base` is what goes before file names in the plan's addresses.
 * NULL: the request is bad, with a sentence for each bad field in `errors`, an array; or there is
 * no memory, then there is no sentence.
 */
json_t *plan_new(json_t *request, const char *base, json_t *errors);

/* {"result": address, "statistics": address, "charts": [address, ...]}; a new reference. */
json_t *plan_addresses(const json_t *plan);

/* The sentences as one text, a line each. The caller frees it; NULL when memory runs out. */
char *plan_error_text(const json_t *errors);

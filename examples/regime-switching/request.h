/*
 * What a client asks for, as JSON:
 *
 *   y                   the series, an array of numbers; or
 *   dataset             "us-gdp": growth of US real GDP; "synthetic": three slopes, see series.h
 *   x                   regressors of y, an array of arrays, each as long as y; none: the mean
 *   alone n                   how many synthetic observations; or the length of y, to be checked
 *   regimes             2 to 6; 2, or 3 for synthetic
 *   runs                random starts, 1 to 1000; 20
 *   maxIterations       EM steps of a run, 1 to 100000; 1000
 *   convergence         change of a coefficient at which a run ends, from 0 to below 1; 1e-8
 *   oneSigma            one sigma for all regimes; false
 *   seed                of starts and synthetic data, 0 to 2^53 - 1; 1
 *   notify              an e-mail address that is told the result
 *   purgeOlderThanDays  purge finished instances older than this, 0 to 36500
 *   outputs             names of the outputs to answer; all of them
 *
 * A request owns its arrays. Pure functions, but for regime_request_load, which reads a file.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "examples/regime-switching/filter.h"
#include "examples/regime-switching/regime_json.h"
#include "examples/regime-switching/series.h"

enum regime_dataset { REGIME_DATASET_GIVEN, REGIME_DATASET_US_GDP, REGIME_DATASET_SYNTHETIC };

struct regime_request {
    enum regime_dataset dataset;
    size_t n; /* 0: all of the data set */
    size_t regressors;
    double *y; /* [n] when given */
    double *x; /* [regressors][n] */
    size_t regimes;
    size_t runs;
    size_t max_iterations;
    double convergence;
    bool one_sigma;
    uint64_t seed;
    char *notify;              /* NULL: nobody */
    int purge_older_than_days; /* -1: purge nothing */
    regime_outputs outputs;
};

/*
 * Checks every field. Returns 0; or -EINVAL with a sentence for each bad field appended to errors,
 * an array of strings, as: field `regimes`: must be an integer from 2 to 6, got "x". -ENOMEM adds
 * no sentence. After an error the request needs no deinit.
 */
int regime_request_parse(const json_t *json, struct regime_request *request, json_t *errors);
void regime_request_deinit(struct regime_request *request);

/* The data that the request is about: its own, generated, or read from the folder of data sets. */
int regime_request_load(const struct regime_request *request, const char *data_folder,
                        struct sample *sample, char *err, size_t errsize);

/* The problem of fitting a sample as the request says. The sample must outlive it. */
struct regime_problem regime_request_problem(const struct regime_request *request,
                                             const struct sample *sample);

#!/usr/bin/env python3
"""Writes regime_reference.json: what statsmodels says about Markov-switching regressions.

    python3 -m pip install statsmodels && python3 tests/unit/regime_reference.py

Each case is a model of US GDP growth that statsmodels fitted: its parameters, its log-likelihood,
and its filtered and smoothed probabilities at some times. statsmodels starts the chain in its
steady state. The standard errors of the coefficients are from a likelihood of our own, the plainest
possible, with that start held fixed: statsmodels' own move the start with the transitions.
Written with statsmodels 0.15.0.
"""

import json
import pathlib
import warnings

import numpy as np
from statsmodels.tools.numdiff import approx_hess
from statsmodels.tsa.regime_switching.markov_regression import MarkovRegression

HERE = pathlib.Path(__file__).resolve().parent
DATA = HERE.parent.parent / "examples" / "regime-switching" / "data" / "us-real-gdp.csv"
EVERY = 20  # observations between those whose probabilities are kept

CASES = [
    # name, regimes, one sigma, regress on the growth of the quarter before
    ("two means, two sigmas", 2, False, False),
    ("two means, one sigma", 2, True, False),
    ("three means, three sigmas", 3, False, False),
    ("two lines, two sigmas", 2, False, True),
]


def growth():
    level = np.loadtxt(DATA, delimiter=",", skiprows=1, usecols=1)
    return 100 * np.diff(np.log(level))


def model(series, regimes, one_sigma, lagged):
    options = {"k_regimes": regimes, "switching_variance": not one_sigma}
    if lagged:
        return MarkovRegression(series[1:], exog=series[:-1], **options)
    return MarkovRegression(series, **options)


def log_likelihood(y, x, beta, sigma, transition, start):
    """Hamilton's filter in its plainest form."""
    predicted, total = start, 0
    for now, row in zip(y, x):
        density = np.exp(-0.5 * ((now - beta @ row) / sigma) ** 2) / (sigma * np.sqrt(2 * np.pi))
        joint = predicted * density
        total += np.log(joint.sum())
        predicted = transition @ (joint / joint.sum())
    return total


def directions(transition):
    """The ways that transitions may move: columns add up to one, and zeros stay where they are."""
    ways = []
    for source in range(len(transition)):
        likeliest = int(np.argmax(transition[:, source]))
        for target in range(len(transition)):
            if target != likeliest and transition[target, source] > 1e-3:
                way = np.zeros_like(transition)
                way[target, source], way[likeliest, source] = 1, -1
                ways.append(way)
    return ways


def standard_errors(y, x, beta, sigma, transition, start, one_sigma):
    """Of beta, from second derivatives by beta, ln sigma and transitions; Pr(s_1) is fixed."""
    ways = directions(transition)
    sigmas = 1 if one_sigma else len(sigma)

    def likelihood(by):
        of_beta, of_sigma, of_ways = np.split(by, [beta.size, beta.size + sigmas])
        moved = transition + sum(size * way for size, way in zip(of_ways, ways))
        return log_likelihood(
            y, x, beta + of_beta.reshape(beta.shape), sigma * np.exp(of_sigma), moved, start
        )

    count = beta.size + sigmas + len(ways)
    hessian = approx_hess(np.zeros(count), likelihood, epsilon=np.full(count, 1e-4))
    errors = np.sqrt(np.diag(np.linalg.inv(-hessian)))
    return errors[: beta.size].reshape(beta.shape)


def case(series, name, regimes, one_sigma, lagged):
    fitted = model(series, regimes, one_sigma, lagged)
    result = fitted.fit(search_reps=20, rng=1, disp=0, maxiter=1000)
    coefficients = 2 if lagged else 1
    moves = regimes * (regimes - 1)
    # After the transitions statsmodels lists a coefficient of all regimes, then the next one.
    beta, variances = np.split(result.params[moves:], [regimes * coefficients])
    beta = beta.reshape(coefficients, regimes).T
    sigma = np.sqrt(np.repeat(variances, regimes) if one_sigma else variances)
    transition = fitted.regime_transition_matrix(result.params)[:, :, 0]
    start = result.initial_probabilities
    y, x = fitted.endog, fitted.exog
    errors = standard_errors(y, x, beta, sigma, transition, start, one_sigma)
    return {
        "name": name,
        "regimes": regimes,
        "oneSigma": one_sigma,
        "lagged": lagged,
        "beta": beta.tolist(),
        "standardErrors": errors.tolist(),
        "sigma": sigma.tolist(),
        "transition": transition.tolist(),
        "ergodic": start.tolist(),
        "llf": result.llf,
        "times": list(range(0, result.nobs, EVERY)),
        "filtered": result.filtered_marginal_probabilities[::EVERY].tolist(),
        "smoothed": result.smoothed_marginal_probabilities[::EVERY].tolist(),
    }


def main():
    warnings.simplefilter("ignore")
    series = growth()
    cases = [case(series, *settings) for settings in CASES]
    with open(HERE / "regime_reference.json", "w") as out:
        json.dump(cases, out, indent=1)
        out.write("\n")
    for each in cases:
        print(each["name"], each["llf"], each["beta"], each["standardErrors"])


if __name__ == "__main__":
    main()

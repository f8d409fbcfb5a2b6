// An activity that fails now and then, and a policy that tries again.
"use strict";
const { RetryPolicy } = require("@microsoft/durabletask-js");

const calls = new Map();

// Fails so many times for each instance, then works. A restarted worker counts anew.
function unreliable(context, failures) {
    const call = (calls.get(context.orchestrationId) ?? 0) + 1;
    calls.set(context.orchestrationId, call);
    if (call <= failures) throw new Error(`no luck, call ${call}`);
    calls.delete(context.orchestrationId);
    return call;
}

// Gives the number of calls it took, or why it gave up.
async function* retries(context, failures) {
    const retry = new RetryPolicy({
        maxNumberOfAttempts: 4,
        firstRetryIntervalInMilliseconds: 100,
        backoffCoefficient: 2,
    });
    try {
        return yield context.callActivity("unreliable", failures, { retry });
    } catch (error) {
        return `gave up: ${error.details.message}`;
    }
}

function register(worker) {
    worker.addNamedOrchestrator("retries", retries);
    worker.addNamedActivity("unreliable", unreliable);
}

module.exports = { register };

// Adds up what events bring, for ever: continue-as-new keeps the history short.
"use strict";

async function* tally(context, total) {
    const amount = yield context.waitForExternalEvent("amount");
    if (amount === null || amount === undefined) return total;
    // A new execution begins; events that already wait go with it.
    context.continueAsNew(total + amount, true);
}

function register(worker) {
    worker.addNamedOrchestrator("tally", tally);
}

module.exports = { register };

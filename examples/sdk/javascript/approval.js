// Waits for a person, but not for ever: the event "decision", or the time-out.
"use strict";
const { whenAny } = require("@microsoft/durabletask-js");

function tell(_context, message) {
    console.log(message); // a mail, in real life
}

async function* approval(context, request) {
    context.setCustomStatus("waiting for a decision");
    const decision = context.waitForExternalEvent("decision");
    const timeout = context.createTimer(request.seconds);
    const first = yield whenAny([decision, timeout]);
    let outcome = "nobody answered";
    if (first === decision) {
        timeout.cancel();
        outcome = decision.getResult() ? "approved" : "refused";
    }
    context.setCustomStatus("decided");
    yield context.callActivity("tell", `${request.what}: ${outcome}`);
    return outcome;
}

function register(worker) {
    worker.addNamedOrchestrator("approval", approval);
    worker.addNamedActivity("tell", tell);
}

module.exports = { register };

// Workflows for the SDK of Dapr: node worker.js [ENDPOINT]
//
// ENDPOINT is where a Taskhub listens for workers: the argument, else $TASKHUB_RPC, else
// localhost:4001. This SDK cannot say what it serves: the worker is sent everything in the hub, so
// let it have the hub for itself.
"use strict";
const { TaskHubGrpcWorker } = require("@dapr/durabletask-js");
const { whenAll, whenAny } = require("@dapr/durabletask-js/task/index.js");

function sayHello(_context, city) {
    return `Hello ${city}!`;
}

// One activity after the other.
async function* helloCities(context, cities) {
    const greetings = [];
    for (const city of cities ?? ["Tokyo", "Seattle", "London"]) {
        greetings.push(yield context.callActivity("say_hello", city));
    }
    return greetings;
}

function countWords(_context, text) {
    return text.split(/\s+/).filter(Boolean).length;
}

// All activities at the same time.
async function* fanOut(context, texts) {
    if (texts.length === 0) return 0; // the SDK would wait for ever for all of nothing
    const counts = yield whenAll(texts.map((text) => context.callActivity("count_words", text)));
    return counts.reduce((sum, count) => sum + count, 0);
}

// Waits for a person, but not for ever.
async function* approval(context, request) {
    const decision = context.waitForExternalEvent("decision");
    const first = yield whenAny([decision, context.createTimer(request.seconds)]);
    if (first !== decision) return "nobody answered";
    return decision.getResult() ? "approved" : "refused";
}

async function main() {
    const endpoint = process.argv[2] ?? process.env.TASKHUB_RPC ?? "localhost:4001";
    const worker = new TaskHubGrpcWorker(endpoint);
    worker.addNamedOrchestrator("hello_cities", helloCities);
    worker.addNamedOrchestrator("fan_out", fanOut);
    worker.addNamedOrchestrator("approval", approval);
    worker.addNamedActivity("say_hello", sayHello);
    worker.addNamedActivity("count_words", countWords);
    await worker.start();
    console.log(`serving ${endpoint}`);
    for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => worker.stop());
}

main();

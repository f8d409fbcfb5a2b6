// Counts the words of many texts at the same time and adds the counts up.
"use strict";
const { whenAll } = require("@microsoft/durabletask-js");

function countWords(_context, text) {
    return text.split(/\s+/).filter(Boolean).length;
}

async function* fanOut(context, texts) {
    // All of them are scheduled before the first result is awaited.
    const counts = texts.map((text) => context.callActivity("count_words", text));
    const results = yield whenAll(counts);
    return results.reduce((sum, count) => sum + count, 0);
}

function register(worker) {
    worker.addNamedOrchestrator("fan_out", fanOut);
    worker.addNamedActivity("count_words", countWords);
}

module.exports = { register };

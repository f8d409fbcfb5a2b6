// An orchestrator of orchestrators: one `hello_cities` per country, all at the same time.
"use strict";
const { whenAll } = require("@microsoft/durabletask-js");

async function* helloCountries(context, countries) {
    const names = Object.keys(countries);
    const greetings = yield whenAll(
        names.map((name) => context.callSubOrchestrator("hello_cities", countries[name])),
    );
    return Object.fromEntries(names.map((name, i) => [name, greetings[i]]));
}

function register(worker) {
    worker.addNamedOrchestrator("hello_countries", helloCountries);
}

module.exports = { register };

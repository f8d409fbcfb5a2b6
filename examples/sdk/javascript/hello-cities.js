// Greets cities one after the other: an orchestrator and one activity.
"use strict";

function sayHello(_context, city) {
    return `Hello ${city}!`;
}

async function* helloCities(context, cities) {
    const greetings = [];
    for (const city of cities ?? ["Tokyo", "Seattle", "London"]) {
        greetings.push(yield context.callActivity("say_hello", city));
    }
    return greetings;
}

// Names of their own: a function may be renamed while instances of it are under way.
function register(worker) {
    worker.addNamedOrchestrator("hello_cities", helloCities);
    worker.addNamedActivity("say_hello", sayHello);
}

module.exports = { register };

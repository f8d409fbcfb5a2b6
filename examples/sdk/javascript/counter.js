// A counter that lives for ever, an entity, and an orchestrator that counts with it.
"use strict";
const { EntityInstanceId, TaskEntity } = require("@microsoft/durabletask-js");

// One per key. Operations on a key never run at the same time, so nothing needs a lock.
class Counter extends TaskEntity {
    initializeState() {
        return 0;
    }

    add(amount) {
        this.state += amount;
        return this.state;
    }

    get() {
        return this.state;
    }

    reset() {
        this.state = 0;
    }
}

// A call waits for the operation's result; `context.entities.signalEntity` would not.
async function* countUp(context, request) {
    const counter = new EntityInstanceId("counter", request.key);
    for (let i = 0; i < request.times; i++) {
        yield context.entities.callEntity(counter, "add", 1);
    }
    return yield context.entities.callEntity(counter, "get");
}

function register(worker) {
    worker.addNamedEntity("counter", () => new Counter());
    worker.addNamedOrchestrator("count_up", countUp);
}

module.exports = { register };

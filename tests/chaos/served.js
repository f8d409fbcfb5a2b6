// What served.py serves, in JavaScript: node served.js; serves $TASKHUB_RPC.
"use strict";
const crypto = require("node:crypto");
const fs = require("node:fs");
const path = require("node:path");
const { Metadata } = require("@grpc/grpc-js");
const { ConsoleLogger, EntityInstanceId, TaskEntity, TaskHubGrpcWorker, whenAll } =
    require("@microsoft/durabletask-js");

function note(...words) {
    const file = fs.openSync(
        path.join(process.env.TASKHUB_CHAOS_LEDGER, String(process.pid)), "a", 0o600);
    fs.writeSync(file, `${words.join(" ")}\n`);
    fs.fdatasyncSync(file);
    fs.closeSync(file);
}

// Works for a time; gives the next number.
async function step(context, order) {
    const key = `${context.orchestrationId}/${order.n}`;
    const mark = `${process.pid}.${crypto.randomBytes(4).toString("hex")}`;
    note("begin", key, mark);
    await new Promise((resolve) => setTimeout(resolve, order.ms));
    note("end", key, mark);
    return { n: order.n + 1, by: mark };
}

function callStep(context, work, n) {
    return context.callActivity(`${work.by}_step`, { n, ms: work.ms });
}

// One after the other; gives their number.
async function* chain(context, work) {
    let n = 0;
    while (n < work.steps) n = (yield callStep(context, work, n)).n;
    return n;
}

// All at once; gives 1 + … + width.
async function* fan(context, work) {
    const tasks = [];
    for (let n = 0; n < work.width; n++) tasks.push(callStep(context, work, n));
    const done = yield whenAll(tasks);
    return done.reduce((sum, one) => sum + one.n, 0);
}

// Chains as sub-orchestrations; gives the sum of theirs.
async function* family(context, work) {
    const tasks = [];
    for (let n = 0; n < work.width; n++) tasks.push(context.callSubOrchestrator(work.child, work));
    const done = yield whenAll(tasks);
    return done.reduce((sum, one) => sum + one, 0);
}

// Takes events until each number has come; gives all of them in the order they came.
async function* collect(context, work) {
    const seen = [];
    while (new Set(seen).size < work.events) seen.push(yield context.waitForExternalEvent("e"));
    return seen;
}

async function* sleeper(context, work) {
    for (let n = 0; n < work.naps; n++) yield context.createTimer(work.ms / 1000);
    return work.naps;
}

// An execution and a step for each round; gives their number.
async function* generations(context, work) {
    if (work.round >= work.rounds) return work.round;
    const done = yield callStep(context, work, work.round);
    context.continueAsNew({ ...work, round: done.n }, true);
}

// Signals a counter so often, and asks it then; gives how much it has counted.
async function* counterUser(context, work) {
    const counter = new EntityInstanceId(work.counter, work.key);
    for (let n = 0; n < work.times; n++) {
        context.entities.signalEntity(counter, "add", `${context.instanceId}/${n}`);
    }
    return yield context.entities.callEntity(counter, "get");
}

// As the one in C, between the same accounts, which are in C.
async function* transfer(context, work) {
    const accounts = [work.from, work.to].map((key) => new EntityInstanceId("account", key));
    const amounts = [-work.amount, work.amount];
    let before = 0;
    let after = 0;
    const lock = yield context.entities.lockEntities(...accounts);
    for (const account of accounts) before += yield context.entities.callEntity(account, "balance");
    for (const [n, account] of accounts.entries()) {
        after += yield context.entities.callEntity(account, "add", amounts[n]);
    }
    lock.release();
    if (before !== after) throw new Error(`the lock is broken: ${before} before, ${after} after`);
    return work.amount;
}

// Counts, and keeps what it has counted.
class Counter extends TaskEntity {
    initializeState() {
        return [];
    }

    add(what) {
        this.state.push(what);
    }

    get() {
        return this.state.length;
    }
}

// The SDK does nothing more after a first attempt in vain, and tells nobody but its log.
class Logger extends ConsoleLogger {
    logEvent(level, event, message) {
        super.logEvent(level, event, message);
        if (message.startsWith("Worker error")) process.exit(1);
    }
}

async function main() {
    const metadata = new Metadata();
    metadata.set("taskhub", process.env.TASKHUB_CHAOS_HUB);
    const worker = new TaskHubGrpcWorker({
        hostAddress: process.env.TASKHUB_RPC,
        workItemFilters: "auto",
        metadataGenerator: async () => metadata,
        logger: new Logger(),
    });
    const orchestrators = { chain, fan, family, collect, sleeper, generations, transfer };
    for (const [name, orchestrator] of Object.entries(orchestrators)) {
        worker.addNamedOrchestrator(`js_${name}`, orchestrator);
    }
    worker.addNamedOrchestrator("js_counter_user", counterUser);
    worker.addNamedActivity("js_step", step);
    worker.addNamedEntity("js_counter", () => new Counter());
    await worker.start();
}

main();

// What trouble.py does, in JavaScript: node trouble.js; serves $TASKHUB_RPC.
"use strict";
const fs = require("node:fs");
const { TaskEntity, TaskHubGrpcWorker } = require("@microsoft/durabletask-js");

function write(ledger, ...words) {
    fs.appendFileSync(ledger, `${[...words, process.pid].join(" ")}\n`);
}

async function note(_context, entry) {
    write(entry.ledger, "note", entry.what);
    return entry.what;
}

// Meanwhile the worker can do other things.
async function gated(_context, entry) {
    write(entry.ledger, "begin", entry.what);
    while (!fs.existsSync(entry.gate)) await new Promise((resolve) => setTimeout(resolve, 10));
    write(entry.ledger, "end", entry.what);
    return entry.what;
}

// So many notes, one after the other.
async function* steps(context, order) {
    const done = [];
    for (let i = 0; i < order.count; i++) {
        const entry = { ledger: order.ledger, what: `${context.instanceId}/${i}` };
        done.push(yield context.callActivity("note", entry));
    }
    return done;
}

async function* oneGated(context, order) {
    return yield context.callActivity("gated", order);
}

// Lives on after the activity: a second result of it would be taken.
async function* gatedAndEvent(context, order) {
    const done = yield context.callActivity("gated", order);
    yield context.waitForExternalEvent("finish");
    yield context.callActivity("note", order);
    return done;
}

// Code that takes its time before it asks for anything; meanwhile the worker can do nothing else.
async function* gatedEpisode(context, order) {
    if (!context.isReplaying) {
        write(order.ledger, "begin", order.what);
        const cell = new Int32Array(new SharedArrayBuffer(4));
        while (!fs.existsSync(order.gate)) Atomics.wait(cell, 0, 0, 10);
    }
    return yield context.callActivity("note", order);
}

async function* tally(context, total) {
    const amount = yield context.waitForExternalEvent("amount");
    if (amount === null || amount === undefined) return total;
    context.continueAsNew(total + amount, true);
}

async function wantsFile(_context, path) {
    if (!fs.existsSync(path)) throw new Error(`${path} is missing`);
    return "found";
}

// Two activities; the second fails where a file is missing.
async function* finder(context, order) {
    yield context.callActivity("note", order);
    return yield context.callActivity("wants_file", order.gate);
}

async function* parent(context, order) {
    return yield context.callSubOrchestrator(order.child, order.input, { instanceId: order.id });
}

function echo(context, data) {
    context.setCustomStatus({ version: context.version });
    return data;
}

class Sum extends TaskEntity {
    initializeState() {
        return 0;
    }

    add(amount) {
        this.state += amount;
    }

    async addGated(order) {
        await gated(undefined, order);
        this.state += order.amount;
    }
}

async function main() {
    const worker = new TaskHubGrpcWorker({
        hostAddress: process.env.TASKHUB_RPC,
        workItemFilters: "auto",
    });
    worker.addNamedOrchestrator("steps", steps);
    worker.addNamedOrchestrator("one_gated", oneGated);
    worker.addNamedOrchestrator("gated_and_event", gatedAndEvent);
    worker.addNamedOrchestrator("gated_episode", gatedEpisode);
    worker.addNamedOrchestrator("tally", tally);
    worker.addNamedOrchestrator("finder", finder);
    worker.addNamedOrchestrator("parent", parent);
    worker.addNamedOrchestrator("echo", echo);
    worker.addNamedActivity("note", note);
    worker.addNamedActivity("wants_file", wantsFile);
    worker.addNamedActivity("gated", gated);
    worker.addNamedEntity("sum", () => new Sum());
    await worker.start();
    console.log("serving");
}

main();

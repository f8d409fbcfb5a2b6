// hello5 through the JavaScript SDK: an orchestration of five activities in sequence.
//
//     node hello5.js [--endpoint HOST:PORT] [--workers N] [--count N] [--seconds S]
//
// With an endpoint workers and client are processes of their own. Without one the server is the
// in-memory backend of the same SDK: no gRPC, all in this process. Prints one line of JSON: the time
// from start to result with one client (ms), and the best rate (per second) of several numbers of
// clients at once.
"use strict";
const { fork } = require("node:child_process");
const { once } = require("node:events");
const { parseArgs } = require("node:util");
const sdk = require("@microsoft/durabletask-js");

const CLIENTS = [8, 32, 128];
const WARM_UP = 20;
const PATIENCE = 60; // seconds

function hello(_context, city) {
    return `Hello ${city}!`;
}

async function* hello5(context) {
    const greetings = [];
    for (const city of ["Tokyo", "Seattle", "London", "Oslo", "Lima"]) {
        greetings.push(yield context.callActivity(hello, city));
    }
    return greetings;
}

function register(worker) {
    worker.addOrchestrator(hello5);
    worker.addActivity(hello);
    return worker;
}

// The process of a worker: it ends when its parent does or lets go of it.
async function work(hostAddress) {
    const logger = new sdk.NoOpLogger();
    await register(new sdk.TaskHubGrpcWorker({ hostAddress, workItemFilters: "auto", logger }))
        .start();
    process.once("disconnect", () => process.exit(0));
    process.send("serving");
}

// Milliseconds.
async function oneInstance(client) {
    const began = performance.now();
    const instance = await client.scheduleNewOrchestration("hello5");
    const end = await client.waitForOrchestrationCompletion(instance, true, PATIENCE);
    if (end.runtimeStatus !== sdk.OrchestrationStatus.COMPLETED ||
        JSON.parse(end.serializedOutput).length !== 5) {
        throw new Error(`${instance}: ${JSON.stringify(end)}`);
    }
    return performance.now() - began;
}

// Per second, with so many clients at once; what is under way at the end does not count.
async function rate(client, clients, seconds) {
    let done = 0;
    const until = performance.now() + 1000 * seconds;
    const loop = async () => {
        while (performance.now() < until) {
            await oneInstance(client);
            if (performance.now() < until) done++;
        }
    };
    await Promise.all(Array.from({ length: clients }, loop));
    return done / seconds;
}

async function measure(client, count, seconds) {
    for (let i = 0; i < WARM_UP; i++) await oneInstance(client);
    const times = [];
    for (let i = 0; i < count; i++) times.push(await oneInstance(client));
    times.sort((a, b) => a - b);
    const at = (share) => Number(times[Math.floor(share * (times.length - 1))].toFixed(2));
    let best = { best_per_second: -1 };
    for (const clients of CLIENTS) {
        const found = Number((await rate(client, clients, seconds)).toFixed(1));
        if (found > best.best_per_second) best = { best_per_second: found, at_clients: clients };
    }
    return { p50_ms: at(0.5), p99_ms: at(0.99), ...best };
}

async function main() {
    if (process.argv[2] === "work") return work(process.argv[3]);
    const { values } = parseArgs({
        options: {
            endpoint: { type: "string" },
            workers: { type: "string", default: "1" },
            count: { type: "string", default: "200" },
            seconds: { type: "string", default: "5" },
        },
    });
    const started = [];
    let client;
    if (values.endpoint) {
        for (let i = 0; i < Number(values.workers); i++) {
            const child = fork(__filename, ["work", values.endpoint]);
            started.push(child);
            await once(child, "message");
        }
        const logger = new sdk.NoOpLogger();
        client = new sdk.TaskHubGrpcClient({ hostAddress: values.endpoint, logger });
    } else {
        // Its worker has no logger of its own to be told to be quiet.
        for (const method of ["debug", "info", "log", "warn"]) console[method] = () => {};
        const backend = new sdk.InMemoryOrchestrationBackend();
        await register(new sdk.TestOrchestrationWorker(backend)).start();
        client = new sdk.TestOrchestrationClient(backend);
    }
    const measured = await measure(client, Number(values.count), Number(values.seconds));
    for (const child of started) child.disconnect();
    process.stdout.write(JSON.stringify({
        sdk: `durabletask-js ${require("@microsoft/durabletask-js/package.json").version}`,
        runtime: `Node.js ${process.versions.node}`,
        server: values.endpoint ?? "in-memory backend",
        workers: values.endpoint ? Number(values.workers) : "in process",
        ...measured,
    }) + "\n");
    process.exit(0); // time-outs that the SDK set would keep the process alive
}

main().catch((error) => {
    console.error(error);
    process.exit(1);
});

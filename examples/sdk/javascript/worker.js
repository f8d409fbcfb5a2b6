// Serves the workflows of this folder: node worker.js [ENDPOINT]
//
// ENDPOINT is where a Taskhub listens for workers: the argument, else $TASKHUB_RPC, else
// localhost:4001.
"use strict";
const { TaskHubGrpcWorker } = require("@microsoft/durabletask-js");

const modules = ["approval", "counter", "fan-out", "hello-cities", "hello-countries", "retries",
    "tally"];

async function main() {
    const endpoint = process.argv[2] ?? process.env.TASKHUB_RPC ?? "localhost:4001";
    // "auto": only what is registered here. Without it a worker is sent everything and fails the
    // rest.
    const worker = new TaskHubGrpcWorker({ hostAddress: endpoint, workItemFilters: "auto" });
    for (const name of modules) require(`./${name}.js`).register(worker);
    await worker.start();
    console.log(`serving ${endpoint}`);
    for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => worker.stop());
}

main();

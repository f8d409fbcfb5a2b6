// A client for the workflows of worker.js, or for anything else in the hub:
//
//     node client.js start NAME [INPUT [ID]]     starts an instance, prints its id
//     node client.js wait ID                     waits for its end, prints status and output
//     node client.js raise ID EVENT [DATA]       raises an event
//
// INPUT and DATA are JSON. The endpoint is $TASKHUB_RPC, else localhost:4001.
"use strict";
const { TaskHubGrpcClient } = require("@dapr/durabletask-js");
const { OrchestrationStatus } =
    require("@dapr/durabletask-js/orchestration/enum/orchestration-status.enum.js");

const value = (text) => (text ? JSON.parse(text) : undefined);

const commands = {
    async start(client, name, data, instance) {
        console.log(await client.scheduleNewOrchestration(name, value(data), instance));
    },
    async wait(client, instance) {
        const state = await client.waitForOrchestrationCompletion(instance, true, 60);
        const status = OrchestrationStatus[state.runtimeStatus];
        console.log(JSON.stringify(status === "COMPLETED"
            ? { status, output: value(state.serializedOutput) ?? null }
            : { status, error: state.failureDetails?.message ?? null }));
    },
    async raise(client, instance, event, data) {
        await client.raiseOrchestrationEvent(instance, event, value(data));
    },
};

async function main() {
    const [command, ...rest] = process.argv.slice(2);
    if (!(command in commands) || rest.length === 0) {
        console.error("usage: node client.js start|wait|raise ..., see client.js");
        process.exit(2);
    }
    const client = new TaskHubGrpcClient(process.env.TASKHUB_RPC ?? "localhost:4001");
    try {
        await commands[command](client, ...rest);
    } finally {
        await client.stop();
    }
    process.exit(0); // a time-out that the SDK set would keep the process alive
}

main();

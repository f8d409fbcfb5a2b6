// A client for the workflows of this folder, or for anything else in the hub:
//
//     node client.js start NAME [INPUT [ID]]     starts an instance, prints its id
//     node client.js wait ID                     waits for its end, prints status and output
//     node client.js raise ID EVENT [DATA]       raises an event
//     node client.js signal ENTITY KEY OPERATION [INPUT]
//     node client.js entity ENTITY KEY           prints an entity's state
//
// INPUT and DATA are JSON. The endpoint is $TASKHUB_RPC, else localhost:4001.
"use strict";
const { EntityInstanceId, NoOpLogger, OrchestrationStatus, TaskHubGrpcClient } =
    require("@microsoft/durabletask-js");

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
    async signal(client, entity, key, operation, data) {
        await client.signalEntity(new EntityInstanceId(entity, key), operation, value(data));
    },
    async entity(client, name, key) {
        const found = await client.getEntity(new EntityInstanceId(name, key));
        console.log(JSON.stringify(found?.includesState ? found.state : null));
    },
};

async function main() {
    const [command, ...rest] = process.argv.slice(2);
    if (!(command in commands) || rest.length === 0) {
        console.error("usage: node client.js start|wait|raise|signal|entity ..., see client.js");
        process.exit(2);
    }
    const client = new TaskHubGrpcClient({
        hostAddress: process.env.TASKHUB_RPC ?? "localhost:4001",
        logger: new NoOpLogger(),
    });
    try {
        await commands[command](client, ...rest);
    } finally {
        await client.stop();
    }
}

main();

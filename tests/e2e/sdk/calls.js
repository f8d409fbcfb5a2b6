// Every call of the JavaScript SDK's client, against a hub that trouble.js works for.
//
//     node calls.js DIRECTORY taskhub|stand-in      the endpoint is $TASKHUB_RPC
"use strict";
const assert = require("node:assert/strict");
const fs = require("node:fs");
const path = require("node:path");
const { EntityInstanceId, NoOpLogger, OrchestrationStatus: Status, PurgeInstanceCriteria,
    TaskHubGrpcClient } = require("@microsoft/durabletask-js");

const [directory, server] = process.argv.slice(2);
const hub = new TaskHubGrpcClient({
    hostAddress: process.env.TASKHUB_RPC,
    logger: new NoOpLogger(),
});

// Whoever calls this is ended by a test's patience.
async function until(condition) {
    for (;;) {
        const value = await condition();
        if (value) return value;
        await new Promise((resolve) => setTimeout(resolve, 10));
    }
}

async function reaches(instance, status) {
    await until(async () =>
        (await hub.getOrchestrationState(instance))?.runtimeStatus === status);
}

async function output(instance) {
    const end = await hub.waitForOrchestrationCompletion(instance, true, 30);
    assert.equal(end.runtimeStatus, Status.COMPLETED, end.failureDetails?.message);
    return JSON.parse(end.serializedOutput);
}

async function states() {
    const data = { text: "ä€𝄞\"\\\n", list: [1, 2.5, null, true], empty: {} };
    const instance = await hub.scheduleNewOrchestration("echo", data, {
        instanceId: "an id with %2F&=+",
        tags: { for: "Anna" },
        version: "1.2",
    });
    assert.equal(instance, "an id with %2F&=+");
    assert.deepEqual(await output(instance), data);
    const end = await hub.getOrchestrationState(instance);
    assert.equal(end.name, "echo");
    assert.deepEqual(JSON.parse(end.serializedInput), data);
    assert.deepEqual(JSON.parse(end.serializedCustomStatus), { version: "1.2" });
    assert.ok(Math.abs(end.createdAt - Date.now()) < 600000);
    if (server === "taskhub") assert.deepEqual(end.tags, { for: "Anna" });
    const without = await hub.getOrchestrationState(instance, false);
    assert.ok(!without.serializedInput && !without.serializedOutput);
    await assert.rejects(hub.scheduleNewOrchestration("echo", 1, instance), { code: 6 });
    assert.equal(await hub.getOrchestrationState("nobody"), undefined);
    const large = "x".repeat(1000000);
    assert.equal(await output(await hub.scheduleNewOrchestration("echo", large)), large);
}

async function steering() {
    const instance = await hub.scheduleNewOrchestration("tally", 0);
    await hub.waitForOrchestrationStart(instance, true, 30);
    await reaches(instance, Status.RUNNING);
    await assert.rejects(hub.waitForOrchestrationCompletion(instance, true, 1), /time/i);
    await hub.suspendOrchestration(instance);
    await reaches(instance, Status.SUSPENDED);
    await hub.raiseOrchestrationEvent(instance, "amount", 5);
    await hub.raiseOrchestrationEvent(instance, "amount");
    await hub.resumeOrchestration(instance);
    assert.equal(await output(instance), 5);

    const ended = await hub.scheduleNewOrchestration("tally", 0);
    await reaches(ended, Status.RUNNING);
    await hub.terminateOrchestration(ended, "why not");
    await reaches(ended, Status.TERMINATED);
    assert.equal((await hub.getOrchestrationState(ended)).serializedOutput, '"why not"');
}

async function failing() {
    const order = {
        ledger: path.join(directory, "ledger"),
        gate: path.join(directory, "gate"),
        what: "it",
    };
    const instance = await hub.scheduleNewOrchestration("finder", order);
    const end = await hub.waitForOrchestrationCompletion(instance, true, 30);
    assert.equal(end.runtimeStatus, Status.FAILED);
    assert.match(end.failureDetails.message, /gate is missing/);
    fs.writeFileSync(order.gate, "");
    await hub.rewindInstance(instance, "it is there now");
    await reaches(instance, Status.COMPLETED);
    assert.equal(await output(instance), "found");
    assert.equal(fs.readFileSync(order.ledger, "utf8").trim().split("\n").length, 1);

    const again = await hub.restartOrchestration(instance, true);
    assert.notEqual(again, instance);
    assert.equal(await output(again), "found");
    assert.ok((await hub.getOrchestrationHistory(again)).length >= 8);
    assert.deepEqual(await hub.getOrchestrationHistory("nobody"), []);

    const parent = await hub.scheduleNewOrchestration(
        "parent", { child: "echo", input: [1], id: "the-child" });
    assert.deepEqual(await output(parent), [1]);
    assert.equal((await hub.getOrchestrationState("the-child")).runtimeStatus, Status.COMPLETED);
}

async function queries() {
    for (let i = 0; i < 12; i++) {
        await output(await hub.scheduleNewOrchestration("echo", i, `q-${i}`));
    }
    const found = [];
    for await (const state of hub.getAllInstances({ instanceIdPrefix: "q-", pageSize: 5 })) {
        found.push(state.instanceId);
    }
    assert.equal(new Set(found).size, 12);
    assert.equal(found.length, 12);
    const page = await hub.listInstanceIds({ pageSize: 5, runtimeStatus: [Status.COMPLETED] });
    assert.equal(page.values.length, 5);
    assert.equal((await hub.purgeOrchestration("q-0")).deletedInstanceCount, 1);
    assert.equal(await hub.getOrchestrationState("q-0"), undefined);
    const criteria = new PurgeInstanceCriteria();
    criteria.setRuntimeStatusList([Status.COMPLETED]);
    assert.ok((await hub.purgeOrchestration(criteria)).deletedInstanceCount >= 11);
    assert.equal(await hub.getOrchestrationState("q-1"), undefined);
}

async function entities() {
    const sum = new EntityInstanceId("sum", "it");
    assert.equal(await hub.getEntity(sum), undefined);
    await hub.signalEntity(sum, "add", 1);
    await hub.signalEntity(sum, "add", 2);
    await until(async () => {
        const entity = await hub.getEntity(sum);
        return entity?.includesState && entity.state === 3; // it has none before the first signal
    });
    const found = [];
    for await (const entity of hub.getEntities({ instanceIdStartsWith: "@sum@" })) {
        found.push([entity.id.key, entity.state]);
    }
    assert.deepEqual(found, [["it", 3]]);
    await hub.cleanEntityStorage();
}

async function main() {
    await states();
    await steering();
    await failing();
    await queries();
    await entities();
    await hub.stop();
    console.log("all as promised");
}

main().then(() => process.exit(0), (error) => {
    console.error(error);
    process.exit(1);
});

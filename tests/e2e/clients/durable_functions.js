// Drives the client of the npm package durable-functions against a running hub, in both of its
// modes: URLs with keys (webhook) and the local copy without (rpc).
//
//     node durable_functions.js BASE_URL DIRECTORY refused|waits
//
// The last says what becomes of an orchestration that nobody serves.
"use strict";
const assert = require("node:assert/strict");
const fs = require("node:fs");
const path = require("node:path");
const { DurableClient } = require("durable-functions/lib/src/durableClient/DurableClient.js");

const [base, directory, unserved] = process.argv.slice(2);

async function reaches(client, id, status) {
    for (;;) {
        const now = await client.getStatus(id);
        if (now.runtimeStatus === status) return now;
        assert.ok(["Pending", "Running", "Suspended"].includes(now.runtimeStatus), JSON.stringify(now));
        await new Promise((resolve) => setTimeout(resolve, 20));
    }
}

async function events(client, mode) {
    const id = await client.startNew("collect", { instanceId: `${mode}-collect`, input: 2 });
    assert.equal(id, `${mode}-collect`);
    await assert.rejects(client.startNew("collect", { instanceId: id, input: 2 }));
    await client.suspend(id, "take a rest");
    await reaches(client, id, "Suspended");
    await client.raiseEvent(id, "Item", { first: [1, "\u00e4"] });
    await client.raiseEvent(id, "item", 2);
    await client.resume(id, "go on, please & thanks");
    const end = await reaches(client, id, "Completed");
    assert.deepEqual(end.output, [{ first: [1, "\u00e4"] }, 2]);
    assert.equal(end.input, 2);
    assert.equal(end.name, "collect");
    assert.equal(end.instanceId, id);
    assert.ok(Math.abs(new Date(end.createdTime) - Date.now()) < 600000);
    await client.raiseEvent(id, "Item", 3); // has ended: 410, which the client lets pass
    await client.terminate(id, "too late");
    await assert.rejects(client.raiseEvent("nobody", "Item", 1), /No instance with ID 'nobody'/);
    await assert.rejects(client.terminate("nobody", "x"), /nobody/);
    await assert.rejects(client.suspend("nobody", "x"), /nobody/);
    await assert.rejects(client.resume("nobody", "x"), /nobody/);
    const withHistory = await client.getStatus(id, { showHistory: true, showHistoryOutput: true, showInput: false });
    assert.equal(withHistory.runtimeStatus, "Completed");
}

async function endings(client, mode) {
    const id = await client.startNew("approval");
    await reaches(client, id, "Running");
    await client.terminate(id, "why not");
    assert.equal((await reaches(client, id, "Terminated")).output, "why not");
    if (unserved === "waits") {
        const waiting = await client.startNew("no_such_orchestrator");
        await reaches(client, waiting, "Pending");
        await client.terminate(waiting, "nobody comes");
        await reaches(client, waiting, "Terminated");
    } else {
        await assert.rejects(client.startNew("no_such_orchestrator"), /no_such_orchestrator/);
    }
    await assert.rejects(client.getStatus("nobody"), /HTTP 404/);

    const file = path.join(directory, `${mode}-wanted`);
    const failing = await client.startNew("wants_file", { input: file });
    await reaches(client, failing, "Failed");
    fs.writeFileSync(file, "");
    await client.rewind(failing, "it is there now");
    assert.equal((await reaches(client, failing, "Completed")).output, "found");
    await assert.rejects(client.rewind("nobody", "x"), /nobody/);
    const running = await client.startNew("approval");
    await assert.rejects(client.rewind(running, "x"));
    await client.raiseEvent(running, "Approval", true);
    await reaches(client, running, "Completed");

    const versioned = await client.startNew("whoami", { version: "1.5" });
    assert.equal((await reaches(client, versioned, "Completed")).output.version, "1.5");
}

async function lists(client) {
    const began = new Date(Date.now() - 60000);
    const ids = await Promise.all(Array.from({ length: 230 }, () => client.startNew("nap", { input: 1 })));
    await Promise.all(ids.map((id) => reaches(client, id, "Completed")));
    let listed;
    do {
        listed = await client.getStatusBy({ createdTimeFrom: began, runtimeStatus: ["Completed"] });
        listed = listed.filter((row) => ids.includes(row.instanceId));
    } while (listed.length < ids.length);
    assert.equal(new Set(listed.map((row) => row.instanceId)).size, ids.length);
    assert.ok((await client.getStatusAll()).length >= ids.length);

    assert.equal((await client.purgeInstanceHistory(ids[0])).instancesDeleted, 1);
    assert.equal((await client.purgeInstanceHistory(ids[0])).instancesDeleted, 0);
    const purged = await client.purgeInstanceHistoryBy({ createdTimeFrom: began, runtimeStatus: ["Completed"] });
    assert.ok(purged.instancesDeleted >= ids.length - 1, JSON.stringify(purged));
    const none = await client.purgeInstanceHistoryBy({ createdTimeFrom: began, runtimeStatus: ["Completed"] });
    assert.equal(none.instancesDeleted, 0);
}

async function waits(client) {
    const request = { url: `${base}/any`, headers: {} };
    const id = await client.startNew("nap", { input: 1 });
    const patience = { timeoutInMilliseconds: 10000, retryIntervalInMilliseconds: 50 };
    const done = await client.waitForCompletionOrCreateCheckStatusResponse(request, id, patience);
    assert.equal(done.status, 200);
    assert.equal(await done.json(), "rested");
    const open = await client.startNew("approval");
    const soon = { timeoutInMilliseconds: 100, retryIntervalInMilliseconds: 50 };
    const check = await client.waitForCompletionOrCreateCheckStatusResponse(request, open, soon);
    assert.equal(check.status, 202);
    const links = await check.json();
    assert.equal((await fetch(links.statusQueryGetUri)).status, 202);
    const sent = await fetch(links.sendEventPostUri.replace("{eventName}", "Approval"), {
        method: "POST", body: "7", headers: { "Content-Type": "application/json" } });
    assert.equal(sent.status, 202);
    await reaches(client, open, "Completed");
    const restarted = await fetch(links.restartPostUri, { method: "POST" });
    assert.equal(restarted.status, 202);
    const other = (await restarted.json()).id;
    await client.terminate(other, "enough");
    assert.equal((await fetch(links.purgeHistoryDeleteUri, { method: "DELETE" })).status, 200);
}

async function main() {
    for (const mode of ["webhook", "rpc"]) {
        const binding = await (await fetch(`${base}/runtime/webhooks/durabletask/binding`)).json();
        if (mode === "webhook") delete binding.rpcBaseUrl;
        const client = new DurableClient(binding);
        await events(client, mode);
        await endings(client, mode);
        await lists(client);
        await waits(client);
    }
    console.log("all as promised");
}

main().catch((error) => {
    console.error(error);
    process.exit(1);
});

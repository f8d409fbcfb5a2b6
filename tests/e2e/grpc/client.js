// Node's grpc-js against grpc_echo: node client.js <address> <directory of certificates or -> [drain]
const fs = require("fs");
const path = require("path");
const assert = require("assert");
const grpc = require("@grpc/grpc-js");

const [address, directory, what] = process.argv.slice(2);
const same = (bytes) => bytes;
const MIB = 1 << 20;

function read(name) {
    return fs.readFileSync(path.join(directory, name));
}

const client = new grpc.Client(
    address,
    directory === "-" ? grpc.credentials.createInsecure()
                      : grpc.credentials.createSsl(read("ca.pem"), read("client.key"), read("client.pem")),
    { "grpc.max_receive_message_length": -1, "grpc.initial_reconnect_backoff_ms": 100,
      "grpc.max_reconnect_backoff_ms": 300 });

function metadataOf(fields) {
    const metadata = new grpc.Metadata();
    for (const [name, value] of Object.entries(fields || {})) metadata.add(name, value);
    return metadata;
}

// Resolves with what came, or with the error.
function unary(method, message, options = {}, fields) {
    return new Promise((resolve) => {
        const call = client.makeUnaryRequest("/test.Echo/" + method, same, same, Buffer.from(message),
            metadataOf(fields), options, (error, answer) => resolve({ error, answer, initial: call.initial }));
        call.on("metadata", (initial) => { call.initial = initial; });
        if (options.cancel) options.cancel.push(call);
    });
}

function collect(stream) {
    return new Promise((resolve) => {
        const got = [];
        let failure = null;
        stream.on("data", (message) => got.push(message));
        stream.on("error", (error) => { failure = error; });
        stream.on("status", (status) => resolve({ got, status, failure }));
    });
}

async function messages() {
    for (const size of [0, 5, 100000, 4 * MIB]) {
        const message = Buffer.alloc(size, "m");
        const { error, answer } = await unary("Unary", message);
        assert.ifError(error);
        assert(answer.equals(message));
    }
    const { error } = await unary("Unary", Buffer.alloc(4 * MIB + 1));
    assert.strictEqual(error.code, grpc.status.RESOURCE_EXHAUSTED);
}

async function streams() {
    const down = await collect(client.makeServerStreamRequest("/test.Echo/Stream", same, same,
        Buffer.from("5000 1000")));
    assert.strictEqual(down.status.code, 0);
    assert.strictEqual(down.got.length, 5000);
    const threaded = await collect(client.makeServerStreamRequest("/test.Echo/Threaded", same, same,
        Buffer.from("100 100000")));
    assert.strictEqual(Buffer.concat(threaded.got).length, 10000000);

    const total = await new Promise((resolve, reject) => {
        const call = client.makeClientStreamRequest("/test.Echo/Collect", same, same,
            (error, answer) => (error ? reject(error) : resolve(answer.toString())));
        for (let i = 0; i < 2000; i++) call.write(Buffer.alloc(1000));
        call.end();
    });
    assert.strictEqual(total, "2000000");

    const bidi = client.makeBidiStreamRequest("/test.Echo/Bidi", same, same);
    const done = collect(bidi);
    for (let i = 0; i < 1000; i++) bidi.write(Buffer.from(String(i)));
    bidi.end();
    const both = await done;
    assert.strictEqual(both.status.code, 0);
    assert.deepStrictEqual(both.got.map(String), Array.from({ length: 1000 }, (_, i) => String(i)));
}

async function statuses() {
    const fields = { "x-text": "some text", "x-data-bin": Buffer.from([0, 1, 254, 255]) };
    for (let status = 1; status <= 16; status++) {
        const words = `№ ${status}: 100 % wrong`;
        const { error, initial } = await unary("Fail", `${status} ${words}`, {}, fields);
        assert.strictEqual(error.code, status);
        assert.strictEqual(error.details, words);
        for (const metadata of [initial, error.metadata]) {
            assert.deepStrictEqual(metadata.get("x-text"), ["some text"]);
            assert(metadata.get("x-data-bin")[0].equals(fields["x-data-bin"]));
        }
    }
    assert.strictEqual((await unary("Nothing", "")).error.code, grpc.status.UNIMPLEMENTED);
}

async function deadlines() {
    const { error } = await unary("Forever", "", { deadline: Date.now() + 200 });
    assert.strictEqual(error.code, grpc.status.DEADLINE_EXCEEDED);
    const left = Number((await unary("Deadline", "", { deadline: Date.now() + 50000 })).answer);
    assert(left > 40000 && left <= 51000, String(left));
}

// As its users do it: without a deadline, and given up.
async function cancelledWaits() {
    const calls = [];
    const waits = [];
    for (let i = 0; i < 3000; i++) waits.push(unary("Forever", "", { cancel: calls }));
    await unary("Unary", "behind them");
    for (const call of calls) call.cancel();
    for (const { error } of await Promise.all(waits)) {
        assert.strictEqual(error.code, grpc.status.CANCELLED);
    }
    assert.strictEqual((await unary("Unary", "a")).answer.toString(), "a");
}

async function drain() {
    const wait = collect(client.makeServerStreamRequest("/test.Echo/Wait", same, same, Buffer.alloc(0)));
    const forever = unary("Forever", "");
    assert.strictEqual((await wait).status.code, 0);
    assert.strictEqual((await forever).error.code, grpc.status.UNAVAILABLE);
    for (;;) { // until another server is there
        const { error, answer } = await unary("Unary", "again");
        if (!error) {
            assert.strictEqual(answer.toString(), "again");
            return;
        }
        assert.strictEqual(error.code, grpc.status.UNAVAILABLE, error.details);
        await new Promise((resolve) => setTimeout(resolve, 50));
    }
}

async function main() {
    const cases = what === "drain" ? [drain] : [messages, streams, statuses, deadlines, cancelledWaits];
    for (const test of cases) await test();
    client.close();
    console.log("all as promised");
}

main().catch((error) => {
    console.error(error);
    process.exit(1);
});

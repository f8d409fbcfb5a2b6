// The activity that ../python/orders.py leaves to JavaScript, which knows how people write prices.
//
//     node prices.js [ENDPOINT]
"use strict";
const { TaskHubGrpcWorker } = require("@microsoft/durabletask-js");

function formatPrice(_context, { amount, currency, language }) {
    return new Intl.NumberFormat(language, { style: "currency", currency }).format(amount);
}

async function main() {
    const endpoint = process.argv[2] ?? process.env.TASKHUB_RPC ?? "localhost:4001";
    const worker = new TaskHubGrpcWorker({ hostAddress: endpoint, workItemFilters: "auto" });
    worker.addNamedActivity("format_price", formatPrice);
    await worker.start();
    console.log(`serving ${endpoint}`);
    for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => worker.stop());
}

main();

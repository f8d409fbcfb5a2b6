"""An orchestrator in Python; one of its activities is in JavaScript (../javascript/prices.js).

    python orders.py [ENDPOINT]
"""
import os
import signal
import sys

from durabletask.worker import TaskHubGrpcWorker


def add_up(ctx, lines):
    return sum(line["price"] * line["count"] for line in lines)


def invoice(ctx, order):
    total = yield ctx.call_activity(add_up, input=order["lines"])
    # By name: whichever worker says that it has this activity gets the call.
    price = yield ctx.call_activity("format_price", input={
        "amount": total, "currency": order["currency"], "language": order["language"]})
    return f"{order['customer']}: {price}"


def main():
    endpoint = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("TASKHUB_RPC", "localhost:4001")
    worker = TaskHubGrpcWorker(host_address=endpoint)
    worker.add_orchestrator(invoice)
    worker.add_activity(add_up)
    worker.use_work_item_filters()  # only these two: `format_price` is somebody else's
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    worker.start()
    print(f"serving {endpoint}", flush=True)
    signal.sigwait({signal.SIGINT, signal.SIGTERM})
    worker.stop()


if __name__ == "__main__":
    main()

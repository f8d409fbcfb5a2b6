"""A worker for tests that end it at bad moments: python trouble.py; serves $TASKHUB_RPC.

A ledger is a file to which every function appends a line: what it did, and the process that did it.
A gate is a file; who stands before it waits until it exists.
"""
import os
import time

from durabletask.entities import DurableEntity
from durabletask.worker import TaskHubGrpcWorker


def write(ledger, *words):
    line = " ".join(map(str, (*words, os.getpid()))) + "\n"
    file = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(file, line.encode())
    os.close(file)


def stand_before(gate):
    while not os.path.exists(gate):
        time.sleep(0.01)


def note(ctx, entry):
    write(entry["ledger"], "note", entry["what"])
    return entry["what"]


def gated(ctx, entry):
    write(entry["ledger"], "begin", entry["what"])
    stand_before(entry["gate"])
    write(entry["ledger"], "end", entry["what"])
    return entry["what"]


def steps(ctx, order):
    """So many notes, one after the other."""
    done = []
    for i in range(order["count"]):
        entry = {"ledger": order["ledger"], "what": f"{ctx.instance_id}/{i}"}
        done.append((yield ctx.call_activity("note", input=entry)))
    return done


def one_gated(ctx, order):
    return (yield ctx.call_activity("gated", input=order))


def gated_and_event(ctx, order):
    """Lives on after the activity: a second result of it would be taken."""
    done = yield ctx.call_activity("gated", input=order)
    yield ctx.wait_for_external_event("finish")
    yield ctx.call_activity("note", input=order)
    return done


def gated_episode(ctx, order):
    """Code that takes its time before it asks for anything."""
    if not ctx.is_replaying:
        write(order["ledger"], "begin", order["what"])
        stand_before(order["gate"])
    return (yield ctx.call_activity("note", input=order))


def tally(ctx, total):
    amount = yield ctx.wait_for_external_event("amount")
    if amount is None:
        return total
    ctx.continue_as_new(total + amount, save_events=True)


def wants_file(ctx, path):
    if not os.path.exists(path):
        raise FileNotFoundError(path)
    return "found"


def finder(ctx, order):
    """Two activities; the second fails where a file is missing."""
    yield ctx.call_activity("note", input=order)
    return (yield ctx.call_activity("wants_file", input=order["gate"]))


def parent(ctx, order):
    return (yield ctx.call_sub_orchestrator(order["child"], input=order["input"],
                                            instance_id=order["id"]))


def echo(ctx, data):
    ctx.set_custom_status({"version": ctx.version})
    return data


class Sum(DurableEntity):
    def add(self, amount):
        self.set_state(self.get_state(int, 0) + amount)

    def add_gated(self, order):
        write(order["ledger"], "begin", order["what"])
        stand_before(order["gate"])
        self.add(order["amount"])


def main():
    worker = TaskHubGrpcWorker(host_address=os.environ["TASKHUB_RPC"])
    for orchestrator in (steps, one_gated, gated_and_event, gated_episode, tally, finder, parent,
                         echo):
        worker.add_orchestrator(orchestrator)
    for activity in (note, gated, wants_file):
        worker.add_activity(activity)
    worker.add_entity(Sum, "sum")
    worker.use_work_item_filters()
    worker.start()
    print("serving", flush=True)
    while True:
        time.sleep(3600)


if __name__ == "__main__":
    main()

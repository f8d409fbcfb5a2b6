"""What a program with the Python SDK serves while everything around it is killed (chaos_test.py --sdk):
served.js is the same in JavaScript. Serves $TASKHUB_RPC.

As in tests/e2e/apps/chaos.c each execution of an activity, and each that ends, leaves a line in the ledger
$TASKHUB_CHAOS_LEDGER, on the disk before anything follows from it: "begin KEY MARK" and "end KEY MARK". The
mark is the execution's own and goes into its result, so that it is known whose result a history has.

Inputs say in which language an orchestrator's activities ("by"), children ("child") and entities
("counter") are.
"""
import os
import time
from datetime import timedelta

from durabletask import task
from durabletask.entities import DurableEntity, EntityInstanceId
from durabletask.worker import TaskHubGrpcWorker


def note(*words):
    path = os.path.join(os.environ["TASKHUB_CHAOS_LEDGER"], str(os.getpid()))
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(file, (" ".join(words) + "\n").encode())
    os.fdatasync(file)
    os.close(file)


def step(ctx, order):
    """Works for a time; gives the next number."""
    key, mark = f"{ctx.orchestration_id}/{order['n']}", f"{os.getpid()}.{os.urandom(4).hex()}"
    note("begin", key, mark)
    time.sleep(order["ms"] / 1000)
    note("end", key, mark)
    return {"n": order["n"] + 1, "by": mark}


def call_step(ctx, work, n):
    return ctx.call_activity(work["by"] + "_step", input={"n": n, "ms": work["ms"]})


def chain(ctx, work):
    """One after the other; gives their number."""
    n = 0
    while n < work["steps"]:
        n = (yield call_step(ctx, work, n))["n"]
    return n


def fan(ctx, work):
    """All at once; gives 1 + … + width."""
    done = yield task.when_all([call_step(ctx, work, n) for n in range(work["width"])])
    return sum(one["n"] for one in done)


def family(ctx, work):
    """Chains as sub-orchestrations; gives the sum of theirs."""
    done = yield task.when_all([ctx.call_sub_orchestrator(work["child"], input=work)
                                for _ in range(work["width"])])
    return sum(done)


def collect(ctx, work):
    """Takes events until each number has come; gives all of them in the order they came."""
    seen = []
    while len(set(seen)) < work["events"]:
        seen.append((yield ctx.wait_for_external_event("e")))
    return seen


def sleeper(ctx, work):
    for _ in range(work["naps"]):
        yield ctx.create_timer(timedelta(milliseconds=work["ms"]))
    return work["naps"]


def generations(ctx, work):
    """An execution and a step for each round; gives their number."""
    if work["round"] >= work["rounds"]:
        return work["round"]
    done = yield call_step(ctx, work, work["round"])
    ctx.continue_as_new({**work, "round": done["n"]}, save_events=True)


def counter_user(ctx, work):
    """Signals a counter so often, and asks it then; gives how much it has counted."""
    counter = EntityInstanceId(work["counter"], work["key"])
    for n in range(work["times"]):
        ctx.signal_entity(counter, "add", f"{ctx.instance_id}/{n}")
    return (yield ctx.call_entity(counter, "get"))


def transfer(ctx, work):
    """As the one in C, between the same accounts, which are in C."""
    accounts = [EntityInstanceId("account", work["from"]), EntityInstanceId("account", work["to"])]
    amounts, before, after = (-work["amount"], work["amount"]), 0, 0
    with (yield ctx.lock_entities(accounts)):
        for account in accounts:
            before += yield ctx.call_entity(account, "balance")
        for account, amount in zip(accounts, amounts):
            after += yield ctx.call_entity(account, "add", amount)
    if before != after:
        raise RuntimeError(f"the lock is broken: {before} before, {after} after")
    return work["amount"]


class Counter(DurableEntity):
    """Counts, and keeps what it has counted."""

    def add(self, what):
        self.set_state(self.get_state(list, []) + [what])

    def get(self):
        return len(self.get_state(list, []))


def main():
    worker = TaskHubGrpcWorker(host_address=os.environ["TASKHUB_RPC"],
                               metadata=[("taskhub", os.environ["TASKHUB_CHAOS_HUB"])])
    for orchestrator in (chain, fan, family, collect, sleeper, generations, counter_user, transfer):
        orchestrator.__name__ = "py_" + orchestrator.__name__
        worker.add_orchestrator(orchestrator)
    step.__name__ = "py_step"
    worker.add_activity(step)
    worker.add_entity(Counter, "py_counter")
    worker.use_work_item_filters()
    worker.start()
    while True:
        time.sleep(3600)


if __name__ == "__main__":
    main()

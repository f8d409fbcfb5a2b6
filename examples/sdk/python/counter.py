"""A counter that lives for ever, an entity, and an orchestrator that counts with it."""
from durabletask.entities import DurableEntity, EntityInstanceId


class Counter(DurableEntity):
    """One per key. Operations on a key never run at the same time, so nothing needs a lock."""

    def add(self, amount):
        self.set_state(self.get_state(int, 0) + amount)
        return self.get_state(int)

    def get(self):
        return self.get_state(int, 0)

    def reset(self):
        self.set_state(0)


def count_up(ctx, request):
    """A call waits for the operation's result; `ctx.signal_entity` would not."""
    counter = EntityInstanceId("counter", request["key"])
    for _ in range(request["times"]):
        yield ctx.call_entity(counter, "add", 1)
    return (yield ctx.call_entity(counter, "get"))


def register(worker):
    worker.add_entity(Counter, "counter")
    worker.add_orchestrator(count_up)

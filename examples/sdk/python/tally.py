"""Adds up what events bring, for ever: continue-as-new keeps the history short."""


def tally(ctx, total):
    amount = yield ctx.wait_for_external_event("amount")
    if amount is None:
        return total
    # A new execution begins; events that already wait go with it.
    ctx.continue_as_new(total + amount, save_events=True)


def register(worker):
    worker.add_orchestrator(tally)

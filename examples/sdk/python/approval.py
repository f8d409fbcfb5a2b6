"""Waits for a person, but not for ever: the event "decision", or the time-out."""
from datetime import timedelta

from durabletask import task


def tell(ctx, message):
    print(message, flush=True)  # a mail, in real life


def approval(ctx, request):
    ctx.set_custom_status("waiting for a decision")
    decision = ctx.wait_for_external_event("decision")
    timeout = ctx.create_timer(timedelta(seconds=request["seconds"]))
    first = yield task.when_any([decision, timeout])
    if first is decision:
        timeout.cancel()
        outcome = "approved" if decision.get_result() else "refused"
    else:
        outcome = "nobody answered"
    ctx.set_custom_status("decided")
    yield ctx.call_activity(tell, input=f"{request['what']}: {outcome}")
    return outcome


def register(worker):
    worker.add_orchestrator(approval)
    worker.add_activity(tell)

"""An activity that fails now and then, and a policy that tries again."""
from collections import Counter
from datetime import timedelta

from durabletask import task

calls = Counter()


def unreliable(ctx, failures):
    """Fails so many times for each instance, then works. A restarted worker counts anew."""
    calls[ctx.orchestration_id] += 1
    if calls[ctx.orchestration_id] <= failures:
        raise RuntimeError(f"no luck, call {calls[ctx.orchestration_id]}")
    return calls.pop(ctx.orchestration_id)


def retries(ctx, failures):
    """Gives the number of calls it took, or why it gave up."""
    policy = task.RetryPolicy(first_retry_interval=timedelta(milliseconds=100),
                              max_number_of_attempts=4, backoff_coefficient=2)
    try:
        return (yield ctx.call_activity(unreliable, input=failures, retry_policy=policy))
    except task.TaskFailedError as error:
        return f"gave up: {error.details.message}"


def register(worker):
    worker.add_orchestrator(retries)
    worker.add_activity(unreliable)

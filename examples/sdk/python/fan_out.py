"""Counts the words of many texts at the same time and adds the counts up."""
from durabletask import task


def count_words(ctx, text):
    return len(text.split())


def fan_out(ctx, texts):
    # All of them are scheduled before the first result is awaited.
    counts = [ctx.call_activity(count_words, input=text) for text in texts]
    # The SDK would wait for ever for all of nothing.
    return sum((yield task.when_all(counts))) if counts else 0


def register(worker):
    worker.add_orchestrator(fan_out)
    worker.add_activity(count_words)

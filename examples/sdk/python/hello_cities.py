"""Greets cities one after the other: an orchestrator and one activity."""


def say_hello(ctx, city):
    return f"Hello {city}!"


def hello_cities(ctx, cities):
    greetings = []
    for city in cities or ["Tokyo", "Seattle", "London"]:
        greetings.append((yield ctx.call_activity(say_hello, input=city)))
    return greetings


def register(worker):
    worker.add_orchestrator(hello_cities)
    worker.add_activity(say_hello)

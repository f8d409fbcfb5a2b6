"""An orchestrator of orchestrators: one `hello_cities` per country, all at the same time."""
from durabletask import task

from hello_cities import hello_cities


def hello_countries(ctx, countries):
    children = [ctx.call_sub_orchestrator(hello_cities, input=cities)
                for cities in countries.values()]
    greetings = yield task.when_all(children)
    return dict(zip(countries, greetings))


def register(worker):
    worker.add_orchestrator(hello_countries)

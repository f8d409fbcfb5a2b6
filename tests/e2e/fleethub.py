"""A hub on Kafka and Redis behind the interface of harness.Hub: a coordinator, workers, and where the
two differ from `taskhub dev`.

Brokers, and hubs whose tests leave them as they were, are kept for later tests: a hub is emptied in a
moment, starting one takes seconds.
"""
import atexit
import json
import os
import shutil
import tempfile

from harness import API, BIN, PATIENCE, Fleet, Server, Worker, until

TASKHUB_COORDINATOR = os.path.join(BIN, "taskhub-coordinator")
OPTIONS_OF_COORDINATOR = ("--partitions", "--host-json", "--log-level", "--key")
OPTIONS_OF_WORKER = ("--host-json", "--log-level", "--key", "--activities", "--function-timeout")
FLAGS_OF_WORKER = ("--replay-always", "--isolate")
WORKERS = 1


def those_of(args, options, flags=()):
    """Of an argument list, what a program takes."""
    kept, args = [], list(args)
    while args:
        name = args.pop(0)
        if name in FLAGS_OF_WORKER:
            kept += [name] if name in flags else []
        else:
            value = args.pop(0)
            kept += [name, value] if name in options else []
    return kept


def hub_in_host_json(args):
    """Whether the settings name the hub themselves."""
    if "--host-json" not in args:
        return False
    path = os.path.join(args[args.index("--host-json") + 1], "host.json")
    with open(path, encoding="utf-8") as settings:
        durable = json.load(settings).get("extensions", {}).get("durableTask", {})
    return "hubName" in durable


class Coordinator(Server):
    def __init__(self, fleet, hub, *args, name="coordinator", **environment):
        super().__init__(fleet.directory, name)
        self.fleet = fleet
        self.hub = hub  # None: the settings name it
        self.args = list(args)
        self.variables = environment

    def command(self):
        named = ["--hub", self.hub] if self.hub else []
        return [TASKHUB_COORDINATOR, *named, "--port", self.port,
                *those_of(self.args, OPTIONS_OF_COORDINATOR)]

    def environment(self):
        return {"TASKHUB_KAFKA": self.fleet.kafka, "TASKHUB_REDIS": self.fleet.redis,
                **self.variables}

    def is_ready(self):
        try:
            return self.http("GET", "/readyz")[0] == 200
        except OSError:
            return False


class FleetHub(Coordinator):
    """A coordinator whose workers come and go with it."""
    count = 0

    def __init__(self, fleet, application, *args):
        FleetHub.count += 1
        self.name = f"E2e{os.getpid()}x{FleetHub.count}"
        super().__init__(fleet, None if hub_in_host_json(args) else self.name, *args,
                         name=f"coordinator-{FleetHub.count}")
        self.application = application
        self.first_args = list(args)
        self.kept = False  # for later tests; otherwise it ends with its own
        self.workers = [Worker(fleet, None, application, name=f"worker-{FleetHub.count}-{i}")
                        for i in range(WORKERS)]

    def start(self):
        if self.process:
            return self
        super().start()
        self.name = until(self.own_name, "the coordinator's word about its hub")
        for worker in self.workers:
            worker.hub = self.name
            worker.args = those_of(self.args, OPTIONS_OF_WORKER, FLAGS_OF_WORKER)
            worker.launch()
        for worker in self.workers:
            worker.listen()
        until(self.is_ready, f"an owner for each partition of {self.name}")
        return self

    def own_name(self):
        code, _, view = self.http("GET", f"{API}/hub")
        return view["name"] if code == 200 else None

    def stop(self):
        codes = [worker.stop() for worker in self.workers if worker.process]
        codes.append(super().stop())
        return max(codes)

    def kill(self):
        for worker in self.workers:
            if worker.process:
                worker.kill()
        super().kill()

    def worker(self):
        return self.workers[0].worker()

    def stderr(self):
        return "".join(server.stderr() for server in self.workers) + super().stderr()

    def http(self, method, path, body=None, headers=None, timeout=PATIENCE):
        """The application's routes are the workers'."""
        if path.startswith("/api") and self.workers:
            return self.workers[0].http(method, path, body, headers, timeout)
        return super().http(method, path, body, headers, timeout)

    def release(self):
        if self.process and (not self.kept or self.args != self.first_args or not self.empty()):
            self.kill()

    def empty(self):
        """Ends and purges whatever a test has left; true: nothing is there any more."""
        def rows(query=""):
            return self.http("GET", f"{API}/instances?top=1000{query}")[2]
        try:
            running = "&runtimeStatus=Running,Pending,Suspended"
            for row in rows(running):
                self.http("POST", f"{API}/instances/{row['instanceId']}/terminate")
            until(lambda: not rows(running), "all have ended", 10)
            self.http("DELETE", f"{API}/instances?createdTimeFrom=2001-01-01")
            until(lambda: not rows(), "all are purged", 10)
        except (AssertionError, OSError, TypeError):
            return False
        return True


class FleetHubs:
    """Makes hubs on one Kafka and one Redis; both end with the program."""

    def __init__(self, *options):
        self.directory = tempfile.mkdtemp(prefix="taskhub-mode-", dir=os.environ.get("TMPDIR", "/var/tmp"))
        self.fleet = Fleet(self.directory, *options)
        self.kept = {}
        atexit.register(self.down)

    def make(self, directory, application, *args, fresh=False, **unused):
        key = (application, args)
        hub = self.kept.get(key)
        if hub and hub.process and not fresh:
            return hub
        hub = FleetHub(self.fleet, application, *args)
        hub.kept = not fresh
        if not fresh:
            self.kept[key] = hub
        return hub

    def down(self):
        for hub in self.kept.values():
            if hub.process:
                hub.kill()
        self.fleet.down()
        if "TASKHUB_KEEP" not in os.environ:
            shutil.rmtree(self.directory, ignore_errors=True)

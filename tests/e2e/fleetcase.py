"""What the tests of fleets share: Kafka and Redis for a module's tests, a ledger, and load.

The broker's version and settings are those of TASKHUB_KAFKA_OPTIONS, as deploy/kafka.sh takes them.
"""
import collections
import http.client
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
import unittest

from fleethub import Coordinator
from harness import API, BIN, Fleet, app, until

LONG = bool(os.environ.get("TASKHUB_LONG"))
LOG = ("retention.ms=-1", "retention.bytes=-1", "max.message.bytes=18000000",
       "unclean.leader.election.enable=false")
TOPICS = {"instances": LOG, "history": LOG, "activities": LOG, "control": ("cleanup.policy=compact",)}


def report(what, seconds):
    print(f"    {what}: {seconds * 1000:.0f} ms", file=sys.stderr, flush=True)


class Ledger:
    """What the activities wrote: how often each step began and ended, and in which processes."""

    def __init__(self, directory, name="ledger"):
        self.path = os.path.join(directory, name)

    def read(self):
        began, ended = collections.Counter(), collections.Counter()
        pids = collections.Counter()
        if os.path.exists(self.path):
            with open(self.path, encoding="ascii") as lines:
                for line in lines:
                    what, key, pid, _ = line.split()
                    (began if what == "begin" else ended)[key] += 1
                    pids[int(pid)] += what == "begin"
        return began, ended, pids

    def last_end(self):
        """When the latest step ended: seconds, as time.time()."""
        with open(self.path, encoding="ascii") as lines:
            return max(int(line.split()[3]) for line in lines if line.startswith("end ")) / 1000

    def repeated(self):
        return sum(n - 1 for n in self.read()[0].values())


class Load:
    """Clients that start instances until told to stop; they know which starts were acknowledged."""

    def __init__(self, workers, orchestrator, body, clients=4):
        self.stopping = False
        self.workers, self.orchestrator, self.body = workers, orchestrator, body
        self.started = []
        self.threads = [threading.Thread(target=self.run, args=(i,)) for i in range(clients)]
        for thread in self.threads:
            thread.start()

    def run(self, number):
        turn = number
        while not self.stopping:
            workers = [w for w in self.workers if w.process]
            turn += 1
            try:
                worker = workers[turn % len(workers)]
                self.started.append(worker.start_instance(self.orchestrator, self.body))
            except (OSError, http.client.HTTPException, AssertionError, AttributeError):
                pass  # that worker ended meanwhile: nothing was promised

    def stop(self):
        self.stopping = True
        for thread in self.threads:
            thread.join()
        return self.started


cluster = None


def setUpModule():
    """Kafka and Redis for all tests of the module that has imported this."""
    global cluster
    directory = tempfile.mkdtemp(prefix="taskhub-fleet-", dir=os.environ.get("TMPDIR", "/var/tmp"))
    if "TASKHUB_KEEP" in os.environ:
        print("kept:", directory, file=sys.stderr)
    else:
        unittest.addModuleCleanup(shutil.rmtree, directory, ignore_errors=True)
    cluster = Fleet(directory, *shlex.split(os.environ.get("TASKHUB_KAFKA_OPTIONS", "")))
    unittest.addModuleCleanup(cluster.down)


def tearDownModule():
    """The module's cleanups do it."""


class FleetTest(unittest.TestCase):
    """A hub of its own for each test."""

    def setUp(self):
        self.fleet, self.directory = cluster, cluster.directory
        self.hub = "H" + "".join(c for c in self.id().rsplit(".", 1)[1] if c.isalnum())[:40]
        self.ledger = Ledger(self.directory, self.hub)
        self.addCleanup(self.fleet.end_workers)

    def launch(self, application="fleet", *args, **more):
        return self.fleet.worker(self.hub, app(application), "--log-level", "debug", *args, **more)

    def coordinator(self, *args, **environment):
        """Launched, but not yet there."""
        coordinator = Coordinator(self.fleet, self.hub, *args, **environment,
                                  name=f"coordinator-{self.hub}-{len(self.fleet.workers)}")
        self.fleet.workers.append(coordinator)  # ends with them
        return coordinator.launch()

    def workers(self, count, *args, application="fleet"):
        """So many workers, which share the hub evenly."""
        workers = [self.launch(application, *args) for _ in range(count)]
        for worker in workers:
            worker.listen()
        self.await_shares(workers)
        return workers

    def await_shares(self, workers, others=()):
        until(lambda: self.shares(workers, others), "partitions shared among the workers")

    def shares(self, workers, others=()):
        """How many partitions each owns, when all are owned and evenly; None: not yet."""
        owned = collections.Counter(workers[0].partitions().values())
        if None in owned or len(owned) != len(workers) or not all(w.is_ready() for w in workers):
            return None
        return owned if max(owned.values()) - min(owned.values()) <= 1 else None

    def load(self, workers, orchestrator, body):
        load = Load(workers, orchestrator, {"ledger": self.ledger.path, **body})
        self.addCleanup(load.stop)
        return load

    def check_completed(self, worker, instances):
        for instance in instances:
            try:
                end = worker.wait(instance)
            except AssertionError as error:
                raise AssertionError(f"{error}: {self.story(worker, instance)}") from error
            self.assertEqual(end["runtimeStatus"], "Completed", (instance, end))

    def works(self, worker):
        self.check_completed(worker, [self.start(worker, "chain", ms=1, steps=3) for _ in range(5)])

    def story(self, worker, instance):
        """What is known of an instance that does not end."""
        status = worker.http("GET", f"{API}/instances/{instance}?showHistory=true")
        return status[2], worker.http("GET", API + "/hub")[2], worker.http("GET", API + "/lag")[2]

    def check_once(self, minimum):
        """Every step ran exactly once."""
        began, ended, _ = self.ledger.read()
        self.assertGreaterEqual(len(began), minimum)
        twice = {key: n for key, n in began.items() if n != 1}
        self.assertFalse(twice, f"{len(twice)} of {len(began)} steps ran twice")
        self.assertEqual(began, ended)

    def check_at_least_once(self):
        began, ended, _ = self.ledger.read()
        self.assertEqual(set(began), set(ended))

    def topics(self, command, topic, *args):
        """What an administrator does to one of the hub's topics."""
        done = subprocess.run([os.path.join(BIN, "tests", "topics"), command, f"{self.hub}.{topic}",
                               *map(str, args)], capture_output=True, text=True, check=False,
                              env={**os.environ, "TASKHUB_KAFKA": self.fleet.kafka})
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def make_topics(self, partitions):
        for topic, settings in TOPICS.items():
            self.topics("make", topic, 1 if topic == "control" else partitions, *settings)

    def start(self, worker, orchestrator, **body):
        return worker.start_instance(orchestrator, {"ledger": self.ledger.path, **body})

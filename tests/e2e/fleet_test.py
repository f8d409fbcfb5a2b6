"""A fleet of workers on real Kafka and Redis: they share, come, go and die.

Each execution of an activity leaves lines in a ledger outside of the hub, so that what ran twice, or
never, shows. Times are measured and reported on standard error, not asserted: the machine is shared.
"""
import collections
import http.client
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import unittest

from harness import API, OK, Fleet, app, until

WORKERS = 3
PARTITIONS = 12


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


class FleetTest(unittest.TestCase):
    """Kafka and Redis for all tests of a class, a hub for each."""

    options = ()

    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.mkdtemp(prefix="taskhub-fleet-",
                                         dir=os.environ.get("TMPDIR", "/var/tmp"))
        if "TASKHUB_KEEP" in os.environ:
            print("kept:", cls.directory, file=sys.stderr)
        else:
            cls.addClassCleanup(shutil.rmtree, cls.directory, ignore_errors=True)
        cls.fleet = Fleet(cls.directory, *cls.options)
        cls.addClassCleanup(cls.fleet.down)

    def setUp(self):
        self.hub = "H" + "".join(c for c in self.id().rsplit(".", 1)[1] if c.isalnum())[:40]
        self.ledger = Ledger(self.directory, self.hub)
        self.addCleanup(self.fleet.end_workers)

    def launch(self, application="fleet", *args, **environment):
        return self.fleet.worker(self.hub, app(application), "--log-level", "debug", *args,
                                 **environment)

    def workers(self, count, *args):
        """So many workers, which share the hub evenly."""
        workers = [self.launch("fleet", *args) for _ in range(count)]
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

    def check_completed(self, worker, instances):
        for instance in instances:
            try:
                end = worker.wait(instance)
            except AssertionError as error:
                raise AssertionError(f"{error}: {self.story(worker, instance)}") from error
            self.assertEqual(end["runtimeStatus"], "Completed", (instance, end))

    def story(self, worker, instance):
        """What is known of an instance that does not end."""
        status = worker.http("GET", f"{API}/instances/{instance}?showHistory=true")
        return status[2], worker.http("GET", API + "/hub")[2]

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

    def start(self, worker, orchestrator, **body):
        return worker.start_instance(orchestrator, {"ledger": self.ledger.path, **body})


class Moves(FleetTest):
    def test_workers_share_and_others_take_over(self):
        workers = self.workers(WORKERS)
        shares = self.shares(workers)
        self.assertEqual(sorted(shares.values()), [4, 4, 4])
        instances = [self.start(w, "chain", ms=1, steps=3) for w in workers for _ in range(20)]
        self.check_completed(workers[0], instances)
        self.check_once(len(instances) * 3)
        code, _, text = workers[1].http("GET", "/metrics")
        self.assertEqual(code, 200)
        self.assertIn(f'taskhub_partitions_owned{{hub="{self.hub}"}} 4', text)

    def test_kill_9_under_load(self):
        workers = self.workers(WORKERS)
        victim = workers[2]
        name = victim.name()
        load = Load(workers, "chain", {"ledger": self.ledger.path, "ms": 2, "steps": 5})
        until(lambda: len(load.started) > 200, "some load")
        victim.kill()
        killed = time.monotonic()
        until(lambda: name not in self.owners(workers[0]), "a fail-over")
        report("fail-over after kill -9", time.monotonic() - killed)
        before = len(load.started)
        until(lambda: len(load.started) > before + 200, "more load")
        instances = load.stop()
        self.check_completed(workers[0], instances)
        self.check_at_least_once()
        print(f"    {len(instances)} instances, {self.ledger.repeated()} steps repeated",
              file=sys.stderr)

    def owners(self, worker):
        """Names of all owners; while somebody is missing, everybody counts."""
        owners = worker.partitions().values()
        return set(owners) if owners and None not in owners else self.everybody

    @property
    def everybody(self):
        class All:
            def __contains__(self, name):
                return True
        return All()

    def test_sigterm_under_load(self):
        workers = self.workers(WORKERS)
        leaving = workers[1]
        name = leaving.name()
        load = Load(workers, "chain", {"ledger": self.ledger.path, "ms": 20, "steps": 5})
        until(lambda: len(load.started) > 100, "some load")
        codes = []
        began = time.monotonic()
        thread = threading.Thread(target=lambda: codes.append(leaving.stop()))
        thread.start()
        until(lambda: name not in self.owners(workers[0]), "a hand-over")
        report("hand-over after SIGTERM", time.monotonic() - began)
        thread.join()
        report("end after SIGTERM", time.monotonic() - began)
        self.assertEqual(codes, [OK])
        before = len(load.started)
        until(lambda: len(load.started) > before + 100, "more load")
        instances = load.stop()
        self.check_completed(workers[0], instances)
        self.check_once(5 * len(instances))
        print(f"    {len(instances)} instances, none repeated", file=sys.stderr)

    def test_a_long_activity_among_short_ones(self):
        workers = self.workers(2, "--placement", "shared")
        long = [self.start(w, "chain", ms=8000, steps=1) for w in workers for _ in range(2)]
        until(lambda: len(self.ledger.read()[0]) >= len(long), "the long ones to begin")
        short = [self.start(workers[0], "fan", ms=2, width=400) for _ in range(6)]
        workers.append(self.launch("fleet", "--placement", "shared").listen())
        self.await_shares(workers)
        self.assertEqual(workers.pop(0).stop(), OK)  # it waits for its long ones
        self.await_shares(workers)
        short += [self.start(workers[0], "fan", ms=2, width=400) for _ in range(6)]
        workers.append(self.launch("fleet", "--placement", "shared").listen())
        self.await_shares(workers)
        self.check_completed(workers[0], short + long)
        self.check_once(len(long) + 400 * len(short))
        print(f"    {400 * len(short)} short ones and {len(long)} long ones, by "
              f"{len(self.ledger.read()[2])} processes", file=sys.stderr)

    def test_a_long_local_activity_outlives_its_partition(self):
        workers = self.workers(1, "--placement", "local")
        long = [self.start(workers[0], "chain", ms=6000, steps=2) for _ in range(4)]
        until(lambda: len(self.ledger.read()[0]) >= len(long), "the long ones to begin")
        workers.append(self.launch("fleet", "--placement", "local").listen())
        self.await_shares(workers)
        self.assertEqual(workers.pop(0).stop(), OK)
        self.check_completed(workers[0], long)
        self.check_once(2 * len(long))

    def test_work_spreads_when_it_is_much(self):
        workers = self.workers(WORKERS, "--activities", "2")
        self.check_completed(workers[0], [self.start(workers[0], "fan", ms=20, width=300)])
        self.check_once(300)
        pids = self.ledger.read()[2]
        self.assertEqual(len(pids), WORKERS, pids)
        print(f"    300 activities by {sorted(pids.values())}", file=sys.stderr)

    def test_cron_runs_in_one_worker(self):
        path = os.path.join(self.directory, "cron")
        workers = [self.launch("fleet", TASKHUB_TEST_CRON=path) for _ in range(WORKERS)]
        for worker in workers:
            worker.listen()
        self.await_shares(workers)

        def lines():
            if not os.path.exists(path):
                return []
            with open(path, encoding="ascii") as ledger:
                return [line.split() for line in ledger]
        seen = len(lines())
        until(lambda: len(lines()) >= seen + 3, "cron functions")
        seconds = [second for second, _ in lines()[seen:]]
        self.assertEqual(len(seconds), len(set(seconds)), "several workers ran the same")


class Applications(FleetTest):
    def test_two_applications_share_a_hub(self):
        worker = self.launch().listen()
        self.await_shares([worker])
        waiting = self.start(worker, "fan", activity="paint", width=20, ms=0)
        until(lambda: self.unserved(worker) == {"paint": 20}, "the work to wait, named")
        painter = self.launch("painter").listen()
        self.check_completed(worker, [waiting])
        output = worker.wait(waiting)["output"]
        self.assertEqual(output, {str(painter.worker()): 20})
        self.assertEqual(len(set(worker.partitions().values())), 1)  # the painter wants none
        self.assertEqual(painter.stop(), OK)

    def unserved(self, worker):
        view = worker.http("GET", API + "/hub")[2]
        return {u["name"]: u["waiting"] for u in view.get("unserved", [])}


class Trouble(FleetTest):
    def test_the_broker_dies_and_comes_back(self):
        workers = self.workers(2)
        load = Load(workers, "chain", {"ledger": self.ledger.path, "ms": 5, "steps": 5})
        until(lambda: len(load.started) > 100, "some load")
        self.fleet.script("kill", "--node", "1")
        self.fleet.script("start", "--node", "1")
        back = time.monotonic()
        before = len(load.started)
        until(lambda: len(load.started) > before + 100, "load after the restart", 120)
        report("from the broker's return to 100 more starts", time.monotonic() - back)
        instances = load.stop()
        self.check_completed(workers[0], instances)
        self.check_at_least_once()
        self.await_shares(workers)
        print(f"    {len(instances)} instances, {self.ledger.repeated()} steps repeated",
              file=sys.stderr)

    def test_redis_is_absent_at_the_start(self):
        port = 20000 + os.getpid() % 5000
        worker = self.launch("fleet", TASKHUB_REDIS=f"127.0.0.1:{port}").listen()
        until(lambda: "Redis" in str(worker.http("GET", "/readyz")[2]) or None, "the reason")
        self.assertEqual(worker.http("GET", "/readyz")[0], 503)
        redis = subprocess.Popen(
            ["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir",
             self.directory], stdout=subprocess.DEVNULL)
        self.addCleanup(redis.wait)
        self.addCleanup(redis.terminate)
        until(worker.is_ready, "a worker that is ready")
        self.check_completed(worker, [self.start(worker, "chain", ms=1, steps=2)])

    def test_brokers_are_absent_at_the_start(self):
        worker = self.launch("fleet", TASKHUB_KAFKA="127.0.0.1:1")
        until(lambda: "no broker answers at 127.0.0.1:1" in worker.stderr(), "the reason")
        worker.process.terminate()
        self.assertEqual(worker.process.wait(20), OK)

    def test_a_hub_that_is_missing_is_waited_for(self):
        waiting = self.fleet.worker(self.hub, app("fleet"))
        waiting.process.kill()
        waiting.process.wait()
        waiting.ended()
        waiting.command = lambda: [part for part in type(waiting).command(waiting)
                                   if part != "--create"]
        until(lambda: True, "")
        other = self.hub + "x"
        waiting.hub = other
        waiting.launch()
        until(lambda: f"there is no hub {other}" in waiting.stderr(), "the reason")
        maker = self.fleet.worker(other, app("fleet")).listen()
        waiting.listen()
        self.await_shares([maker, waiting])

    def test_a_worker_is_frozen_and_wakes(self):
        import signal
        workers = self.workers(2)
        load = Load([workers[0]], "chain", {"ledger": self.ledger.path, "ms": 2, "steps": 4})
        until(lambda: len(load.started) > 50, "some load")
        pid = workers[1].worker()
        name = workers[1].name()
        os.kill(pid, signal.SIGSTOP)
        try:
            until(lambda: name not in set(workers[0].partitions().values()) and
                  None not in workers[0].partitions().values(), "a fail-over")
            before = len(load.started)
            until(lambda: len(load.started) > before + 50, "more load")
        finally:
            os.kill(pid, signal.SIGCONT)
        self.await_shares(workers)
        instances = load.stop()
        self.check_completed(workers[0], instances)
        self.check_at_least_once()
        print(f"    {len(instances)} instances, {self.ledger.repeated()} steps repeated",
              file=sys.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)

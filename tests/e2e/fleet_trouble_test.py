"""What a fleet rests on fails: the broker and Redis die, are not there yet, or lose a topic; a worker
is frozen. It says what is wrong, and goes on by itself when it can.
"""
import os
import re
import signal
import subprocess
import sys
import time
import unittest

from fleetcase import LONG, TOPICS, FleetTest, report, setUpModule, tearDownModule
from harness import OK, app, until


class Trouble(FleetTest):
    def test_the_broker_dies_and_comes_back(self):
        workers = self.workers(2)
        load = self.load(workers, "chain", {"ms": 5, "steps": 5})
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
        wrong = "127.0.0.1:1"
        programs = [self.launch(TASKHUB_KAFKA=wrong), self.coordinator(TASKHUB_KAFKA=wrong)]
        for program in programs:
            until(lambda p=program: f"no broker answers at {wrong}" in p.stderr(), "the reason")
            program.process.terminate()
            self.assertEqual(program.process.wait(20), OK)
            self.assertLess(program.stderr().count("no broker answers"), 5, program.stderr())

    def test_brokers_come_later(self):
        """Launched before them, workers and coordinators work when they are there."""
        self.fleet.script("stop", "--node", "1")
        worker, coordinator = self.launch(), self.coordinator()
        for program in (worker, coordinator):
            until(lambda p=program: "no broker answers at" in p.stderr(), "the reason")
        self.fleet.script("start", "--node", "1")
        worker.listen()
        coordinator.listen()
        self.await_shares([worker])
        self.works(coordinator)

    @unittest.skipUnless(LONG, "of the long tier")
    def test_the_topic_of_activities_is_deleted(self):
        """Nobody makes it again but an administrator; then all goes on, with what was in it."""
        coordinator = self.coordinator().listen()
        workers = self.workers(2, "--placement", "shared")
        self.works(coordinator)
        self.topics("remove", "activities")
        started = [self.start(coordinator, "chain", ms=1, steps=2) for _ in range(20)]
        for worker in workers:
            until(lambda w=worker: "begins anew" in w.stderr(), "the reason")
            said = re.findall(r"warn .*(?:lacks|not written).*", worker.stderr())
            self.assertLess(len(said), 60, "it floods the log")
            self.assertIn(f"hub {self.hub} lacks its topic {self.hub}.activities", worker.stderr())
        until(lambda: "nothing is taken" in coordinator.stderr(), "the coordinator's reason")
        self.assertEqual(self.topics("count", "activities"), "0\n")
        self.topics("make", "activities", 12, *TOPICS["activities"])
        self.check_completed(coordinator, started)
        until(lambda: "is complete again" in coordinator.stderr(), "the coordinator to notice")
        self.works(coordinator)

    def test_a_hub_that_is_missing_is_waited_for(self):
        waiting = self.launch(create=False)
        until(lambda: f"there is no hub {self.hub}" in waiting.stderr(), "the reason")
        maker = self.launch().listen()
        waiting.listen()
        self.await_shares([maker, waiting])

    def test_a_worker_is_frozen_and_wakes(self):
        workers = self.workers(2)
        load = self.load([workers[0]], "chain", {"ms": 2, "steps": 4})
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

"""How a fleet's hub comes into being, who may serve it, and what its clients are promised: topics made
by others, several coordinators or none, no worker, ids that are taken, waits. And deploy/fleet.sh.
"""
import concurrent.futures
import os
import re
import subprocess
import tempfile
import time
import unittest

from fleetcase import TOPICS, FleetTest, report, setUpModule, tearDownModule
from harness import API, BIN, CONFLICT, ERROR, OK, SOURCE, app, run, until


class Beforehand(FleetTest):
    def create(self, partitions):
        return run("hub", "create", self.hub, "--partitions", str(partitions),
                   "--kafka", self.fleet.kafka, "--redis", self.fleet.redis)

    def refused(self, result, code, *words):
        self.assertEqual(result.returncode, code, result.stderr)
        for word in words:
            self.assertIn(word, result.stderr)

    def test_topics_that_fit_are_accepted(self):
        self.make_topics(4)
        coordinator = self.coordinator("--partitions", "4").listen()
        worker = self.launch().listen()
        self.await_shares([worker])
        self.assertEqual(len(worker.partitions()), 4)
        self.works(coordinator)

    def test_another_number_of_partitions_is_refused(self):
        self.make_topics(4)
        self.refused(self.create(5), CONFLICT, f"{self.hub}.instances", "4 partitions", "needs 5")
        self.assertEqual(self.create(4).returncode, OK)
        self.refused(self.create(4), CONFLICT, self.hub)
        stranger = self.coordinator("--partitions", "5")
        self.assertEqual(stranger.process.wait(60), ERROR)
        self.assertRegex(stranger.stderr(), "has 4 partitions.* 5 were asked for")

    def test_what_is_not_ours_is_refused(self):
        self.make_topics(2)
        self.topics("write", "control", "hub/0000000000000001", "of another program")
        self.refused(self.create(2), ERROR, f"{self.hub}.control")
        coordinator, worker = self.coordinator("--partitions", "2"), self.launch()
        self.assertEqual(coordinator.process.wait(60), ERROR)
        self.assertIn(f"{self.hub}.control is damaged", coordinator.stderr())
        until(lambda: f"{self.hub}.control is damaged" in worker.stderr(), "the reason")

    def test_a_broker_that_creates_topics_by_itself_spoils_nothing(self):
        """It does so for whoever asks for one by name; the product must not."""
        waiting = self.launch(create=False)
        until(lambda: f"there is no hub {self.hub}" in waiting.stderr(), "the reason")
        for topic in TOPICS:
            self.assertEqual(self.topics("count", topic), "0\n")
        self.topics("write", "instances", "somebody", "asked too early")
        self.assertEqual(self.topics("count", "instances"), "1\n")
        self.refused(self.create(4), CONFLICT, f"{self.hub}.instances", "1 partition", "needs 4")
        self.topics("remove", "instances")
        self.assertEqual(self.create(4).returncode, OK)
        waiting.listen()
        self.await_shares([waiting])
        self.works(waiting)
        for topic in ("instances", "history", "activities"):
            self.assertEqual(self.topics("count", topic), "4\n")


class Coordinators(FleetTest):
    def test_several_at_once_or_none(self):
        several = [self.coordinator() for _ in range(3)]
        for coordinator in several:
            coordinator.listen()
        worker = self.launch().listen()
        self.await_shares([worker])
        self.assertEqual(len({c.http("GET", API + "/hub")[2]["incarnation"] for c in several}), 1)
        for coordinator in several:
            self.works(coordinator)
            coordinator.kill()
        self.works(worker)

    def test_a_start_is_never_unknown(self):
        """With no worker up, to the coordinator that took it and to another one."""
        first, second = [self.coordinator().listen() for _ in range(2)]
        started = [self.start(first, "chain", ms=1, steps=2) for _ in range(30)]
        for coordinator in (first, second):
            for instance in started:
                code, _, status = coordinator.http("GET", f"{API}/instances/{instance}")
                self.assertEqual((code, status["runtimeStatus"]), (202, "Pending"))
        self.assertEqual(second.http("GET", f"{API}/instances/nobody")[0], 404)
        first.kill()
        worker = self.launch().listen()
        self.check_completed(second, started)
        self.check_once(2 * len(started))
        self.assertEqual(worker.stop(), OK)
        for instance in started:
            self.assertEqual(second.status(instance)["runtimeStatus"], "Completed")

    def test_one_of_many_gets_an_id(self):
        """Asked for through four programs at once, while the partitions move."""
        doors = [self.coordinator().listen() for _ in range(2)]
        doors += self.workers(2, application="semantics")

        def begin(door, name, mark):
            return door.http("POST", f"{API}/orchestrators/approval/{name}", mark)[0]
        names = [f"n{i}" for i in range(60)]
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            sent = {(name, i): pool.submit(begin, door, name, i)
                    for name in names for i, door in enumerate(doors * 2)}
            self.launch("semantics").listen()
        for name in names:
            answers = {i: sent[name, i].result() for i in range(2 * len(doors))}
            winners = [i for i, code in answers.items() if code == 202]
            undecided = [i for i, code in answers.items() if code == 503]
            self.assertLessEqual(set(answers.values()), {202, 409, 503}, name)
            self.assertLessEqual(len(winners), 1, (name, answers))
            self.assertTrue(winners or undecided, (name, answers))
            until(lambda: doors[0].status(name)["runtimeStatus"] == "Running", f"{name} to run")
            self.assertIn(doors[0].status(name)["input"], winners or undecided)

    def test_a_wait_is_told(self):
        """News of an end travels; looking again every two seconds would take one on average."""
        coordinator = self.coordinator().listen()
        worker = self.launch().listen()
        self.await_shares([worker])
        late = []
        for _ in range(10):
            instance = self.start(coordinator, "chain", ms=300, steps=1)
            end = coordinator.wait(instance)
            ended = time.time()
            self.assertEqual(end["runtimeStatus"], "Completed")
            late.append(ended - self.ledger.last_end())
        late.sort()
        report("a wait's answer after its activity's end, median", late[len(late) // 2])
        self.assertLess(late[len(late) // 2], 0.5)


class Script(unittest.TestCase):
    """deploy/fleet.sh, as docs/operations.md and README.md say."""

    def setUp(self):
        directory = tempfile.TemporaryDirectory(prefix="taskhub-script-",
                                                dir=os.environ.get("TMPDIR", "/var/tmp"))
        self.addCleanup(directory.cleanup)
        self.folder = os.path.join(directory.name, "fleet")
        self.addCleanup(self.script, "down")

    def script(self, *args):
        done = subprocess.run([os.path.join(SOURCE, "deploy", "fleet.sh"), *args, "--folder",
                               self.folder, "--app", os.path.abspath(app("hello-cities")), "--hub",
                               "Scripted"], capture_output=True, text=True, check=False,
                              env={**os.environ, "TASKHUB_BIN": os.path.abspath(BIN)})
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def rows(self, text):
        """By process: its pid and its state."""
        found = {}
        for line in text[text.index("PROCESS"):].splitlines()[1:]:
            name, pid, state = re.match(r"(\S+) +(\S+) +(?:\S+:\S+ +)?(.*)", line).groups()
            found[name] = (pid, state)
        return found

    def states(self):
        return {name: state for name, (_, state) in self.rows(self.script("status")).items()}

    def test_up_status_kill_down(self):
        everybody = {"kafka-1": "running", "redis": "running", "coordinator": "ready",
                     "worker-1": "ready", "worker-2": "ready"}
        rows = self.rows(self.script("up", "2"))
        self.assertEqual(set(rows), set(everybody))
        until(lambda: self.states() == everybody, "everybody is ready")
        environment = dict(re.findall(r"export (\w+)=(\S+)", self.script("env")))
        self.assertEqual(environment["TASKHUB_HUB"], "Scripted")
        greeted = run("start", "hello_cities", "--wait", env=environment)
        self.assertEqual(greeted.returncode, OK, greeted.stderr)
        self.assertIn("Hello Tokyo!", greeted.stdout)
        self.script("kill", "1")
        self.assertEqual(self.states()["worker-1"], "not running")
        greeted = run("start", "hello_cities", "--wait", env=environment)
        self.assertEqual(greeted.returncode, OK, greeted.stderr)
        self.script("start", "1")
        until(lambda: self.states() == everybody, "everybody is ready again")
        self.script("stop", "2")
        until(lambda: self.states()["worker-1"] == "ready", "the other has everything")
        pids = [pid for pid, _ in self.rows(self.script("status")).values() if pid != "-"]
        self.assertEqual(len(pids), 4)
        self.script("down")
        self.assertEqual(set(self.states().values()), {"not running"})
        for pid in pids:
            self.assertFalse(os.path.exists(f"/proc/{pid}"), pid)


if __name__ == "__main__":
    unittest.main(verbosity=2)

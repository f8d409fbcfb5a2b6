"""The RPC endpoint of a fleet, as raw calls: workers and coordinators that serve several hubs at one port.

This file is run by an interpreter that has the protocol's messages.
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from packages import run_within  # noqa: E402
from sdk.languages import python_environment  # noqa: E402

run_within(python_environment())

import grpc  # noqa: E402

from fleethub import TASKHUB_COORDINATOR  # noqa: E402
from harness import API, OK, PATIENCE, TASKHUB_WORKER, USAGE, app, run, until  # noqa: E402
from sdk import raw  # noqa: E402
from sdk.raw import Peer, Program, pb  # noqa: E402
from sdk.sidecar import Sidecar, Worker, brokers  # noqa: E402

HUBS = (f"Alpha{os.getpid()}", f"Beta{os.getpid()}")


class Coordinator(Sidecar):
    lines = {"url": r"\s+API\s+(http://\S+)", "rpc_port": r"\s+RPC\s+port (\d+)"}

    def __init__(self, directory):
        super().__init__(directory, "coordinator")

    def command(self):
        return [TASKHUB_COORDINATOR, "--hub", ",".join(HUBS), "--port", "0", "--rpc-port", "0",
                "--partitions", "4"]

    def environment(self):
        return {"TASKHUB_KAFKA": brokers().kafka, "TASKHUB_REDIS": brokers().redis}

    @property
    def endpoint(self):
        return f"127.0.0.1:{self.rpc_port}"


class SeveralHubs(unittest.TestCase):
    """Two workers and a coordinator of the same two hubs."""

    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.mkdtemp(prefix="taskhub-e2e-",
                                         dir=os.environ.get("TMPDIR", "/var/tmp"))
        cls.addClassCleanup(shutil.rmtree, cls.directory, ignore_errors=True)
        cls.coordinator = Coordinator(cls.directory).launch()
        cls.addClassCleanup(cls.coordinator.release)
        cls.coordinator.listen()
        cls.workers = [Worker(cls.directory, ",".join(HUBS), f"worker-{n}") for n in range(2)]
        for worker in cls.workers:
            cls.addClassCleanup(worker.release)
            worker.launch().listen()
        until(lambda: all(worker.is_ready() for worker in cls.workers), "owners of all partitions")

    def setUp(self):
        self.name = self.id().rsplit(".", 1)[1]

    def peer(self, server, hub=None):
        peer = Peer(server.endpoint, [("taskhub", hub)] if hub else None)
        self.addCleanup(peer.close)
        return peer

    def program(self, worker, hub):
        program = Program(worker.endpoint, [self.name], metadata=[("taskhub", hub)] if hub else None)
        self.addCleanup(program.close)
        return program

    def ends(self, servers, worker):
        """An id of the same name started in both hubs, by programs at one worker."""
        for hub in (None, HUBS[1]):
            program = self.program(worker, hub)
            word = json.dumps(f"of {hub}")
            for n, server in enumerate(servers):
                peer = self.peer(server, hub)
                for i in range(4):  # in several partitions, so that both workers lead some
                    instance = peer.begin(self.name, f"{self.name}-{n}-{i}")
                    program.turn().reply(raw.complete(word))
                    self.assertEqual(peer.end(instance).output.value, word)

    def test_each_has_its_own(self):
        self.ends([self.coordinator, *self.workers], self.workers[1])

    def test_without_metadata_the_first_is_meant(self):
        instance = self.peer(self.coordinator).begin(self.name)
        for server in (self.coordinator, *self.workers):
            self.assertEqual(self.peer(server, HUBS[0]).how(instance), "PENDING")
            self.assertEqual(self.peer(server, HUBS[0].upper()).how(instance), "PENDING")
            self.assertIsNone(self.peer(server, HUBS[1]).look(instance))

    def test_other_hubs_are_refused(self):
        for server in (self.coordinator, *self.workers):
            with self.assertRaises(grpc.RpcError) as caught:
                self.peer(server, "Gamma").call("GetInstance", pb.GetInstanceRequest(instanceId="x"))
            self.assertEqual(caught.exception.code(), grpc.StatusCode.NOT_FOUND)
            for word in ("Gamma", "taskhub", *HUBS):
                self.assertIn(word, caught.exception.details())

    def test_wrong_lists(self):
        broker = ["--kafka", brokers().kafka, "--redis", brokers().redis]
        several = ["--hub", ",".join(HUBS)]
        for program, args, word in (
                (TASKHUB_WORKER, [*several, "--app", app("semantics")], "an application has no more"),
                (TASKHUB_WORKER, ["--hub", "Alpha,alpha"], "named twice"),
                (TASKHUB_COORDINATOR, ["--hub", "Alpha,4"], "must start with a letter"),
                (TASKHUB_COORDINATOR, several, "--rpc-port")):
            with self.subTest(args):
                end = subprocess.run([program, *args, *broker], capture_output=True, text=True,
                                     timeout=PATIENCE, check=False)
                self.assertEqual(end.returncode, USAGE, end.stderr)
                self.assertIn(word, end.stderr)

    def test_a_trace_context_outlives_its_owner(self):
        program, peer = self.program(self.workers[1], None), self.peer(self.coordinator)
        trace = pb.OrchestrationTraceContext(spanID=raw.text("a" * 16))
        instances = {peer.begin(self.name) for _ in range(8)}  # so that both workers lead some
        for _ in instances:
            program.turn().reply(orchestrationTraceContext=trace)
        self.workers[0].kill()
        for instance in instances:
            peer.tell(instance, "x")
        ended = set()
        while ended != instances:
            turn = program.turn()  # of a worker that died it may come twice
            if turn.kinds == ["orchestratorStarted", "eventRaised"]:
                self.assertEqual(turn.request.orchestrationTraceContext, trace)
                turn.reply(raw.complete())
                ended.add(turn.instance)
            else:
                turn.reply(orchestrationTraceContext=trace)
        for instance in instances:
            self.assertEqual(peer.end(instance).orchestrationStatus, raw.status("COMPLETED"))
        self.workers[0].launch().listen()
        until(self.workers[0].is_ready, "its partitions")

    def waiting(self):
        view = self.coordinator.http("GET", API + "/hub")[2]
        return {(u["kind"], u["name"]): u["waiting"] for u in view["unserved"]}

    def doctor(self, hub):
        return run("doctor", "--hub", hub, "--kafka", brokers().kafka, "--redis",
                   brokers().redis, timeout=PATIENCE).stdout

    def test_what_nobody_serves_is_named(self):
        """Activities, too, whether they were sent to all workers or lost their program; what programs
        serve is not called so."""
        program, peer = self.program(self.workers[1], None), self.peer(self.coordinator)
        instances = [peer.begin(self.name) for _ in range(4)]
        for _ in instances:
            program.turn().reply(raw.schedule(0, "pay" + self.name))
        pay = ("activity", "pay" + self.name)
        until(lambda: self.waiting().get(pay) == 4, "the activities to be named")
        payer = Program(self.workers[0].endpoint, [], [pay[1]])
        tasks = [payer.task() for _ in instances]
        until(lambda: pay not in self.waiting(), "the activities to be served")
        self.assertNotIn("a program that serves activity", self.doctor(HUBS[0]))
        tasks[0].reply("1")
        payer.close()
        program.turn().reply(raw.complete())
        until(lambda: self.waiting().get(pay) == 3, "the others to be named again")
        self.assertEqual(self.doctor(HUBS[0]).count(f"a program that serves activity {pay[1]}"), 3)
        payer = Program(self.workers[1].endpoint, [], [pay[1]])
        self.addCleanup(payer.close)
        for _ in range(3):
            payer.task().reply("1")
            program.turn().reply(raw.complete())
        for instance in instances:
            peer.result(instance)
        until(lambda: pay not in self.waiting(), "nothing to wait any more")

    def test_one_stops_and_comes_back(self):
        self.assertEqual(self.workers[0].stop(), OK)
        self.ends([self.coordinator], self.workers[1])
        self.workers[0].launch().listen()
        until(self.workers[0].is_ready, "its partitions")
        self.workers[1].kill()
        self.workers[1].launch().listen()
        until(lambda: all(worker.is_ready() for worker in self.workers), "all partitions")


if __name__ == "__main__":
    unittest.main(verbosity=2)

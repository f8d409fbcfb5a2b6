"""The RPC endpoint under what programs do wrong or too much of: messages that are too large or none,
thousands of streams and waiting clients, the end of the hub while work is under way; and who may
call. TASKHUB_LONG=1 runs the thousands, too.

This file is run by an interpreter that has the protocol's messages.
"""
import os
import shutil
import signal
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

from harness import BIN, PATIENCE, run, until  # noqa: E402
from rpc_test import NEVER, RpcTest  # noqa: E402
from sdk import raw  # noqa: E402
from sdk.raw import Peer, Program, kinds, pb, status, text  # noqa: E402
from sdk.sidecar import Dev  # noqa: E402

MIB = 1 << 20
MOST_MEMORY = 200  # MiB
SANITIZED = "asan" in BIN or "tsan" in BIN  # memory says nothing then


def memory(pid):
    """MiB that are resident."""
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        line = next(line for line in file if line.startswith("VmRSS:"))
    return int(line.split()[1]) / 1024


class Sizes(RpcTest):
    def test_requests_that_are_too_large(self):
        # More than an input may have, and more than a message.
        self.refused("RESOURCE_EXHAUSTED", "StartInstance", pb.CreateInstanceRequest(
            instanceId="large", name=self.name, input=text("x" * (17 * MIB))))
        self.refused("RESOURCE_EXHAUSTED", "StartInstance", pb.CreateInstanceRequest(
            instanceId="large", name=self.name, input=text("x" * (33 * MIB))))
        self.assertIsNone(self.peer.look("large"))
        self.assertEqual(self.peer.call("Hello", raw.EMPTY).ByteSize(), 0)

    def test_inputs_as_large_as_they_may_be(self):
        program = self.orchestrator()
        data = '"' + "x" * (15 * MIB) + '"'
        instance = self.peer.begin(self.name, data=data)
        turn = program.turn()
        self.assertEqual(turn.started.input.value, data)
        turn.reply(raw.complete(data))
        self.assertEqual(self.peer.result(instance), data)

    def refuse(self, items):
        """A program with gRPC's own limit of 4 MiB, which opens its stream again when it breaks,
        until `items` streams were broken."""
        for _ in range(items):
            program = Program(self.sidecar.endpoint, [self.name], [self.name], limit=4 * MIB)
            self.addCleanup(program.close)
            self.assertEqual(program.wait_ended(), "RESOURCE_EXHAUSTED")

    def test_an_activity_larger_than_its_program_takes(self):
        program = self.program([self.name])
        instance = self.peer.begin(self.name)
        program.turn().reply(raw.schedule(0, self.name, "x" * (5 * MIB)))
        narrow = [Program(self.sidecar.endpoint, [], [self.name], limit=4 * MIB) for _ in range(1)]
        while True:
            self.assertEqual(narrow[-1].wait_ended(), "RESOURCE_EXHAUSTED")
            narrow[-1].close()
            if len(narrow) == 3:
                break
            narrow.append(Program(self.sidecar.endpoint, [], [self.name], limit=4 * MIB))
        failed = program.turn().event("taskFailed")
        self.assertEqual(failed.failureDetails.errorType, "PayloadTooLarge")
        self.assertEqual(self.peer.how(instance), "RUNNING")

    def test_an_episode_larger_than_its_program_takes(self):
        instance = self.peer.begin(self.name, data="x" * (5 * MIB))
        self.refuse(3)
        state = self.peer.end(instance)
        self.assertEqual((state.orchestrationStatus, state.failureDetails.errorType),
                         (status("FAILED"), "PayloadTooLarge"))

    def test_bytes_that_are_no_message(self):
        for rpc in ("StartInstance", "GetInstance", "QueryInstances", "CompleteOrchestratorTask",
                    "CompleteActivityTask", "CompleteEntityTask", "SignalEntity", "GetWorkItems",
                    "AbandonTaskActivityWorkItem", "PurgeInstances"):
            for garbage in (b"\xff" * 40, b"\x0a\x7fshort", b"\x0a" * 100, b"\x0a\x02\xff\xfe"):
                with self.subTest(rpc=rpc, garbage=garbage[:4]):
                    send = self.peer.channel.unary_unary(f"/TaskHubSidecarService/{rpc}")
                    with self.assertRaises(grpc.RpcError) as caught:
                        send(garbage, timeout=PATIENCE)
                    self.assertEqual(caught.exception.code(), grpc.StatusCode.INVALID_ARGUMENT)
        self.assertEqual(self.peer.code("Hello", raw.EMPTY), "OK")


class Crowds(RpcTest):
    def test_waits_that_are_given_up(self):
        """They are freed: the hub needs no more for the second thousands than for the first."""
        waits = pb.GetInstanceRequest(instanceId="nobody")
        sizes = []
        for _ in range(3):
            calls = [self.peer.stub.WaitForInstanceCompletion.future(waits) for _ in range(2000)]
            self.assertEqual(self.peer.code("Hello", raw.EMPTY), "OK")
            for call in calls:
                call.cancel()
            self.assertEqual(self.peer.code("Hello", raw.EMPTY), "OK")
            sizes.append(memory(self.sidecar.worker()))
        if not SANITIZED:
            self.assertLess(sizes[2] - sizes[1], 4, sizes)

    @unittest.skipUnless(os.environ.get("TASKHUB_LONG"), "long")
    def test_thousands(self):
        program = self.orchestrator()
        instance = self.peer.begin(self.name)
        turn = program.turn()
        peers = [Peer(self.sidecar.endpoint) for _ in range(10)]
        streams = [peer.stub.GetWorkItems(pb.GetWorkItemsRequest(
            workItemFilters=raw.filters([f"f{number}"]))) for peer in peers for number in range(100)]
        for stream in streams:
            stream.initial_metadata()
        waits = pb.GetInstanceRequest(instanceId=instance)
        calls = [peer.stub.WaitForInstanceCompletion.future(waits)
                 for _ in range(1000) for peer in peers]
        for peer in peers:
            self.assertEqual(peer.code("Hello", raw.EMPTY), "OK")
        for call in calls[:5000]:
            call.cancel()
        self.assertLess(memory(self.sidecar.worker()), MOST_MEMORY)
        turn.reply(raw.complete('"x"'))
        for call in calls[5000:]:
            self.assertEqual(call.result(PATIENCE).orchestrationState.orchestrationStatus,
                             status("COMPLETED"))
        self.assertLess(memory(self.sidecar.worker()), MOST_MEMORY)
        for stream in streams:
            stream.cancel()
        for peer in peers:
            peer.close()


class Ends(RpcTest):
    """Each test has a hub of its own."""

    def setUp(self):
        super().setUp()
        directory = tempfile.mkdtemp(dir=self.directory)
        self.sidecar = Dev(directory).start()
        self.addCleanup(self.sidecar.release)
        self.peer = Peer(self.sidecar.endpoint)
        self.addCleanup(self.peer.close)

    def test_a_polite_end(self):
        """What runs may finish, once; nothing new begins; streams end with OK."""
        program = self.program([self.name], [self.name])
        instance = self.peer.begin(self.name)
        program.turn().reply(raw.schedule(0, self.name))
        task = program.task()
        self.sidecar.process.send_signal(signal.SIGTERM)
        until(lambda: "stopping" in self.sidecar.stderr(), "the end's beginning")
        task.reply('"done"')
        self.assertEqual(program.wait_ended(), "OK")
        self.assertEqual(self.sidecar.process.wait(PATIENCE), 0)
        self.sidecar.ended()
        self.sidecar.start()
        again = self.program([self.name], [self.name])
        turn = again.turn()
        self.assertEqual(turn.event("taskCompleted").result.value, '"done"')
        turn.reply(raw.complete('"x"'))
        self.assertEqual(self.peer.result(instance), '"x"')
        history = kinds(self.peer.history(instance))
        self.assertEqual((history.count("taskScheduled"), history.count("taskCompleted")), (1, 1))

    def test_waiting_clients_at_the_end(self):
        self.peer.begin(self.name, "waits")
        waiting = self.peer.stub.WaitForInstanceCompletion.future(
            pb.GetInstanceRequest(instanceId="waits"))
        self.assertEqual(self.peer.code("Hello", raw.EMPTY), "OK")
        self.assertEqual(self.sidecar.stop(), 0)
        with self.assertRaises(grpc.RpcError) as caught:
            waiting.result(PATIENCE)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.UNAVAILABLE)

    def test_a_killed_hub(self):
        """Its tokens mean nothing to the next one; what was under way comes again."""
        program = self.program([self.name], [self.name])
        instance = self.peer.begin(self.name)
        turn = program.turn()
        self.peer.tell(instance, "kept")
        self.sidecar.kill()
        self.sidecar.start()
        second = self.program([self.name], [self.name])
        again = second.turn()
        self.assertEqual(again.instance, instance)
        turn.peer = second.peer
        turn.reply(raw.complete('"stale"'))
        trace = pb.OrchestrationTraceContext(spanID=raw.text("a" * 16))
        again.reply(raw.timer(0, raw.later(NEVER)), orchestrationTraceContext=trace)
        turn = second.turn()
        self.assertEqual(turn.event("eventRaised").name, "kept")
        self.sidecar.kill()
        self.sidecar.start()
        turn = self.program([self.name], [self.name]).turn()
        self.assertEqual(turn.event("eventRaised").name, "kept")
        self.assertEqual(turn.request.orchestrationTraceContext, trace)
        turn.reply(raw.complete('"x"'))
        self.assertEqual(self.peer.result(instance), '"x"')


class Keys(RpcTest):
    options = ("--key", "s3cret")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.peer = Peer(cls.sidecar.endpoint, [("authorization", "Bearer s3cret")])
        cls.addClassCleanup(cls.peer.close)

    def test_with_the_key(self):
        program = self.orchestrator(metadata=self.peer.metadata)
        instance = self.run_to(program, raw.complete('"x"'))
        self.assertEqual(self.peer.result(instance), '"x"')

    def test_without_it(self):
        for metadata in (None, [("authorization", "Bearer other")], [("authorization", "s3cret")],
                         [("authorization", "Bearer s3cret2")]):
            with self.subTest(metadata):
                peer = Peer(self.sidecar.endpoint, metadata)
                self.addCleanup(peer.close)
                for rpc, request in (("Hello", raw.EMPTY),
                                     ("GetInstance", pb.GetInstanceRequest(instanceId="x")),
                                     ("CompleteActivityTask", pb.ActivityResponse())):
                    self.assertEqual(peer.code(rpc, request), "UNAUTHENTICATED")
                with self.assertRaises(grpc.RpcError) as caught:
                    next(peer.call("GetWorkItems", pb.GetWorkItemsRequest()))
                self.assertEqual(caught.exception.code(), grpc.StatusCode.UNAUTHENTICATED)


class Options(unittest.TestCase):
    def test_an_open_address_needs_a_key(self):
        result = run("dev", "--db", "/nonexistent/hub.db", "--port", "0", "--rpc-port", "0",
                     "--address", "0.0.0.0", env={"TASKHUB_KEY": ""})
        self.assertNotEqual(result.returncode, 0)

    def test_certificate_and_key_belong_together(self):
        result = run("dev", "--rpc-port", "0", "--rpc-certificate", "x.pem")
        self.assertEqual(result.returncode, 2)
        self.assertIn("--rpc-key", result.stderr)


class Tls(unittest.TestCase):
    def file(self, name):
        with open(os.path.join(self.directory, name), "rb") as file:
            return file.read()

    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="taskhub-e2e-",
                                          dir=os.environ.get("TMPDIR", "/var/tmp"))
        self.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)
        subprocess.run([os.path.join(BIN, "tests", "grpc_certificates"), self.directory],
                       check=True, timeout=PATIENCE)

    def served(self, *more):
        names = [os.path.join(self.directory, name) for name in ("server.pem", "server.key")]
        sidecar = Dev(self.directory, "--rpc-certificate", names[0], "--rpc-key", names[1],
                      *more).start()
        self.addCleanup(sidecar.release)
        return sidecar.endpoint

    def peer(self, endpoint, credentials):
        peer = Peer(endpoint, credentials=credentials)
        self.addCleanup(peer.close)
        return peer

    def test_tls(self):
        endpoint = self.served()
        trusted = grpc.ssl_channel_credentials(self.file("ca.pem"))
        peer = self.peer(endpoint, trusted)
        program = Program(endpoint, ["over_tls"], credentials=trusted)
        self.addCleanup(program.close)
        instance = peer.begin("over_tls")
        program.turn().reply(raw.complete('"x"'))
        self.assertEqual(peer.result(instance), '"x"')
        self.assertEqual(self.peer(endpoint, None).code("Hello", raw.EMPTY, 5), "UNAVAILABLE")

    def test_certificates_of_clients(self):
        authority = self.file("ca.pem")
        endpoint = self.served("--rpc-client-ca", os.path.join(self.directory, "ca.pem"))
        known = grpc.ssl_channel_credentials(authority, self.file("client.key"),
                                             self.file("client.pem"))
        self.assertEqual(self.peer(endpoint, known).code("Hello", raw.EMPTY), "OK")
        unknown = grpc.ssl_channel_credentials(authority)
        self.assertEqual(self.peer(endpoint, unknown).code("Hello", raw.EMPTY, 5), "UNAVAILABLE")


if __name__ == "__main__":
    unittest.main(verbosity=2)

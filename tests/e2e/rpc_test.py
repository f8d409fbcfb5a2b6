"""The RPCs of clients, as raw calls: what each answers, with which status, also for what is not
there, has ended, waits or is suspended. What workers see: rpc_worker_test.py.

This file is run by an interpreter that has the protocol's messages.
"""
import contextlib
import json
import os
import shutil
import sys
import tempfile
import time
import unittest
import uuid

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from packages import run_within  # noqa: E402
from sdk.languages import python_environment  # noqa: E402

run_within(python_environment())

import grpc  # noqa: E402

from harness import ERROR, PATIENCE, app, run, until  # noqa: E402
from sdk import raw  # noqa: E402
from sdk.raw import Peer, Program, pb, status, text  # noqa: E402
from sdk.sidecar import Dev  # noqa: E402

SOON = 0.3  # seconds
NEVER = 3600


class RpcTest(unittest.TestCase):
    """One hub for all tests of a class: each uses names of its own."""
    options = ()

    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.mkdtemp(prefix="taskhub-e2e-",
                                         dir=os.environ.get("TMPDIR", "/var/tmp"))
        cls.addClassCleanup(shutil.rmtree, cls.directory, ignore_errors=True)
        cls.sidecar = Dev(cls.directory, *cls.options).start()
        cls.addClassCleanup(cls.sidecar.release)
        cls.peer = Peer(cls.sidecar.endpoint)
        cls.addClassCleanup(cls.peer.close)

    def setUp(self):
        self.name = self.id().rsplit(".", 1)[1]
        self.entity_name = "e" + self.name.replace("_", "")[-40:].lower()

    def program(self, *args, **more):
        program = Program(self.sidecar.endpoint, *args, **more)
        self.addCleanup(program.close)
        return program

    def orchestrator(self, *more, **options):
        """A program with the test's own orchestrator, and others."""
        return self.program([self.name, *more], **options)

    def run_to(self, program, *actions, instance="", **start):
        """An instance whose first turn does that; its id."""
        instance = self.peer.begin(self.name, instance, **start)
        program.turn().reply(*actions)
        self.peer.end(instance)
        return instance

    @contextlib.contextmanager
    def told(self, code):
        """What a call within is answered with."""
        with self.assertRaises(grpc.RpcError) as caught:
            yield
        self.assertEqual(caught.exception.code().name, code, caught.exception.details())

    def refused(self, code, rpc, request, words="", timeout=PATIENCE):
        with self.assertRaises(grpc.RpcError) as caught:
            self.peer.call(rpc, request, timeout)
        self.assertEqual(caught.exception.code().name, code, caught.exception.details())
        self.assertIn(words, caught.exception.details())

    def until_how(self, instance, how):
        until(lambda: self.peer.how(instance) == how, f"{instance} to be {how}")


class Starts(RpcTest):
    def test_hello(self):
        self.assertEqual(self.peer.call("Hello", raw.EMPTY).ByteSize(), 0)

    def test_an_id_is_made(self):
        first, second = (self.peer.begin(self.name) for _ in range(2))
        self.assertRegex(first, r"^[0-9a-f]{32}$")
        self.assertNotEqual(first, second)

    def test_what_is_kept(self):
        before = time.time()
        trace = pb.TraceContext(traceParent="00-" + "a" * 32 + "-" + "b" * 16 + "-01")
        self.peer.begin(self.name, "kept", '"in"', version=text("1.5"), tags={"a": "b", "c": ""},
                        parentTraceContext=trace, executionId=text("mine"),
                        requestTime=raw.moment(before))
        state = self.peer.look("kept")
        self.assertEqual((state.instanceId, state.name, state.version.value, state.input.value),
                         ("kept", self.name, "1.5", '"in"'))
        self.assertEqual(state.orchestrationStatus, status("PENDING"))
        self.assertEqual(dict(state.tags), {"a": "b", "c": ""})
        self.assertLess(abs(raw.seconds(state.createdTimestamp) - before), 30)
        self.assertFalse(state.HasField("completedTimestamp"))
        self.assertFalse(state.HasField("output"))
        self.assertFalse(state.HasField("parentInstanceId"))
        state = self.peer.look("kept", payloads=False)
        self.assertFalse(state.HasField("input"))

    def test_ids_that_cannot_be(self):
        for instance, words in (("@counter@k", "@"), ("x" * 2000, "bytes"), ("a\nb", "")):
            with self.subTest(instance):
                self.refused("INVALID_ARGUMENT", "StartInstance",
                             pb.CreateInstanceRequest(instanceId=instance, name=self.name), words)
        self.refused("INVALID_ARGUMENT", "StartInstance", pb.CreateInstanceRequest(), "name")

    def test_an_id_in_use(self):
        program = self.orchestrator()
        self.peer.begin(self.name, "taken")
        self.refused("ALREADY_EXISTS", "StartInstance",
                     pb.CreateInstanceRequest(instanceId="taken", name=self.name), "taken")
        program.turn().reply(raw.complete())
        self.peer.end("taken")
        # Also once it has ended: only a policy replaces.
        self.refused("ALREADY_EXISTS", "StartInstance",
                     pb.CreateInstanceRequest(instanceId="taken", name=self.name))

    def test_restarting_in_java(self):
        # Its SDK starts the id again, and has no policies.
        java = Peer(self.sidecar.endpoint, agent="grpc-java-netty/1.59.0")
        self.addCleanup(java.close)
        program = self.orchestrator()
        java.begin(self.name, "java")
        self.assertEqual(java.code("StartInstance", pb.CreateInstanceRequest(
            instanceId="java", name=self.name)), "ALREADY_EXISTS")
        program.turn().reply(raw.complete('"first"'))
        java.end("java")
        java.begin(self.name, "java")
        program.turn().reply(raw.complete('"second"'))
        self.assertEqual(java.result("java"), '"second"')

    def reuse(self, *names):
        return pb.OrchestrationIdReusePolicy(replaceableStatus=[status(name) for name in names])

    def test_policies_with_an_action(self):
        """As Go's SDK has them: field 2, ERROR (which does not travel), IGNORE and TERMINATE."""
        go = Peer(self.sidecar.endpoint, agent="grpc-go/1.56.3")
        self.addCleanup(go.close)
        program = self.orchestrator()

        def start(action, *names):
            policy = self.reuse(*names).SerializeToString() + action
            return go.code("StartInstance", pb.CreateInstanceRequest(
                instanceId="go", name=self.name,
                orchestrationIdReusePolicy=pb.OrchestrationIdReusePolicy.FromString(policy)))
        error, ignore, terminate = b"", b"\x10\x01", b"\x10\x02"
        self.assertEqual(start(error), "OK")
        program.turn().reply(raw.complete('"first"'))
        go.end("go")
        self.assertEqual(start(error, "COMPLETED"), "ALREADY_EXISTS")
        self.assertEqual(start(ignore, "COMPLETED"), "OK")
        self.assertEqual(start(ignore, "RUNNING"), "ALREADY_EXISTS")
        self.assertEqual(start(terminate, "RUNNING"), "ALREADY_EXISTS")
        self.assertEqual(go.result("go"), '"first"')
        self.assertEqual(start(terminate, "COMPLETED"), "OK")
        program.turn().reply(raw.timer(0, raw.later(NEVER)))
        self.until_how("go", "RUNNING")
        self.assertEqual(start(terminate, "RUNNING"), "OK")
        program.turn().reply(raw.complete('"third"'))
        self.assertEqual(go.result("go"), '"third"')

    def test_replacing_what_has_ended(self):
        program = self.orchestrator()
        self.run_to(program, raw.complete('"first"'), instance="again")
        old = self.peer.look("again").executionId.value
        self.assertEqual(self.peer.code("StartInstance", pb.CreateInstanceRequest(
            instanceId="again", name=self.name,
            orchestrationIdReusePolicy=self.reuse("FAILED", "TERMINATED"))), "ALREADY_EXISTS")
        self.assertEqual(self.peer.look("again").output.value, '"first"')
        self.peer.begin(self.name, "again", orchestrationIdReusePolicy=self.reuse("COMPLETED"))
        turn = program.turn()
        self.assertNotEqual(turn.execution, old)
        turn.reply(raw.complete('"second"'))
        self.assertEqual(self.peer.result("again"), '"second"')

    def test_replacing_what_runs(self):
        program = self.orchestrator()
        running = ("RUNNING", "PENDING", "SUSPENDED")
        self.peer.begin(self.name, "running")
        turn = program.turn()
        turn.reply(raw.timer(0, raw.later(NEVER)))
        self.until_how("running", "RUNNING")
        for name in running:
            self.refused("INVALID_ARGUMENT", "StartInstance", pb.CreateInstanceRequest(
                instanceId="running", name=self.name, orchestrationIdReusePolicy=self.reuse(name)),
                "Invalid reusable statuses: cannot exclude 'Terminated' while also allowing reuse "
                "of running instances")
        self.peer.begin(self.name, "running", '"new"',
                        orchestrationIdReusePolicy=self.reuse("TERMINATED", *running))
        second = program.turn()
        self.assertEqual(second.started.input.value, '"new"')
        self.assertNotEqual(second.execution, turn.execution)
        second.reply(raw.complete('"b"'))
        self.assertEqual(self.peer.result("running"), '"b"')

    def test_replacing_what_is_busy(self):
        """The answer of the execution that was replaced is nobody's."""
        program = self.orchestrator()
        self.peer.begin(self.name, "busy")
        old = program.turn()
        self.peer.begin(self.name, "busy", orchestrationIdReusePolicy=self.reuse(
            "RUNNING", "PENDING", "TERMINATED"))
        old.reply(raw.complete('"old"'))
        new = program.turn()
        self.assertNotEqual(new.execution, old.execution)
        new.reply(raw.complete('"new"'))
        self.assertEqual(self.peer.result("busy"), '"new"')

    def test_a_start_in_the_past_is_now(self):
        """JavaScript clients always send a time: 1970."""
        program = self.orchestrator()
        before = time.time()
        for stamp in (raw.moment(0), raw.moment(before - 60)):
            self.peer.begin(self.name, scheduledStartTimestamp=stamp)
            turn = program.turn()
            started = turn.new[0]
            self.assertTrue(started.HasField("orchestratorStarted"))
            self.assertGreater(raw.seconds(started.timestamp), before - 30)
            turn.reply(raw.complete())

    def test_a_start_later(self):
        program = self.orchestrator()
        begin = time.time()
        due = begin + SOON
        instance = self.peer.begin(self.name, scheduledStartTimestamp=raw.moment(due))
        far = self.peer.begin(self.name, scheduledStartTimestamp=raw.later(NEVER))
        self.assertEqual(self.peer.how(far), "PENDING")
        turn = program.turn()
        self.assertGreaterEqual(time.time(), due - 0.001)
        self.assertEqual(turn.instance, instance)
        self.assertGreaterEqual(raw.seconds(turn.new[0].timestamp), due - 0.001)
        self.assertLess(abs(raw.seconds(turn.started.scheduledStartTimestamp) - due), 0.001)
        turn.reply(raw.complete())
        state = self.peer.end(instance)
        self.assertGreaterEqual(raw.seconds(state.lastUpdatedTimestamp), due - 0.001)
        self.assertEqual(self.peer.how(far), "PENDING")
        # It can be ended before its time.
        self.peer.call("TerminateInstance", pb.TerminateRequest(instanceId=far, output=text('"no"')))
        self.assertEqual(self.peer.end(far).orchestrationStatus, status("TERMINATED"))

    def test_bad_times(self):
        self.refused("INVALID_ARGUMENT", "StartInstance", pb.CreateInstanceRequest(
            name=self.name, scheduledStartTimestamp=raw.Timestamp(seconds=1, nanos=-5)),
            "scheduledStartTimestamp")


class Looks(RpcTest):
    def test_unknown(self):
        self.assertFalse(self.peer.call("GetInstance", pb.GetInstanceRequest(
            instanceId="nobody")).exists)
        self.refused("INVALID_ARGUMENT", "GetInstance", pb.GetInstanceRequest(), "instanceId")

    def test_all_of_a_state(self):
        program = self.orchestrator()
        instance = self.peer.begin(self.name, data="1", tags={"k": "v"}, version=text("3"))
        turn = program.turn()
        turn.reply(raw.timer(0, raw.later(NEVER)), custom='"half"')
        until(lambda: self.peer.look(instance).customStatus.value == '"half"', "custom status")
        state = self.peer.look(instance, payloads=False)
        self.assertEqual(state.customStatus.value, '"half"')  # JavaScript polls it like this
        self.assertEqual(state.executionId.value, turn.execution)
        self.assertRegex(turn.execution, r"^[0-9a-f]{32}$")
        self.peer.tell(instance, "go")
        program.turn().reply(raw.fail(raw.failure("Type", "message", stackTrace=text("at x"),
                                                  innerFailure=raw.failure("Inner", "why"),
                                                  isNonRetriable=True)), custom="")
        state = self.peer.end(instance)
        self.assertEqual(state.orchestrationStatus, status("FAILED"))
        self.assertTrue(state.HasField("customStatus"))
        self.assertEqual(state.customStatus.value, "")
        details = state.failureDetails
        self.assertEqual((details.errorType, details.errorMessage, details.stackTrace.value,
                          details.isNonRetriable, details.innerFailure.errorType),
                         ("Type", "message", "at x", True, "Inner"))
        self.assertEqual((state.version.value, dict(state.tags)), ("3", {"k": "v"}))
        self.assertGreaterEqual(raw.seconds(state.completedTimestamp),
                                raw.seconds(state.createdTimestamp))

    def test_custom_status_is_replaced(self):
        program = self.orchestrator()
        instance = self.peer.begin(self.name)
        program.turn().reply(custom='"a"')
        until(lambda: self.peer.look(instance).customStatus.value == '"a"', "custom status")
        self.peer.tell(instance, "x")
        program.turn().reply(raw.complete())
        self.assertFalse(self.peer.end(instance).HasField("customStatus"))

    def test_waiting_for_the_start(self):
        program = self.orchestrator()
        waits = pb.GetInstanceRequest(instanceId="begun")
        self.assertEqual(self.peer.code("WaitForInstanceStart", waits, SOON), "DEADLINE_EXCEEDED")
        waiting = self.peer.stub.WaitForInstanceStart.future(waits)  # without a deadline
        self.addCleanup(waiting.cancel)
        self.peer.begin(self.name, "begun")
        turn = program.turn()
        self.assertFalse(waiting.done())
        turn.reply(raw.timer(0, raw.later(NEVER)))
        answer = waiting.result(PATIENCE)
        self.assertTrue(answer.exists)
        self.assertEqual(answer.orchestrationState.orchestrationStatus, status("RUNNING"))

    def test_waiting_for_the_end(self):
        program = self.orchestrator()
        waits = pb.GetInstanceRequest(instanceId="ended", getInputsAndOutputs=True)
        waiting = [self.peer.stub.WaitForInstanceCompletion.future(waits) for _ in range(3)]
        self.peer.begin(self.name, "ended")
        turn = program.turn()
        self.assertEqual(self.peer.code("WaitForInstanceCompletion", waits, SOON),
                         "DEADLINE_EXCEEDED")
        waiting[0].cancel()
        turn.reply(raw.complete('"x"'))
        for call in waiting[1:]:
            self.assertEqual(call.result(PATIENCE).orchestrationState.output.value, '"x"')
        self.assertEqual(self.peer.end("ended").output.value, '"x"')
        self.peer.call("WaitForInstanceStart", waits, SOON + 5)

    def test_waiting_ends_however_it_ends(self):
        for how, actions in (("FAILED", [raw.fail()]), ("TERMINATED", [raw.complete(
                '"t"', "TERMINATED")]), ("CANCELED", [raw.complete(how="CANCELED")])):
            with self.subTest(how):
                program = self.orchestrator()
                instance = self.run_to(program, *actions)
                self.assertEqual(self.peer.how(instance), how)
                program.close()


class Messages(RpcTest):
    def begun(self, program):
        instance = self.peer.begin(self.name)
        program.turn().reply(raw.timer(0, raw.later(NEVER)))
        self.until_how(instance, "RUNNING")
        return instance

    def test_unknown_instances(self):
        for rpc, request, code in (
                ("RaiseEvent", pb.RaiseEventRequest(instanceId="nobody", name="x"), "OK"),
                ("TerminateInstance", pb.TerminateRequest(instanceId="nobody"), "OK"),
                ("SuspendInstance", pb.SuspendRequest(instanceId="nobody"), "NOT_FOUND"),
                ("ResumeInstance", pb.ResumeRequest(instanceId="nobody"), "NOT_FOUND"),
                ("RewindInstance", pb.RewindInstanceRequest(instanceId="nobody"), "NOT_FOUND"),
                ("RestartInstance", pb.RestartInstanceRequest(instanceId="nobody"), "NOT_FOUND")):
            with self.subTest(rpc):
                self.assertEqual(self.peer.code(rpc, request), code)
        self.assertEqual(self.peer.code("StreamInstanceHistory", pb.StreamInstanceHistoryRequest(
            instanceId="nobody")), "OK")  # a stream says it when it is read
        with self.assertRaises(grpc.RpcError) as caught:
            self.peer.history("nobody")
        self.assertEqual(caught.exception.code(), grpc.StatusCode.NOT_FOUND)

    def test_without_an_id(self):
        for rpc, request in (("RaiseEvent", pb.RaiseEventRequest(name="x")),
                             ("TerminateInstance", pb.TerminateRequest()),
                             ("SuspendInstance", pb.SuspendRequest()),
                             ("ResumeInstance", pb.ResumeRequest()),
                             ("RewindInstance", pb.RewindInstanceRequest()),
                             ("RestartInstance", pb.RestartInstanceRequest()),
                             ("PurgeInstances", pb.PurgeInstancesRequest(instanceId="")),
                             ("WaitForInstanceStart", pb.GetInstanceRequest())):
            with self.subTest(rpc):
                self.refused("INVALID_ARGUMENT", rpc, request, "instanceId")

    def test_ended_instances(self):
        program = self.orchestrator()
        instance = self.run_to(program, raw.complete('"x"'))
        before = self.peer.history(instance)
        self.peer.tell(instance, "late")
        for rpc, request, code in (
                ("TerminateInstance", pb.TerminateRequest(instanceId=instance), "OK"),
                ("SuspendInstance", pb.SuspendRequest(instanceId=instance), "OK"),
                ("ResumeInstance", pb.ResumeRequest(instanceId=instance), "OK"),
                ("RewindInstance", pb.RewindInstanceRequest(instanceId=instance),
                 "FAILED_PRECONDITION")):
            with self.subTest(rpc):
                self.assertEqual(self.peer.code(rpc, request), code)
        self.assertEqual(self.peer.history(instance), before)
        self.assertEqual(self.peer.how(instance), "COMPLETED")

    def test_events_reach_their_instance(self):
        program = self.orchestrator()
        instance = self.begun(program)
        self.peer.tell(instance, "one", '{"a": 1}')
        turn = program.turn()
        self.assertEqual(turn.kinds, ["orchestratorStarted", "eventRaised"])
        event = turn.event("eventRaised")
        self.assertEqual((event.name, event.input.value), ("one", '{"a": 1}'))
        self.assertEqual(turn.new[1].eventId, -1)
        # What arrives during a turn comes with the next one, in order.
        for number in range(3):
            self.peer.tell(instance, f"n{number}")
        turn.reply()
        turn = program.turn()
        got = [event.eventRaised.name for event in turn.new if event.HasField("eventRaised")]
        while len(got) < 3:
            turn.reply()
            turn = program.turn()
            got += [event.eventRaised.name for event in turn.new if event.HasField("eventRaised")]
        self.assertEqual(got, ["n0", "n1", "n2"])
        turn.reply(raw.complete())
        self.peer.end(instance)

    def test_an_event_before_the_start(self):
        program = self.orchestrator()
        instance = self.peer.begin(self.name, scheduledStartTimestamp=raw.later(SOON))
        self.peer.tell(instance, "early", "1")
        turn = program.turn()
        if "eventRaised" not in turn.kinds:
            turn.reply()
            turn = program.turn()
        self.assertEqual(turn.event("eventRaised").name, "early")
        turn.reply(raw.complete())

    def test_terminate(self):
        program = self.orchestrator()
        instance = self.begun(program)
        self.peer.call("TerminateInstance", pb.TerminateRequest(instanceId=instance,
                                                                output=text('"why"')))
        state = self.peer.end(instance)
        self.assertEqual((state.orchestrationStatus, state.output.value),
                         (status("TERMINATED"), '"why"'))
        history = raw.kinds(self.peer.history(instance))
        self.assertEqual(history[-2:], ["executionTerminated", "executionCompleted"])

    def test_terminate_without_a_program(self):
        instance = self.peer.begin(self.name)
        self.peer.call("TerminateInstance", pb.TerminateRequest(instanceId=instance))
        self.assertEqual(self.peer.end(instance).orchestrationStatus, status("TERMINATED"))

    def family(self, program):
        """A parent, its child and its grandchild, which run; their ids."""
        parent = self.peer.begin(self.name)
        program.turn().reply(raw.child(0, self.name, instanceId=parent + "-a"))
        program.turn().reply(raw.child(0, self.name, instanceId=parent + "-b"))
        program.turn().reply(raw.timer(0, raw.later(NEVER)))
        self.until_how(parent + "-b", "RUNNING")
        return parent, parent + "-a", parent + "-b"

    def test_terminate_with_children(self):
        program = self.orchestrator()
        family = self.family(program)
        self.peer.call("TerminateInstance", pb.TerminateRequest(
            instanceId=family[0], output=text('"all"'), recursive=True))
        for instance in family:
            self.assertEqual(self.peer.end(instance).orchestrationStatus, status("TERMINATED"))

    def test_terminate_without_children(self):
        program = self.orchestrator()
        parent, middle, last = self.family(program)
        self.peer.call("TerminateInstance", pb.TerminateRequest(instanceId=parent))
        self.assertEqual(self.peer.end(parent).orchestrationStatus, status("TERMINATED"))
        self.assertEqual((self.peer.how(middle), self.peer.how(last)), ("RUNNING", "RUNNING"))

    def test_suspend_and_resume(self):
        program = self.orchestrator()
        instance = self.begun(program)
        suspends = pb.SuspendRequest(instanceId=instance, reason=text("wait"))
        resumes = pb.ResumeRequest(instanceId=instance, reason=text("go"))
        self.peer.call("SuspendInstance", suspends)
        self.until_how(instance, "SUSPENDED")
        self.peer.call("SuspendInstance", suspends)
        self.peer.tell(instance, "kept", "1")
        # It is not given out: what is asked for later comes first.
        self.peer.begin(self.name, "fence-" + self.name)
        turn = program.turn()
        self.assertEqual(turn.instance, "fence-" + self.name)
        turn.reply(raw.complete())
        self.assertEqual(self.peer.how(instance), "SUSPENDED")
        self.peer.call("ResumeInstance", resumes)
        self.peer.call("ResumeInstance", resumes)
        turn = program.turn()
        names = [event.eventRaised.name for event in turn.new if event.HasField("eventRaised")]
        while not names:
            turn.reply()
            turn = program.turn()
            names = [event.eventRaised.name for event in turn.new if event.HasField("eventRaised")]
        self.assertEqual(names, ["kept"])
        turn.reply(raw.complete('"x"'))
        self.assertEqual(self.peer.result(instance), '"x"')
        history = raw.kinds(self.peer.history(instance))
        self.assertIn("executionSuspended", history)
        self.assertIn("executionResumed", history)

    def test_terminate_what_is_suspended(self):
        program = self.orchestrator()
        instance = self.begun(program)
        self.peer.call("SuspendInstance", pb.SuspendRequest(instanceId=instance))
        self.until_how(instance, "SUSPENDED")
        self.assertEqual(self.peer.code("WaitForInstanceCompletion", pb.GetInstanceRequest(
            instanceId=instance), SOON), "DEADLINE_EXCEEDED")
        self.peer.call("TerminateInstance", pb.TerminateRequest(instanceId=instance))
        self.assertEqual(self.peer.end(instance).orchestrationStatus, status("TERMINATED"))


class Many(RpcTest):
    """Queries, lists and purges; each test has a prefix of its own."""

    def query(self, **query):
        answer = self.peer.call("QueryInstances", pb.QueryInstancesRequest(
            query=pb.InstanceQuery(**query)))
        return ([state.instanceId for state in answer.orchestrationState],
                answer.continuationToken.value if answer.HasField("continuationToken") else None)

    def pages(self, size, **query):
        found, token, pages = [], None, 0
        while pages == 0 or token is not None:
            ids, token = self.query(maxInstanceCount=size, continuationToken=text(token), **query)
            self.assertLessEqual(len(ids), size)
            found += ids
            pages += 1
        return found, pages

    def started(self, count):
        return [self.peer.begin(self.name, f"{self.name}-{number:03}") for number in range(count)]

    def ended(self, program, count):
        ids = self.started(count)
        turns = {turn.instance: turn for turn in (program.turn() for _ in range(count))}
        for instance in ids:
            turns[instance].reply(raw.complete('"x"'))
            self.peer.end(instance)
        return ids

    def test_pages(self):
        ids = self.started(23)
        self.peer.signal(f"@{self.entity_name}@k", "set")
        prefix = text(self.name + "-")
        found, pages = self.pages(5, instanceIdPrefix=prefix)
        self.assertEqual(found, ids)
        self.assertGreaterEqual(pages, 5)
        self.assertEqual(self.query(instanceIdPrefix=prefix), (ids, None))
        self.refused("INVALID_ARGUMENT", "QueryInstances", pb.QueryInstancesRequest(
            query=pb.InstanceQuery(continuationToken=text("no token"))), "continuationToken")

    def test_conditions(self):
        program = self.orchestrator()
        early = self.peer.begin(self.name, self.name + "-early", '"in"')
        program.turn().reply(raw.complete('"out"'))
        self.peer.end(early)
        late = self.peer.begin(self.name, self.name + "-late", scheduledStartTimestamp=raw.later(NEVER))
        created = self.peer.look(late).createdTimestamp
        prefix = text(self.name + "-")
        self.assertEqual(self.query(instanceIdPrefix=prefix, runtimeStatus=[status("COMPLETED")])[0],
                         [early])
        self.assertEqual(self.query(instanceIdPrefix=prefix, runtimeStatus=[
            status("PENDING"), status("COMPLETED")])[0], [early, late])
        # from inclusively, to exclusively
        self.assertEqual(self.query(instanceIdPrefix=prefix, createdTimeFrom=created)[0], [late])
        self.assertEqual(self.query(instanceIdPrefix=prefix, createdTimeTo=created)[0], [early])
        for payloads in (True, False):
            answer = self.peer.call("QueryInstances", pb.QueryInstancesRequest(query=pb.InstanceQuery(
                instanceIdPrefix=text(early), fetchInputsAndOutputs=payloads)))
            state, = answer.orchestrationState
            self.assertEqual((state.HasField("input"), state.HasField("output")),
                             (payloads, payloads))

    def test_no_entities(self):
        program = self.program(entities=[self.entity_name])
        entity = f"@{self.entity_name}@k"
        self.peer.signal(entity, "set")
        program.batch().reply(raw.success(), state='"s"')
        until(lambda: self.peer.entity(entity), "the entity")
        ids, _ = self.query(maxInstanceCount=1000)
        self.assertFalse([instance for instance in ids if instance.startswith("@")])
        self.assertEqual(self.query(instanceIdPrefix=text("@"))[0], [])
        self.assertIsNone(self.peer.look(entity))

    def listed(self, **request):
        answer = self.peer.call("ListInstanceIds", pb.ListInstanceIdsRequest(**request))
        return (list(answer.instanceIds),
                answer.lastInstanceKey.value if answer.HasField("lastInstanceKey") else None)

    def test_ids_as_they_ended(self):
        program = self.orchestrator()
        since = raw.moment(time.time())
        ids = self.started(7)
        running = self.peer.begin(self.name, "running-" + self.name)
        turns = {turn.instance: turn for turn in (program.turn() for _ in range(8))}
        turns[running].reply(raw.timer(0, raw.later(NEVER)))
        order = ids[::-1]
        for instance in order:
            turns[instance].reply(raw.complete())
            self.peer.end(instance)
        found, key = [], None
        while not found or key is not None:
            some, key = self.listed(completedTimeFrom=since, pageSize=3, lastInstanceKey=text(key))
            found += some
        self.assertEqual([instance for instance in found if instance in ids], order)
        self.assertNotIn(running, found)
        self.assertEqual(self.listed(completedTimeFrom=since, runtimeStatus=[status("FAILED")])[0], [])
        self.assertEqual(self.listed(runtimeStatus=[status("RUNNING")])[0], [])
        self.refused("INVALID_ARGUMENT", "ListInstanceIds",
                     pb.ListInstanceIdsRequest(lastInstanceKey=text("what")), "lastInstanceKey")

    def purged(self, **request):
        answer = self.peer.call("PurgeInstances", pb.PurgeInstancesRequest(**request))
        self.assertTrue(answer.isComplete.value)
        return answer.deletedInstanceCount

    def test_purge_one(self):
        program = self.orchestrator()
        gone, = self.ended(program, 1)
        running = self.peer.begin(self.name)
        program.turn().reply(raw.timer(0, raw.later(NEVER)))
        self.until_how(running, "RUNNING")
        self.assertEqual(self.purged(instanceId=running), 0)
        self.assertEqual(self.purged(instanceId="nobody"), 0)
        self.assertEqual(self.purged(instanceId=gone), 1)
        self.assertEqual(self.purged(instanceId=gone), 0)
        self.assertIsNone(self.peer.look(gone))
        self.assertEqual(self.peer.how(running), "RUNNING")
        with self.assertRaises(grpc.RpcError) as caught:
            self.peer.history(gone)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.NOT_FOUND)

    def test_purge_a_batch(self):
        program = self.orchestrator()
        ids = self.ended(program, 3)
        running = self.peer.begin(self.name)
        batch = pb.InstanceBatch(instanceIds=[ids[0], "nobody", running, ids[2]])
        self.assertEqual(self.purged(instanceBatch=batch), 2)
        self.assertEqual(self.purged(instanceBatch=pb.InstanceBatch()), 0)
        self.assertIsNone(self.peer.look(ids[0]))
        self.assertIsNotNone(self.peer.look(ids[1]))

    def test_purge_by_filter(self):
        program = self.orchestrator()
        since = raw.moment(time.time())
        ids = self.ended(program, 4)
        running = self.peer.begin(self.name)
        until_last = self.peer.look(ids[3]).createdTimestamp
        purge = pb.PurgeInstanceFilter
        self.assertEqual(self.purged(purgeInstanceFilter=purge(
            createdTimeFrom=since, runtimeStatus=[status("FAILED")])), 0)
        self.assertEqual(self.purged(purgeInstanceFilter=purge(
            createdTimeFrom=since, runtimeStatus=[status("RUNNING"), status("PENDING")])), 0)
        self.assertEqual(self.purged(purgeInstanceFilter=purge(
            createdTimeFrom=since, createdTimeTo=until_last)), 3)
        self.assertIsNotNone(self.peer.look(ids[3]))
        self.assertEqual(self.purged(purgeInstanceFilter=purge(
            createdTimeFrom=since, runtimeStatus=[status("COMPLETED")])), 1)
        self.assertIsNotNone(self.peer.look(running))
        self.refused("INVALID_ARGUMENT", "PurgeInstances", pb.PurgeInstancesRequest(), "request")

    def test_purge_with_children(self):
        program = self.orchestrator()
        parent = self.peer.begin(self.name)
        program.turn().reply(raw.child(0, self.name, instanceId=parent + "-a"))
        program.turn().reply(raw.complete())
        program.turn().reply(raw.complete())
        self.peer.end(parent)
        self.assertEqual(self.purged(instanceId=parent, recursive=True), 2)
        self.assertIsNone(self.peer.look(parent + "-a"))


class Again(RpcTest):
    def restart(self, instance, new_id):
        return self.peer.call("RestartInstance", pb.RestartInstanceRequest(
            instanceId=instance, restartWithNewInstanceId=new_id)).instanceId

    def test_restart(self):
        program = self.orchestrator()
        old = self.run_to(program, raw.complete('"1"'), data='"in"', version=text("2"),
                          tags={"t": "u"})
        execution = self.peer.look(old).executionId.value
        for new_id in (True, False):
            with self.subTest(new_id=new_id):
                instance = self.restart(old, new_id)
                self.assertEqual(instance != old, new_id)
                turn = program.turn()
                started = turn.event("executionStarted")
                self.assertEqual((turn.instance, started.name, started.input.value,
                                  started.version.value, dict(started.tags)),
                                 (instance, self.name, '"in"', "2", {"t": "u"}))
                self.assertNotEqual(turn.execution, execution)
                turn.reply(raw.complete('"2"'))
                self.assertEqual(self.peer.result(instance), '"2"')

    def test_restart_what_runs(self):
        program = self.orchestrator()
        instance = self.peer.begin(self.name, data="7")
        program.turn().reply(raw.timer(0, raw.later(NEVER)))
        self.until_how(instance, "RUNNING")
        self.refused("FAILED_PRECONDITION", "RestartInstance",
                     pb.RestartInstanceRequest(instanceId=instance))
        other = self.restart(instance, True)
        turn = program.turn()
        self.assertEqual((turn.instance, turn.started.input.value), (other, "7"))
        turn.reply(raw.complete())

    def rewind(self, instance):
        """With a program it is answered when the instance runs again: by that one's answer."""
        call = self.peer.stub.RewindInstance.future(pb.RewindInstanceRequest(
            instanceId=instance, reason=text("mended")))
        self.addCleanup(call.cancel)
        return call

    def test_rewind(self):
        program = self.program([self.name], ["unsteady"])
        instance = self.peer.begin(self.name)
        program.turn().reply(raw.schedule(0, "unsteady"))
        program.task().reply(failureDetails=raw.failure())
        turn = program.turn()
        self.assertEqual(turn.event("taskFailed").failureDetails.errorType, "Broken")
        turn.reply(raw.fail())
        self.assertEqual(self.peer.end(instance).orchestrationStatus, status("FAILED"))
        rewound = self.rewind(instance)
        # Replayed without what failed, it asks for the same again.
        turn = program.turn()
        self.assertNotIn("taskFailed", raw.kinds(turn.past) + turn.kinds)
        self.assertNotIn("executionCompleted", raw.kinds(turn.past) + turn.kinds)
        if "taskScheduled" not in raw.kinds(turn.past):
            turn.reply(raw.schedule(0, "unsteady"))
        else:
            turn.reply()
        rewound.result(PATIENCE)
        self.assertEqual(self.peer.how(instance), "RUNNING")
        program.task().reply('"well"')
        turn = program.turn()
        self.assertEqual(turn.event("taskCompleted").result.value, '"well"')
        turn.reply(raw.complete('"done"'))
        state = self.peer.end(instance)
        self.assertEqual((state.orchestrationStatus, state.output.value,
                          state.HasField("failureDetails")), (status("COMPLETED"), '"done"', False))

    def test_rewind_with_a_child(self):
        program = self.program([self.name], ["unsteady"])
        parent = self.peer.begin(self.name)
        program.turn().reply(raw.child(0, self.name, instanceId=parent + "-a"))
        program.turn().reply(raw.fail(raw.failure("Deep", "down")))
        turn = program.turn()
        event = turn.event("subOrchestrationInstanceFailed")
        self.assertEqual(event.failureDetails.errorType, "Deep")
        turn.reply(raw.fail())
        self.peer.end(parent)
        rewound = self.rewind(parent)
        seen = set()
        while self.peer.how(parent) != "COMPLETED":
            turn = program.turn()
            seen.add(turn.instance)
            if turn.instance != parent:
                turn.reply(raw.complete('"c"'))
            elif "subOrchestrationInstanceCompleted" in turn.kinds:
                turn.reply(raw.complete())
                self.peer.end(parent)
            else:
                turn.reply()
        rewound.result(PATIENCE)
        self.assertEqual(seen, {parent, parent + "-a"})
        self.assertEqual(self.peer.how(parent + "-a"), "COMPLETED")

    def failed(self, program):
        instance = self.peer.begin(self.name)
        program.turn().reply(raw.fail())
        self.assertEqual(self.peer.end(instance).orchestrationStatus, status("FAILED"))
        return instance

    def test_rewind_without_a_program(self):
        """It is accepted, and carried out when one is there, also by a hub that was killed."""
        program = self.orchestrator()
        instance = self.failed(program)
        program.close()
        self.rewind(instance).result(PATIENCE)
        self.assertEqual(self.peer.how(instance), "FAILED")
        self.sidecar.kill()
        self.sidecar.start()
        self.orchestrator().turn().reply(raw.timer(0, raw.later(NEVER)))
        self.until_how(instance, "RUNNING")

    def test_rewind_that_is_given_up(self):
        """The answer waits for the program's, or who waits for the end then would be told of the old
        one. The request does not depend on whoever asked."""
        program = self.orchestrator()
        instance = self.failed(program)
        self.assertEqual(self.peer.code("RewindInstance", pb.RewindInstanceRequest(
            instanceId=instance), timeout=SOON), "DEADLINE_EXCEEDED")
        self.assertEqual(self.peer.how(instance), "FAILED")
        program.turn().reply(raw.timer(0, raw.later(NEVER)))
        self.until_how(instance, "RUNNING")

    def test_rewind_what_has_not_failed(self):
        program = self.orchestrator()
        instance = self.peer.begin(self.name)
        turn = program.turn()
        self.assertEqual(self.peer.code("RewindInstance", pb.RewindInstanceRequest(
            instanceId=instance)), "FAILED_PRECONDITION")
        turn.reply(raw.complete())


class Entities(RpcTest):
    def setUp(self):
        super().setUp()
        self.entity = f"@{self.entity_name}@k"

    def entities(self, **query):
        answer = self.peer.call("QueryEntities", pb.QueryEntitiesRequest(query=pb.EntityQuery(
            instanceIdStartsWith=text(f"@{self.entity_name}@"), **query)))
        return ([entity.instanceId for entity in answer.entities],
                answer.continuationToken.value if answer.HasField("continuationToken") else None)

    def test_signal_and_state(self):
        program = self.program(entities=[self.entity_name])
        self.assertIsNone(self.peer.entity(self.entity))
        self.peer.signal(self.entity, "add", "5")
        batch = program.batch()
        self.assertEqual((batch.request.instanceId, batch.names, batch.state),
                         (self.entity, ["add"], None))
        self.assertEqual(batch.operations[0].input.value, "5")
        batch.reply(raw.success(), state="0")  # no state is false: it is there
        found = until(lambda: self.peer.entity(self.entity), "the entity")
        self.assertEqual((found.instanceId, found.serializedState.value), (self.entity, "0"))
        self.assertLess(abs(raw.seconds(found.lastModifiedTime) - time.time()), 30)
        self.assertFalse(found.HasField("lockedBy"))
        self.assertFalse(self.peer.entity(self.entity, state=False).HasField("serializedState"))

    def test_an_empty_state_is_none(self):
        program = self.program(entities=[self.entity_name])
        self.peer.signal(self.entity, "set")
        program.batch().reply(raw.success(), state='"s"')
        until(lambda: self.peer.entity(self.entity), "the entity")
        for state in (None, ""):
            self.peer.signal(self.entity, "delete")
            batch = program.batch()
            batch.reply(raw.success(), state=state)
            until(lambda: not self.peer.entity(self.entity), "the entity's end")
            self.assertEqual(self.entities()[0], [])
            self.peer.signal(self.entity, "set")
            batch = program.batch()
            self.assertIsNone(batch.state)
            batch.reply(raw.success(), state='"s"')
            until(lambda: self.peer.entity(self.entity), "the entity")

    def test_names_without_regard_to_case(self):
        program = self.program(entities=[self.entity_name])
        self.peer.signal(f"@{self.entity_name.upper()}@Key", "set")
        self.assertEqual(program.batch().request.instanceId, f"@{self.entity_name}@Key")

    def test_ids_that_cannot_be(self):
        for entity in ("", "noentity", "@noname", "@", "@x@" + "k" * 100):
            with self.subTest(entity):
                self.refused("INVALID_ARGUMENT", "SignalEntity", pb.SignalEntityRequest(
                    instanceId=entity, name="x"))
        self.refused("INVALID_ARGUMENT", "SignalEntity", pb.SignalEntityRequest(
            instanceId=self.entity), "name")

    def test_a_signal_later(self):
        program = self.program(entities=[self.entity_name])
        due = time.time() + SOON
        self.peer.signal(self.entity, "later", scheduledTime=raw.moment(due))
        self.peer.signal(f"@{self.entity_name}@never", "x", scheduledTime=raw.later(NEVER))
        self.assertIsNone(self.peer.entity(self.entity))
        batch = program.batch()
        self.assertGreaterEqual(time.time(), due - 0.001)
        self.assertEqual(batch.names, ["later"])
        batch.reply(raw.success(), state="1")
        until(lambda: self.peer.entity(self.entity), "the entity")
        self.assertIsNone(self.peer.entity(f"@{self.entity_name}@never"))

    def test_query(self):
        program = self.program(entities=[self.entity_name])
        ids = [f"@{self.entity_name}@{number}" for number in range(7)]
        for entity in ids:
            self.peer.signal(entity, "set")
            program.batch().reply(raw.success(), state=f'"{entity}"')
        until(lambda: len(self.entities()[0]) == 7, "the entities")
        found, token = [], None
        while not found or token is not None:
            some, token = self.entities(pageSize=raw.Int32Value(value=2),
                                        continuationToken=text(token))
            self.assertLessEqual(len(some), 2)
            found += some
        self.assertEqual(sorted(found), ids)
        answer = self.peer.call("QueryEntities", pb.QueryEntitiesRequest(query=pb.EntityQuery(
            instanceIdStartsWith=text(ids[3]), includeState=True)))
        self.assertEqual([entity.serializedState.value for entity in answer.entities],
                         [f'"{ids[3]}"'])
        modified = self.peer.entity(ids[6]).lastModifiedTime
        self.assertEqual(self.entities(lastModifiedFrom=modified)[0], [ids[6]])
        self.assertNotIn(ids[6], self.entities(lastModifiedTo=modified)[0])

    def test_what_was_made_by_a_lock_is_transient(self):
        """It has no state: only who asks for it sees it."""
        program = self.orchestrator()
        instance = self.peer.begin(self.name)
        program.turn().reply(raw.lock(0, str(uuid.uuid4()), [self.entity], instance))
        program.turn().event("entityLockGranted")
        self.assertIsNone(self.peer.entity(self.entity))
        self.assertEqual(self.entities()[0], [])
        until(lambda: self.entities(includeTransient=True)[0] == [self.entity], "the entity")

    def test_cleaning(self):
        answer = self.peer.call("CleanEntityStorage", pb.CleanEntityStorageRequest(
            removeEmptyEntities=True, releaseOrphanedLocks=True))
        self.assertEqual((answer.emptyEntitiesRemoved, answer.orphanedLocksReleased,
                          answer.HasField("continuationToken")), (0, 0, False))

    def test_purge_of_an_entity(self):
        program = self.program(entities=[self.entity_name])
        self.peer.signal(self.entity, "set")
        program.batch().reply(raw.success(), state="1")
        until(lambda: self.peer.entity(self.entity), "the entity")
        self.peer.call("PurgeInstances", pb.PurgeInstancesRequest(instanceId=self.entity))
        self.assertIsNone(self.peer.entity(self.entity))


class Hubs(RpcTest):
    @contextlib.contextmanager
    def named(self, hub):
        peer = Peer(self.sidecar.endpoint, [("taskhub", hub)])
        yield peer
        peer.close()

    def test_hub_by_metadata(self):
        instance = self.peer.begin(self.name)
        for hub in ("TestHubName", "testhubname", "", "default"):
            with self.named(hub) as peer:
                self.assertEqual(peer.how(instance), "PENDING", hub)
        with self.named("Elsewhere") as peer:
            self.assertEqual(peer.code("GetInstance", pb.GetInstanceRequest(instanceId=instance)),
                             "NOT_FOUND")

    def test_hub_of_a_stream(self):
        with self.named("Elsewhere") as peer:
            with self.assertRaises(grpc.RpcError) as caught:
                next(peer.call("GetWorkItems", pb.GetWorkItemsRequest()))
            self.assertEqual(caught.exception.code(), grpc.StatusCode.NOT_FOUND)
            self.assertIn("Elsewhere", caught.exception.details())

    def test_managing_hubs(self):
        """The one that is served exists."""
        instance = self.peer.begin(self.name)
        self.assertEqual(self.peer.code("CreateTaskHub", pb.CreateTaskHubRequest()), "OK")
        with self.named("Elsewhere") as peer:
            self.assertEqual(peer.code("CreateTaskHub", pb.CreateTaskHubRequest()), "NOT_FOUND")
        self.assertEqual(self.peer.how(instance), "PENDING")

    def test_not_served(self):
        self.refused("UNIMPLEMENTED", "SkipGracefulOrchestrationTerminations",
                     pb.SkipGracefulOrchestrationTerminationsRequest())


class OfDapr(RpcTest):
    """Calls that only Dapr's clients make, on messages of its definition."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.messages = raw.dapr_messages()

    def call(self, name, request, answer):
        return self.peer.channel.unary_unary(
            f"/TaskHubSidecarService/{name}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=self.messages[answer].FromString)(request, timeout=PATIENCE)

    def ids(self, **request):
        return self.call("ListInstanceIDs", self.messages["ListRequest"](**request), "ListResponse")

    def test_ids_of_all(self):
        program = self.orchestrator()
        ids = [self.peer.begin(self.name, f"{self.name}-{number:03}") for number in range(7)]
        turns = {turn.instance: turn for turn in (program.turn() for _ in ids)}
        turns[ids[3]].reply(raw.complete())
        self.peer.end(ids[3])
        self.peer.signal(f"@{self.entity_name}@k", "set")
        whole = self.ids()
        self.assertFalse(whole.HasField("token"))
        self.assertEqual([i for i in whole.ids if i in ids], ids)
        found, token, pages = [], None, 0
        while pages == 0 or token:
            answer = self.ids(size=2, **({"token": token} if token else {}))
            self.assertLessEqual(len(answer.ids), 2)
            found += answer.ids
            token, pages = answer.token, pages + 1
        self.assertEqual(found, list(whole.ids))
        self.assertGreaterEqual(pages, 4)
        with self.assertRaises(grpc.RpcError) as caught:
            self.ids(token="%")
        self.assertEqual(caught.exception.code(), grpc.StatusCode.INVALID_ARGUMENT)
        self.assertIn("continuationToken", caught.exception.details())

    def history(self, instance):
        request = self.messages["HistoryRequest"](instance=instance)
        return self.call("GetInstanceHistory", request, "HistoryResponse").events

    def test_history_at_once(self):
        program = self.program([self.name], [self.name])
        instance = self.peer.begin(self.name)
        program.turn().reply(raw.schedule(0, self.name, '"a"', tags={"k": "v"}))
        program.task().reply('"b"')
        program.turn().reply(raw.complete('"c"'))
        self.peer.end(instance)
        events = self.history(instance)
        streamed = self.peer.history(instance)
        self.assertEqual(raw.kinds(events), raw.kinds(streamed))
        scheduled = next(e.taskScheduled for e in events if e.HasField("taskScheduled"))
        self.assertEqual((scheduled.name, scheduled.input.value), (self.name, '"a"'))
        self.assertFalse(scheduled.tags)  # Dapr has something else under their number
        for instance, code in (("nobody", "NOT_FOUND"), ("", "INVALID_ARGUMENT")):
            with self.assertRaises(grpc.RpcError) as caught:
                self.history(instance)
            self.assertEqual(caught.exception.code().name, code)

    def test_what_is_not_served_says_so(self):
        with self.assertRaises(grpc.RpcError) as caught:
            self.call("RerunWorkflowFromEvent", raw.EMPTY, "ListResponse")
        self.assertEqual(caught.exception.code(), grpc.StatusCode.UNIMPLEMENTED)
        self.assertIn("RerunWorkflowFromEvent is not served", caught.exception.details())


class SeveralHubs(RpcTest):
    options = ("--hub", "Alpha,Beta")

    def test_each_has_its_own(self):
        programs = {hub: self.program([self.name], metadata=[("taskhub", hub)] if hub else None)
                    for hub in ("", "Beta")}
        ends = {}
        for hub, program in programs.items():
            peer = Peer(self.sidecar.endpoint, [("taskhub", hub)] if hub else None)
            self.addCleanup(peer.close)
            instance = peer.begin(self.name, "the same", data=json.dumps(hub))
            program.turn().reply(raw.complete(json.dumps("of " + hub)))
            ends[hub] = peer.end(instance).output.value
        self.assertEqual(ends, {"": '"of "', "Beta": '"of Beta"'})

    def test_default_is_the_first(self):
        instance = self.peer.begin(self.name)
        for hub, how in (("default", "PENDING"), ("Alpha", "PENDING"), ("Beta", None)):
            peer = Peer(self.sidecar.endpoint, [("taskhub", hub)])
            self.addCleanup(peer.close)
            self.assertEqual(peer.how(instance) if how else peer.look(instance), how, hub)

    def test_an_application_has_one(self):
        end = run("dev", app("semantics"), "--hub", "Alpha,Beta", "--db",
                  os.path.join(self.directory, "other.db"), "--port", "0")
        self.assertEqual(end.returncode, ERROR)
        self.assertIn("--hub", end.stderr)


class HubsMadeAnew(RpcTest):
    """A hub that is served is not taken away; deleting it empties it."""

    def test_made_anew(self):
        for name, request in (("CreateTaskHub", pb.CreateTaskHubRequest(recreateIfExists=True)),
                              ("DeleteTaskHub", pb.DeleteTaskHubRequest())):
            with self.subTest(name):
                self.fill_and_empty(name, request)

    def fill_and_empty(self, name, request):
        program = self.program([self.name], entities=[self.entity_name])
        entity = f"@{self.entity_name}@k"
        self.run_to(program, raw.complete(), instance="ended")
        self.peer.begin(self.name, "waits")
        program.turn().reply()
        self.peer.begin(self.name, "later", scheduledStartTimestamp=raw.later(NEVER))
        self.peer.signal(entity, "set")
        program.batch().reply(raw.success(), state='"s"')
        until(lambda: self.peer.entity(entity), "the entity")
        self.assertEqual(self.peer.code(name, request), "OK")
        for instance in ("ended", "waits", "later"):
            self.assertIsNone(self.peer.look(instance), instance)
        self.assertIsNone(self.peer.entity(entity))
        program.break_off()


class AHubCalledDefault(RpcTest):
    options = ("--hub", "Alpha,Default")

    def test_it_is_meant(self):
        instance = self.peer.begin(self.name)
        peer = Peer(self.sidecar.endpoint, [("taskhub", "default")])
        self.addCleanup(peer.close)
        self.assertIsNone(peer.look(instance))


if __name__ == "__main__":
    unittest.main(verbosity=2)

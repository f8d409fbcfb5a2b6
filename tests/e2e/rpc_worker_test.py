"""What a program that takes work sees, and what becomes of its answers: streams, tokens, episodes,
histories, activities and entities, as raw calls. What clients see: rpc_test.py.

This file is run by an interpreter that has the protocol's messages.
"""
import os
import sys
import time
import unittest
import uuid

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from packages import run_within  # noqa: E402
from sdk.languages import python_environment  # noqa: E402

run_within(python_environment())

import grpc  # noqa: E402

from harness import API, until  # noqa: E402
from rpc_test import NEVER, RpcTest, SOON  # noqa: E402
from sdk import raw  # noqa: E402
from sdk.raw import kinds, pb, status, text  # noqa: E402

LARGE = "x" * (1 << 20)


class Streams(RpcTest):
    def many(self, count, name=None):
        return {self.peer.begin(name or self.name) for _ in range(count)}

    def test_each_item_to_one_stream(self):
        programs = [self.orchestrator() for _ in range(3)]
        ids = self.many(30)
        until(lambda: sum(program.items.qsize() for program in programs) == 30, "all work")
        seen = []
        for program in programs:
            self.assertEqual(program.items.qsize(), 10)  # balanced
            while not program.idle():
                turn = program.turn()
                seen.append(turn.instance)
                turn.reply(raw.complete())
        self.assertEqual(sorted(seen), sorted(ids))

    def test_limits(self):
        program = self.program([self.name], [self.name], [self.entity_name],
                               maxConcurrentOrchestrationWorkItems=2,
                               maxConcurrentActivityWorkItems=3, maxConcurrentEntityWorkItems=1)
        for entity in ("a", "b"):
            self.peer.signal(f"@{self.entity_name}@{entity}", "x")
        ids = self.many(4)
        first = [program.take() for _ in range(3)]
        turns = [item for item in first if isinstance(item, raw.Turn)]
        batch, = (item for item in first if isinstance(item, raw.Batch))
        self.assertEqual(len(turns), 2)
        seen = {turn.instance for turn in turns}
        # Each answer makes room for one; activities come beside.
        turns[0].reply(*(raw.schedule(number, self.name) for number in range(5)))
        tasks, more = [], []
        while len(tasks) < 3 or not more:
            item = program.take()
            (tasks if isinstance(item, raw.Task) else more).append(item)
        self.assertEqual((len(tasks), len(more)), (3, 1))
        batch.reply(raw.success(), state="1")
        second = program.batch()
        self.assertNotEqual(second.request.instanceId, batch.request.instanceId)
        self.assertTrue(program.idle())
        tasks[0].reply()
        program.task()
        seen.add(more[0].instance)
        self.assertEqual(len(seen & ids), 3)

    def test_what_waits_beyond_a_limit_goes_to_others(self):
        narrow = self.orchestrator(maxConcurrentOrchestrationWorkItems=1)
        ids = self.many(5)
        turn = narrow.turn()
        wide = self.orchestrator()
        rest = {wide.turn().instance for _ in range(4)}
        self.assertEqual(rest | {turn.instance}, ids)

    def test_filters(self):
        other = self.name + "_other"
        narrow = self.program([self.name])
        wide = self.program([other], [self.name])
        instance = self.peer.begin(self.name)
        self.peer.begin(other)
        self.assertEqual(wide.turn().started.name, other)
        narrow.turn().reply(raw.schedule(0, self.name), raw.schedule(1, other))
        task = wide.task()  # its orchestrations are not given to it, its activities are
        self.assertEqual(task.request.orchestrationInstance.instanceId, instance)
        self.assertTrue(narrow.idle())
        # What nobody takes waits.
        late = self.program(activities=[other])
        self.assertEqual(late.task().request.taskId, 1)

    def test_versions(self):
        second = self.program([(self.name, ["2.0", "2.1"])])
        first = self.program([(self.name, ["1.0"])])
        plain = self.program([(self.name, [""])])
        for program, version in ((second, "2.1"), (first, "1.0"), (second, "2.0"), (plain, None)):
            instance = self.peer.begin(self.name, version=text(version))
            turn = program.turn()
            self.assertEqual(turn.instance, instance)
            self.assertEqual(turn.started.version.value, version or "")
            turn.reply(raw.complete())
        waits = self.peer.begin(self.name, version=text("3.0"))
        any_version = self.program([self.name])
        self.assertEqual(any_version.turn().instance, waits)

    def test_versions_of_activities(self):
        """One without a version has its orchestration's."""
        orchestrators = self.orchestrator()
        fallback = self.program(activities=[(self.name, ["7"])])
        own = self.program(activities=[(self.name, ["8"])])
        self.peer.begin(self.name, version=text("7"))
        orchestrators.turn().reply(raw.schedule(0, self.name),
                                   raw.schedule(1, self.name, version=text("8")))
        self.assertEqual(fallback.task().request.taskId, 0)
        task = own.task()
        self.assertEqual((task.request.taskId, task.request.version.value), (1, "8"))

    def test_entity_names_without_case(self):
        program = self.program(entities=[self.entity_name.upper()])
        self.peer.signal(f"@{self.entity_name}@k", "x")
        program.batch().reply(raw.success())

    def test_broken_streams(self):
        first = self.program([self.name], [self.name])
        instance = self.peer.begin(self.name)
        turn = first.turn()
        first.break_off()
        second = self.program([self.name], [self.name])
        again = second.turn()
        self.assertEqual(again.instance, instance)
        self.assertNotEqual(again.token, turn.token)
        turn.reply(raw.complete('"stale"'))  # told OK, and dropped
        again.reply(raw.schedule(0, self.name))
        task = second.task()
        second.break_off()
        third = self.program([self.name], [self.name])
        retried = third.task()
        self.assertNotEqual(retried.token, task.token)
        task.reply('"stale"')
        retried.reply('"fresh"')
        turn = third.turn()
        self.assertEqual(turn.event("taskCompleted").result.value, '"fresh"')
        turn.reply(raw.complete('"end"'))
        self.assertEqual(self.peer.result(instance), '"end"')
        history = kinds(self.peer.history(instance))
        self.assertEqual(history.count("taskCompleted"), 1)

    def test_a_lost_connection(self):
        program = self.orchestrator()
        instance = self.peer.begin(self.name)
        turn = program.turn()
        program.peer.close()
        again = self.orchestrator().turn()
        self.assertEqual(again.instance, instance)
        self.assertNotEqual(again.token, turn.token)

    def test_what_is_abandoned_comes_again(self):
        program = self.program([self.name], [self.name], [self.entity_name])
        instance = self.peer.begin(self.name)
        for actions in ([raw.schedule(0, self.name)], None):
            old = program.turn() if actions else program.task()
            old.abandon()
            new = program.turn() if actions else program.task()
            self.assertNotEqual(old.token, new.token)
            old.abandon()  # of an old token: nothing
            if actions:
                old.reply(raw.fail())
                new.reply(*actions)
            else:
                old.reply('"old"')
                new.reply('"new"')
        turn = program.turn()
        self.assertEqual(turn.event("taskCompleted").result.value, '"new"')
        turn.reply(raw.complete())
        self.peer.result(instance)
        self.peer.signal(f"@{self.entity_name}@k", "x")
        batch = program.batch()
        batch.abandon()
        again = program.batch()
        self.assertNotEqual(batch.token, again.token)
        batch.reply(raw.success(), state='"old"')
        again.reply(raw.success(), state='"new"')
        found = until(lambda: self.peer.entity(f"@{self.entity_name}@k"), "the entity")
        self.assertEqual(found.serializedState.value, '"new"')

    def test_tokens_of_nobody(self):
        for rpc, request in (
                ("CompleteOrchestratorTask", pb.OrchestratorResponse(
                    instanceId="nobody", completionToken="what")),
                ("CompleteActivityTask", pb.ActivityResponse(
                    instanceId="nobody", taskId=3, completionToken="0" * 32)),
                ("CompleteEntityTask", pb.EntityBatchResult(completionToken="f" * 32)),
                ("CompleteOrchestratorTask", pb.OrchestratorResponse(instanceId="nobody")),
                ("AbandonTaskActivityWorkItem", pb.AbandonActivityTaskRequest(
                    completionToken="x")),
                ("AbandonTaskOrchestratorWorkItem", pb.AbandonOrchestrationTaskRequest()),
                ("AbandonTaskEntityWorkItem", pb.AbandonEntityTaskRequest(completionToken="y"))):
            with self.subTest(rpc):
                self.assertEqual(self.peer.code(rpc, request), "OK")

    def test_without_tokens(self):
        """Older SDKs do not send them back."""
        program = self.program([self.name], [self.name])
        instance = self.peer.begin(self.name)
        program.turn().reply(raw.schedule(0, self.name), raw.schedule(1, self.name), token="")
        for _ in range(2):
            task = program.task()
            task.reply(f'"{task.request.taskId}"', token="")
        results = {}
        while len(results) < 2:
            turn = program.turn()
            results |= {event.taskCompleted.taskScheduledId: event.taskCompleted.result.value
                        for event in turn.new if event.HasField("taskCompleted")}
            turn.reply(*([raw.complete()] if len(results) == 2 else []), token="")
        self.assertEqual(results, {0: '"0"', 1: '"1"'})
        self.peer.result(instance)

    def test_tokens_are_used_once(self):
        program = self.program([self.name], [self.name])
        instance = self.peer.begin(self.name)
        turn = program.turn()
        turn.reply(raw.schedule(0, self.name))
        turn.reply(raw.complete('"twice"'))
        task = program.task()
        task.reply('"one"')
        task.reply('"two"')
        turn = program.turn()
        self.assertEqual(turn.event("taskCompleted").result.value, '"one"')
        turn.reply(raw.complete('"end"'))
        self.assertEqual(self.peer.result(instance), '"end"')
        self.assertRegex(turn.token, r"^[0-9a-f]{32}$")


class Unserved(RpcTest):
    def waiting(self):
        view = self.sidecar.http("GET", API + "/hub")[2]
        return {(u["kind"], u["name"]): u["waiting"] for u in view["unserved"]}

    def test_what_waits_is_named(self):
        """Orchestrations and activities, until a program serves them, and when it has gone again."""
        unserved = {("orchestrator", "Nobodys"): 1, ("activity", "pay"): 2, ("activity", "ship"): 1}
        program = self.orchestrator()
        started = [self.peer.begin(self.name), self.peer.begin("Nobodys")]
        program.turn().reply(*(raw.schedule(n, name) for n, name in enumerate(("pay", "pay", "ship"))))
        until(lambda: self.waiting() == unserved, "the work to be named")
        shown = self.sidecar.cli("hub", "show").stdout
        for line in (r"pay +activity +2", r"ship +activity +1", r"Nobodys +orchestrator +1"):
            self.assertRegex(shown, line)
        self.assertRegex(self.sidecar.http("GET", "/metrics")[2],
                         r'taskhub_unserved_work{hub="TestHubName",kind="activity",function="pay"} 2')
        payer = self.program([], ["pay"])
        first, second = payer.task(), payer.task()
        self.assertEqual(self.waiting(), {k: v for k, v in unserved.items() if k[1] != "pay"})
        first.reply("1")
        payer.close()
        unserved["activity", "pay"] = 1
        until(lambda: self.waiting() == unserved, "the second one to be named again")
        for instance in started:
            self.peer.call("TerminateInstance", pb.TerminateRequest(instanceId=instance))
        until(lambda: self.waiting() == {}, "nothing to wait any more")


class Everything(RpcTest):
    def test_no_filters(self):
        program = self.program(everything=True)
        self.peer.begin(self.name)
        turn = program.turn()
        turn.reply(raw.schedule(0, "whatever"))
        program.task()
        self.peer.signal(f"@{self.entity_name}@k", "x")
        program.batch().reply(raw.success())


class Episodes(RpcTest):
    def test_what_a_first_turn_has(self):
        trace = pb.TraceContext(traceParent="00-" + "a" * 32 + "-" + "b" * 16 + "-01",
                                spanID="b" * 16, traceState=text("k=v"))
        program = self.orchestrator()
        before = time.time()
        instance = self.peer.begin(self.name, data='"in"', version=text("2"), tags={"t": "u"},
                                   parentTraceContext=trace)
        turn = program.turn()
        self.assertEqual(turn.kinds, ["orchestratorStarted", "executionStarted"])
        self.assertEqual(len(turn.past), 0)
        self.assertRegex(turn.execution, r"^[0-9a-f]{32}$")
        self.assertTrue(turn.request.HasField("entityParameters"))
        self.assertTrue(turn.request.entityParameters.HasField("entityMessageReorderWindow"))
        self.assertFalse(turn.request.requiresHistoryStreaming)
        for event in turn.new:
            self.assertLess(abs(raw.seconds(event.timestamp) - before), 30)
            self.assertEqual(event.eventId, -1)
        started = turn.event("executionStarted")
        self.assertEqual((started.name, started.version.value, started.input.value,
                          dict(started.tags)), (self.name, "2", '"in"', {"t": "u"}))
        self.assertEqual(started.orchestrationInstance.instanceId, instance)
        self.assertEqual(started.orchestrationInstance.executionId.value, turn.execution)
        self.assertFalse(started.HasField("parentInstance"))
        self.assertFalse(started.HasField("scheduledStartTimestamp"))
        self.assertEqual(started.parentTraceContext.traceParent, trace.traceParent)
        self.assertEqual(started.parentTraceContext.traceState.value, "k=v")
        turn.reply(raw.complete())

    def test_the_trace_context_comes_back(self):
        program = self.orchestrator()
        instance = self.peer.begin(self.name)
        turn = program.turn()
        self.assertFalse(turn.request.HasField("orchestrationTraceContext"))
        context = pb.OrchestrationTraceContext(spanID=text("c" * 16),
                                               spanStartTime=raw.moment(1e9 + 0.25))
        turn.reply(raw.timer(0, raw.later(NEVER)), orchestrationTraceContext=context)
        for _ in range(2):
            self.peer.tell(instance, "x")
            turn = program.turn()
            self.assertEqual(turn.request.orchestrationTraceContext, context)
            turn.reply(orchestrationTraceContext=context)
        other = pb.OrchestrationTraceContext(spanID=text("d" * 16))
        for given, kept in ((other, other), (None, other), (pb.OrchestrationTraceContext(), other)):
            self.peer.tell(instance, "x")
            program.turn().reply(orchestrationTraceContext=given)
            self.peer.tell(instance, "x")
            turn = program.turn()
            self.assertEqual(turn.request.orchestrationTraceContext, kept)
            turn.reply()
        self.peer.tell(instance, "x")
        program.turn().reply(raw.complete(how="CONTINUED_AS_NEW"), orchestrationTraceContext=context)
        turn = program.turn()
        self.assertFalse(turn.request.HasField("orchestrationTraceContext"))
        turn.reply(raw.complete(), orchestrationTraceContext=context)

    def test_a_trace_context_that_is_too_large(self):
        program = self.orchestrator()
        instance = self.peer.begin(self.name)
        with self.assertRaises(grpc.RpcError) as caught:
            program.turn().reply(orchestrationTraceContext=pb.OrchestrationTraceContext(
                spanID=text("c" * 300)))
        self.assertEqual(caught.exception.code(), grpc.StatusCode.INVALID_ARGUMENT)
        self.assertIn("orchestrationTraceContext", caught.exception.details())
        self.assertIn("limit of 256", caught.exception.details())
        self.assertEqual(self.peer.end(instance).failureDetails.errorType, "InvalidResponse")

    def test_history(self):
        """Activity, timer, child: 12 events, as the Scheduler keeps them (contracts 2.4)."""
        program = self.program([self.name], [self.name])
        instance = self.peer.begin(self.name)
        turn = program.turn()
        turn.reply(raw.schedule(0, self.name, '"a"', tags={"k": "v"}, version=text("3")))
        task = program.task()
        self.assertEqual((task.request.name, task.request.input.value, task.request.taskId,
                          dict(task.request.tags), task.request.version.value),
                         (self.name, '"a"', 0, {"k": "v"}, "3"))
        self.assertEqual(task.request.orchestrationInstance.instanceId, instance)
        self.assertEqual(task.request.orchestrationInstance.executionId.value, turn.execution)
        task.reply('"A"')
        turn = program.turn()
        self.assertEqual(turn.kinds, ["orchestratorStarted", "taskCompleted"])
        self.assertEqual(turn.event("taskCompleted").taskScheduledId, 0)
        fire_at = raw.later(SOON)
        turn.reply(raw.timer(1, fire_at))
        turn = program.turn()
        self.assertEqual(turn.kinds, ["orchestratorStarted", "timerFired"])
        fired = turn.event("timerFired")
        self.assertEqual((fired.timerId, fired.fireAt), (1, fire_at))
        self.assertGreaterEqual(raw.seconds(turn.new[0].timestamp), raw.seconds(fire_at))
        turn.reply(raw.child(2, self.name, '"c"'))
        made = program.turn()
        self.assertEqual(made.started.parentInstance.taskScheduledId, 2)
        made.reply(raw.complete('"C"'))
        turn = program.turn()
        self.assertEqual(turn.event("subOrchestrationInstanceCompleted").result.value, '"C"')
        past = kinds(turn.past)
        turn.reply(raw.complete('"end"'))
        self.peer.end(instance)
        history = self.peer.history(instance)
        self.assertEqual(kinds(history), [
            "orchestratorStarted", "executionStarted", "taskScheduled",
            "orchestratorStarted", "taskCompleted", "timerCreated",
            "orchestratorStarted", "timerFired", "subOrchestrationInstanceCreated",
            "orchestratorStarted", "subOrchestrationInstanceCompleted", "executionCompleted"])
        self.assertEqual(past, kinds(history)[:9])
        self.assertEqual([event.eventId for event in history],
                         [-1, -1, 0, -1, -1, 1, -1, -1, 2, -1, -1, -1])
        times = [raw.seconds(event.timestamp) for event in history]
        self.assertEqual(times, sorted(times))
        scheduled = history[2].taskScheduled
        self.assertEqual((scheduled.name, scheduled.input.value, dict(scheduled.tags),
                          scheduled.version.value), (self.name, '"a"', {"k": "v"}, "3"))
        self.assertEqual(history[5].timerCreated.fireAt, fire_at)
        created = history[8].subOrchestrationInstanceCreated
        self.assertEqual((created.instanceId, created.name, created.input.value),
                         (made.instance, self.name, '"c"'))
        self.assertEqual((history[-1].executionCompleted.orchestrationStatus,
                          history[-1].executionCompleted.result.value),
                         (status("COMPLETED"), '"end"'))
        self.assertEqual(self.peer.history(instance, executionId=text(turn.execution)), history)

    def test_children(self):
        program = self.orchestrator()
        instance = self.peer.begin(self.name, version=text("5"), tags={"of": "parent"})
        parent = program.turn()
        trace = pb.TraceContext(traceParent="00-" + "d" * 32 + "-" + "e" * 16 + "-01")
        parent.reply(raw.child(7, self.name, '"x"', version=text("6"), tags={"of": "child"},
                               parentTraceContext=trace))
        turn = program.turn()
        self.assertRegex(turn.instance, r"0007$")
        self.assertLessEqual(len(turn.instance), 100)
        started = turn.event("executionStarted")
        self.assertEqual((started.input.value, started.version.value, dict(started.tags)),
                         ('"x"', "6", {"of": "child"}))
        self.assertEqual(started.parentTraceContext.traceParent, trace.traceParent)
        whose = started.parentInstance
        self.assertEqual((whose.taskScheduledId, whose.name.value, whose.version.value,
                          whose.orchestrationInstance.instanceId,
                          whose.orchestrationInstance.executionId.value),
                         (7, self.name, "5", instance, parent.execution))
        self.assertEqual(self.peer.look(turn.instance).parentInstanceId.value, instance)
        details = raw.failure("My.Error", "deep", innerFailure=raw.failure("Inner", "why"))
        turn.reply(raw.fail(details))
        failed = program.turn().event("subOrchestrationInstanceFailed")
        self.assertEqual(failed.taskScheduledId, 7)
        self.assertEqual(failed.failureDetails, details)

    def test_a_child_id_is_used_again(self):
        """A retry makes the same child once more; it replaces the one that has ended."""
        program = self.orchestrator()
        parent = self.peer.begin(self.name)
        program.turn().reply(raw.child(0, self.name, instanceId=parent + "-c"))
        first = program.turn()
        first.reply(raw.fail())
        turn = program.turn()
        turn.event("subOrchestrationInstanceFailed")
        turn.reply(raw.child(1, self.name, instanceId=parent + "-c"))
        second = program.turn()
        self.assertEqual(second.instance, parent + "-c")
        self.assertNotEqual(second.execution, first.execution)
        second.reply(raw.complete('"ok"'))
        turn = program.turn()
        done = turn.event("subOrchestrationInstanceCompleted")
        self.assertEqual((done.taskScheduledId, done.result.value), (1, '"ok"'))
        turn.reply(raw.complete())

    def test_a_child_id_in_use(self):
        program = self.orchestrator()
        busy = self.peer.begin(self.name)
        program.turn().reply(raw.timer(0, raw.later(NEVER)))
        self.until_how(busy, "RUNNING")
        self.peer.begin(self.name)
        program.turn().reply(raw.child(0, self.name, instanceId=busy))
        turn = program.turn()
        failed = turn.event("subOrchestrationInstanceFailed")
        self.assertEqual(failed.taskScheduledId, 0)
        self.assertIn(busy, failed.failureDetails.errorMessage)
        self.assertEqual(self.peer.how(busy), "RUNNING")
        turn.reply(raw.complete())

    def test_the_same_task_id_again(self):
        """Python's retries use the id of the first attempt."""
        program = self.program([self.name], [self.name])
        instance = self.peer.begin(self.name)
        program.turn().reply(raw.schedule(1, self.name))
        first = program.task()
        first.reply(failureDetails=raw.failure())
        turn = program.turn()
        self.assertEqual(turn.event("taskFailed").taskScheduledId, 1)
        turn.reply(raw.schedule(1, self.name))
        second = program.task()
        first.reply('"late"')
        second.reply('"well"')
        turn = program.turn()
        self.assertEqual(turn.event("taskCompleted").result.value, '"well"')
        turn.reply(raw.complete())
        self.peer.result(instance)
        history = self.peer.history(instance)
        self.assertEqual([event.eventId for event in history if event.HasField("taskScheduled")],
                         [1, 1])

    def test_a_failed_activity(self):
        program = self.program([self.name], [self.name])
        self.peer.begin(self.name)
        program.turn().reply(raw.schedule(4, self.name))
        details = raw.failure("A.B", "c", stackTrace=text("d"), isNonRetriable=True,
                              innerFailure=raw.failure("E", "f"))
        program.task().reply(failureDetails=details)
        turn = program.turn()
        failed = turn.event("taskFailed")
        self.assertEqual((failed.taskScheduledId, failed.failureDetails), (4, details))
        turn.reply(raw.complete())

    def test_events_between_instances(self):
        program = self.orchestrator()
        target = self.peer.begin(self.name)
        program.turn().reply(raw.timer(0, raw.later(NEVER)))
        sender = self.peer.begin(self.name)
        program.turn().reply(raw.send(0, target, "hi", "1"), raw.send(1, "nobody", "lost"),
                             raw.complete())
        turn = program.turn()
        self.assertEqual(turn.instance, target)
        event = turn.event("eventRaised")
        self.assertEqual((event.name, event.input.value), ("hi", "1"))
        turn.reply(raw.complete())
        self.peer.result(sender)
        sent = [event for event in self.peer.history(sender) if event.HasField("eventSent")]
        self.assertEqual([(event.eventId, event.eventSent.instanceId, event.eventSent.name)
                          for event in sent], [(0, target, "hi"), (1, "nobody", "lost")])

    def test_continue_as_new(self):
        program = self.program([self.name], [self.name])
        parent = self.peer.begin(self.name)
        program.turn().reply(raw.child(0, self.name, '"0"', instanceId=parent + "-c",
                                       tags={"k": "v"}))
        first = program.turn()
        first.reply(raw.schedule(0, self.name))
        task = program.task()
        for name in ("a", "b"):
            self.peer.tell(first.instance, name, f'"{name}"')
        seen = []
        while len(seen) < 2:
            turn = program.turn()
            seen += [event for event in turn.new if event.HasField("eventRaised")]
            if len(seen) < 2:
                turn.reply()
        # One that comes while the turn runs is kept, too.
        self.peer.tell(first.instance, "c", '"c"')
        turn.reply(raw.complete('"1"', "CONTINUED_AS_NEW", newVersion=text("9"),
                                carryoverEvents=seen), custom='"status"')
        new = program.turn()
        raised = [event.eventRaised.name for event in new.new if event.HasField("eventRaised")]
        self.assertEqual(raised[:2], ["a", "b"])
        self.assertEqual(new.kinds[:2], ["orchestratorStarted", "executionStarted"])
        self.assertEqual(len(new.past), 0)
        self.assertNotEqual(new.execution, first.execution)
        started = new.event("executionStarted")
        self.assertEqual((started.input.value, started.version.value, dict(started.tags),
                          started.parentInstance.orchestrationInstance.instanceId),
                         ('"1"', "9", {"k": "v"}, parent))
        task.reply('"late"')  # of the old execution
        if "c" not in raised:
            new.reply()
            new = program.turn()
            self.assertEqual(new.event("eventRaised").name, "c")
        new.reply(raw.complete('"2"'))
        turn = program.turn()
        self.assertEqual(turn.event("subOrchestrationInstanceCompleted").result.value, '"2"')
        self.assertNotIn("taskCompleted", kinds(self.peer.history(first.instance)))
        self.assertEqual(self.peer.look(first.instance).executionId.value, new.execution)
        turn.reply(raw.complete())

    def test_terminated_during_a_turn(self):
        program = self.orchestrator()
        instance = self.peer.begin(self.name)
        turn = program.turn()
        self.peer.call("TerminateInstance", pb.TerminateRequest(instanceId=instance,
                                                                output=text('"now"')))
        self.assertEqual(self.peer.end(instance).output.value, '"now"')
        turn.reply(raw.complete('"late"'))
        self.assertEqual(self.peer.how(instance), "TERMINATED")

    def test_suspended_during_a_turn(self):
        program = self.program([self.name], [self.name])
        instance = self.peer.begin(self.name)
        turn = program.turn()
        self.peer.call("SuspendInstance", pb.SuspendRequest(instanceId=instance))
        turn.reply(raw.schedule(0, self.name))
        program.task().reply('"x"')
        suspended = program.items.qsize
        while self.peer.how(instance) != "SUSPENDED":
            if suspended():  # a worker is told, and may answer with nothing
                program.turn().reply()
        self.peer.call("ResumeInstance", pb.ResumeRequest(instanceId=instance))
        turn = program.turn()
        while "taskCompleted" not in turn.kinds + kinds(turn.past):
            turn.reply()
            turn = program.turn()
        turn.reply(raw.complete('"y"'))
        self.assertEqual(self.peer.result(instance), '"y"')

    def test_suspended_and_resumed_during_a_turn(self):
        program = self.orchestrator()
        instance = self.peer.begin(self.name)
        turn = program.turn()
        self.peer.call("SuspendInstance", pb.SuspendRequest(instanceId=instance))
        self.peer.call("ResumeInstance", pb.ResumeRequest(instanceId=instance))
        self.peer.tell(instance, "go")
        turn.reply()
        turn = program.turn()
        while "eventRaised" not in turn.kinds:
            turn.reply()
            turn = program.turn()
        turn.reply(raw.complete())
        self.peer.result(instance)

    def test_a_first_turn_that_takes_long(self):
        """Everybody sees the instance meanwhile."""
        program = self.orchestrator()
        instance = self.peer.begin(self.name, data='"in"')
        turn = program.turn()
        state = self.peer.look(instance)
        self.assertEqual((state.orchestrationStatus, state.name, state.input.value),
                         (status("PENDING"), self.name, '"in"'))
        answer = self.peer.call("QueryInstances", pb.QueryInstancesRequest(query=pb.InstanceQuery(
            instanceIdPrefix=text(instance))))
        self.assertEqual(len(answer.orchestrationState), 1)
        self.assertEqual(self.peer.history(instance), [])
        turn.reply(raw.complete())
        self.peer.result(instance)

    def test_a_program_that_does_not_answer(self):
        """Clients are answered all the same."""
        program = self.orchestrator()
        self.peer.begin(self.name, "slow")
        turn = program.turn()
        for rpc, request, code in (
                ("StartInstance", pb.CreateInstanceRequest(instanceId="slow", name=self.name),
                 "ALREADY_EXISTS"),
                ("RaiseEvent", pb.RaiseEventRequest(instanceId="slow", name="x"), "OK"),
                ("SuspendInstance", pb.SuspendRequest(instanceId="slow"), "OK"),
                ("ResumeInstance", pb.ResumeRequest(instanceId="slow"), "OK"),
                ("RewindInstance", pb.RewindInstanceRequest(instanceId="slow"),
                 "FAILED_PRECONDITION"),
                ("RestartInstance", pb.RestartInstanceRequest(instanceId="slow"),
                 "FAILED_PRECONDITION"),
                ("PurgeInstances", pb.PurgeInstancesRequest(instanceId="slow"), "OK")):
            with self.subTest(rpc):
                self.assertEqual(self.peer.code(rpc, request, 10), code)
        turn.reply()
        turn = program.turn()
        while "eventRaised" not in turn.kinds:
            turn.reply()
            turn = program.turn()
        turn.reply(raw.complete())
        self.peer.result("slow")

    def test_an_answer_in_parts(self):
        program = self.program([self.name], [self.name])
        instance = self.peer.begin(self.name)
        turn = program.turn()
        for part in range(3):
            turn.reply(*(raw.schedule(part * 2 + n, self.name, LARGE) for n in range(2)),
                       custom='"s"', isPartial=part < 2, chunkIndex=raw.Int32Value(value=part),
                       numEventsProcessed=None if part == 0 else raw.Int32Value(value=0))
        ids = {program.task().request.taskId for _ in range(6)}
        self.assertEqual(ids, set(range(6)))
        self.assertEqual(self.peer.look(instance).customStatus.value, '"s"')

    def test_parts_of_a_broken_stream_are_forgotten(self):
        first = self.orchestrator()
        self.peer.begin(self.name)
        turn = first.turn()
        turn.reply(raw.schedule(0, self.name), isPartial=True)
        first.break_off()
        second = self.program([self.name], [self.name])
        second.turn().reply(raw.schedule(1, self.name))
        self.assertEqual(second.task().request.taskId, 1)
        self.assertTrue(second.idle())

    def test_history_on_request(self):
        program = self.orchestrator()
        instance = self.peer.begin(self.name)
        program.turn().reply(raw.timer(0, raw.later(NEVER)))
        self.peer.tell(instance, "x")
        turn = program.turn()
        turn.reply(requiresHistory=True)
        again = program.turn()
        self.assertEqual(kinds(again.past), ["orchestratorStarted", "executionStarted",
                                             "timerCreated"])
        again.reply(raw.complete())
        self.peer.result(instance)

    def test_a_history_that_is_streamed(self):
        program = self.orchestrator(capabilities=[pb.WORKER_CAPABILITY_HISTORY_STREAMING])
        plain = self.program([self.name + "_plain"])
        for who, streams in ((program, True), (plain, False)):
            name = self.name if streams else self.name + "_plain"
            instance = self.peer.begin(name, data=LARGE)
            turn = who.turn()
            self.assertFalse(turn.request.requiresHistoryStreaming and turn.past)
            turn.reply(*(raw.send(n, "nobody", "x", LARGE) for n in range(2)))
            self.peer.tell(instance, "go")
            turn = who.turn()
            self.assertEqual(turn.request.requiresHistoryStreaming, streams)
            past = turn.past
            if streams:
                self.assertEqual(len(turn.past), 0)
                past = self.peer.history(instance, executionId=text(turn.execution),
                                         forWorkItemProcessing=True)
            self.assertEqual(kinds(past), ["orchestratorStarted", "executionStarted", "eventSent",
                                           "eventSent"])
            self.assertEqual(turn.kinds, ["orchestratorStarted", "eventRaised"])
            turn.reply(raw.complete())
            self.peer.result(instance)

    def test_a_history_comes_in_chunks(self):
        program = self.orchestrator()
        instance = self.run_to(program, *(raw.send(n, "nobody", "x") for n in range(350)),
                               raw.complete())
        sizes = [len(chunk.events) for chunk in self.peer.call(
            "StreamInstanceHistory", pb.StreamInstanceHistoryRequest(instanceId=instance))]
        self.assertEqual(sum(sizes), 353)
        self.assertLessEqual(max(sizes), 100)

    def test_actions_that_cannot_be(self):
        program = self.orchestrator()
        for actions, words in (([raw.schedule(0, "")], "scheduleTask"),
                               ([pb.OrchestratorAction(id=3)], "unknown"),
                               ([raw.complete(how="RUNNING")], "orchestrationStatus"),
                               ([pb.OrchestratorAction(id=4, createTimer=pb.CreateTimerAction())],
                                "fireAt"),
                               ([raw.child(0, self.name, instanceId="@no@entity")], "instanceId")):
            with self.subTest(words):
                instance = self.peer.begin(self.name)
                with self.told("INVALID_ARGUMENT"):
                    program.turn().reply(*actions)
                state = self.peer.end(instance)
                self.assertEqual(state.orchestrationStatus, status("FAILED"))
                self.assertEqual(state.failureDetails.errorType, "InvalidResponse")
                self.assertIn(words, state.failureDetails.errorMessage)

    def test_terminate_another(self):
        program = self.orchestrator()
        target = self.peer.begin(self.name)
        program.turn().reply(raw.timer(0, raw.later(NEVER)))
        self.until_how(target, "RUNNING")
        self.peer.begin(self.name)
        program.turn().reply(pb.OrchestratorAction(
            id=0, terminateOrchestration=pb.TerminateOrchestrationAction(
                instanceId=target, reason=text('"r"'))), raw.complete())
        state = self.peer.end(target)
        self.assertEqual((state.orchestrationStatus, state.output.value),
                         (status("TERMINATED"), '"r"'))


class Entities(RpcTest):
    def setUp(self):
        super().setUp()
        self.entity = f"@{self.entity_name}@k"

    def both(self, **more):
        return self.program([self.name], entities=[self.entity_name], **more)

    def test_calls(self):
        program = self.both()
        instance = self.peer.begin(self.name)
        turn = program.turn()
        turn.reply(raw.call_entity(0, self.entity, "get", "1", "req-1"),
                   raw.call_entity(1, self.entity, "bad", "2", "req-2"))
        batch = program.batch()
        while len(batch.operations) < 2:
            batch.reply()  # nothing done: all come again
            batch = program.batch()
        self.assertEqual(batch.names, ["get", "bad"])
        called = batch.operations[0]
        self.assertEqual((called.requestId, called.input.value, called.parentInstanceId.value),
                         ("req-1", "1", instance))
        details = raw.failure("X", "y")
        infos = [pb.OperationInfo(requestId=o.requestId,
                                  responseDestination=pb.OrchestrationInstance(instanceId=instance))
                 for o in batch.operations]
        batch.reply(raw.success('"got"'),
                    pb.OperationResult(failure=pb.OperationResultFailure(failureDetails=details)),
                    state='"s"', operationInfos=infos)
        answers = []
        while len(answers) < 2:
            turn = program.turn()
            answers += [event for event in turn.new if event.WhichOneof("eventType").startswith("entity")]
            if len(answers) < 2:
                turn.reply()
        self.assertEqual((answers[0].entityOperationCompleted.requestId,
                          answers[0].entityOperationCompleted.output.value), ("req-1", '"got"'))
        self.assertEqual((answers[1].entityOperationFailed.requestId,
                          answers[1].entityOperationFailed.failureDetails), ("req-2", details))
        turn.reply(raw.complete())
        self.peer.result(instance)
        self.assertIn("entityOperationCalled", kinds(self.peer.history(instance)))

    def test_operations_left_come_again(self):
        program = self.both()
        self.peer.begin(self.name)
        program.turn().reply(*(raw.signal_entity(n, self.entity, f"o{n}") for n in range(5)),
                             raw.complete())
        seen = []
        while len(seen) < 5:
            batch = program.batch()
            seen.append(batch.names[0])
            batch.reply(raw.success(), state=f'"{len(seen)}"')  # one of them
        self.assertEqual(seen, [f"o{n}" for n in range(5)])  # in order
        self.peer.signal(self.entity, "last")
        batch = program.batch()
        self.assertEqual((batch.names, batch.state), (["last"], '"5"'))
        batch.reply(raw.success(), state="0")

    def test_a_batch_fails(self):
        """Nothing of it is kept; who called is told."""
        program = self.both()
        self.peer.signal(self.entity, "set")
        program.batch().reply(raw.success(), state='"before"')
        instance = self.peer.begin(self.name)
        program.turn().reply(raw.call_entity(0, self.entity, "boom", request="r"))
        batch = program.batch()
        batch.reply(state='"after"', failureDetails=raw.failure("Batch", "all"), actions=[
            pb.OperationAction(id=0, sendSignal=pb.SendSignalAction(
                instanceId=f"@{self.entity_name}@other", name="x"))])
        turn = program.turn()
        failed = turn.event("entityOperationFailed")
        self.assertEqual((failed.requestId, failed.failureDetails.errorType), ("r", "Batch"))
        self.assertEqual(self.peer.entity(self.entity).serializedState.value, '"before"')
        turn.reply(raw.complete())
        self.peer.result(instance)
        self.peer.signal(self.entity, "after")
        batch = program.batch()
        self.assertEqual((batch.request.instanceId, batch.state), (self.entity, '"before"'))
        batch.reply(raw.success(), state="1")

    def test_too_many_results(self):
        program = self.both()
        instance = self.peer.begin(self.name)
        program.turn().reply(raw.call_entity(0, self.entity, "x", request="r"))
        with self.told("INVALID_ARGUMENT"):
            program.batch().reply(raw.success(), raw.success(), state="1")
        turn = program.turn()
        self.assertIn("results", turn.event("entityOperationFailed").failureDetails.errorMessage)
        turn.reply(raw.complete())
        self.peer.result(instance)
        self.assertIsNone(self.peer.entity(self.entity))

    def test_what_an_entity_asks_for(self):
        program = self.both()
        other = f"@{self.entity_name}@other"
        due = time.time() + SOON
        self.peer.signal(self.entity, "go")
        program.batch().reply(raw.success(), state="1", actions=[
            pb.OperationAction(id=0, sendSignal=pb.SendSignalAction(
                instanceId=other, name="late", scheduledTime=raw.moment(due))),
            pb.OperationAction(id=1, sendSignal=pb.SendSignalAction(
                instanceId=other, name="soon", input=text("7"))),
            pb.OperationAction(id=2, startNewOrchestration=pb.StartNewOrchestrationAction(
                instanceId=self.name + "-started", name=self.name, input=text('"i"'),
                version=text("4")))])
        items = [program.take() for _ in range(2)]
        batch, = (item for item in items if isinstance(item, raw.Batch))
        turn, = (item for item in items if isinstance(item, raw.Turn))
        self.assertEqual((batch.request.instanceId, batch.names, batch.operations[0].input.value),
                         (other, ["soon"], "7"))
        batch.reply(raw.success(), state="2")
        self.assertEqual((turn.instance, turn.started.input.value, turn.started.version.value),
                         (self.name + "-started", '"i"', "4"))
        self.assertFalse(turn.started.HasField("parentInstance"))
        turn.reply(raw.complete())
        batch = program.batch()
        self.assertGreaterEqual(time.time(), due - 0.001)
        self.assertEqual(batch.names, ["late"])
        batch.reply(raw.success(), state="3")

    def test_a_signal_later_from_an_orchestration(self):
        program = self.both()
        due = time.time() + SOON
        self.peer.begin(self.name)
        program.turn().reply(
            raw.signal_entity(0, self.entity, "late", scheduledTime=raw.moment(due)),
            raw.signal_entity(1, self.entity, "soon"), raw.complete())
        batch = program.batch()
        self.assertEqual(batch.names, ["soon"])
        batch.reply(raw.success(), state="1")
        self.assertEqual(program.batch().names, ["late"])
        self.assertGreaterEqual(time.time(), due - 0.001)

    def locked(self, program, entities, section):
        """An orchestration that holds them; its id and its turn."""
        instance = self.peer.begin(self.name)
        program.turn().reply(raw.lock(0, section, entities, instance))
        return instance

    def test_locks(self):
        program = self.both()
        entities = [f"@{self.entity_name}@a", f"@{self.entity_name}@b"]
        section = str(uuid.uuid4())
        for entity in entities:
            self.peer.signal(entity, "set")
            program.batch().reply(raw.success(), state='"s"')
        owner = self.locked(program, entities, section)
        turn = program.turn()
        self.assertEqual(turn.event("entityLockGranted").criticalSectionId, section)
        for entity in entities:
            self.assertEqual(self.peer.entity(entity).lockedBy.value, owner)
        self.peer.signal(entities[0], "waits")
        other = self.locked(program, entities[:1], "other-section")
        turn.reply(raw.call_entity(1, entities[0], "mine"))
        batch = program.batch()
        self.assertEqual(batch.names, ["mine"])  # of the owner alone
        batch.reply(raw.success("1"), state='"t"')
        turn = program.turn()
        turn.event("entityOperationCompleted")
        turn.reply(raw.unlock(2, section, entities[0], owner))
        seen = []
        while "entityLockGranted" not in seen or "waits" not in seen:
            item = program.take()
            if isinstance(item, raw.Batch):
                seen += item.names
                item.reply(*(raw.success() for _ in item.names), state='"u"')
            else:
                self.assertEqual(item.instance, other)
                seen += item.kinds
                item.reply(raw.complete())  # and forgets to unlock
        until(lambda: not self.peer.entity(entities[0]).HasField("lockedBy"), "the release")
        self.assertEqual(self.peer.entity(entities[1]).lockedBy.value, owner)
        self.peer.call("TerminateInstance", pb.TerminateRequest(instanceId=owner))
        until(lambda: not self.peer.entity(entities[1]).HasField("lockedBy"), "the release")

    def test_unlocks_with_the_end(self):
        """SDKs emit them in the same answer, also before continue-as-new."""
        program = self.both()
        section = str(uuid.uuid4())
        self.peer.signal(self.entity, "set")
        program.batch().reply(raw.success(), state='"s"')
        owner = self.locked(program, [self.entity], section)
        program.turn().reply(raw.unlock(1, section, self.entity, owner),
                             raw.complete('"n"', "CONTINUED_AS_NEW"))
        turn = program.turn()
        self.assertEqual(turn.started.input.value, '"n"')
        until(lambda: not self.peer.entity(self.entity).HasField("lockedBy"), "the release")
        turn.reply(raw.complete())

    def test_state_on_request(self):
        program = self.both()
        self.peer.signal(self.entity, "set")
        program.batch().reply(requiresState=True)
        program.batch().reply(raw.success(), state='"s"')
        until(lambda: self.peer.entity(self.entity), "the entity")


if __name__ == "__main__":
    unittest.main(verbosity=2)

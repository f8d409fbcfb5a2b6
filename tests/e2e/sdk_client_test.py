"""What a client of the Durable Task SDKs can ask for, call by call: with the Python SDK here, with
the JavaScript SDK in sdk/calls.js.
"""
import datetime
import os
import subprocess
import unittest

from sdk.case import SdkTest
from sdk.languages import language
import grpc
from durabletask.client import EntityQuery, OrchestrationQuery, OrchestrationStatus as Status
from durabletask.entities import EntityInstanceId
from harness import PATIENCE, until

HERE = os.path.dirname(os.path.abspath(__file__))
UTC = datetime.timezone.utc


class Calls(SdkTest):
    def setUp(self):
        super().setUp()
        python = language("python")
        self.program(python, python.run(os.path.join(HERE, "sdk", "trouble.py")))
        self.client = self.connect()

    def order(self, **more):
        return {"ledger": os.path.join(self.directory, "ledger"),
                "gate": os.path.join(self.directory, "gate"), "what": "it", **more}

    def open_gate(self):
        with open(os.path.join(self.directory, "gate"), "w", encoding="ascii"):
            pass

    def status(self, instance):
        state = self.client.get_orchestration_state(instance)
        return state.runtime_status if state else None

    def reaches(self, instance, status):
        until(lambda: self.status(instance) == status, f"{instance} to be {status}")

    def end(self, instance):
        return self.client.wait_for_orchestration_completion(instance, timeout=int(PATIENCE))

    def refused(self, code, call, *args, **more):
        with self.assertRaises(grpc.RpcError) as caught:
            call(*args, **more)
        self.assertEqual(caught.exception.code(), code, caught.exception)

    # ---- starting ----

    def test_state(self):
        before = datetime.datetime.now(UTC)
        data = {"text": "ä€𝄞\"\\\n", "list": [1, 2.5, None, True], "empty": {}}
        instance = self.client.schedule_new_orchestration(
            "echo", input=data, instance_id="an id with %2F&=+", tags={"for": "Anna"}, version="1.2")
        self.assertEqual(instance, "an id with %2F&=+")
        end = self.end(instance)
        self.assertEqual((end.runtime_status, end.name, end.instance_id),
                         (Status.COMPLETED, "echo", instance))
        self.assertEqual((end.get_input(), end.get_output()), (data, data))
        self.assertEqual(end.get_custom_status(), {"version": "1.2"})
        self.assertIsNone(end.failure_details)
        created = end.created_at.replace(tzinfo=end.created_at.tzinfo or UTC)
        self.assertLess(abs((created - before).total_seconds()), 60)
        without = self.client.get_orchestration_state(instance, fetch_payloads=False)
        self.assertIsNone(without.serialized_input)
        self.assertIsNone(without.serialized_output)

    def test_any_id(self):
        for instance in ("orders/42", "a\\b", "what?", "#1", "../x", "注文"):
            with self.subTest(instance):
                child = instance + "/child"
                self.assertEqual(self.client.schedule_new_orchestration(
                    "parent", input={"child": "echo", "input": 1, "id": child},
                    instance_id=instance), instance)
                self.assertEqual(self.output(instance), 1)
                self.assertEqual(self.output(child), 1)
                for each in (instance, child):
                    purged = self.client.purge_orchestration(each, recursive=False)
                    self.assertEqual(purged.deleted_instance_count, 1)

    def test_large_payload(self):
        data = "x" * 1000000
        self.assertEqual(self.output(self.begin("echo", data)), data)

    def test_id_taken(self):
        first = self.client.schedule_new_orchestration("tally", input=0, instance_id="mine")
        self.refused(grpc.StatusCode.ALREADY_EXISTS, self.client.schedule_new_orchestration,
                     "echo", instance_id=first)
        self.client.raise_orchestration_event(first, "amount")
        self.assertEqual(self.output(first), 0)

    def test_unknown(self):
        self.assertIsNone(self.client.get_orchestration_state("nobody"))
        self.assertEqual(self.client.purge_orchestration("nobody").deleted_instance_count, 0)
        self.assertIsNone(self.client.get_entity(EntityInstanceId("sum", "nobody")))
        for call in (self.client.suspend_orchestration, self.client.resume_orchestration,
                     self.client.rewind_orchestration, self.client.restart_orchestration,
                     self.client.get_orchestration_history):
            with self.subTest(call=call.__name__):
                self.refused(grpc.StatusCode.NOT_FOUND, call, "nobody")

    def test_start_later(self):
        due = datetime.datetime.now(UTC) + datetime.timedelta(seconds=2)
        instance = self.client.schedule_new_orchestration("echo", input=1, start_at=due)
        if self.sidecar.is_taskhub:  # the stand-in does not wait
            self.assertEqual(self.status(instance), Status.PENDING)
        self.assertEqual(self.output(instance), 1)
        if self.sidecar.is_taskhub:
            self.assertGreaterEqual(datetime.datetime.now(UTC), due)

    def test_wait_has_an_end(self):
        instance = self.begin("tally", 0)
        self.reaches(instance, Status.RUNNING)
        state = self.client.wait_for_orchestration_start(instance, timeout=int(PATIENCE))
        self.assertEqual(state.runtime_status, Status.RUNNING)
        with self.assertRaises(TimeoutError):
            self.client.wait_for_orchestration_completion(instance, timeout=1)

    # ---- steering ----

    def test_suspend_and_resume(self):
        instance = self.begin("tally", 0)
        self.reaches(instance, Status.RUNNING)
        self.client.suspend_orchestration(instance, reason="lunch")
        self.reaches(instance, Status.SUSPENDED)
        self.client.raise_orchestration_event(instance, "amount", data=5)
        self.client.raise_orchestration_event(instance, "amount")
        self.assertEqual(self.status(instance), Status.SUSPENDED)
        self.client.resume_orchestration(instance)
        self.assertEqual(self.output(instance), 5)

    def test_terminate(self):
        instance = self.begin("tally", 0)
        self.reaches(instance, Status.RUNNING)
        self.client.terminate_orchestration(instance, output={"why": "not"})
        end = self.end(instance)
        self.assertEqual((end.runtime_status, end.get_output()), (Status.TERMINATED, {"why": "not"}))
        # It has ended: nothing more happens to it.
        self.client.raise_orchestration_event(instance, "amount", data=1)
        self.client.terminate_orchestration(instance, output="again")
        self.assertEqual(self.end(instance).get_output(), {"why": "not"})

    def test_terminate_with_children(self):
        if not self.sidecar.is_taskhub:
            self.skipTest("the stand-in does not reach children")
        instance = self.begin("parent", {"child": "tally", "input": 0, "id": "the-child"})
        self.reaches("the-child", Status.RUNNING)
        self.client.terminate_orchestration(instance, recursive=True)
        self.assertEqual(self.end(instance).runtime_status, Status.TERMINATED)
        self.reaches("the-child", Status.TERMINATED)

    def test_failure_and_rewind(self):
        instance = self.begin("finder", self.order())
        end = self.end(instance)
        self.assertEqual(end.runtime_status, Status.FAILED)
        self.assertIn("gate", end.failure_details.message)
        self.open_gate()
        self.client.rewind_orchestration(instance, reason="it is there now")
        until(lambda: self.status(instance) == Status.COMPLETED, "the second attempt")
        self.assertEqual(self.output(instance), "found")
        # What had succeeded was not done again.
        with open(self.order()["ledger"], encoding="utf-8") as ledger:
            self.assertEqual(len(ledger.readlines()), 1)
        self.refused(grpc.StatusCode.FAILED_PRECONDITION, self.client.rewind_orchestration, instance)

    def test_failure_of_a_child(self):
        instance = self.begin("parent", {"child": "finder", "input": self.order(), "id": "child"})
        end = self.end(instance)
        self.assertEqual(end.runtime_status, Status.FAILED)
        self.assertEqual(self.status("child"), Status.FAILED)
        self.assertIn("gate", end.failure_details.message)

    def test_restart(self):
        first = self.begin("echo", "again")
        self.assertEqual(self.output(first), "again")
        second = self.client.restart_orchestration(first, restart_with_new_instance_id=True)
        self.assertNotEqual(second, first)
        self.assertEqual(self.output(second), "again")
        self.assertEqual(self.client.restart_orchestration(first), first)
        self.assertEqual(self.output(first), "again")

    # ---- looking ----

    def test_query(self):
        before = datetime.datetime.now(UTC)
        done = sorted(self.client.schedule_new_orchestration("echo", instance_id=f"done-{i}")
                      for i in range(25))
        waiting = [self.client.schedule_new_orchestration("tally", instance_id=f"waits-{i}")
                   for i in range(3)]
        self.client.signal_entity(EntityInstanceId("sum", "it"), "add", 1)
        for instance in done:
            self.end(instance)
        for instance in waiting:
            self.reaches(instance, Status.RUNNING)

        def ids(**query):
            return sorted(state.instance_id for state in
                          self.client.get_all_orchestration_states(OrchestrationQuery(**query)))
        self.assertEqual(ids(), sorted(done + waiting))  # and no entity
        self.assertEqual(ids(max_instance_count=4), sorted(done + waiting))  # page by page
        self.assertEqual(ids(runtime_status=[Status.COMPLETED]), done)
        self.assertEqual(ids(runtime_status=[Status.RUNNING]), waiting)
        self.assertEqual(ids(runtime_status=[Status.FAILED]), [])
        self.assertEqual(ids(instance_id_prefix="waits-"), waiting)
        self.assertEqual(ids(created_time_to=before), [])
        self.assertEqual(ids(created_time_from=before - datetime.timedelta(seconds=1)),
                         sorted(done + waiting))
        listed, token = [], None
        while True:
            page = self.client.list_instance_ids(page_size=10, continuation_token=token)
            listed += page.items
            token = page.continuation_token
            if not token:
                break
        self.assertEqual(sorted(listed), done)

    def test_query_of_large_payloads(self):
        # All in one message would be more than this client takes.
        data = "x" * 1000000
        instances = [self.client.schedule_new_orchestration("echo", input=data, instance_id=f"big-{i}")
                     for i in range(6)]
        for instance in instances:
            self.end(instance)
        found = self.client.get_all_orchestration_states(
            OrchestrationQuery(instance_id_prefix="big-", fetch_inputs_and_outputs=True))
        self.assertEqual([state.instance_id for state in found], instances)
        self.assertEqual([state.get_output() for state in found], [data] * 6)

    def test_purge(self):
        ended = [self.begin("echo", i) for i in range(3)]
        for instance in ended:
            self.end(instance)
        waiting = self.begin("tally", 0)
        self.reaches(waiting, Status.RUNNING)
        self.assertEqual(self.client.purge_orchestration(waiting).deleted_instance_count, 0)
        self.assertEqual(self.client.purge_orchestration(ended[0]).deleted_instance_count, 1)
        self.assertIsNone(self.client.get_orchestration_state(ended[0]))
        purged = self.client.purge_orchestrations_by(runtime_status=[Status.COMPLETED])
        self.assertEqual(purged.deleted_instance_count, 2)
        self.assertIsNone(self.client.get_orchestration_state(ended[1]))
        self.assertEqual(self.status(waiting), Status.RUNNING)

    def test_history(self):
        instance = self.begin("finder", self.order())
        self.end(instance)
        names = [type(event).__name__.removesuffix("Event")
                 for event in self.client.get_orchestration_history(instance)]
        # Some servers mark the end of each episode, too.
        self.assertEqual([name for name in names if name != "OrchestratorCompleted"],
                         ["OrchestratorStarted", "ExecutionStarted", "TaskScheduled",
                          "OrchestratorStarted", "TaskCompleted", "TaskScheduled",
                          "OrchestratorStarted", "TaskFailed", "ExecutionCompleted"])

    # ---- entities ----

    def test_entities(self):
        for key, amounts in (("a", (1, 2)), ("b", (10,))):
            for amount in amounts:
                self.client.signal_entity(EntityInstanceId("sum", key), "add", amount)

        def states():
            found = self.client.get_all_entities(EntityQuery(instance_id_starts_with="@sum@"))
            return {entity.id.key: entity.get_typed_state(int) for entity in found}
        until(lambda: states() == {"a": 3, "b": 10}, "three signals")
        self.client.signal_entity(
            EntityInstanceId("sum", "a"), "add", 100,
            signal_time=datetime.datetime.now(UTC) + datetime.timedelta(seconds=1))
        until(lambda: states()["a"] == 103, "the signal for later")
        self.client.clean_entity_storage()
        self.assertEqual(states(), {"a": 103, "b": 10})


class JavaScript(SdkTest):
    def test_calls(self):
        speaks = language("javascript")
        self.program(speaks, speaks.run(os.path.join(HERE, "sdk", "trouble.js")))
        result = subprocess.run(
            speaks.run(os.path.join(HERE, "sdk", "calls.js"), self.directory,
                       "taskhub" if self.sidecar.is_taskhub else "stand-in"),
            capture_output=True, text=True, timeout=2 * PATIENCE,
            env={**os.environ, **speaks.environment, "TASKHUB_RPC": self.sidecar.endpoint})
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        self.assertIn("all as promised", result.stdout)


if __name__ == "__main__":
    unittest.main(verbosity=2)

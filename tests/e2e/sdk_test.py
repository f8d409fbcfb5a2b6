"""Workers and clients of the Durable Task SDKs, as their registries publish them: the examples of
examples/sdk, and workers that are killed, or cut off, at bad moments.

What workers connect to: sdk/sidecar.py. The calls of clients: sdk_client_test.py.
"""
import collections
import json
import os
import re
import signal
import subprocess
import unittest

from sdk.case import SdkTest
from sdk.languages import example, language
from sdk.sidecar import Proxy
from durabletask.client import OrchestrationStatus
from durabletask.entities import EntityInstanceId
from harness import PATIENCE, until

HERE = os.path.dirname(os.path.abspath(__file__))


# ---- the examples ----

class Examples(SdkTest):
    """A language's worker."""
    speaks = None
    exit_code = 0  # of a worker that is asked to end
    zero = 0  # as a result

    @classmethod
    def setUpClass(cls):
        if not cls.speaks:
            raise unittest.SkipTest("only its subclasses have a language")

    def setUp(self):
        super().setUp()
        self.language = language(self.speaks)
        self.worker = self.program(self.language, self.language.worker())
        self.client = self.connect()

    def outcome(self, name, data=None):
        return self.output(self.begin(name, data))

    # A language's own client.

    def said(self, speaks, *args):
        """The last line that it prints."""
        try:
            result = subprocess.run(
                speaks.client(*args), capture_output=True, text=True, timeout=2 * PATIENCE,
                env={**os.environ, **speaks.environment, "TASKHUB_RPC": self.sidecar.endpoint})
        except subprocess.TimeoutExpired as late:
            self.fail(f"{args} did not end: {late.stdout}\n{late.stderr}")
        self.assertEqual(result.returncode, 0, f"{args}: {result.stdout}\n{result.stderr}")
        return result.stdout.strip().rsplit("\n", 1)[-1]

    def said_at_the_end(self, speaks, instance):
        return json.loads(self.said(speaks, "wait", instance))


class Common(Examples):
    """What every language has."""

    def test_one_after_the_other(self):
        self.assertEqual(self.outcome("hello_cities"),
                         ["Hello Tokyo!", "Hello Seattle!", "Hello London!"])
        self.assertEqual(self.outcome("hello_cities", ["Århus"]), ["Hello Århus!"])
        self.assertEqual(self.worker.stop(), self.exit_code)

    def test_many_at_the_same_time(self):
        self.assertEqual(self.outcome("fan_out", ["a b", "c", "d e f"]), 6)
        self.assertEqual(self.outcome("fan_out", ["some words"] * 100), 200)
        self.assertEqual(self.outcome("fan_out", []), self.zero)

    def test_event_or_timeout(self):
        request = {"what": "a trip", "seconds": 600}
        self.assertEqual(self.outcome("approval", {**request, "seconds": 0.2}), "nobody answered")
        for decision, outcome in ((True, "approved"), (False, "refused")):
            early, late = self.begin("approval", request), self.begin("approval", request)
            self.client.raise_orchestration_event(early, "decision", data=decision)
            until(lambda: self.client.get_orchestration_state(late).runtime_status ==
                  OrchestrationStatus.RUNNING, "the wait for a decision")
            self.client.raise_orchestration_event(late, "decision", data=decision)
            self.assertEqual(self.output(early), outcome)
            self.assertEqual(self.output(late), outcome)

    def test_own_client(self):
        instance = self.said(self.language, "start", "approval",
                             json.dumps({"what": "a trip", "seconds": 600}), "its-own-id")
        self.assertEqual(instance, "its-own-id")
        self.said(self.language, "raise", instance, "decision", "true")
        self.assertEqual(self.said_at_the_end(self.language, instance),
                         {"status": "COMPLETED", "output": "approved"})
        instance = self.said(self.language, "start", "fan_out", '["a b", "c"]')
        self.assertEqual(self.said_at_the_end(self.language, instance),
                         {"status": "COMPLETED", "output": 3})


class WithEntities(Common):
    """What the SDKs have that are developed along with the hosted scheduler."""

    def test_retries(self):
        self.assertEqual(self.outcome("retries", 0), 1)
        self.assertEqual(self.outcome("retries", 3), 4)
        self.assertEqual(self.outcome("retries", 4), "gave up: no luck, call 4")

    def test_continue_as_new(self):
        instance = self.begin("tally", 0)
        for amount in range(1, 51):
            self.client.raise_orchestration_event(instance, "amount", data=amount)
        self.client.raise_orchestration_event(instance, "amount")
        self.assertEqual(self.output(instance), 1275)

    def test_orchestrations_of_orchestrations(self):
        self.assertEqual(
            self.outcome("hello_countries", {"Norway": ["Oslo", "Bergen"], "Japan": ["Kyoto"]}),
            {"Norway": ["Hello Oslo!", "Hello Bergen!"], "Japan": ["Hello Kyoto!"]})

    def test_entity(self):
        self.assertEqual(self.outcome("count_up", {"key": "shop", "times": 3}), 3)
        self.said(self.language, "signal", "counter", "shop", "add", "4")
        until(lambda: self.said(self.language, "entity", "counter", "shop") == "7", "the signal")
        self.said(self.language, "signal", "counter", "shop", "reset")
        until(lambda: self.said(self.language, "entity", "counter", "shop") == "0", "the reset")
        self.assertEqual(self.said(self.language, "entity", "counter", "another"), "null")


class Python(WithEntities):
    speaks = "python"

    def test_any_client(self):
        """Every language's client starts what this worker serves."""
        for name in ("javascript", "go", "java", "dapr-javascript"):
            with self.subTest(client=name):
                speaks = language(name)
                instance = self.said(speaks, "start", "hello_cities", '["Oslo"]')
                self.assertEqual(self.said_at_the_end(speaks, instance),
                                 {"status": "COMPLETED", "output": ["Hello Oslo!"]})

    def test_two_languages(self):
        """An orchestrator in Python, one of its activities in JavaScript."""
        script = language("javascript")
        order = {"customer": "Anna", "currency": "EUR", "language": "de",
                 "lines": [{"price": 1200.5, "count": 2}]}
        self.program(self.language, self.language.run(example("python", "orders.py")))
        instance = self.begin("invoice", order)
        until(lambda: self.completions(instance) == 1, "the part in Python")
        self.program(script, script.run(example("javascript", "prices.js")))
        self.assertEqual(self.output(instance), "Anna: 2.401,00\u00a0€")


class JavaScript(WithEntities):
    speaks = "javascript"


class Go(Common):
    speaks = "go"


class Java(Common):
    speaks = "java"
    exit_code = 128 + signal.SIGTERM  # of every Java program without a handler


class DaprJavaScript(Common):
    speaks = "dapr-javascript"
    zero = None  # the SDK sends no result that is false


# ---- the documentation ----

class Documentation(SdkTest):
    def test_first_workflows(self):
        """The program in each page of docs/sdk does what the page says."""
        files = {"python": "hello.py", "javascript": "hello.js", "dapr-javascript": "hello.js",
                 "go": "hello.go", "java": "Hello.java"}
        for name, file in files.items():
            with self.subTest(page=name):
                page = os.path.join(HERE, "..", "..", "docs", "sdk", name + ".md")
                with open(page, encoding="utf-8") as text:
                    programs = re.findall(r"^```\w+\n(.*?)^```$", text.read(), re.M | re.S)
                self.assertEqual(len(programs), 1)
                folder = os.path.join(self.directory, name)
                os.mkdir(folder)
                with open(os.path.join(folder, file), "w", encoding="utf-8") as source:
                    source.write(programs[0])
                speaks = language(name)
                result = subprocess.run(
                    speaks.documented(folder, file), capture_output=True, text=True,
                    timeout=2 * PATIENCE, cwd=folder,
                    env={**os.environ, **speaks.environment, "TASKHUB_RPC": self.sidecar.endpoint})
                said = result.stdout.replace("'", '"').replace(", ", ",").splitlines()
                self.assertIn('["Hello Tokyo!","Hello Seattle!","Hello London!"]', said,
                              result.stderr)
                self.assertEqual(result.returncode, 0, result.stderr)


# ---- workers that end at bad moments ----

class Trouble(SdkTest):
    """Workers of sdk/trouble.py or .js; each appends to a ledger what it does."""
    speaks = None
    file = None
    gated_operation = None

    @classmethod
    def setUpClass(cls):
        if not cls.speaks:
            raise unittest.SkipTest("only its subclasses have a language")

    def setUp(self):
        super().setUp()
        self.language = language(self.speaks)
        self.ledger = os.path.join(self.directory, "ledger")
        self.gate = os.path.join(self.directory, "gate")
        self.client = self.connect()

    def state(self, entity):
        """A number; 0 before there is one."""
        found = self.client.get_entity(entity)
        return (found and found.get_typed_state(int)) or 0

    def worker(self, endpoint=None):
        return self.program(self.language, self.language.run(os.path.join(HERE, "sdk", self.file)),
                            endpoint)

    def entries(self, kind_of):
        """[(what, process id)] of one kind, in their order."""
        if not os.path.exists(self.ledger):
            return []
        with open(self.ledger, encoding="utf-8") as ledger:
            lines = [line.split() for line in ledger]
        return [(what, int(pid)) for kind_, what, pid in lines if kind_ == kind_of]

    def open_gate(self):
        with open(self.gate, "w", encoding="ascii"):
            pass

    def order(self, **more):
        return {"ledger": self.ledger, "gate": self.gate, "what": "it", **more}

    def test_killed_in_an_activity(self):
        first = self.worker()
        instance = self.begin("one_gated", self.order())
        until(lambda: self.entries("begin"), "the activity")
        first.kill()
        second = self.worker()
        until(lambda: len(self.entries("begin")) == 2, "the activity again")
        self.open_gate()
        self.assertEqual(self.output(instance), "it")
        self.assertEqual(self.entries("begin"), [("it", first.pid), ("it", second.pid)])
        self.assertEqual(self.entries("end"), [("it", second.pid)])
        self.assertEqual(self.completions(instance), 1)

    def test_killed_in_an_episode(self):
        first = self.worker()
        instance = self.begin("gated_episode", self.order())
        until(lambda: self.entries("begin"), "the episode")
        first.kill()
        second = self.worker()
        until(lambda: len(self.entries("begin")) == 2, "the episode again")
        self.open_gate()
        self.assertEqual(self.output(instance), "it")
        self.assertEqual(self.entries("note"), [("it", second.pid)])
        self.assertEqual(self.completions(instance), 1)

    def test_cut_off_in_an_activity(self):
        """The stream breaks, the worker lives on: it is given the activity again when it is back,
        and only one of its two results counts."""
        proxy = Proxy(self.sidecar.endpoint)
        self.addCleanup(proxy.close)
        worker = self.worker(proxy.endpoint)
        instance = self.begin("gated_and_event", self.order())
        until(lambda: self.entries("begin"), "the activity")
        proxy.cut()
        until(lambda: len(self.entries("begin")) == 2, "the activity again")
        self.open_gate()
        until(lambda: len(self.entries("end")) == 2, "both ends")
        until(lambda: self.completions(instance) >= 1, "a result")
        self.client.raise_orchestration_event(instance, "finish")
        self.assertEqual(self.output(instance), "it")
        self.assertEqual(set(self.entries("begin")), {("it", worker.pid)})
        self.assertEqual(self.completions(instance), 2)  # and the note
        # It takes more work.
        self.assertEqual(len(self.output(self.begin("steps", self.order(count=2)))), 2)

    def test_cut_off_while_idle(self):
        proxy = Proxy(self.sidecar.endpoint)
        self.addCleanup(proxy.close)
        self.worker(proxy.endpoint)
        self.assertEqual(len(self.output(self.begin("steps", self.order(count=1)))), 1)
        before = proxy.accepted
        proxy.cut()
        instance = self.begin("steps", self.order(count=1))
        until(lambda: proxy.accepted > before, "the worker's return")
        self.assertEqual(self.output(instance), [instance + "/0"])
        self.assertEqual(collections.Counter(what for what, _ in self.entries("note")).most_common(1)
                         [0][1], 1)

    def test_killed_again_and_again(self):
        """Two workers under load; one of them dies whenever so much has been done."""
        instances, count = 30, 4
        workers = [self.worker(), self.worker()]
        started = [self.begin("steps", self.order(count=count)) for _ in range(instances)]
        for done in range(instances * count // 6, instances * count, instances * count // 6):
            until(lambda: len({what for what, _ in self.entries("note")}) >= done, f"{done} notes")
            workers.pop(0).kill()
            workers.append(self.worker())
        for instance in started:
            self.assertEqual(self.output(instance), [f"{instance}/{i}" for i in range(count)])
            self.assertEqual(self.completions(instance), count)
        notes = self.entries("note")
        self.assertEqual({what for what, _ in notes},
                         {f"{instance}/{i}" for instance in started for i in range(count)})
        # Twice only where the process that had it died.
        twice = [note for note, times in collections.Counter(notes).items() if times > 1]
        self.assertEqual(twice, [])

    def test_events_while_workers_die(self):
        instance = self.begin("tally", 0)
        worker = self.worker()
        self.client.wait_for_orchestration_start(instance, timeout=int(PATIENCE))
        for amount in range(1, 41):
            self.client.raise_orchestration_event(instance, "amount", data=amount)
            if amount % 10 == 0:
                worker.kill()
                worker = self.worker()
        self.client.raise_orchestration_event(instance, "amount")
        self.assertEqual(self.output(instance), 820)

    def test_signals_while_workers_die(self):
        total = EntityInstanceId("sum", "it")
        worker = self.worker()
        for amount in range(1, 41):
            self.client.signal_entity(total, "add", amount)
            if amount % 10 == 0:
                worker.kill()
                worker = self.worker()

        until(lambda: self.state(total) >= 820, "all signals")
        # Whatever is still under way was sent before this.
        self.client.signal_entity(total, "add", 1000)
        until(lambda: self.state(total) >= 1820, "the last signal")
        self.assertEqual(self.state(total), 1820)

    def test_killed_in_an_operation(self):
        """Of an entity: what it had done in the same batch counts once, too."""
        total = EntityInstanceId("sum", "it")
        self.client.signal_entity(total, "add", 1)
        self.client.signal_entity(total, self.gated_operation, self.order(amount=10))
        self.client.signal_entity(total, "add", 100)
        first = self.worker()
        until(lambda: self.entries("begin"), "the operation")
        first.kill()
        second = self.worker()
        until(lambda: len(self.entries("begin")) == 2, "the operation again")
        self.open_gate()
        until(lambda: self.state(total) >= 111, "all of it")
        self.client.signal_entity(total, "add", 1000)
        until(lambda: self.state(total) >= 1111, "the last signal")
        self.assertEqual(self.state(total), 1111)
        self.assertEqual(self.entries("begin"), [("it", first.pid), ("it", second.pid)])

    def test_killed_hub(self):
        """kill -9 of the hub's own process; worker and client come back by themselves."""
        if not self.sidecar.is_taskhub:
            self.skipTest("the stand-in keeps nothing")
        self.worker()
        started = [self.begin("steps", self.order(count=10)) for _ in range(10)]
        gated = self.begin("one_gated", self.order())
        for done in (20, 60):
            until(lambda: len({what for what, _ in self.entries("note")}) >= done, f"{done} notes")
            self.sidecar.kill()
            self.sidecar.start()
        self.open_gate()
        self.assertEqual(self.output(gated), "it")
        self.assertEqual(self.completions(gated), 1)
        for instance in started:
            self.assertEqual(self.output(instance), [f"{instance}/{i}" for i in range(10)])
            self.assertEqual(self.completions(instance), 10)


class PythonTrouble(Trouble):
    speaks = "python"
    file = "trouble.py"
    gated_operation = "add_gated"


class JavaScriptTrouble(Trouble):
    speaks = "javascript"
    file = "trouble.js"
    gated_operation = "addGated"


if __name__ == "__main__":
    unittest.main(verbosity=2)

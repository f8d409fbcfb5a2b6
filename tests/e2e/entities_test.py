"""What the hub promises about entities, with the application in the hub's process and in its own."""
import json
import os
import re
import time
import unittest

from harness import API, HubTest, app, until


class EntityTest(HubTest):
    """The tests of a class share one hub in a fleet; keys carry the test's name."""
    ARGS = ()

    def setUp(self):
        super().setUp()
        self.hub_ = self.hub(app("entities"), *self.ARGS)

    def signal(self, key, operation, body=None, query=""):
        code, _, answer = self.hub_.http(
            "POST", f"{API}/entities/log/{key}?op={operation}{query}", body)
        self.assertEqual(code, 202, answer)

    def state(self, key):
        code, _, state = self.hub_.http("GET", f"{API}/entities/log/{key}")
        return state if code == 200 else None

    def reaches(self, key, state):
        until(lambda: self.state(key) == state, f"{key} to be {state}, not {self.state(key)}")

    def listed(self):
        rows = self.hub_.http("GET", f"{API}/entities/log?top=1000")[2]
        return [row["entityId"]["key"] for row in rows]

    def run_one(self, name, body, status="Completed", instance=None):
        end = self.hub_.wait(self.hub_.start_instance(name, body, instance))
        self.assertEqual(end["runtimeStatus"], status, end)
        return end

    def call(self, key, operation, body=None, status="Completed"):
        return self.run_one("call", {"id": f"@log@{key}", "operation": operation, "input": body}, status)


class Operations(EntityTest):
    def test_calls_and_signals(self):
        self.call("calls", "append", 1)
        self.signal("calls", "APPEND", 2)  # names count without regard to case
        self.reaches("calls", [1, 2])
        self.assertEqual(self.call("calls", "get")["output"], [1, 2])
        unknown = self.call("calls", "frob", status="Failed")["failureDetails"]
        self.assertEqual(unknown["ErrorType"], "UnknownOperation")
        if not self.differs("unknown entities fail"):
            nobody = self.run_one("call", {"id": "@nobody@k", "operation": "get"}, "Failed")
            self.assertEqual(nobody["failureDetails"]["ErrorType"], "EntityNotFound")

    def test_each_sender_in_order(self):
        senders = [self.hub_.start_instance("many", {"id": "@log@order", "count": 40})
                   for _ in range(3)]
        for sender in senders:
            seen = self.hub_.wait(sender)["output"]
            # its own signals came before its call; others' may be among them
            self.assertEqual([seen.count(n) >= 1 for n in range(40)], [True] * 40)
        alone = self.run_one("many", {"id": "@log@alone", "count": 120})
        self.assertEqual(alone["output"], list(range(120)))
        for n in range(30):
            self.signal("client-order", "append", n)
        self.reaches("client-order", list(range(30)))

    def test_a_failure_takes_back_its_own_operation_only(self):
        self.signal("fails", "append", 1)
        self.signal("fails", "fail", 2)
        self.signal("fails", "append", 3)
        self.reaches("fails", [1, 3])
        failed = self.call("fails", "fail", 4, "Failed")["failureDetails"]
        self.assertEqual((failed["ErrorType"], failed["ErrorMessage"]),
                         ("Refused", "it does not want to"))
        self.signal("fails", "append", 5)
        self.reaches("fails", [1, 3, 5])
        self.assertIsNone(self.state("leaked"))
        self.assertEqual(self.hub_.http("GET", f"{API}/instances?name=leak")[2], [])
        self.call("fails-alone", "fail", 1, "Failed")  # and there was nothing before
        self.assertIsNone(self.state("fails-alone"))
        self.assertNotIn("fails-alone", self.listed())

    def test_later_signals(self):
        self.run_one("later", "@log@later")
        self.reaches("later", ["now", "later"])
        self.assertIsNone(self.state("not-yet"))
        self.signal("not-yet", "append", 1, "&scheduledTime=2999-01-01T00:00:00Z")
        due = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 2))
        self.signal("delayed", "append", 1, f"&scheduledTime={due}")
        self.signal("delayed-past", "append", 1, "&scheduledTime=2001-01-01T00:00:00Z")
        self.reaches("delayed-past", [1])
        self.reaches("delayed", [1])
        self.assertIsNone(self.state("not-yet"))
        self.assertNotIn("not-yet", self.listed())  # what only waits does not exist

    def test_entities_signal_and_start(self):
        self.signal("first", "pass", {"to": "@log@second", "operation": "pass", "input":
                                      {"to": "@log@third", "operation": "append", "input": "hello"}})
        self.reaches("third", ["hello"])
        for key in ("first", "second"):  # they had nothing to keep
            self.assertIsNone(self.state(key))
        self.signal("first", "start", {"id": "started", "name": "call", "input":
                                       {"id": "@log@third", "operation": "get"}})
        until(lambda: self.hub_.http("GET", f"{API}/instances/started")[0] != 404, "the start")
        self.assertEqual(self.hub_.wait("started")["output"], ["hello"])

    def test_deletion(self):
        self.signal("gone", "append", 1)
        self.reaches("gone", [1])
        until(lambda: "gone" in self.listed(), "gone is listed")
        self.assertEqual(self.hub_.http("DELETE", f"{API}/entities/log/gone")[0], 202)
        self.reaches("gone", None)
        until(lambda: "gone" not in self.listed(), "gone is no longer listed")
        self.signal("gone", "append", 2)  # it begins anew
        self.reaches("gone", [2])

    def test_queries(self):
        for key in ("q1", "q2", "q3"):
            self.signal(key, "append", key)
            self.reaches(key, [key])
        until(lambda: {"q1", "q2", "q3"} <= set(self.listed()), "all are listed")
        code, headers, page = self.hub_.http("GET", f"{API}/entities/LOG?fetchState=true&top=1")
        rows = list(page)
        while headers.get("x-ms-continuation-token"):
            code, headers, page = self.hub_.http(
                "GET", f"{API}/entities/LOG?fetchState=true&top=1",
                headers={"x-ms-continuation-token": headers["x-ms-continuation-token"]})
            self.assertEqual(code, 200)
            rows += page
        states = {row["entityId"]["key"]: row["state"] for row in rows}
        self.assertEqual(len(rows), len(states))
        self.assertEqual(states["q2"], ["q2"])
        # Entities are no instances, and instances no entities.
        instances = self.hub_.http("GET", f"{API}/instances?top=1000")[2]
        self.assertEqual([i for i in instances if i["instanceId"].startswith("@")], [])


class Sections(EntityTest):
    def section(self, ids, how, name):
        return self.hub_.start_instance(
            "section", {"ids": [f"@log@{key}" for key in ids], "how": how, "name": name})

    def inside(self, instance):
        until(lambda: self.hub_.status(instance)["customStatus"] == "inside", f"{instance} inside")

    def is_free(self, *keys):
        """Whoever locks them gets them."""
        end = self.hub_.wait(self.section(keys, "end", "after"))
        self.assertEqual(end["runtimeStatus"], "Completed", end)

    def test_every_end_releases(self):
        for how, status in (("unlock", "Completed"), ("end", "Completed"), ("throw", "Failed"),
                            ("again", "Completed")):
            keys = (f"{how}-b", f"{how}-a")
            end = self.hub_.wait(self.section(keys, how, how))
            self.assertEqual(end["runtimeStatus"], status, end)
            if status == "Failed":
                self.assertEqual(end["failureDetails"]["ErrorType"], "Thrown")
            self.is_free(*keys)
            self.reaches(keys[0], [how, "after"])

    def test_others_wait(self):
        holder = self.section(("wait-a", "wait-b"), "wait", "holder")
        self.inside(holder)
        self.reaches("wait-b", ["holder"])
        self.signal("wait-b", "append", "signal")
        other = self.section(("wait-b", "wait-a"), "end", "other")
        caller = self.hub_.start_instance(
            "call", {"id": "@log@wait-a", "operation": "append", "input": "caller"})
        self.signal("wait-free", "append", 1)  # behind them; and nobody holds this one
        self.reaches("wait-free", [1])
        self.assertEqual(self.state("wait-a"), ["holder"])
        self.assertEqual(self.state("wait-b"), ["holder"])
        self.hub_.http("POST", f"{API}/instances/{holder}/raiseEvent/go", 1)
        for instance in (holder, other, caller):
            self.assertEqual(self.hub_.wait(instance)["runtimeStatus"], "Completed")
        until(lambda: sorted(self.state("wait-b")) == ["holder", "other", "signal"], "all came")
        until(lambda: sorted(self.state("wait-a")) == ["caller", "holder", "other"], "all came")

    def test_a_terminated_owner(self):
        holder = self.section(("term-a", "term-b"), "wait", "holder")
        self.inside(holder)
        code = self.hub_.http("DELETE", f"{API}/instances/{holder}")[0]
        self.assertEqual(code, 412)  # one that runs is not purged
        self.hub_.http("POST", f"{API}/instances/{holder}/terminate?reason=enough")
        self.assertEqual(self.hub_.wait(holder)["runtimeStatus"], "Terminated")
        self.assertEqual(self.hub_.http("DELETE", f"{API}/instances/{holder}")[0], 200)
        self.is_free("term-a", "term-b")

    def test_an_owner_that_waits_for_its_lock_is_terminated(self):
        holder = self.section(("queue-b",), "wait", "holder")
        self.inside(holder)
        waiting = self.section(("queue-a", "queue-b"), "end", "waiting")
        until(lambda: self.hub_.status(waiting)["runtimeStatus"] == "Running", "it runs")
        self.hub_.http("POST", f"{API}/instances/{waiting}/terminate?reason=enough")
        self.assertEqual(self.hub_.wait(waiting)["runtimeStatus"], "Terminated")
        self.is_free("queue-a")
        self.hub_.http("POST", f"{API}/instances/{holder}/raiseEvent/go", 1)
        self.assertEqual(self.hub_.wait(holder)["runtimeStatus"], "Completed")
        self.is_free("queue-a", "queue-b")
        self.reaches("queue-b", ["holder", "after"])

    def test_a_locked_one_without_a_state(self):
        """It must look as if it were not there."""
        self.signal("empty", "append", 1)
        holder = self.section(("empty",), "wait", "holder")
        self.inside(holder)
        self.assertIsNotNone(self.state("empty"))
        self.hub_.http("DELETE", f"{API}/entities/log/empty")
        self.hub_.http("POST", f"{API}/instances/{holder}/raiseEvent/go", 1)
        self.hub_.wait(holder)
        self.reaches("empty", None)

    def test_no_circle(self):
        keys = [f"circle-{n}" for n in range(4)]
        sections = [self.section(keys[n % 4:] + keys[:n % 4], "end", n) for n in range(24)]
        for instance in sections:
            self.assertEqual(self.hub_.wait(instance)["runtimeStatus"], "Completed")
        for key in keys:
            until(lambda: sorted(self.state(key) or []) == list(range(24)), f"all to be seen by {key}")
        seen = [self.state(key) for key in keys]
        self.assertEqual(seen, [seen[0]] * 4)  # one section after the other, everywhere

    def test_rules(self):
        got = self.run_one("rules", None)["output"]
        for what, words in (("unlock outside", "no critical section"),
                            ("nothing", "1 to 64 entities, not 0"),
                            ("lock inside", "within another"),
                            ("signal", "not signalled"), ("call of another", "not locked"),
                            ("child", "sub-orchestration"), ("two calls", "not answered")):
            self.assertEqual(got[what][0], "LockRules", what)
            self.assertRegex(got[what][1], words)
        self.assertEqual(got["no entity"][0], "InvalidEntityId")
        self.assertEqual(got["unlock"], ["", ""])

    def test_over_a_crash(self):
        holder = self.section(("crash-a", "crash-b"), "wait", "holder")
        self.inside(holder)
        self.signal("crash-a", "append", "waits")
        self.signal("crash-c", "append", 1, "&scheduledTime=" + time.strftime(
            "%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 2)))
        self.hub_.kill()
        self.hub_.start()
        until(lambda: self.hub_.http("GET", "/readyz")[0] == 200, "the hub is ready")
        self.assertEqual(self.state("crash-a"), ["holder"])
        self.hub_.http("POST", f"{API}/instances/{holder}/raiseEvent/go", 1)
        self.reaches("crash-a", ["holder", "waits"])
        self.reaches("crash-c", [1])
        self.is_free("crash-a", "crash-b")


class OperationsIsolated(Operations):
    ARGS = ("--isolate",)


class SectionsIsolated(Sections):
    ARGS = ("--isolate",)


class Settings(HubTest):
    def with_settings(self, *args, **settings):
        with open(os.path.join(self.directory, "host.json"), "w", encoding="ascii") as out:
            json.dump({"version": "2.0", "extensions": {"durableTask": settings}}, out)
        return self.hub(app("entities"), "--host-json", self.directory, *args, fresh=True)

    def episodes(self, hub):
        text = hub.http("GET", "/metrics")[2]
        found = re.search(r'taskhub_function_requests_total\{[^}]*kind="entity"[^}]*\} (\d+)', text)
        return int(found.group(1)) if found else 0

    def test_batches_are_bounded(self):
        for args in ((), ("--isolate",)):
            with self.subTest(args=args):
                hub = self.with_settings(*args, maxEntityOperationBatchSize=2, maxConcurrentEntityFunctions=3,
                                         entityMessageReorderWindowInMinutes=7)
                due = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 2))
                key = f"batch{len(args)}"
                for n in range(9):  # they come due together
                    code, _, _ = hub.http("POST", f"{API}/entities/log/{key}?op=append"
                                                  f"&scheduledTime={due}", n)
                    self.assertEqual(code, 202)
                until(lambda: len(hub.http("GET", f"{API}/entities/log/{key}")[2] or []) == 9, "all")
                until(lambda: self.episodes(hub) >= 5, "the count of episodes")
                self.assertNotIn("unknown", hub.stderr())
                hub.stop()

    def test_wrong_values_are_refused(self):
        for name, value, words in (("maxEntityOperationBatchSize", 0, "1"),
                                   ("maxConcurrentEntityFunctions", -1, "0"),
                                   ("entityMessageReorderWindowInMinutes", "x", "number")):
            with self.subTest(name=name):
                with self.assertRaises(AssertionError) as refused:
                    self.with_settings(**{name: value})
                self.assertIn(name, str(refused.exception))
                self.assertIn(words, str(refused.exception))


if __name__ == "__main__":
    unittest.main(verbosity=2)

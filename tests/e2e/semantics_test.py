"""What the hub promises about orchestrations, seen through HTTP by small applications."""
import concurrent.futures
import http.client
import json
import os
import re
import time
import unittest
import urllib.parse

from harness import API, CONFLICT, OK, HubTest, app, until

SEMANTICS = app("semantics")
LONG = bool(os.environ.get("TASKHUB_LONG"))


class OneHub(HubTest):
    """The tests of a class share one hub; ids carry the test's name."""
    ARGS = ()
    HOST_JSON = None
    FRESH = False  # a hub that no other test has had

    def setUp(self):
        super().setUp()
        args = list(self.ARGS)
        if self.HOST_JSON is not None:
            with open(os.path.join(self.directory, "host.json"), "w", encoding="ascii") as out:
                json.dump(self.HOST_JSON, out)
            args += ["--host-json", self.directory]
        self.ticks = os.path.join(self.directory, "ticks")
        os.environ["SEMANTICS_TICKS"] = self.ticks
        self.hub_ = self.hub(SEMANTICS, *args, fresh=self.FRESH)

    def file(self, name):
        return os.path.join(self.directory, name)

    def read(self, name):
        try:
            with open(self.file(name), encoding="utf-8") as lines:
                return lines.read()
        except FileNotFoundError:
            return ""

    def post(self, path, body=None, expect=202):
        code, _, answer = self.hub_.http("POST", f"{API}/{path}", body)
        self.assertEqual(code, expect, (path, answer))
        return answer

    def ends(self, instance, status="Completed"):
        end = self.hub_.wait(instance)
        self.assertEqual(end["runtimeStatus"], status, end)
        return end

    def run_one(self, name, body=None, status="Completed"):
        return self.ends(self.hub_.start_instance(name, body), status)

    def reaches(self, instance, status):
        until(lambda: self.hub_.status(instance)["runtimeStatus"] == status, f"{instance} {status}")

    def raised(self, instance, name, body):
        self.post(f"instances/{instance}/raiseEvent/{name}", body)

    def events(self, instance):
        code, _, answer = self.hub_.http("GET", f"{API}/instances/{instance}/history")
        self.assertEqual(code, 200, answer)
        return [event.get("EventType", event.get("eventType", event.get("type"))) for event in answer]

    def ids(self, query=""):
        code, _, rows = self.hub_.http("GET", f"{API}/instances?top=1000{query}")
        self.assertEqual(code, 200, rows)
        return sorted(row["instanceId"] for row in rows)


class Retries(OneHub):
    def retry(self, activity, status="Completed", **policy):
        name = policy.pop("file", "attempts")
        policy["activity"] = {"file": self.file(name), **activity}
        return self.run_one("retry", {"attempts": 5, "first_ms": 5, "backoff": 1, **policy}, status)

    def test_policy(self):
        self.assertEqual(self.retry({"failures": 3}, file="a")["output"], 4)
        self.assertEqual(len(self.read("a")), 4)

        failed = self.retry({"failures": 9}, "Failed", file="b")
        self.assertEqual(len(self.read("b")), 5)
        self.assertIn("attempt 5", str(failed["output"]))

        began = time.monotonic()
        self.retry({"failures": 3}, file="c", first_ms=50, backoff=2)
        self.assertGreaterEqual(time.monotonic() - began, 0.35)

        failed = self.retry({"failures": 9}, "Failed", file="d", attempts=50, first_ms=40, timeout_ms=100)
        self.assertLessEqual(len(self.read("d")), 4)
        self.assertIn("Transient", str(failed["output"]) + json.dumps(failed))

        self.retry({"failures": 9, "type": "Permanent"}, "Failed", file="e", predicate=True)
        self.assertEqual(len(self.read("e")), 1)
        self.assertEqual(self.retry({"failures": 2}, file="f", predicate=True)["output"], 3)

        failed = self.retry({"failures": 9, "final": True}, "Failed", file="g")
        self.assertEqual(len(self.read("g")), 1)
        self.assertIn("no more of this", str(failed["output"]))

    def test_a_wait_for_the_next_attempt_outlives_the_process(self):
        instance = self.hub_.start_instance("retry", {
            "attempts": 3, "first_ms": 700, "backoff": 1,
            "activity": {"file": self.file("h"), "failures": 2}})
        until(lambda: len(self.read("h")) == 1, "the first attempt")
        self.hub_.kill()
        self.hub_.start()
        self.assertEqual(self.ends(instance)["output"], 3)
        self.assertEqual(len(self.read("h")), 3)

    def test_functions_that_are_not_there(self):
        failed = self.run_one("calls_nobody", status="Failed")
        self.assertIn("no_such_activity", str(failed["output"]))
        self.assertIn("flaky", str(failed["output"]), "names those that are there")
        failed = self.run_one("bears_nobody", status="Failed")
        self.assertIn("no_such_orchestrator", str(failed["output"]))


class Events(OneHub):
    def test_kept_in_order_and_without_regard_to_case(self):
        instance = self.hub_.start_instance("collect", 60)
        for i in range(60):
            self.raised(instance, ("Item", "ITEM", "item", "iTeM")[i % 4], i)
        self.assertEqual(self.ends(instance)["output"], list(range(60)))

    def test_before_the_instance_waits(self):
        instance = self.hub_.start_instance("stages")
        self.raised(instance, "Other", 0)
        for i in range(2):
            self.raised(instance, "Go", i)
        end = self.ends(instance)
        self.assertEqual(end["output"], 1)
        self.assertEqual(end["customStatus"], {"stage": 2, "go": 0})

    def test_none_is_lost_by_continue_as_new(self):
        instance = self.hub_.start_instance("collect_anew", {"count": 80, "items": []})
        for i in range(80):
            self.raised(instance, "Item", i)
        self.assertEqual(self.ends(instance)["output"], list(range(80)))

    def test_time_out(self):
        self.assertEqual(self.run_one("patient", 30)["output"], "Timeout")
        instance = self.hub_.start_instance("patient", 60000)
        self.raised(instance, "Item", "in time")
        self.assertEqual(self.ends(instance)["output"], "in time")
        until(lambda: self.hub_.http("GET", f"{API}/hub")[2].get("timers", 0) == 0,
              "the time-out's timer does not stay behind")

    def test_unknown_and_ended_targets(self):
        self.post("instances/nobody/raiseEvent/Item", 1, expect=404)
        instance = self.hub_.start_instance("nap", 1)
        self.ends(instance)
        self.post(f"instances/{instance}/raiseEvent/Item", 1, expect=410)


class Steering(OneHub):
    def test_suspension_holds_events_back(self):
        instance = self.hub_.start_instance("collect", 3)
        self.raised(instance, "Item", 0)
        self.reaches(instance, "Running")
        self.post(f"instances/{instance}/suspend?reason=rest")
        self.reaches(instance, "Suspended")
        self.raised(instance, "Item", 1)
        self.post(f"instances/{instance}/suspend")  # once more is no error
        self.raised(instance, "Item", 2)
        self.assertEqual(self.hub_.status(instance)["runtimeStatus"], "Suspended")
        self.hub_.kill()
        self.hub_.start()
        self.assertEqual(self.hub_.status(instance)["runtimeStatus"], "Suspended")
        self.post(f"instances/{instance}/resume?reason=enough")
        self.assertEqual(self.ends(instance)["output"], [0, 1, 2])

    def test_a_suspended_instance_can_be_terminated(self):
        instance = self.hub_.start_instance("approval")
        self.post(f"instances/{instance}/suspend")
        self.reaches(instance, "Suspended")
        self.post(f"instances/{instance}/terminate?reason=enough%20of%20it")
        self.assertEqual(self.ends(instance, "Terminated")["output"], "enough of it")
        self.post(f"instances/{instance}/terminate", expect=410)

    def test_terminate_reaches_children_when_asked(self):
        for recursive in (False, True):
            mark = f"r{recursive}"
            parent = self.hub_.start_instance("family", [f"{mark}-1", f"{mark}-2"], f"{mark}-0")
            until(lambda: f"{mark}-2" in self.ids(), "the grandchild")
            self.post(f"instances/{parent}/terminate?reason=x&recursive={str(recursive).lower()}")
            self.ends(parent, "Terminated")
            if recursive:
                for child in (f"{mark}-1", f"{mark}-2"):
                    self.ends(child, "Terminated")
            else:
                self.assertEqual(self.hub_.status(f"{mark}-2")["runtimeStatus"], "Running")
                self.raised(f"{mark}-2", "Approval", "late")
                self.assertEqual(self.ends(f"{mark}-1")["output"], "late")

    def test_rewind(self):
        path = self.file("wanted")
        activity = self.hub_.start_instance("wants_file", path)
        parent = self.hub_.start_instance("child_wants_file", {"file": path, "child": "the-child"})
        self.ends(activity, "Failed")
        self.assertIn("is not there", str(self.ends(parent, "Failed")["output"]))
        self.ends("the-child", "Failed")
        with open(path, "w", encoding="ascii"):
            pass
        for instance in (activity, parent):
            self.post(f"instances/{instance}/rewind?reason=it%20is%20there")
            self.assertEqual(self.ends(instance)["output"], "found")
            self.post(f"instances/{instance}/rewind", expect=410)
        self.assertEqual(self.ends("the-child")["output"], "found")
        running = self.hub_.start_instance("approval")
        self.post(f"instances/{running}/rewind", expect=412)

    def test_restart(self):
        first = self.hub_.start_instance("nap", 1, "one")
        self.post("instances/approve-me/restart", expect=400)
        ended = self.ends(first)
        again = self.post("instances/one/restart?restartWithNewInstanceId=false")["id"]
        self.assertEqual(again, "one")
        self.ends("one")
        other = self.post("instances/one/restart")["id"]
        self.assertNotEqual(other, "one")
        self.assertEqual(self.ends(other)["input"], ended["input"])
        waiting = self.hub_.start_instance("approval", None, "w")
        self.post(f"instances/{waiting}/restart?restartWithNewInstanceId=false", expect=409)
        other = self.post(f"instances/{waiting}/restart?restartWithNewInstanceId=true")["id"]
        self.assertEqual(self.hub_.status(other)["name"], "approval")

    def test_restart_of_generations(self):
        """The input is the one the status shows: that of the last generation."""
        first = self.run_one("working_generations", 4)
        self.assertEqual((first["input"], first["output"]), (1, 1))
        again = self.ends(self.post(f"instances/{first['instanceId']}/restart")["id"])
        self.assertEqual((again["input"], again["output"]), (1, 1))

    def test_purge(self):
        for i in range(3):
            self.ends(self.hub_.start_instance("nap", 1, f"p{i}"))
        parent = self.hub_.start_instance("family", ["q1", "q2"], "q0")
        until(lambda: "q2" in self.ids(), "the grandchild")
        code, _, _ = self.hub_.http("DELETE", f"{API}/instances/q0")
        self.assertNotEqual(code, 200, "it still runs")
        self.assertEqual(self.hub_.status("q0")["runtimeStatus"], "Running")
        self.raised("q2", "Approval", 1)
        self.ends(parent)
        self.assertEqual(self.hub_.http("DELETE", f"{API}/instances/p0")[::2], (200, {"instancesDeleted": 1}))
        self.assertEqual(self.hub_.http("DELETE", f"{API}/instances/p0")[0], 404)
        self.assertEqual(self.hub_.http("GET", f"{API}/instances/p0")[0], 404)
        until(lambda: self.ids() == ["p1", "p2", "q0", "q1", "q2"], "p0 is listed no more")
        code, _, answer = self.hub_.http("DELETE", f"{API}/instances/q0?recursive=true")
        self.assertEqual((code, answer), (200, {"instancesDeleted": 3}))
        until(lambda: self.ids() == ["p1", "p2"], "the family is gone")
        self.assertEqual(self.hub_.http("DELETE", f"{API}/instances?createdTimeFrom=2001-01-01&runtimeStatus=Failed")[0], 404)
        self.assertEqual(self.hub_.http("DELETE", f"{API}/instances")[0], 400)
        code, _, answer = self.hub_.http("DELETE", f"{API}/instances?createdTimeFrom=2001-01-01")
        self.assertEqual((code, answer), (200, {"instancesDeleted": 2}))
        self.hub_.kill()
        self.hub_.start()
        self.assertEqual(self.ids(), [])


class Bounds(OneHub):
    """What must not grow, burn or take for ever."""
    ARGS = ("--log-level", "error")

    def processor_time(self):
        with open(f"/proc/{self.hub_.worker()}/stat", encoding="ascii") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self):
        with open(f"/proc/{self.hub_.worker()}/status", encoding="ascii") as status:
            return int(re.search(r"VmRSS:\s+(\d+) kB", status.read()).group(1)) / 1024

    def file_megabytes(self):
        return sum(os.path.getsize(self.hub_.database + end) for end in ("", "-wal")) / 2**20

    def load(self, count):
        def one_client(many):
            for _ in range(many):
                code, _, answer = self.hub_.http(
                    "POST", f"{API}/orchestrators/nap?timeout=60&pollingInterval=1", 0)
                self.assertEqual((code, answer), (200, "rested"))
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            for done in [pool.submit(one_client, count // 8) for _ in range(8)]:
                done.result()

    def test_generations(self):
        count = 1000000 if LONG else 100000
        end = self.hub_.wait(self.hub_.start_instance("generations", count), 1200)
        self.assertEqual(end["output"], "the last of its kind")
        self.assertLess(self.file_megabytes(), 100)
        end = self.hub_.wait(self.hub_.start_instance("working_generations", count // (100 if LONG else 500)), 1200)
        self.assertEqual(end["output"], 1)
        self.assertLess(self.file_megabytes(), 100)

    def test_idle(self):
        for i in range(50):
            self.hub_.start_instance("approval", None, f"idle-{i}")
        until(lambda: len(self.ids("&runtimeStatus=Running")) == 50, "all wait")
        before, began = self.processor_time(), time.monotonic()
        until(lambda: time.monotonic() > began + 2, "two idle seconds")
        self.assertLess(self.processor_time() - before, 0.1)

    def test_purge_of_many(self):
        self.load(200000 if LONG else 2000)
        if LONG:
            self.load(40000)
            before = self.memory()
            self.load(200000)
            self.assertLess(self.memory(), before * 1.3 + 20)
        began = time.monotonic()
        code, _, answer = self.hub_.http("DELETE", f"{API}/instances?createdTimeFrom=2001-01-01", timeout=600)
        self.assertEqual(code, 200)
        self.assertEqual(answer["instancesDeleted"], 440000 if LONG else 2000)
        self.assertLess(time.monotonic() - began, 120 if LONG else 3)
        self.assertEqual(self.ids(), [])

    def test_purge_that_a_stop_cuts_short(self):
        self.load(2000)
        def purge():
            return self.hub_.http("DELETE", f"{API}/instances?createdTimeFrom=2001-01-01")[0]
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            answer = pool.submit(purge)
            self.assertEqual(self.hub_.stop(), 0, self.hub_.stderr())
            try:
                self.assertIn(answer.result(), (200, 503))
            except (OSError, http.client.HTTPException):
                pass  # it came too late
        self.hub_.start()
        purge()
        self.assertEqual(self.ids(), [])


class Starting(OneHub):
    def begin(self, name, instance, query="", body=None):
        return self.hub_.http("POST", f"/api/start/{name}/{instance}?{query}", body)

    def test_scheduled_over_a_restart(self):
        began = time.monotonic()
        self.assertEqual(self.begin("nap", "later", "in_ms=2000", 1)[0], 202)
        self.assertEqual(self.begin("nap", "past", "in_ms=-5000", 1)[0], 202)
        self.ends("past")
        self.assertEqual(self.hub_.status("later")["runtimeStatus"], "Pending")
        self.assertIn("later", self.ids("&runtimeStatus=Pending"))
        self.hub_.kill()
        self.hub_.start()
        self.assertEqual(self.hub_.status("later")["runtimeStatus"], "Pending")
        self.ends("later")
        self.assertGreaterEqual(time.monotonic() - began, 1.95)

    def test_an_acknowledged_start_is_known_at_once(self):
        for _ in range(4):
            with concurrent.futures.ThreadPoolExecutor(8) as pool:
                started = list(pool.map(lambda _: self.hub_.start_instance("stages"), range(150)))
            self.hub_.kill()
            self.hub_.start()
            self.assertEqual(self.hub_.http("GET", f"{API}/instances/{started[-1]}")[0], 202)
            if self.differs("a list holds all that was started"):
                until(lambda: not set(started) - set(self.ids()), "all are listed")
            self.assertEqual(set(started) - set(self.ids()), set())
            for instance in started:
                self.assertEqual(self.hub_.http("GET", f"{API}/instances/{instance}")[0], 202)
            self.hub_.http("POST", f"{API}/instances/{started[0]}/terminate")
        fresh = self.hub_.start_instance("stages")
        self.assertEqual(self.hub_.http("GET", f"{API}/instances/{fresh}")[0], 202)

    def test_reuse_of_ids(self):
        self.assertEqual(self.begin("nap", "again", "", 1)[0], 202)
        self.ends("again")
        self.assertEqual(self.begin("nap", "again", "keep=1", 1)[0], 409)
        self.assertEqual(self.begin("approval", "again")[0], 202)
        self.reaches("again", "Running")
        self.assertEqual(self.begin("nap", "again", "", 1)[0], 409)
        self.assertEqual(self.begin("nap", "again", "replace=1", 1)[0], 202)
        self.assertEqual(self.ends("again")["output"], "rested")

    def test_tags_and_versions(self):
        self.assertEqual(self.begin("whoami", "w", "tag=green&version=1.2")[0], 202)
        self.assertEqual(self.ends("w")["output"],
                         {"name": "whoami", "version": "1.2", "tag": "green", "parent": None})
        other = self.post("instances/w/restart")["id"]
        self.assertEqual(self.ends(other)["output"]["tag"], "green")
        self.assertEqual(self.ends(other)["output"]["version"], "1.2")


class Versions(OneHub):
    @staticmethod
    def host(strategy, failure):
        return {"version": "2.0", "extensions": {"durableTask": {
            "defaultVersion": "2.0", "versionMatchStrategy": strategy,
            "versionFailureStrategy": failure}}}

    def again(self, strategy, failure):
        self.hub_.stop()
        with open(os.path.join(self.directory, "host.json"), "w", encoding="ascii") as out:
            json.dump(self.host(strategy, failure), out)
        self.hub_.args = ["--host-json", self.directory]
        self.hub_.start()

    def start(self, version=None):
        query = f"?version={version}" if version else ""
        return self.post(f"orchestrators/whoami{query}")["id"]

    def test_match_strategies(self):
        self.again("Strict", "Fail")
        self.assertEqual(self.ends(self.start())["output"]["version"], "2.0")
        failed = self.ends(self.start("1.0"), "Failed")
        self.assertIn("1.0", str(failed["output"]))
        self.assertIn("2.0", str(failed["output"]))
        self.again("CurrentOrOlder", "Fail")
        self.assertEqual(self.ends(self.start("1.0"))["output"]["version"], "1.0")
        self.ends(self.start("2.0.1"), "Failed")
        self.again("CurrentOrOlder", "Reject")
        newer = self.start("2.1")
        self.ends(self.start())
        self.assertIn(self.hub_.status(newer)["runtimeStatus"], ("Pending", "Running"))
        shown = self.hub_.http("GET", f"{API}/hub")[2]
        self.assertIn("whoami", json.dumps(shown), "work that waits is named")
        self.again("None", "Fail")
        self.assertEqual(self.ends(newer)["output"]["version"], "2.1")


class CustomStatus(OneHub):
    def test_custom_status(self):
        instance = self.hub_.start_instance("stages")
        until(lambda: self.hub_.status(instance)["customStatus"] == {"stage": 1}, "stage 1")
        self.raised(instance, "Go", [1])
        until(lambda: self.hub_.status(instance)["customStatus"] == {"stage": 2, "go": [1]}, "stage 2")
        self.hub_.kill()
        self.hub_.start()
        self.assertEqual(self.hub_.status(instance)["customStatus"], {"stage": 2, "go": [1]})
        self.raised(instance, "Go", b"null")
        end = self.ends(instance)
        self.assertIsNone(end["output"])
        self.assertEqual(end["customStatus"], {"stage": 2, "go": [1]})


class Cron(OneHub):
    FRESH = True

    def test_runs_once_per_due_time(self):
        until(lambda: self.read("ticks").count("tick") >= 1, "the first tick")
        began, had = time.monotonic(), self.read("ticks").count("tick")
        until(lambda: self.read("ticks").count("tick") >= had + 2, "two more")
        self.assertGreater(time.monotonic() - began, 0.9)
        self.assertEqual(self.read("ticks").replace("tick\n", ""), "")


class Limits(OneHub):
    HOST_JSON = {"version": "2.0", "functionTimeout": "00:00:01"}

    def works(self, **how):
        return self.hub_.start_instance("works", {"file": self.file(how.pop("file")), **how})

    def test_time_outs_heartbeats_and_cancellation(self):
        silent = self.works(file="silent", beats=300, pause_ms=10, silent=True)
        beating = self.works(file="beating", beats=130, pause_ms=10)
        doomed = self.works(file="doomed", beats=1000, pause_ms=10)
        until(lambda: self.read("doomed"), "it works")
        self.post(f"instances/{doomed}/terminate?reason=stop")
        self.ends(doomed, "Terminated")
        until(lambda: "canceled" in self.read("doomed"), "the activity is told")
        self.assertEqual(self.ends(beating)["output"], "done")
        failed = self.ends(silent, "Failed")
        self.assertIn("1000 ms", str(failed["output"]))
        until(lambda: "canceled" in self.read("silent"), "the late one is told, too")
        self.assertEqual(self.hub_.status(silent)["runtimeStatus"], "Failed")


class Logs(OneHub):
    def test_a_log_is_silent_during_replay(self):
        for args in ((), ("--replay-always",)):
            self.hub_.stop()
            self.hub_.args = [*args]
            self.hub_.start()
            instance = self.hub_.start_instance("talkative")
            self.ends(instance)
            until(lambda: f"end of {instance}" in self.hub_.stderr(), "the last line")
            for line in ("step 0 of ", "step 1 of ", "step 2 of ", "end of "):
                self.assertEqual(self.hub_.stderr().count(line + instance), 1, line)


class History(OneHub):
    def test_the_history_is_as_documented(self):
        instance = self.hub_.start_instance("wants_file", self.file("none"))
        self.ends(instance, "Failed")
        kinds = [re.sub("[^a-z]", "", kind.lower()) for kind in self.events(instance)]
        self.assertEqual(kinds, ["orchestratorstarted", "executionstarted", "taskscheduled",
                                 "orchestratorcompleted", "orchestratorstarted", "taskfailed",
                                 "executioncompleted", "orchestratorcompleted"])

    def test_list_and_status_agree(self):
        for i in range(25):
            self.hub_.start_instance("nap", 1, f"l{i:02d}")
        for i in range(25):
            self.ends(f"l{i:02d}")
        def rows():
            token, found = "", []
            while True:
                headers = {"x-ms-continuation-token": token} if token else {}
                code, answer, page = self.hub_.http("GET", f"{API}/instances?top=7", headers=headers)
                self.assertEqual(code, 200)
                self.assertLessEqual(len(page), 7)
                found += page
                token = answer["x-ms-continuation-token"]
                if not token:
                    return found
        until(lambda: all(row["runtimeStatus"] == "Completed" for row in rows()), "the list says so")
        listed = rows()
        self.assertEqual(sorted(row["instanceId"] for row in listed), [f"l{i:02d}" for i in range(25)])
        for row in listed:
            self.assertEqual(row, self.hub_.status(row["instanceId"]))


if __name__ == "__main__":
    unittest.main(verbosity=2)

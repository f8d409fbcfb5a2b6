"""Every command of the program, its output and its exit codes; hello-cities over HTTP."""
import json
import os
import unittest

from harness import (API, CONFLICT, ERROR, FAILED, NOT_FOUND, OK, TIMEOUT, UNAVAILABLE, USAGE,
                     Hub, HubTest, app, run, until)

GREETINGS = ["Hello Tokyo!", "Hello Seattle!", "Hello London!"]


class HelloCities(HubTest):
    def test_over_http(self):
        hub = self.hub(app("hello-cities"))
        code, headers, answer = hub.http("POST", "/api/orchestrators/hello_cities")
        self.assertEqual(code, 202)
        self.assertEqual(headers["Location"], answer["statusQueryGetUri"])
        final = hub.wait(answer["id"])
        self.assertEqual(final["runtimeStatus"], "Completed")
        self.assertEqual(final["output"], GREETINGS)
        self.assertEqual(hub.http("GET", f"{API}/instances/nobody")[0], 404)

    def test_over_the_command_line(self):
        hub = self.hub(app("hello-cities"))
        done = hub.cli("start", "hello_cities", "--wait", "--timeout", "30s")
        self.assertExit(done, OK)
        self.assertEqual(json.loads(done.stdout), GREETINGS)
        started = hub.cli("start", "hello_cities", "--id", "tour-1")
        self.assertExit(started, OK)
        self.assertEqual(started.stdout, "tour-1\n")
        waited = hub.cli("wait", "tour-1", "--timeout", "30s")
        self.assertExit(waited, OK)
        self.assertEqual(json.loads(waited.stdout), GREETINGS)
        shown = hub.cli("status", "tour-1")
        self.assertExit(shown, OK)
        self.assertRegex(shown.stdout, r"Status +Completed")
        as_json = hub.cli("status", "tour-1", "--json", "--history")
        self.assertEqual(json.loads(as_json.stdout)["runtimeStatus"], "Completed")
        self.assertIn("historyEvents", json.loads(as_json.stdout))
        self.assertEqual(hub.stop(), 0)


class Commands(HubTest):
    """Each command on one hub with the application that has something for each."""

    def setUp(self):
        super().setUp()
        self.running = self.hub(app("trouble"))
        self.cli = self.running.cli

    def test_start(self):
        if not self.differs("unknown orchestrators are refused"):
            self.assertExit(self.cli("start", "no_such_function"), ERROR)
        self.assertExit(self.cli("start", "approval", "--id", "a1"), OK)
        self.assertExit(self.cli("start", "approval", "--id", "a1"), CONFLICT)
        self.assertExit(self.cli("start", "approval", "--id", "bad/id"), ERROR)
        self.assertExit(self.cli("start", "approval", "--input", "no json"), USAGE)
        self.assertExit(self.cli("start"), USAGE)
        self.assertExit(self.cli("start", "approval", "--no-such-option"), USAGE)
        piped = self.cli("start", "nap", "--input", "-", "--wait", stdin="1")
        self.assertExit(piped, OK)
        self.assertEqual(json.loads(piped.stdout), "rested")
        failed = self.cli("start", "wants_file", "--input", '"/nonexistent"', "--wait")
        self.assertExit(failed, FAILED)
        self.assertIn("/nonexistent is not there", failed.stderr)

    def test_wait(self):
        self.assertExit(self.cli("wait", "nobody", "--timeout", "1s"), NOT_FOUND)
        self.assertExit(self.cli("start", "approval", "--id", "w1"), OK)
        self.assertExit(self.cli("wait", "w1", "--timeout", "100ms"), TIMEOUT)
        self.assertExit(self.cli("start", "approval", "--wait", "--timeout", "100ms"), TIMEOUT)
        self.assertExit(self.cli("wait", "w1", "--timeout", "soon"), USAGE)

    def test_raise_event(self):
        self.cli("start", "approval", "--id", "e1")
        self.assertExit(self.cli("raise-event", "nobody", "Approval"), NOT_FOUND)
        self.assertExit(self.cli("raise-event", "e1", "Approval", "--data", '{"by": "me"}'), OK)
        done = self.cli("wait", "e1", "--timeout", "30s")
        self.assertEqual(json.loads(done.stdout), {"by": "me"})
        self.assertExit(self.cli("raise-event", "e1", "Approval"), CONFLICT)

    def test_suspend_and_resume(self):
        self.cli("start", "approval", "--id", "s1")
        self.assertExit(self.cli("suspend", "s1", "--reason", "wait"), OK)
        until(lambda: self.running.status("s1")["runtimeStatus"] == "Suspended", "suspended")
        self.assertExit(self.cli("raise-event", "s1", "Approval", "--data", "5"), OK)
        self.assertExit(self.cli("wait", "s1", "--timeout", "200ms"), TIMEOUT)
        self.assertExit(self.cli("resume", "s1"), OK)
        done = self.cli("wait", "s1", "--timeout", "30s")
        self.assertEqual(json.loads(done.stdout), 5)
        self.assertExit(self.cli("suspend", "s1"), CONFLICT)
        self.assertExit(self.cli("resume", "nobody"), NOT_FOUND)

    def test_terminate(self):
        self.cli("start", "approval", "--id", "t1")
        self.assertExit(self.cli("terminate", "t1", "--reason", "enough"), OK)
        ended = self.cli("wait", "t1", "--timeout", "30s")
        self.assertExit(ended, FAILED)
        self.assertIn("Terminated", ended.stderr)
        self.assertIn("enough", ended.stderr)
        self.assertExit(self.cli("terminate", "t1"), CONFLICT)
        self.assertExit(self.cli("terminate", "nobody"), NOT_FOUND)

    def test_rewind(self):
        path = os.path.join(self.directory, "wanted")
        self.assertExit(self.cli("start", "wants_file", "--id", "r1", "--input", json.dumps(path),
                                 "--wait"), FAILED)
        with open(path, "w", encoding="ascii"):
            pass
        self.assertExit(self.cli("rewind", "r1", "--reason", "it is there now"), OK)
        done = self.cli("wait", "r1", "--timeout", "30s")
        self.assertExit(done, OK)
        self.assertEqual(json.loads(done.stdout), "found")
        self.assertExit(self.cli("rewind", "r1"), CONFLICT)
        self.assertExit(self.cli("rewind", "nobody"), NOT_FOUND)

    def test_restart(self):
        self.cli("start", "nap", "--id", "again", "--input", "1", "--wait")
        other = self.cli("restart", "again")
        self.assertExit(other, OK)
        self.assertNotEqual(other.stdout.strip(), "again")
        self.assertExit(self.cli("wait", other.stdout.strip(), "--timeout", "30s"), OK)
        same = self.cli("restart", "again", "--same-id", "--wait")
        self.assertExit(same, OK)
        self.assertIn(self.cli("restart", "nobody").returncode, (ERROR, NOT_FOUND))

    def test_list_history_purge(self):
        for i in range(5):
            self.cli("start", "nap", "--id", f"n{i}", "--input", "1", "--wait")
        self.cli("start", "approval", "--id", "x1")
        until(lambda: self.running.status("x1")["runtimeStatus"] == "Running", "x1 runs")
        def rows(*args):
            listed = self.cli("list", "--json", *args)
            self.assertExit(listed, OK)
            return [row["instanceId"] for row in json.loads(listed.stdout)]
        until(lambda: sorted(rows()) == ["n0", "n1", "n2", "n3", "n4", "x1"], "all are listed")
        self.assertEqual(rows("--status", "Completed"), ["n0", "n1", "n2", "n3", "n4"])
        self.assertEqual(rows("--prefix", "x"), ["x1"])
        self.assertEqual(rows("--limit", "2"), ["n0", "n1"])
        self.assertEqual(rows("--created-to", "2001-01-01"), [])
        self.assertExit(self.cli("list", "--status", "Sleeping"), USAGE)
        self.assertExit(self.cli("list", "--created-from", "yesterday"), USAGE)
        table = self.cli("list", "--status", "Running")
        self.assertRegex(table.stdout, r"^INSTANCE +NAME +STATUS")
        self.assertRegex(table.stdout, r"x1 +approval +Running")

        history = self.cli("history", "n0")
        self.assertExit(history, OK)
        self.assertIn("TimerCreated", history.stdout)
        self.assertIn("TimerFired", history.stdout)
        self.assertExit(self.cli("history", "nobody"), NOT_FOUND)

        self.assertExit(self.cli("purge"), USAGE)
        self.assertExit(self.cli("purge", "nobody"), NOT_FOUND)
        self.assertExit(self.cli("purge", "n0"), OK)
        self.assertExit(self.cli("status", "n0"), NOT_FOUND)
        purged = self.cli("purge", "--all", "--json")
        self.assertExit(purged, OK)
        self.assertEqual(json.loads(purged.stdout)["instancesDeleted"], 4)
        self.assertEqual(rows(), ["x1"])
        self.assertEqual(json.loads(self.cli("purge", "--all", "--json").stdout)["instancesDeleted"], 0)

    def test_hub(self):
        shown = self.cli("hub", "show", "--json")
        self.assertExit(shown, OK)
        self.assertIn(self.running.name, shown.stdout)
        self.assertExit(self.cli("hub", "list"), OK)
        self.assertExit(self.cli("hub", "show", "Nowhere"), NOT_FOUND)
        self.assertExit(self.cli("hub", "create", "Second", "--partitions", "2"), OK)
        self.assertExit(self.cli("hub", "create", "Second"), CONFLICT)
        self.assertExit(self.cli("hub", "create", "2nd"), ERROR)
        self.assertExit(self.cli("hub", "delete", self.running.name), CONFLICT)
        self.assertExit(self.cli("hub", "delete", "Second"), OK)
        self.assertExit(self.cli("hub", "delete", "Second"), NOT_FOUND)
        self.assertExit(self.cli("hub", "frobnicate"), USAGE)

    def test_lag(self):
        self.cli("start", "nap", "--id", "n", "--input", "1", "--wait")
        def behind():
            shown = self.cli("lag", "--json")
            self.assertExit(shown, OK)
            return json.loads(shown.stdout)["totals"]
        until(lambda: behind()["lag"] == 0, "nothing waits")
        self.assertEqual(behind()["ageSeconds"], 0)
        table = self.cli("lag")
        self.assertExit(table, OK)
        self.assertRegex(table.stdout, r"TOPIC +PARTITION +END +POSITION +LAG +AGE +OWNER +EPOCH\n"
                                       r"instances +0 +\d+ +\d+ +0 +0 s +\S+ +\d+\n")
        self.assertIn("Total 0: 0 for instances, 0 for activities", table.stdout)
        self.assertExit(self.cli("lag", "--hub", "Other"), NOT_FOUND)

    def test_second_process_is_refused(self):
        second = run("dev", app("trouble"), "--db", self.running.database, "--port", "0")
        self.assertExit(second, UNAVAILABLE)
        self.assertIn(self.running.database, second.stderr)
        same_port = run("dev", app("trouble"), "--db", os.path.join(self.directory, "other.db"),
                        "--port", self.running.port)
        self.assertExit(same_port, UNAVAILABLE)
        self.assertIn(self.running.port, same_port.stderr)


class Entities(HubTest):
    def setUp(self):
        super().setUp()
        self.running = self.hub(app("counter"), fresh=True)

    def entity(self, *args, code=OK, stdin=None):
        result = self.running.cli("entity", *args, stdin=stdin)
        self.assertExit(result, code)
        return result

    def reads(self, key, state):
        def same():
            result = self.running.cli("entity", "read", f"@counter@{key}")
            return result.returncode == OK and json.loads(result.stdout) == state
        until(same, f"{key} to be {state}")

    def test_signal_and_read(self):
        nothing = self.entity("read", "@counter@a", code=NOT_FOUND)
        self.assertIn("there is no entity @counter@a with a state", nothing.stderr)
        self.assertEqual(self.entity("signal", "@counter@a", "add", "--input", "5").stdout,
                         "@counter@a: signaled add\n")
        said = self.entity("signal", "@Counter@a", "ADD", "--input", "-", "--json", stdin="2")
        self.assertEqual(json.loads(said.stdout), {"entityId": "@Counter@a", "signaled": "ADD"})
        self.reads("a", 7)
        self.entity("signal", "@counter@", "add", "--input", "1")  # the empty key
        self.reads("", 1)
        self.entity("signal", "@counter@a/b c?@", "add", "--input", "3")
        self.reads("a/b c?@", 3)
        self.entity("signal", "@counter@a", "delete")
        until(lambda: self.running.cli("entity", "read", "@counter@a").returncode == NOT_FOUND, "gone")

    def test_later(self):
        self.entity("signal", "@counter@l", "add", "--input", "1", "--at", "2999-01-01T00:00:00Z")
        self.entity("signal", "@counter@l", "add", "--input", "2", "--at", "2001-01-01")
        self.reads("l", 2)

    def test_list(self):
        for key in ("x", "y", "z"):
            self.entity("signal", f"@counter@{key}", "add", "--input", "4")
            self.reads(key, 4)
        def rows(*args):
            return [row["entityId"]["key"] for row in
                    json.loads(self.entity("list", *args, "--json").stdout)]
        until(lambda: rows() == ["x", "y", "z"], "all are listed")
        self.assertEqual(rows("Counter", "--limit", "2"), ["x", "y"])
        self.assertEqual(rows("nothing"), [])
        self.assertEqual(rows("--changed-from", "2999-01-01"), [])
        self.assertEqual(rows("--changed-to", "2999-01-01"), ["x", "y", "z"])
        table = self.entity("list", "--limit", "1")
        self.assertRegex(table.stdout, r"^ENTITY +LAST OPERATION +STATE\n@counter@x +\S+Z +4\n$")
        self.assertIn("There are more", table.stderr)

    def test_what_is_wrong(self):
        self.assertIn("@NAME@KEY", self.entity("signal", "counter", "add", code=USAGE).stderr)
        self.assertIn("signal @NAME@KEY OPERATION",
                      self.entity("signal", "@counter@a", code=USAGE).stderr)
        self.assertIn("none of signal, read, list", self.entity("frob", code=USAGE).stderr)
        self.entity("read", code=USAGE)
        self.entity("read", "@counter@" + 100 * "k", code=USAGE)
        self.entity("signal", "@counter@a", "add", "--input", "no json", code=USAGE)
        self.entity("signal", "@counter@a", "add", "--at", "soon", code=USAGE)
        self.entity("list", "--changed-from", "soon", code=USAGE)
        self.entity("list", "@counter@a", code=ERROR)


class WithoutAHub(HubTest):
    def test_help(self):
        shown = run("--help")
        self.assertExit(shown, OK)
        commands = ["dev", "start", "status", "wait", "raise-event", "terminate", "suspend", "resume",
                    "rewind", "restart", "purge", "list", "history", "entity", "hub", "lag", "invoke", "replay",
                    "bench"]
        for command in commands:
            self.assertIn(command, shown.stdout)
            page = run(command, "--help")
            self.assertExit(page, OK)
            self.assertIn("Examples:", page.stdout)
        for code in range(9):
            self.assertRegex(shown.stdout, rf"\n  {code}  ")
        self.assertExit(run(), USAGE)
        self.assertExit(run("nonsense"), USAGE)
        self.assertExit(run("--version"), OK)

    def test_nobody_answers(self):
        for command in (["list"], ["status", "x"], ["start", "x"], ["wait", "x"], ["hub", "show"],
                        ["entity", "list"], ["entity", "read", "@x@y"]):
            result = run(*command, "--url", "http://127.0.0.1:9")
            self.assertExit(result, UNAVAILABLE)
            self.assertIn("127.0.0.1:9", result.stderr)
        self.assertExit(run("list", env={"TASKHUB_URL": "http://127.0.0.1:9"}), UNAVAILABLE)

    def test_dev_refuses(self):
        database = os.path.join(self.directory, "x.db")
        def dev(*args):
            return run("dev", *args, "--db", database, "--port", "0")
        missing = dev("/nonexistent/app.so")
        self.assertExit(missing, ERROR)
        self.assertIn("/nonexistent/app.so", missing.stderr)
        self.assertExit(dev(os.path.abspath(__file__)), ERROR)
        self.assertExit(dev(app("hello-cities"), "--hub", "1st"), ERROR)
        self.assertExit(dev(app("hello-cities"), "--partitions", "5000"), USAGE)
        self.assertExit(dev(app("hello-cities"), "--log-level", "loud"), USAGE)
        open_door = dev(app("hello-cities"), "--address", "0.0.0.0")
        self.assertExit(open_door, ERROR)
        self.assertIn("key", open_door.stderr)
        with open(database, "wb") as out:
            out.write(b"this is no database at all, whatever its name says" * 100)
        broken = dev(app("hello-cities"))
        self.assertExit(broken, ERROR)
        self.assertIn(database, broken.stderr)

    def test_hubs_in_a_file(self):
        database = os.path.join(self.directory, "hubs.db")
        def hub(*args):
            return run("hub", *args, "--db", database)
        self.assertExit(hub("list"), OK)
        self.assertExit(hub("create", "Orders", "--partitions", "4"), OK)
        self.assertExit(hub("create", "Orders"), CONFLICT)
        self.assertExit(hub("create", "No-Dashes"), ERROR)
        self.assertExit(hub("create"), USAGE)
        self.assertEqual(json.loads(hub("show", "Orders", "--json").stdout)["partitions"], 4)
        nowhere = hub("show", "Nowhere")
        self.assertExit(nowhere, NOT_FOUND)
        self.assertIn("Orders", nowhere.stderr)
        self.assertExit(hub("delete", "Orders"), OK)
        self.assertExit(hub("delete", "Orders"), NOT_FOUND)

    def test_host_json(self):
        with open(os.path.join(self.directory, "host.json"), "w", encoding="ascii") as out:
            json.dump({"version": "2.0", "extensions": {"durableTask": {
                "hubName": "FromFile", "storageProvider": {"partitionCount": 3}, "colour": 1}}}, out)
        hub = self.hub(app("hello-cities"), "--host-json", self.directory)
        shown = hub.cli("hub", "show", "FromFile", "--json")
        self.assertExit(shown, OK)
        self.assertEqual(json.loads(shown.stdout)["partitions"], 3)
        self.assertIn("colour", hub.stderr())
        done = hub.cli("start", "hello_cities", "--wait")
        self.assertEqual(json.loads(done.stdout), GREETINGS)

    def test_invoke(self):
        said = run("invoke", app("hello-cities"), "say_hello", "--input", '"Lima"')
        self.assertExit(said, OK)
        self.assertEqual(json.loads(said.stdout), "Hello Lima!")
        self.assertRegex(said.stderr, r"took .* ms, peak memory .* MB")
        self.assertExit(run("invoke", app("hello-cities"), "say_hello"), FAILED)
        self.assertExit(run("invoke", app("hello-cities"), "nobody"), NOT_FOUND)
        self.assertExit(run("invoke", app("hello-cities")), USAGE)
        toured = run("invoke", app("hello-cities"), "hello_cities")
        self.assertExit(toured, OK)
        self.assertEqual(json.loads(toured.stdout), GREETINGS)
        routed = run("invoke", app("hello-cities"), "--route", "orchestrators/hello_cities",
                     "--method", "POST")
        self.assertExit(routed, OK)
        self.assertIn("statusQueryGetUri", json.loads(routed.stdout))

    def test_replay(self):
        hub = self.hub(app("hello-cities"))
        hub.cli("start", "hello_cities", "--id", "h1", "--wait")
        path = os.path.join(self.directory, "h1.json")
        with open(path, "w", encoding="utf-8") as out:
            out.write(hub.cli("history", "h1", "--json").stdout)
        same = run("replay", app("hello-cities"), path)
        self.assertExit(same, OK)
        self.assertIn("4 episodes", same.stdout)
        changed = run("replay", app("changed"), path)
        self.assertExit(changed, ERROR)
        self.assertIn("say_hello", changed.stdout)
        self.assertIn("say_goodbye", changed.stdout)
        self.assertExit(run("replay", app("hello-cities"), "/nonexistent.json"), ERROR)
        with open(path, "w", encoding="utf-8") as out:
            out.write("[{}]")
        self.assertExit(run("replay", app("hello-cities"), path), ERROR)

    def test_bench(self):
        self.assertExit(run("bench", "nonsense"), USAGE)
        for workload, more in (("hello5", ["--clients", "4"]), ("call5", []), ("fanout", []),
                               ("timers", ["--count", "200"]), ("long-history", ["--count", "400"]),
                               ("big-payload", ["--clients", "1"])):
            result = run("bench", workload, "--seconds", "1", "--json", *more)
            self.assertExit(result, OK)
            figures = json.loads(result.stdout)
            for key in ("workload", "provider", "clients", "seconds", "completed", "per_second",
                        "p50_ms", "p99_ms", "max_rss_mb"):
                self.assertIn(key, figures)
            self.assertGreater(figures["completed"], 0)
            self.assertEqual(figures["failed"], 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)

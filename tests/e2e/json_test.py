"""--json prints one JSON value, whatever the command and its end; words for people go to stderr."""
import json
import os
import unittest

from harness import CONFLICT, FAILED, NOT_FOUND, OK, HubTest, app, run


class Json(HubTest):
    def test_every_command(self):
        hub = self.hub(app("semantics"), "--partitions", "2", "--log-level", "error")
        def value(code, *args):
            result = hub.cli(*args, "--json")
            self.assertExit(result, code)
            return json.loads(result.stdout)
        done = value(OK, "start", "nap", "--id", "n", "--input", "1", "--wait")
        self.assertEqual(done["output"], "rested")
        self.assertEqual(value(OK, "start", "stages", "--id", "s")["id"], "s")
        self.assertEqual(value(OK, "status", "n", "--history")["instanceId"], "n")
        self.assertEqual(value(OK, "wait", "n")["runtimeStatus"], "Completed")
        for command, *more in (("raise-event", "Go", "--data", "1"), ("suspend",), ("resume",), ("terminate",)):
            self.assertEqual(value(OK, command, "s", *more)["instanceId"], "s")
        self.assertEqual(value(FAILED, "wait", "s")["runtimeStatus"], "Terminated")
        failed = value(FAILED, "start", "wants_file", "--id", "w", "--input", '"/nonexistent"', "--wait")
        self.assertEqual(failed["runtimeStatus"], "Failed")
        self.assertEqual(value(OK, "rewind", "w")["instanceId"], "w")
        self.assertNotEqual(value(OK, "restart", "n")["id"], "n")
        self.assertEqual(value(OK, "restart", "n", "--same-id", "--wait")["instanceId"], "n")
        self.assertGreaterEqual(len(value(OK, "list")), 3)
        self.assertEqual(value(OK, "list", "--prefix", "none-of-these"), [])
        self.assertGreater(len(value(OK, "history", "n")), 3)
        self.assertEqual(value(OK, "purge", "n")["instancesDeleted"], 1)
        self.assertEqual(value(OK, "hub", "show")["partitions"], 2)
        if not self.differs("one hub in the store"):
            self.assertEqual(len(value(OK, "hub", "list")), 1)
        self.assertGreaterEqual(value(OK, "lag")["totals"]["lag"], 0)
        self.assertEqual(value(OK, "hub", "create", "Second")["name"], "Second")
        self.assertEqual(value(OK, "hub", "delete", "Second")["name"], "Second")
        shown = hub.cli("hub", "show")
        self.assertRegex(shown.stdout, r"Partitions\nPARTITION +OWNER +EPOCH")
        for code, *args in ((NOT_FOUND, "status", "nobody"), (NOT_FOUND, "history", "nobody"),
                            (CONFLICT, "rewind", "s"), (CONFLICT, "hub", "delete", hub.name)):
            refused = hub.cli(*args, "--json")
            self.assertExit(refused, code)
            self.assertEqual(refused.stdout, "")
            self.assertRegex(refused.stderr, r"^taskhub: .+\n$")

    def test_without_a_hub(self):
        self.assertEqual(json.loads(run("invoke", app("semantics"), "echo", "--input", "[1]", "--json").stdout), [1])
        hub = self.hub(app("hello-cities"))
        hub.cli("start", "hello_cities", "--id", "h", "--wait")
        path = os.path.join(self.directory, "h.json")
        with open(path, "w", encoding="utf-8") as out:
            out.write(hub.cli("history", "h", "--json").stdout)
        for name, matches in (("hello-cities", True), ("changed", False)):
            verdict = json.loads(run("replay", app(name), path, "--json").stdout)
            self.assertEqual(verdict["matches"], matches)
        self.assertRegex(verdict["mismatch"], r'event 6: .*"say_hello".* but .*"say_goodbye"')


if __name__ == "__main__":
    unittest.main(verbosity=2)

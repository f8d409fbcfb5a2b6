"""`taskhub doctor` on the database of an embedded hub. What it says of a fleet is tested in tests/chaos."""
import json
import os
import unittest

from harness import ERROR, NOT_FOUND, OK, UNAVAILABLE, HubTest, app, run, until


class Database(HubTest):
    def setUp(self):
        super().setUp()
        self.running = self.hub(app("chaos"), "--partitions", "3")
        self.database = self.running.database

    def doctor(self, *args):
        return run("doctor", "--db", self.database, *args)

    def started(self):
        """Instances that wait for events, for timers, and one that has ended."""
        waits = [self.running.start_instance("collect", {"events": 1}, f"event-{n}") for n in range(6)]
        naps = [self.running.start_instance("sleeper", {"naps": 1, "ms": 3600000}, f"timer-{n}")
                for n in range(6)]
        until(lambda: all(self.running.status(i)["runtimeStatus"] == "Running" for i in waits + naps),
              "all of them to wait")
        self.running.wait(self.running.start_instance("sender", {"peer": "nobody", "n": 1}, "ended"))
        return waits, naps

    def test_a_running_hub_has_its_file(self):
        result = self.doctor()
        self.assertExit(result, UNAVAILABLE)
        self.assertIn(self.database, result.stderr)

    def test_what_instances_wait_for(self):
        waits, naps = self.started()
        self.running.kill()
        result = self.doctor("--json")
        self.assertExit(result, OK)
        report = json.loads(result.stdout)
        self.assertTrue(report["healthy"])
        self.assertEqual(report["ended"], {"Completed": 1})
        said = {i["instanceId"]: i for i in report["instances"]}
        self.assertEqual(set(said), set(waits + naps))
        for instance in waits:
            self.assertTrue(said[instance]["explanation"].startswith("an event"), said[instance])
        for instance in naps:
            self.assertTrue(said[instance]["explanation"].startswith("timer (0) due at "), said[instance])
        self.assertEqual({i["state"] for i in said.values()}, {"waiting"})

    def test_one_instance(self):
        waits, _ = self.started()
        self.running.kill()
        result = self.doctor(waits[0])
        self.assertExit(result, OK)
        self.assertIn(waits[0], result.stdout)
        self.assertNotIn(waits[1], result.stdout)
        self.assertIn("The instance is well.", result.stdout)
        self.assertExit(self.doctor("ended"), OK)
        self.assertExit(self.doctor("nobody"), NOT_FOUND)

    def test_a_file_that_is_no_hub(self):
        path = os.path.join(self.directory, "other.db")
        with open(path, "wb") as file:
            file.write(b"this is no database " * 100)
        result = run("doctor", "--db", path)
        self.assertExit(result, ERROR)
        self.assertIn(path, result.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)

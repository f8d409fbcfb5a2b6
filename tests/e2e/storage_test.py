"""What is wrong with the database's file is named; when it is mended, the hub goes on."""
import http.client
import os
import shutil
import sqlite3
import subprocess
import time
import unittest

from harness import (API, ERROR, UNAVAILABLE, TASKHUB, Hub, HubTest, app, run, until)

def contents(path):
    with open(path, "rb") as file:
        return file.read()


LONG = bool(os.environ.get("TASKHUB_LONG"))


class Files(HubTest):
    def path(self, name):
        return os.path.join(self.directory, name)

    def refused(self, path, *words, code=ERROR, command=()):
        result = subprocess.run([*command, TASKHUB, "dev", app("semantics"), "--db", path, "--port", "0"],
                                capture_output=True, text=True, timeout=30)
        self.assertExit(result, code)
        for word in (path, *words):
            self.assertIn(word, result.stderr)

    def database(self, name):
        hub = self.hub(app("semantics"), database=name)
        for i in range(20):
            hub.start_instance("collect", 3, f"c{i}")
        hub.stop()
        return hub

    def test_no_file_for_a_database(self):
        self.refused(self.directory, "directory")
        self.refused(self.path("not/there.db"), "No such file or directory")
        self.refused(self.path("x" * 300), "too long")
        os.mkfifo(self.path("fifo"))
        self.refused(self.path("fifo"))

    def test_not_ours(self):
        for pragma in ("application_id=77", "user_version=0"):
            path = self.path(pragma + ".db")
            with sqlite3.connect(path) as other:
                other.execute("CREATE TABLE theirs (x)")
                other.execute("PRAGMA " + pragma)
            other.close()
            before = contents(path)
            self.refused(path, "another application")
            self.assertEqual(contents(path), before, "untouched")
        hub = self.database("newer.db")
        with sqlite3.connect(hub.database) as newer:
            version = newer.execute("PRAGMA user_version").fetchone()[0]
            newer.execute(f"PRAGMA user_version={version + 1}")
        newer.close()
        self.refused(hub.database, "newer version")
        with open(self.path("text.db"), "w", encoding="ascii") as text:
            text.write("no database" * 2000)
        self.refused(self.path("text.db"))

    def test_truncated(self):
        hub = self.database("whole.db")
        whole = contents(hub.database)
        for size in (50, len(whole) // 2):
            with open(self.path("part.db"), "wb") as part:
                part.write(whole[:size])
            self.refused(self.path("part.db"), "malformed")

    def test_damaged_pages(self):
        """Wherever the damage is: refused, or served with errors that say so, never a crash."""
        hub = self.database("sound.db")
        sound = contents(hub.database)
        page = 8192
        for number in range(1, len(sound) // page):
            damaged = bytearray(sound)
            damaged[number * page:number * page + page // 2] = b"\xa5" * (page // 2)
            with open(hub.database, "wb") as out:
                out.write(damaged)
            hub.port = "0"
            try:
                hub.start()
            except AssertionError as refusal:
                self.assertIn(f"ended with {ERROR}", str(refusal))
                self.assertIn(hub.database, str(refusal))
                continue
            worker = hub.worker()
            for path in ("/instances/c5", "/instances", "/hub"):
                try:
                    code, _, answer = hub.http("GET", API + path, timeout=0.5)
                except TimeoutError:
                    continue  # it still tries to get the partition
                self.assertIn(code, (200, 202, 404, 500, 503), (number, path, answer))
                if code >= 500:
                    self.assertIn("malformed", str(answer))
            self.assertEqual(hub.worker(), worker, f"page {number} crashed it: {hub.stderr()}")
            hub.kill()

    def test_read_only(self):
        if os.geteuid() != 0:
            self.fail("needs root to become somebody else")
        hub = self.database("ro.db")
        os.chmod(self.directory, 0o755)
        os.chmod(hub.database, 0o444)
        nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
        self.refused(hub.database, "readonly", command=nobody)

    def test_locked_by_another_process(self):
        hub = self.hub(app("semantics"))
        hub.start_instance("collect", 3, "before")
        self.assertEqual(len(hub.http("GET", f"{API}/instances")[2]), 1)
        other = sqlite3.connect(hub.database, isolation_level=None)
        self.addCleanup(other.close)
        other.execute("BEGIN IMMEDIATE")
        self.assertEqual(hub.status("before")["instanceId"], "before")
        if LONG:  # longer than the storage's patience, and the hub's
            began = time.monotonic()
            code, _, answer = hub.http("POST", f"{API}/orchestrators/nap", 1)
            self.assertEqual((code, hub.database in answer["Message"]), (503, True), answer)
            while time.monotonic() < began + 25:
                code, _, answer = hub.http("GET", f"{API}/instances")
                self.assertTrue(code == 503 or len(answer) == 1, answer)
            self.assertIn("locked", hub.stderr())
        other.execute("ROLLBACK")
        code = until(lambda: hub.http("POST", f"{API}/orchestrators/nap/after", 1)[0] in (202, 409), "it goes on")
        self.assertEqual(hub.wait("after")["output"], "rested")
        self.assertEqual(hub.status("before")["runtimeStatus"], "Running")

    def test_two_hubs_side_by_side(self):
        first = self.hub(app("semantics"), "--hub", "First", "--partitions", "3", database="both.db")
        second = self.hub(app("semantics"), "--hub", "Second", database="both.db")
        for hub, other in ((first, second), (second, first)):
            instance = hub.start_instance("collect", 1, "same-id")
            hub.http("POST", f"{API}/instances/{instance}/raiseEvent/Item", hub.args[1])
            self.assertEqual(hub.wait(instance)["output"], [hub.args[1]])
        self.assertEqual(first.http("GET", f"{API}/hub")[2]["partitions"], 3)
        self.assertEqual(second.http("GET", f"{API}/hub")[2]["partitions"], 1)
        self.assertExit(run("hub", "delete", "Second", "--db", first.database), UNAVAILABLE)
        second.stop()
        self.assertExit(run("hub", "delete", "Second", "--db", first.database), 0)
        self.assertEqual(first.status("same-id")["output"], ["First"])


class FullDisk(HubTest):
    """A file system of a few megabytes, mounted for the test."""

    def setUp(self):
        super().setUp()
        self.mount = os.path.join(self.directory, "small")
        os.mkdir(self.mount)
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", self.mount],
                                 capture_output=True, text=True)
        if mounted.returncode:
            self.fail(f"cannot mount a small file system, so this cannot be tested: {mounted.stderr}")
        self.addCleanup(subprocess.run, ["umount", "-l", self.mount])

    def test_nothing_acknowledged_is_lost(self):
        hub = Hub(self.mount, app("semantics"), "--log-level", "warn")
        hub.log = os.path.join(self.directory, "stderr.log")
        hub.start()
        self.addCleanup(lambda: hub.process and hub.kill())
        worker = hub.worker()
        waiting = [hub.start_instance("collect", 2, f"w{i}") for i in range(5)]
        for instance in waiting:
            self.assertEqual(hub.http("POST", f"{API}/instances/{instance}/raiseEvent/Item", "first")[0], 202)
        acknowledged, refusals = [], []
        body = "x" * 60000
        for i in range(600):
            # An id of the caller's needs the owner's answer, for which the hub waits a while.
            path = f"{API}/orchestrators/patient" + (f"/full-{i}" if LONG else "")
            code, _, answer = hub.http("POST", path, body)
            if code == 202:
                acknowledged.append(answer["id"])
            else:
                refusals.append((code, answer))
                if len(refusals) >= 5:
                    break
        self.assertTrue(refusals, "the disk was never full")
        for code, answer in refusals:
            self.assertEqual(code, 503, answer)
            self.assertRegex(answer["Message"], "full")
            self.assertIn(hub.database, answer["Message"])
        if LONG:  # as long as the hub's patience with a partition that cannot be claimed
            for instance in (waiting[0], "nobody"):
                code, _, answer = hub.http("GET", f"{API}/instances/{instance}")
                self.assertEqual(code, 503)
                self.assertRegex(answer["Message"], "partition 0 cannot be used now.*full")

        freed = subprocess.run(["mount", "-o", "remount,size=200m", self.mount], capture_output=True, text=True)
        self.assertEqual(freed.returncode, 0, freed.stderr)
        def starts():
            return hub.http("POST", f"{API}/orchestrators/nap/afterwards", 1)[0] in (202, 409)
        until(starts, "it works again")
        self.assertEqual(hub.wait("afterwards")["output"], "rested")
        self.assertEqual(hub.worker(), worker, "without a restart")
        for instance in waiting:
            until(lambda: hub.http("POST", f"{API}/instances/{instance}/raiseEvent/Item", "second")[0] == 202, "raise")
            self.assertEqual(hub.wait(instance)["output"], ["first", "second"])
        for instance in acknowledged:
            self.assertNotEqual(hub.http("GET", f"{API}/instances/{instance}")[0], 404, instance)
            self.assertEqual(hub.status(instance)["input"], body)
        hub.kill()
        hub.start()
        for instance in waiting + acknowledged:
            self.assertNotEqual(hub.http("GET", f"{API}/instances/{instance}")[0], 404, instance)
        self.assertEqual(hub.stop(), 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)

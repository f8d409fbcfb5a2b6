"""Whatever was acknowledged holds after kill -9: not only starts, but every operation.

Each round prepares instances, sends one operation of each kind, kills the hub as soon as the answers
are there, and looks at what the next process says.
"""
import concurrent.futures
import copy
import http.client
import os
import random
import sys
import threading
import unittest

from harness import API, HubTest, app, until

ROUNDS = int(os.environ.get("TASKHUB_ROUNDS", "6"))
SEED = int(os.environ.get("TASKHUB_SEED", str(random.randrange(1 << 30))))
ORDER = {"Pending": 0, "Running": 1, "Completed": 2, "Terminated": 2, "Failed": 2}


class Acknowledged(HubTest):
    def setUp(self):
        super().setUp()
        self.running = self.hub(app("semantics"), "--partitions", "3", "--log-level", "error")

    def acknowledged(self, method, path, body=None):
        code, _, answer = self.running.http(method, API + path, body)
        self.assertIn(code, (200, 202), (path, answer))
        return answer

    def reaches(self, instance, status):
        until(lambda: self.running.status(instance)["runtimeStatus"] == status, f"{instance} {status}")

    def prepare(self, mark):
        waiting = ["raise", "terminate", "suspend", "resume", "renew"]
        for name in waiting:
            self.running.start_instance("approval", name, f"{mark}-{name}")
        for name in ("purge", "again"):
            self.running.start_instance("nap", 1, f"{mark}-{name}")
        path = os.path.join(self.directory, mark)
        self.running.start_instance("wants_file", path, f"{mark}-rewind")
        for name in waiting:
            self.reaches(f"{mark}-{name}", "Running")
        for name in ("purge", "again", "rewind"):
            self.running.wait(f"{mark}-{name}")
        self.acknowledged("POST", f"/instances/{mark}-resume/suspend")
        self.reaches(f"{mark}-resume", "Suspended")
        with open(path, "w", encoding="ascii"):
            pass

    def operate(self, mark):
        operations = {
            "raise": ("POST", f"/instances/{mark}-raise/raiseEvent/Approval", mark),
            "terminate": ("POST", f"/instances/{mark}-terminate/terminate?reason=x"),
            "suspend": ("POST", f"/instances/{mark}-suspend/suspend"),
            "resume": ("POST", f"/instances/{mark}-resume/resume"),
            "purge": ("DELETE", f"/instances/{mark}-purge"),
            "again": ("POST", f"/instances/{mark}-again/restart?restartWithNewInstanceId=false"),
            "renew": ("POST", f"/instances/{mark}-renew/restart"),
            "rewind": ("POST", f"/instances/{mark}-rewind/rewind"),
            "later": ("POST", f"/orchestrators/approval/{mark}-later", "later"),
        }
        with concurrent.futures.ThreadPoolExecutor(len(operations)) as pool:
            sent = {name: pool.submit(self.acknowledged, *call) for name, call in operations.items()}
            return {name: answer.result() for name, answer in sent.items()}

    def check(self, mark, answers):
        status = self.running.status
        self.assertEqual(self.running.wait(f"{mark}-raise")["output"], mark)
        self.assertEqual(self.running.wait(f"{mark}-terminate")["runtimeStatus"], "Terminated")
        self.reaches(f"{mark}-suspend", "Suspended")
        self.reaches(f"{mark}-resume", "Running")
        self.assertEqual(self.running.http("GET", f"{API}/instances/{mark}-purge")[0], 404)
        self.assertEqual(self.running.wait(f"{mark}-again")["output"], "rested")
        self.assertEqual(status(answers["renew"]["id"])["input"], "renew")
        self.assertEqual(self.running.wait(f"{mark}-rewind")["output"], "found")
        self.assertEqual(status(f"{mark}-later")["input"], "later")

    def test_every_operation(self):
        print(f"seed {SEED}", file=sys.stderr)
        answers = {}
        for i in range(ROUNDS):
            mark = f"m{i}"
            self.prepare(mark)
            answers[mark] = self.operate(mark)
            self.running.kill()
            self.running.start()
            self.check(mark, answers[mark])
        for i in range(ROUNDS):
            self.check(f"m{i}", answers[f"m{i}"])

    def test_no_status_goes_backwards(self):
        """Watched all the time, over kills: what was once seen is never unseen."""
        seen, stop, worst = {}, threading.Event(), []
        ids = [f"s{i}" for i in range(40)]
        view = copy.copy(self.running)  # keeps its URL while the hub starts again
        def watch(mine):
            while not stop.is_set():
                for instance in mine:
                    try:
                        code, _, answer = view.http("GET", f"{API}/instances/{instance}", timeout=5)
                    except (OSError, http.client.HTTPException):
                        continue
                    if code == 404 and instance in seen:
                        worst.append((instance, seen[instance], 404))
                    elif code in (200, 202):
                        now = ORDER[answer["runtimeStatus"]]
                        if now < seen.get(instance, 0):
                            worst.append((instance, seen[instance], answer["runtimeStatus"]))
                        seen[instance] = now
        watchers = [threading.Thread(target=watch, args=(ids[n::3],)) for n in range(3)]
        for watcher in watchers:
            watcher.start()
        dice = random.Random(SEED)
        for instance in ids:
            self.running.start_instance("nap", dice.randrange(400), instance)
            if dice.random() < 0.25:
                self.running.kill()
                self.running.start()
        for instance in ids:
            self.assertEqual(self.running.wait(instance)["runtimeStatus"], "Completed")
        until(lambda: len(seen) == len(ids) and set(seen.values()) == {2}, "all were seen to end")
        stop.set()
        for watcher in watchers:
            watcher.join()
        self.assertEqual(worst, [])


if __name__ == "__main__":
    unittest.main(verbosity=2)

"""kill -9 under load: every acknowledged start completes, with every step done in the outside world.

The ledger is a file outside of the hub, to which each step appends a line and makes it durable. A
step may be there twice (at-least-once), but never be missing, and a step's first line never comes
before its predecessor's.
"""
import collections
import http.client
import os
import random
import sys
import threading
import time
import unittest

from harness import HubTest, app

KILLS = int(os.environ.get("TASKHUB_KILLS", "20"))
SEED = int(os.environ.get("TASKHUB_SEED", str(random.randrange(1 << 30))))


class Load:
    """Starts instances until told to stop; remembers those whose start was acknowledged."""

    def __init__(self, hub, ledger, acknowledged, prefix):
        self.stopping = False
        self.arguments = (hub, ledger, acknowledged, prefix)
        self.threads = [threading.Thread(target=self.run, args=(i,)) for i in range(4)]
        for thread in self.threads:
            thread.start()

    def run(self, number):
        hub, ledger, acknowledged, prefix = self.arguments
        i = 0
        while not self.stopping:
            instance = f"{prefix}-{number}-{i}"
            i += 1
            try:
                acknowledged.append(hub.start_instance("ledger", ledger, instance))
            except (OSError, http.client.HTTPException, AssertionError):
                pass  # the hub was killed meanwhile: not acknowledged, so nothing was promised

    def stop(self):
        self.stopping = True
        for thread in self.threads:
            thread.join()


class KillLoop(HubTest):
    def check_ledger(self, ledger, acknowledged):
        first = {}
        count = collections.Counter()
        with open(ledger, encoding="ascii") as lines:
            for position, line in enumerate(lines):
                instance, step = line.split()
                first.setdefault((instance, int(step)), position)
                count[instance, int(step)] += 1
        for instance in acknowledged:
            positions = [first.get((instance, step)) for step in range(5)]
            self.assertNotIn(None, positions, f"{instance} misses a step")
            self.assertEqual(positions, sorted(positions), f"{instance} took steps out of order")
        return sum(n - 1 for n in count.values())

    def test_nothing_acknowledged_is_lost(self):
        print(f"seed {SEED}, {KILLS} kills", file=sys.stderr)
        dice = random.Random(SEED)
        ledger = os.path.join(self.directory, "ledger")
        acknowledged = []
        hub = self.hub(app("trouble"), "--log-level", "error")
        for i in range(KILLS):
            load = Load(hub, ledger, acknowledged, f"k{i}")
            until_kill = time.monotonic() + dice.uniform(0.0, 0.3)
            while time.monotonic() < until_kill:
                time.sleep(0.001)
            hub.kill()
            load.stop()
            hub.start()
        self.assertGreater(len(acknowledged), KILLS)
        for instance in acknowledged:
            end = hub.wait(instance)
            self.assertEqual(end["runtimeStatus"], "Completed", (instance, end))
            self.assertEqual(end["output"], [f"{instance} {step}\n" for step in range(5)])
        repeated = self.check_ledger(ledger, acknowledged)
        print(f"{len(acknowledged)} acknowledged starts, {repeated} repeated steps", file=sys.stderr)
        self.assertEqual(hub.stop(), 0)


class Restart(HubTest):
    def test_timers_go_on(self):
        hub = self.hub(app("trouble"))
        soon = hub.start_instance("nap", 1500)
        later = hub.start_instance("nap", 3000)
        began = time.monotonic()
        self.assertEqual(hub.stop(), 0)
        while time.monotonic() < began + 1.6:  # the first one is due while nobody is there
            time.sleep(0.01)
        hub.start()
        self.assertEqual(hub.wait(soon)["output"], "rested")
        self.assertEqual(hub.status(later)["runtimeStatus"], "Running")
        self.assertEqual(hub.wait(later)["output"], "rested")
        self.assertGreaterEqual(time.monotonic() - began, 2.9)

    def test_state_is_kept(self):
        hub = self.hub(app("trouble"))
        waiting = hub.start_instance("approval")
        ended = hub.start_instance("nap", 1)
        hub.wait(ended)
        hub.cli("suspend", waiting)
        hub.kill()
        hub.start()
        self.assertEqual(hub.status(ended)["output"], "rested")
        self.assertEqual(hub.status(waiting)["runtimeStatus"], "Suspended")
        self.assertEqual(hub.cli("raise-event", waiting, "Approval", "--data", "3").returncode, 0)
        self.assertEqual(hub.cli("resume", waiting).returncode, 0)
        self.assertEqual(hub.wait(waiting)["output"], 3)


if __name__ == "__main__":
    unittest.main(verbosity=2)

"""A fleet of workers on real Kafka and Redis: they share, come, go and die.

Each execution of an activity leaves lines in a ledger outside of the hub, so that what ran twice, or
never, shows. Times are measured and reported on standard error, not asserted: the machine is shared.
TASKHUB_LONG adds those that take longer.
"""
import os
import sys
import threading
import time
import unittest

from fleetcase import LONG, FleetTest, report, setUpModule, tearDownModule
from harness import API, OK, until

WORKERS = 3
TEN_MINUTES = 600  # seconds


class Moves(FleetTest):
    def test_workers_share_and_others_take_over(self):
        workers = self.workers(WORKERS)
        shares = self.shares(workers)
        self.assertEqual(sorted(shares.values()), [4, 4, 4])
        instances = [self.start(w, "chain", ms=1, steps=3) for w in workers for _ in range(20)]
        self.check_completed(workers[0], instances)
        self.check_once(len(instances) * 3)
        code, _, text = workers[1].http("GET", "/metrics")
        self.assertEqual(code, 200)
        self.assertIn(f'taskhub_partitions_owned{{hub="{self.hub}"}} 4', text)

    def test_kill_9_under_load(self):
        workers = self.workers(WORKERS)
        victim = workers[2]
        name = victim.name()
        load = self.load(workers, "chain", {"ms": 2, "steps": 5})
        until(lambda: len(load.started) > 200, "some load")
        victim.kill()
        killed = time.monotonic()
        until(lambda: name not in self.owners(workers[0]), "a fail-over")
        report("fail-over after kill -9", time.monotonic() - killed)
        before = len(load.started)
        until(lambda: len(load.started) > before + 200, "more load")
        instances = load.stop()
        self.check_completed(workers[0], instances)
        self.check_at_least_once()
        print(f"    {len(instances)} instances, {self.ledger.repeated()} steps repeated",
              file=sys.stderr)

    def owners(self, worker):
        """Names of all owners; while somebody is missing, everybody counts."""
        owners = worker.partitions().values()
        return set(owners) if owners and None not in owners else self.everybody

    @property
    def everybody(self):
        class All:
            def __contains__(self, name):
                return True
        return All()

    def test_sigterm_under_load(self):
        workers = self.workers(WORKERS)
        leaving = workers[1]
        name = leaving.name()
        load = self.load(workers, "chain", {"ms": 20, "steps": 5})
        until(lambda: len(load.started) > 100, "some load")
        codes = []
        began = time.monotonic()
        thread = threading.Thread(target=lambda: codes.append(leaving.stop()))
        thread.start()
        until(lambda: name not in self.owners(workers[0]), "a hand-over")
        report("hand-over after SIGTERM", time.monotonic() - began)
        thread.join()
        report("end after SIGTERM", time.monotonic() - began)
        self.assertEqual(codes, [OK])
        before = len(load.started)
        until(lambda: len(load.started) > before + 100, "more load")
        instances = load.stop()
        self.check_completed(workers[0], instances)
        self.check_once(5 * len(instances))
        print(f"    {len(instances)} instances, none repeated", file=sys.stderr)

    def test_a_long_activity_among_short_ones(self):
        workers = self.workers(2, "--placement", "shared")
        long = [self.start(w, "chain", ms=8000, steps=1) for w in workers for _ in range(2)]
        until(lambda: len(self.ledger.read()[0]) >= len(long), "the long ones to begin")
        short = [self.start(workers[0], "fan", ms=2, width=400) for _ in range(6)]
        workers.append(self.launch("fleet", "--placement", "shared").listen())
        self.await_shares(workers)
        self.assertEqual(workers.pop(0).stop(), OK)  # it waits for its long ones
        self.await_shares(workers)
        short += [self.start(workers[0], "fan", ms=2, width=400) for _ in range(6)]
        workers.append(self.launch("fleet", "--placement", "shared").listen())
        self.await_shares(workers)
        self.check_completed(workers[0], short + long)
        self.check_once(len(long) + 400 * len(short))
        print(f"    {400 * len(short)} short ones and {len(long)} long ones, by "
              f"{len(self.ledger.read()[2])} processes", file=sys.stderr)

    @unittest.skipUnless(LONG, "of the long tier")
    def test_ten_minutes_among_ten_thousand_short_ones(self):
        """All others come and go while one worker runs it."""
        workers = self.workers(WORKERS, "--placement", "shared")
        long = self.start(workers[0], "chain", ms=1000 * TEN_MINUTES, steps=1)
        pid = until(lambda: next(iter(self.ledger.read()[2]), None), "the long one to begin")
        workers.sort(key=lambda w: w.worker() != pid)  # who runs it comes first
        began = time.monotonic()
        for turn in range(25):
            short = [self.start(workers[0], "fan", ms=2, width=400)]
            if turn % 5 == 0:
                self.assertEqual(workers.pop(1).stop(), OK)
                workers.append(self.launch("fleet", "--placement", "shared").listen())
                self.await_shares(workers)
            self.check_completed(workers[0], short)
        self.assertLess(time.monotonic() - began, TEN_MINUTES, "the long one was not among them")
        workers[0].wait(long, 2 * TEN_MINUTES)
        self.check_completed(workers[0], [long])
        self.check_once(1 + 25 * 400)

    def test_one_more_worker_does_more(self):
        """Unless the machine has nothing left to give; and one less loses nothing."""
        options = ("--placement", "shared", "--activities", "4")
        workers = self.workers(1, *options)
        fans = [self.start(workers[0], "fan", ms=50, width=100) for _ in range(15)]
        alone, _ = self.rate()
        workers.append(self.launch("fleet", *options).listen())
        self.await_shares(workers)
        both, idle = self.rate()
        print(f"    {alone:.0f} activities a second by one worker, {both:.0f} by two, the processors "
              f"{100 * idle:.0f} % idle", file=sys.stderr)
        self.assertTrue(both > 1.4 * alone or idle < 0.2, (alone, both, idle))
        self.assertLess(len(self.ledger.read()[1]), 1500, "there was not enough to do")
        self.assertEqual(workers.pop(0).stop(), OK)
        self.check_completed(workers[0], fans)
        self.check_once(1500)

    def rate(self):
        """Activities that end in a second, measured over some of them; how idle the machine was."""
        def ended():
            return len(self.ledger.read()[1])
        first = until(ended, "the first to end")
        began, then = time.monotonic(), self.processors()
        until(lambda: ended() >= first + 200, "more of them to end")
        idle, spent = (now - before for now, before in zip(self.processors(), then))
        return (ended() - first) / (time.monotonic() - began), idle / max(spent, 1)

    def processors(self):
        """The time that they were idle, and all of it: proc(5)."""
        with open("/proc/stat", encoding="ascii") as stat:
            ticks = [int(field) for field in stat.readline().split()[1:9]]
        return ticks[3] + ticks[4], sum(ticks)

    @unittest.skipUnless(LONG, "of the long tier")
    def test_a_long_local_activity_outlives_its_partition(self):
        workers = self.workers(1, "--placement", "local")
        long = [self.start(workers[0], "chain", ms=6000, steps=2) for _ in range(4)]
        until(lambda: len(self.ledger.read()[0]) >= len(long), "the long ones to begin")
        workers.append(self.launch("fleet", "--placement", "local").listen())
        self.await_shares(workers)
        self.assertEqual(workers.pop(0).stop(), OK)
        self.check_completed(workers[0], long)
        self.check_once(2 * len(long))

    def test_what_was_held_back_is_read_after_a_move(self):
        """Whoever has enough to do pauses; a partition that stays with it goes on nevertheless."""
        options = ("--placement", "shared", "--activities", "1")
        workers = self.workers(1, *options)
        fans = [self.start(workers[0], "fan", ms=10, width=150) for _ in range(6)]
        until(lambda: len(self.ledger.read()[1]) > 20, "more than it takes at once")
        workers.append(self.launch("fleet", *options).listen())
        self.await_shares(workers)
        self.assertLess(len(self.ledger.read()[1]), 900, "there was no move under pressure")
        self.check_completed(workers[0], fans)
        self.check_once(900)

    @unittest.skipUnless(LONG, "of the long tier")
    def test_work_spreads_when_it_is_much(self):
        workers = self.workers(WORKERS, "--activities", "2")
        self.check_completed(workers[0], [self.start(workers[0], "fan", ms=20, width=300)])
        self.check_once(300)
        pids = self.ledger.read()[2]
        self.assertEqual(len(pids), WORKERS, pids)
        print(f"    300 activities by {sorted(pids.values())}", file=sys.stderr)

    @unittest.skipUnless(LONG, "of the long tier")
    def test_cron_runs_in_one_worker(self):
        path = os.path.join(self.directory, "cron")
        workers = [self.launch("fleet", TASKHUB_TEST_CRON=path) for _ in range(WORKERS)]
        for worker in workers:
            worker.listen()
        self.await_shares(workers)

        def lines():
            if not os.path.exists(path):
                return []
            with open(path, encoding="ascii") as ledger:
                return [line.split() for line in ledger]
        seen = len(lines())
        until(lambda: len(lines()) >= seen + 3, "cron functions")
        seconds = [second for second, _ in lines()[seen:]]
        self.assertEqual(len(seconds), len(set(seconds)), "several workers ran the same")


class Applications(FleetTest):
    def test_two_applications_share_a_hub(self):
        worker = self.launch().listen()
        self.await_shares([worker])
        waiting = self.start(worker, "fan", activity="paint", width=20, ms=0)
        until(lambda: self.unserved(worker) == {"paint": 20}, "the work to wait, named")
        painter = self.launch("painter").listen()
        self.check_completed(worker, [waiting])
        output = worker.wait(waiting)["output"]
        self.assertEqual(output, {str(painter.worker()): 20})
        self.assertEqual(len(set(worker.partitions().values())), 1)  # the painter wants none
        self.assertEqual(painter.stop(), OK)

    def unserved(self, worker):
        view = worker.http("GET", API + "/hub")[2]
        return {u["name"]: u["waiting"] for u in view.get("unserved", [])}


if __name__ == "__main__":
    unittest.main(verbosity=2)

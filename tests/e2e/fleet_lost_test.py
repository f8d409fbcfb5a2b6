"""What a fleet rests on is lost: a topic that somebody deletes, the room on a broker's disk, the brokers
while the programs are to end. They say what is wrong and what to do, take nothing that they could not
keep, and neither spin nor hang.
"""
import errno
import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest

from fleetcase import LONG, FleetTest, setUpModule, tearDownModule
from harness import API, OK, Fleet, until

INTERVAL = 5  # seconds in which it is looked at whether somebody spins
END = 30      # seconds in which a program ends that drains for 2 s, whatever does not answer it


class LostCase(FleetTest):
    def cpu_seconds(self, program):
        """Of the supervisor and its child."""
        spent = 0
        for pid in (program.process.pid, program.worker()):
            if pid:
                with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
                    fields = stat.read().rsplit(")", 1)[1].split()
                spent += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        return spent

    def check_quiet(self, programs):
        """Waiting costs next to nothing, and is not told again and again."""
        def look():
            return [(self.cpu_seconds(p), len(p.stderr().splitlines())) for p in programs]
        before, began = look(), time.monotonic()
        until(lambda: time.monotonic() > began + INTERVAL, "the interval")
        for program, (cpu, lines), (cpu_then, lines_then) in zip(programs, look(), before):
            self.assertLess(cpu - cpu_then, 0.3 * INTERVAL, f"{program.log} spins")
            self.assertLess(lines - lines_then, 20 * INTERVAL, f"{program.log} is flooded")

    def ask(self, program):
        """A start's code and words."""
        body = {"ledger": self.ledger.path, "ms": 1, "steps": 2}
        code, _, answer = program.http("POST", f"{API}/orchestrators/chain", body)
        return code, str(answer)

    def await_words(self, programs, *words):
        for program in programs:
            for word in words:
                until(lambda p=program, w=word: w in p.stderr(), f"{program.log} to say: {word}")

    def check_ends(self, programs):
        for program in programs:
            program.process.send_signal(signal.SIGTERM)
        for program in programs:
            self.assertEqual(program.process.wait(END), OK, program.log)


class Deleted(LostCase):
    """Of the topics nobody can make again. What is in them is the truth."""

    def words(self, topic):
        return f"hub {self.hub} lacks its topic {self.hub}.{topic}", "backup", "hub delete"

    def check_deleted_underneath(self, topic):
        coordinator, workers = self.coordinator().listen(), self.workers(2)
        programs = [coordinator, *workers]
        self.works(coordinator)
        self.topics("remove", topic)
        if topic == "instances":
            code, words = self.ask(coordinator)
            self.assertEqual(code, 503, words)
            self.assertIn(f"{self.hub}.instances", words)
        self.await_words(programs, *self.words(topic))
        for _ in range(5):
            code, words = self.ask(coordinator)
            self.assertEqual(code, 503, words)
            self.assertIn(f"{self.hub}.{topic}", words)
        self.await_words(workers, "begins anew")
        self.check_quiet(programs)
        self.assertEqual(self.topics("count", topic), "0\n")
        self.check_ends(programs)

    def test_the_logs_are_deleted_underneath(self):
        self.check_deleted_underneath("history")

    def test_the_inboxes_are_deleted_underneath(self):
        self.check_deleted_underneath("instances")

    def check_deleted_meanwhile(self, topic):
        first = [self.coordinator().listen(), *self.workers(1)]
        self.works(first[0])
        self.check_ends(first)
        self.topics("remove", topic)
        programs = [self.coordinator(), self.launch()]
        self.await_words(programs, *self.words(topic))
        self.check_quiet(programs)
        self.assertEqual(self.topics("count", topic), "0\n")
        self.check_ends(programs)

    def test_the_logs_are_deleted_while_nobody_runs(self):
        self.check_deleted_meanwhile("history")

    @unittest.skipUnless(LONG, "of the long tier")
    def test_the_inboxes_are_deleted_while_nobody_runs(self):
        self.check_deleted_meanwhile("instances")


class Ends(LostCase):
    """A program that is told to end does so, with activities under way, though nobody answers it."""

    def begin(self):
        coordinator = self.coordinator().listen()
        workers = self.workers(2, "--placement", "shared", "--drain", "2s")
        self.works(coordinator)
        for _ in range(2):
            self.start(coordinator, "fan", ms=120000, width=8)
        until(lambda: sum(self.running().values()) >= 4, "long activities to begin")
        return [coordinator, *workers]

    def running(self):
        began, ended, _ = self.ledger.read()
        return began - ended

    def test_with_brokers_that_died(self):
        programs = self.begin()
        self.addCleanup(self.fleet.script, "start", "--node", "1")
        self.fleet.script("kill", "--node", "1")
        self.check_ends(programs)

    def test_with_brokers_that_do_not_answer(self):
        programs = self.begin()
        with open(os.path.join(self.fleet.folder, "kafka-1", "pid"), encoding="ascii") as file:
            broker = int(file.read())
        self.addCleanup(os.kill, broker, signal.SIGCONT)
        os.kill(broker, signal.SIGSTOP)
        self.check_ends(programs)

    def test_without_the_activities(self):
        self.check_without("activities")

    def test_without_the_logs(self):
        self.check_without("history")

    @unittest.skipUnless(LONG, "of the long tier")
    def test_without_the_inboxes(self):
        self.check_without("instances")

    @unittest.skipUnless(LONG, "of the long tier")
    def test_without_the_control_topic(self):
        self.check_without("control")

    def check_without(self, topic):
        programs = self.begin()
        self.topics("remove", topic)
        self.check_ends(programs)


class Disk:
    """A small file system of its own."""

    def __init__(self, megabytes):
        self.path = tempfile.mkdtemp(prefix="taskhub-disk-")
        self.ballast = os.path.join(self.path, "ballast")
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", self.path],
                              capture_output=True, text=True, check=False)
        self.refused = done.stderr.strip() if done.returncode else None

    def fill(self):
        """Somebody else takes what is left."""
        with open(self.ballast, "ab", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(1 << 16))
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise

    def free(self):
        os.unlink(self.ballast)

    def remove(self):
        if not self.refused:
            subprocess.run(["umount", self.path], check=True)
        os.rmdir(self.path)


class FullDisk(LostCase):
    def setUp(self):
        super().setUp()
        disk = Disk(96)
        self.addCleanup(disk.remove)
        if disk.refused:
            self.skipTest(f"no file system can be mounted: {disk.refused}")
        directory = tempfile.mkdtemp(dir=self.directory)
        options = os.environ.get("TASKHUB_KAFKA_OPTIONS", "").split()
        self.disk = disk
        self.fleet = Fleet(directory, *options, "--property", f"log.dirs={disk.path}/data")
        self.addCleanup(self.fleet.down)

    def is_up(self):
        with open(os.path.join(self.fleet.folder, "kafka-1", "pid"), encoding="ascii") as file:
            pid = int(file.read())
        with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"

    def is_down(self):
        try:
            return not self.is_up()
        except FileNotFoundError:
            return True

    def test_a_brokers_disk_is_full(self):
        coordinator, workers = self.coordinator().listen(), self.workers(2)
        load = self.load([coordinator, *workers], "chain", {"ms": 5, "steps": 5})
        until(lambda: len(load.started) > 100, "some load")
        self.disk.fill()
        until(self.is_down, "the broker to give up")
        for program in (coordinator, workers[0]):
            code, words = self.ask(program)
            self.assertEqual(code, 503, words)
            self.assertRegex(words, "was not (written|acknowledged).*: .*(refused|down|disk|storage)")
        self.await_words([coordinator, *workers], "no broker at")
        self.check_quiet([coordinator, *workers])
        self.disk.free()
        self.fleet.script("start", "--node", "1")
        before = len(load.started)
        until(lambda: len(load.started) > before + 100, "load after the restart", 120)
        instances = load.stop()
        self.check_completed(coordinator, instances)
        self.check_at_least_once()
        self.await_shares(workers)
        for program in (coordinator, *workers):
            self.assertNotIn("starting it again", program.stderr())
        print(f"    {len(instances)} instances, {self.ledger.repeated()} steps repeated",
              file=sys.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)

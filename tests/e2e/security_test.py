"""Kafka and Redis that ask for TLS and passwords, an API that asks for a key, and what people are told
who have the wrong ones. The brokers are real; deploy/kafka.sh --secure starts them.
"""
import os
import re
import shlex
import shutil
import subprocess
import tempfile
import time
import unittest

from fleethub import TASKHUB_COORDINATOR
from harness import (API, OK, SOURCE, TASKHUB_WORKER, UNAVAILABLE, USAGE, Server, app, run, until)

HUB = "Secured"
GREETINGS = ["Hello Tokyo!", "Hello Seattle!", "Hello London!"]
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


def setUpModule():
    global storage
    storage = Storage(unittest.addModuleCleanup, HUB, "up", "redis")


class Storage:
    """A broker and a Redis with TLS and one user; or a Redis alone."""

    def __init__(self, clean_up, hub, *parts):
        self.folder = tempfile.mkdtemp(prefix="taskhub-secure-", dir=os.environ.get("TMPDIR", "/var/tmp"))
        clean_up(shutil.rmtree, self.folder, ignore_errors=True)
        clean_up(self.script, "down")
        version = os.environ.get("TASKHUB_KAFKA_VERSION")
        for part in parts:
            self.script(part, "--secure", hub, *(["--version", version] if version else []))
        self.environment = {}
        for line in self.script("env").splitlines():
            name, _, value = shlex.split(line)[1].partition("=")
            self.environment[name] = value
        self.redis = self.environment["TASKHUB_REDIS"]
        self.properties = self.environment.get("TASKHUB_KAFKA_PROPERTIES")

    def script(self, command, *options):
        result = subprocess.run([os.path.join(SOURCE, "deploy", "kafka.sh"), command, "--folder", self.folder,
                                 *options], capture_output=True, text=True, check=False)
        if result.returncode != 0:
            raise AssertionError(f"kafka.sh {command}: {result.stdout}{result.stderr}")
        return result.stdout

    def secret(self, name):
        return os.path.join(self.folder, "secrets", name)

    def redis_connections(self):
        """How many Redis has accepted so far, this question's included."""
        address = re.search(r":(\d+)\?", self.redis).group(1)
        with open(self.secret("password"), encoding="ascii") as password:
            answer = subprocess.run(
                ["redis-cli", "-p", address, "--tls", "--cacert", self.secret("ca.pem"), "--user", "taskhub",
                 "--pass", password.read().strip(), "--no-auth-warning", "info", "stats"],
                capture_output=True, text=True, check=True).stdout
        return int(re.search(r"total_connections_received:(\d+)", answer).group(1))


class Program(Server):
    """One of the two, on the secured storage but for what a test changes."""

    def __init__(self, directory, program, *args, **changed):
        super().__init__(directory, os.path.basename(program))
        self.program, self.args = program, list(args)
        self.variables = {**storage.environment, "TASKHUB_HUB": HUB, "TASKHUB_STATE": directory,
                          "TASKHUB_APP": app("hello-cities"), **changed}

    def command(self):
        return [self.program, "--port", self.port, *self.args]

    def environment(self):
        return self.variables

    def says(self, words):
        until(lambda: words in self.stderr() or self.process.poll() is not None, repr(words))
        assert words in self.stderr(), self.stderr()

    def processor_seconds(self):
        """Its own and, of a worker, its child's."""
        total = 0
        for pid in filter(None, (self.process.pid, self.worker())):
            with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
                fields = stat.read().rsplit(")", 1)[1].split()
            total += int(fields[11]) + int(fields[12])
        return total / CLOCK_TICKS


class SecurityTest(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="taskhub-e2e-", dir=os.environ.get("TMPDIR", "/var/tmp"))
        self.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)

    def program(self, which, *args, **changed):
        program = Program(self.directory, which, *args, **changed)
        program.launch()
        self.addCleanup(lambda: program.process and program.kill())
        return program

    def refused(self, which, *args, **changed):
        """What it says when it ends because of how it was called."""
        program = self.program(which, *args, **changed)
        self.assertEqual(program.process.wait(60), USAGE)
        program.ended()
        return program.stderr()


class Right(SecurityTest):
    """The rights that docs/operations.md lists do for all of a hub's life."""

    def test_life(self):
        coordinator = self.program(TASKHUB_COORDINATOR).listen()
        worker = self.program(TASKHUB_WORKER).listen()
        instance = coordinator.start_instance("hello_cities")
        self.assertEqual(coordinator.wait(instance)["output"], GREETINGS)
        until(lambda: coordinator.http("GET", f"{API}/instances/{instance}")[2]["runtimeStatus"] == "Completed",
              "the projection has it")
        lag = run("lag", "--kafka", storage.environment["TASKHUB_KAFKA"], "--hub", HUB, "--json",
                  env=storage.environment)
        self.assertEqual(lag.returncode, OK, lag.stderr)
        self.assertNotIn("warn  redis", coordinator.stderr())
        self.assertEqual((worker.stop(), coordinator.stop()), (0, 0))
        deleted = run("hub", "delete", HUB, "--kafka", storage.environment["TASKHUB_KAFKA"],
                      env=storage.environment)
        self.assertEqual(deleted.returncode, OK, deleted.stderr)


class WrongForKafka(SecurityTest):
    def check(self, words, properties, programs=(TASKHUB_WORKER,), times=1):
        """They name the reason, keep trying and stay calm."""
        for which in programs:
            with self.subTest(program=os.path.basename(which)):
                began = time.monotonic()
                program = self.program(which, TASKHUB_KAFKA_PROPERTIES=properties)
                program.says("trying again")
                self.assertRegex(program.stderr(), f"no broker answers at 127.0.0.1:[0-9]+: .*{words}")
                until(lambda: len(re.findall(words, program.stderr())) >= times, "more attempts")
                elapsed = time.monotonic() - began
                self.assertLess(program.processor_seconds(), max(1.0, elapsed / 4))
                self.assertLess(len(program.stderr().splitlines()), 10 + 4 * elapsed)
                self.assertIsNone(program.process.poll())
                program.kill()

    def test_password(self):
        self.check("SASL authentication error: Authentication failed",
                   storage.properties.replace("sasl.password=", "sasl.password=not-"),
                   (TASKHUB_COORDINATOR, TASKHUB_WORKER), times=4)

    def test_authority(self):
        subprocess.run([os.path.join(SOURCE, "deploy", "certificates.sh"), self.directory + "/other"], check=True)
        self.check("certificate verify failed",
                   storage.properties.replace(storage.secret("ca.pem"), self.directory + "/other/ca.pem"))

    def test_no_tls(self):
        self.check("incorrect security.protocol", "security.protocol=plaintext")

    def test_command_line(self):
        wrong = storage.properties.replace("sasl.password=", "sasl.password=not-")
        lag = run("lag", "--kafka", storage.environment["TASKHUB_KAFKA"], "--hub", HUB,
                  env={"TASKHUB_KAFKA_PROPERTIES": wrong})
        self.assertEqual(lag.returncode, UNAVAILABLE, lag.stderr)
        self.assertIn("Authentication failed", lag.stderr)
        self.assertNotIn("not-", lag.stderr)
        version = subprocess.run(["pkg-config", "--modversion", "rdkafka"], capture_output=True, text=True,
                                 check=True).stdout
        old = [int(number) for number in version.split(".")] < [2, 6, 1]
        self.assertEqual("librdkafka 2.6.1 or later, not this one" in lag.stderr, old and "SCRAM" in wrong)

    def test_rights(self):
        coordinator = self.program(TASKHUB_COORDINATOR, TASKHUB_HUB="Stranger")
        coordinator.says("topic Stranger.instances cannot be created: Authorization failed")
        self.assertIsNone(coordinator.process.poll())

    def test_property(self):
        for which in (TASKHUB_COORDINATOR, TASKHUB_WORKER):
            self.assertIn("the Kafka property security.protocol cannot be \"tsl\"",
                          self.refused(which, "-X", "security.protocol=tsl"))
            self.assertIn("the Kafka property acks cannot be set", self.refused(which, "-X", "acks=1"))
            self.assertIn("-X needs NAME=VALUE", self.refused(which, "-X", "ssl.ca.location"))


class WrongForRedis(SecurityTest):
    """Kafka is well, so the fleet works; only Redis is not there, and the program says why."""

    def says(self, words, url):
        coordinator = self.program(TASKHUB_COORDINATOR, TASKHUB_REDIS=url)
        coordinator.says(words)
        self.assertNotIn("secret-of", coordinator.stderr())
        return coordinator

    def test_password(self):
        before = storage.redis_connections()
        self.says("does not accept the user and password of the URL",
                  storage.redis.replace("taskhub:", "taskhub:secret-of-nobody"))
        # Two connections, whose pauses are doubled: eight attempts of each take 1.9 s at least.
        began, asked = time.monotonic(), 1

        def attempted():
            nonlocal asked
            asked += 1
            return storage.redis_connections() - before - asked >= 18
        until(attempted, "more attempts")
        self.assertGreater(time.monotonic() - began, 1.5)

    def test_rights(self):
        other = Storage(self.addCleanup, "Stranger", "redis")
        self.says("does not give the URL's user the right", other.redis)

    def test_authority(self):
        self.says("is not accepted: self-signed certificate in certificate chain",
                  storage.redis.partition("?")[0])

    def test_host(self):
        self.says("is not accepted: hostname mismatch", storage.redis.replace("@127.0.0.1:", "@127.1:"))

    def test_no_tls(self):
        self.says("Redis at 127.0.0.1", re.sub(r"\?.*", "", storage.redis).replace("rediss:", "redis:"))

    def test_file(self):
        for which in (TASKHUB_COORDINATOR, TASKHUB_WORKER):
            words = self.refused(which, "--redis", "rediss://:secret-of-somebody@127.0.0.1?ca=/nowhere.pem")
            self.assertIn("cannot use /nowhere.pem, the Redis URL's ca: No such file", words)
            self.assertNotIn("secret-of", words)

    def test_url(self):
        for which in (TASKHUB_COORDINATOR, TASKHUB_WORKER):
            self.assertIn("a Redis URL begins with redis://", self.refused(which, "--redis", "http://127.0.0.1"))


class Key(SecurityTest):
    def test_demanded(self):
        for which in (TASKHUB_COORDINATOR, TASKHUB_WORKER):
            for address in ("0.0.0.0", "::", "192.0.2.1"):
                for key in ((), ("--key", "")):
                    with self.subTest(program=os.path.basename(which), address=address, key=key):
                        # Nobody listens there: it does not wait for Kafka before it says so.
                        words = self.refused(which, "--address", address, "--kafka", "127.0.0.1:1", *key)
                        self.assertIn(f"listening on {address} lets other machines in, so an API key must be set",
                                      words)

    def test_checked(self):
        for which in (TASKHUB_COORDINATOR, TASKHUB_WORKER):
            with self.subTest(program=os.path.basename(which)):
                options = ["--create"] if which == TASKHUB_WORKER else []
                program = self.program(which, "--address", "0.0.0.0", "--key", "right", *options).listen()
                program.url = program.url.replace("0.0.0.0", "127.0.0.1")
                for path in (f"{API}/hub", f"{API}/instances", f"{API}/lag", "/metrics"):
                    self.assertEqual(program.http("GET", path)[0], 401)
                    self.assertEqual(program.http("GET", path, headers={"x-functions-key": "wrong"})[0], 401)
                    self.assertEqual(program.http("GET", path + "?code=wrong")[0], 401)
                self.assertEqual(program.http("GET", f"{API}/hub", headers={"x-functions-key": "right"})[0], 200)
                self.assertEqual(program.http("GET", f"{API}/hub?code=right")[0], 200)
                program.kill()


if __name__ == "__main__":
    unittest.main()

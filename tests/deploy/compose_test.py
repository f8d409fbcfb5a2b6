"""The fleet in containers: docker-compose.yml, with everything built on this machine.

Files checks the compose files alone. Mounted runs the programs of this build in the images' runtime
layer. Built makes the images as they are shipped, the embedded hub's too. Both need Docker; without
it they fail and say why.
"""
import json
import os
import shlex
import socket
import subprocess
import sys
import time
import unittest
import urllib.error
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

from daemon import CouldNotRun, Docker  # noqa: E402  (its folder is known only now)

SOURCE = os.environ.get("TASKHUB_SOURCE", os.path.join(HERE, "..", ".."))
BUILD = os.environ.get("TASKHUB_BUILD", os.path.join(SOURCE, "build", "dev"))
API = "/runtime/webhooks/durabletask"
PATIENCE = 120
KEY = "key-of-this-test"
GREETINGS = ["Hello Tokyo!", "Hello Seattle!", "Hello London!"]
SHIPPED = ["-f", "docker-compose.yml"]
LOCAL = SHIPPED + ["-f", "deploy/docker-compose.local.yml"]
EMBEDDED = ["-f", "deploy/docker-compose.embedded.yml"]


def call(*command, env=None, fails=False):
    """What it prints on standard output; with `fails`, on standard error, and it has to fail."""
    result = subprocess.run(command, cwd=SOURCE, env=env, capture_output=True, text=True, check=False)
    if (result.returncode != 0) != fails:
        raise AssertionError(f"{shlex.join(command)} ended with {result.returncode}:\n"
                             f"{result.stdout[-4000:]}\n{result.stderr[-4000:]}")
    return result.stderr if fails else result.stdout


def until(condition, what, patience=PATIENCE):
    """The first true value of condition(); fails the test when patience is over."""
    deadline = time.monotonic() + patience
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError("waited in vain: " + what)
        time.sleep(0.2)


def composers():
    """Those of the two implementations that are here; the older one has to be."""
    found = [["docker-compose"]]
    if subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode == 0:
        found.append(["docker", "compose"])
    return found


class Files(unittest.TestCase):
    def test_valid(self):
        env = {**os.environ, "TASKHUB_KAFKA_JARS": "/jars", "TASKHUB_PROGRAMS": "/programs"}
        for composer in composers():
            for files in (SHIPPED, LOCAL, EMBEDDED, LOCAL + ["-f", "tests/deploy/mounted.yml"]):
                with self.subTest(composer=composer, files=files):
                    call(*composer, *files, "config", "-q", env=env)

    def test_shipped_file_needs_no_variable(self):
        env = {name: value for name, value in os.environ.items() if not name.startswith("TASKHUB_")}
        services = call("docker-compose", *SHIPPED, "config", "--services", env=env).split()
        self.assertEqual(sorted(services), ["coordinator", "kafka", "redis", "worker"])

    def test_local_file_says_what_it_needs(self):
        env = {name: value for name, value in os.environ.items() if not name.startswith("TASKHUB_")}
        self.assertIn("is set by deploy/local-base.sh",
                      call("docker-compose", *LOCAL, "config", env=env, fails=True))


class Fleet(unittest.TestCase):
    """A fleet of containers that goes with the test."""
    files = LOCAL
    application = "/apps/hello-cities.so"

    @classmethod
    def setUpClass(cls):
        try:
            cls.docker = Docker()
        except CouldNotRun as reason:
            raise AssertionError(f"could not run: {reason}") from None
        cls.addClassCleanup(cls.docker.stop)
        cls.env = cls.docker.environment
        line = call("deploy/local-base.sh", env=cls.env).strip()
        name, _, value = shlex.split(line)[1].partition("=")
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        cls.env.update({name: value, "TASKHUB_PROGRAMS": BUILD, "TASKHUB_KEY": KEY,
                        "TASKHUB_APP": cls.application, "TASKHUB_PORT": str(port),
                        "COMPOSE_PROJECT_NAME": f"taskhubtest{os.getpid()}"})
        cls.url = f"http://127.0.0.1:{port}"
        cls.addClassCleanup(cls.compose, "down", "-v", "--remove-orphans", "-t", "1")
        cls.compose("build")

    def run(self, result=None):
        """A failed test shows what the containers said."""
        before = len(result.failures) + len(result.errors)
        super().run(result)
        if len(result.failures) + len(result.errors) > before:
            print(self.compose("logs", "--no-color", "--tail", "30"), file=sys.stderr)

    # ---- containers ----

    @classmethod
    def compose(cls, *arguments):
        return call("docker-compose", *cls.files, *arguments, env=cls.env)

    def inspect(self, container):
        return json.loads(call("docker", "inspect", container, env=self.env))[0]

    def containers(self, service=None):
        return self.compose("ps", "-q", *([service] if service else [])).split()

    def all_healthy(self):
        return all(self.inspect(container)["State"].get("Health", {}).get("Status") == "healthy"
                   for container in self.containers())

    def up(self, workers):
        self.compose("up", "-d", "--no-build", "--scale", f"worker={workers}")
        until(self.all_healthy, "every health check passes")
        until(lambda: len(self.owners()) == workers and None not in self.owners(),
              f"{workers} workers share the partitions")

    # ---- the hub ----

    def http(self, method, path, key=KEY):
        request = urllib.request.Request(self.url + path, method=method, data=b"" if method == "POST" else None)
        if key:
            request.add_header("x-functions-key", key)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=PATIENCE) as response:
                return response.status, json.loads(response.read() or b"null")
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode("utf-8", "replace")

    def start(self, count):
        started = []
        for _ in range(count):
            code, answer = self.http("POST", f"{API}/orchestrators/hello_cities")
            self.assertEqual(code, 202, answer)
            started.append(answer["id"])
        return started

    def check_all_complete(self, instances):
        for instance in instances:
            status = until(lambda: self.ended(instance), f"the end of {instance}")
            self.assertEqual((status["runtimeStatus"], status["output"]), ("Completed", GREETINGS))

    def ended(self, instance):
        code, answer = self.http("GET", f"{API}/instances/{instance}/wait?timeout=5")
        return answer if code == 200 else None

    def lag(self):
        """As an operator asks for it."""
        return json.loads(self.compose("exec", "-T", "coordinator", "taskhub", "lag", "--json"))

    def owners(self):
        return {partition["owner"] for partition in self.lag()["partitions"]
                if partition["topic"] == "instances"}

    def nothing_waits(self):
        return self.lag()["totals"]["lag"] == 0

    # ---- what is the same for both ----

    def check_life(self):
        self.up(2)
        self.check_guarded()
        self.check_confined()
        self.check_all_complete(self.start(20))
        self.up(3)
        self.check_death(self.start(60))
        self.check_restart()

    def check_guarded(self):
        self.assertEqual(self.http("GET", f"{API}/hub", key=None)[0], 401)
        self.assertEqual(self.http("GET", f"{API}/hub", key="wrong")[0], 401)
        self.assertEqual(self.http("GET", f"{API}/hub")[0], 200)

    def check_confined(self):
        """Nobody is root, and nothing that is linked is missing."""
        for service in ("coordinator", "worker"):
            self.assertEqual(self.compose("exec", "-T", service, "id", "-u").strip(), "10001")
            linked = self.compose("exec", "-T", service, "sh", "-c",
                                  'for f in "${TASKHUB_APP%/*}"/*.so $(which taskhub taskhub-worker '
                                  'taskhub-coordinator); do [ ! -f "$f" ] || ldd "$f"; done')
            self.assertIn("librdkafka", linked)
            self.assertNotIn("not found", linked)

    def check_death(self, under_way):
        victim = self.containers("worker")[0]
        call("docker", "kill", victim, env=self.env)
        self.check_all_complete(under_way + self.start(20))
        self.assertFalse(self.inspect(victim)["State"]["Running"])
        until(lambda: len(self.owners()) == 2 and None not in self.owners(),
              "the other two own every partition")
        until(self.nothing_waits, "the lag is 0")

    def check_restart(self):
        """Volumes outlive their containers."""
        before = self.start(3)
        self.check_all_complete(before)
        self.compose("down")
        self.up(1)
        self.check_all_complete(before + self.start(3))


class Mounted(Fleet):
    files = LOCAL + ["-f", "tests/deploy/mounted.yml"]
    application = "/programs/apps/hello-cities.so"

    def test_life(self):
        self.check_life()


class Built(Fleet):
    def test_life(self):
        self.check_life()

    def test_embedded(self):
        base = ["--build-arg", "BUILD_BASE=taskhub-debian:12", "--build-arg", "RUN_BASE=taskhub-debian:12"]
        call("docker", "build", "-q", "-f", "deploy/Dockerfile", "-t", "taskhub-test-hub", *base, ".", env=self.env)
        hub = call("docker", "run", "-d", "--init", "-e", f"TASKHUB_KEY={KEY}", "taskhub-test-hub",
                   env=self.env).strip()
        self.addCleanup(call, "docker", "rm", "-f", "-v", hub, env=self.env)
        until(lambda: self.inspect(hub)["State"]["Health"]["Status"] == "healthy", "the hub is healthy")
        self.assertEqual(json.loads(call("docker", "exec", hub, "taskhub", "start", "hello_cities", "--wait",
                                         env=self.env)), GREETINGS)
        self.assertEqual(call("docker", "exec", hub, "id", "-u", env=self.env).strip(), "10001")


if __name__ == "__main__":
    unittest.main()

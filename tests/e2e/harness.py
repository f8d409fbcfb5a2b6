"""What the end-to-end tests share: the real program, started on a free port in a directory of its own.

Conditions are awaited with `until`; nothing sleeps for a guessed time.
"""
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import unittest
import urllib.error
import urllib.request

BIN = os.environ.get("TASKHUB_BIN", "build/bin")
APPS = os.environ.get("TASKHUB_APPS", "build/apps")
TASKHUB = os.path.join(BIN, "taskhub")
TASKHUB_WORKER = os.path.join(BIN, "taskhub-worker")
SOURCE = os.environ.get("TASKHUB_SOURCE", ".")
API = "/runtime/webhooks/durabletask"
PATIENCE = float(os.environ.get("TASKHUB_PATIENCE", "60"))

# Exit codes of `taskhub --help`.
OK, ERROR, USAGE, NOT_FOUND, CONFLICT, TIMEOUT, FAILED, UNAVAILABLE, UNHEALTHY = range(9)


def app(name):
    return os.path.join(APPS, name + ".so")


def until(condition, what, patience=PATIENCE):
    """The first true value of condition(); fails the test when patience is over."""
    deadline = time.monotonic() + patience
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError("waited in vain: " + what)
        time.sleep(0.01)


def run(*args, stdin=None, timeout=PATIENCE, env=None):
    """The program with these arguments; its streams as text."""
    return subprocess.run([TASKHUB, *args], input=stdin, capture_output=True, text=True,
                          timeout=timeout, env={**os.environ, **(env or {})})


class Server:
    """A program that serves a hub over HTTP, in a process group of its own."""

    def __init__(self, directory, name):
        self.directory = directory
        self.process = None
        self.url = None
        self.log = os.path.join(directory, name + ".log")
        self.port = "0"
        self.drain = None

    def command(self):
        """The program and its arguments."""
        raise NotImplementedError

    def environment(self):
        return {}

    def launch(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                self.command(), stdout=subprocess.PIPE, stderr=log, text=True,
                start_new_session=True, env={**os.environ, **self.environment()})
        return self

    def start(self):
        self.launch()
        return self.listen()

    def listen(self):
        """Waits until it says where it listens."""
        self.url = None
        for line in self.process.stdout:
            found = re.match(r"\s+API\s+(http://\S+)", line)
            if found:
                self.url = found.group(1)
                break
        if not self.url:
            code = self.process.wait(PATIENCE)
            self.process.stdout.close()
            raise AssertionError(f"{self.command()[:2]} ended with {code}: {self.stderr()}")
        self.port = self.url.rsplit(":", 1)[1]  # the same again after a restart
        self.drain = threading.Thread(target=self.process.stdout.read, daemon=True)
        self.drain.start()
        return self

    def stderr(self):
        with open(self.log, encoding="utf-8", errors="replace") as log:
            return log.read()

    def ended(self):
        if self.drain:
            self.drain.join(PATIENCE)
        self.process.stdout.close()
        self.process = self.drain = None

    def stop(self):
        """A polite end; gives the exit code."""
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(PATIENCE)
        self.ended()
        return code

    def kill(self):
        """kill -9 of the supervisor and everything below it, unless it has ended."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(PATIENCE)
        self.ended()

    def worker(self):
        """The process id of the supervised child."""
        children = f"/proc/{self.process.pid}/task/{self.process.pid}/children"
        with open(children, encoding="ascii") as listed:
            pids = listed.read().split()
        return int(pids[0]) if pids else None

    # ---- the API ----

    def http(self, method, path, body=None, headers=None, timeout=PATIENCE):
        """(status, headers, parsed body or text)"""
        data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, method=method)
        if data is not None:
            request.add_header("Content-Type", "application/json")
        for name, value in (headers or {}).items():
            request.add_header(name, value)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=timeout) as response:
                return response.status, response.headers, parsed(response.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers, parsed(error.read())

    def start_through_crashes(self, name, body, instance):
        """As start_instance, while the worker may be down or dies before it answers. An instance
        that is there was started by an attempt whose answer got lost; another start would replace
        it if it has ended meanwhile."""
        def attempt():
            try:
                if self.http("GET", f"{API}/instances/{instance}")[0] in (200, 202):
                    return instance
                code, _, answer = self.http("POST", f"{API}/orchestrators/{name}/{instance}", body)
            except (OSError, http.client.HTTPException):
                return None
            assert code in (202, 503), (code, answer)
            return instance if code == 202 else None
        return until(attempt, f"start of {instance}")

    def start_instance(self, name, body=None, instance=None):
        path = f"{API}/orchestrators/{name}" + (f"/{instance}" if instance else "")
        status, _, answer = self.http("POST", path, body)
        assert status == 202, (status, answer)
        return answer["id"]

    def status(self, instance):
        return self.http("GET", f"{API}/instances/{instance}")[2]

    def wait(self, instance, patience=PATIENCE):
        """The final status, also across restarts of the worker."""
        def look():
            try:
                code, _, answer = self.http("GET", f"{API}/instances/{instance}/wait?timeout=5")
            except (OSError, http.client.HTTPException):
                return None
            return answer if code == 200 else None
        return until(look, f"the end of {instance}", patience)

    # ---- the command line ----

    def cli(self, *args, stdin=None):
        return run(*args, "--url", self.url, stdin=stdin)


class Hub(Server):
    """`taskhub dev`."""
    name = "TestHubName"

    def __init__(self, directory, application, *args, database="hub.db", fresh=False):
        super().__init__(directory, "stderr")
        self.application = application
        self.args = list(args)
        self.database = os.path.join(directory, database)

    def command(self):
        return [TASKHUB, "dev", self.application, "--db", self.database, "--port", self.port,
                *self.args]

    def release(self):
        """The test is over."""
        if self.process:
            self.kill()


class Worker(Server):
    """`taskhub-worker`, one of a fleet."""

    def __init__(self, fleet, hub, application, *args, name, create=True, **environment):
        super().__init__(fleet.directory, name)
        self.fleet = fleet
        self.hub = hub
        self.application = application
        self.args = list(args)
        self.create = create
        self.variables = environment

    def command(self):
        create = ["--create"] if self.create else []
        return [TASKHUB_WORKER, "--app", self.application, "--hub", self.hub, *create,
                "--port", self.port, *self.args]

    def environment(self):
        return {"TASKHUB_KAFKA": self.fleet.kafka, "TASKHUB_REDIS": self.fleet.redis,
                "TASKHUB_STATE": os.path.join(self.directory, "state"), **self.variables}

    def is_ready(self):
        try:
            return self.http("GET", "/readyz")[0] == 200
        except OSError:
            return False

    def partitions(self):
        """By partition: the owner's name; None: nobody. Of the whole hub, as this worker sees it."""
        code, _, view = self.http("GET", API + "/hub")
        if code != 200:
            return {}
        return {p["partition"]: p.get("owner") for p in view["partitionDetails"]}

    def name(self):
        """Its name among the members."""
        pid = self.worker() or self.process.pid
        names = {owner for owner in self.partitions().values() if owner}
        return next((name for name in names if f"-{pid}-" in name), None)


class Fleet:
    """Kafka and Redis of their own, and workers. What it starts it stops, by process id."""

    def __init__(self, directory, *options):
        self.directory = directory
        self.folder = os.path.join(directory, "fleet")
        self.workers = []
        self.script("up", *options)
        self.script("redis")
        lines = self.script("env").stdout
        self.kafka = re.search(r"TASKHUB_KAFKA=(\S+)", lines).group(1)
        self.redis = re.search(r"TASKHUB_REDIS=(\S+)", lines).group(1)

    def script(self, command, *options):
        result = subprocess.run(
            [os.path.join(SOURCE, "deploy", "kafka.sh"), command, "--folder", self.folder, *options],
            capture_output=True, text=True, check=False)
        if result.returncode != 0:
            raise AssertionError(f"kafka.sh {command}: {result.stdout}{result.stderr}")
        return result

    def worker(self, hub, application, *args, **more):
        """Launched, but not yet there: see Server.listen."""
        worker = Worker(self, hub, application, *args, name=f"{hub}-{len(self.workers)}", **more)
        self.workers.append(worker)
        return worker.launch()

    def end_workers(self):
        while self.workers:
            worker = self.workers.pop()
            if worker.process:
                worker.kill()

    def down(self):
        self.end_workers()
        self.script("down")


def parsed(body):
    try:
        return json.loads(body)
    except ValueError:
        return body.decode("utf-8", "replace")


class HubTest(unittest.TestCase):
    """A test with a directory, and hubs that end with it. Embedded ones, unless fleet_mode.py has put
    hubs on Kafka and Redis in their place."""
    make = Hub
    differences = {}  # by test, or by what a test asks `differs`: why it is not so in a fleet

    def setUp(self):
        for name in (self.id(), self.id().rsplit(".", 1)[0]):
            if name in self.differences:
                self.skipTest(self.differences[name])
        self.directory = tempfile.mkdtemp(prefix="taskhub-e2e-", dir=os.environ.get("TMPDIR", "/var/tmp"))
        self.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)

    def differs(self, what):
        """Whether this is legitimately different from the embedded hub."""
        return what in self.differences

    def hub(self, application, *args, **more):
        hub = self.make(self.directory, application, *args, **more).start()
        self.addCleanup(hub.release)
        return hub

    def assertExit(self, result, code):
        self.assertEqual(result.returncode, code, f"stdout: {result.stdout}\nstderr: {result.stderr}")

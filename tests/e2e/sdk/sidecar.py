"""What SDK workers and clients talk to, for the tests: `taskhub dev` without an application; the
workers of a fleet, of which each program and each client gets another one; or a stand-in where the
program does not serve SDKs yet. TASKHUB_SIDECAR=dev, fleet or stand-in decides.
"""
import atexit
import functools
import itertools
import os
import re
import shutil
import socket
import sys
import tempfile
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
from harness import (OK, PATIENCE, TASKHUB, TASKHUB_WORKER, Fleet, Server,  # noqa: E402
                     run, until)
from sdk.languages import python_environment  # noqa: E402


class Sidecar(Server):
    """A program that prints `  RPC            HOST:PORT` when it serves SDKs there."""
    is_taskhub = True
    endpoint = None
    lines = {"endpoint": r"\s+RPC\s+(?:\w+://)?(\S+)"}  # by attribute: what its first words hold

    def listen(self):
        missing = dict(self.lines)
        while missing:
            line = self.process.stdout.readline()
            if not line:
                code = self.process.wait(PATIENCE)
                self.process.stdout.close()
                raise AssertionError(f"{self.command()[:2]} ended with {code} and did not say "
                                     f"{sorted(missing)}: {self.stderr()}")
            for name, pattern in list(missing.items()):
                found = re.match(pattern, line)
                if found:
                    setattr(self, name, found.group(1))
                    del missing[name]
        self.drain = threading.Thread(target=self.process.stdout.read, daemon=True)
        self.drain.start()
        return self

    def check(self):
        """Whether it is well, at the end of a test; fails if not."""

    def release(self):
        """The test is over."""
        if self.process:
            self.kill()


class Dev(Sidecar):
    """`taskhub dev`; where it listened once it listens again."""
    lines = {"url": r"\s+API\s+(http://\S+)", **Sidecar.lines}

    def __init__(self, directory, *args):
        super().__init__(directory, "sidecar")
        self.rpc_port = "0"
        self.args = args

    def command(self):
        return [TASKHUB, "dev", "--db", os.path.join(self.directory, "hub.db"), "--port",
                self.port, "--rpc-port", self.rpc_port, *self.args]

    def listen(self):
        super().listen()
        self.port = self.url.rsplit(":", 1)[1]
        self.rpc_port = self.endpoint.rsplit(":", 1)[1]
        return self


@functools.cache
def brokers():
    """One Kafka and one Redis for all tests of a process; each test has a hub of its own."""
    directory = tempfile.mkdtemp(prefix="taskhub-sdk-", dir=os.environ.get("TMPDIR", "/var/tmp"))
    fleet = Fleet(directory)
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    atexit.register(fleet.down)
    return fleet


class Worker(Sidecar):
    """`taskhub-worker` without an application; where it listened once it listens again."""
    lines = {"url": r"\s+API\s+(http://\S+)", **Sidecar.lines}

    def __init__(self, directory, hub, name):
        super().__init__(directory, name)
        self.hub = hub
        self.rpc_port = "0"

    def command(self):
        return [TASKHUB_WORKER, "--hub", self.hub, "--create", "--partitions", "6", "--port", self.port,
                "--rpc-port", self.rpc_port]

    def environment(self):
        return {"TASKHUB_KAFKA": brokers().kafka, "TASKHUB_REDIS": brokers().redis,
                "TASKHUB_STATE": os.path.join(self.directory, "state")}

    def listen(self):
        super().listen()
        self.port = self.url.rsplit(":", 1)[1]
        self.rpc_port = self.endpoint.rsplit(":", 1)[1]
        return self

    def is_ready(self):
        try:
            return self.http("GET", "/readyz")[0] == 200
        except OSError:
            return False


class Workers:
    """Three workers of a hub. What dies and comes back is the first one."""
    is_taskhub = True
    count = itertools.count(1)
    workers = 3

    def __init__(self, directory):
        self.hub = f"Sdk{os.getpid()}x{next(self.count)}"
        self.all = [Worker(directory, self.hub, f"worker-{n}") for n in range(self.workers)]
        self.turn = itertools.cycle(self.all)

    @property
    def endpoint(self):
        return next(self.turn).endpoint

    def start(self):
        for worker in self.all:
            if not worker.process:
                worker.launch().listen()
        until(lambda: all(worker.is_ready() for worker in self.all), "owners of all partitions")
        return self

    def kill(self):
        self.all[0].kill()

    def stderr(self):
        return "".join(f"{worker.endpoint}:\n{worker.stderr()}" for worker in self.all)

    def check(self):
        """What is stored must make sense, whatever died meanwhile."""
        end = run("doctor", "--hub", self.hub, "--kafka", brokers().kafka, "--redis", brokers().redis,
                  timeout=PATIENCE)
        if end.returncode != OK:
            raise AssertionError(f"the hub is not well:\n{end.stdout}{end.stderr}")

    def release(self):
        for worker in self.all:
            worker.release()


class StandIn(Sidecar):
    is_taskhub = False

    def __init__(self, directory):
        super().__init__(directory, "sidecar")

    def command(self):
        return [os.path.join(python_environment(), "bin", "python"),
                os.path.join(HERE, "stand_in.py")]


@functools.cache
def kind():
    wanted = os.environ.get("TASKHUB_SIDECAR")
    if not wanted:
        wanted = "dev" if "--rpc-port" in run("dev", "--help").stdout else "stand-in"
    return {"dev": Dev, "fleet": Workers, "stand-in": StandIn}[wanted]


class Proxy:
    """A road to an endpoint that can be cut: `cut` breaks all connections, new ones may come."""

    def __init__(self, endpoint=None):
        self.upstream = endpoint
        self.lock = threading.Lock()
        self.sockets = set()
        self.accepted = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def connect(self):
        return socket.create_connection(self.upstream.rsplit(":", 1))

    def accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            try:
                far = self.connect()
            except OSError:
                near.close()
                continue
            with self.lock:
                self.sockets |= {near, far}
                self.accepted += 1
            for source, target in ((near, far), (far, near)):
                threading.Thread(target=self.pump, args=(source, target), daemon=True).start()

    def pump(self, source, target):
        try:
            while data := source.recv(65536):
                target.sendall(data)
        except OSError:
            pass
        for end in (source, target):
            self.end(end)

    def end(self, end):
        with self.lock:
            if end not in self.sockets:
                return
            self.sockets.discard(end)
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        end.close()

    def cut(self):
        with self.lock:
            broken = list(self.sockets)
        for end in broken:
            self.end(end)

    def close(self):
        # A thread that waits in accept() does not notice close() alone.
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.cut()

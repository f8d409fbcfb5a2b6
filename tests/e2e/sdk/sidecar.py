"""What SDK workers and clients talk to, for the tests: `taskhub dev` without an application, or a
stand-in where the program does not serve SDKs yet. TASKHUB_SIDECAR=dev or stand-in decides, too.
"""
import functools
import os
import re
import socket
import sys
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
from harness import PATIENCE, TASKHUB, Server, run  # noqa: E402
from sdk.languages import python_environment  # noqa: E402


class Sidecar(Server):
    """A program that prints `  RPC            HOST:PORT` when it serves SDKs there."""
    durable = True  # what it keeps survives kill -9
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


class StandIn(Sidecar):
    durable = False

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
    return {"dev": Dev, "stand-in": StandIn}[wanted]


class Proxy:
    """A road to an endpoint that can be cut: `cut` breaks all connections, new ones may come."""

    def __init__(self, endpoint):
        host, port = endpoint.rsplit(":", 1)
        self.upstream = host, int(port)
        self.lock = threading.Lock()
        self.sockets = set()
        self.accepted = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(self.upstream)
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

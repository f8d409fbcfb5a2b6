"""The broker writes what a client sent, but its answers are lost, and then the connection: of a proxy's
making, between the coordinator and a broker. What is in doubt then is told to the client; it is never
written again behind its back.
"""
import concurrent.futures
import os
import selectors
import shutil
import socket
import tempfile
import threading
import time
import unittest

from fleetcase import FleetTest
from fleethub import Coordinator
from harness import API, Fleet, app, until

TIME_FOR_CLIENTS = 10  # common/provider/kafka/open.c


class Proxy(threading.Thread):
    """Forwards connections to a port; can keep the answers to itself, and cut all connections."""

    def __init__(self):
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port, self.target = self.listener.getsockname()[1], None
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.listener, selectors.EVENT_READ, None)
        self.lock, self.pairs, self.silent = threading.Lock(), {}, False

    def run(self):
        while True:
            for key, _ in self.selector.select():
                with self.lock:
                    if key.fileobj is self.listener:
                        self.accept()
                    elif key.fileobj in self.pairs:
                        self.forward(key.fileobj, is_answer=key.data)

    def accept(self):
        client, _ = self.listener.accept()
        try:
            server = socket.create_connection(("127.0.0.1", self.target))
        except OSError:
            client.close()
            return
        for one, other, is_answer in ((client, server, False), (server, client, True)):
            self.pairs[one] = other
            self.selector.register(one, selectors.EVENT_READ, is_answer)

    def forward(self, source, is_answer):
        try:
            data = source.recv(1 << 16)
            if data and not (is_answer and self.silent):
                self.pairs[source].sendall(data)
        except OSError:
            data = b""
        if not data:
            self.close(source)

    def close(self, one):
        for end in (self.pairs.pop(one), one):
            self.pairs.pop(end, None)
            self.selector.unregister(end)
            end.close()

    def swallow(self):
        with self.lock:
            self.silent = True

    def cut(self):
        """Answers come through again, over new connections."""
        with self.lock:
            self.silent = False
            while self.pairs:
                self.close(next(iter(self.pairs)))


def free_ports(count):
    """The first of so many in a row."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as first:
            port = first.getsockname()[1]
            try:
                for other in range(port + 1, port + count):
                    socket.create_server(("127.0.0.1", other)).close()
            except OSError:
                continue
            return port


def listeners(port, proxy):
    """A broker's settings: clients of its other door are sent to the proxy."""
    return [word for setting in (
        f"listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{port + 1},"
        f"BEHIND://127.0.0.1:{port + 2}",
        f"advertised.listeners=PLAINTEXT://127.0.0.1:{port},BEHIND://127.0.0.1:{proxy}",
        "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,BEHIND:PLAINTEXT",
        "inter.broker.listener.name=PLAINTEXT") for word in ("--property", setting)]


class Cut(FleetTest):
    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="taskhub-cut-", dir=os.environ.get("TMPDIR", "/var/tmp"))
        self.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)
        self.hub = "Cut"
        self.proxy = Proxy()
        port = free_ports(3)
        self.proxy.target = port + 2
        self.fleet = Fleet(self.directory, "--port", str(port), *listeners(port, self.proxy.port))
        self.addCleanup(self.fleet.down)
        self.proxy.start()

    def balance(self, key):
        code, _, state = self.worker.http("GET", f"{API}/entities/account/{key}")
        return state if code == 200 else None

    def signal(self, key, amount):
        return self.at.http("POST", f"{API}/entities/account/{key}?op=add", amount)[0]

    def test_what_is_in_doubt_is_not_written_again(self):
        self.worker = self.fleet.worker(self.hub, app("chaos")).listen()
        until(self.worker.is_ready, "a worker that is ready")
        self.at = Coordinator(self.fleet, self.hub, TASKHUB_KAFKA=f"127.0.0.1:{self.proxy.port}")
        self.fleet.workers.append(self.at)
        self.at.launch().listen()
        until(self.at.is_ready, "a coordinator that is ready")
        self.assertEqual(self.signal("second", 1), 202)
        with concurrent.futures.ThreadPoolExecutor() as pool:
            self.proxy.swallow()
            asked = time.monotonic()
            first = pool.submit(self.signal, "first", 1)
            until(lambda: self.balance("first") == 1, "what the first one asked for")
            # The second one has not waited for long when the first one has waited for too long.
            until(lambda: time.monotonic() > asked + 0.7 * TIME_FOR_CLIENTS, "the time of the second")
            second = pool.submit(self.signal, "second", 1)
            until(lambda: self.balance("second") == 2, "what the second one asked for")
            self.assertEqual(first.result(), 503)
            self.proxy.cut()
            self.assertIn(second.result(), (202, 503))
        until(lambda: self.signal("second", 100) == 202, "a broker that is there again")
        until(lambda: self.balance("second") > 100, "the last signal, which comes behind all others")
        self.assertEqual(self.balance("second"), 102)


if __name__ == "__main__":
    unittest.main(verbosity=2)

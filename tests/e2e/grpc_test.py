"""Real gRPC clients against the transport: Python's grpcio in this process, Node's grpc-js beside.

The first is run by an interpreter of its own, which packages.py installs.
"""
import os
import shutil
import sys
import threading
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(HERE, "grpc"))
from packages import call, npm, pypi, run_within  # noqa: E402

FOLDER = pypi("grpcio==1.85.3")
run_within(FOLDER)

import grpc  # noqa: E402

from harness import PATIENCE, SANITIZED, Server, certificates, until  # noqa: E402

MIB = 1 << 20
# Channels are told apart by their options; without this they share connections.
ALONE = ("grpc.use_local_subchannel_pool", 1)
LARGE = ("grpc.max_receive_message_length", -1)


class Client:
    """A channel and the methods of grpc_echo; messages are bytes."""

    def __init__(self, server, directory=None, options=()):
        options = (ALONE, LARGE, *options)
        if directory:
            self.channel = grpc.secure_channel(server.address, credentials(directory), options)
        else:
            self.channel = grpc.insecure_channel(server.address, options)

    def __getattr__(self, name):
        kind = {"Bidi": "stream_stream", "Paused": "stream_stream", "Collect": "stream_unary",
                "Stream": "unary_stream", "Threaded": "unary_stream", "Wait": "unary_stream",
                "Forever": "unary_unary"}.get(name, "unary_unary")
        return getattr(self.channel, kind)("/test.Echo/" + name)

    def close(self):
        self.channel.close()


def credentials(directory):
    def read(name):
        with open(os.path.join(directory, name), "rb") as file:
            return file.read()
    return grpc.ssl_channel_credentials(read("ca.pem"), read("client.key"), read("client.pem"))


class Base(unittest.TestCase):
    directory = None

    def server(self, *args, **more):
        if self.directory:
            args = ("--certificate", os.path.join(self.directory, "server.pem"),
                    "--key", os.path.join(self.directory, "server.key"),
                    "--client-ca", os.path.join(self.directory, "ca.pem"), *args)
        server = Server(*args, **more)
        self.addCleanup(server.stop)
        return server

    def client(self, server, *options):
        client = Client(server, self.directory, options)
        self.addCleanup(client.close)
        return client

    def assertStatus(self, code, function, *args, **more):
        with self.assertRaises(grpc.RpcError) as caught:
            result = function(*args, **more)
            if hasattr(result, "__iter__") and not isinstance(result, bytes):
                list(result)
        self.assertEqual(caught.exception.code(), code, caught.exception)
        return caught.exception


class Common(Base):
    def test_unary(self):
        client = self.client(self.server())
        for message in (b"hello", b"", os.urandom(100000), os.urandom(4 * MIB)):
            self.assertEqual(client.Unary(message, timeout=PATIENCE), message)

    def test_too_large(self):
        client = self.client(self.server())
        wait = client.Wait(b"")
        error = self.assertStatus(grpc.StatusCode.RESOURCE_EXHAUSTED, client.Unary,
                                  b"x" * (4 * MIB + 1))
        self.assertIn("4194305 bytes", error.details())
        self.assertEqual(client.Unary(b"still here"), b"still here")
        wait.cancel()

    def test_streams(self):
        client = self.client(self.server())
        got = list(client.Stream(b"20000 100"))
        self.assertEqual((len(got), set(map(len, got))), (20000, {100}))
        got = list(client.Stream(b"20 1000000"))
        self.assertEqual((len(got), set(map(len, got))), (20, {1000000}))
        self.assertEqual(len(list(client.Stream(b"0 0"))), 0)
        got = list(client.Threaded(b"5000 1000"))
        self.assertEqual(b"".join(got), b"s" * 5000000)

    def test_client_streams(self):
        client = self.client(self.server())
        self.assertEqual(client.Collect(iter([b"x" * 1000] * 5000)), b"5000000")
        self.assertEqual(client.Collect(iter([])), b"0")
        self.assertEqual(client.Collect(iter([b"x" * 3 * MIB] * 10)), b"%d" % (30 * MIB))

    def test_bidi(self):
        client = self.client(self.server())
        answer = threading.Semaphore(1)

        def ask():
            for i in range(200):
                self.assertTrue(answer.acquire(timeout=PATIENCE))
                yield b"%d" % i
        for i, message in enumerate(client.Bidi(ask())):
            self.assertEqual(message, b"%d" % i)
            answer.release()
        self.assertEqual(i, 199)
        sent = [os.urandom(i) for i in range(2000)]
        self.assertEqual(list(client.Bidi(iter(sent))), sent)

    def test_deadlines(self):
        server = self.server()
        client = self.client(server)
        start = time.monotonic()
        self.assertStatus(grpc.StatusCode.DEADLINE_EXCEEDED, client.Forever, b"", timeout=0.3)
        self.assertGreater(time.monotonic() - start, 0.29)
        until(lambda: server.stats()["calls"] == 0, "the end of the call on the server")
        left = int(client.Deadline(b"", timeout=50))
        self.assertTrue(40000 < left <= 51000, left)  # the client rounds up
        self.assertEqual(int(client.Deadline(b"")), -1)

    def test_cancel(self):
        server = self.server()
        client = self.client(server)
        stream = client.Threaded(b"1000000 1000")
        next(stream)
        stream.cancel()
        until(lambda: server.stats()["calls"] == 0, "the end of the call on the server")
        self.assertEqual(client.Unary(b"a"), b"a")

    def test_statuses_and_metadata(self):
        client = self.client(self.server())
        metadata = (("x-text", "some text"), ("x-data-bin", bytes(range(256))),
                    ("x-text", "again"), ("y-other", "z"))
        for code in grpc.StatusCode:
            number = code.value[0]
            if number == 0:
                continue
            words = f"№ {number}: 100 % wrong\nbut not lost"
            error = self.assertStatus(code, client.Fail, f"{number} {words}".encode(),
                                      metadata=metadata)
            self.assertEqual(error.details(), words)
            for fields in (error.initial_metadata(), error.trailing_metadata()):
                self.assertEqual([(f.key, f.value) for f in fields if f.key.startswith(("x", "y"))],
                                 list(metadata[:3]))

    def test_what_is_not_there(self):
        server = self.server()
        client = self.client(server)
        error = self.assertStatus(grpc.StatusCode.UNIMPLEMENTED, client.Nothing, b"")
        self.assertIn("/test.Echo/Nothing", error.details())
        error = self.assertStatus(grpc.StatusCode.UNIMPLEMENTED, client.Unary, b"a" * 10000,
                                  compression=grpc.Compression.Gzip)
        self.assertIn("ompress", error.details())
        error = self.assertStatus(grpc.StatusCode.RESOURCE_EXHAUSTED, client.Unary, b"",
                                  metadata=[("large", "x" * 17000)])
        self.assertEqual(client.Unary(b"a"), b"a")
        self.assertEqual(server.stats()["accepted"], 1)

    def test_three_thousand_cancelled_waits(self):
        server = self.server()
        client = self.client(server)
        waits = [client.Wait(b"") for _ in range(3000)]
        until(lambda: server.stats()["calls"] == 3000, "3,000 waits")
        for wait in waits:
            wait.cancel()
        until(lambda: server.stats()["calls"] == 0, "their ends")
        self.assertEqual(client.Unary(b"a"), b"a")
        stats = server.stats()
        self.assertEqual((stats["accepted"], stats["flooded"], stats["begun"]), (1, 0, 3001))

    def test_a_slow_reader(self):
        server = self.server()
        client = self.client(server)
        stream = client.Threaded(b"100000 10000")  # a gigabyte
        for _ in range(10):
            next(stream)
        time.sleep(0.5)
        if not SANITIZED:
            self.assertLess(server.stats()["memory_kb"], 40000)
        stream.cancel()
        until(lambda: server.stats()["calls"] == 0, "its end")

    def test_a_paused_call(self):
        server = self.server()
        client = self.client(server)
        sent = [b"x" * 10000] * 500
        stream = client.Paused(iter(sent))
        until(lambda: server.stats()["held_bytes"] > 100000, "a window full")
        self.assertLess(server.stats()["held_bytes"], 200000)
        self.assertEqual(client.Unary(b"a" * 100000), b"a" * 100000)
        self.assertEqual(server.command("resume"), "resumed")
        self.assertEqual(list(stream), sent)

    def test_drain_and_another_server(self):
        server = self.server("--loops", 2)
        clients = [self.client(server, ("grpc.initial_reconnect_backoff_ms", 100),
                               ("grpc.min_reconnect_backoff_ms", 100),
                               ("grpc.max_reconnect_backoff_ms", 200)) for _ in range(4)]
        waits = [client.Wait(b"") for client in clients]
        forever = clients[0].Forever.future(b"")
        until(lambda: server.stats()["calls"] == 5, "five calls")
        self.assertEqual(server.command("drain 1000"), "draining")
        for wait in waits:
            self.assertEqual(list(wait), [])  # OK
        self.assertEqual(forever.exception().code(), grpc.StatusCode.UNAVAILABLE)
        until(lambda: server.stats()["connections"] == 0, "their closing")
        server.stop()
        again = self.server("--port", server.port)
        for client in clients:
            self.assertEqual(client.Unary(b"a", wait_for_ready=True, timeout=PATIENCE), b"a")
        self.assertEqual(again.stats()["connections"], 4)

    def test_several_connections(self):
        server = self.server("--loops", 2)
        failures = []

        def work(client, seed):
            try:
                for i in range(100):
                    message = b"%d " % seed * (i * 10)
                    self.assertEqual(client.Unary(message), message)
                self.assertEqual(list(client.Bidi(iter([message] * 50))), [message] * 50)
            except Exception as error:  # told below, on the test's thread
                failures.append(error)
        threads = [threading.Thread(target=work, args=(self.client(server), i)) for i in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        self.assertEqual(failures, [])
        self.assertEqual(server.stats()["connections"], 16)

    def node(self, server, *cases):
        folder = npm("@grpc/grpc-js@1.14.7")
        return call("node", os.path.join(HERE, "grpc", "client.js"), server.address,
                    self.directory or "-", *cases,
                    env={"NODE_PATH": os.path.join(folder, "node_modules")}, patience=120)

    def test_node(self):
        server = self.server("--loops", 2)
        self.assertIn("all as promised", self.node(server))
        until(lambda: server.stats()["calls"] == 0, "the end of all calls")
        self.assertEqual(server.stats()["flooded"], 0)

    def test_node_sees_a_drain(self):
        server = self.server()
        seen = []
        thread = threading.Thread(target=lambda: seen.append(self.node(server, "drain")))
        thread.start()
        until(lambda: server.stats()["calls"] == 2, "a wait and a call for ever")
        server.command("drain 500")
        until(lambda: server.stats()["connections"] == 0, "its closing")
        server.stop()
        again = self.server("--port", server.port)
        thread.join(PATIENCE)
        self.assertIn("all as promised", seen[0])
        self.assertEqual(again.stats()["accepted"], 1)


class Clear(Common):
    def test_keepalive_of_a_client(self):
        server = self.server()
        client = self.client(server, ("grpc.keepalive_time_ms", 100),
                             ("grpc.keepalive_timeout_ms", 5000),
                             ("grpc.keepalive_permit_without_calls", 1),
                             ("grpc.http2.max_pings_without_data", 0))
        wait = client.Wait(b"")
        self.assertEqual(client.Unary(b"a"), b"a")
        time.sleep(2)  # some twenty pings
        self.assertTrue(wait.is_active())
        self.assertEqual(server.stats()["accepted"], 1)
        wait.cancel()

    def test_keepalive_of_ours(self):
        server = self.server("--limit", "keepalive_ms=50", "--limit", "keepalive_timeout_ms=5000")
        client = self.client(server)
        wait = client.Wait(b"")
        self.assertEqual(client.Unary(b"a"), b"a")
        time.sleep(1)  # some twenty pings
        self.assertTrue(wait.is_active())
        self.assertEqual(server.stats()["connections"], 1)
        wait.cancel()

    def test_old_connections_are_replaced(self):
        server = self.server("--limit", "age_ms=200", "--limit", "age_grace_ms=100")
        client = self.client(server)
        end = time.monotonic() + 1.5
        while time.monotonic() < end:
            self.assertEqual(client.Unary(b"a"), b"a")
        self.assertGreater(server.stats()["accepted"], 3)


class Tls(Common):
    @classmethod
    def setUpClass(cls):
        cls.directory = certificates()

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.directory)

    def test_a_client_without_certificate(self):
        server = self.server()
        with open(os.path.join(self.directory, "ca.pem"), "rb") as file:
            bare = grpc.ssl_channel_credentials(file.read())
        with grpc.secure_channel(server.address, bare, (ALONE,)) as channel:
            self.assertStatus(grpc.StatusCode.UNAVAILABLE,
                              channel.unary_unary("/test.Echo/Unary"), b"a", timeout=10)
        with grpc.insecure_channel(server.address, (ALONE,)) as channel:
            self.assertStatus(grpc.StatusCode.UNAVAILABLE,
                              channel.unary_unary("/test.Echo/Unary"), b"a", timeout=10)
        self.assertEqual(self.client(server).Unary(b"a"), b"a")


del Common  # its tests are those of the other two

if __name__ == "__main__":
    unittest.main(verbosity=2)

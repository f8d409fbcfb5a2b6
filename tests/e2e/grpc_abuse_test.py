"""Clients that mean harm, on raw sockets. What counts is that others are served meanwhile, that
memory stays bounded, and that the offenders are got rid of.
"""
import os
import random
import selectors
import socket
import struct
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "grpc"))
from harness import PATIENCE, SANITIZED, Server, until  # noqa: E402

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, _, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, END_HEADERS, ACK = 1, 4, 1
ENHANCE_YOUR_CALM = 11


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload


def field(name, value):
    """A literal field without indexing (RFC 7541, section 6.2.2); short ones only."""
    return bytes((0, len(name))) + name + bytes((len(value),)) + value


def request(method, more=b""):
    return (field(b":method", b"POST") + field(b":scheme", b"http") + field(b":path", b"/test.Echo/" + method)
            + field(b":authority", b"a") + field(b"content-type", b"application/grpc")
            + field(b"te", b"trailers") + more)


def message(content):
    return b"\0" + struct.pack(">I", len(content)) + content


HELLO = PREFACE + frame(SETTINGS, 0, 0)


class Raw:
    """A connection; nothing is sent or read but what a test asks for."""

    def __init__(self, port, first=HELLO):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.got = b""
        self.stream = -1
        if first:
            self.socket.sendall(first)

    def close(self):
        self.socket.close()

    def send(self, data):
        """False: the server has closed."""
        try:
            self.socket.sendall(data)
            return True
        except OSError:
            return False

    def begin(self, method, flags=0):
        self.stream += 2
        self.send(frame(HEADERS, END_HEADERS | flags, self.stream, request(method)))
        return self.stream

    def frames(self):
        """What comes, until the server closes."""
        while True:
            while len(self.got) >= 9:
                length = int.from_bytes(self.got[:3], "big")
                if len(self.got) < 9 + length:
                    break
                whole, self.got = self.got[:9 + length], self.got[9 + length:]
                yield whole[3], whole[4], int.from_bytes(whole[5:9], "big"), whole[9:]
            try:
                data = self.socket.recv(65536)
            except ConnectionResetError:
                return
            if not data:
                return
            self.got += data

    def echo(self, content=b"hello"):
        """A whole call; how long it took."""
        start = time.monotonic()
        stream = self.begin(b"Unary")
        self.send(frame(DATA, END_STREAM, stream, message(content)))
        for kind, flags, number, payload in self.frames():
            if kind == DATA and number == stream:
                assert payload == message(content), payload
            if kind == SETTINGS and not flags & ACK:
                self.send(frame(SETTINGS, ACK, 0))
            if kind == HEADERS and number == stream and flags & END_STREAM:
                return time.monotonic() - start
        raise AssertionError("the server has closed the connection of a good client")

    def goaway(self):
        """The code and the words of a GOAWAY; None: the server closed without one."""
        for kind, _flags, _stream, payload in self.frames():
            if kind == GOAWAY:
                return int.from_bytes(payload[4:8], "big"), payload[8:]
        return None

    def closed(self):
        """Whether the server closes, sooner or later; what comes before is thrown away."""
        try:
            for _ in self.frames():
                pass
        except TimeoutError:
            return False
        return True


class Abuse(unittest.TestCase):
    def server(self, *args, **more):
        server = Server(*args, **more)
        self.addCleanup(server.stop)
        return server

    def raw(self, server, first=HELLO):
        raw = Raw(server.port, first)
        self.addCleanup(raw.close)
        return raw

    def assertServed(self, server, within=5.0):
        """By a connection of its own, as a newcomer."""
        self.assertLess(self.raw(server).echo(), within)

    def assertMemory(self, server, megabytes):
        if not SANITIZED:
            self.assertLess(server.stats()["memory_kb"], megabytes * 1024)

    # ---- connections ----

    def test_half_open_connections(self):
        server = self.server("--max-connections", 200, "--limit", "handshake_ms=1500")
        silent = [self.raw(server, b"") for _ in range(150)]
        self.assertServed(server)
        silent += [self.raw(server, b"") for _ in range(150)]  # more than there may be
        self.assertServed(server)
        self.assertServed(server)
        for connection in silent:
            self.assertTrue(connection.closed())
        self.assertMemory(server, 50)

    def test_connections_that_trickle(self):
        server = self.server("--max-connections", 200, "--limit", "handshake_ms=1000",
                             "--limit", "keepalive_ms=500", "--limit", "keepalive_timeout_ms=500")
        starts = [b"", HELLO, HELLO + frame(HEADERS, 0, 1, request(b"Unary")[:20]),
                  HELLO + frame(HEADERS, END_HEADERS, 1, request(b"Unary")) + b"\0\x3f\xff\0\0\0\0\0\1"]
        slow = [self.raw(server, start) for start in starts for _ in range(30)]
        rest = {b"": HELLO}
        alive, position = set(range(len(slow))), 0
        end = time.monotonic() + PATIENCE
        while alive and time.monotonic() < end:
            for i in list(alive):
                start = starts[i // 30]
                byte = rest.get(start, b"\0" * 1000)[position % len(HELLO):][:1] or b"\0"
                try:
                    slow[i].socket.setblocking(False)
                    if slow[i].socket.recv(65536) == b"":
                        alive.discard(i)
                except BlockingIOError:
                    pass
                except OSError:
                    alive.discard(i)
                if i in alive and not slow[i].send(byte):
                    alive.discard(i)
            if position % 10 == 0:
                self.assertServed(server)
            position += 1
            time.sleep(0.05)
        self.assertEqual(alive, set())

    def test_idle_connections_up_to_the_limit(self):
        server = self.server("--max-connections", 50, "--loops", 2)
        held = []
        for _ in range(50):
            held.append(self.raw(server))
            held[-1].echo()
        for _ in range(5):
            self.assertServed(server, within=10)
        stats = server.stats()
        self.assertLessEqual(stats["connections"], 50)
        self.assertGreaterEqual(stats["shed"], 5)

    def test_no_more_files(self):
        server = self.server("--max-connections", 1000, files=80)
        good = self.raw(server)
        good.echo()
        held = [self.raw(server) for _ in range(150)]
        for connection in held:
            connection.begin(b"Forever")
        until(lambda: server.stats()["calls"] >= 10, "calls that hold on to their connections")
        before, start = server.stats()["processor_ms"], time.monotonic()
        while time.monotonic() < start + 1:
            self.assertLess(good.echo(), 2)
            time.sleep(0.02)
        if not SANITIZED:
            self.assertLess(server.stats()["processor_ms"] - before, 400)
        for connection in held:
            connection.close()
        self.assertServed(server, within=10)

    # ---- bytes that are no gRPC ----

    def test_garbage(self):
        server = self.server()
        chance = random.Random(1)
        for i in range(300):
            start = [b"", PREFACE, HELLO, HELLO + frame(HEADERS, END_HEADERS, 1, request(b"Bidi"))][i % 4]
            garbage = self.raw(server, start + chance.randbytes(chance.randrange(2000)))
            garbage.socket.shutdown(socket.SHUT_WR)
            self.assertTrue(garbage.closed())
        self.assertServed(server)
        self.assertEqual(server.stats()["calls"], 0)
        self.assertMemory(server, 30)

    def test_http1(self):
        server = self.server()
        for ask in (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"POST /test.Echo/Unary HTTP/1.0\r\n\r\n" + b"x" * 100000):
            client = self.raw(server, ask)
            answer = b""
            while data := client.socket.recv(65536):
                answer += data
            self.assertTrue(answer.startswith(b"HTTP/1.1 505 "), answer)
            self.assertIn(b"speaks gRPC", answer)

    # ---- floods ----

    def flooded(self, flood, words, *limits, rounds=10000):
        """Several clients send a flood; another one is served all the time."""
        server = self.server(*limits)
        good = self.raw(server)
        good.echo()
        bad = [self.raw(server) for _ in range(4)]
        answers = [None] * len(bad)

        def attack(i):
            for number in range(rounds):
                if not bad[i].send(flood(number)):
                    break
            answers[i] = bad[i].goaway()
        threads = [threading.Thread(target=attack, args=(i,)) for i in range(len(bad))]
        for thread in threads:
            thread.start()
        slowest = 0.0
        while any(thread.is_alive() for thread in threads):
            slowest = max(slowest, good.echo())
        for thread in threads:
            thread.join()
        self.assertLess(slowest, 5)
        # Those whose last words the kernel threw away, because they went on sending, got none.
        for answer in answers:
            self.assertIn(answer, ((ENHANCE_YOUR_CALM, words), None))
        self.assertEqual(server.stats()["flooded"], len(bad))
        self.assertServed(server)
        self.assertMemory(server, 60)

    def test_pings(self):
        self.flooded(lambda _: frame(PING, 0, 0, b"12345678") * 100, b"too_many_pings")

    def test_settings(self):
        self.flooded(lambda _: frame(SETTINGS, 0, 0, b"\0\4\0\1\0\0") * 100, b"too_many_settings")

    def test_empty_data(self):
        begin = frame(HEADERS, END_HEADERS, 1, request(b"Bidi"))
        self.flooded(lambda n: (begin if n == 0 else b"") + frame(DATA, 0, 1) * 100, b"too_many_empty_frames")

    def test_frames_without_meaning(self):
        self.flooded(lambda _: frame(PRIORITY, 0, 1, b"\0\0\0\0\1") * 100, b"too_many_frames")

    def test_rapid_resets(self):
        def flood(number):
            return b"".join(frame(HEADERS, END_HEADERS, stream, request(b"Wait"))
                            + frame(RST_STREAM, 0, stream, b"\0\0\0\x08")
                            for stream in range(number * 200 + 1, number * 200 + 201, 2))
        self.flooded(flood, b"too_many_resets", "--limit", "reset_burst=5000", "--limit", "reset_rate=500")

    def test_resets_that_we_have_to_make(self):
        def flood(number):
            return b"".join(frame(HEADERS, END_HEADERS, stream, request(b"Wait"))
                            + frame(WINDOW_UPDATE, 0, stream, b"\x7f\xff\xff\xff")
                            for stream in range(number * 200 + 1, number * 200 + 201, 2))
        self.flooded(flood, b"too_many_resets", "--limit", "reset_burst=5000", "--limit", "reset_rate=500")

    def test_header_blocks_without_end(self):
        big = field(b"n", b"v" * 120) * 100
        def flood(number):
            if number == 0:
                return frame(HEADERS, 0, 1, request(b"Unary"))
            return frame(CONTINUATION, 0, 1, big)
        server = self.server()
        for _ in range(20):
            bad = self.raw(server)
            for number in range(1000):
                if not bad.send(flood(number)):
                    break
            else:
                self.fail("a header block of 12 MB was taken")
            self.assertTrue(bad.closed())
        self.assertServed(server)
        self.assertEqual(server.stats()["flooded"], 20)
        self.assertMemory(server, 40)

    def test_many_fields_in_few_bytes(self):
        bomb = request(b"Unary") + b"\x40\x01n\x7f\xbd\x1d" + b"v" * 3900 + b"\xbe" * 12000
        server = self.server()
        for _ in range(20):
            bad = self.raw(server)
            bad.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, bomb))
            self.assertEqual(bad.goaway(), (ENHANCE_YOUR_CALM, b"too_many_header_fields"))
        self.assertServed(server)
        self.assertMemory(server, 40)

    # ---- memory ----

    def test_messages_that_are_never_finished(self):
        """A gigabyte is tried: 40 clients, 200 streams each, 120 kB of a message on each."""
        server = self.server("--limit", f"total_held_bytes={64 << 20}", "--limit", f"held_bytes={16 << 20}")
        part = message(b"x" * 200000)[:120000]
        pieces = [part[i:i + 16000] for i in range(0, len(part), 16000)]
        clients = [self.raw(server) for _ in range(40)]
        selector = selectors.DefaultSelector()
        queues = {}
        for client in clients:
            streams = range(1, 401, 2)
            queues[client] = bytearray(frame(WINDOW_UPDATE, 0, 0, b"\0\x10\0\0"))
            for stream in streams:
                queues[client] += frame(HEADERS, END_HEADERS, stream, request(b"Bidi"))
                for piece in pieces:
                    queues[client] += frame(DATA, 0, stream, piece)
            client.socket.setblocking(False)
            selector.register(client.socket, selectors.EVENT_READ | selectors.EVENT_WRITE, client)
        # Windows are not minded: who sends beyond them is reset, which is an end, too.
        idle = 0
        while selector.get_map() and idle < 20:
            ready = selector.select(0.05)
            idle = 0 if any(mask & selectors.EVENT_WRITE for _, mask in ready) else idle + 1
            for key, mask in ready:
                client = key.data
                try:
                    if mask & selectors.EVENT_READ and not client.socket.recv(1 << 16):
                        raise ConnectionError
                    if mask & selectors.EVENT_WRITE:
                        del queues[client][:client.socket.send(queues[client][:1 << 16])]
                        if not queues[client]:
                            selector.modify(client.socket, selectors.EVENT_READ, client)
                except BlockingIOError:
                    pass
                except OSError:
                    selector.unregister(client.socket)
            self.assertLess(server.stats()["held_bytes"], (64 + 11) << 20)
        self.assertServed(server)
        self.assertMemory(server, 160)

    def test_many_calls_of_clients_that_do_nothing(self):
        server = self.server("--limit", "streams=500", "--limit", "calls=5000")
        clients = [self.raw(server) for _ in range(20)]
        for client in clients:
            client.socket.settimeout(0.5)
            client.send(b"".join(frame(HEADERS, END_HEADERS, stream, request(b"Forever"))
                                 for stream in range(1, 1001, 2)))
        until(lambda: server.stats()["begun"] >= 5000, "as many calls as there may be")
        self.assertLessEqual(server.stats()["begun"], 5000)
        self.assertMemory(server, 60)
        for client in clients:
            client.close()
        until(lambda: server.stats()["calls"] == 0, "their ends")
        self.assertServed(server)

    def test_readers_that_do_not_read(self):
        server = self.server()
        clients = [self.raw(server) for _ in range(100)]
        for client in clients:
            client.send(frame(WINDOW_UPDATE, 0, 0, b"\x40\0\0\0"))
            for _ in range(5):
                stream = client.begin(b"Stream")
                client.send(frame(DATA, END_STREAM, stream, message(b"1000000 1000"))
                            + frame(WINDOW_UPDATE, 0, stream, b"\x40\0\0\0"))
        self.assertServed(server)
        time.sleep(0.5)
        self.assertServed(server)
        self.assertMemory(server, 120)
        for client in clients:
            client.close()
        until(lambda: server.stats()["calls"] == 0, "their ends")

    def test_questions_of_a_client_that_takes_no_answer(self):
        server = self.server("--limit", f"ping_burst={1 << 40}")
        client = self.raw(server)
        client.socket.settimeout(1)
        ask = b"".join(frame(HEADERS, END_HEADERS | END_STREAM, stream, request(b"Nothing"))
                       for stream in range(1, 200001, 2))
        try:
            client.socket.sendall(ask)
            for _ in range(1000):
                client.socket.sendall(frame(PING, 0, 0, b"12345678") * 1000)
        except OSError:
            pass  # it had to wait, or was closed
        self.assertServed(server)
        self.assertMemory(server, 60)


if __name__ == "__main__":
    unittest.main(verbosity=2)

"""Reads a hub's topics and its Redis without any code of the product: librdkafka through ctypes, RESP over
a socket, and the formats as docs and headers describe them (partition/record.h, model/codec.h).
"""
import ctypes
import ctypes.util
import socket
import struct
import time
import urllib.parse

# ---- Kafka ----


class Message(ctypes.Structure):
    """rd_kafka_message_t"""
    _fields_ = [("err", ctypes.c_int), ("topic", ctypes.c_void_p), ("partition", ctypes.c_int32),
                ("payload", ctypes.c_void_p), ("len", ctypes.c_size_t), ("key", ctypes.c_void_p),
                ("key_len", ctypes.c_size_t), ("offset", ctypes.c_int64),
                ("private", ctypes.c_void_p)]


def library():
    rd = ctypes.CDLL("librdkafka.so.1")
    pointer = ctypes.c_void_p
    rd.rd_kafka_conf_new.restype = pointer
    rd.rd_kafka_conf_set.argtypes = [pointer, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p,
                                     ctypes.c_size_t]
    rd.rd_kafka_new.restype = pointer
    rd.rd_kafka_new.argtypes = [ctypes.c_int, pointer, ctypes.c_char_p, ctypes.c_size_t]
    rd.rd_kafka_topic_new.restype = pointer
    rd.rd_kafka_topic_new.argtypes = [pointer, ctypes.c_char_p, pointer]
    rd.rd_kafka_query_watermark_offsets.argtypes = [
        pointer, ctypes.c_char_p, ctypes.c_int32, ctypes.POINTER(ctypes.c_int64),
        ctypes.POINTER(ctypes.c_int64), ctypes.c_int]
    rd.rd_kafka_consume_start.argtypes = [pointer, ctypes.c_int32, ctypes.c_int64]
    rd.rd_kafka_consume_stop.argtypes = [pointer, ctypes.c_int32]
    rd.rd_kafka_consume.restype = ctypes.POINTER(Message)
    rd.rd_kafka_consume.argtypes = [pointer, ctypes.c_int32, ctypes.c_int]
    rd.rd_kafka_message_destroy.argtypes = [ctypes.POINTER(Message)]
    rd.rd_kafka_topic_destroy.argtypes = [pointer]
    rd.rd_kafka_destroy.argtypes = [pointer]
    return rd


CONSUMER = 1
END_OF_PARTITION = -191


class Cluster:
    def __init__(self, brokers):
        self.rd = library()
        conf, why = self.rd.rd_kafka_conf_new(), ctypes.create_string_buffer(512)
        for name, value in (("bootstrap.servers", brokers), ("enable.partition.eof", "true"),
                            ("allow.auto.create.topics", "false"), ("log_level", "0")):
            if self.rd.rd_kafka_conf_set(conf, name.encode(), value.encode(), why, 512) != 0:
                raise AssertionError(why.value)
        self.rk = self.rd.rd_kafka_new(CONSUMER, conf, why, 512)
        if not self.rk:
            raise AssertionError(why.value)

    def close(self):
        self.rd.rd_kafka_destroy(self.rk)

    def bounds(self, topic, partition):
        """The first offset that is kept, and that of the next message; None: no such partition."""
        low, high = ctypes.c_int64(), ctypes.c_int64()
        code = self.rd.rd_kafka_query_watermark_offsets(
            self.rk, topic.encode(), partition, ctypes.byref(low), ctypes.byref(high), 10000)
        return (low.value, high.value) if code == 0 else None

    def read(self, topic, partition):
        """Every message: (offset, bytes)."""
        low, high = self.bounds(topic, partition)
        handle = self.rd.rd_kafka_topic_new(self.rk, topic.encode(), None)
        self.rd.rd_kafka_consume_start(handle, partition, low)
        deadline, at = time.monotonic() + 60, low
        while at < high:
            message = self.rd.rd_kafka_consume(handle, partition, 500)
            if time.monotonic() > deadline:
                raise AssertionError(f"{topic} {partition} cannot be read from {at} up to {high}")
            if not message:
                continue
            m = message.contents
            if m.err == 0 and m.offset < high:
                deadline, at = time.monotonic() + 60, m.offset + 1
                yield m.offset, ctypes.string_at(m.payload, m.len) if m.payload else b""
            self.rd.rd_kafka_message_destroy(message)
        self.rd.rd_kafka_consume_stop(handle, partition)
        self.rd.rd_kafka_topic_destroy(handle)


# ---- msgpack ----


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def more(self):
        return self.at < len(self.data)

    def take(self, count):
        piece = self.data[self.at:self.at + count]
        if len(piece) < count:
            raise ValueError("the value is cut off")
        self.at += count
        return piece

    def number(self, form):
        return struct.unpack(">" + form, self.take(struct.calcsize(form)))[0]

    def value(self):
        tag = self.take(1)[0]
        if tag < 0x80:
            return tag
        if tag < 0x90:
            return self.map(tag & 15)
        if tag < 0xa0:
            return [self.value() for _ in range(tag & 15)]
        if tag < 0xc0:
            return self.take(tag & 31)
        if tag >= 0xe0:
            return tag - 256
        return self.tagged(tag)

    def map(self, count):
        return {self.value(): self.value() for _ in range(count)}

    def tagged(self, tag):
        if tag in (0xc0, 0xc2, 0xc3):
            return {0xc0: None, 0xc2: False, 0xc3: True}[tag]
        numbers = {0xcc: "B", 0xcd: "H", 0xce: "I", 0xcf: "Q", 0xd0: "b", 0xd1: "h", 0xd2: "i",
                   0xd3: "q"}
        if tag in numbers:
            return self.number(numbers[tag])
        bins = {0xc4: "B", 0xc5: "H", 0xc6: "I", 0xd9: "B", 0xda: "H", 0xdb: "I"}
        if tag in bins:
            return self.take(self.number(bins[tag]))
        if tag in (0xdc, 0xdd):
            return [self.value() for _ in range(self.number("H" if tag == 0xdc else "I"))]
        if tag in (0xde, 0xdf):
            return self.map(self.number("H" if tag == 0xde else "I"))
        raise ValueError(f"no value begins with {tag:#x}")


def values(data):
    reader = Reader(data or b"")
    while reader.more():
        yield reader.value()


# ---- records, messages, events ----

CLAIM, EPISODE, MARKS, PURGE, CRASH, CHECKPOINT, SNAPSHOT, PART = range(1, 9)
KINDS = {0: "ExecutionStarted", 1: "ExecutionCompleted", 4: "TaskScheduled", 5: "TaskCompleted",
         6: "TaskFailed", 7: "ChildCreated", 8: "ChildCompleted", 9: "ChildFailed",
         10: "TimerCreated", 11: "TimerFired", 14: "EventSent", 15: "EventRaised",
         22: "EntitySignaled", 23: "EntityCalled", 24: "EntityCompleted", 25: "EntityFailed",
         26: "LockRequested", 27: "LockGranted", 28: "UnlockSent"}


def text(value):
    return None if value is None else value.decode("utf-8", "replace")


class Event:
    def __init__(self, fields):
        self.kind = KINDS.get(fields.get(0, 0), str(fields.get(0)))
        self.id = fields.get(1, -1)
        self.related = fields.get(3, -1)
        self.name = text(fields.get(4))
        self.data = fields.get(6)
        self.instance = text(fields.get(7))
        self.status = fields.get(10, 0)


class Letter:
    """A message."""

    def __init__(self, data):
        fields = Reader(data).value()
        self.event = Event(fields.get(0, {}))
        self.instance = text(fields.get(1))
        self.execution = text(fields.get(2))
        self.source = fields.get(5, -1)
        self.sequence = fields.get(6, 0)
        self.index = fields.get(7, 0)

    def origin(self):
        return self.source, self.sequence, self.index


class Record:
    def __init__(self, offset, data):
        self.offset = offset
        fields = Reader(data).value()
        self.kind = fields.get(2, 0)
        self.incarnation = fields.get(3, 0)
        self.epoch = fields.get(4, 0)
        self.sequence = fields.get(5, 0)
        self.position = fields.get(9, 0)
        self.sent = fields.get(10, 0)
        self.consumed = fields.get(12, [])
        sent = fields.get(15, [])
        self.messages = [(sent[i], sent[i + 3]) for i in range(0, len(sent), 4)]
        self.instance = text(fields.get(16))
        self.execution = text(fields.get(17))
        self.replace = bool(fields.get(18, False))
        self.events = [Event(value) for value in values(fields.get(19))]
        self.next = fields.get(21)
        self.body = fields.get(25)
        self.part, self.parts = fields.get(26, 0), fields.get(27, 0)
        self.shared = fields.get(28, [])


class Log:
    """The valid records of one log (I1): of the latest claim before each, in sequence."""

    def __init__(self, records, incarnation=None):
        self.valid, self.fenced, self.claims, self.wrong = [], 0, 0, []
        epoch, following, pieces = None, 0, []
        for offset, data in records:
            record = Record(offset, data)
            if incarnation is not None and record.incarnation != incarnation:
                continue
            if record.kind == CLAIM:
                epoch, pieces = offset, []
                self.claims += 1
            elif record.epoch != epoch:
                self.fenced += 1
                if epoch is None or record.epoch > epoch:
                    self.wrong.append(f"record {offset} has epoch {record.epoch}, claimed is {epoch}")
            elif record.sequence != following:
                self.wrong.append(f"record {offset} has number {record.sequence}, not {following}")
            else:
                following += 1
                pieces = self.add(record, pieces)

    def add(self, record, pieces):
        """A large record counts with its last part."""
        if record.kind != PART:
            self.valid.append(record)
            return pieces
        pieces = [record] if record.part == 0 else pieces + [record]
        if len(pieces) == record.parts:
            self.valid.append(Record(record.offset, b"".join(p.body for p in pieces)))
        return pieces


# ---- Redis ----


class Redis:
    def __init__(self, address):
        place = urllib.parse.urlparse(address if "://" in address else "redis://" + address)
        self.socket = socket.create_connection((place.hostname, place.port), 10)
        self.stream = self.socket.makefile("rb")

    def close(self):
        self.stream.close()
        self.socket.close()

    def ask(self, *words):
        words = [w if isinstance(w, bytes) else str(w).encode() for w in words]
        self.socket.sendall(b"*%d\r\n" % len(words) +
                            b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words))
        return self.answer()

    def answer(self):
        line = self.stream.readline()
        kind, rest = line[:1], line[1:-2]
        if kind == b"$":
            size = int(rest)
            return None if size < 0 else self.stream.read(size + 2)[:-2]
        if kind == b"*":
            return [self.answer() for _ in range(int(rest))]
        if kind == b"-":
            raise AssertionError(rest)
        return int(rest) if kind == b":" else rest

    def rows(self, hub):
        """{instance id: (status, last, key)} of all partitions, as projection.lua describes them."""
        found, cursor = {}, b"0"
        keys = set()
        while True:
            cursor, page = self.ask("SCAN", cursor, "MATCH", "{%s:*:rows" % hub, "COUNT", 1000)
            keys.update(page)
            if cursor == b"0":
                break
        for key in keys:
            flat = self.ask("HGETALL", key)
            for i in range(0, len(flat), 2):
                row = flat[i + 1]
                last = struct.unpack(">Q", row[48:56])[0]
                found[flat[i].decode()] = (row[26], last, key.decode())
        return found

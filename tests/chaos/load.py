"""The load: clients that ask for work over HTTP, and write down what they ask for and what was promised.

The ledger is a file outside of the hub; a line is on the disk before its request leaves, and another one
after its answer came. So whatever dies, it is known what was asked for and what was acknowledged.
"""
import http.client
import json
import os
import random
import threading
import time

from harness import API

HOUR = 3600000
ACCOUNTS = [f"a{n}" for n in range(6)]


class Ledger:
    def __init__(self, path):
        self.file = open(path, "a", encoding="utf-8")
        self.lock = threading.Lock()

    def write(self, *words):
        with self.lock:
            self.file.write(json.dumps(words) + "\n")
            self.file.flush()
            os.fdatasync(self.file.fileno())

    def close(self):
        self.file.close()


def read_ledger(path):
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def of(kind):
    """What an orchestrator does, whichever language it is in: those with an SDK have a prefix."""
    return kind[3:] if kind.startswith(("py_", "js_")) else kind


def expected(kind, work):
    """What an instance gives that completes; None: it follows from more than its input."""
    kind = of(kind)
    if kind == "chain":
        return work["steps"]
    if kind == "fan":
        return work["width"] * (work["width"] + 1) // 2
    if kind == "family":
        return work["width"] * work["steps"]
    if kind == "sleeper":
        return work["naps"]
    if kind == "generations":
        return work["rounds"]
    if kind == "sender":
        return work["n"]
    if kind == "transfer":
        return work["amount"]
    return None


def may_wait(ledger):
    """What may legitimately not have ended, and the word that says for what it waits: events that
    nobody is known to have sent, and timers of an hour that nobody is known to have terminated."""
    missing = {}
    for word, *rest in ledger:
        if word == "start" and of(rest[1]) == "collect":
            missing[rest[0]] = set(range(rest[2]["events"]))
        elif word == "start" and of(rest[1]) == "sleeper" and rest[2]["ms"] == HOUR:
            missing[rest[0]] = {0}
    works = {rest[0]: rest[2] for word, *rest in ledger if word == "start" and rest[1] == "sender"}
    for word, *rest in ledger:
        if word == "asked" and rest[0] in ("event", "terminate"):
            missing[rest[1]].discard(rest[2])
        elif word == "started" and rest[0] in works:
            missing[works[rest[0]]["peer"]].discard(works[rest[0]]["n"])
    return {instance: "timer" if of(instance).startswith("sleeper") else "an event"
            for instance, numbers in missing.items() if numbers}


class Client:
    """One thread. Its choices follow from the seed and its number alone."""

    def __init__(self, load, number):
        self.load, self.number = load, number
        self.random = random.Random(f"{load.seed}/{number}")
        self.count = 0
        self.programs = load.programs(self) if load.programs else None
        self.thread = threading.Thread(target=self.run)

    # ---- requests ----

    def ask(self, method, path, body=None):
        """The status of the answer; None: nobody answered, so nothing is known."""
        servers = [s for s in self.load.servers() if s.url]
        if not servers:
            return None
        path += ("&" if "?" in path else "?") + "taskHub=" + self.load.hub  # no other one's
        try:
            return self.random.choice(servers).http(method, path, body, timeout=15)[0]
        except (OSError, http.client.HTTPException, ValueError):
            return None

    def start(self, kind, instance, work):
        self.load.ledger.write("start", instance, kind, work)
        code = self.ask("POST", f"{API}/orchestrators/{kind}/{instance}", work)
        self.load.ledger.write("started" if code == 202 else "unsure", instance, code)
        self.load.count(code)
        return code == 202

    def new_id(self, kind):
        self.count += 1
        return f"{kind}-{self.number}-{self.count}"

    # ---- kinds of work ----

    def simple(self, kind, work):
        self.start(kind, self.new_id(kind), work)

    def persist(self, what, instance, n, attempt):
        """Again and again until it is acknowledged; each attempt stands in the ledger."""
        while not self.load.ending:
            self.load.ledger.write("ask", what, instance, n)
            code = attempt()
            self.load.ledger.write("asked" if code in (202, 200, 410) else "unsure", what,
                                   instance, n, code)
            if code in (202, 200, 410):
                return
            time.sleep(0.05)

    def events(self):
        instance, events = self.new_id("collect"), self.random.randint(1, 5)
        if not self.start("collect", instance, {"events": events}):
            return
        for n in range(events):
            self.persist("event", instance, n,
                         lambda n=n: self.ask("POST", f"{API}/instances/{instance}/raiseEvent/e", n))

    def waits(self):
        """Nobody sends what it waits for."""
        self.start("collect", self.new_id("collect"), {"events": 1})

    def senders(self):
        instance, events = self.new_id("collect"), self.random.randint(1, 4)
        if not self.start("collect", instance, {"events": events}):
            return
        for n in range(events):
            while not self.load.ending:
                if self.start("sender", self.new_id("sender"), {"peer": instance, "n": n}):
                    break
                time.sleep(0.05)

    def terminated(self):
        instance = self.new_id("sleeper")
        if self.start("sleeper", instance, {"naps": 1, "ms": HOUR}):
            self.persist("terminate", instance, 0, lambda: self.ask(
                "POST", f"{API}/instances/{instance}/terminate?reason=enough"))

    def transfer(self):
        a, b = self.random.sample(ACCOUNTS, 2)
        self.simple("transfer", {"from": a, "to": b, "amount": self.random.randint(1, 100)})

    def signal(self):
        self.persist("signal", f"s{self.number}", 1, lambda: self.ask(
            "POST", f"{API}/entities/account/s{self.number}?op=add", 1))

    def one(self):
        if self.programs and self.random.random() < 0.6:
            self.programs.one()
            return
        ms = self.random.choice((0, 0, 1, 5, 20, 100))
        choose = self.random.random()
        if choose < 0.2:
            self.simple("chain", {"steps": self.random.randint(1, 6), "ms": ms})
        elif choose < 0.3:
            self.simple("fan", {"width": self.random.randint(1, 30), "ms": ms})
        elif choose < 0.42:
            self.simple("family", {"width": self.random.randint(1, 4), "steps": 2, "ms": ms})
        elif choose < 0.5:
            self.simple("sleeper", {"naps": 2, "ms": self.random.randint(1, 2000)})
        elif choose < 0.57:
            self.simple("generations", {"rounds": self.random.randint(1, 6), "ms": ms, "round": 0})
        elif choose < 0.67:
            self.events()
        elif choose < 0.74:
            self.senders()
        elif choose < 0.78:
            self.terminated()
        elif choose < 0.92:
            self.transfer()
        elif choose < 0.96:
            if self.random.random() < 0.2:
                self.waits()
            self.simple("counter_user", {"key": f"c{self.number}", "times": self.random.randint(1, 4)})
        else:
            self.signal()

    def run(self):
        while not self.load.stopping:
            self.one()
            time.sleep(self.load.pause)


class Load:
    """`programs`: makes what a client does with programs of an SDK; None: there are none."""

    def __init__(self, path, hub, seed, servers, clients=6, pause=0.02, programs=None):
        self.programs = programs
        self.path, self.hub, self.seed, self.servers, self.pause = path, hub, seed, servers, pause
        self.ledger = Ledger(path)
        self.stopping = self.ending = False
        self.codes = {}
        self.lock = threading.Lock()
        self.clients = [Client(self, n) for n in range(clients)]

    def count(self, code):
        with self.lock:
            self.codes[code] = self.codes.get(code, 0) + 1

    def start(self):
        for client in self.clients:
            client.thread.start()

    def stop(self, patience=60):
        """Nothing new begins; what was begun is carried on until it is acknowledged."""
        self.stopping = True
        deadline = time.monotonic() + patience
        for client in self.clients:
            client.thread.join(max(0.1, deadline - time.monotonic()))
        self.ending = True
        for client in self.clients:
            client.thread.join()
        self.ledger.close()

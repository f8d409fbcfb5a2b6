"""The auditor: compares what the clients were promised and what the activities did with what the topics and
Redis hold. It shares no code with the product, and with `taskhub doctor` no more than the formats.
"""
import collections
import json
import os

from load import ACCOUNTS, expected, may_wait, of, read_ledger
from topics import EPISODE, PURGE, Cluster, Letter, Log, Redis

COMPLETED, TERMINATED = 1, 5


class Instance:
    def __init__(self):
        self.scheduled, self.answered = collections.Counter(), collections.Counter()
        self.raised, self.results = [], []
        self.status, self.result, self.ends, self.starts = None, None, 0, 0
        self.tasks = 0


class Counter:
    """What an entity has to have counted."""

    def __init__(self):
        self.asked, self.acknowledged, self.in_order = [], [], []

    def compare(self, seen):
        times = collections.Counter(seen)
        for what in self.acknowledged:
            if times[what] == 0:
                yield "has lost", what
        for what, count in times.items():
            if what not in self.asked:
                yield "has counted", what, "which nobody sent"
            elif count > 1:
                yield "has counted", what, count, "times"
        ordered = [what for what in seen if what in self.in_order]
        if ordered != sorted(ordered):
            yield "has counted out of order:", ordered


class Audit:
    def __init__(self, world, load):
        self.hub, self.wrong = world.hub, []
        self.ledger = read_ledger(load.path)
        self.may_wait = may_wait(self.ledger)
        self.executions = world.executions
        self.instances = collections.defaultdict(Instance)
        self.facts = {}
        self.cluster = Cluster(world.fleet.kafka)
        try:
            self.read_topics()
        finally:
            self.cluster.close()
        self.redis = Redis(world.fleet.redis)
        self.rows = self.redis.rows(self.hub)
        self.redis.close()

    def complain(self, *words):
        if len(self.wrong) < 200:
            self.wrong.append(" ".join(str(w) for w in words))

    # ---- topics ----

    def read_topics(self):
        history = f"{self.hub}.history"
        self.logs, self.inboxes, self.sent, self.shared = [], [], {}, set()
        while self.cluster.bounds(history, len(self.logs)):
            partition = len(self.logs)
            log = Log(self.cluster.read(history, partition))
            self.logs.append(log)
            self.wrong += [f"partition {partition}: {w}" for w in log.wrong]
            for record in log.valid:
                self.take(partition, record)
        for partition in range(len(self.logs)):
            self.inboxes.append([Letter(data) for _, data in
                                 self.cluster.read(f"{self.hub}.instances", partition)])
        self.activities, partition = [], 0
        while self.cluster.bounds(f"{self.hub}.activities", partition):
            self.activities += [Letter(data) for _, data in
                                self.cluster.read(f"{self.hub}.activities", partition)]
            partition += 1

    def take(self, partition, record):
        for destination, data in record.messages:
            if destination != partition:
                letter = Letter(data)
                self.sent[letter.origin()] = (destination, letter)
        for event_id in record.shared:
            self.shared.add((partition, record.sequence, event_id))
        if record.kind == PURGE:
            self.complain(record.instance, "was purged, which nobody asked for")
        if record.kind == EPISODE:
            self.episode(record)

    def episode(self, record):
        one = self.instances[record.instance]
        if record.replace:
            one.scheduled.clear()
            one.answered.clear()
        for event in record.events:
            if event.kind == "ExecutionStarted":
                one.starts += 1
            elif event.kind in ("TaskScheduled", "ChildCreated", "TimerCreated", "EntityCalled",
                                "LockRequested"):
                one.scheduled[event.id] += 1
                one.tasks += event.kind == "TaskScheduled"
            elif event.kind in ("TaskCompleted", "TaskFailed", "ChildCompleted", "ChildFailed",
                                "TimerFired", "EntityCompleted", "EntityFailed", "LockGranted"):
                one.answered[event.related] += 1
                if one.answered[event.related] > one.scheduled[event.related]:
                    self.complain(record.instance, event.kind, event.related, "is recorded twice")
                if event.kind == "TaskCompleted":
                    one.results.append(event.data)
                if event.kind == "TaskFailed":
                    self.complain(record.instance, "an activity failed:", event.data)
            elif event.kind == "EventRaised":
                one.raised.append(event.data)
            elif event.kind == "ExecutionCompleted":
                one.ends += 1
                one.status, one.result = event.status, event.data

    def check_traffic(self):
        """What a log sent is in the inbox it was sent to, in the order of sending; what is there was
        sent by a valid record."""
        for partition, inbox in enumerate(self.inboxes):
            highest, taken = {}, set()
            for letter in inbox:
                if letter.source < 0:
                    continue
                origin = letter.origin()
                if self.sent.get(origin, (None,))[0] != partition:
                    self.complain("inbox", partition, "holds", origin, "which no valid record sent")
                if origin[1:] > highest.get(letter.source, (-1, -1)):
                    highest[letter.source] = origin[1:]
                    taken.add(origin)
            for origin, (destination, letter) in self.sent.items():
                if destination == partition and origin not in taken:
                    self.complain("message", origin, letter.event.kind, "for", letter.instance,
                                  "never came to partition", partition)
        there = {(a.source, a.sequence, a.index) for a in self.activities}
        for origin in there - self.shared:
            self.complain("activity message", origin, "follows from no valid record")
        for origin in self.shared - there:
            self.complain("activity message", origin, "never came to the activities")
        self.facts["messages"] = len(self.sent)
        self.facts["activity messages"] = len(self.shared)
        self.facts["activity messages sent again"] = len(self.activities) - len(there)
        self.facts["records"] = sum(len(log.valid) for log in self.logs)
        self.facts["fenced out"] = sum(log.fenced for log in self.logs)
        self.facts["claims"] = sum(log.claims for log in self.logs)

    # ---- what was promised ----

    def check_starts(self):
        kinds, acknowledged = {}, set()
        for word, *rest in self.ledger:
            if word == "start":
                kinds[rest[0]] = (rest[1], rest[2])
            elif word == "started":
                acknowledged.add(rest[0])
        self.kinds, self.terminated = kinds, {r[2] for r in self.ledger
                                              if r[0] == "ask" and r[1] == "terminate"}
        for instance in acknowledged:
            if instance not in self.instances:
                self.complain(instance, "was acknowledged, but no log knows it")
        for instance, (kind, work) in kinds.items():
            if instance in self.instances:
                self.check_end(instance, kind, work, self.instances[instance])
        self.facts["starts asked for"] = len(kinds)
        self.facts["acknowledged"] = len(acknowledged)

    def check_end(self, instance, kind, work, one):
        if one.ends == 0 and instance in self.may_wait:
            return
        if one.ends == 0:
            self.complain(instance, "has not ended")
        elif one.ends > 1 or (of(kind) != "generations" and one.starts > 1):
            self.complain(instance, "ran", one.starts, "times and ended", one.ends, "times")
        elif instance in self.terminated and instance in self.may_wait:
            return  # it was asked to end, but whether it heard is not known
        elif instance in self.terminated:
            if one.status != TERMINATED:
                self.complain(instance, "was to be terminated and has status", one.status)
        elif one.status != COMPLETED:
            self.complain(instance, "has status", one.status, one.result)
        else:
            wanted, result = expected(kind, work), json.loads(one.result or b"null")
            if wanted is not None and result != wanted:
                self.complain(instance, "gave", result, "instead of", wanted)
        if one.ends and one.status == COMPLETED and one.answered != one.scheduled:
            self.complain(instance, "ended with answers", dict(one.answered - one.scheduled),
                          dict(one.scheduled - one.answered), "more or less than asked")

    def check_events(self):
        asked, sent = collections.defaultdict(collections.Counter), collections.Counter()
        for word, *rest in self.ledger:
            if word == "ask" and rest[0] == "event":
                asked[rest[1]][rest[2]] += 1
                sent[rest[1]] += 1
            elif word == "start" and rest[1] == "sender" and rest[0] in self.instances:
                asked[rest[2]["peer"]][rest[2]["n"]] += 1
        for instance, (kind, work) in self.kinds.items():
            one = self.instances.get(instance)
            if of(kind) != "collect" or not one:
                continue
            seen = [json.loads(data) for data in one.raised]
            for n, count in collections.Counter(seen).items():
                if count > asked[instance][n]:
                    self.complain(instance, "got event", n, count, "times, asked for were",
                                  asked[instance][n])
            if one.ends and set(seen) != set(range(work["events"])):
                self.complain(instance, "ended with events", seen, "of", work["events"])
            first = list(dict.fromkeys(seen))
            if sent[instance] and first != sorted(first):
                self.complain(instance, "got its events out of order:", seen)

    def check_executions(self):
        began, ended, marks = collections.Counter(), collections.Counter(), set()
        for name in os.listdir(self.executions):
            with open(os.path.join(self.executions, name), encoding="utf-8") as lines:
                for line in lines:
                    what, key, mark = line.split()
                    (began if what == "begin" else ended)[key] += 1
                    if what == "end":
                        marks.add((key, mark))
        per_instance = collections.Counter(key.rsplit("/", 1)[0] for key in ended)
        for instance, one in self.instances.items():
            if one.ends and one.status == COMPLETED and per_instance[instance] != one.tasks:
                self.complain(instance, "recorded", one.tasks, "activities, but", per_instance[instance],
                              "of them ended in the world outside")
            self.check_results(instance, one, marks)
        self.facts["activities"] = len(ended)
        self.facts["activities run again"] = sum(began.values()) - len(began)

    def check_results(self, instance, one, marks):
        """Results of programs with an SDK say which execution they are of."""
        for result in one.results:
            result = json.loads(result)
            if isinstance(result, dict):
                key = f"{instance}/{result['n'] - 1}"
                self.facts["results of programs"] = self.facts.get("results of programs", 0) + 1
                if (key, result["by"]) not in marks:
                    self.complain(instance, "has the result", result, "which no execution gave")

    # ---- the bank ----

    def check_bank(self, read_entity):
        """`read_entity` gives the state of an entity by name and key, over the API."""
        def read_account(key):
            return read_entity("account", key) or 0
        balances = {key: read_account(key) for key in ACCOUNTS}
        wanted = dict.fromkeys(ACCOUNTS, 0)
        counters, asked, acknowledged = (collections.Counter() for _ in range(3))
        for instance, (kind, work) in self.kinds.items():
            one = self.instances.get(instance)
            if one and one.status == COMPLETED and of(kind) == "transfer":
                wanted[work["from"]] -= work["amount"]
                wanted[work["to"]] += work["amount"]
            if one and one.status == COMPLETED and kind == "counter_user":
                counters[work["key"]] += work["times"]
        for key in ACCOUNTS:
            if balances[key] != wanted[key]:
                self.complain("account", key, "holds", balances[key], "instead of", wanted[key])
        if sum(balances.values()) != 0:
            self.complain("the accounts hold", sum(balances.values()), "together, not 0")
        for key, count in counters.items():
            if read_account(key) != count:
                self.complain("counter", key, "holds", read_account(key), "instead of", count)
        for word, *rest in self.ledger:
            if word in ("ask", "asked") and rest[0] == "signal":
                (asked if word == "ask" else acknowledged)[rest[1]] += 1
        for key, most in asked.items():
            if not acknowledged[key] <= read_account(key) <= most:
                self.complain("counter", key, "holds", read_account(key), "of", acknowledged[key],
                              "acknowledged and", most, "asked for")
        self.facts["transfers"] = sum(1 for k, _ in self.kinds.values() if of(k) == "transfer")

    # ---- programs with an SDK ----

    def check_seen(self):
        """What a client was told of an end while everything died."""
        seen = [rest for word, *rest in self.ledger if word == "seen"]
        for instance, status, output in seen:
            one = self.instances.get(instance)
            if not one or status != "COMPLETED" or one.status != COMPLETED:
                self.complain("a client saw", instance, "end with", status)
            elif output != json.loads(one.result or b"null"):
                self.complain("a client saw", instance, "give", output, "instead of", one.result)
        if seen:
            self.facts["ends seen"] = len(seen)

    def check_counters(self, read_entity):
        """They keep what they have counted. Each attempt of a client has a number of its own."""
        counters = collections.defaultdict(Counter)
        for instance, (kind, work) in self.kinds.items():
            one = self.instances.get(instance)
            if of(kind) != kind and of(kind) == "counter_user" and one and one.status == COMPLETED:
                counter = counters[work["counter"], work["key"]]
                counter.asked += [f"{instance}/{n}" for n in range(work["times"])]
                counter.acknowledged += [f"{instance}/{n}" for n in range(work["times"])]
                if json.loads(one.result) < work["times"]:
                    self.complain(instance, "counted", one.result, "after its own", work["times"])
        for word, *rest in self.ledger:
            if word == "signal":
                counters[rest[0], rest[1]].asked.append(rest[2])
            elif word == "signaled":
                counter = counters[rest[0], rest[1]]
                counter.acknowledged.append(rest[2])
                counter.in_order.append(rest[2])
        for (name, key), counter in counters.items():
            for words in counter.compare(read_entity(name, key) or []):
                self.complain(name, key, *words)
        if counters:
            self.facts["signals counted"] = sum(len(c.acknowledged) for c in counters.values())

    # ---- Redis ----

    def check_rows(self):
        for instance, one in self.instances.items():
            if instance.startswith("@"):
                continue
            row = self.rows.get(instance)
            if row is None:
                self.complain(instance, "has no row in Redis")
            elif one.ends and row[0] != one.status:
                self.complain(instance, "has status", row[0], "in Redis, the log says", one.status)
        for instance in self.rows:
            if instance not in self.instances:
                self.complain("Redis has a row of", instance, "which no log knows")
        self.facts["rows"] = len(self.rows)

    def check_answers(self):
        """An acknowledged instance is never unknown."""
        for word, *rest in self.ledger:
            if word in ("asked", "unsure") and rest[-1] == 404:
                self.complain("the API answered 404:", word, rest)
            if word == "unsure" and isinstance(rest[-1], str):
                self.complain("RPC answered", rest)

    def run(self, read_entity):
        self.check_traffic()
        self.check_starts()
        self.check_events()
        self.check_executions()
        self.check_rows()
        self.check_answers()
        self.check_bank(read_entity)
        self.check_seen()
        self.check_counters(read_entity)
        return self.wrong

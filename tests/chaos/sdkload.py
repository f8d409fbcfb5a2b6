"""The load on programs with an SDK: starts, events, signals and terminations, half of them over HTTP and half by
the Python SDK's client over gRPC, from workers and coordinators alike. The ledger is that of load.py.
"""
import logging
import time

import grpc
from durabletask.client import OrchestrationStatus, TaskHubGrpcClient
from durabletask.entities import EntityInstanceId

from harness import API
from load import ACCOUNTS, HOUR

LANGUAGES = ("py", "js")
QUIET = logging.getLogger("quiet")
QUIET.addHandler(logging.NullHandler())
QUIET.propagate = False
# What a call may end with because somebody died, or was paused.
TROUBLE = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED)


class Deadline(grpc.UnaryUnaryClientInterceptor):
    """The SDK's calls would wait for ever for a server that is paused."""

    def intercept_unary_unary(self, continuation, client_call_details, request):
        if client_call_details.timeout is None:
            client_call_details = client_call_details._replace(timeout=15)
        return continuation(client_call_details, request)


class SdkLoad:
    """Of one client of load.py."""

    def __init__(self, client):
        self.client, self.load, self.random = client, client.load, client.random
        self.key, self.signals = f"s{client.number}", 0

    # ---- requests; each gives the HTTP status, or what stands for it ----

    def call(self, method):
        """202; None: nobody answered; else the status's name."""
        servers = [s.rpc for s in self.load.servers() if s.rpc]
        if not servers:
            return None
        client = TaskHubGrpcClient(host_address=self.random.choice(servers), logger=QUIET,
                                   metadata=[("taskhub", self.load.hub)], interceptors=[Deadline()])
        try:
            method(client)
            return 202
        except grpc.RpcError as error:
            return None if error.code() in TROUBLE else error.code().name
        finally:
            client.close()

    def either(self, over_http, over_grpc):
        return over_http() if self.random.random() < 0.5 else self.call(over_grpc)

    def start(self, kind, work):
        instance = self.client.new_id(kind)
        self.load.ledger.write("start", instance, kind, work)
        code = self.either(
            lambda: self.client.ask("POST", f"{API}/orchestrators/{kind}/{instance}", work),
            lambda c: c.schedule_new_orchestration(kind, input=work, instance_id=instance))
        self.load.ledger.write("started" if code == 202 else "unsure", instance, code)
        self.load.count(code)
        return instance if code == 202 else None

    # ---- kinds of work ----

    def wait(self, instance):
        """Asks for the end, which is told the moment it comes; gives up soon."""
        def look(client):
            end = client.wait_for_orchestration_completion(instance, timeout=4)
            self.load.ledger.write("seen", instance, OrchestrationStatus(end.runtime_status).name,
                                   end.get_output())
        try:
            self.call(look)
        except TimeoutError:
            pass

    def events(self, kind):
        events = self.random.randint(1, 4)
        instance = self.start(kind, {"events": events})
        for n in range(events if instance else 0):
            self.client.persist("event", instance, n, lambda n=n: self.either(
                lambda: self.client.ask("POST", f"{API}/instances/{instance}/raiseEvent/e", n),
                lambda c: c.raise_orchestration_event(instance, "e", data=n)))

    def terminated(self, kind):
        instance = self.start(kind, {"naps": 1, "ms": HOUR})
        if instance:
            self.client.persist("terminate", instance, 0, lambda: self.either(
                lambda: self.client.ask("POST", f"{API}/instances/{instance}/terminate?reason=enough"),
                lambda c: c.terminate_orchestration(instance, output="enough")))

    def signal(self, entity):
        """Each attempt is a signal of its own, so it is known which of them counted."""
        self.signals += 1
        self.load.ledger.write("signal", entity, self.key, self.signals)
        code = self.either(
            lambda: self.client.ask("POST", f"{API}/entities/{entity}/{self.key}?op=add", self.signals),
            lambda c: c.signal_entity(EntityInstanceId(entity, self.key), "add", self.signals))
        self.load.ledger.write("signaled" if code == 202 else "unsure", entity, self.key, self.signals, code)

    def one(self):
        own, by, child = (self.random.choice(LANGUAGES) for _ in range(3))
        ms, choose = self.random.choice((0, 0, 1, 5, 20, 100)), self.random.random()
        instance = None
        if choose < 0.2:
            instance = self.start(own + "_chain", {"steps": self.random.randint(1, 5), "ms": ms, "by": by})
        elif choose < 0.32:
            instance = self.start(own + "_fan", {"width": self.random.randint(1, 12), "ms": ms, "by": by})
        elif choose < 0.44:
            instance = self.start(own + "_family", {"width": self.random.randint(1, 3), "steps": 2, "ms": ms,
                                                    "by": by, "child": child + "_chain"})
        elif choose < 0.52:
            instance = self.start(own + "_sleeper", {"naps": 2, "ms": self.random.randint(1, 1500)})
        elif choose < 0.6:
            instance = self.start(own + "_generations", {"rounds": self.random.randint(1, 4), "round": 0,
                                                         "ms": ms, "by": by})
        elif choose < 0.72:
            self.events(own + "_collect")
        elif choose < 0.77:
            self.terminated(own + "_sleeper")
        elif choose < 0.83:
            a, b = self.random.sample(ACCOUNTS, 2)
            instance = self.start(own + "_transfer", {"from": a, "to": b, "amount": self.random.randint(1, 100)})
        elif choose < 0.91:
            instance = self.start(own + "_counter_user", {"counter": by + "_counter", "times":
                                                          self.random.randint(1, 4), "key": f"c{self.client.number}"})
        else:
            self.signal(by + "_counter")
        if instance and self.random.random() < 0.15:
            self.wait(instance)

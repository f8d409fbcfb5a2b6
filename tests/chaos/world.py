"""The fleet under fire: brokers, Redis, workers and coordinators, and what is done to them.

Only what was started here is stopped or paused, by process id.
"""
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time

from harness import APPS, Fleet, Worker, until
from fleethub import Coordinator
from programs import Programs

SINGLE = ()
CLUSTER = ("default.replication.factor=3", "min.insync.replicas=2",
           "offsets.topic.replication.factor=3", "transaction.state.log.replication.factor=3",
           "transaction.state.log.min.isr=2")


def say(*words):
    print("   ", *words, file=sys.stderr, flush=True)


class World:
    def __init__(self, directory, hub, version, nodes, workers, coordinators, partitions, programs=0):
        self.directory, self.hub, self.nodes = directory, hub, nodes
        self.began = time.monotonic()
        self.forgot = float("-inf")  # when parts of a projection were taken away
        self.executions = os.path.join(directory, "executions")
        os.makedirs(self.executions)
        os.environ["TASKHUB_CHAOS_LEDGER"] = self.executions
        os.environ["TASKHUB_KEEP_MESSAGES"] = "1"
        options = ["--version", version, "--nodes", str(nodes)]
        for line in CLUSTER if nodes > 1 else SINGLE:
            options += ["--property", line]
        self.fleet = Fleet(directory, *options)
        self.lock = threading.Lock()
        self.coordinators = [Coordinator(self.fleet, hub, "--partitions", str(partitions),
                                         "--log-level", "debug", name=f"coordinator-{n}",
                                         **({"TASKHUB_RPC_PORT": "0"} if programs else {}))
                             for n in range(coordinators)]
        self.workers = [Worker(self.fleet, hub, os.path.join(APPS, "chaos.so"), "--log-level",
                               "debug", "--activities", ("2", "8")[n % 2], name=f"worker-{n}",
                               TASKHUB_STATE=os.path.join(directory, f"state-{n}"))
                        for n in range(workers)]
        self.paused = {}
        self.programs = Programs(self, programs)

    def servers(self):
        return [s for s in self.coordinators + self.workers
                if s.process and s.url and s.process.poll() is None]

    def endpoints(self):
        """Of workers, for programs."""
        return [s.rpc for s in self.servers() if s in self.workers and s.rpc]

    def start(self):
        for some in self.coordinators[:1], self.coordinators[1:] + self.workers:
            for server in some:
                self.relaunch(server)
            for server in some:
                until(lambda s=server: s.url, f"{server.log} to serve")
        until(self.workers[0].is_ready, "an owner for each partition", 120)
        self.programs.start()

    def down(self):
        self.wake_all()
        self.programs.down()
        for server in self.coordinators + self.workers:
            if server.process:
                server.kill()
        self.fleet.down()

    def heal(self):
        """Everything is there again; what died by itself is told."""
        dead = []
        self.wake_all()
        for node in range(1, self.nodes + 1):
            self.fleet.script("start", "--node", str(node))
        self.fleet.script("redis")
        for server in self.coordinators + self.workers:
            if server.process.poll() is not None:
                dead.append(f"{server.log} ended by itself with {server.process.poll()}: "
                            f"{server.stderr()[-300:]}")
                self.relaunch(server)
            until(lambda s=server: s.url, f"{server.log} to serve again", 120)
        return dead

    # ---- processes ----

    def pid_of_broker(self, node):
        path = os.path.join(self.fleet.folder, f"kafka-{node}", "pid")
        with open(path, encoding="ascii") as line:
            return int(line.read())

    def pid_of_redis(self):
        with open(os.path.join(self.fleet.folder, "redis", "pid"), encoding="ascii") as line:
            return int(line.read())

    def pause(self, pid, seconds):
        os.kill(pid, signal.SIGSTOP)
        self.paused[pid] = True
        try:
            time.sleep(seconds)
        finally:
            os.kill(pid, signal.SIGCONT)
            self.paused.pop(pid, None)

    def wake_all(self):
        for pid in list(self.paused):
            try:
                os.kill(pid, signal.SIGCONT)
            except ProcessLookupError:
                pass

    def relaunch(self, server):
        """It says by itself when it is there; nobody waits for it meanwhile."""
        server.url, server.rpc, server.port = None, None, "0"  # another program may have its port by now
        server.launch()
        threading.Thread(target=self.listen, args=(server,), daemon=True).start()

    def listen(self, server):
        process = server.process
        try:
            for line in process.stdout:
                found = re.match(r"\s+(API|RPC)\s+(http://|port )(\S+)", line)
                if found and found.group(1) == "API":
                    server.url = "http://" + found.group(3)
                elif found:
                    server.rpc = "127.0.0.1:" + found.group(3).rsplit(":", 1)[-1]
        except ValueError:
            pass  # closed meanwhile

    def end(self, server, how):
        """It is dead afterwards."""
        process, server.url = server.process, None
        if how == signal.SIGKILL:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.send_signal(how)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{server.log} does not end within 60 s of signal {how}") from None
        server.process = None

    # ---- faults ----

    def a_worker(self, choose):
        return choose.choice(self.workers)

    def kill_worker(self, choose):
        worker = self.a_worker(choose)
        self.end(worker, signal.SIGKILL)
        time.sleep(choose.uniform(0, 2))
        self.relaunch(worker)
        return worker.log

    def kill_child(self, choose):
        """Its supervisor starts another."""
        worker = self.a_worker(choose)
        pid = worker.worker()
        if pid:
            os.kill(pid, signal.SIGKILL)
        return worker.log

    def stop_worker(self, choose):
        worker = self.a_worker(choose)
        self.end(worker, signal.SIGTERM)
        self.relaunch(worker)
        return worker.log

    def pause_worker(self, choose):
        worker = self.a_worker(choose)
        pid = worker.worker()
        if pid:
            self.pause(pid, choose.uniform(0.3, 6))
        return worker.log

    def kill_all_workers(self, choose):
        for worker in self.workers:
            self.end(worker, signal.SIGKILL)
        for worker in self.workers:
            self.relaunch(worker)
        return "all"

    def kill_coordinator(self, choose):
        coordinator = choose.choice(self.coordinators)
        self.end(coordinator, signal.SIGKILL)
        self.relaunch(coordinator)
        return coordinator.log

    def pause_coordinator(self, choose):
        coordinator = choose.choice(self.coordinators)
        self.pause(coordinator.process.pid, choose.uniform(0.3, 5))
        return coordinator.log

    def kill_program(self, choose):
        program = choose.choice(self.programs.all)
        program.kill(choose.uniform(0, 2))
        return program.name

    def kill_all_programs(self, choose):
        """Nobody has these functions until they are back."""
        for program in self.programs.all:
            program.kill(0)
        return "all"

    def pause_program(self, choose):
        program = choose.choice(self.programs.all)
        self.pause(program.process.pid, choose.uniform(0.3, 6))
        return program.name

    def cut_program(self, choose):
        """Its connections break, it lives on."""
        program = choose.choice(self.programs.all)
        program.road.cut()
        return program.name

    def kill_broker(self, choose):
        node = str(choose.randint(1, self.nodes))
        self.fleet.script("kill", "--node", node)
        time.sleep(choose.uniform(0, 3))
        self.fleet.script("start", "--node", node)
        return node

    def stop_broker(self, choose):
        node = str(choose.randint(1, self.nodes))
        self.fleet.script("stop", "--node", node)
        self.fleet.script("start", "--node", node)
        return node

    def pause_broker(self, choose):
        node = choose.randint(1, self.nodes)
        self.pause(self.pid_of_broker(node), choose.uniform(0.3, 5))
        return node

    def flush_redis(self, choose):
        self.redis("FLUSHALL")

    def restart_redis(self, choose):
        pid = self.pid_of_redis()
        os.kill(pid, signal.SIGKILL)
        time.sleep(choose.uniform(0, 2))
        until(lambda: not os.path.exists(f"/proc/{pid}") or is_zombie(pid), "the end of Redis")
        os.unlink(os.path.join(self.fleet.folder, "redis", "pid"))
        self.fleet.script("redis")

    def pause_redis(self, choose):
        self.pause(self.pid_of_redis(), choose.uniform(0.3, 4))

    def redis(self, *words):
        host, port = self.fleet.redis.rsplit(":", 1)
        subprocess.run(["redis-cli", "-h", host, "-p", port, *words], check=True,
                       capture_output=True, timeout=20)

    def forget_some(self, choose):
        """A part of Redis is lost: keys of one partition."""
        host, port = self.fleet.redis.rsplit(":", 1)
        keys = subprocess.run(["redis-cli", "-h", host, "-p", port, "--scan", "--pattern",
                               "{%s:*" % self.hub], check=True, capture_output=True, text=True,
                              timeout=20).stdout.split()
        if keys:
            self.forgot = time.monotonic()
            self.redis("UNLINK", choose.choice(sorted(keys)))


def is_zombie(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as line:
            return line.read().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


# How often each of them, compared with the others of its thread.
FAULTS = ({"kill_worker": 6, "kill_child": 5, "stop_worker": 3, "pause_worker": 5,
           "kill_all_workers": 1, "kill_coordinator": 2, "pause_coordinator": 1},
          {"kill_broker": 3, "stop_broker": 1, "pause_broker": 2, "flush_redis": 3,
           "restart_redis": 3, "pause_redis": 1, "forget_some": 2},
          {"kill_program": 6, "kill_all_programs": 1, "pause_program": 4, "cut_program": 4})


class Storm(threading.Thread):
    """One fault after the other, from a seed, until the time is over."""

    def __init__(self, world, seed, until_then, faults):
        super().__init__(daemon=True)
        self.world, self.until_then, self.faults = world, until_then, faults
        self.random = random.Random(seed)
        self.done, self.error = {}, None

    def one(self):
        choose = random.Random(self.random.random())
        name = choose.choices(list(self.faults), list(self.faults.values()))[0]
        began = time.monotonic()
        try:
            what = getattr(self.world, name)(choose)
        except ProcessLookupError:
            what = "was gone already"
        self.done[name] = self.done.get(name, 0) + 1
        say(f"{began - self.world.began:7.1f} s {name} {os.path.basename(str(what or ''))}"
            f" ({time.monotonic() - began:.1f} s)")

    def run(self):
        try:
            while time.monotonic() < self.until_then:
                time.sleep(self.random.uniform(0.2, 3.0))
                self.one()
        except Exception as error:  # told by whoever waits for the storm
            say("the storm ends:", repr(error))
            self.error = error


class Chaos:
    """What happens to servers, to brokers and Redis, and to programs with an SDK, at once."""

    def __init__(self, world, seed, seconds, only=None):
        until_then = time.monotonic() + seconds
        faults = [{name: often for name, often in some.items() if not only or name in only}
                  for some in FAULTS]
        self.storms = [Storm(world, f"{seed}/{n}", until_then, some)
                       for n, some in enumerate(faults) if some and (n < 2 or world.programs.all)]

    def run(self):
        for storm in self.storms:
            storm.start()
        for storm in self.storms:
            storm.join()
        for storm in self.storms:
            if storm.error:
                raise storm.error

    @property
    def done(self):
        return {name: times for storm in self.storms for name, times in storm.done.items()}

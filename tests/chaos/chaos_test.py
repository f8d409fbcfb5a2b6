"""A fleet on real Kafka and Redis under load while it is killed, paused and wiped; then everything is
compared with everything.

    chaos_test.py [--seed N] [--seconds N] [--version V] [--nodes N] [--workers N] [--only FAULT,...] [--sdk]

With --sdk programs with a Durable Task SDK, in Python and in JavaScript, take part in the work, and suffer.

Prints its seed; with --seed, or TASKHUB_SEED, the same faults follow each other again. The machine's
timing is not repeated. TASKHUB_KEEP keeps the directory with logs and ledgers.
"""
import argparse
import http.client
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "e2e"))

from audit import Audit  # noqa: E402
from harness import API, TASKHUB, until  # noqa: E402
from packages import run_within  # noqa: E402
from sdk.languages import python_environment  # noqa: E402
from load import Load, may_wait, read_ledger  # noqa: E402
from world import Chaos, World, say  # noqa: E402

# A paused owner is replaced after its session's time, and the new one may find no broker either.
TIME_TO_NOTICE = 30


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=int(os.environ.get("TASKHUB_SEED", random.randrange(1 << 30))))
    parser.add_argument("--seconds", type=float, default=40)
    parser.add_argument("--minutes", type=float, default=0)
    parser.add_argument("--version", default="3.9.1")
    parser.add_argument("--nodes", type=int, default=1)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--coordinators", type=int, default=2)
    parser.add_argument("--partitions", type=int, default=6)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--pause", type=float, default=0.02, help="of a client between requests")
    parser.add_argument("--patience", type=float, default=120, help="until all has ended")
    parser.add_argument("--sdk", action="store_true", help="programs with an SDK, too")
    parser.add_argument("--programs", type=int, default=2, help="of each language")
    parser.add_argument("--only", help="faults, with commas")
    return parser.parse_args()


def doctor(world, *more):
    """The exit code and the report."""
    result = subprocess.run(
        [TASKHUB, "doctor", "--json", "--hub", world.hub, "--kafka", world.fleet.kafka, "--redis",
         world.fleet.redis, *more], capture_output=True, text=True, timeout=600, check=False)
    try:
        return result.returncode, json.loads(result.stdout)
    except ValueError:
        return result.returncode, {"findings": [{"text": result.stdout + result.stderr}],
                                   "counts": {}, "instances": []}


class Rounds(threading.Thread):
    """Examines the hub all the time while it runs and suffers: something may be stuck then, but nothing
    may contradict itself, and the hub must not feel it."""

    def __init__(self, world):
        super().__init__(daemon=True)
        self.world, self.ending = world, threading.Event()
        self.wrong, self.codes = [], {}

    def run(self):
        while not self.ending.wait(5):
            code, found = doctor(self.world)
            self.codes[code] = self.codes.get(code, 0) + 1
            self.wrong += [f"doctor, in the storm: {f['text']}" for f in found["findings"]
                           if f.get("severity") == "damage" and not self.is_inflicted(f)]
            if code not in (0, 1, 7, 8):
                self.wrong.append(f"doctor, in the storm: exit code {code}: {found['findings']}")

    def is_inflicted(self, finding):
        """Parts of a projection were taken away, and its owner had no time yet to notice."""
        return (finding.get("kind") == "row-count" and
                time.monotonic() < self.world.forgot + TIME_TO_NOTICE)

    def stop(self):
        self.ending.set()
        self.join()
        return self.wrong


def running(world):
    """Instances that have not ended, by any server that answers; None: none does."""
    for server in world.servers():
        try:
            code, _, rows = server.http(
                "GET", f"{API}/instances?top=1000&runtimeStatus=Running,Pending,Suspended"
                f"&taskHub={world.hub}", timeout=20)
            if code == 200:
                return [row["instanceId"] for row in rows]
        except (OSError, http.client.HTTPException, ValueError):
            pass
    return None


def await_ends(world, waiting, patience):
    last = [None]

    def none_left():
        ids = running(world)
        last[0] = None if ids is None else sorted(set(ids) - set(waiting))
        return last[0] == []
    try:
        until(none_left, "the end of all instances", patience)
    except AssertionError:
        return last[0] if last[0] is not None else ["nobody answers"]
    return []


def entity_reader(world):
    """Gives an entity's state; None: it has none."""
    def read(name, key):
        def look():
            for server in world.servers():
                try:
                    code, _, state = server.http("GET", f"{API}/entities/{name}/{key}?taskHub={world.hub}",
                                                 timeout=20)
                except (OSError, http.client.HTTPException, ValueError):
                    continue
                if code == 200:
                    return (state,)
                if code == 404:
                    return (None,)
            return None
        return until(look, f"the state of {name} {key}")[0]
    return read


def is_known(instance, waiting):
    """The doctor says of what may wait for what it waits."""
    word = waiting.get(instance["instanceId"])
    return word and instance["state"] == "waiting" and instance["explanation"].startswith(word)


def report(name, code, found, waiting):
    say(f"{name}: exit code {code}, " + ", ".join(f"{k} {v}" for k, v in found["counts"].items() if v))
    wrong = [f"{name}: {f['text']}" for f in found["findings"] if f.get("severity") != "note"]
    if code != 0 and not wrong:
        wrong = [f"{name}: exit code {code}"]
    return wrong + [f"{name}: {i['instanceId']} {i['state']}: {i['explanation']}"
                    for i in found["instances"] if not is_known(i, waiting)]


def examine(world, load, options):
    wrong = []
    began = time.monotonic()
    waiting = may_wait(read_ledger(load.path))
    left = await_ends(world, waiting, options.patience)
    say(f"all ended after {time.monotonic() - began:.1f} s" if not left else f"not ended: {left[:20]}")
    until(lambda: world.workers[0].is_ready() or None, "a worker that is ready", 60)
    wrong += report("doctor, running", *doctor(world), waiting)
    audit = Audit(world, load)
    wrong += audit.run(entity_reader(world))
    say(", ".join(f"{value} {name}" for name, value in audit.facts.items()))
    for worker in world.workers:
        world.end(worker, signal.SIGTERM)
    wrong += report("doctor, stopped", *doctor(world), waiting)
    return wrong


def sdk_load():
    """Where the SDK is there."""
    from sdkload import SdkLoad  # pylint: disable=import-outside-toplevel
    return SdkLoad


def run(options, directory):
    world = World(directory, f"Chaos{options.seed}", options.version, options.nodes, options.workers,
                  options.coordinators, options.partitions, options.programs if options.sdk else 0)
    load, rounds = None, Rounds(world)
    try:
        world.start()
        load = Load(os.path.join(directory, "promises"), world.hub, options.seed, world.servers, options.clients,
                    options.pause, sdk_load() if options.sdk else None)
        chaos = Chaos(world, options.seed, options.minutes * 60 or options.seconds,
                      options.only.split(",") if options.only else None)
        load.start()
        rounds.start()
        chaos.run()
        wrong = rounds.stop() + world.heal()
        load.stop()
        say("answers to starts:", load.codes, "faults:", chaos.done, "doctor's exit codes:",
            rounds.codes)
        if options.sdk:
            say("programs that ended by themselves:", world.programs.facts())
        return wrong + examine(world, load, options)
    finally:
        if load and not load.ending:
            load.stop(0)
        rounds.ending.set()
        world.down()


def main():
    options = arguments()
    if options.sdk:
        run_within(python_environment())
    print(f"seed {options.seed}: Kafka {options.version}, {options.nodes} brokers", file=sys.stderr,
          flush=True)
    directory = tempfile.mkdtemp(prefix="taskhub-chaos-", dir=os.environ.get("TMPDIR", "/var/tmp"))
    wrong = ["it did not come to its end"]
    try:
        wrong = run(options, directory)
    finally:
        if "TASKHUB_KEEP" in os.environ or (wrong and "TASKHUB_KEEP_FAILED" in os.environ):
            print("kept:", directory, file=sys.stderr)
        else:
            shutil.rmtree(directory, ignore_errors=True)
    for line in wrong[:60]:
        print("WRONG:", line, file=sys.stderr)
    print(f"seed {options.seed}: {len(wrong)} contradictions" if wrong else f"seed {options.seed}: well",
          file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

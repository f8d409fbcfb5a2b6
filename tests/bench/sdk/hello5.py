"""hello5 through the Python SDK: an orchestration of five activities in sequence.

    python hello5.py [--endpoint HOST:PORT] [--workers N] [--count N] [--seconds S]

Without an endpoint the server is the in-memory backend of the same SDK. Server, workers and client
are processes of their own. Prints one line of JSON: the time from start to result with one client
(ms), and the best rate (per second) of several numbers of clients at once.
"""
import argparse
import asyncio
import json
import logging
import os
import platform
import statistics
import subprocess
import sys
import time
from concurrent import futures
from importlib.metadata import version

import grpc
from durabletask.client import AsyncTaskHubGrpcClient, OrchestrationStatus
from durabletask.internal import orchestrator_service_pb2_grpc as stubs
from durabletask.testing import InMemoryOrchestrationBackend
from durabletask.worker import TaskHubGrpcWorker

QUIET = logging.getLogger("quiet")
QUIET.setLevel(logging.ERROR)
CLIENTS = (8, 32, 128)
THREADS = 2 * max(CLIENTS)  # of the in-memory backend: every wait takes one
WARM_UP = 20
PATIENCE = 60


def hello(ctx, city):
    return f"Hello {city}!"


def hello5(ctx, _):
    greetings = []
    for city in ("Tokyo", "Seattle", "London", "Oslo", "Lima"):
        greetings.append((yield ctx.call_activity(hello, input=city)))
    return greetings


# ---- the other processes: each prints one line when it is there, and ends with its input ----

def serve_backend():
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=THREADS))
    stubs.add_TaskHubSidecarServiceServicer_to_server(InMemoryOrchestrationBackend(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(f"localhost:{port}", flush=True)
    sys.stdin.read()
    server.stop(None)


def serve_work(endpoint):
    worker = TaskHubGrpcWorker(host_address=endpoint, logger=QUIET)
    worker.add_orchestrator(hello5)
    worker.add_activity(hello)
    worker.use_work_item_filters()
    worker.start()
    print("serving", flush=True)
    sys.stdin.read()
    os._exit(0)  # the SDK would take a second to say good-bye


def spawn(*args):
    process = subprocess.Popen([sys.executable, __file__, *args], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, text=True)
    return process, process.stdout.readline().strip()


# ---- measuring ----

async def once(client):
    """Seconds."""
    began = time.perf_counter()
    instance = await client.schedule_new_orchestration("hello5")
    end = await client.wait_for_orchestration_completion(instance, timeout=PATIENCE)
    if end.runtime_status != OrchestrationStatus.COMPLETED or len(end.get_output()) != 5:
        raise RuntimeError(f"{instance}: {end}")
    return time.perf_counter() - began


async def rate(client, clients, seconds):
    """Per second, with so many clients at once; what is under way at the end does not count."""
    done = 0
    until = time.perf_counter() + seconds

    async def loop():
        nonlocal done
        while time.perf_counter() < until:
            await once(client)
            done += time.perf_counter() < until
    await asyncio.gather(*(loop() for _ in range(clients)))
    return done / seconds


async def measure(endpoint, options):
    client = AsyncTaskHubGrpcClient(host_address=endpoint, logger=QUIET)
    for _ in range(WARM_UP):
        await once(client)
    times = sorted([await once(client) for _ in range(options.count)])
    rates = {clients: await rate(client, clients, options.seconds) for clients in CLIENTS}
    await client.close()
    best = max(rates, key=rates.get)
    return {"p50_ms": round(1000 * statistics.median(times), 2),
            "p99_ms": round(1000 * times[int(0.99 * (len(times) - 1))], 2),
            "best_per_second": round(rates[best], 1), "at_clients": best}


def main():
    if sys.argv[1:2] == ["backend"]:
        return serve_backend()
    if sys.argv[1:2] == ["work"]:
        return serve_work(sys.argv[2])
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--endpoint", help="of a Taskhub; without it the SDK's in-memory backend")
    parser.add_argument("--workers", type=int, default=1, help="processes to start")
    parser.add_argument("--count", type=int, default=200, help="instances, one after the other")
    parser.add_argument("--seconds", type=float, default=5, help="for each number of clients")
    options = parser.parse_args()

    started = []
    try:
        endpoint = options.endpoint
        if not endpoint:
            process, endpoint = spawn("backend")
            started.append(process)
        started += [spawn("work", endpoint)[0] for _ in range(options.workers)]
        measured = asyncio.run(measure(endpoint, options))
    finally:
        for process in reversed(started):
            process.stdin.close()
            process.wait(PATIENCE)
    print(json.dumps({"sdk": f"durabletask {version('durabletask')}",
                      "runtime": f"Python {platform.python_version()}",
                      "server": options.endpoint or "in-memory backend",
                      "workers": options.workers, **measured}))
    return None


if __name__ == "__main__":
    main()

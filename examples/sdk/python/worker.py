"""Serves the workflows of this folder: python worker.py [ENDPOINT]

ENDPOINT is where a Taskhub listens for workers: the argument, else $TASKHUB_RPC, else
localhost:4001.
"""
import os
import signal
import sys

from durabletask.worker import TaskHubGrpcWorker

import approval
import counter
import fan_out
import hello_cities
import hello_countries
import retries
import tally


def main():
    endpoint = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("TASKHUB_RPC", "localhost:4001")
    worker = TaskHubGrpcWorker(host_address=endpoint)
    for module in (approval, counter, fan_out, hello_cities, hello_countries, retries, tally):
        module.register(worker)
    # Only what is registered here. Without this a worker is sent everything and fails the rest.
    worker.use_work_item_filters()
    # The worker has threads of its own; this one waits for Ctrl-C or SIGTERM.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    worker.start()
    print(f"serving {endpoint}", flush=True)
    signal.sigwait({signal.SIGINT, signal.SIGTERM})
    worker.stop()


if __name__ == "__main__":
    main()

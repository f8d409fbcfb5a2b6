"""What tests of SDKs share: a sidecar, workers, and the client of the Python SDK.

Whoever imports this is run by an interpreter that has that SDK.
"""
import logging
import os
import signal
import subprocess
import sys

from packages import run_within

from .languages import python_environment

run_within(python_environment())

from durabletask.client import OrchestrationStatus, TaskHubGrpcClient  # noqa: E402
from durabletask.history import TaskCompletedEvent  # noqa: E402

from harness import BIN, PATIENCE, HubTest  # noqa: E402
from .sidecar import kind  # noqa: E402

SANITIZED = "asan" in BIN or "tsan" in BIN
QUIET = logging.getLogger("quiet")
QUIET.addHandler(logging.NullHandler())
QUIET.propagate = False


class Program:
    """A worker of a test, in a process group of its own."""

    def __init__(self, directory, command, endpoint, environment):
        self.log = open(os.path.join(directory, "workers.log"), "ab")
        self.process = subprocess.Popen(
            command, stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL, cwd=directory,
            start_new_session=True, env={**os.environ, **environment, "TASKHUB_RPC": endpoint})
        self.pid = self.process.pid

    def alive(self):
        return self.process.poll() is None

    def kill(self):
        if self.alive():
            os.killpg(self.pid, signal.SIGKILL)
        self.process.wait(PATIENCE)
        self.log.close()

    def stop(self):
        """A polite end; gives the exit code."""
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(PATIENCE)
        self.log.close()
        return code


class SdkTest(HubTest):
    def setUp(self):
        super().setUp()
        if SANITIZED and not kind().is_taskhub:
            self.skipTest("what a sanitizer looks at is not there")
        self.sidecar = kind()(self.directory).start()
        self.addCleanup(self.sidecar.release)
        self.addCleanup(self.sidecar.check)
        self.addCleanup(self.show_workers)

    def show_workers(self):
        """What workers and the hub said, where a test has failed."""
        result = self._outcome.result
        path = os.path.join(self.directory, "workers.log")
        if not any(test is self for test, _ in result.errors + result.failures):
            return
        if os.path.exists(path):
            with open(path, encoding="utf-8", errors="replace") as log:
                print("\nthe workers said:\n" + log.read()[-8000:], file=sys.stderr)
        print("\nthe hub said:\n" + self.sidecar.stderr()[-8000:], file=sys.stderr)

    def program(self, speaks, command, endpoint=None):
        program = Program(self.directory, command, endpoint or self.sidecar.endpoint,
                          speaks.environment)
        self.addCleanup(program.kill)
        return program

    def connect(self):
        client = TaskHubGrpcClient(host_address=self.sidecar.endpoint, logger=QUIET)
        self.addCleanup(client.close)
        return client

    def begin(self, name, data=None):
        return self.client.schedule_new_orchestration(name, input=data)

    def output(self, instance):
        end = self.client.wait_for_orchestration_completion(instance, timeout=int(PATIENCE))
        self.assertEqual(end.runtime_status, OrchestrationStatus.COMPLETED, end)
        return end.get_output()

    def completions(self, instance):
        """How many results of activities its history holds."""
        return sum(isinstance(event, TaskCompletedEvent)
                   for event in self.client.get_orchestration_history(instance))

"""A gRPC server of the tests', grpc_echo, started on a free port; its input and output."""
import json
import os
import resource
import subprocess
import tempfile
import threading
import time

BIN = os.path.join(os.environ.get("TASKHUB_BIN", "build/dev/bin"), "tests")
PATIENCE = float(os.environ.get("TASKHUB_PATIENCE", "60"))
SANITIZED = "asan" in BIN or "tsan" in BIN  # memory says nothing then


def until(condition, what, patience=PATIENCE):
    """The first true value of condition(); fails the test when patience is over."""
    deadline = time.monotonic() + patience
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError("waited in vain: " + what)
        time.sleep(0.01)


def certificates():
    """A directory with ca.pem, server.pem, server.key, client.pem, client.key."""
    directory = tempfile.mkdtemp(prefix="taskhub-grpc-", dir=os.environ.get("TMPDIR", "/var/tmp"))
    subprocess.run([os.path.join(BIN, "grpc_certificates"), directory], check=True)
    return directory


class Server:
    def __init__(self, *args, files=None):
        """`files`: the most it may have open."""
        self.log = tempfile.TemporaryFile()
        limit = None
        if files:
            def limit():
                resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
        self.process = subprocess.Popen(
            [os.path.join(BIN, "grpc_echo"), *map(str, args)], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=self.log, text=True, preexec_fn=limit)
        self.lock = threading.Lock()
        line = self.process.stdout.readline()
        if not line.strip().isdigit():
            raise AssertionError(f"grpc_echo did not start: {self.stderr()}")
        self.port = int(line)
        self.address = f"localhost:{self.port}"

    def stderr(self):
        self.log.seek(0)
        return self.log.read().decode(errors="replace")

    def command(self, text):
        with self.lock:
            self.process.stdin.write(text + "\n")
            self.process.stdin.flush()
            return self.process.stdout.readline().strip()

    def stats(self):
        return json.loads(self.command("stats"))

    def stop(self):
        """A polite end; whatever a sanitizer has to say fails the test."""
        if self.process.stdin.closed:
            return
        self.process.stdin.close()
        code = self.process.wait(PATIENCE)
        self.process.stdout.close()
        said = self.stderr()
        self.log.close()
        if code:
            raise AssertionError(f"grpc_echo ended with {code}:\n{said[-8000:]}")

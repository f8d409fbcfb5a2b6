"""The Docker that the tests talk to: the one that runs, else one of their own.

One of their own keeps its images in the cache ($XDG_CACHE_HOME/taskhub/docker), so that the next run
finds them, and everything else in a folder that goes with it. It takes root.
"""
import fcntl
import os
import shutil
import signal
import subprocess
import tempfile
import time

CACHE = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "taskhub")
START_PATIENCE = 60


class CouldNotRun(Exception):
    """What the tests need is not there; says what."""


def answers(environment):
    return subprocess.run(["docker", "info"], env=environment, capture_output=True,
                          check=False).returncode == 0


class Docker:
    def __init__(self):
        self.environment = dict(os.environ)
        self.process = self.folder = self.lock = None
        self.had_bridge = os.path.exists("/sys/class/net/docker0")
        for program in ("docker", "docker-compose"):
            if not shutil.which(program):
                raise CouldNotRun(f"there is no {program}; run deploy/install-deps.sh check")
        if not answers(self.environment):
            self.start()

    def start(self):
        if os.geteuid() != 0:
            raise CouldNotRun("no Docker daemon answers, and starting one takes root")
        if not shutil.which("dockerd"):
            raise CouldNotRun("there is no dockerd; run deploy/install-deps.sh check")
        os.makedirs(CACHE, exist_ok=True)
        self.lock = open(os.path.join(CACHE, "docker.lock"), "w", encoding="ascii")
        fcntl.flock(self.lock, fcntl.LOCK_EX)  # the images are one daemon's at a time
        self.folder = tempfile.mkdtemp(prefix="taskhub-docker-")
        address = f"unix://{self.folder}/socket"
        self.environment["DOCKER_HOST"] = address
        log_path = os.path.join(self.folder, "log")
        with open(log_path, "w", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                # It ends with the test, whatever ends the test; and its containers with it.
                ["setpriv", "--pdeathsig", "TERM", "dockerd", "--host", address,
                 "--data-root", os.path.join(CACHE, "docker"), "--exec-root", os.path.join(self.folder, "exec"),
                 "--pidfile", os.path.join(self.folder, "pid")],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        deadline = time.monotonic() + START_PATIENCE
        while not answers(self.environment):
            if self.process.poll() is not None or time.monotonic() > deadline:
                with open(log_path, encoding="utf-8", errors="replace") as log:
                    reason = log.read()[-2000:]
                self.stop()
                raise CouldNotRun(f"dockerd does not start:\n{reason}")
            time.sleep(0.1)
        self.tidy()

    def tidy(self):
        """What a test that was killed has left, and images that nothing was made of for a week."""
        def docker(*arguments):
            return subprocess.run(["docker", *arguments], env=self.environment, capture_output=True, text=True,
                                  check=True).stdout
        left = docker("ps", "-aq").split()
        if left:
            docker("rm", "-f", "-v", *left)
        docker("volume", "prune", "-f")
        docker("network", "prune", "-f")
        docker("image", "prune", "-f", "--filter", "until=168h")

    def stop(self):
        if not self.process:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(START_PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None
        if not self.had_bridge and shutil.which("ip"):
            subprocess.run(["ip", "link", "delete", "docker0"], capture_output=True, check=False)
        shutil.rmtree(self.folder, ignore_errors=True)
        self.lock.close()

"""Programs with a Durable Task SDK as part of the fleet under fire: served.py and served.js.

Each has a road of its own to the workers, as through a load balancer: a new connection goes to any worker that
takes it. A program that ends is started again, as a service manager would.
"""
import os
import random
import signal
import socket
import subprocess
import threading
import time

from sdk.languages import language
from sdk.sidecar import Proxy

HERE = os.path.dirname(os.path.abspath(__file__))
LANGUAGES = {"py": ("python", "served.py"), "js": ("javascript", "served.js")}
PATIENCE = 20  # of a connection, until there is a worker


class Road(Proxy):
    """To whatever `endpoints()` gives now, in any order."""

    def __init__(self, endpoints):
        self.endpoints = endpoints
        super().__init__()

    def connect(self):
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            endpoints = self.endpoints()
            for endpoint in random.sample(endpoints, len(endpoints)):
                try:
                    return socket.create_connection(endpoint.rsplit(":", 1))
                except OSError:
                    pass  # it has died, or does not listen yet
            time.sleep(0.05)
        raise OSError("no worker")


class Program:
    def __init__(self, world, speaks, number):
        self.world = world
        self.name = f"{speaks}-{number}"
        self.log = os.path.join(world.directory, self.name + ".log")
        name, file = LANGUAGES[speaks]
        self.language = language(name)
        self.command = self.language.run(os.path.join(HERE, file))
        self.road = Road(world.endpoints)
        self.lock = threading.Lock()  # of the process: who ends it starts the next one
        self.process, self.ended_by_itself = None, 0

    def launch(self):
        environment = {"TASKHUB_RPC": self.road.endpoint, "TASKHUB_CHAOS_HUB": self.world.hub}
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                env={**os.environ, **self.language.environment, **environment})

    def revive(self):
        """Starts it again if it has ended by itself."""
        with self.lock:
            if self.process and self.process.poll() is not None:
                self.ended_by_itself += 1
                self.launch()

    def kill(self, pause=None):
        """With -9; None: for good."""
        with self.lock:
            if self.process and self.process.poll() is None:
                os.killpg(self.process.pid, signal.SIGKILL)
            if self.process:
                self.process.wait()
            self.process = None
            if pause is not None:
                time.sleep(pause)
                self.launch()


class Programs:
    def __init__(self, world, each):
        self.all = [Program(world, speaks, n) for n in range(each) for speaks in LANGUAGES]
        self.ending = threading.Event()
        self.manager = threading.Thread(target=self.manage, daemon=True)

    def start(self):
        for program in self.all:
            program.launch()
        self.manager.start()

    def manage(self):
        while not self.ending.wait(0.2):
            for program in self.all:
                program.revive()

    def down(self):
        self.ending.set()
        if self.manager.is_alive():
            self.manager.join()
        for program in self.all:
            program.kill()
            program.road.close()

    def facts(self):
        return {program.name: program.ended_by_itself for program in self.all}

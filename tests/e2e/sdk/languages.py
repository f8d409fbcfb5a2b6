"""The example workers and clients of examples/sdk, installed and ready to run.

A `Language` gives the commands of its worker and its client. What they need comes from the
registries on first use, by lock files in the tree, into the cache of packages.py.
"""
import functools
import os
import platform
import re
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
from packages import call, locked, locked_maven, locked_npm, locked_pypi  # noqa: E402

EXAMPLES = os.path.join(HERE, "..", "..", "..", "examples", "sdk")
OLDEST_NODE = 22
OLDEST_GO = (1, 21)
BUILD_PATIENCE = 600


def example(language, *names):
    return os.path.normpath(os.path.join(EXAMPLES, language, *names))


class Language:
    name = None
    has_filters = False  # its worker says what it serves
    environment = {}

    def worker(self):
        """The command; it serves $TASKHUB_RPC."""
        raise NotImplementedError

    def client(self, *args):
        raise NotImplementedError

    def documented(self, folder, file):
        """The command of the program in docs/sdk/<language>.md, which `file` in `folder` holds."""
        return self.run(os.path.join(folder, file))


# ---- toolchains: the machine's, if they are new enough ----

@functools.cache
def node():
    found = shutil.which("node")
    if found:
        version = subprocess.run([found, "--version"], capture_output=True, text=True, check=True)
        if int(version.stdout.lstrip("v").split(".")[0]) >= OLDEST_NODE:
            return found
    machine = {"x86_64": "x64", "aarch64": "arm64"}[platform.machine()]
    folder = locked_npm("node", os.path.join(HERE, "node"))
    return os.path.join(folder, "node_modules", f"node-linux-{machine}", "bin", "node")


@functools.cache
def go():
    found = shutil.which("go")
    if found:
        said = subprocess.run([found, "version"], capture_output=True, text=True, check=True).stdout
        version = re.search(r"go(\d+)\.(\d+)", said)
        if version and tuple(map(int, version.groups())) >= OLDEST_GO:
            return found
    folder = locked_pypi("go", os.path.join(HERE, "go-requirements.txt"))
    return os.path.join(folder, "bin", "go")


# ---- languages ----

def python_environment():
    """A virtual environment with the Python SDK."""
    return locked_pypi("sdk-python", example("python", "requirements.txt"))


class Python(Language):
    name = "python"
    has_filters = True
    # Nothing is written beside the sources.
    environment = {"PYTHONDONTWRITEBYTECODE": "1"}

    def __init__(self):
        self.program = os.path.join(python_environment(), "bin", "python")

    def run(self, file, *args):
        return [self.program, file, *args]

    def worker(self):
        return self.run(example("python", "worker.py"))

    def client(self, *args):
        return self.run(example("python", "client.py"), *args)


class JavaScript(Language):
    name = "javascript"
    has_filters = True

    def __init__(self):
        folder = locked_npm("sdk-" + self.name, example(self.name))
        self.environment = {"NODE_PATH": os.path.join(folder, "node_modules")}

    def run(self, file, *args):
        return [node(), file, *args]

    def worker(self):
        return self.run(example(self.name, "worker.js"))

    def client(self, *args):
        return self.run(example(self.name, "client.js"), *args)


class DaprJavaScript(JavaScript):
    name = "dapr-javascript"
    has_filters = False


class Go(Language):
    name = "go"
    go_environment = {"GOFLAGS": "-mod=readonly -buildvcs=false", "GOTOOLCHAIN": "local"}

    def __init__(self):
        names = ("go.mod", "go.sum", "main.go", "workflows.go")
        folder = locked("sdk-go", [example("go", name) for name in names], self.build)
        self.program = os.path.join(folder, "sdk")

    def build(self, folder):
        call(go(), "build", "-o", os.path.join(folder, "sdk"), ".", cwd=example("go"),
             env=self.go_environment, patience=BUILD_PATIENCE)

    def documented(self, folder, file):
        path = os.path.join(folder, file)

        def build(into):
            for source in (path, example("go", "go.mod"), example("go", "go.sum")):
                shutil.copy(source, into)
            call(go(), "build", "-o", os.path.join(into, "hello"), ".", cwd=into,
                 env=self.go_environment, patience=BUILD_PATIENCE)
        sources = [path, example("go", "go.mod"), example("go", "go.sum")]
        return [os.path.join(locked("sdk-go-documented", sources, build), "hello")]

    def worker(self):
        return [self.program, "worker"]

    def client(self, *args):
        return [self.program, *args]


class Java(Language):
    name = "java"

    def __init__(self):
        self.jars = os.path.join(locked_maven("sdk-java", example("java")), "jars", "*")
        sources = [example("java", name) for name in ("Client.java", "Worker.java")]
        lock = [example("java", name) for name in ("pom.xml", "jars.sha256")]
        self.classes = locked("sdk-java-classes", sources + lock, lambda folder: call(
            "javac", "-cp", self.jars, "-d", folder, *sources))

    def run(self, program, *args):
        # Quick to start: most of these run for a second.
        return ["java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp",
                f"{self.classes}:{self.jars}", program, *args]

    def documented(self, folder, file):
        return ["java", "-cp", self.jars, os.path.join(folder, file)]

    def worker(self):
        return self.run("Worker")

    def client(self, *args):
        return self.run("Client", *args)


LANGUAGES = {language.name: language for language in (Python, JavaScript, Go, Java, DaprJavaScript)}


@functools.cache
def language(name):
    return LANGUAGES[name]()

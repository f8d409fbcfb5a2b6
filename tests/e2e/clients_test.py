"""Existing clients, unmodified, against the real program.

The packages are installed once, by the ordinary package clients and in pinned versions, into
$TASKHUB_CACHE (default ~/.cache/taskhub), outside of the tree.
"""
import fcntl
import os
import shutil
import subprocess
import sys
import unittest

from harness import HubTest, app

HERE = os.path.dirname(os.path.abspath(__file__))
CACHE = os.path.expanduser(os.environ.get("TASKHUB_CACHE") or "~/.cache/taskhub")
INSTALL_PATIENCE = 240


def call(*command, env=None, cwd=None, patience=INSTALL_PATIENCE):
    result = subprocess.run(command, capture_output=True, text=True, timeout=patience, cwd=cwd,
                            env={**os.environ, **(env or {})})
    if result.returncode:
        raise AssertionError(f"{' '.join(command)} ended with {result.returncode}:\n"
                             f"{result.stdout}\n{result.stderr}")
    return result.stdout


def installed(name, install):
    """The folder of a package; `install(folder)` fills it unless that was done before."""
    folder = os.path.join(CACHE, name)
    done = os.path.join(folder, ".complete")
    os.makedirs(CACHE, exist_ok=True)
    with open(os.path.join(CACHE, name + ".lock"), "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.exists(done):
            shutil.rmtree(folder, ignore_errors=True)
            os.makedirs(folder)
            install(folder)
            with open(done, "w", encoding="ascii"):
                pass
    return folder


def npm(package):
    def install(folder):
        call("npm", "install", "--no-audit", "--no-fund", "--prefix", folder, package)
    return installed(package.replace("@", "-"), install)


def pypi(package):
    def install(folder):
        call(sys.executable, "-m", "venv", folder)
        call(os.path.join(folder, "bin", "python"), "-m", "pip", "install", "--quiet",
             "--disable-pip-version-check", package)
    return installed(package.replace("==", "-") + f"-python{sys.version_info.major}.{sys.version_info.minor}",
                     install)


class Clients(HubTest):
    def setUp(self):
        super().setUp()
        self.running = self.hub(app("semantics"), "--partitions", "3", "--log-level", "warn")

    def test_npm_durable_functions(self):
        folder = npm("durable-functions@3.5.0")
        said = call("node", os.path.join(HERE, "clients", "durable_functions.js"), self.running.url,
                    self.directory, env={"NODE_PATH": os.path.join(folder, "node_modules")}, patience=60)
        self.assertIn("all as promised", said)
        self.assertEqual(self.running.stop(), 0)

    def test_pypi_azure_functions_durable(self):
        folder = pypi("azure-functions-durable==1.7.0")
        said = call(os.path.join(folder, "bin", "python"),
                    os.path.join(HERE, "clients", "durable_functions.py"), self.running.url,
                    self.directory, patience=60)
        self.assertIn("all as promised", said)
        self.assertEqual(self.running.stop(), 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)

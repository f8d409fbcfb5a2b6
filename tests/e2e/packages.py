"""Packages of existing clients, as their registries publish them.

They are installed once, by the ordinary package clients and in pinned versions, into $TASKHUB_CACHE
(default ~/.cache/taskhub), outside of the tree.
"""
import fcntl
import os
import shutil
import subprocess
import sys

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
    return installed(package.lstrip("@").replace("@", "-").replace("/", "-"), install)


def pypi(package):
    def install(folder):
        call(sys.executable, "-m", "venv", folder)
        call(os.path.join(folder, "bin", "python"), "-m", "pip", "install", "--quiet",
             "--disable-pip-version-check", package)
    return installed(package.replace("==", "-") + f"-python{sys.version_info.major}.{sys.version_info.minor}",
                     install)

"""Packages of existing clients, as their registries publish them.

They are installed once, by the ordinary package clients and in pinned versions, into $TASKHUB_CACHE
(default ~/.cache/taskhub), outside of the tree.
"""
import fcntl
import hashlib
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


def run_within(environment):
    """Goes on with this program in a virtual environment, if it is not there already."""
    if sys.prefix not in (os.path.realpath(environment), environment):
        python = os.path.join(environment, "bin", "python")
        os.execv(python, [python, *sys.argv])


# ---- pinned by a lock file in the tree ----

def locked(name, sources, install):
    """As `installed`, once for each state of the files `sources`, which say what is wanted."""
    digest = hashlib.sha256()
    for source in sorted(sources):
        with open(source, "rb") as file:
            digest.update(os.path.basename(source).encode() + b"\0" + file.read())
    return installed(f"{name}-{digest.hexdigest()[:12]}", install)


def locked_pypi(name, requirements):
    """`requirements`: a file with a hash for every package."""
    def install(folder):
        call(sys.executable, "-m", "venv", folder)
        call(os.path.join(folder, "bin", "python"), "-m", "pip", "install", "--quiet",
             "--disable-pip-version-check", "--require-hashes", "--only-binary", ":all:",
             "-r", requirements)
    return locked(f"{name}-python{sys.version_info.major}.{sys.version_info.minor}",
                  [requirements], install)


def locked_npm(name, source):
    """`source`: a folder with package.json and package-lock.json."""
    files = [os.path.join(source, file) for file in ("package.json", "package-lock.json")]

    def install(folder):
        for file in files:
            shutil.copy(file, folder)
        call("npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", cwd=folder)
    return locked(name, files, install)


def locked_maven(name, source):
    """`source`: a folder with pom.xml and jars.sha256. The jars lie in jars/."""
    def install(folder):
        call("mvn", "-q", "-B", "-f", os.path.join(source, "pom.xml"),
             "dependency:copy-dependencies", f"-DoutputDirectory={folder}/jars")
        call("sha256sum", "--check", "--strict", "--quiet", os.path.join(source, "jars.sha256"),
             cwd=os.path.join(folder, "jars"))
        with open(os.path.join(source, "jars.sha256"), encoding="ascii") as sums:
            known = {line.split()[1] for line in sums}
        unknown = set(os.listdir(os.path.join(folder, "jars"))) - known
        if unknown:
            raise AssertionError(f"jars.sha256 does not know {sorted(unknown)}")
    return locked(name, [os.path.join(source, file) for file in ("pom.xml", "jars.sha256")],
                  install)

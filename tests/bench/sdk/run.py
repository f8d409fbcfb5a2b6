"""hello5 through the SDKs that have an in-memory backend: once on that, once on a Taskhub.

    python3 tests/bench/sdk/run.py [--endpoint HOST:PORT] [options of hello5.py]

Without an endpoint only the in-memory backends are measured. Packages come as for the tests. Prints
what hello5.py and hello5.js print.
"""
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "e2e"))
from sdk.languages import language  # noqa: E402


def main():
    options = sys.argv[1:]
    rest = list(options)
    if "--endpoint" in rest:
        at = rest.index("--endpoint")
        del rest[at:at + 2]
    for name, file in (("python", "hello5.py"), ("javascript", "hello5.js")):
        speaks = language(name)
        for chosen in [rest] if rest == options else [rest, options]:
            subprocess.run(speaks.run(os.path.join(HERE, file), *chosen), check=True,
                           env={**os.environ, **speaks.environment})


if __name__ == "__main__":
    main()

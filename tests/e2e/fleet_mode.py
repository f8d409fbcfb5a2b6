"""The end-to-end tests of the embedded hub, on a fleet: fleet_mode.py MODULE[.CLASS[.TEST]]...

One Kafka and one Redis for all of them, a hub per application; what is different, and why, is below.
"""
import os
import shlex
import sys
import unittest

import harness
from fleethub import FleetHubs

NO_HUB = "no hub takes part"
ONE_PROCESS = "a fleet's processes share a hub"
FILE = "a fleet has no file"

# By test or class: skipped. By another word: what a test asks for where only a part of it differs.
DIFFERENCES = {
    "cli_test.WithoutAHub.test_help": NO_HUB,
    "cli_test.WithoutAHub.test_nobody_answers": NO_HUB,
    "cli_test.WithoutAHub.test_dev_refuses": NO_HUB,
    "cli_test.WithoutAHub.test_hubs_in_a_file": FILE,
    "cli_test.WithoutAHub.test_invoke": NO_HUB,
    "cli_test.WithoutAHub.test_bench": "it measures the embedded hub",
    "cli_test.Commands.test_second_process_is_refused": ONE_PROCESS,
    "input_test.Settings.test_refusals": "the settings of taskhub dev",
    "input_test.HubNames": FILE,
    "semantics_test.Bounds.test_generations": FILE,
    "semantics_test.Retries.test_functions_that_are_not_there":
        "other workers may serve them, so they wait and are named",
    "unknown orchestrators are refused": "other workers may serve them, so the instance waits",
    "unknown entities fail": "other workers may serve them, so their operations wait",
    "a list holds all that was started":
        "it waits a second for owners, then it is of what they have taken; one instance is looked for",
    "one hub in the store": "a cluster holds the hubs of all tests",
}


def main():
    hubs = FleetHubs(*shlex.split(os.environ.get("TASKHUB_KAFKA_OPTIONS", "")))
    harness.HubTest.make = staticmethod(hubs.make)
    harness.HubTest.differences = DIFFERENCES
    suite = unittest.defaultTestLoader.loadTestsFromNames(sys.argv[1:])
    result = unittest.TextTestRunner(verbosity=2).run(suite)
    return 0 if result.wasSuccessful() and result.testsRun > len(result.skipped) else 1


if __name__ == "__main__":
    sys.exit(main())

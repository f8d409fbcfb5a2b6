"""What `taskhub lag` says, against what Kafka's own tool for consumer groups says of the same hub."""
import json
import os
import subprocess
import sys
import unittest

from fleetcase import FleetTest, setUpModule, tearDownModule
from harness import OK, run, until
from packages import locked_maven

TOOL_VERSION = "3.9.1"
PARTITIONS = 12  # of a hub where nothing is said, and of its activities


class Lag(FleetTest):
    def setUp(self):
        super().setUp()
        here = os.path.dirname(os.path.abspath(__file__))
        tools = locked_maven("kafka-tools", os.path.join(here, "kafka-tools"))
        self.fleet.script("fetch", "--version", TOOL_VERSION)
        cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
        self.jars = f"{tools}/jars/*:{cache}/taskhub/kafka-{TOOL_VERSION}/*"

    def tool(self, group):
        """By partition: what the group has committed, the end, and the lag between. On a busy
        machine it may find a group without members or commits for a moment; what it says then is shown."""
        return until(lambda: self.rows(group), f"members and commits of {self.hub}.{group}")

    def rows(self, group):
        done = subprocess.run(
            ["java", "-XX:TieredStopAtLevel=1", "-cp", self.jars,
             "-Dlog4j.configuration=file:" + os.path.join(self.fleet.folder, "kafka-1",
                                                          "log4j.properties"),
             "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand", "--describe",
             "--bootstrap-server", self.fleet.kafka, "--group", f"{self.hub}.{group}"],
            capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        rows = [line.split() for line in done.stdout.splitlines()]
        found = {int(row[2]): tuple(map(int, row[3:6])) for row in rows
                 if len(row) > 6 and row[0] == f"{self.hub}.{group}"}
        if len(found) < PARTITIONS:
            print("   ", " ".join((done.stdout + done.stderr).split())[:300], file=sys.stderr)
        return found if len(found) == PARTITIONS else None

    def tool_says(self):
        return {("instances", p): row for p, row in self.tool("workers").items()} | {
            ("activities", p): row for p, row in self.tool("activities").items()}

    def taskhub_says(self):
        shown = run("lag", "--json", "--kafka", self.fleet.kafka, "--hub", self.hub)
        self.assertEqual(shown.returncode, OK, shown.stderr)
        return {(row["topic"], row["partition"]): (row["position"], row["end"], row["lag"])
                for row in json.loads(shown.stdout)["partitions"]}

    def flows(self, before, now):
        """In how many partitions of each topic there is more than before."""
        return {topic: sum(now[key][1] > before[key][1] for key in now if key[0] == topic)
                for topic in ("instances", "activities")}

    def check_between(self, before, tool, after):
        """Everything only grows. The tool takes longer to start than positions take to be committed, so
        that it is to find at least what was processed before; the owners' next heartbeat has at
        least what the tool has found."""
        for key, (position, end, _) in tool.items():
            self.assertLessEqual(before[key][0], position, (key, before[key], tool[key]))
            self.assertLessEqual(position, after[key][0], (key, tool[key], after[key]))
            self.assertLessEqual(before[key][1], end, (key, before[key], tool[key]))
            self.assertLessEqual(end, after[key][1], (key, tool[key], after[key]))

    def test_the_tool_of_kafka_agrees(self):
        workers = self.workers(2, "--placement", "shared")
        load = self.load(workers, "chain", {"ms": 2, "steps": 3})
        until(lambda: all(end > 0 for _, end, _ in self.taskhub_says().values()),
              "messages in each partition")
        for _ in range(3):
            before = self.taskhub_says()
            tool = self.tool_says()
            self.taskhub_says()  # a heartbeat's time
            after = self.taskhub_says()
            self.assertEqual(set(tool), set(before))
            self.assertGreater(min(self.flows(before, after).values()), 3, "nothing flowed")
            self.check_between(before, tool, after)
        self.check_completed(workers[0], load.stop())
        rest = until(self.at_rest, "everything to be processed")
        self.assertEqual(self.tool_says(), rest)

    def at_rest(self):
        said = self.taskhub_says()
        return said if all(lag == 0 for _, _, lag in said.values()) else None


if __name__ == "__main__":
    unittest.main(verbosity=2)

"""Existing clients, unmodified, against the real program. packages.py has them."""
import os
import unittest

from harness import HubTest, app
from packages import call, npm, pypi

HERE = os.path.dirname(os.path.abspath(__file__))


class Clients(HubTest):
    def setUp(self):
        super().setUp()
        self.running = self.hub(app("semantics"), "--partitions", "3", "--log-level", "warn")
        self.unserved = "waits" if self.differs("unknown orchestrators are refused") else "refused"

    def test_npm_durable_functions(self):
        folder = npm("durable-functions@3.5.0")
        said = call("node", os.path.join(HERE, "clients", "durable_functions.js"), self.running.url,
                    self.directory, self.unserved,
                    env={"NODE_PATH": os.path.join(folder, "node_modules")}, patience=60)
        self.assertIn("all as promised", said)
        self.assertEqual(self.running.stop(), 0)

    def test_pypi_azure_functions_durable(self):
        folder = pypi("azure-functions-durable==1.7.0")
        said = call(os.path.join(folder, "bin", "python"),
                    os.path.join(HERE, "clients", "durable_functions.py"), self.running.url,
                    self.directory, self.unserved, patience=60)
        self.assertIn("all as promised", said)
        self.assertEqual(self.running.stop(), 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)

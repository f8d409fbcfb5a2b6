"""What the Python SDK brings along that is built on orchestrations and entities: recurring schedules
and the export of histories. They use delayed signals, entities that start orchestrations, entities
called by a helper orchestration, lists of instances by the time of their end, and histories.
"""
import datetime
import gzip
import json
import os
import unittest

from sdk.case import SdkTest
from durabletask.client import OrchestrationQuery, OrchestrationStatus as Status
from durabletask.extensions.history_export import (
    ExportDestination, ExportHistoryClient, ExportJobCreationOptions, ExportJobStatus, ExportMode)
from durabletask.scheduled import (
    ScheduleCreationOptions, ScheduledTaskClient, ScheduleNotFoundError, ScheduleStatus, ScheduleUpdateOptions)
from durabletask.worker import TaskHubGrpcWorker
from harness import PATIENCE, until

UTC = datetime.timezone.utc
SECOND = datetime.timedelta(seconds=1)


def report(ctx, order):
    return order


def failing(ctx, order):
    raise ValueError(f"no {order}")
    yield


class Folder:
    """Where histories are exported to."""

    def __init__(self, path):
        self.path = path

    def write(self, *, instance_id, container, blob_name, payload, content_type, content_encoding,
              metadata=None):
        path = os.path.join(self.path, container, blob_name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(payload)

    def read(self):
        texts = []
        for folder, _, names in os.walk(self.path):
            for name in names:
                with open(os.path.join(folder, name), "rb") as file:
                    data = file.read()
                texts.append(gzip.decompress(data).decode() if data[:2] == b"\x1f\x8b" else data.decode())
        return texts


class BuiltOn(SdkTest):
    def setUp(self):
        super().setUp()
        self.client = self.connect()
        self.worker = TaskHubGrpcWorker(host_address=self.sidecar.endpoint)
        self.worker.add_orchestrator(report)
        self.worker.add_orchestrator(failing)

    def serve(self):
        self.worker.start()
        self.addCleanup(self.worker.stop)

    def ended(self, name):
        states = self.client.get_all_orchestration_states(
            OrchestrationQuery(runtime_status=[Status.COMPLETED, Status.FAILED],
                               fetch_inputs_and_outputs=True))
        return [state for state in states if state.name == name]

    def test_schedule(self):
        self.worker.configure_scheduled_tasks()
        self.serve()
        schedules = ScheduledTaskClient(self.client, operation_timeout=PATIENCE)
        nightly = schedules.create_schedule(ScheduleCreationOptions(
            schedule_id="nightly", orchestration_name="report", interval=SECOND,
            orchestration_input={"of": "today"}))
        until(lambda: len(self.ended("report")) >= 3, "three reports")
        for state in self.ended("report"):
            self.assertEqual(state.get_output(), {"of": "today"})
        nightly.pause()
        found = nightly.describe()
        self.assertEqual((found.status, found.interval), (ScheduleStatus.PAUSED, SECOND))
        self.assertEqual([s.schedule_id for s in schedules.list_schedules()], ["nightly"])
        nightly.update(ScheduleUpdateOptions(interval=3600 * SECOND))
        before = len(self.ended("report"))
        nightly.resume()
        until(lambda: nightly.describe().next_run_at, "the next run")
        self.assertLessEqual(len(self.ended("report")), before + 1)
        nightly.delete()
        self.assertIsNone(schedules.get_schedule("nightly"))
        with self.assertRaises(ScheduleNotFoundError):
            nightly.describe()
        self.assertEqual(schedules.list_schedules(), [])

    def test_export(self):
        folder = Folder(os.path.join(self.directory, "exports"))
        exports = ExportHistoryClient(self.client, folder)
        exports.register_worker(self.worker)
        self.serve()
        began = datetime.datetime.now(UTC) - SECOND
        for n in range(7):
            self.client.schedule_new_orchestration("failing" if n == 3 else "report", input=f"order {n}",
                                                   instance_id=f"order-{n}")
        for n in range(7):
            self.client.wait_for_orchestration_completion(f"order-{n}", timeout=int(PATIENCE))
        job = exports.create_job(ExportJobCreationOptions(
            mode=ExportMode.BATCH, completed_time_from=began, max_instances_per_batch=3,
            completed_time_to=datetime.datetime.now(UTC),
            destination=ExportDestination(container="orders", prefix="all")))
        end = exports.wait_for_job(job.job_id, timeout=PATIENCE)
        self.assertEqual(end.status, ExportJobStatus.COMPLETED, end)
        texts = folder.read()
        for n in range(7):
            self.assertEqual(sum(f"order {n}" in text for text in texts), 1, n)
        self.assertEqual([found.job_id for found in exports.list_jobs()], [job.job_id])
        exports.delete_job(job.job_id)
        self.assertIsNone(exports.get_job(job.job_id))


if __name__ == "__main__":
    unittest.main(verbosity=2)

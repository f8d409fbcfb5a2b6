"""An application that crashes is contained: the culprit fails with the reason, others go on."""
import http.client
import os
import signal
import unittest

from harness import API, HubTest, app, until


class Containment(HubTest):
    def check(self, orchestrator, how, reason, *args):
        hub = self.hub(app("trouble"), "--episode-limit", "700ms", "--function-timeout", "1s", *args)
        waiting = hub.start_instance("approval")
        innocent = [hub.start_instance("nap", 100 * i, f"before-{i}") for i in range(5)]
        culprit = hub.start_through_crashes(orchestrator, how, "culprit")
        innocent += [hub.start_through_crashes("nap", 100 * i, f"after-{i}") for i in range(5)]
        end = hub.wait(culprit)
        self.assertEqual(end["runtimeStatus"], "Failed", hub.stderr())
        if orchestrator == "bad_entity":
            self.assertEqual(end["failureDetails"]["ErrorType"], "EntityCrashed", end)
        self.assertIn(reason, str(end["output"]) + hub.stderr())
        for instance in innocent:
            self.assertEqual(hub.wait(instance)["runtimeStatus"], "Completed")
        self.assertEqual(hub.http("POST", f"{API}/instances/{waiting}/raiseEvent/Approval", 7)[0], 202)
        self.assertEqual(hub.wait(waiting)["output"], 7)
        self.assertEqual(hub.wait(hub.start_instance("nap", 1))["output"], "rested")
        self.assertEqual(hub.stop(), 0)

    def test_activity_segfaults(self):
        self.check("bad_activity", "segfault", "SIGSEGV")

    def test_activity_aborts(self):
        self.check("bad_activity", "abort", "SIGABRT")

    def test_activity_divides(self):
        self.check("bad_activity", "divide", "SIGFPE")

    def test_activity_overflows_its_stack(self):
        self.check("bad_activity", "overflow", "SIGSEGV")

    def test_activity_calls_exit(self):
        self.check("bad_activity", "exit", "exit()")

    def test_activity_calls_exit_silently(self):
        self.check("bad_activity", "_exit", "exit()")

    def test_activity_never_returns(self):
        self.check("bad_activity", "spin", "1000 ms")

    def test_orchestrator_segfaults(self):
        self.check("bad_orchestrator", "segfault", "SIGSEGV")

    def test_orchestrator_aborts(self):
        self.check("bad_orchestrator", "abort", "SIGABRT")

    def test_orchestrator_overflows_its_stack(self):
        self.check("bad_orchestrator", "overflow", "SIGSEGV")

    def test_orchestrator_spins(self):
        self.check("bad_orchestrator", "spin", "did not come back")

    def test_entity_segfaults(self):
        self.check("bad_entity", "segfault", "SIGSEGV", "--replay-always")

    def test_entity_overflows_its_stack(self):
        self.check("bad_entity", "overflow", "SIGSEGV")

    def test_entity_spins(self):
        self.check("bad_entity", "spin", "did not come back")

    def test_orchestrator_copes_with_a_crashing_activity(self):
        hub = self.hub(app("trouble"))
        end = hub.wait(hub.start_through_crashes("survivor", "segfault", "survivor"))
        self.assertEqual(end["runtimeStatus"], "Completed")
        self.assertIn("SIGSEGV", end["output"])

    def test_too_many_lost_threads_restart_the_process(self):
        hub = self.hub(app("trouble"), "--function-timeout", "300ms", "--activities", "2")
        before = hub.worker()
        spinning = [hub.start_through_crashes("bad_activity", "spin", f"spin-{i}") for i in range(8)]
        for instance in spinning:
            self.assertEqual(hub.wait(instance)["runtimeStatus"], "Failed")
        until(lambda: hub.worker() not in (None, before), "another worker process")
        self.assertEqual(hub.wait(hub.start_through_crashes("nap", 1, "after"))["output"], "rested")


class Supervision(HubTest):
    def test_a_killed_worker_comes_back(self):
        hub = self.hub(app("trouble"))
        waiting = hub.start_instance("approval")
        worker = hub.worker()
        os.kill(worker, signal.SIGKILL)
        until(lambda: hub.worker() not in (None, worker), "another worker")
        def raised():
            try:
                return hub.http("POST", f"{API}/instances/{waiting}/raiseEvent/Approval", 1)[0] == 202
            except (OSError, http.client.HTTPException):
                return False
        until(raised, "the API is back")
        self.assertEqual(hub.wait(waiting)["output"], 1)

    def test_a_killed_supervisor_takes_its_worker_along(self):
        hub = self.hub(app("trouble"))
        worker = hub.worker()
        os.kill(hub.process.pid, signal.SIGKILL)
        hub.process.wait()
        def gone():
            try:
                with open(f"/proc/{worker}/stat", encoding="ascii") as stat:
                    return ") Z" in stat.read()
            except (FileNotFoundError, ProcessLookupError):
                return True
        until(gone, "the worker is gone")
        hub.ended()
        hub.start()  # nothing holds the database any more
        self.assertEqual(hub.stop(), 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)

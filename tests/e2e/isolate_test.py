"""taskhub dev --isolate: the application has a process of its own, whose death costs only itself.

The hub's process must be the same from start to end, and its API must answer all the time.
"""
import collections
import os
import random
import signal
import sys
import threading
import time
import unittest

from harness import API, NOT_FOUND, HubTest, app, run, until

KILLS = int(os.environ.get("TASKHUB_KILLS", "8"))
SEED = int(os.environ.get("TASKHUB_SEED", str(random.randrange(1 << 30))))


class Watch:
    """Asks the API all the time; remembers what it did not answer."""

    def __init__(self, hub):
        self.hub = hub
        self.stopping = False
        self.failures = []
        self.answers = 0
        self.slowest = 0.0
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while not self.stopping:
            began = time.monotonic()
            try:
                code = self.hub.http("GET", f"{API}/hub")[0]
                if code != 200:
                    self.failures.append(code)
            except OSError as error:
                self.failures.append(error)
            self.answers += 1
            self.slowest = max(self.slowest, time.monotonic() - began)

    def stop(self):
        self.stopping = True
        self.thread.join()


class IsolateTest(HubTest):
    def isolated(self, name, *args):
        hub = self.hub(app(name), "--isolate", *args)
        hub.pid = hub.worker()
        return hub

    def application(self, hub):
        """The process id of the application; None: it is being started again."""
        try:
            threads = os.listdir(f"/proc/{hub.pid}/task")
        except FileNotFoundError:
            return None
        for thread in threads:
            try:
                with open(f"/proc/{hub.pid}/task/{thread}/children", encoding="ascii") as listed:
                    pids = listed.read().split()
            except OSError:
                continue
            if pids:
                return int(pids[0])
        return None

    def end(self, hub):
        self.assertEqual(hub.worker(), hub.pid, "the hub's process was started again")
        self.assertEqual(hub.stop(), 0)


class Working(IsolateTest):
    def test_hello_cities(self):
        hub = self.isolated("hello-cities")
        end = hub.wait(hub.start_instance("hello_cities"))
        self.assertEqual(end["output"], ["Hello Tokyo!", "Hello Seattle!", "Hello London!"])
        self.end(hub)

    def test_the_hub_does_not_load_the_application(self):
        hub = self.isolated("hello-cities")
        with open(f"/proc/{hub.pid}/maps", encoding="ascii") as maps:
            self.assertNotIn("hello-cities.so", maps.read())
        with open(f"/proc/{self.application(hub)}/maps", encoding="ascii") as maps:
            self.assertIn("hello-cities.so", maps.read())
        self.end(hub)

    def test_route_functions_start_and_ask(self):
        hub = self.isolated("hello-cities")
        code, headers, answer = hub.http("POST", "/api/orchestrators/hello_cities")
        self.assertEqual(code, 202)
        self.assertTrue(headers["Location"].startswith(hub.url))
        self.assertTrue(answer["statusQueryGetUri"].startswith(hub.url))
        self.assertEqual(hub.wait(answer["id"])["runtimeStatus"], "Completed")
        self.assertEqual(hub.http("POST", "/api/orchestrators/nothing_like_it")[0], 400)
        self.end(hub)

    def test_replay_always(self):
        hub = self.isolated("hello-cities", "--replay-always")
        self.assertEqual(hub.wait(hub.start_instance("hello_cities"))["runtimeStatus"], "Completed")
        self.end(hub)

    def test_events_timers_and_large_payloads(self):
        hub = self.isolated("trouble")
        large = "x" * 3_000_000
        waiting = [hub.start_instance("approval") for _ in range(20)]
        napping = [hub.start_instance("nap", 200) for _ in range(20)]
        for number, instance in enumerate(waiting):
            data = large if number == 0 else number
            self.assertEqual(
                hub.http("POST", f"{API}/instances/{instance}/raiseEvent/Approval", data)[0], 202)
        for number, instance in enumerate(waiting):
            self.assertEqual(hub.wait(instance)["output"], large if number == 0 else number)
        for instance in napping:
            self.assertEqual(hub.wait(instance)["output"], "rested")
        self.end(hub)

    def test_state_outlives_the_hub(self):
        hub = self.isolated("trouble")
        waiting = hub.start_instance("approval")
        hub.kill()
        hub.start()
        hub.pid = hub.worker()
        hub.http("POST", f"{API}/instances/{waiting}/raiseEvent/Approval", 5)
        self.assertEqual(hub.wait(waiting)["output"], 5)
        self.end(hub)

    def test_a_missing_application_is_said(self):
        result = run("dev", os.path.join(self.directory, "none.so"), "--isolate",
                     "--db", os.path.join(self.directory, "hub.db"), "--port", "0")
        self.assertIn(result.returncode, (1, NOT_FOUND))
        self.assertIn("none.so", result.stderr)

    def test_the_hidden_command_is_refused(self):
        result = run("application-process", app("trouble"))
        self.assertExit(result, 2)


class Functions(IsolateTest):
    """Client functions: they run in the application's process, for callers of the hub's."""

    def test_what_was_asked_arrives_and_what_is_answered_returns(self):
        hub = self.isolated("apart")
        code, headers, answer = hub.http("PUT", "/api/echo/a%20b/c?x=1%26&y=", b'{"k": [1, 2]}',
                                         {"X-Mine": "yes"})
        self.assertEqual(code, 201)
        self.assertEqual(headers["X-Yours"], "yes")
        self.assertEqual(answer, {"method": "PUT", "param": "a b", "query": "1&", "body": {"k": [1, 2]},
                                  "origin": hub.url})
        self.assertEqual(hub.http("GET", "/api/echo/a/c")[0], 405)
        self.assertEqual(hub.http("GET", "/api/nowhere")[0], 404)
        self.end(hub)

    def test_a_file_is_an_answer(self):
        hub = self.isolated("apart")
        path = os.path.join(self.directory, "answer.csv")
        content = "".join(f"{n},{n * n}\n" for n in range(200_000))
        with open(path, "w", encoding="ascii") as out:
            out.write(content)
        for _ in range(3):
            code, headers, answer = hub.http("GET", f"/api/file?path={path}")
            self.assertEqual((code, answer), (200, content))
            self.assertIn("text/csv", headers["Content-Type"])
        self.assertEqual(hub.http("GET", f"/api/file?path={path}.not")[0], 404)
        self.end(hub)

    def test_a_function_waits_for_an_instance_and_manages_it(self):
        hub = self.isolated("apart")
        self.assertEqual(hub.http("POST", "/api/wait?ms=100")[2], {"runtimeStatus": "Completed"})
        self.assertEqual(hub.http("POST", "/api/manage")[2], "managed")
        self.end(hub)

    def test_a_cron_function_runs_in_its_turn(self):
        hub = self.isolated("apart")
        until(lambda: hub.status("ticked")["runtimeStatus"] == "Completed"
              if hub.http("GET", f"{API}/instances/ticked")[0] == 200 else None, "the cron function")
        self.end(hub)

    def test_a_function_that_crashes_fails_its_caller_alone(self):
        hub = self.isolated("apart")
        watch = Watch(hub)
        for how in ("segfault", "exit", "abort"):
            code, _, answer = hub.http("POST", f"/api/crash?how={how}")
            self.assertEqual(code, 500)
            self.assertIn("died", answer["Message"])
            self.assertEqual(hub.http("POST", "/api/wait?ms=1")[2], {"runtimeStatus": "Completed"})
        watch.stop()
        self.assertEqual(watch.failures, [])
        self.end(hub)

    def test_a_waiting_function_does_not_keep_the_hub_from_stopping(self):
        hub = self.isolated("apart")
        answers = []
        thread = threading.Thread(
            target=lambda: answers.append(hub.http("POST", "/api/wait?ms=600000")[0]))
        thread.start()
        until(lambda: len(hub.http("GET", f"{API}/instances?instanceIdPrefix=")[2]) > 0, "the instance")
        began = time.monotonic()
        self.end(hub)
        thread.join()
        self.assertLess(time.monotonic() - began, 5)
        self.assertEqual(answers, [503])


class Containment(IsolateTest):
    def check(self, orchestrator, how, reason, *args):
        hub = self.isolated("trouble", "--episode-limit", "700ms", "--function-timeout", "1s", *args)
        watch = Watch(hub)
        waiting = hub.start_instance("approval")
        innocent = [hub.start_instance("nap", 100 * i, f"before-{i}") for i in range(5)]
        culprit = hub.start_instance(orchestrator, how)
        innocent += [hub.start_instance("nap", 100 * i, f"after-{i}") for i in range(5)]
        end = hub.wait(culprit)
        self.assertEqual(end["runtimeStatus"], "Failed", hub.stderr())
        if orchestrator == "bad_entity":
            self.assertEqual(end["failureDetails"]["ErrorType"], "EntityCrashed", end)
        self.assertIn(reason, str(end["output"]))
        for instance in innocent:
            self.assertEqual(hub.wait(instance)["runtimeStatus"], "Completed")
        self.assertEqual(hub.http("POST", f"{API}/instances/{waiting}/raiseEvent/Approval", 7)[0], 202)
        self.assertEqual(hub.wait(waiting)["output"], 7)
        self.assertEqual(hub.wait(hub.start_instance("nap", 1))["output"], "rested")
        watch.stop()
        self.assertEqual(watch.failures, [])
        self.assertGreater(watch.answers, 10)
        print(f"{watch.answers} answers, the slowest after {watch.slowest * 1000:.0f} ms",
              file=sys.stderr)
        self.end(hub)
        return hub.stderr()

    def check_crash(self, orchestrator, how, reason):
        log = self.check(orchestrator, how, reason)
        # Of an entity's operations the first death may be anybody's; then they run one by one.
        deaths = 4 if orchestrator == "bad_entity" else 3
        self.assertEqual(log.count("starting it again"), deaths, log)

    def test_activity_segfaults(self):
        self.check_crash("bad_activity", "segfault", "SIGSEGV")

    def test_activity_aborts(self):
        self.check_crash("bad_activity", "abort", "SIGABRT")

    def test_activity_overflows_its_stack(self):
        self.check_crash("bad_activity", "overflow", "SIGSEGV")

    def test_activity_calls_exit(self):
        self.check_crash("bad_activity", "exit", "exit()")

    def test_activity_leaves_silently(self):
        self.check_crash("bad_activity", "_exit", "exit()")

    def test_activity_never_returns(self):
        self.check("bad_activity", "spin", "1000 ms")

    def test_orchestrator_segfaults(self):
        self.check_crash("bad_orchestrator", "segfault", "SIGSEGV")

    def test_orchestrator_aborts(self):
        self.check_crash("bad_orchestrator", "abort", "SIGABRT")

    def test_orchestrator_overflows_its_stack(self):
        self.check_crash("bad_orchestrator", "overflow", "SIGSEGV")

    def test_orchestrator_calls_exit(self):
        self.check_crash("bad_orchestrator", "exit", "exit()")

    def test_orchestrator_spins(self):
        self.check_crash("bad_orchestrator", "spin", "did not come back")

    def test_entity_segfaults(self):
        self.check_crash("bad_entity", "segfault", "SIGSEGV")

    def test_entity_calls_exit(self):
        self.check_crash("bad_entity", "exit", "exit()")

    def test_entity_spins(self):
        self.check_crash("bad_entity", "spin", "did not come back")

    def test_orchestrator_copes_with_a_crashing_activity(self):
        hub = self.isolated("trouble")
        end = hub.wait(hub.start_instance("survivor", "segfault"))
        self.assertEqual(end["runtimeStatus"], "Completed")
        self.assertIn("SIGSEGV", end["output"])
        self.end(hub)

    def test_too_many_lost_threads_restart_the_process(self):
        hub = self.isolated("trouble", "--function-timeout", "300ms", "--activities", "2")
        before = self.application(hub)
        spinning = [hub.start_instance("bad_activity", "spin") for _ in range(8)]
        for instance in spinning:
            self.assertEqual(hub.wait(instance)["runtimeStatus"], "Failed")
        until(lambda: self.application(hub) not in (None, before), "another process")
        self.assertEqual(hub.wait(hub.start_instance("nap", 1))["output"], "rested")
        self.end(hub)

    def test_counts_outlive_the_hub(self):
        hub = self.isolated("trouble", "--episode-limit", "300ms")
        culprit = hub.start_instance("bad_orchestrator", "spin")
        until(lambda: "did not come back" in hub.stderr(), "the first attempt's end")
        until(lambda: hub.stderr().count("starting it again") >= 1, "its burial")
        hub.kill()
        hub.start()
        hub.pid = hub.worker()
        self.assertEqual(hub.wait(culprit)["runtimeStatus"], "Failed")
        self.assertLessEqual(hub.stderr().count("did not come back"), 4)
        self.end(hub)


class Killing(IsolateTest):
    def check_ledger(self, ledger, started):
        count = collections.Counter()
        with open(ledger, encoding="ascii") as lines:
            for line in lines:
                count[tuple(line.split())] += 1
        for instance in started:
            for step in range(5):
                self.assertGreater(count[instance, str(step)], 0, f"{instance} misses step {step}")
        return sum(n - 1 for n in count.values())

    def test_kill_9_of_the_application_loses_nothing(self):
        print(f"seed {SEED}, {KILLS} kills", file=sys.stderr)
        dice = random.Random(SEED)
        ledger = os.path.join(self.directory, "ledger")
        hub = self.isolated("trouble", "--log-level", "error")
        watch = Watch(hub)
        started = []
        for i in range(KILLS):
            until_kill = time.monotonic() + dice.uniform(0.0, 0.3)
            number = 0
            while time.monotonic() < until_kill or number == 0:
                started.append(hub.start_instance("ledger", ledger, f"k{i}-{number}"))
                number += 1
            victim = until(lambda: self.application(hub), "the application's process")
            os.kill(victim, signal.SIGKILL)
            until(lambda: self.application(hub) not in (None, victim), "another process")
        for instance in started:
            end = hub.wait(instance)
            self.assertEqual(end["runtimeStatus"], "Completed", (instance, end, hub.stderr()))
            self.assertEqual(end["output"], [f"{instance} {step}\n" for step in range(5)])
        watch.stop()
        self.assertEqual(watch.failures, [])
        repeated = self.check_ledger(ledger, started)
        print(f"{len(started)} starts, {repeated} repeated steps, slowest answer "
              f"{watch.slowest * 1000:.0f} ms", file=sys.stderr)
        self.end(hub)

    def test_the_application_goes_with_its_hub(self):
        hub = self.isolated("trouble")
        spinning = hub.start_instance("bad_orchestrator", "spin")
        application = self.application(hub)
        until(lambda: hub.status(spinning)["runtimeStatus"] == "Running", "the spin")
        os.kill(hub.pid, signal.SIGKILL)

        def gone():
            try:
                with open(f"/proc/{application}/stat", encoding="ascii") as stat:
                    return ") Z" in stat.read()
            except (FileNotFoundError, ProcessLookupError):
                return True
        until(gone, "the application is gone")


if __name__ == "__main__":
    unittest.main(verbosity=2)

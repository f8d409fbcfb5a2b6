"""Every example application, as its page tells a reader to use it."""
import os
import unittest

from harness import API, HubTest, app, until


class ExamplesTest(HubTest):
    def end_of(self, hub, name, body, instance=None):
        return hub.wait(hub.start_instance(name, body, instance))

    def test_hello_cities(self):
        hub = self.hub(app("hello-cities"))
        code, headers, answer = hub.http("POST", "/api/orchestrators/hello_cities", b"")
        self.assertEqual(code, 202)
        self.assertIn(answer["id"], headers["Location"])
        end = hub.wait(answer["id"])
        self.assertEqual(end["output"], ["Hello Tokyo!", "Hello Seattle!", "Hello London!"])

    def test_chaining_and_its_compensation(self):
        hub = self.hub(app("chaining"))
        good = self.end_of(hub, "order", {"item": "lamp", "price": 30, "address": "Main Street 1"})
        self.assertEqual(good["output"]["parcel"], "on its way to Main Street 1")
        self.assertEqual(good["output"]["payment"]["price"], 30)
        bad = self.end_of(hub, "order", {"item": "lamp", "price": 30})
        self.assertEqual(bad["runtimeStatus"], "Failed")
        self.assertEqual(bad["failureDetails"]["ErrorType"], "NoAddress")
        _, _, history = hub.http("GET", f"{API}/instances/{bad['instanceId']}/history")
        events = history if isinstance(history, list) else history["historyEvents"]
        done = [e["Name"] for e in events if e["EventType"] == "TaskScheduled"]
        self.assertEqual(done, ["reserve", "charge", "ship", "refund", "release"])

    def test_fan_out_fan_in(self):
        hub = self.hub(app("fan-out-fan-in"))
        folder = os.path.join(self.directory, "files")
        os.mkdir(folder)
        for n in range(50):
            with open(os.path.join(folder, f"f{n}"), "wb") as file:
                file.write(b"x" * n)
        end = self.end_of(hub, "folder_size", folder)
        self.assertEqual(end["output"], {"files": 50, "bytes": sum(range(50))})
        self.assertEqual(self.end_of(hub, "folder_size", "/nowhere")["failureDetails"]["ErrorType"],
                         "NoFolder")

    def test_async_http_answers_short_jobs_at_once(self):
        hub = self.hub(app("async-http"))
        code, _, answer = hub.http("POST", "/api/jobs", {"steps": 1})
        self.assertEqual((code, answer), (200, 1))
        code, _, answer = hub.http("POST", "/api/jobs", {"steps": 6})
        self.assertEqual(code, 202)
        end = hub.wait(answer["id"])
        self.assertEqual(end["output"], 1 + 4 + 9 + 16 + 25 + 36)
        code, _, shown = hub.http("GET", f"/api/jobs/{answer['id']}")
        self.assertEqual((code, shown["state"], shown["result"]), (200, "Completed", 91))
        self.assertEqual(hub.http("GET", "/api/jobs/unknown")[0], 404)

    def test_monitor_finds_and_gives_up(self):
        hub = self.hub(app("monitor"))
        path = os.path.join(self.directory, "ready")
        instance = hub.start_instance("monitor", {"path": path, "seconds": 60, "every": 1})
        until(lambda: hub.status(instance)["customStatus"], "a first look")
        with open(path, "w", encoding="ascii"):
            pass
        self.assertTrue(hub.wait(instance)["output"]["found"])
        late = self.end_of(hub, "monitor", {"path": path + "-never", "seconds": 1, "every": 1})
        self.assertEqual(late["failureDetails"]["ErrorType"], "TooLate")

    def test_watcher_goes_round_over_a_restart(self):
        hub = self.hub(app("watcher"))
        folder = os.path.join(self.directory, "watched")
        os.mkdir(folder)
        instance = hub.start_instance("watcher", {"path": folder, "every": 1})
        rounds = lambda: (hub.status(instance)["customStatus"] or {}).get("rounds", 0)
        until(lambda: rounds() >= 2, "two rounds")
        hub.kill()
        hub.start()
        with open(os.path.join(folder, "new"), "w", encoding="ascii"):
            pass
        until(lambda: hub.status(instance)["customStatus"]["files"] == 1, "the new file to be seen")
        hub.http("POST", f"{API}/instances/{instance}/raiseEvent/stop", {})
        end = hub.wait(instance)
        self.assertEqual(end["output"]["files"], 1)
        self.assertGreater(end["output"]["rounds"], 2)

    def test_approval_escalates_and_gives_up(self):
        hub = self.hub(app("external-interaction"))

        def hand_in(seconds):
            code, _, answer = hub.http("POST", "/api/expenses", {"amount": 1, "seconds": seconds})
            self.assertEqual(code, 202)
            return answer["id"]

        first = hand_in(60)
        until(lambda: hub.status(first)["customStatus"] == "waiting for a colleague", "the question")
        self.assertEqual(hub.http("POST", f"/api/expenses/{first}/maybe", b"")[0], 404)
        self.assertEqual(hub.http("POST", f"/api/expenses/{first}/approve", b"")[0], 202)
        self.assertEqual(hub.wait(first)["output"], {"approved": True, "by": "a colleague"})
        second = hand_in(1)
        until(lambda: hub.status(second)["customStatus"] == "waiting for the manager", "escalation")
        self.assertEqual(hub.wait(second)["output"], {"approved": False, "by": "nobody in time"})

    def test_sub_orchestrations_one_of_which_fails(self):
        hub = self.hub(app("sub-orchestrations"))
        end = self.end_of(hub, "building", {"name": "n", "devices": ["door", "broken", "lamp"]}, "b1")
        self.assertEqual(end["output"]["ready"], ["door", "lamp"])
        self.assertEqual(end["output"]["failed"], {"broken": "broken does not answer"})
        self.assertEqual(hub.status("b1-door")["runtimeStatus"], "Completed")
        self.assertEqual(hub.status("b1-broken")["runtimeStatus"], "Failed")

    def entity(self, hub, name, key):
        """The state; None: it has none."""
        code, _, state = hub.http("GET", f"{API}/entities/{name}/{key}")
        return state if code == 200 else None

    def reaches(self, hub, name, key, state):
        until(lambda: self.entity(hub, name, key) == state, f"{name} {key} to be {state}")

    def both_ways(self, name, check):
        """With the application in the hub's process, and in one of its own."""
        for args in ((), ("--isolate",)):
            with self.subTest(args=args):
                hub = self.hub(app(name), *args, database=f"{len(args)}.db", fresh=True)
                check(hub)
                hub.stop()

    def test_counter(self):
        def check(hub):
            for _ in range(20):
                code, _, answer = hub.http("POST", "/api/counters/apples/5")
                self.assertEqual(code, 202, answer)
            self.assertExit(hub.cli("entity", "signal", "@counter@pears", "add", "--input", "2"), 0)
            self.reaches(hub, "counter", "apples", 100)
            self.reaches(hub, "counter", "pears", 2)
            self.assertEqual(self.end_of(hub, "double_it", "apples")["output"], 200)
            self.assertEqual(hub.http("GET", "/api/counters/apples")[2], 200)
            self.assertEqual(hub.http("GET", "/api/counters/plums")[0], 404)
            until(lambda: [row["state"] for row in hub.http("GET", "/api/counters")[2]] == [200, 2],
                  "the list of counters")
            hub.cli("entity", "signal", "@counter@apples", "add", "--input", '"many"')
            hub.cli("entity", "signal", "@counter@apples", "reset")
            self.reaches(hub, "counter", "apples", 0)
            hub.cli("entity", "signal", "@counter@apples", "delete")
            self.reaches(hub, "counter", "apples", None)
        self.both_ways("counter", check)

    def test_aggregator(self):
        def check(hub):
            def measure(value, **more):
                code, _, answer = hub.http(
                    "POST", f"{API}/entities/device/oven?op=measured", {"value": value, **more})
                self.assertEqual(code, 202, answer)
            for value in (70, 75, 90, 95, 99):
                measure(value)
            until(lambda: (self.entity(hub, "device", "oven") or {}).get("count") == 5, "five values")
            state = self.entity(hub, "device", "oven")
            self.assertEqual((state["least"], state["most"], state["alarmed"]), (70, 99, True))
            alarms = until(lambda: hub.http("GET", f"{API}/instances?name=alarm")[2], "the alarm")
            self.assertEqual(len(alarms), 1)
            self.assertEqual(hub.wait(alarms[0]["instanceId"])["runtimeStatus"], "Completed")
            measure(71, idle_ms=100)  # hands over when nothing comes any more
            self.reaches(hub, "device", "oven", None)
            self.reaches(hub, "fleet", "all", {"oven": {"count": 6, "sum": 500}})
        self.both_ways("aggregator", check)

    def test_bank(self):
        def check(hub):
            people = ["anna", "ben", "cleo"]
            for person in people:
                hub.http("POST", f"{API}/entities/account/{person}?op=deposit", 100)
            for person in people:
                self.reaches(hub, "account", person, 100)
            done = self.end_of(hub, "transfer", {"from": "anna", "to": "ben", "amount": 30})
            self.assertEqual(done["output"], {"left": 70})
            refused = self.end_of(hub, "transfer", {"from": "anna", "to": "ben", "amount": 71})
            self.assertEqual(refused["failureDetails"]["ErrorType"], "Overdrawn")
            same = self.end_of(hub, "transfer", {"from": "anna", "to": "anna", "amount": 1})
            self.assertEqual(same["failureDetails"]["ErrorType"], "BadTransfer")
            # In a circle, and in both directions: nobody waits for ever, and the sum never changes.
            pairs = [(a, b) for a in people for b in people if a != b]
            moving = [hub.start_instance("transfer", {"from": a, "to": b, "amount": 1 + n % 5})
                      for n, (a, b) in enumerate(pairs * 5)]
            looking = [hub.start_instance("audit", people) for _ in range(5)]
            for instance in looking:
                self.assertEqual(hub.wait(instance)["output"], 300)
            for instance in moving:
                self.assertIn(hub.wait(instance)["runtimeStatus"], ("Completed", "Failed"))
            until(lambda: sum(self.entity(hub, "account", person) for person in people) == 300,
                  "the sum of what is shown")
            self.assertEqual(self.end_of(hub, "audit", people)["output"], 300)
        self.both_ways("bank", check)

    def test_bank_over_a_crash(self):
        hub = self.hub(app("bank"))
        for person in ("anna", "ben"):
            hub.http("POST", f"{API}/entities/account/{person}?op=deposit", 1000)
        moving = [hub.start_instance("transfer", {"from": "anna", "to": "ben", "amount": 1})
                  for _ in range(50)]
        hub.kill()
        hub.start()
        for instance in moving:
            self.assertEqual(hub.wait(instance)["runtimeStatus"], "Completed")
        self.reaches(hub, "account", "anna", 950)
        self.reaches(hub, "account", "ben", 1050)


if __name__ == "__main__":
    unittest.main(verbosity=2)

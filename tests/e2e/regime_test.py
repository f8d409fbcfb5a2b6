"""The regime-switching application, from a request over HTTP to its outputs and its mail."""
import os
import re
import unittest
import xml.dom.minidom

from harness import API, OK, HubTest, app, until
from regime_mail import MailServer

ROUTE = "/api/regime-switching"
UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"


class RegimeTest(HubTest):
    def serve(self, *args, **environment):
        """A hub with its outputs in this test's directory."""
        self.outputs = os.path.join(self.directory, "outputs")
        environment = {"TASKHUB_OUTPUTS": self.outputs, "SMTP_URL": "", **environment}
        before = {name: os.environ.get(name) for name in environment}
        os.environ.update(environment)
        try:
            return self.hub(app("regime-switching"), *args)
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value

    def ask(self, hub, **request):
        code, headers, answer = hub.http("POST", ROUTE, request)
        self.assertEqual(code, 202, answer)
        self.assertIn(answer["id"], headers["Location"])
        self.assertTrue(answer["statusQueryGetUri"].startswith(hub.url))
        return answer

    def get(self, hub, url):
        return hub.http("GET", url.removeprefix(hub.url))

    def finish(self, hub, answer):
        """The final status, after a look at every output."""
        end = hub.wait(answer["id"])
        self.assertEqual(end["runtimeStatus"], "Completed", f"{end}\n{hub.stderr()}")
        self.assertEqual(end["output"]["outputs"], answer["outputs"])
        return end

    def result(self, hub, answer):
        code, headers, result = self.get(hub, answer["outputs"]["result"])
        self.assertEqual(code, 200)
        self.assertIn("application/json", headers["Content-Type"])
        return result

    def statistics(self, hub, answer):
        code, _, statistics = self.get(hub, answer["outputs"]["statistics"])
        self.assertEqual(code, 200)
        return statistics

    def check_charts(self, hub, answer):
        self.assertEqual(len(answer["outputs"]["charts"]), 3)
        for url in answer["outputs"]["charts"]:
            code, headers, text = self.get(hub, url)
            self.assertEqual(code, 200)
            self.assertEqual(headers["Content-Type"], "image/svg+xml")
            self.assertEqual(xml.dom.minidom.parseString(text).documentElement.tagName, "svg")


class UsGdp(RegimeTest):
    def test_from_request_to_outputs(self):
        hub = self.serve()
        answer = self.ask(hub, dataset="us-gdp", notify="anna@example.org")
        outputs = answer["outputs"]
        for url in [outputs["result"], outputs["statistics"], *outputs["charts"]]:
            self.assertRegex(url, rf"^{re.escape(hub.url)}/api/outputs/{UUID}\.(json|svg)$")
        end = self.finish(hub, answer)
        self.assertEqual((end["output"]["runs"], end["output"]["failedRuns"]), (20, 0))

        result = self.result(hub, answer)
        self.assertGreaterEqual(result["llf"], -238)
        self.assertEqual(result["nobs"], 202)
        self.assertEqual((result["dates"][0], result["dates"][-1]), ("1959-04-01", "2009-07-01"))
        for at in zip(*result["smoothed"]):
            self.assertAlmostEqual(sum(at), 1)

        statistics = self.statistics(hub, answer)
        self.assertEqual(statistics["llf"], result["llf"])
        self.assertEqual(statistics["llf"], max(run["llf"] for run in statistics["runs"]))
        self.assertEqual([run["run"] for run in statistics["runs"]], list(range(1, 21)))
        for regime, tstat in zip(statistics["regimes"], result["tstat"]):
            self.assertAlmostEqual(regime["coefficients"][0]["tStatistic"], tstat[0])
            self.assertGreater(tstat[0], 2)
        self.assertEqual(sum(period["observations"] for period in statistics["periods"]), 202)
        self.check_charts(hub, answer)

        self.assertEqual(end["output"]["notification"], f"written to mail-{answer['id']}.txt")
        with open(os.path.join(self.outputs, f"mail-{answer['id']}.txt"), encoding="utf-8") as mail:
            text = mail.read()
        self.assertIn("To: <anna@example.org>", text)
        self.assertIn(outputs["result"], text)
        self.assertIn(answer["id"], text)
        self.assertEqual(hub.stop(), 0)

    def test_only_what_was_asked_for(self):
        hub = self.serve()
        answer = self.ask(hub, dataset="us-gdp", runs=2, outputs=["llf", "beta"])
        self.finish(hub, answer)
        self.assertEqual(set(self.result(hub, answer)),
                         {"nobs", "regimes", "coefficients", "seed", "start_time", "end_time",
                          "time_solve", "llf", "beta", "dates"})
        self.assertFalse([name for name in os.listdir(self.outputs) if name.startswith("mail-")])

    def test_over_the_command_line(self):
        hub = self.serve()
        done = hub.cli("start", "regime_switching", "--wait", "--input", '{"dataset": "us-gdp", "runs": 3}')
        self.assertExit(done, OK)
        path = re.search(rf"[^\"]*/{UUID}\.json", done.stdout).group(0)
        self.assertTrue(os.path.exists(path), done.stdout)
        bad = hub.wait(hub.start_instance("regime_switching", {"dataset": "moon"}))
        self.assertEqual(bad["runtimeStatus"], "Failed")
        self.assertIn("field `dataset`", bad["output"])


class Synthetic(RegimeTest):
    def check(self, n, runs, tolerance, *args):
        hub = self.serve(*args)
        answer = self.ask(hub, dataset="synthetic", n=n, runs=runs)
        self.finish(hub, answer)
        result = self.result(hub, answer)
        for beta, slope in zip(result["beta"], [0.2, 0.8, 1.4], strict=True):
            self.assertAlmostEqual(beta[1], slope, delta=tolerance)
        self.check_charts(hub, answer)
        self.assertEqual(len(self.statistics(hub, answer)["runs"]), runs)
        return result

    def test_a_thousand_replayed_at_every_step(self):
        self.check(1000, 6, 0.1, "--replay-always")

    def test_ten_thousand(self):
        """Results of activities of megabytes each."""
        result = self.check(10000, 4, 0.02)
        self.assertEqual(len(result["smoothed"][2]), 10000)

    def test_goes_on_after_a_kill(self):
        hub = self.serve()
        answer = self.ask(hub, dataset="synthetic", n=10000, runs=8)
        for url in [answer["outputs"]["result"], *answer["outputs"]["charts"]]:
            self.assertEqual(self.get(hub, url)[0], 404)
        until(lambda: re.match(r"estimating [2-8]", str(hub.status(answer["id"])["customStatus"])),
              "the first run's result")
        hub.kill()
        again = self.serve("--port", hub.port)
        end = self.finish(again, answer)
        self.assertEqual(end["output"]["failedRuns"], 0)
        self.check_charts(again, answer)


class OwnData(RegimeTest):
    def test_a_series_with_a_regressor(self):
        hub = self.serve()
        x = [(7 * t) % 11 for t in range(120)]
        y = [(2.0 if t < 60 else -1.0) * x[t] + 0.1 * ((t * t) % 7) for t in range(120)]
        answer = self.ask(hub, y=y, x=[x], runs=4)
        self.finish(hub, answer)
        result = self.result(hub, answer)
        self.assertAlmostEqual(result["beta"][0][1], -1, delta=0.1)
        self.assertAlmostEqual(result["beta"][1][1], 2, delta=0.1)
        self.assertNotIn("dates", result)
        periods = self.statistics(hub, answer)["periods"]
        self.assertLessEqual({"regime": 2, "from": 1}.items(), periods[0].items())


class BadRequests(RegimeTest):
    def test_each_bad_field_has_its_line(self):
        hub = self.serve()
        code, headers, text = hub.http("POST", ROUTE, {
            "dataset": "moon", "regimes": "two", "runs": 0, "notify": "nobody", "colour": "red"})
        self.assertEqual(code, 400)
        self.assertIn("text/plain", headers["Content-Type"])
        self.assertEqual(sorted(text.splitlines()), [
            "field `colour`: there is no such field",
            'field `dataset`: must be "us-gdp" or "synthetic", got "moon"',
            'field `notify`: must be an e-mail address, got "nobody"',
            'field `regimes`: must be an integer from 2 to 6, got "two"',
            "field `runs`: must be an integer from 1 to 1000, got 0"])
        for body in [b"", b"{", b"[]", b"7"]:
            code, _, text = hub.http("POST", ROUTE, body)
            self.assertEqual((code, text), (400, "the request must be a JSON object\n"))
        code, _, text = hub.http("POST", ROUTE, {"dataset": "synthetic", "n": 100000})
        self.assertEqual(code, 400)
        self.assertRegex(text, r"^field `n`: .* about \d+ MiB")
        self.assertEqual(hub.http("GET", f"{API}/instances")[2], [])

    def test_only_outputs_are_served(self):
        hub = self.serve()
        os.makedirs(self.outputs)
        name = "01234567-89ab-4def-8123-456789abcdef"
        for other in ["mail-x.txt", "plain.json", name + ".txt"]:
            with open(os.path.join(self.outputs, other), "w", encoding="utf-8") as file:
                file.write("{}")
        for path in ["mail-x.txt", "plain.json", name + ".txt", name + ".json", "..%2Fhub.db",
                     f"..%2Foutputs%2F{name}.json", "%2e%2e", name.upper() + ".json"]:
            self.assertEqual(hub.http("GET", "/api/outputs/" + path)[0], 404, path)
        with open(os.path.join(self.outputs, name + ".json"), "w", encoding="utf-8") as file:
            file.write("[1]")
        self.assertEqual(hub.http("GET", f"/api/outputs/{name}.json")[2], [1])


class Purge(RegimeTest):
    def test_old_instances_go(self):
        hub = self.serve()
        first = self.ask(hub, dataset="us-gdp", runs=1)
        self.finish(hub, first)
        kept = self.ask(hub, dataset="us-gdp", runs=1, purgeOlderThanDays=36500)
        self.assertEqual(kept["purged"], 0)
        self.finish(hub, kept)
        second = self.ask(hub, dataset="us-gdp", runs=1, purgeOlderThanDays=0)
        self.assertEqual(second["purged"], 2)
        self.assertEqual(hub.http("GET", f"{API}/instances/{first['id']}")[0], 404)
        self.finish(hub, second)
        self.result(hub, first)


class Mail(RegimeTest):
    def serve_mail(self, **options):
        server = MailServer(**options)
        self.addCleanup(server.close)
        return server, self.serve(SMTP_URL=server.url, SMTP_FROM="fits@example.org")

    def test_a_mail_is_sent(self):
        server, hub = self.serve_mail()
        answer = self.ask(hub, dataset="us-gdp", runs=2, notify="anna@example.org")
        end = self.finish(hub, answer)
        self.assertEqual(end["output"]["notification"], "mailed to anna@example.org")
        self.assertEqual(len(server.mails), 1)
        mail = server.mails[0]
        self.assertEqual((mail["from"], mail["to"]), ("<fits@example.org>", "<anna@example.org>"))
        self.assertIn("Subject: Regime switching: the result\r\n", mail["text"])
        self.assertIn(answer["outputs"]["statistics"], mail["text"])
        self.assertFalse([name for name in os.listdir(self.outputs) if name.startswith("mail-")])

    def test_a_server_that_is_busy_is_asked_again(self):
        server, hub = self.serve_mail(refuse=1)
        answer = self.ask(hub, dataset="us-gdp", runs=1, notify="anna@example.org")
        self.finish(hub, answer)
        self.assertEqual((len(server.refused), len(server.mails)), (1, 1))

    def test_a_mail_that_is_refused_spoils_no_result(self):
        server, hub = self.serve_mail(refuse=100, refusal="550 nobody here")
        answer = self.ask(hub, dataset="us-gdp", runs=1, notify="anna@example.org")
        end = self.finish(hub, answer)
        self.assertIn("nobody was told", end["output"]["notification"])
        self.assertIn("550", end["output"]["notification"])
        self.assertEqual((len(server.refused), len(server.mails)), (1, 0))
        self.result(hub, answer)

    def test_failures_are_told(self):
        server, hub = self.serve_mail()
        with open(os.path.join(self.directory, "outputs"), "w", encoding="utf-8"):
            pass  # a file where the folder should be
        answer = self.ask(hub, dataset="us-gdp", runs=1, notify="anna@example.org")
        end = hub.wait(answer["id"])
        self.assertEqual(end["runtimeStatus"], "Failed")
        self.assertIn("outputs", server.mails[0]["text"])


if __name__ == "__main__":
    unittest.main(verbosity=2)

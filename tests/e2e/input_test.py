"""Bad input gets an answer that names the thing and the rule; the hub goes on."""
import json
import os
import re
import socket
import unittest

from harness import (API, CONFLICT, ERROR, FAILED, NOT_FOUND, OK, USAGE, HubTest, app, run, until)

LIMIT = 16 << 20


class Requests(HubTest):
    def setUp(self):
        super().setUp()
        self.running = self.hub(app("semantics"), "--log-level", "error")

    def tearDown(self):
        end = self.running.wait(self.running.start_instance("nap", 1))
        self.assertEqual(end["output"], "rested", "the hub goes on")
        self.assertEqual(self.running.stop(), 0)

    def refused(self, method, path, words, body=None, code=400, headers=None):
        status, _, answer = self.running.http(method, API + path, body, headers)
        self.assertEqual(status, code, (path, answer))
        self.assertEqual(answer["Message"], answer["ExceptionMessage"])
        self.assertRegex(answer["Message"], re.compile(words), path)

    def test_ids(self):
        for path, words in (("%00", "NUL"), ("a%00b", "NUL"), ("a%2Fb", "'/'"), ("%2e%2e", "folder"),
                            (".", "folder"), ("%ff", "UTF-8"), ("x" * 257, "257 bytes, 256"),
                            ("x" * 5000, "256"), ("@an@entity", "entities"), ("a%0Ab", "control"),
                            ("%5C", r"'\\'"), ("a%3Fb", r"'\?'"), ("a%23b", "'#'"),
                            ("%C2%85", "control")):
            self.refused("POST", f"/orchestrators/nap/{path}", words, 1)
        for path, instance in (("a%20b", "a b"), ("%C3%A9%F0%9F%98%80", "\u00e9\U0001f600"),
                               ("x" * 256, "x" * 256), ("%25", "%"), ("a+b", "a+b"), ("...", "..."),
                               ("a%26b=c", "a&b=c"), ("..a", "..a")):
            code, headers, answer = self.running.http("POST", f"{API}/orchestrators/nap/{path}", 1)
            self.assertEqual((code, answer["id"]), (202, instance))
            link = headers["Location"].removeprefix(self.running.url)
            until(lambda: self.running.http("GET", link)[0] == 200, instance)
            self.assertEqual(self.running.http("GET", link)[2]["instanceId"], instance)

    def test_names(self):
        if not self.differs("unknown orchestrators are refused"):
            self.refused("POST", "/orchestrators/nobody", "'nobody'.*whoami")
        self.refused("POST", "/orchestrators/" + "x" * 300, "300 bytes, 256")
        self.refused("POST", "/orchestrators/nap%0a", "control")
        instance = self.running.start_instance("stages")
        for event, words in (("%00", "NUL"), ("a%2fb", "event name.*'/'"), ("x" * 300, "event name.*256"),
                             ("%2e%2e", "event name.*folder"), ("%ff", "UTF-8")):
            self.refused("POST", f"/instances/{instance}/raiseEvent/{event}", words, 1)

    def test_bodies(self):
        for body in (b"{", b"{}x", b"[1,]", b"\xff", b'"\xc3"', b"nul", b" ", b"\xef\xbb\xbf1", b"NaN",
                     b"-", b"01", b'"a\nb"', b"[" * 100000):
            self.refused("POST", "/orchestrators/whoami", "Invalid JSON", body)
            self.refused("POST", "/instances/x/raiseEvent/y", "Invalid JSON", body)
        for body in (b'{"a":1,"a":2}', b"1e999", b'"\\ud800"', b'"\\u0000"', b"[" * 500 + b"]" * 500,
                     b"123456789012345678901234567890", b'""', b"null", b""):
            instance = self.running.http("POST", f"{API}/orchestrators/whoami", body)[2]["id"]
            self.assertEqual(self.running.wait(instance)["runtimeStatus"], "Completed", body)

    def test_queries(self):
        for query, words in (("createdTimeFrom=x", "createdTimeFrom.*2026"), ("runtimeStatus=Foo", "Foo"),
                             ("top=-1", "top"), ("top=99999999999999999999", "top"),
                             ("instanceIdPrefix=%00", "NUL"), ("instanceIdPrefix=%ff", "UTF-8")):
            self.refused("GET", f"/instances?{query}", words)
        self.refused("GET", "/instances?taskHub=Other", f"'{self.running.name}', not 'Other'", code=404)
        for token in ("zz", "00", "ff" * 40, "abc", "x" * 3000):
            self.refused("GET", "/instances", "token", headers={"x-ms-continuation-token": token})
        self.refused("POST", "/instances/x/raiseEvent/y", "application/json", b"1",
                     headers={"Content-Type": "text/plain"})
        self.refused("GET", "/instances/x/wait?timeout=soon", "soon")
        self.refused("PATCH", "/instances/x", "PATCH", code=404)

    def test_bytes(self):
        def answer(data):
            with socket.create_connection(("127.0.0.1", int(self.running.port))) as connection:
                connection.settimeout(20)
                connection.sendall(data)
                return connection.recv(100)
        head = b"POST " + API.encode() + b"/orchestrators/nap HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
        self.assertIn(b" 400 ", answer(head + b"Content-Length: -5\r\n\r\n"))
        self.assertIn(b" 413 ", answer(head + b"Content-Length: 99999999999999999999999\r\n\r\n"))
        self.assertIn(b" 400 ", answer(head + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n1\r\n0\r\n\r\n"))
        self.assertIn(b" 202 ", answer(head + b"Transfer-Encoding: chunked\r\n\r\n1\r\n1\r\n0\r\n\r\n"))
        self.assertIn(b" 414 ", answer(b"GET /" + b"a" * 70000 + b" HTTP/1.1\r\nHost: a\r\n\r\n"))

    def test_sizes(self):
        def text(size):
            return b'"' + b"x" * (size - 2) + b'"'
        fits = self.running.http("POST", f"{API}/orchestrators/whoami", text(LIMIT))[2]["id"]
        self.assertEqual(self.running.wait(fits)["runtimeStatus"], "Completed")
        self.refused("POST", "/orchestrators/whoami", f"{LIMIT + 1} bytes.*{LIMIT}", text(LIMIT + 1), 413)
        self.refused("POST", "/orchestrators/whoami", "larger than", text(LIMIT + (1 << 20)), 413)

        instance = self.running.start_instance("stages")
        self.refused("POST", f"/instances/{instance}/raiseEvent/Go", str(LIMIT), text(LIMIT + 1), 413)
        for name, body in (("Unread", text(LIMIT)), ("Go", b"2"), ("Go", b"1")):
            self.assertEqual(self.running.http("POST", f"{API}/instances/{instance}/raiseEvent/{name}", body)[0], 202)
        self.assertEqual(self.running.wait(instance)["output"], 1, "unharmed")

        for name, words in (("big_result", "a result of"), ("big_output", "an output of"),
                            ("big_input", 'for "echo"')):
            end = self.running.wait(self.running.start_instance(name, LIMIT - 2))
            self.assertEqual(end["runtimeStatus"], "Completed", name)
            end = self.running.wait(self.running.start_instance(name, LIMIT - 1))
            self.assertEqual(end["runtimeStatus"], "Failed", name)
            self.assertRegex(str(end["output"]), f"{words}.*{LIMIT + 1} bytes|{words} {LIMIT + 1} bytes|"
                                                 f"{LIMIT + 1} bytes {words}")
            self.assertIn(f"limit of {LIMIT} bytes", end["output"])


class Settings(HubTest):
    def dev(self, files, *args):
        for name, content in files.items():
            with open(os.path.join(self.directory, name), "w", encoding="utf-8") as out:
                out.write(content if isinstance(content, str) else json.dumps(content))
        return run("dev", app("semantics"), "--db", os.path.join(self.directory, "s.db"), "--port", "0",
                   "--host-json", self.directory, *args)

    @staticmethod
    def host(**durable):
        return {"version": "2.0", "extensions": {"durableTask": durable}}

    def refused(self, words, **files):
        result = self.dev({name.replace("_", ".") + ".json": content for name, content in files.items()})
        self.assertExit(result, ERROR)
        self.assertRegex(result.stderr, words)
        self.assertFalse(os.path.exists(os.path.join(self.directory, "s.db")), "nothing was made")

    def test_refusals(self):
        self.refused(r"host\.json.*line 1", host='{"version": "2.0"')
        self.refused(r"host\.json", host="[]")
        self.refused("hubName|hub name", host=self.host(hubName="no-dashes"))
        self.refused("partitionCount.*1 to 1024", host=self.host(storageProvider={"partitionCount": 0}))
        self.refused("partitionCount", host=self.host(storageProvider={"partitionCount": "many"}))
        self.refused("versionMatchStrategy.*Strict", host=self.host(versionMatchStrategy="Sometimes"))
        self.refused("functionTimeout", host={"version": "2.0", "functionTimeout": "soon"})
        self.refused("NameOfTheHub", host=self.host(hubName="%NameOfTheHub%"))
        self.refused(r"local\.settings\.json", host=self.host(), local_settings="{")

    def test_names_from_settings(self):
        files = {"host.json": self.host(hubName="%NameOfTheHub%"),
                 "local.settings.json": {"IsEncrypted": False, "Values": {"NameOfTheHub": "FromSettings"}}}
        for name, content in files.items():
            with open(os.path.join(self.directory, name), "w", encoding="ascii") as out:
                json.dump(content, out)
        hub = self.hub(app("semantics"), "--host-json", self.directory)
        self.assertEqual(hub.http("GET", f"{API}/hub")[2]["name"], "FromSettings")
        hub.stop()
        os.environ["NameOfTheHub"] = "FromEnvironment"
        self.addCleanup(os.environ.pop, "NameOfTheHub")
        hub.start()
        self.assertEqual(hub.http("GET", f"{API}/hub")[2]["name"], "FromEnvironment")


class HubNames(HubTest):
    def test_rules(self):
        database = os.path.join(self.directory, "h.db")
        def create(name, *args):
            return run("hub", "create", name, "--db", database, *args)
        for name, words in (("ab", "3 to 45"), ("A" * 46, "3 to 45"), ("1abc", "start with a letter"),
                            ("No-Dash", "letters and digits"), ("T\u00e9st", "letters and digits"),
                            ("", "empty")):
            refused = create(name)
            self.assertExit(refused, ERROR)
            self.assertIn(words, refused.stderr)
        for count in ("0", "1025"):
            refused = create("Counted", "--partitions", count)
            self.assertExit(refused, ERROR)
            self.assertIn("1 to 1024", refused.stderr)
        self.assertExit(create("Orders"), OK)
        other_case = create("orders")
        self.assertExit(other_case, CONFLICT)
        self.assertIn("Orders", other_case.stderr)
        refused = run("dev", app("semantics"), "--db", database, "--port", "0", "--hub", "ORDERS")
        self.assertExit(refused, ERROR)
        self.assertIn("Orders", refused.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)

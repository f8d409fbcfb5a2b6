"""A mail server that keeps what it is sent: just enough SMTP (RFC 5321), on a port of loopback."""
import socketserver
import threading


class _Session(socketserver.StreamRequestHandler):
    def say(self, line):
        self.wfile.write(line.encode() + b"\r\n")

    def handle(self):
        self.say("220 test")
        mail = {}
        for line in self.rfile:
            words = line.decode().strip()
            verb = words.split(":")[0].split(" ")[0].upper()
            if verb == "QUIT":
                self.say("221 bye")
                return
            if verb == "MAIL":
                mail = {"from": words.split(":", 1)[1].split(" ")[0]}
            elif verb == "RCPT":
                if not self.server.accept(words):
                    self.say(self.server.refusal)
                    continue
                mail["to"] = words.split(":", 1)[1]
            elif verb == "DATA":
                self.say("354 go on")
                mail["text"] = self.message()
                self.server.mails.append(mail)
            self.say("250 fine")

    def message(self):
        lines = []
        for line in self.rfile:
            if line == b".\r\n":
                break
            lines.append(line[1:] if line.startswith(b".") else line)
        return b"".join(lines).decode()


class MailServer(socketserver.ThreadingTCPServer):
    """`refuse` of the first recipients are answered with `refusal`."""
    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, refuse=0, refusal="451 later"):
        super().__init__(("127.0.0.1", 0), _Session)
        self.mails = []
        self.refused = []
        self.refuse = refuse
        self.refusal = refusal
        self.url = f"smtp://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def accept(self, words):
        if len(self.refused) >= self.refuse:
            return True
        self.refused.append(words)
        return False

    def close(self):
        self.shutdown()
        self.server_close()

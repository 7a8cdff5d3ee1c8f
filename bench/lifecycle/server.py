"""A real `shrike serve` on a data directory, and a client of its sockets that keeps hundreds of requests in flight.
Configurations are made of another one by `configured`."""
import json
import re
import signal
import subprocess

import zmq

IN_FLIGHT = 512


def configured(text, changes):
    """The TOML with {table: {key: value}} set; what is absent is added. Values are TOML already."""
    for table, keys in changes.items():
        found = re.search(rf"^\[{table}\]\n((?:(?!\[).*\n)*)", text, flags=re.M)
        body = found[1] if found else ""
        for key, value in keys.items():
            line = f"{key} = {value}\n"
            body, n = re.subn(rf"^{key} =.*\n", line, body, flags=re.M)
            body = body if n else line + body
        whole = f"[{table}]\n{body}"
        text = text[:found.start()] + whole + text[found.end():] if found else f"{text}\n{whole}"
    return text


class Server:
    """Stops with `stop`, or with the block of a `with`. One thread."""

    def __init__(self, shrike, config, data):
        self.log = open(f"{data}.log", "ab")
        self.process = subprocess.Popen([shrike, "serve", "--config", config, "--data", data],
                                        stdout=subprocess.PIPE, stderr=self.log, text=True)
        ready = self.process.stdout.readline().split()
        if not ready or ready[0] != "ready":
            raise SystemExit(f"the server does not start; see {data}.log")
        endpoints = dict(word.split("=", 1) for word in ready[1:])
        self.context = zmq.Context()
        self.sockets = {name: self._connect(endpoints[name]) for name in ("score", "feedback")}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def _connect(self, endpoint):
        socket = self.context.socket(zmq.DEALER)
        for option, value in ((zmq.LINGER, 0), (zmq.SNDHWM, 0), (zmq.RCVHWM, 0), (zmq.RCVTIMEO, 120_000)):
            socket.setsockopt(option, value)
        socket.connect(endpoint)
        return socket

    def exchange(self, name, messages):
        """Sends the texts to the socket and yields the replies, in their order."""
        socket, waiting = self.sockets[name], 0
        for message in messages:
            if waiting == IN_FLIGHT:
                yield self._reply(socket)
                waiting -= 1
            socket.send_string(message)
            waiting += 1
        for _ in range(waiting):
            yield self._reply(socket)

    def _reply(self, socket):
        reply = json.loads(socket.recv())
        if "error" in reply:
            raise SystemExit(f"the server refused: {reply}")
        return reply

    def command(self, command, argument=""):
        return next(self.exchange("feedback", [json.dumps({"command": command, "argument": argument})]))

    def try_command(self, command, argument=""):
        """False when the server refuses."""
        self.sockets["feedback"].send_string(json.dumps({"command": command, "argument": argument}))
        return "error" not in json.loads(self.sockets["feedback"].recv())

    def stop(self):
        self.context.destroy(linger=0)
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait()
        self.log.close()
        if code != 0:
            raise SystemExit(f"the server ended with exit code {code}; see {self.log.name}")

#!/usr/bin/env python3
"""A handler that echoes, and keeps books in STATE that a successor goes on with. Written from handlers/PROTOCOL.md alone.

    counting_handler.py SOCKET

STATE of a session is the name that its client's texts begin with ("NAME.rest"), and how many it has sent. It is written
in the BATCH that has the echo and the acknowledgement, so it must grow by one with each message, whatever is killed when:
the session's own sequence says what it must be. A text "NAME.die" ends the process as a bug would. TERM is a planned
restart: DRAIN, and the end when the last session has moved.

Says on stdout: "linked"; "fault ..." for a message that is missing, or came twice, by the books; "again NAME" for one that
is flagged so; "closed NAME COUNT CODE" for the end of a session, again where its acknowledgement may have been lost.
"""
import base64
import json
import os
import select
import signal
import socket
import sys


def say(*words):
    print(*words, flush=True)


class Session:
    def __init__(self, info):
        state = base64.b64decode(info.get("state", "")).decode()
        self.name, count = state.rsplit(" ", 1) if state else ("", "0")
        self.count = int(count)

    def state(self):
        return f"{self.name} {self.count}".encode()


class Handler:
    def __init__(self, path):
        self.link = socket.socket(socket.AF_UNIX)
        self.link.connect(path)
        self.sessions = {}
        self.unread = b""
        self.batch = b""
        self.last = 0  # delivery
        self.is_leaving = False

    def put(self, verb, payload=b""):
        self.link.sendall(b"%s %d\n%s\n" % (verb.encode(), len(payload), payload))

    def add(self, verb, payload=b""):
        self.batch += b"%s %d\n%s\n" % (verb.encode(), len(payload), payload)

    def take_msg(self, handle, sequence, kind, payload):
        session = self.sessions[handle]
        session.name, rest = payload.decode().split(".", 1)
        if rest == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        session.count += 1
        if session.count != sequence:
            say("fault", session.name, "counted", session.count, "at message", sequence)
        self.add(f"MSG {handle} {kind}", payload)
        self.add(f"STATE {handle}", session.state())

    def take_delivery(self, verb, args, payload):
        number, handle = int(args[0]), int(args[1])
        if number != self.last + 1:
            say("fault delivery", number, "behind", self.last)
        self.last = number
        if verb == "OPEN":
            self.sessions[handle] = Session(json.loads(payload))
            self.add(f"ACCEPT {handle}")
        elif verb == "MSG":
            if args[4:] == ["again"]:
                say("again", payload.decode().split(".", 1)[0])
            self.take_msg(handle, int(args[2]), args[3], payload)
        else:
            session = self.sessions.pop(handle)
            if verb == "CLOSE":
                say("closed", session.name or "-", session.count, args[2])
        self.add(f"ACK {number}")

    def take(self, verb, args, payload):
        if verb in ("OPEN", "MSG", "CLOSE", "MOVED"):
            self.take_delivery(verb, args, payload)
        elif verb == "PING":
            self.put("PONG", payload)
        elif verb == "ERROR":
            say("fault the gateway says", payload.decode())
        elif verb == "WELCOME":
            say("linked")

    def read(self):
        """False: the gateway has gone."""
        data = self.link.recv(65536)
        self.unread += data
        while (end := self.unread.find(b"\n")) >= 0:
            verb, *args, length = self.unread[:end].decode().split(" ")
            after = end + 1 + int(length)
            if len(self.unread) <= after:
                break
            payload, self.unread = self.unread[end + 1:after], self.unread[after + 1:]
            self.take(verb, args, payload)
        if self.batch:
            batch, self.batch = self.batch, b""
            self.put("BATCH", batch)
        return len(data) != 0

    def leave(self):
        if not self.is_leaving:
            self.is_leaving = True
            self.put("DRAIN")

    def serve(self, signals):
        self.put("HELLO 1", b'{"client":"python/0.1","app":"counting"}')
        while not (self.is_leaving and not self.sessions):
            ready, _, _ = select.select([self.link, signals], [], [])
            if signals in ready:
                self.leave()
                signals.recv(1)
            if self.link in ready and not self.read():
                return


def main(path):
    signals, wakeup = socket.socketpair()
    wakeup.setblocking(False)
    signal.set_wakeup_fd(wakeup.fileno())
    signal.signal(signal.SIGTERM, lambda *_: None)
    Handler(path).serve(signals)


if __name__ == "__main__":
    main(sys.argv[1])

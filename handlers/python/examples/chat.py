#!/usr/bin/env python3
"""chat: one room. Every text goes to all who are here; who comes and goes is told. Usage: python3 chat.py SOCKET"""
import pathlib
import signal
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import postern


class Chat(postern.Handler):
    def tell(self, text):
        for session in self.sessions:
            session.send(text)

    def on_open(self, session):
        if not session.resumed:  # else it has been here all the time; only its handler is new
            self.tell(f"* {session.id} has joined")

    def on_message(self, session, data):
        if isinstance(data, str):
            self.tell(data)

    def on_close(self, session, code, reason):
        self.tell(f"* {session.id} has left")

    def on_unlink(self, why):
        print(f"chat: {why}", file=sys.stderr)


chat = Chat(sys.argv[1], app="chat")
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda *_: chat.stop())
chat.run()

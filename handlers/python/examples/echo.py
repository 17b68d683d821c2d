#!/usr/bin/env python3
"""echo: sends every message back. Usage: python3 echo.py SOCKET"""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import postern


class Echo(postern.Handler):
    def on_message(self, session, data):
        session.send(data)

    def on_unlink(self, why):
        print(f"echo: {why}", file=sys.stderr)


Echo(sys.argv[1], app="echo").run()

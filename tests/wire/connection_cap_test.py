#!/usr/bin/env python3
"""limits.connections: the last one within the limit is served, one more is closed, and room comes back.

    connection_cap_test.py BUILD_DIR        under a second; TAP, exit 1 when any check failed
"""
import os
import pathlib
import socket
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True

from conformance_test import wait_until
from run import Tally, free_port

LIMIT = 5


def ask(sock):
    """The status line's code over a connection that stays open, 0 when the gateway closes it."""
    try:
        sock.sendall(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n")
        return int((sock.recv(4096) or b"- 0").split()[1])
    except OSError:
        return 0


def main(arguments):
    build_dir = pathlib.Path(arguments[0]).resolve()
    tally, port = Tally(), free_port()

    def connect():
        sock = socket.create_connection(("127.0.0.1", port))
        sock.settimeout(10)
        return sock

    with tempfile.TemporaryDirectory(prefix="postern-cap.") as folder:
        config = os.path.join(folder, "postern.json")
        path = os.path.join(folder, "h.sock")
        pathlib.Path(config).write_text(
            f'{{"listen": "127.0.0.1:{port}", "handlers": {{"socket": "{path}"}}, "log": {{"level": "error"}}, '
            f'"limits": {{"connections": {LIMIT}}}, "mounts": [{{"path": "/a"}}]}}', encoding="utf-8")
        gateway = subprocess.Popen([build_dir / "posternd", "--config", config])
        try:
            up = wait_until(lambda: os.path.exists(path), 10)
            link = socket.socket(socket.AF_UNIX)  # a handler is no client and takes no client's place
            link.connect(path)
            link.sendall(b"HELLO 1 2\n{}\n")
            up = up and link.recv(7) == b"WELCOME"
            tally.note("a handler is linked", None if up else "no WELCOME")
            held = [connect() for _ in range(LIMIT)]
            answers = [ask(sock) for sock in held]
            tally.note(f"{LIMIT} connections are served", None if answers == [200] * LIMIT else f"{answers}")
            status = ask(connect())
            tally.note("one more is closed", None if status == 0 else f"{status}")
            held.pop().close()
            back = wait_until(lambda: ask(connect()) == 200, 5)
            tally.note("room comes back with the end of one", None if back else "refused for 5 s")
        finally:
            gateway.terminate()
            code = gateway.wait(10)
        tally.note("it ends with 0", None if code == 0 else f"{code}")
    print(f"{tally.passed} passed, {tally.failed} failed")
    return 1 if tally.failed or not tally.passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

#!/usr/bin/env python3
"""handlers.users: whose processes may be handlers, by the user that the kernel says connected.

    users_test.py BUILD_DIR        a second; TAP, exit 1 when any check failed
"""
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True

from conformance_test import wait_until
from run import Tally, free_port

PATIENCE = 10
SELF, OTHER = os.getuid(), os.getuid() + 1

# (what, handlers.users, the first words of the answer to HELLO, what else must stand in it)
CASES = [
    ("nobody is named: all may", [], b"WELCOME 1 ", b""),
    ("by id", [str(OTHER), str(SELF)], b"WELCOME 1 ", b""),
    ("another one is refused, by its id", [str(OTHER)], b"ERROR denied ", f"id {SELF}, ".encode()),
    ("and told what to do", [str(OTHER)], b"ERROR denied ", b"handlers.users"),
]


def answer_to_hello(path):
    """All that comes until the gateway has answered: its first frame, or the end."""
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(PATIENCE)
        link.connect(path)
        link.sendall(b"HELLO 1 2\n{}\n")
        answer = b""
        while answer.count(b"\n") < 2:
            more = link.recv(4096)
            if not more:
                break
            answer += more
        return answer


def main(arguments):
    build_dir = pathlib.Path(arguments[0]).resolve()
    tally = Tally()
    for what, users, begins, has in CASES:
        with tempfile.TemporaryDirectory(prefix="postern-users.") as folder:
            config = pathlib.Path(folder) / "postern.json"
            path = f"{folder}/h.sock"
            config.write_text(json.dumps({"listen": f"127.0.0.1:{free_port()}", "workers": 2, "log": {"level": "error"},
                                          "handlers": {"socket": path, "users": users},
                                          "mounts": [{"path": "/a"}]}), encoding="utf-8")
            gateway = subprocess.Popen([build_dir / "posternd", "--config", config])
            try:
                wait_until(lambda: os.path.exists(path), PATIENCE)
                answer = answer_to_hello(path)
                is_right = answer.startswith(begins) and has in answer
                tally.note(what, None if is_right else f"got {answer!r}")
            finally:
                gateway.terminate()
                code = gateway.wait(PATIENCE)
            tally.note("it ends with 0", None if code == 0 else f"{code}")
    print(f"{tally.passed} passed, {tally.failed} failed")
    return 1 if tally.failed or not tally.passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

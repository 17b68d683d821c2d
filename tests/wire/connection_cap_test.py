#!/usr/bin/env python3
"""The caps on connections: the last one within is served, one more is closed, and room comes back.

    connection_cap_test.py BUILD_DIR        a second or two; TAP, exit 1 when any check failed

limits.connections and limits.connections_per_address count over all workers; and where the process may not have as
many descriptors as that, clients leave some to the handlers.
"""
import os
import pathlib
import resource
import socket
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True

from conformance_test import wait_until
from run import Tally, free_port


def ask(sock):
    """The status line's code over a connection that stays open, 0 when the gateway closes it."""
    try:
        sock.sendall(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n")
        return int((sock.recv(4096) or b"- 0").split()[1])
    except OSError:
        return 0


def link_handler(path):
    """The link, None while there is nothing to link to."""
    link = socket.socket(socket.AF_UNIX)
    link.settimeout(10)
    try:
        link.connect(path)
        link.sendall(b"HELLO 1 2\n{}\n")
        return link if link.recv(7) == b"WELCOME" else None
    except OSError:
        link.close()
        return None


def check_cap(build_dir, tally, name, limits, places, workers=1, descriptors=None):
    port = free_port()

    def connect(source="127.0.0.1"):
        sock = socket.create_connection(("127.0.0.1", port), source_address=(source, 0))
        sock.settimeout(10)
        return sock

    def limit_descriptors():
        if descriptors is not None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))

    with tempfile.TemporaryDirectory(prefix="postern-cap.") as folder:
        config = os.path.join(folder, "postern.json")
        path = os.path.join(folder, "h.sock")
        pathlib.Path(config).write_text(
            f'{{"listen": "127.0.0.1:{port}", "workers": {workers}, "handlers": {{"socket": "{path}"}}, '
            f'"log": {{"level": "error"}}, "limits": {{{limits}}}, "mounts": [{{"path": "/a"}}]}}', encoding="utf-8")
        gateway = subprocess.Popen([build_dir / "posternd", "--config", config], preexec_fn=limit_descriptors)
        try:
            links = []  # a handler is no client and takes no client's place

            def is_linked():
                links.append(link_handler(path))
                return links[-1] is not None

            tally.note(f"{name}: a handler is linked", None if wait_until(is_linked, 10) else "no WELCOME")
            held = [connect() for _ in range(places)]
            answers = [ask(sock) for sock in held]
            tally.note(f"{name}: {places} connections are served", None if answers == [200] * places else f"{answers}")
            status = ask(connect())
            tally.note(f"{name}: one more is closed", None if status == 0 else f"{status}")
            if "per_address" in limits:
                status = ask(connect("127.0.0.2"))
                tally.note(f"{name}: another address is served", None if status == 200 else f"{status}")
            tally.note(f"{name}: one more handler is linked", None if is_linked() else "no WELCOME")
            held.pop().close()
            back = wait_until(lambda: ask(connect()) == 200, 5)
            tally.note(f"{name}: room comes back with the end of one", None if back else "refused for 5 s")
        finally:
            gateway.terminate()
            code = gateway.wait(10)
        tally.note(f"{name}: it ends with 0", None if code == 0 else f"{code}")


def main(arguments):
    build_dir = pathlib.Path(arguments[0]).resolve()
    tally = Tally()
    check_cap(build_dir, tally, "in all", '"connections": 5', 5)
    check_cap(build_dir, tally, "in all, 4 workers", '"connections": 5', 5, workers=4)
    check_cap(build_dir, tally, "per address, 4 workers", '"connections_per_address": 5', 5, workers=4)
    check_cap(build_dir, tally, "128 descriptors", '"connections": 1000', 64, workers=2, descriptors=128)
    print(f"{tally.passed} passed, {tally.failed} failed")
    return 1 if tally.failed or not tally.passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

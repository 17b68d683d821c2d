#!/usr/bin/env python3
"""Several workers: one connection carries sessions of all of them, and one handler serves all of them.

    workers_test.py BUILD_DIR        some seconds; TAP, exit 1 when any check failed

With four workers three of four requests that name a session belong elsewhere than where their connection was
accepted, so that everything below passes only if connections move with all that they carry.
"""
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True

from conformance_test import Conformance, wait_until
from peer import Mismatch, Peer
from run import Tally
from tls_test import PATIENCE, Server, answer_of, make_certificate, read_until, request

WORKERS = "4"
SESSIONS = 40


class Plain(Conformance):
    def connect(self):
        return Peer(("127.0.0.1", self.port), PATIENCE)


def head_of(method, path, length, fields=""):
    return f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n{fields}\r\n".encode()


def poll(peer, session):
    request(peer, "POST", f"/echo/0/{session}/xhr")
    return answer_of(peer)


def send(peer, session, text):
    request(peer, "POST", f"/echo/0/{session}/xhr_send", f'["{text}"]'.encode())
    return answer_of(peer)


def one_connection_many_sessions(server, check):
    peer = server.connect()
    names = [f"turn{i}" for i in range(SESSIONS)]
    check(f"{SESSIONS} sessions open over one connection", all(poll(peer, name) == (200, b"o\n") for name in names))
    check("each takes a message", all(send(peer, name, name) == (204, b"") for name in names))
    check("each echo comes to its own session",
          all(poll(peer, name) == (200, f'a["{name}"]\n'.encode()) for name in names))


def pipelined(server, check):
    peer = server.connect()
    names = [f"pipe{i}" for i in range(SESSIONS)]
    peer.send(b"".join(head_of("POST", f"/echo/0/{name}/xhr", 0) + head_of("GET", "/echo", 0) for name in names))
    answers = [answer_of(peer) for _ in range(2 * SESSIONS)]
    check(f"{2 * SESSIONS} pipelined requests are answered in order",
          answers == [(200, b"o\n"), (200, b"Welcome to SockJS!\n")] * SESSIONS)
    bodies = [(f'["{name}{"x" * 3000}"]').encode() for name in names]
    peer.send(b"".join(head_of("POST", f"/echo/0/{name}/xhr_send", len(body)) + body + head_of("POST", f"/echo/0/{name}/xhr", 0)
                       for name, body in zip(names, bodies)))
    answers = [answer_of(peer) for _ in range(2 * SESSIONS)]
    wanted = [answer for body in bodies for answer in ((204, b""), (200, b"a" + body + b"\n"))]
    check("pipelined bodies travel with their connection", answers == wanted)


def bodies_in_pieces(server, check):
    peer = server.connect()
    names = [f"piece{i}" for i in range(12)]
    for name in names:
        poll(peer, name)
    good = True
    for name in names:
        body = f'["{name}"]'.encode()
        head = head_of("POST", f"/echo/0/{name}/xhr_send", len(body))
        for part in (head[:30], head[30:], body[:3], body[3:]):
            peer.send(part)
            time.sleep(0.01)
        good = good and answer_of(peer)[0] == 204 and poll(peer, name) == (200, b"a" + body + b"\n")
    check("heads and bodies in pieces", good)
    good = True
    for name in names:
        body = f'["{name}"]'.encode()
        peer.send(head_of("POST", f"/echo/0/{name}/xhr_send", len(body), "Expect: 100-continue\r\n"))
        good = good and read_until(peer, b"\r\n\r\n").startswith(b"HTTP/1.1 100 ")
        peer.send(body)
        good = good and answer_of(peer)[0] == 204 and poll(peer, name) == (200, b"a" + body + b"\n")
    check("100 Continue comes from the worker that wants the body", good)
    big = "x" * 300000
    for name in names:
        good = good and send(peer, name, big)[0] == 204 and poll(peer, name) == (200, f'a["{big}"]\n'.encode())
    check("bodies and answers of 300 kB", good)


def streams(server, check):
    names = [f"stream{i}" for i in range(12)]
    receivers, sender, good = [], server.connect(), True
    for name in names:
        receiver = server.connect()
        request(receiver, "GET", "/echo")
        answer_of(receiver)
        request(receiver, "POST", f"/echo/0/{name}/xhr_streaming")
        read_until(receiver, b"o\n")
        receivers.append(receiver)
    for i in range(5):
        for name in names:
            good = good and send(sender, name, f"{name}-{i}")[0] == 204
    for name, receiver in zip(names, receivers):
        messages = []
        while len(messages) < 5:  # a frame takes all that has come when it is written
            messages += json.loads(read_until(receiver, b"]\n").splitlines()[-1][1:])
        good = good and messages == [f"{name}-{i}" for i in range(5)]
    check("streams on one worker, their senders' connection anywhere", good)


def leaving_while_moving(server, check):
    for i in range(200):
        peer = server.connect()
        peer.send(head_of("POST", f"/echo/0/leave{i}/xhr", 0) * (1 + i % 3))
        if i % 2:
            peer.reset()
        else:
            peer.close()
    check("a fresh client is served after 200 that left at once", poll(server.connect(), "after") == (200, b"o\n"))


def over(server, check):
    for test in (one_connection_many_sessions, pipelined, bodies_in_pieces, streams, leaving_while_moving):
        try:
            test(server, check)
        except (AssertionError, Mismatch, OSError) as error:
            check(f"{test.__name__}: {error!r}", False)
    said = server.said()
    check("nothing but its usual log lines", "Sanitizer" not in said and "level=error" not in said)


def goodbye(server, check):
    """Sessions of every worker hear that the server goes."""
    peers = []
    for i in range(16):
        peer = server.connect()
        poll(peer, f"bye{i}")
        request(peer, "POST", f"/echo/0/bye{i}/xhr")
        peers.append(peer)
    time.sleep(0.2)  # the polls are there
    code, seconds = server.end()
    check("it ends with 0 within 3 s", code == 0 and seconds < 3 and "Sanitizer" not in server.said())
    check("sessions of all workers are told", all(answer_of(peer) == (200, b'c[1012,"Service restart"]\n') for peer in peers))


def start_handler(build_dir, path):
    return subprocess.Popen([build_dir / "conformance-handler", path])


def one_handler_for_all(build_dir, check):
    """The only handler is killed: the sessions of all workers wait, and the next one serves them."""
    with tempfile.TemporaryDirectory(prefix="postern-workers.") as folder:
        path = os.path.join(folder, "h.sock")
        server = Plain(build_dir, "--workers", WORKERS, "--handler", "none", "--socket", path)
        handler = start_handler(build_dir, path)
        try:
            peer = server.connect()
            names = [f"kept{i}" for i in range(16)]
            opened = all(poll(peer, name) == (200, b"o\n") for name in names)
            echoed = all(send(peer, name, "1")[0] == 204 and poll(peer, name) == (200, b'a["1"]\n') for name in names)
            check("one handler serves the sessions of all workers", opened and echoed)
            for _ in range(3):
                handler.send_signal(signal.SIGKILL)
                handler.wait(10)
                time.sleep(0.2)  # what a dead link was given is not given again in this version
                sent = all(send(peer, name, "2")[0] == 204 for name in names)
                handler = start_handler(build_dir, path)
                check("killed: the next one gets what was sent meanwhile",
                      sent and all(poll(peer, name) == (200, b'a["2"]\n') for name in names))
        finally:
            handler.kill()
            handler.wait(10)
            code, _ = server.end()
        check("it ends with 0", code == 0 and "Sanitizer" not in server.said())


def second_daemon(build_dir, server, check):
    with tempfile.TemporaryDirectory(prefix="postern-workers.") as folder:
        config = os.path.join(folder, "postern.json")
        pathlib.Path(config).write_text(
            f'{{"listen": "127.0.0.1:{server.port}", "workers": {WORKERS}, "handlers": {{"socket": "{folder}/h"}}, '
            f'"mounts": [{{"path": "/a"}}]}}', encoding="utf-8")
        ran = subprocess.run([build_dir / "posternd", "--config", config], capture_output=True, text=True, timeout=20)
    check("a second daemon is told that the port is in use",
          ran.returncode == 1 and "Address already in use" in ran.stderr)


def main():
    build_dir = pathlib.Path(sys.argv[1]).resolve()
    tally = Tally()

    def check(name, good):
        tally.note(name, None if good else "see the name")

    with tempfile.TemporaryDirectory(prefix="postern-workers.") as folder:
        cert, key = make_certificate(folder)
        for server in (Plain(build_dir, "--workers", WORKERS), Server(build_dir, cert, key, "--workers", WORKERS)):
            try:
                over(server, check)
                second_daemon(build_dir, server, check)
                goodbye(server, check)
            finally:
                if server.child.poll() is None:
                    server.end()
    one_handler_for_all(build_dir, check)
    print(f"{tally.passed} passed, {tally.failed} failed")
    return 1 if tally.failed or not tally.passed else 0


if __name__ == "__main__":
    sys.exit(main())

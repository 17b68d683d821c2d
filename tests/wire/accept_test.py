#!/usr/bin/env python3
"""Mounts that wait for ACCEPT, end to end: a raw WebSocket's 101, SockJS' hello, and what a handler may choose.

    accept_test.py BUILD_DIR        some 16 seconds; TAP, exit 1 when any check failed

With one worker, and with two of them, where some sessions reach the handler by a relay.
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True

from conformance_test import wait_until
from peer import Mismatch, Peer, ws_frame
from run import Tally, free_port
from steps import WEBSOCKET_KEY

PATIENCE = 15
ACCEPT_TIMEOUT = 10


def fail_unless(holds, what):
    if not holds:
        raise Mismatch(what)


class Rig:
    """A gateway and its one handler."""

    def __init__(self, port, path):
        self.port = port
        self.path = path

    def link(self):
        handler = Peer(self.path, PATIENCE)
        handler.link_send(["HELLO", "1"], b"{}")
        fail_unless(handler.link_read()[0][0] == "WELCOME", "no WELCOME")
        return handler

    def ask(self, path="/raw", offers="chat, x.v2", behind=b""):
        """A client whose handshake has been sent, with `behind` right after it."""
        client = Peer(("127.0.0.1", self.port), PATIENCE)
        client.send((f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                     f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {WEBSOCKET_KEY}\r\n"
                     f"Sec-WebSocket-Protocol: {offers}\r\n\r\n").encode() + behind)
        return client


def read_open(handler):
    """(handle, object) of an OPEN."""
    words, payload = handler.link_read()
    fail_unless(words[0] == "OPEN", f"expected OPEN, got {words}")
    return words[2], json.loads(payload)


def expect_status(client, status, body=None):
    answer = client.read_head()
    fail_unless(answer.status == status, f"expected {status}, got {answer.status}")
    if body is not None:
        client.read_body(answer, "GET")
        fail_unless(answer.body == body, f"expected {body}, got {answer.body}")
    return answer


def the_101_waits_and_names_the_choice(rig, handler):
    for choice, want in ((b"", "chat"), (b"x.v2", "x.v2"), (b"chat", "chat")):
        client = rig.ask(behind=ws_frame(1, b"early"))
        handle, info = read_open(handler)
        fail_unless(info["subprotocols"] == ["chat", "x.v2"] and info["subprotocol"] == "chat", f"{info}")
        client.expect_silence(0.2)
        handler.expect_silence(0.1)  # nothing of the client's either
        handler.link_send(["ACCEPT", handle], choice)
        answer = expect_status(client, 101)
        fail_unless(answer.value("Sec-WebSocket-Protocol") == want, f"{answer.fields}")
        words, payload = handler.link_read()
        fail_unless(words[0] == "MSG" and payload == b"early", f"expected the early message, got {words}")
        handler.link_send(["MSG", handle, "t"], b"hi")
        fail_unless(client.ws_read() == ("text", b"hi"), "no answer")
        start = time.monotonic()
        client.close()  # altogether, without a Close
        fail_unless(handler.link_read()[0][0] == "CLOSE", "no CLOSE")
        fail_unless(time.monotonic() - start < 0.8, "the end of a client that is gone was told late")


def a_choice_that_was_not_offered(rig, handler):
    for choice in (b"echo.v1", b"Chat", b"chat, x.v2", b"\xff", b"a\r\nX: y"):
        client = rig.ask()
        handle, _ = read_open(handler)
        handler.link_send(["ACCEPT", handle], choice)
        expect_status(client, 500)
        words, _ = handler.link_read()
        fail_unless(words[0] == "CLOSE" and words[3] == "1011", f"expected CLOSE 1011, got {words}")


def a_reject_is_403(rig, handler):
    client = rig.ask()
    handle, _ = read_open(handler)
    handler.link_send(["MSG", handle, "t"], b"for nobody")
    handler.link_send(["REJECT", handle, "4001"], b"Sign in first")
    expect_status(client, 403, b"Sign in first")
    words, _ = handler.link_read()
    fail_unless(words[0] == "CLOSE" and words[3] == "4001", f"expected CLOSE 4001, got {words}")


def a_client_that_does_not_wait(rig, handler):
    for leave in (Peer.close, Peer.half_close, Peer.reset):
        client = rig.ask()
        handle, _ = read_open(handler)
        leave(client)
        words, _ = handler.link_read()
        fail_unless(words[0] == "CLOSE" and words[3] == "1006", f"expected CLOSE 1006, got {words}")
        handler.link_send(["ACCEPT", handle], b"chat")  # it crosses


def sockjs_is_told_by_its_hello(rig, handler):
    client = rig.ask("/sockjs/0/s/websocket", behind=ws_frame(1, b'"early"'))
    expect_status(client, 101)
    handle, _ = read_open(handler)
    handler.expect_silence(0.2)
    handler.link_send(["ACCEPT", handle], b"")
    fail_unless(client.ws_read() == ("text", b"o"), "no hello")
    words, payload = handler.link_read()
    fail_unless(words[0] == "MSG" and payload == b"early", f"expected the early message, got {words}")
    client.close()
    fail_unless(handler.link_read()[0][0] == "CLOSE", "no CLOSE")


def nobody_decides(rig, handler):
    start = time.monotonic()
    clients = [rig.ask() for _ in range(3)]
    for _ in clients:
        read_open(handler)
    for client in clients:
        expect_status(client, 503)
    spent = time.monotonic() - start
    fail_unless(ACCEPT_TIMEOUT - 0.5 < spent < ACCEPT_TIMEOUT + 3, f"after {spent:.1f} s")
    for _ in clients:
        words, _ = handler.link_read()
        fail_unless(words[0] == "CLOSE" and words[3] == "1013", f"expected CLOSE 1013, got {words}")


CHECKS = (the_101_waits_and_names_the_choice, a_choice_that_was_not_offered, a_reject_is_403,
          a_client_that_does_not_wait, sockjs_is_told_by_its_hello)


def trouble_with(check, *arguments):
    try:
        check(*arguments)
        return None
    except Mismatch as mismatch:
        return str(mismatch)


def can_link(rig):
    try:
        rig.link().close()
        return True
    except (OSError, Mismatch):
        return False


def play(build_dir, tally, workers):
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="postern-accept.") as folder:
        rig = Rig(port, os.path.join(folder, "h.sock"))
        config = {"listen": f"127.0.0.1:{port}", "workers": workers, "handlers": {"socket": rig.path},
                  "log": {"level": "error"}, "drain": "0s",
                  "mounts": [{"path": "/raw", "dialects": ["raw"], "accept": "handler", "subprotocols": ["chat"]},
                             {"path": "/sockjs", "accept": "handler"}]}
        file = pathlib.Path(folder, "postern.json")
        file.write_text(json.dumps(config), encoding="utf-8")
        gateway = subprocess.Popen([build_dir / "posternd", "--config", file])
        try:
            tally.note("the gateway serves handlers", None if wait_until(lambda: can_link(rig), 10) else "it does not")
            handler = rig.link()
            for check in CHECKS:
                for _ in range(workers * 2):  # the kernel deals clients to workers
                    trouble = trouble_with(check, rig, handler)
                    if trouble:
                        break
                tally.note(f"{workers} worker(s): {check.__name__.replace('_', ' ')}", trouble)
            if workers == 1:
                tally.note("nobody decides", trouble_with(nobody_decides, rig, handler))
        finally:
            gateway.terminate()
            code = gateway.wait(10)
        tally.note("it ends with 0", None if code == 0 else f"{code}")


def main(arguments):
    tally = Tally()
    for workers in (1, 2):
        play(pathlib.Path(arguments[0]).resolve(), tally, workers)
    print(f"{tally.passed} passed, {tally.failed} failed")
    return 1 if tally.failed or not tally.passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

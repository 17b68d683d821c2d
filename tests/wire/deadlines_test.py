#!/usr/bin/env python3
"""Slow peers of every kind are cut at their deadline, however they drip, while others are served.

    deadlines_test.py BUILD_DIR        some seconds; TAP, exit 1 when any check failed
"""
import os
import pathlib
import socket
import struct
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True

from conformance_test import wait_until
from run import Tally, free_port
from tls_test import make_certificate

LIMIT = 0.6     # seconds, each deadline in the configuration below
PATIENCE = 10   # seconds, for a busy machine; without the deadline the peers drip on for longer
DRIP = 0.05     # seconds between two bytes

UPGRADE = (b"GET /a HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
           b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
EMPTY_FRAGMENT = b"\x00\x80\0\0\0\0"
CLIENT_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 400
TOO_SLOW = struct.pack(">BBH", 0x88, 25, 1008) + b"Message came too slowly"

# name, port, what is sent at once, what drips, what comes before the end
PEERS = [
    ("silent", "plain", b"", b"", b""),
    ("head", "plain", b"GET / HTTP/1.1\r\nX: ", b"x" * 400, b"HTTP/1.1 408 "),
    ("body", "plain", b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 400\r\n\r\n", b"x" * 400, None),
    ("silent TLS", "tls", b"", b"", b""),
    ("TLS handshake", "tls", CLIENT_HELLO[:5], CLIENT_HELLO[5:], None),
    ("frame head", "plain", UPGRADE, b"\x82\xff\0\0\0\0", TOO_SLOW),
    ("frame payload", "plain", UPGRADE + b"\x82\xfe\x01\xf4\0\0\0\0", b"x" * 400, TOO_SLOW),
    ("empty fragments", "plain", UPGRADE + b"\x02\x80\0\0\0\0", EMPTY_FRAGMENT * 70, TOO_SLOW),
    ("half a ping", "plain", UPGRADE + b"\x89\x85", b"", TOO_SLOW),
]


class SlowPeer:
    def __init__(self, ports, name, port, at_once, drip, want):
        self.name, self.drip, self.want = name, drip, want
        self.sock = socket.create_connection(("127.0.0.1", ports[port]))
        self.got, self.end = b"", None
        self.sock.sendall(at_once)
        self.start = time.monotonic()
        self.sock.setblocking(False)

    def step(self):
        """Sends a byte and reads what is there. True once the gateway has ended it."""
        try:
            if self.drip:
                self.sock.send(self.drip[:1])
                self.drip = self.drip[1:]
            data = self.sock.recv(4096)
            self.got += data
            is_over = data == b""
        except BlockingIOError:
            is_over = False
        except OSError:
            is_over = True
        if is_over and self.end is None:
            self.end = time.monotonic() - self.start
        return self.end is not None

    def complaint(self):
        if self.end is None:
            return f"still open after {PATIENCE} s"
        if self.end < LIMIT * 0.8:
            return f"cut after {self.end:.2f} s already"
        if self.want is not None and self.want not in self.got:
            return f"heard {self.got[-80:]!r}"
        return None


def is_served(port):
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.settimeout(PATIENCE)
        sock.sendall(b"GET /b HTTP/1.1\r\nHost: a\r\n\r\n")
        return sock.recv(4096).startswith(b"HTTP/1.1 200 ")


def configure(folder, ports):
    cert, key = make_certificate(folder)
    limit = f'"{LIMIT * 1000:.0f}ms"'
    config = os.path.join(folder, "postern.json")
    pathlib.Path(config).write_text(
        f'{{"listen": "127.0.0.1:{ports["plain"]}", "log": {{"level": "error"}},'
        f'"tls": {{"listen": "127.0.0.1:{ports["tls"]}", "cert": "{cert}", "key": "{key}"}},'
        f'"handlers": {{"socket": "{folder}/h.sock"}},'
        f'"limits": {{"head_timeout": {limit}, "body_timeout": {limit}, "message_timeout": {limit}, "min_rate": "1g"}},'
        f'"mounts": [{{"path": "/a", "dialects": "raw", "origins": "*"}}, {{"path": "/b"}}]}}', encoding="utf-8")
    return config


def main(arguments):
    build_dir = pathlib.Path(arguments[0]).resolve()
    tally, ports = Tally(), {"plain": free_port(), "tls": free_port()}
    with tempfile.TemporaryDirectory(prefix="postern-slow.") as folder:
        config = configure(folder, ports)
        gateway = subprocess.Popen([build_dir / "posternd", "--config", config])
        try:
            wait_until(lambda: os.path.exists(f"{folder}/h.sock"), 10)
            peers = [SlowPeer(ports, *row) for row in PEERS]
            waiting, until = list(peers), time.monotonic() + PATIENCE
            tally.note("others are served meanwhile", None if is_served(ports["plain"]) else "no answer")
            while waiting and time.monotonic() < until:
                time.sleep(DRIP)
                waiting = [peer for peer in waiting if not peer.step()]
            for peer in peers:
                tally.note(f"{peer.name} is cut at its deadline", peer.complaint())
        finally:
            gateway.terminate()
            code = gateway.wait(10)
        tally.note("it ends with 0", None if code == 0 else f"{code}")
    print(f"{tally.passed} passed, {tally.failed} failed")
    return 1 if tally.failed or not tally.passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

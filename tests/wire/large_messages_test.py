#!/usr/bin/env python3
"""The largest messages of the bare WebSocket mounts, there and back, and one byte or one fragment more.

    large_messages_test.py BUILD_DIR        some seconds; TAP, exit 1 when any check failed
"""
import os
import pathlib
import sys

sys.dont_write_bytecode = True

from conformance_test import Conformance
from peer import OPCODES, WEBSOCKET_KEY, Mismatch, Peer, ws_frame
from run import Tally

PATIENCE = 60
MAX_FRAGMENTS = 65537  # of one message, on every mount
# Mount, its largest message, the fragments that it comes in.
MOUNTS = (("/ws", 16 << 20, MAX_FRAGMENTS), ("/ws-small", 1 << 20, 16384))


def open_websocket(port, path):
    peer = Peer(("127.0.0.1", port), PATIENCE)
    peer.send(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
              f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {WEBSOCKET_KEY}\r\n\r\n".encode())
    answer = peer.read_head()
    if answer.status != 101:
        raise Mismatch(f"expected 101, got {answer.status}")
    return peer


def fragments(opcode, data, count):
    """`data` in `count` frames of equal size, the last one with what is over."""
    size = len(data) // count
    ends = [size * i for i in range(1, count)] + [len(data)]
    frames, begin = [], 0
    for number, end in enumerate(ends):
        frames.append(ws_frame(OPCODES["continuation"] if number else opcode, data[begin:end], end == len(data)))
        begin = end
    return b"".join(frames)


def read_message(peer, size):
    """Opcode and payload of one frame of `size` bytes. Peer.read would copy what is there at each read."""
    head = peer.read(10 if size > 65535 else 4, "the head of a large frame")
    data = bytearray(peer.take(size))
    peer.sock.settimeout(PATIENCE)
    while len(data) < size:
        got = peer.sock.recv(1 << 20)
        if not got:
            raise Mismatch(f"the connection ended after {len(data)} of {size} bytes")
        data += got
    return head[0], bytes(data)


def comes_back(port, path, kind, data, count):
    peer = open_websocket(port, path)
    peer.send(fragments(OPCODES[kind], data, count))
    first, got = read_message(peer, len(data))
    if first != 0x80 | OPCODES[kind] or got != data:
        raise Mismatch(f"another message came back: first byte 0x{first:02x}, {len(got)} bytes")
    peer.close()


def is_too_big(port, path, data, count):
    peer = open_websocket(port, path)
    frames = fragments(OPCODES["binary"], data, count)
    # Of a single frame the head is enough; and nothing that we would still send may reset the connection.
    peer.send(frames if count > 1 else frames[:14])
    kind, payload = peer.ws_read()
    if kind != "close" or payload[:2] != (1009).to_bytes(2, "big"):
        raise Mismatch(f"expected a Close with 1009, got {kind} {payload[:40]}")
    peer.close()


def checks_of(port):
    """(name, check, its arguments)"""
    for path, limit, count in MOUNTS:
        text, noise = ("å" * (limit // 2)).encode(), os.urandom(limit)
        for n in (1, count):
            yield f"{path}: {limit} bytes of text in {n} frames", comes_back, (port, path, "text", text, n)
            yield f"{path}: {limit} bytes of binary in {n} frames", comes_back, (port, path, "binary", noise, n)
            yield f"{path}: one byte more in {n} frames", is_too_big, (port, path, noise + b"x", n)
        yield f"{path}: a fragment too many", is_too_big, (port, path, bytes(MAX_FRAGMENTS + 1), MAX_FRAGMENTS + 1)


def main(arguments):
    build_dir = str(pathlib.Path(arguments[0]).resolve())
    tally = Tally()
    for workers in ("1", "3"):  # with 3 the handler's link is another worker's for some
        server = Conformance(build_dir, "--workers", workers)
        for name, check, values in checks_of(server.port):
            trouble = None
            try:
                check(*values)
            except (Mismatch, OSError) as error:
                trouble = f"{error}"
            tally.note(f"{name}, {workers} workers", trouble)
        code, _ = server.end()
        tally.note("it ends with 0", None if code == 0 and "Sanitizer" not in server.said() else server.said())
    print(f"{tally.passed} passed, {tally.failed} failed")
    return 1 if tally.failed or not tally.passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

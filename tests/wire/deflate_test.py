#!/usr/bin/env python3
"""permessage-deflate against Python's zlib: every window, takeover, fragments, bombs, many sessions at once.

    deflate_test.py BUILD_DIR        some seconds; TAP, exit 1 when any check failed
"""
import os
import pathlib
import random
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import zlib

sys.dont_write_bytecode = True

from conformance_test import Conformance, wait_until
from peer import OPCODES, WEBSOCKET_KEY, Mismatch, Peer, ws_frame
from run import Tally, free_port

PATIENCE = 20
RSV1 = 0x40
TAIL = b"\x00\x00\xff\xff"
ALL_PARAMETERS = ("server_no_context_takeover; client_no_context_takeover; server_max_window_bits={0}; "
                  "client_max_window_bits={0}")


class Deflating(Peer):
    """A WebSocket client that compresses what it sends as the server's answer allows."""

    def __init__(self, port, path, offer):
        super().__init__(("127.0.0.1", port), PATIENCE)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        lines = "".join(f"Sec-WebSocket-Extensions: {value}\r\n" for value in offer)
        self.send(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                  f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {WEBSOCKET_KEY}\r\n{lines}\r\n".encode())
        self.answer = self.read_head()
        value = self.answer.value("Sec-WebSocket-Extensions")
        words = dict((part.strip().partition("=")[::2]) for part in value.split(";"))
        self.has_deflate = "permessage-deflate" in words
        self.bits = {side: int(words.get(f"{side}_max_window_bits", 15)) for side in ("client", "server")}
        self.keeps = {side: f"{side}_no_context_takeover" not in words for side in ("client", "server")}
        self.compressor = self.decompressor = None

    def pack(self, message):
        if self.compressor is None or not self.keeps["client"]:
            self.compressor = zlib.compressobj(6, zlib.DEFLATED, -max(self.bits["client"], 9))
        data = self.compressor.compress(message) + self.compressor.flush(zlib.Z_SYNC_FLUSH)
        return data[:-4] or b"\0"

    def send_packed(self, opcode, data, cuts=(), is_end=True):
        """A compressed message in fragments that end at `cuts`."""
        ends = [0, *sorted(cuts), len(data)]
        for i in range(1, len(ends)):
            first = OPCODES["continuation"] if i > 1 else RSV1 | OPCODES[opcode]
            self.send(ws_frame(first, data[ends[i - 1]:ends[i]], fin=is_end and i == len(ends) - 1))

    def hear(self):
        """(opcode, message, was compressed)"""
        first, second = self.read(2, "a WebSocket frame")
        size = second & 0x7f
        if size == 126:
            size, = struct.unpack(">H", self.read(2, "a length"))
        elif size == 127:
            size, = struct.unpack(">Q", self.read(8, "a length"))
        payload = self.read(size, f"a payload of {size} bytes")
        is_packed = bool(first & RSV1)
        if is_packed:
            if self.decompressor is None or not self.keeps["server"]:
                self.decompressor = zlib.decompressobj(-self.bits["server"])
            payload = self.decompressor.decompress(payload + TAIL)
        return first & 15, payload, is_packed

    def hear_close(self):
        opcode, payload, _ = self.hear()
        if opcode != OPCODES["close"]:
            raise Mismatch(f"expected a Close, got opcode {opcode}")
        return struct.unpack(">H", payload[:2])[0]


def text_of(rng, size):
    words = ['{"id":', '"name":"Jürgen"', "true,", "12345", "[]", "🚀", "\n"]
    return "".join(rng.choice(words) for _ in range(size // 4 + 1)).encode()


# -- against scripts/conformance: takeover, 15 bits, no threshold -------------------------------------

OFFERS = [
    ([], None),
    (["permessage-deflate"], "permessage-deflate"),
    (["foo, permessage-deflate; bar", "permessage-deflate; server_max_window_bits=10"],
     "permessage-deflate; server_max_window_bits=10"),
    (["permessage-deflate; server_max_window_bits=10.0", "permessage-deflate; server_max_window_bits=8"], None),
    (["permessage-deflate; " + ALL_PARAMETERS.format(9)], "permessage-deflate; " + ALL_PARAMETERS.format(9)),
]


def handshakes(port, check):
    for offer, want in OFFERS:
        peer = Deflating(port, "/ws", offer)
        got = peer.answer.values("Sec-WebSocket-Extensions")
        check(f"the answer to {offer} is {want}", peer.answer.status == 101 and got == ([want] if want else []))
        peer.close()
    peer = Deflating(port, "/ws", ["permessage-deflate; =10"])
    check("what is no list by the grammar is answered 400", peer.answer.status == 400)
    peer = Deflating(port, "/echo/websocket", ["permessage-deflate"])
    check("a mount without it does without", peer.answer.status == 101 and not peer.has_deflate)


def echoes(port, check, bits, takeover):
    rng = random.Random(bits * 2 + takeover)
    offer = f"permessage-deflate; server_max_window_bits={bits}; client_max_window_bits={bits}"
    if not takeover:
        offer += "; server_no_context_takeover; client_no_context_takeover"
    peer = Deflating(port, "/ws", [offer])
    messages = [b"{" + text_of(rng, size) for size in (1, 5, 60, 300, 300, 1000, 20000, 70000, 200000)]
    messages += [b"\0" + rng.randbytes(1000), b"", b"\0" + rng.randbytes(100000), bytes(500000)]
    is_good, n_packed = True, 0
    for message in messages * 2:
        data = peer.pack(message)
        cuts = [rng.randrange(len(data) + 1) for _ in range(rng.randrange(4))]
        opcode = "text" if message[:1] == b"{" else "binary"
        peer.send_packed(opcode, data, cuts)
        got_opcode, got, is_packed = peer.hear()
        n_packed += is_packed
        is_good = is_good and got == message and got_opcode == OPCODES[opcode]
    check(f"{len(messages) * 2} messages come back with windows of {bits} bits, takeover {takeover}", is_good)
    check("most of them compressed", n_packed >= 16)
    peer.close()


def every_cut(port, check):
    peer = Deflating(port, "/ws", ["permessage-deflate"])
    message = text_of(random.Random(1), 100)
    is_good = True
    for cut in range(60):
        data = peer.pack(message + str(cut).encode())
        peer.send_packed("text", data, [min(cut, len(data))])
        is_good = is_good and peer.hear()[1] == message + str(cut).encode()
    check("a message may be cut anywhere, and the window stays", is_good)
    for name, blocks in (("final blocks", zlib.Z_FINISH), ("flushed blocks", zlib.Z_FULL_FLUSH)):
        peer = Deflating(port, "/ws", ["permessage-deflate"])
        data = b""
        for part in (b"Hello, ", b"Hello, ", b"Hello"):
            packer = zlib.compressobj(9, zlib.DEFLATED, -15)
            data += packer.compress(part) + packer.flush(blocks)
        peer.send_packed("text", data + b"\0")
        check(f"a message of {name}", peer.hear()[1] == b"Hello, Hello, Hello")
        peer.close()


FAULTS = [
    ("no DEFLATE data", "binary", b"\x07", 1007),
    ("cut short", "binary", b"\xf2\x48", 1007),
    ("bad text", "text", b"\x00\x01\x00\xfe\xff\xff\x00", 1007),
    ("garbage behind a final block", "binary", b"\xf3\x48\xcd\xc9\xc9\x07\x00\xff\xff\xff", 1007),
    ("a thousand final blocks", "binary", b"\x03\x00" * 1000, 1008),
]


def faults(port, check):
    for name, opcode, payload, want in FAULTS:
        peer = Deflating(port, "/ws", ["permessage-deflate"])
        peer.send_packed(opcode, payload)
        check(f"{name}: {want}", peer.hear_close() == want)
    peer = Deflating(port, "/ws", ["permessage-deflate"])
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = packer.compress(b"a\xff" + b"a" * 1000000) + packer.flush(zlib.Z_SYNC_FLUSH)
    peer.send_packed("text", data[:200], is_end=False)
    check("bad text ends its message long before the end: 1007", peer.hear_close() == 1007)


# -- against a gateway of its own: small budgets -------------------------------------------------------

CONFIG = """{
  "listen": "127.0.0.1:%d", "workers": 1, "log": {"level": "warn"}, "handlers": {"socket": "%s/h.sock"},
  "limits": {"deflate_memory": "2m"},
  "mounts": [{"path": "/a", "dialects": "raw", "origins": "*", "deflate": true, "deflate_takeover": true},
             {"path": "/b", "dialects": "raw", "origins": "*", "deflate": true}]
}"""


def peak_rss_kib(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])


def bomb(size):
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = b"".join(packer.compress(bytes(1 << 20)) for _ in range(size >> 20))
    return (data + packer.flush(zlib.Z_SYNC_FLUSH))[:-4]


def bombs(port, pid, check):
    data = bomb(512 << 20)
    before = peak_rss_kib(pid)
    codes = []
    for _ in range(20):
        peer = Deflating(port, "/b", ["permessage-deflate"])
        peer.send_packed("binary", data)
        codes.append(peer.hear_close())
    grown = peak_rss_kib(pid) - before
    check(f"20 bombs of {len(data) >> 10} KiB for 512 MiB are cut with 1009", codes == [1009] * 20)
    check(f"they cost little memory: {grown} KiB", grown < 6 << 10)


def gathered(port, pid, check):
    """Fragments of a kilobyte that inflate to almost the limit, and never end."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = packer.compress(bytes((1 << 20) - 1000)) + packer.flush(zlib.Z_SYNC_FLUSH)
    before = peak_rss_kib(pid)
    peers = []
    for _ in range(100):
        peers.append(Deflating(port, "/b", ["permessage-deflate"]))
        peers[-1].send_packed("binary", data, is_end=False)
    codes = [peer.hear_close() for peer in peers[1:]]
    grown = peak_rss_kib(pid) - before
    check(f"half messages that inflate have a budget: 1013 (grown {grown} KiB)",
          codes.count(1013) >= 97 and grown < 6 << 10)
    for peer in peers:
        peer.close()


def no_takeover_near_the_budget(port, check):
    peers = [Deflating(port, "/a", ["permessage-deflate; client_max_window_bits"]) for _ in range(60)]
    kept = [peer.keeps["server"] for peer in peers]
    check("windows are promised up to three quarters of the budget", 20 < sum(kept) < 50)
    check("and not beyond", kept == sorted(kept, reverse=True))
    check("everyone has compression", all(peer.has_deflate for peer in peers))
    for peer in peers:
        peer.close()
    check("when they have gone, there is room again",
          wait_until(lambda: Deflating(port, "/a", ["permessage-deflate"]).keeps["server"], 5))


def small_budgets(build_dir, check):
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        config = pathlib.Path(folder, "postern.json")
        config.write_text(CONFIG % (port, folder), encoding="utf-8")
        # AddressSanitizer would keep what is freed.
        options = os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=0:thread_local_quarantine_size_kb=0"
        child = subprocess.Popen([f"{build_dir}/posternd", "--config", str(config)],
                                 env={**os.environ, "ASAN_OPTIONS": options})

        def listens():
            with socket.socket() as sock:
                return sock.connect_ex(("127.0.0.1", port)) == 0
        try:
            check("the gateway listens", wait_until(listens, 10))
            no_takeover_near_the_budget(port, check)
            bombs(port, child.pid, check)
            gathered(port, child.pid, check)
        finally:
            child.send_signal(signal.SIGTERM)
            check("the gateway ends cleanly", child.wait(10) == 0)


def main(arguments):
    tally = Tally()

    def check(name, holds):
        tally.note(name, None if holds else "it is not so")
    server = Conformance(arguments[0])
    try:
        handshakes(server.port, check)
        for bits in range(9, 16):
            for takeover in (False, True):
                echoes(server.port, check, bits, takeover)
        every_cut(server.port, check)
        faults(server.port, check)
    finally:
        server.end()
    small_budgets(arguments[0], check)
    print(f"{tally.passed} passed, {tally.failed} failed")
    return 1 if tally.failed or not tally.passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

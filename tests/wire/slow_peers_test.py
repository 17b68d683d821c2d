#!/usr/bin/env python3
"""Peers that stall in every phase of a connection: each is cut at its deadline, costs little, and nobody else waits.

    slow_peers_test.py BUILD_DIR [--without PHASE]...
        some seconds; TAP, exit 1 when any check failed; see siege.py for its environment

The short form has 100 peers in each phase and deadlines of 2 s, the long one 500 and those of docs/CONFIG.md. All
phases stall side by side; each one's memory is measured when its peers have come. A dripping peer sends a byte a second
for as long as the gateway lets it; nobody closes a connection but the gateway.
"""
import argparse
import random
import select
import ssl
import sys
import threading
import time

sys.dont_write_bytecode = True

from hostile_test import client_hello
from run import Tally
from siege import (IS_LONG, SEED, WEBSOCKET_OPEN, Daemon, FreshClient, await_bytes, check_aftermath, connect, post,
                   raise_own_limit, receive, send, swarm, wait_until)

N_PEERS = 500 if IS_LONG else 100
SHORT_S = {"head_timeout": 2, "body_timeout": 2, "write_timeout": 2, "message_timeout": 2}
DEFAULT_S = {"head_timeout": 10, "body_timeout": 25, "write_timeout": 30, "message_timeout": 30}
TIMEOUT_S = DEFAULT_S if IS_LONG else SHORT_S
MARGIN_S = 3
DRAIN_S = 2     # CONN_DRAIN_MS: how long the gateway waits for the peer's FIN
DISCONNECT_S = 1
KIB, MIB = 1 << 10, 1 << 20
LEFT_EACH_BYTES = 128 * KIB  # what may stay resident when a peer has gone
SLACK_BYTES = 3 * MIB  # of a measurement: pools grow in steps


class SlowPeer:
    def __init__(self, sock, phase):
        self.sock = sock
        self.phase = phase
        self.began = time.monotonic()
        self.ended = None
        self.tls = None  # an open TLS session needs it alive


# -- how each phase begins: generators for a swarm that return the socket --------------------------

def silent(daemon, rng):
    return connect(daemon.port)
    yield


def header_drip(daemon, rng):
    sock = connect(daemon.port)
    send(sock, b"GET /echo/info HTTP/1.1\r\nX-Long: ")
    return sock
    yield


def body_drip(daemon, rng):
    """The session is a real one, so that the body is wanted."""
    sock, path = connect(daemon.port), f"/echo/0/{rng.getrandbits(40):x}"
    send(sock, post(path + "/xhr"))
    yield from await_bytes(sock, b"o\n")
    send(sock, f'POST {path}/xhr_send HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n["'.encode())
    return sock


def frame_drip(daemon, rng):
    sock = connect(daemon.port)
    send(sock, WEBSOCKET_OPEN)
    yield from await_bytes(sock, b"\r\n\r\n")
    send(sock, b"\x81\xfe\x03\xe8\0\0\0\0")  # the head of a message of 1,000 bytes
    return sock


def tls_silent(daemon, rng):
    return connect(daemon.tls_port)
    yield


def tls_half_hello(daemon, rng):
    sock, hello = connect(daemon.tls_port), client_hello(daemon)
    send(sock, hello[:len(hello) // 2])
    return sock
    yield


def tls_no_request(daemon, rng):
    sock = connect(daemon.tls_port)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = daemon.client_context.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
    while True:
        try:
            tls.do_handshake()
            send(sock, outgoing.read())
            return sock
        except ssl.SSLWantReadError:
            send(sock, outgoing.read())
            yield sock, 10
            incoming.write(receive(sock) or b"")


def ask_for_much(daemon, path, n_times, power):
    """From a second connection: `n_times` messages of 2^power bytes. Slowly: what the handler has to send is no part of
    the attack, and the fresh client's echo would wait behind it in the link."""
    sock = connect(daemon.port)
    for _ in range(n_times):
        send(sock, post(path + "/xhr_send", b'["%d"]' % power))
        yield from await_bytes(sock, b"\r\n\r\n")
    yield sock, 0.05
    sock.close()


def unread_poll(daemon, rng):
    """256 KiB in one answer."""
    sock, path = connect(daemon.port, is_small=True), f"/amplify/0/{rng.getrandbits(40):x}"
    send(sock, post(path + "/xhr"))
    yield from await_bytes(sock, b"o\n")
    yield from ask_for_much(daemon, path, 1, 18)
    send(sock, post(path + "/xhr"))
    return sock


def unread_stream(daemon, rng):
    """Four times 64 KiB: some in the connection, the rest in the session's queue."""
    sock, path = connect(daemon.port, is_small=True), f"/amplify/0/{rng.getrandbits(40):x}"
    send(sock, post(path + "/xhr_streaming"))
    yield from await_bytes(sock, b"o\n")
    yield from ask_for_much(daemon, path, 4, 16)
    return sock


class Phase:
    """`deadline` names the timeout that ends it, `each_bytes` is what a peer may cost."""

    def __init__(self, begin, deadline, each_bytes, drips=False, reads=True, may_last=1):
        self.begin = begin
        self.name = begin.__name__
        self.least_s = TIMEOUT_S[deadline]
        self.most_s = TIMEOUT_S[deadline] * may_last + MARGIN_S
        self.each_bytes = each_bytes
        self.drips = drips
        self.reads = reads
        self.peers = []
        self.grew_bytes = 0


def make_phases(without):
    # 500 stalled peers are to cost at most 8 MiB plain and 24 MiB with TLS. A peer that reads nothing may still let the
    # kernel take some in the first period.
    plain, tls, unread = 16 * KIB, 48 * KIB, 2 * 256 * KIB + 64 * KIB
    phases = (Phase(silent, "head_timeout", plain),
              Phase(header_drip, "head_timeout", plain, drips=True),
              Phase(body_drip, "body_timeout", plain, drips=True),
              Phase(frame_drip, "message_timeout", plain, drips=True),
              Phase(tls_silent, "head_timeout", tls),
              Phase(tls_half_hello, "head_timeout", tls),
              Phase(tls_no_request, "head_timeout", tls),
              Phase(unread_poll, "write_timeout", unread, reads=False, may_last=2),
              Phase(unread_stream, "write_timeout", unread, reads=False, may_last=2))
    return [phase for phase in phases if phase.name not in without]


# -- waiting ---------------------------------------------------------------------------------------

class Watch(threading.Thread):
    """Sees from the first peer on when the gateway ends which, and drips for those that do."""

    def __init__(self):
        super().__init__(daemon=True)
        self.epoll = select.epoll()
        self.peers = {}
        self.is_over = False

    def add(self, peer):
        self.peers[peer.sock.fileno()] = peer
        self.epoll.register(peer.sock, select.EPOLLIN if peer.phase.reads else 0)  # 0: a RST is told even so

    def look(self, seconds):
        for number, what in self.epoll.poll(seconds):
            peer = self.peers[number]
            if what & (select.EPOLLERR | select.EPOLLHUP) or receive(peer.sock) == b"":
                peer.ended = time.monotonic()
                self.epoll.unregister(peer.sock)

    def run(self):
        next_drip = time.monotonic()
        while not self.is_over:
            self.look(min(0.05, max(0, next_drip - time.monotonic())))
            if time.monotonic() >= next_drip:
                next_drip += 1
                for peer in list(self.peers.values()):
                    if peer.phase.drips:
                        send(peer.sock, b"x")

    def finish(self):
        """Waits until every peer was ended or should have been."""
        limit = max(peer.began + peer.phase.most_s for peer in self.peers.values())
        wait_until(lambda: all(peer.ended for peer in self.peers.values()), limit - time.monotonic())
        self.is_over = True
        self.join()
        self.epoll.close()


def gather(daemon, phase, watch, rng):
    """All peers of a phase come; what they cost is noted."""
    def one():
        sock = yield from phase.begin(daemon, rng)
        phase.peers.append(SlowPeer(sock, phase))
        watch.add(phase.peers[-1])

    before = daemon.memory_bytes()
    swarm((one() for _ in range(N_PEERS)), 50 if phase.reads else 5)
    if not phase.reads:
        time.sleep(0.5)  # what was asked for is still on its way
    phase.grew_bytes = daemon.memory_bytes() - before


def judge(daemon, phase, tally):
    lived = sorted(peer.ended - peer.began for peer in phase.peers if peer.ended is not None)
    n_left = N_PEERS - len(lived)
    if lived:
        good = n_left == 0 and lived[0] >= phase.least_s / 4 and lived[-1] <= phase.most_s
        tally.note(f"{phase.name}: all {N_PEERS} were cut after {lived[0]:.1f} to {lived[-1]:.1f} s",
                   None if good else f"{n_left} never; allowed is about {phase.least_s} to {phase.most_s} s")
    else:
        tally.note(f"{phase.name}: all {N_PEERS} are cut", "none was")
    most = N_PEERS * phase.each_bytes + SLACK_BYTES
    words = f"{phase.name}: they cost {phase.grew_bytes / MIB:.1f} MiB, at most {most / MIB:.1f} MiB are allowed"
    if daemon.has_sanitizer:
        print(f"# {words} without a sanitizer")
    else:
        tally.note(words, None if phase.grew_bytes <= most else "more")


def main(arguments):
    parser = argparse.ArgumentParser()
    parser.add_argument("build_dir")
    parser.add_argument("--without", action="append", default=[])
    options = parser.parse_args(arguments)
    tally, rng, phases = Tally(), random.Random(SEED), make_phases(options.without)
    raise_own_limit()
    needed = [name for name in TIMEOUT_S if name != "message_timeout" or "frame_drip" not in options.without]
    with Daemon(options.build_dir, {name: f"{TIMEOUT_S[name]}s" for name in needed}, DISCONNECT_S) as daemon:
        daemon.client_context = daemon.tls_context()
        with FreshClient(daemon) as fresh:
            began, watch = time.monotonic(), Watch()
            watch.start()
            for phase in phases:
                gather(daemon, phase, watch, rng)
            print(f"# {len(phases) * N_PEERS} peers in {time.monotonic() - began:.1f} s")
            watch.finish()
        for phase in phases:
            judge(daemon, phase, tally)
        fresh.note(tally)
        # The peers keep their side open: the gateway lets go all the same.
        check_aftermath(daemon, tally, max(DRAIN_S, DISCONNECT_S) + MARGIN_S,
                        None if daemon.has_sanitizer else N_PEERS * LEFT_EACH_BYTES + SLACK_BYTES)
    print(f"{tally.passed} passed, {tally.failed} failed")
    return 1 if tally.failed or not tally.passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

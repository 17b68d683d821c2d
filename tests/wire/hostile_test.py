#!/usr/bin/env python3
"""Noise and broken connections: random bytes in six forms, and a RST or FIN at every byte of whole conversations.

    hostile_test.py BUILD_DIR        some seconds; TAP, exit 1 when any check failed; see siege.py for its environment

Half of all connections end by RST, half by FIN; after a FIN the gateway has to end its side as well.
"""
import os
import random
import ssl
import struct
import sys
import time

sys.dont_write_bytecode = True

from run import Tally
from siege import (FORM, IS_LONG, SEED, WEBSOCKET_CLOSE, WEBSOCKET_HELLO, WEBSOCKET_OPEN, Daemon, FreshClient,
                   await_end, check_aftermath, connect, get, post, raise_own_limit, receive, reset, send, swarm)

N_RANDOM = 10000 if IS_LONG else 1000
WIDTH = 50
DISCONNECT_S = 1
GET = b"GET /echo HTTP/1.1\r\nHost: a\r\n\r\n"
REACTION_S = 0.02  # within it the gateway has seen the bytes, unless it is very busy


class Results:
    def __init__(self):
        self.n = 0
        self.stuck = []  # what was sent where the gateway kept the connection after our FIN

    def end(self, sock, is_reset, what):
        """For a swarm: our end of a connection."""
        self.n += 1
        if is_reset:
            reset(sock)
            return
        try:
            sock.shutdown(1)
        except OSError:
            sock.close()
            return
        if not (yield from await_end(sock)):
            self.stuck.append(what)
        sock.close()


# -- random bytes ----------------------------------------------------------------------------------

def random_frame(rng):
    """A WebSocket frame of which everything may be wrong; every other one is right as far as its head goes."""
    size = rng.choice((0, 1, 2, 5, 125, 126, 300))
    payload = rng.randbytes(size)
    first = rng.choice((0x81, 0x82, 0x01, 0x80, 0x88, 0x89, 0x8a)) if rng.random() < 0.5 else rng.randrange(256)
    form = rng.random()
    if form < 0.8:
        length = bytes([0x80 | size]) if size < 126 else b"\xfe" + struct.pack(">H", size)
    elif form < 0.9:
        length = b"\xfe" + rng.randbytes(2)
    else:
        length = b"\xff" + rng.randbytes(8)
    return bytes([first]) + length + rng.randbytes(4) + payload


def pure_noise(rng, _):
    return rng.randbytes(rng.randrange(1, 3000))


def request_and_noise(rng, _):
    sid = f"{rng.getrandbits(40):x}"
    request = rng.choice((
        GET, WEBSOCKET_OPEN, post(f"/echo/0/{sid}/xhr"), post(f"/echo/0/{sid}/xhr_streaming"),
        post(f"/echo/0/{sid}/xhr") + post(f"/echo/0/{sid}/xhr_send", b'["hi"]'),
        post(f"/echo/0/{sid}/xhr") + f"POST /echo/0/{sid}/xhr_send HTTP/1.1\r\nHost: a\r\n".encode()
        + b"Transfer-Encoding: chunked\r\n\r\n5\r\n",
        f"POST /echo/0/{sid}/xhr HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n".encode(),
        get(f"/echo/0/{sid}/eventsource"), get(f"/echo/0/{sid}/htmlfile?c=x"),
        get(f"/echo/0/{sid}/jsonp?c=x") + post(f"/echo/0/{sid}/jsonp_send", b"d=%5B%22hi%22%5D", FORM),
        b"OPTIONS /echo/info HTTP/1.1\r\nHost: a\r\nOrigin: http://a\r\nX: ",
    ))
    if rng.random() < 0.5:
        request = request[:rng.randrange(len(request))]
    return request + rng.randbytes(rng.randrange(2000))


def bent_request(rng, _):
    """Whole requests with a few bytes changed."""
    sid = f"{rng.getrandbits(40):x}"
    request = bytearray(rng.choice((
        post(f"/echo/0/{sid}/xhr") + post(f"/echo/0/{sid}/xhr_send", b'["a","\\u00e9"]') + GET,
        get(f"/echo/0/{sid}/jsonp?c=%78") + post(f"/echo/0/{sid}/jsonp_send", b"a=b&d=%5B%22a%2B+%22%5D", FORM))))
    for _ in range(rng.randrange(1, 5)):
        request[rng.randrange(len(request))] = rng.randrange(256)
    return bytes(request)


def websocket_and_noise(rng, _):
    return WEBSOCKET_OPEN + b"".join(random_frame(rng) for _ in range(rng.randrange(1, 12)))


def tls_and_noise(rng, hello):
    if rng.random() < 0.5:
        return hello[:rng.randrange(len(hello))] + rng.randbytes(rng.randrange(1, 1000))
    bent = bytearray(hello)
    for _ in range(rng.randrange(4)):
        bent[rng.randrange(len(bent))] = rng.randrange(256)
    return bytes(bent) + rng.choice((b"", b"\x17\x03\x03\x00\x20", b"\x15\x03\x03\x00\x02\x01\x00")) + rng.randbytes(200)


def much_to_answer(rng, _):
    """Nothing wrong, but the answers fill the connection before it is cut."""
    if rng.random() < 0.5:
        return GET * rng.randrange(50, 500)
    size = rng.randrange(1, 65536)
    return WEBSOCKET_OPEN + (b"\x82\xfe" + struct.pack(">H", size) + bytes(4 + size)) * rng.randrange(1, 5)


KINDS = (pure_noise, request_and_noise, bent_request, websocket_and_noise, tls_and_noise, much_to_answer)


def noisy_client(port, data, n_pieces, is_reset, results):
    sock = connect(port, is_small=len(data) > 8192)
    size = len(data) // n_pieces + 1
    for at in range(0, len(data), size):
        if not send(sock, data[at:at + size]):
            break
        if n_pieces > 1 and (yield sock, 0.002):
            receive(sock)
    yield from results.end(sock, is_reset, data[:200])


def random_clients(daemon, results):
    rng, hello = random.Random(SEED), client_hello(daemon)
    for i in range(N_RANDOM):
        kind = KINDS[i % len(KINDS)]
        is_tls = kind is tls_and_noise or rng.random() < 0.1
        yield noisy_client(daemon.tls_port if is_tls else daemon.port, kind(rng, hello), rng.choice((1, 1, 2, 3)),
                           i // len(KINDS) % 2 == 0, results)


# -- every byte ------------------------------------------------------------------------------------

def cut_client(port, data, how, results):
    """Sends `data`, a part of a conversation, and ends: at once, after the gateway's reaction, or by FIN."""
    sock = connect(port)
    send(sock, data)
    if how == "late":
        yield sock, REACTION_S
    yield from results.end(sock, how != "fin", data)


def plain_cuts(daemon, results):
    rng = random.Random(SEED)
    conversations = (
        lambda sid: WEBSOCKET_OPEN + WEBSOCKET_HELLO + WEBSOCKET_CLOSE,
        lambda sid: post(f"/echo/0/{sid}/xhr") + post(f"/echo/0/{sid}/xhr_send", b'["hi"]'),
        lambda sid: post(f"/echo/0/{sid}/xhr_streaming"),
        lambda sid: post(f"/echo/0/{sid}/xhr") + post(f"/echo/0/{sid}/xhr"),  # the second one waits
        lambda sid: get(f"/echo/0/{sid}/eventsource"),
        lambda sid: get(f"/echo/0/{sid}/htmlfile?c=x"),
        lambda sid: get(f"/echo/0/{sid}/jsonp?c=x") + post(f"/echo/0/{sid}/jsonp_send", b"d=%5B%22hi%22%5D", FORM),
    )
    for conversation in conversations:
        for at in range(len(conversation("0" * 10)) + 1):
            for how in ("now", "late", "fin"):
                yield cut_client(daemon.port, conversation(f"{rng.getrandbits(40):010x}")[:at], how, results)


class TlsClient:
    """The client's side of a TLS conversation as bytes: a handshake, one request, its answer."""

    def __init__(self, context):
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname="127.0.0.1")
        self.has_asked = False
        self.answer = b""

    def advance(self):
        """Goes on as far as what has come allows."""
        try:
            self.tls.do_handshake()
            if not self.has_asked:
                self.has_asked = True
                self.tls.write(GET)
            self.answer += self.tls.read(65536)
        except ssl.SSLWantReadError:
            pass


def client_hello(daemon):
    client = TlsClient(daemon.tls_context())
    client.advance()
    return client.outgoing.read()


def tls_cut_client(port, context, at, how, results, done):
    """The first `at` bytes of what a TLS client sends, at the times when it would send them."""
    sock, client, n_sent = connect(port), TlsClient(context), 0
    while True:
        client.advance()
        flight = client.outgoing.read(at - n_sent)
        n_sent += len(flight)
        if (flight and not send(sock, flight)) or n_sent == at or client.answer:
            break
        if not (yield sock, 10):
            results.stuck.append(f"no flight of the server after {n_sent} bytes")
            break
        data = receive(sock)
        if data == b"":
            break
        client.incoming.write(data or b"")
    done.append((n_sent, client.answer))
    if how == "late":
        yield sock, REACTION_S
    yield from results.end(sock, how != "fin", f"TLS cut after {at} bytes")


def tls_cuts(daemon, results, version):
    context, whole = daemon.tls_context(version), []
    swarm([tls_cut_client(daemon.tls_port, context, 1 << 20, "fin", results, whole)], 1)
    n_bytes, answer = whole[0]
    if not answer.startswith(b"HTTP/1.1 200"):
        results.stuck.append(f"{version.name}: the whole conversation gave {answer[:40]!r}")
    for at in range(n_bytes + 1):
        hows = ("now", "late", "fin") if IS_LONG else (("now", "late", "fin")[at % 3],)
        for how in hows:
            yield tls_cut_client(daemon.tls_port, context, at, how, results, [])


# -- the test --------------------------------------------------------------------------------------

def main(arguments):
    tally = Tally()
    raise_own_limit()
    print(f"# seed {SEED}; set POSTERN_SEED for another")
    with Daemon(arguments[0], disconnect_s=DISCONNECT_S) as daemon:
        groups = (("connections of random bytes", random_clients(daemon, noise := Results()), noise),
                  ("cuts of plain conversations", plain_cuts(daemon, plain := Results()), plain),
                  ("cuts of TLS 1.2", tls_cuts(daemon, old := Results(), ssl.TLSVersion.TLSv1_2), old),
                  ("cuts of TLS 1.3", tls_cuts(daemon, new := Results(), ssl.TLSVersion.TLSv1_3), new))
        with FreshClient(daemon) as fresh:
            for name, attacks, results in groups:
                began = time.monotonic()
                swarm(attacks, WIDTH)
                took = time.monotonic() - began
                trouble = f"{len(results.stuck)} not ended by the gateway, such as {results.stuck[:3]}"
                tally.note(f"{results.n} {name} in {took:.1f} s",
                           None if results.n and not results.stuck and daemon.is_alive() else trouble)
        fresh.note(tally)
        check_aftermath(daemon, tally, DISCONNECT_S + 2)
    print(f"{tally.passed} passed, {tally.failed} failed")
    return 1 if tally.failed or not tally.passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

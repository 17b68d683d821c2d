#!/usr/bin/env python3
"""The TLS listener, with the platform's own TLS client (and so OpenSSL's view of what is allowed).

    tls_test.py BUILD_DIR        some seconds; TAP, exit 1 when any check failed
"""
import os
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True

from conformance_test import Conformance
from peer import Peer
from run import Tally, free_port

PATIENCE = 10


def make_certificate(folder):
    cert, key = os.path.join(folder, "cert.pem"), os.path.join(folder, "key.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2",
                    "-out", cert, "-keyout", key], check=True, capture_output=True)
    return cert, key


class TlsPeer(Peer):
    """A Peer whose bytes are encrypted; decrypted ones that select cannot see are looked for first."""

    def __init__(self, port, context, session=None):
        super().__init__(("127.0.0.1", port), PATIENCE)
        self.sock = context.wrap_socket(self.sock, server_hostname="127.0.0.1", session=session)

    def fill(self, deadline):
        if self.sock.pending() == 0:
            return super().fill(deadline)
        self.buffer += self.sock.recv(65536)
        return True


class Server(Conformance):
    def __init__(self, build_dir, cert, key, *options):
        self.tls_port = free_port()
        self.cert = cert
        super().__init__(build_dir, "--tls-port", str(self.tls_port), "--cert", cert, "--key", key, *options)

    def context(self, version=None):
        context = ssl.create_default_context(cafile=self.cert)
        if version is not None:
            context.minimum_version = context.maximum_version = version
        return context

    def connect(self, context=None, session=None):
        return TlsPeer(self.tls_port, context or self.context(), session)


def request(peer, method, path, body=b"", fields=""):
    peer.send(f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n{fields}\r\n".encode() + body)


def answer_of(peer):
    """(status, body) of an answer with a length."""
    head = read_until(peer, b"\r\n\r\n")
    length = [int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
    body = read_exactly(peer, length[0] if length else 0)
    return int(head.split()[1]), body


def read_until(peer, mark):
    deadline = time.monotonic() + PATIENCE
    while mark not in peer.buffer:
        if not peer.fill(deadline):
            raise AssertionError(f"no {mark!r} came, but {peer.buffer[:100]!r}")
    end = peer.buffer.index(mark) + len(mark)
    taken, peer.buffer = peer.buffer[:end], peer.buffer[end:]
    return taken


def read_exactly(peer, n):
    deadline = time.monotonic() + PATIENCE
    while len(peer.buffer) < n:
        if not peer.fill(deadline):
            raise AssertionError(f"{len(peer.buffer)} of {n} bytes came")
    taken, peer.buffer = peer.buffer[:n], peer.buffer[n:]
    return taken


def versions(server, check):
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        peer = server.connect(server.context(version))
        request(peer, "GET", "/echo")
        check(f"{peer.sock.version()} is spoken", answer_of(peer) == (200, b"Welcome to SockJS!\n"))
    old = server.context(ssl.TLSVersion.TLSv1_1)
    old.set_ciphers("DEFAULT:@SECLEVEL=0")
    try:
        server.connect(old)
        check("TLS 1.1 is refused", False)
    except (ssl.SSLError, OSError):
        check("TLS 1.1 is refused", True)


def alpn(server, check):
    for offered, chosen in ((["h2", "http/1.1"], "http/1.1"), (["http/1.1"], "http/1.1"), (["h2"], None)):
        context = server.context()
        context.set_alpn_protocols(offered)
        peer = server.connect(context)
        check(f"ALPN {offered} chooses {chosen}", peer.sock.selected_alpn_protocol() == chosen)


def many_requests(server, check):
    peer = server.connect()
    one = b"GET /echo/info HTTP/1.1\r\nHost: a\r\n\r\n"
    peer.send(one * 20)  # in one record: all but the first wait inside the TLS library
    check("20 pipelined requests in one record", all(answer_of(peer)[0] == 200 for _ in range(20)))
    for _ in range(20):
        peer.send(one)
        if answer_of(peer)[0] != 200:
            check("20 requests in turn", False)
            return
    check("20 requests in turn", True)


def big_bodies(server, check):
    sender, receiver = server.connect(), server.connect()
    request(receiver, "POST", "/bench/0/tls/xhr")
    check("a poll opens", answer_of(receiver) == (200, b"o\n"))
    text = b"x" * 400000
    request(sender, "POST", "/bench/0/tls/xhr_send", b'["' + text + b'"]')
    check("a body of many records is taken", answer_of(sender)[0] == 204)
    request(receiver, "POST", "/bench/0/tls/xhr")
    check("an answer of many records comes whole", answer_of(receiver) == (200, b'a["' + text + b'"]\n'))


def websocket(server, check):
    peer = server.connect()
    peer.send(b"GET /bench/websocket HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
              b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
    check("101 over TLS", read_until(peer, b"\r\n\r\n").startswith(b"HTTP/1.1 101 "))
    size = 500000
    payload = bytes(i * 7 % 251 for i in range(size))
    # A zero key leaves the payload as it is.
    peer.send(b"\x82\xff" + struct.pack(">Q", size) + b"\0\0\0\0" + payload)
    time.sleep(0.3)  # the echo fills the socket: the gateway writes it in parts, as it is read
    check("a large echo to a slow reader", read_exactly(peer, 10 + size)[10:] == payload)
    peer.send(b"\x81\x82\0\0\0\0hi" * 1000)
    check("1,000 small ones in one write", read_exactly(peer, 4 * 1000) == b"\x81\x02hi" * 1000)
    peer.send(b"\x88\x80\0\0\0\0")
    check("the closing handshake", read_exactly(peer, 2) == b"\x88\x00")
    deadline = time.monotonic() + PATIENCE
    while peer.fill(deadline):
        pass
    check("then the end of the stream, with close_notify", peer.is_ended and peer.buffer == b"")


def hixie76(server, check):
    peer = server.connect()
    peer.send(b"GET /echo/websocket HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n"
              b"Sec-WebSocket-Key1: 4 @1  46546xW%0l 1 5\r\nSec-WebSocket-Key2: 12998 5 Y3 1  .P00\r\n\r\n")
    head = read_until(peer, b"\r\n\r\n")
    check("the WebSocket of 2010 names its URL with wss",
          b"\r\nSec-WebSocket-Location: wss://localhost/echo/websocket\r\n" in head)
    peer.send(b"^n:ds[4U\0hi\xff")
    check("and answers", read_exactly(peer, 20) == b"8jKS'y:G*Co,Wxa-\0hi\xff")


def resumption(server, check):
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = server.context(version)
        first = server.connect(context)
        request(first, "GET", "/echo")
        answer_of(first)  # a TLS 1.3 ticket comes with the first bytes
        again = server.connect(context, first.sock.session)
        request(again, "GET", "/echo")
        check(f"{version.name}: a ticket resumes", answer_of(again)[0] == 200 and again.sock.session_reused)


def client_hello(server):
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = server.context().wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


def abuse(server, check):
    hello = client_hello(server)
    for i in range(0, len(hello) + 1, 5):  # a reset in the middle of the handshake
        with socket.create_connection(("127.0.0.1", server.tls_port)) as sock:
            sock.sendall(hello[:i])
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    for noise in (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"\x16\x03\x01\xff\xff" + b"\0" * 300, os.urandom(500)):
        with socket.create_connection(("127.0.0.1", server.tls_port)) as sock:
            sock.settimeout(PATIENCE)
            try:
                sock.sendall(noise)
                while sock.recv(4096):
                    pass
            except OSError:
                pass
    split = socket.create_connection(("127.0.0.1", server.tls_port))
    for byte in hello:  # the handshake in single bytes
        split.sendall(bytes([byte]))
    split.settimeout(PATIENCE)
    check("a handshake in single bytes is answered", split.recv(1) == b"\x16")
    split.close()
    peer = server.connect()
    request(peer, "GET", "/echo")
    check("a fresh client is served after resets and noise", answer_of(peer)[0] == 200)


def bad_files(build_dir, folder, check):
    config = os.path.join(folder, "postern.json")
    empty = os.path.join(folder, "empty.pem")
    open(empty, "w").close()
    with open(config, "w") as file:
        file.write('{"tls": {"listen": ["127.0.0.1:0"], "cert": "%s", "key": "%s"}, "handlers": {"socket": "%s"}, '
                   '"mounts": [{"path": "/a"}]}' % (empty, empty, os.path.join(folder, "h.sock")))
    ran = subprocess.run([os.path.join(build_dir, "posternd"), "--config", config], capture_output=True, text=True)
    check("a bad certificate is named, and nothing starts", ran.returncode == 1 and empty in ran.stderr)


def main():
    build_dir = os.path.abspath(sys.argv[1])
    tally = Tally()

    def check(name, good):
        tally.note(name, None if good else "see the name")

    with tempfile.TemporaryDirectory(prefix="postern-tls.") as folder:
        cert, key = make_certificate(folder)
        server = Server(build_dir, cert, key)
        try:
            for test in (versions, alpn, many_requests, big_bodies, websocket, hixie76, resumption, abuse):
                try:
                    test(server, check)
                except (AssertionError, OSError) as error:
                    tally.note(test.__name__, str(error) or repr(error))
        finally:
            code, _ = server.end()
            check("it ends with 0", code == 0)
        bad_files(build_dir, folder, check)
    print(f"{tally.passed} passed, {tally.failed} failed")
    return 1 if tally.failed or not tally.passed else 0


if __name__ == "__main__":
    sys.exit(main())

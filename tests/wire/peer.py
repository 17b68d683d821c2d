"""One end of a connection for transcripts: buffered reads with a deadline, HTTP answers, WebSocket and link frames.

A Mismatch is what makes a test fail: it says what was expected and what came.
"""
import base64
import hashlib
import os
import re
import select
import socket
import struct
import time


class Mismatch(Exception):
    """The other side did not do what the transcript says."""


def shown(data, limit=400):
    """Bytes for people: printable ASCII as it is, the rest escaped, long data cut."""
    text = "".join(chr(b) if 32 <= b < 127 and b != 92 else {10: "\\n", 13: "\\r", 92: "\\\\"}.get(b, f"\\x{b:02x}")
                   for b in data[:limit])
    return text + (f"... ({len(data)} bytes)" if len(data) > limit else "")


OPCODES = {"continuation": 0, "text": 1, "binary": 2, "close": 8, "ping": 9, "pong": 10}
OPCODE_NAMES = {code: name for name, code in OPCODES.items()}
WEBSOCKET_KEY = base64.b64encode(b"postern-wire-key").decode()
WEBSOCKET_ACCEPT = base64.b64encode(hashlib.sha1(
    (WEBSOCKET_KEY + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()).decode()


def ws_frame(opcode, payload, fin=True, masked=True):
    size = len(payload)
    head = bytes([(0x80 if fin else 0) | opcode])
    bit = 0x80 if masked else 0
    if size < 126:
        head += bytes([bit | size])
    elif size < 65536:
        head += bytes([bit | 126]) + struct.pack(">H", size)
    else:
        head += bytes([bit | 127]) + struct.pack(">Q", size)
    if masked:
        mask = os.urandom(4)
        head += mask
        key = (mask * (size // 4 + 1))[:size]
        payload = (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(size, "big")
    return head + payload


class Answer:
    """The head of an HTTP answer, and its body once read."""

    def __init__(self, version, status, fields):
        self.version = version
        self.status = status
        self.fields = fields
        self.body = b""

    def values(self, name):
        return [value for field, value in self.fields if field.lower() == name.lower()]

    def value(self, name):
        return (self.values(name) or [""])[0]

    def is_chunked(self):
        return self.value("Transfer-Encoding").lower() == "chunked"


class Peer:
    """A socket with what has come and was not yet looked at."""

    def __init__(self, address, patience):
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_STREAM)
        self.sock.settimeout(patience)
        self.sock.connect(address)
        self.patience = patience
        self.buffer = b""
        self.is_ended = False

    # -- bytes -------------------------------------------------------------------------------------

    def send(self, data):
        try:
            self.sock.sendall(data)
        except OSError as error:
            raise Mismatch(f"could not send {shown(data)}: {error}") from error

    def fill(self, deadline):
        """Reads once. False at the end of the stream or the deadline."""
        if self.is_ended:
            return False
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([self.sock], [], [], left)[0]:
            return False
        try:
            data = self.sock.recv(65536)
        except ConnectionError:
            data = b""
        self.is_ended = data == b""
        self.buffer += data
        return data != b""

    def fill_until(self, enough, what):
        """Reads until enough() returns something, which is the result."""
        deadline = time.monotonic() + self.patience
        while True:
            result = enough()
            if result is not None:
                return result
            if not self.fill(deadline):
                how = "the connection ended" if self.is_ended else f"nothing more came in {self.patience:g} s"
                raise Mismatch(f"expected {what}, but {how}\n  got: {shown(self.buffer)}")

    def take(self, count):
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data

    def read(self, count, what):
        self.fill_until(lambda: True if len(self.buffer) >= count else None, what)
        return self.take(count)

    def read_line(self, end, what):
        at = self.fill_until(lambda: None if end not in self.buffer else self.buffer.index(end), what)
        return self.take(at + len(end))[:-len(end)]

    def expect_bytes(self, want):
        def compare():
            got = self.buffer[:len(want)]
            if not want.startswith(got):
                raise Mismatch(f"expected: {shown(want)}\n  got: {shown(self.buffer)}")
            return True if len(got) == len(want) else None
        self.fill_until(compare, f"the bytes {shown(want)}")
        self.take(len(want))

    def expect_regex(self, pattern):
        """The bytes from here on match; what the match took is gone."""
        regex = re.compile(pattern, re.S)
        match = self.fill_until(lambda: regex.match(self.buffer), f"bytes like {shown(pattern)}")
        self.take(match.end())
        return match

    def expect_end(self, may_say_more=False):
        deadline = time.monotonic() + self.patience
        while self.fill(deadline):
            pass
        if self.buffer and not may_say_more:
            raise Mismatch(f"expected the end of the connection\n  got: {shown(self.buffer)}")
        if not self.is_ended:
            raise Mismatch(f"expected the end of the connection; it is still open after {self.patience:g} s")

    def expect_silence(self, seconds):
        self.fill(time.monotonic() + seconds)
        if self.buffer:
            raise Mismatch(f"expected nothing for {seconds:g} s\n  got: {shown(self.buffer)}")
        if self.is_ended:
            raise Mismatch(f"expected the connection to stay open for {seconds:g} s; it ended")

    def close(self):
        self.sock.close()

    def half_close(self):
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self):
        """Ends with RST instead of FIN: a vanished peer."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    # -- HTTP --------------------------------------------------------------------------------------

    def read_head(self):
        what = "the head of an HTTP answer"
        end = self.fill_until(
            lambda: None if b"\r\n\r\n" not in self.buffer else self.buffer.index(b"\r\n\r\n"), what)
        lines = self.take(end + 4)[:-4].decode("latin-1").split("\r\n")
        match = re.fullmatch(r"(HTTP/1\.[01]) (\d{3}) .*", lines[0])
        if not match:
            raise Mismatch(f"expected {what}\n  got: {lines[0]}")
        fields = []
        for line in lines[1:]:
            name, colon, value = line.partition(":")
            if not colon or not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name):
                raise Mismatch(f"expected a header field\n  got: {line}")
            fields.append((name, value.strip()))
        return Answer(match.group(1), int(match.group(2)), fields)

    def read_chunk(self):
        """The data of one chunk; empty for the last one."""
        line = self.read_line(b"\r\n", "a chunk's size").decode("latin-1")
        if not re.fullmatch(r"[0-9a-fA-F]+", line):
            raise Mismatch(f"expected a chunk's size\n  got: {line}")
        size = int(line, 16)
        data = self.read(size, f"a chunk of {size} bytes")
        if self.read(2, "the chunk's CRLF") != b"\r\n":
            raise Mismatch("expected CRLF after the chunk's data")
        return data

    def read_body(self, answer, method):
        """The whole body, by the rules of RFC 9112 section 6.3."""
        if method == "HEAD" or answer.status in (204, 304) or answer.status < 200:
            return
        if answer.is_chunked():
            while chunk := self.read_chunk():
                answer.body += chunk
        elif answer.values("Content-Length"):
            size = int(answer.value("Content-Length"))
            answer.body = self.read(size, f"a body of {size} bytes")
        else:
            deadline = time.monotonic() + self.patience
            while self.fill(deadline):
                pass
            if not self.is_ended:
                raise Mismatch(f"expected the connection to end the body; it is open after {self.patience:g} s")
            answer.body = self.take(len(self.buffer))

    # -- WebSocket -----------------------------------------------------------------------------------

    def ws_send(self, opcode, payload, fin=True, masked=True):
        self.send(ws_frame(opcode, payload, fin, masked))

    def ws_read(self):
        """(opcode name, payload) of one frame from the server, which is never masked nor fragmented here."""
        first, second = self.read(2, "a WebSocket frame")
        size = second & 0x7f
        if size == 126:
            size, = struct.unpack(">H", self.read(2, "a frame's length"))
        elif size == 127:
            size, = struct.unpack(">Q", self.read(8, "a frame's length"))
        if second & 0x80:
            raise Mismatch("the server's frame is masked")
        if not first & 0x80 or first & 0x70:
            raise Mismatch(f"expected a whole frame without extension bits, got first byte 0x{first:02x}")
        payload = self.read(size, f"a frame's payload of {size} bytes")
        return OPCODE_NAMES.get(first & 15, f"opcode {first & 15}"), payload

    # -- the handlers' link --------------------------------------------------------------------------

    def link_send(self, words, payload):
        self.send(" ".join(words + [str(len(payload))]).encode() + b"\n" + payload + b"\n")

    def link_read(self):
        """(words without the length, payload) of one frame of the handler protocol."""
        line = self.read_line(b"\n", "a frame of the handler protocol").decode("latin-1")
        words = line.split(" ")
        if len(words) < 2 or not re.fullmatch(r"0|[1-9][0-9]*", words[-1]):
            raise Mismatch(f"expected VERB arg... LENGTH\n  got: {line}")
        payload = self.read(int(words[-1]), f"the payload of {line}")
        if self.read(1, "the LF after the payload") != b"\n":
            raise Mismatch(f"expected LF after the payload of {line}")
        return words[:-1], payload

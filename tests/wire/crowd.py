#!/usr/bin/env python3
"""Many sessions at once over every transport, each with a book of its numbered messages; one asyncio loop.

A Session opens, sends texts and hears each again from an echoing handler. Its Book raises a Fault for an echo that
came again, out of order, changed, or not at all. A Pool's keep-alive connections are shared by all sessions that get
it, so that requests of many sessions follow one another on one connection. Every wait is bounded by PATIENCE.
Run as a program it tests the Book.
"""
import asyncio
import collections
import json
import os
import random
import re
import socket
import struct
import sys
import urllib.parse

from peer import OPCODES, WEBSOCKET_ACCEPT, WEBSOCKET_KEY, shown, ws_frame

PATIENCE = 30
FILLER = "abcdefghijklmnopqrstuvwxyz" * 400


class Fault(Exception):
    """The gateway, or what stands in front of it, did not do as it should."""


class Book:
    def __init__(self, name):
        self.name = name
        self.n_sent = 0
        self.n_back = 0
        self.awaited = collections.deque()
        self.changed = asyncio.Event()

    def write(self, size):
        """The next message."""
        text = self.text(self.n_sent, size)
        self.awaited.append(self.n_sent)
        self.n_sent += 1
        return text

    def text(self, number, size):
        return f"{self.name}.{number}.{size}." + FILLER[:size]

    def take(self, text):
        match = re.match(r"([^.]+)\.(\d+)\.(\d+)\.", text)
        if not match or match[1] != self.name or text != self.text(int(match[2]), int(match[3])):
            raise Fault(f"{self.name}: a message came back changed: {text[:60]}")
        number = int(match[2])
        if self.awaited and self.awaited[0] < number:
            raise Fault(f"{self.name}: {number} came before {self.awaited[0]}, which is lost or overtaken")
        if not self.awaited or self.awaited[0] != number:
            raise Fault(f"{self.name}: {number} of {self.n_sent} came again, or after a later one")
        self.awaited.popleft()
        self.n_back += 1
        self.changed.set()

    def n_owed(self):
        return len(self.awaited)

    async def settled(self, at_most=0):
        """Waits until no more than that are owed."""
        while self.n_owed() > at_most:
            self.changed.clear()
            await self.changed.wait()


class Link:
    """One connection, and HTTP on it."""

    def __init__(self, reader, writer):
        self.reader = reader
        self.writer = writer

    @classmethod
    async def open(cls, address, context=None):
        return cls(*await asyncio.wait_for(asyncio.open_connection(*address, ssl=context, limit=1 << 20), PATIENCE))

    async def head(self):
        """(status, fields in lower case) of the next answer."""
        text = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        lines = text[:-4].split("\r\n")
        fields = dict(line.lower().split(": ", 1) for line in lines[1:])
        return int(lines[0].split(" ")[1]), fields

    async def pieces(self, fields):
        """The body as it comes."""
        if fields.get("transfer-encoding") == "chunked":
            while size := int(await self.reader.readline(), 16):
                yield (await self.reader.readexactly(size + 2))[:-2]
            await self.reader.readexactly(2)
        else:
            yield await self.reader.readexactly(int(fields.get("content-length", 0)))

    async def answer(self):
        status, fields = await self.head()
        return status, fields, b"".join([piece async for piece in self.pieces(fields)])

    def ask(self, method, path, body=b"", kind="text/plain"):
        self.writer.write(f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n"
                          f"Content-Length: {len(body)}\r\n\r\n".encode() + body)

    def close(self, with_reset=False):
        raw = self.writer.transport.get_extra_info("socket")
        if with_reset and raw.fileno() >= 0:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.writer.transport.abort()
        else:
            self.writer.close()


class Pool:
    """Idle keep-alive connections to some addresses, of which any session takes any."""

    def __init__(self, places):
        self.places = places  # (address, TLS context or None)
        self.idle = []
        self.n_opened = 0
        self.n_requests = 0

    async def take(self):
        self.n_requests += 1
        while self.idle:
            link = self.idle.pop(random.randrange(len(self.idle)))
            if not link.reader.at_eof():
                return link
            link.close()
        self.n_opened += 1
        return await Link.open(*random.choice(self.places))

    def give(self, link, fields):
        if fields.get("connection") == "close":
            link.close()
        else:
            self.idle.append(link)

    def close(self):
        while self.idle:
            self.idle.pop().close()


class Session:
    """What the transports have in common. `end` tells from a receiver that ended by itself, which is a Fault."""

    def __init__(self, name, pool):
        self.path = f"/echo/{random.randrange(1000):03d}/{name}{os.urandom(4).hex()}"
        self.pool = pool
        self.book = Book(name)
        self.opened = asyncio.get_running_loop().create_future()
        self.receiver = None
        self.link = None  # the one that receives

    async def open(self):
        self.receiver = asyncio.create_task(self.receive())
        await self.while_receiving(self.opened)

    async def while_receiving(self, awaitable):
        """Its result, unless the receiver ends first or it takes too long."""
        task = asyncio.ensure_future(awaitable)
        await asyncio.wait({task, self.receiver}, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        task.cancel()
        if not self.receiver.done():
            raise Fault(f"{self.book.name}: nothing in {PATIENCE} s; {self.book.n_owed()} of {self.book.n_sent} "
                        "messages did not come back")
        self.receiver.result()
        raise Fault(f"{self.book.name}: the receiver ended")

    async def send(self, *sizes):
        await self.while_receiving(self.write([self.book.write(size) for size in sizes]))

    async def settled(self, at_most=0):
        await self.while_receiving(self.book.settled(at_most))

    async def end(self, with_reset):
        if self.receiver is not None:
            ended_by_itself = self.receiver.done()
            self.receiver.cancel()
            outcome, = await asyncio.gather(self.receiver, return_exceptions=True)
            if self.link is not None:
                self.link.close(with_reset)
            if ended_by_itself:
                raise outcome if isinstance(outcome, Exception) else Fault(f"{self.book.name}: the receiver ended")

    def on_frame(self, frame):
        """A SockJS frame."""
        if frame[:1] == "o":
            self.opened.set_result(None)
        elif frame[:1] == "a":
            for text in json.loads(frame[1:]):
                self.book.take(text)
        elif frame[:1] != "h":
            raise Fault(f"{self.book.name}: the session was ended by {frame[:60]}")


class Polling(Session):
    METHOD, RECEIVER = "POST", "xhr"
    SENDER, TAKEN = "xhr_send", 204

    def frame_of(self, line):
        """The frame in a line of an answer, or None."""
        return line

    def ask_to_send(self, link, texts):
        link.ask("POST", f"{self.path}/{self.SENDER}", json.dumps(texts).encode())

    async def receive(self):
        line = b""
        while True:
            self.link = await self.pool.take()
            self.link.ask(self.METHOD, f"{self.path}/{self.RECEIVER}")
            status, fields = await self.link.head()
            if status != 200:
                raise Fault(f"{self.book.name}: {self.RECEIVER} was answered {status}")
            async for piece in self.link.pieces(fields):
                *lines, line = (line + piece).split(b"\n")
                for frame in map(self.frame_of, (whole.decode() for whole in lines)):
                    if frame is not None:
                        self.on_frame(frame)
            if line:
                raise Fault(f"{self.book.name}: half a frame at an answer's end")
            link, self.link = self.link, None
            self.pool.give(link, fields)

    async def write(self, texts):
        link = await self.pool.take()
        asked = {self.SENDER: self.TAKEN}
        if random.random() < 0.2:
            link.ask("GET", "/echo/info")  # pipelined in front of it
            asked = {"info": 200, **asked}
        self.ask_to_send(link, texts)
        try:
            for what, wanted in asked.items():
                status, fields, _ = await link.answer()
                if status != wanted:
                    raise Fault(f"{self.book.name}: {what} was answered {status}")
        except BaseException:
            link.close()
            raise
        self.pool.give(link, fields)


class Streaming(Polling):
    RECEIVER = "xhr_streaming"


class EventSource(Polling):
    METHOD, RECEIVER = "GET", "eventsource"

    def frame_of(self, line):
        return urllib.parse.unquote(line[6:-1]) if line.startswith("data: ") else None


class HtmlFile(Polling):
    METHOD, RECEIVER = "GET", "htmlfile?c=cb"

    def frame_of(self, line):
        return json.loads(line[2:-2]) if line.startswith("p(") else None


class Jsonp(Polling):
    METHOD, RECEIVER = "GET", "jsonp?c=_jp.a"
    SENDER, TAKEN = "jsonp_send", 200

    def frame_of(self, line):
        if not line.startswith("/**/_jp.a(") or not line.endswith(");\r"):
            raise Fault(f"{self.book.name}: not a call of its own callback: {line[:60]}")
        return json.loads(line[10:-3])

    def ask_to_send(self, link, texts):
        body = "d=" + urllib.parse.quote_plus(json.dumps(texts))
        link.ask("POST", f"{self.path}/jsonp_send", body.encode(), "application/x-www-form-urlencoded")


class SockJsWebSocket(Session):
    async def receive(self):
        self.link = await Link.open(*random.choice(self.pool.places))
        self.link.writer.write(
            f"GET {self.url()} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {WEBSOCKET_KEY}\r\n\r\n".encode())
        status, fields = await self.link.head()
        if status != 101 or fields.get("sec-websocket-accept") != WEBSOCKET_ACCEPT.lower():
            raise Fault(f"{self.book.name}: the upgrade was answered {status}")
        self.on_raised()
        while True:
            first, size = await self.link.reader.readexactly(2)
            if size >= 126:
                n_bytes = 2 if size == 126 else 8
                size = int.from_bytes(await self.link.reader.readexactly(n_bytes))
            self.on_ws_frame(first, await self.link.reader.readexactly(size))

    def on_ws_frame(self, first, payload):
        if first == 0x80 | OPCODES["text"]:
            self.on_text(payload.decode())
        elif first == 0x80 | OPCODES["ping"]:
            self.link.writer.write(ws_frame(OPCODES["pong"], payload))
        else:
            raise Fault(f"{self.book.name}: an unexpected frame 0x{first:02x} {shown(payload, 60)}")

    async def write(self, texts):
        for text in texts:
            self.link.writer.write(ws_frame(OPCODES["text"], self.wrapped(text).encode()))
        await self.link.writer.drain()

    async def end(self, with_reset):
        if self.link is not None and not self.receiver.done() and random.random() < 0.5:
            self.link.writer.write(ws_frame(OPCODES["close"], struct.pack(">H", 1000)))
        await super().end(with_reset)

    def url(self):
        return self.path + "/websocket"

    def on_raised(self):
        pass

    def on_text(self, text):
        self.on_frame(text)

    def wrapped(self, text):
        return json.dumps([text])


class RawWebSocket(SockJsWebSocket):
    def url(self):
        return "/echo/websocket"

    def on_raised(self):
        self.opened.set_result(None)

    def on_text(self, text):
        self.book.take(text)

    def wrapped(self, text):
        return text


TRANSPORTS = (Polling, Streaming, EventSource, HtmlFile, Jsonp, SockJsWebSocket, RawWebSocket)


def sanitizer_report(said):
    """The first lines of one in what a server wrote, else None."""
    match = re.search(r"^.*(Sanitizer:|runtime error:).*(\n.*){0,40}", said, re.M)
    return match and match[0]


def self_test(tally):
    def trouble(numbers, word=""):
        """What a book that sent three messages says when these come."""
        book = Book("b")
        texts = [book.write(5) for _ in range(3)]
        try:
            for number in numbers:
                book.take(texts[number] + word)
        except Fault as fault:
            return str(fault)
        return f"{book.n_owed()} owed"

    for what, got, wanted in (("all in order", trouble([0, 1, 2]), "0 owed"),
                              ("one not yet back", trouble([0, 1]), "1 owed"),
                              ("lost or overtaken", trouble([0, 2]), "before 1"),
                              ("doubled", trouble([0, 0]), "again"),
                              ("overtaken", trouble([1, 0]), "before 0"),
                              ("changed", trouble([0], word="x"), "changed")):
        tally.note(f"the book: {what}", None if wanted in got else got)
    tally.note("a report is found", None if sanitizer_report("a\nERROR: AddressSanitizer: x\nb") else "not found")
    tally.note("no report is found", sanitizer_report("info all is well"))


if __name__ == "__main__":
    from run import Tally
    counts = Tally()
    self_test(counts)
    print(f"{counts.passed} passed, {counts.failed} failed")
    sys.exit(1 if counts.failed else 0)

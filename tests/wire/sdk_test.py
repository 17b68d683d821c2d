#!/usr/bin/env python3
"""The handler libraries of the scripting languages against the real gateway.

    sdk_test.py BUILD_DIR [LANGUAGE...]        a few seconds for each; TAP, exit 1 when any check failed

A row of LIBRARIES, at the end, is one library. Its folder under handlers/ holds examples/echo, examples/chat and test/probe (what
the probe does is said in handlers/python/test/probe.py). A language that is not installed is skipped.
"""
import contextlib
import json
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

sys.dont_write_bytecode = True

from conformance_test import wait_until
from peer import WEBSOCKET_KEY, Mismatch, Peer, OPCODES
from run import ROOT, Tally, free_port

PATIENCE = 15
TEXTS = ("hi", "", "žluťoučký kůň 😀\n\0\r", "x" * 102400)
BINARIES = (b"\0", b"", bytes(range(256)), bytes(range(256)) * 400)


def expect(got, want):
    if got != want:
        raise Mismatch(f"expected {want!r:.200}\n  got: {got!r:.200}")


# --- clients --------------------------------------------------------------------------------------

class WebSocketClient(Peer):
    def __init__(self, port):
        super().__init__(("127.0.0.1", port), PATIENCE)
        self.send((f"GET /sdk/websocket HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                   f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {WEBSOCKET_KEY}\r\n\r\n").encode())
        expect(self.read_head().status, 101)

    def say(self, text):
        self.ws_send(OPCODES["text"], text.encode())

    def hear(self):
        """The next text; a close as ("close", code, reason)."""
        kind, payload = self.ws_read()
        if kind == "close":
            return kind, int.from_bytes(payload[:2], "big"), payload[2:].decode()
        expect(kind, "text")
        return payload.decode()

    def echo_binary(self, data):
        self.ws_send(OPCODES["binary"], data)
        expect(self.ws_read(), ("binary", data))


class XhrClient(Peer):
    """SockJS over long polls."""
    n_made = 0

    def __init__(self, port):
        super().__init__(("127.0.0.1", port), PATIENCE)
        XhrClient.n_made += 1
        self.path = f"/sdk/000/s{XhrClient.n_made}"
        self.heard = []
        expect(self.post("xhr"), "o\n")

    def post(self, what, body=""):
        data = body.encode()
        self.send(f"POST {self.path}/{what} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data)
        answer = self.read_head()
        self.read_body(answer, "POST")
        return answer.body.decode()

    def say(self, text):
        expect(self.post("xhr_send", json.dumps([text])), "")

    def hear(self):
        while not self.heard:
            frame = self.post("xhr")
            if frame[0] == "c":
                return ("close", *json.loads(frame[1:]))
            self.heard += json.loads(frame[1:]) if frame[0] == "a" else []
        return self.heard.pop(0)


CLIENTS = (WebSocketClient, XhrClient)


# --- the two programs in between ------------------------------------------------------------------

class Stage:
    """A gateway, and the programs of one library."""

    def __init__(self, build_dir, folder, command_of):
        self.build_dir = build_dir
        self.folder = pathlib.Path(folder)
        self.command_of = command_of
        self.path = str(self.folder / "h.sock")
        self.port = free_port()
        self.log = open(self.folder / "log", "w+", encoding="utf-8")
        self.gateway = None
        self.handlers = []
        mount = {"path": "/sdk", "origins": ["*"], "max_message": "256k", "queue_hard": "4m", "queue_soft": "2m"}
        config = {"listen": f"127.0.0.1:{self.port}", "workers": 2, "drain": "0s",
                  "handlers": {"socket": self.path}, "mounts": [mount]}
        (self.folder / "postern.json").write_text(json.dumps(config), encoding="utf-8")

    def start_gateway(self):
        command = [f"{self.build_dir}/posternd", "--config", str(self.folder / "postern.json")]
        self.gateway = subprocess.Popen(command, stdout=self.log, stderr=self.log)
        if not wait_until(self.is_listening, PATIENCE):
            raise Mismatch("the gateway did not start")

    def is_listening(self):
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def end_gateway(self):
        self.gateway.terminate()
        self.gateway.wait(PATIENCE)

    def start(self, program, path=None):
        handler = subprocess.Popen([*self.command_of(program), path or self.path], stdout=self.log, stderr=self.log)
        self.handlers.append(handler)
        return handler

    def kill(self, handler):
        handler.kill()
        handler.wait()
        self.handlers.remove(handler)

    def end(self):
        for handler in list(self.handlers):
            self.kill(handler)
        if self.gateway.poll() is None:
            self.end_gateway()

    def said(self):
        return (self.folder / "log").read_text(encoding="utf-8", errors="replace")


@contextlib.contextmanager
def relay(stage, pause_s):
    """A path that leads to the gateway's handler socket; what comes from there comes byte by byte."""
    path = stage.path + ".slow"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()

    def copy(source, sink, size):
        with contextlib.suppress(OSError):
            while data := source.recv(size):
                sink.sendall(data)
                time.sleep(pause_s if size == 1 else 0)
            sink.shutdown(socket.SHUT_WR)

    def serve():
        with listener.accept()[0] as handler, socket.socket(socket.AF_UNIX) as gateway:
            gateway.connect(stage.path)
            back = threading.Thread(target=copy, args=(handler, gateway, 65536), daemon=True)
            back.start()
            copy(gateway, handler, 1)
            back.join()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield path
    finally:
        listener.close()
        pathlib.Path(path).unlink()


# --- checks ---------------------------------------------------------------------------------------

def echo(stage):
    stage.start("examples/echo")
    for client in (make(stage.port) for make in CLIENTS):
        for text in TEXTS:
            client.say(text)
            expect(client.hear(), text)
    client = WebSocketClient(stage.port)
    for data in BINARIES:
        client.echo_binary(data)
    for number in range(300):
        client.say(str(number))
    for number in range(300):
        expect(client.hear(), str(number))


def echo_byte_by_byte(stage):
    with relay(stage, 0.0001) as path:
        stage.start("examples/echo", path)
        client = WebSocketClient(stage.port)
        for text in TEXTS[:3]:
            client.say(text)
            expect(client.hear(), text)
        client.echo_binary(BINARIES[2])


def links_again(stage):
    """The gateway goes and comes back, some time later."""
    stage.start("examples/echo")
    for wait_s in (0, 0.6):
        client = WebSocketClient(stage.port)
        client.say("before")
        expect(client.hear(), "before")
        stage.end_gateway()
        time.sleep(wait_s)
        stage.start_gateway()
    client = WebSocketClient(stage.port)
    client.say("after")
    expect(client.hear(), "after")


def hear_past_others(client, want):
    """Others may say that they are back; nobody is greeted again."""
    while (got := client.hear()).startswith("back ") and got != want:
        pass
    expect(got, want)


def chat_reaches_all(stage):
    handler = stage.start("examples/chat")
    clients = []
    for make in (WebSocketClient, XhrClient, WebSocketClient):
        clients.append(make(stage.port))
        name = clients[-1].hear()
        for client in clients[:-1]:
            expect(client.hear(), name)
        if not name.startswith("* ") or not name.endswith(" has joined"):
            raise Mismatch(f"expected a greeting\n  got: {name}")
    clients[1].say("hello, grüße")
    for client in clients:
        expect(client.hear(), "hello, grüße")
    clients.pop().ws_send(OPCODES["close"], b"\x03\xe8")
    for client in clients:
        expect(client.hear(), name.replace("joined", "left"))
    stage.kill(handler)
    stage.start("examples/chat")
    for number, client in enumerate(clients):  # each is back when it hears itself
        client.say(f"back {number}")
        hear_past_others(client, f"back {number}")
    clients[0].say("still here?")
    for client in clients:
        hear_past_others(client, "still here?")


def chat_ends_on_term(stage):
    handler = stage.start("examples/chat")
    client = WebSocketClient(stage.port)
    client.hear()
    time.sleep(0.2)  # then it waits, and has to be woken
    handler.terminate()
    expect(handler.wait(PATIENCE), 0)
    stage.handlers.remove(handler)


def kick_has_its_code(stage):
    stage.start("test/probe")
    for client in [make(stage.port) for make in CLIENTS]:
        client.say("kick")
        expect(client.hear(), ("close", 3999, "Go away!"))


def death(stage):
    """kill -9 with messages that it has not taken: the session goes on, with its state, and they come again."""
    handler = stage.start("test/probe")
    clients = [make(stage.port) for make in CLIENTS]
    for client in clients:
        client.say("keep käse")
        expect(client.hear(), "kept")
    handler.send_signal(signal.SIGSTOP)
    for client in clients:
        client.say("a")
        client.say("b")
    time.sleep(0.2)  # so that it lies in the dying handler's socket
    stage.kill(handler)
    stage.start("test/probe")
    for client in clients:
        client.say("c")
        for number, age in enumerate(("again", "again", "new")):
            expect(client.hear(), f"{number + 2} {age} käse {'abc'[number]}")


def planned_restart(stage):
    old = stage.start("test/probe")
    clients = [make(stage.port) for make in CLIENTS]
    for client in clients:
        client.say("x")
        expect(client.hear(), "1 new - x")
    stage.start("test/probe")
    time.sleep(0.5)
    old.terminate()
    expect(old.wait(PATIENCE), 0)
    stage.handlers.remove(old)
    for client in clients:
        client.say("y")
        expect(client.hear(), "2 new - y")


def more_than_a_frame(stage):
    stage.start("test/probe")
    for client in [make(stage.port) for make in CLIENTS]:
        client.say("flood")
        for letter in "abcde":
            expect(client.hear(), letter * 300000)
        client.say("x")
        expect(client.hear(), "2 new - x")


def a_failing_callback(stage):
    stage.start("test/probe")
    client = WebSocketClient(stage.port)
    client.say("fail")
    expect(client.hear(), "failing")
    client.say("x")
    expect(client.hear(), "2 new - x")


class FakeGateway:
    """A socket of ours, to see byte for byte what a handler says. Each accept() is its next link."""

    def __init__(self, stage, program):
        self.path = stage.path + ".fake"
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen()
        self.listener.settimeout(PATIENCE)
        self.handler = stage.start(program, self.path)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()

    def accept(self, said):
        link = AcceptedPeer(self.listener.accept()[0])
        expect(link.link_read()[0], ["HELLO", "1"])
        link.send(said)
        return link


class AcceptedPeer(Peer):
    def __init__(self, sock):  # pylint: disable=super-init-not-called
        sock.settimeout(PATIENCE)
        self.sock, self.patience, self.buffer, self.is_ended = sock, PATIENCE, b"", False

    def until_finished(self, number, max_frame):
        """(top level frames, all MSG payloads) up to the one that ends with the ACK, or DONE, of that delivery."""
        n_frames, messages = 0, []
        while True:
            words, payload = self.link_read()
            n_frames += 1
            if len(payload) > max_frame:
                raise Mismatch(f"{words[0]} of {len(payload)} bytes is over max_frame")
            inner = frames_of(payload) if words[0] == "BATCH" else [(words, payload)]
            messages += [payload for words, payload in inner if words[0] == "MSG"]
            if inner[-1][0][0] in ("ACK", "DONE") and int(inner[-1][0][-1].split("-")[-1]) >= number:
                return n_frames, messages


def frames_of(data):
    """The frames that a BATCH holds."""
    frames = []
    while data:
        line, _, rest = data.partition(b"\n")
        words = line.decode().split(" ")
        size = int(words.pop())
        expect(rest[size:size + 1], b"\n")
        frames.append((words, rest[:size]))
        data = rest[size + 1:]
    return frames


def the_door(stage):
    """Who comes in, and with which subprotocol."""
    with FakeGateway(stage, "test/probe") as gateway:
        for query, want in (("", (["ACCEPT", "1"], b"")), ("choose", (["ACCEPT", "1"], b"x.v2")),
                            ("reject", (["REJECT", "1", "4001"], b"Sign in first"))):
            link = gateway.accept(WELCOME)
            link.link_send(["OPEN", "1", "1"], json.dumps({"query": query}).encode())
            words, payload = link.link_read()
            expect(words, ["BATCH"])
            expect(frames_of(payload)[:-1], [want])
            link.close()


def another_thread(stage):
    """wakes the library from its wait."""
    stage.start("test/probe")
    client = WebSocketClient(stage.port)
    for text in ("a", "b"):
        client.say(f"later {text}")
        expect(client.hear(), text)


WELCOME = b'WELCOME 1 2\n{}\n'
OPEN = b'OPEN 1 1 2\n{}\n'
# What a gateway says that has lost its mind, and the code of the ERROR that it is told.
FAULTS = (
    (b"PING 0\n\n", "bad-verb"),
    (WELCOME + b"PING x\n\n", "bad-frame"),
    (WELCOME + b"PING 2\nabc\n", "bad-frame"),
    (WELCOME + b"PING 1048577\n", "bad-frame"),
    (WELCOME + b"PING 99999999999999999999\n", "bad-frame"),
    (WELCOME + b"x" * 1024, "bad-frame"),
    (WELCOME + b"LATER " + b"x" * 1024 + b" 0\n\n", "bad-frame"),
    (WELCOME + b"OPEN 1 1 1\n{\n", "bad-frame"),
    (WELCOME + b"OPEN 2 1 2\n{}\n", "bad-verb"),
    (WELCOME + OPEN + b"MSG 2 7 1 t 0\n\n", "bad-handle"),
    (WELCOME + OPEN + b"OPEN 2 1 2\n{}\n", "bad-handle"),
)


def senseless_gateways(stage):
    """Each is told what it did, and then connected to again. What is new or of no use is passed over."""
    with FakeGateway(stage, "examples/echo") as gateway:
        for said, code in FAULTS:
            link = gateway.accept(said)
            while (words := link.link_read()[0])[0] != "ERROR":
                pass
            expect((said[:60], words), (said[:60], ["ERROR", code]))
            link.expect_end()
            link.close()
        link = gateway.accept(WELCOME + b"LATER 1 2 3\na\nb\nPING 3\nx\ny\n"
                              b"PAUSE 7 0\n\nRESUME 7 0\n\nDRAIN 0\n\nPING 0\n\n")
        link.expect_bytes(b"PONG 3\nx\ny\nPONG 0\n\n")
        link.send(OPEN + b"MSG 2 1 1 t 2\nhi\n")
        expect(link.until_finished(2, 100)[1], [b"hi"])


def one_write(stage):
    """What came together is answered with one BATCH, or as many as it takes, the acknowledgement last."""
    with FakeGateway(stage, "examples/echo") as gateway:
        together = b"".join(b"MSG %d 1 %d b 1\n%c\n" % (n + 2, n + 1, n) for n in range(100))
        link = gateway.accept(WELCOME + OPEN + together)
        expect(link.until_finished(101, 1048576), (1, [bytes([n]) for n in range(100)]))
        link.expect_silence(0.1)
        link.close()
        link = gateway.accept(b'WELCOME 1 19\n{"max_frame":65536}\n' + OPEN)
        link.until_finished(1, 65536)
        sizes = (60000, 60000, 65536, 1, 65530, 100, 65480)
        for n, size in enumerate(sizes):
            link.link_send(["MSG", str(n + 2), "1", str(n + 1), "t"], b"x" * size)
        expect(link.until_finished(len(sizes) + 1, 65536)[1], [b"x" * size for size in sizes])


def what_belongs_together(stage):
    """is in one BATCH, wherever the one before it is full."""
    with FakeGateway(stage, "test/probe") as gateway:
        link = gateway.accept(b'WELCOME 1 19\n{"max_frame":65536}\n' + OPEN)
        link.until_finished(1, 65536)
        number = 1
        for size in range(65360, 65536 - 20, 4):
            link.send(b"".join(b"MSG %d 1 %d t %d\n%s\n" % (number + n, number, len(text), text)
                               for n, text in ((1, b"x" * size), (2, b"keep 1"))))
            number += 2
            words = []
            while ["STATE", "1"] not in words:
                frame, payload = link.link_read()
                words = [inner for inner, _ in frames_of(payload)] if frame == ["BATCH"] else [frame]
            expect(words[-3:-1], [["STATE", "1"], ["MSG", "1", "t"]])


def drain_is_said_once(stage):
    with FakeGateway(stage, "test/probe") as gateway:
        link = gateway.accept(WELCOME + OPEN)
        link.until_finished(1, 100)
        time.sleep(0.1)
        gateway.handler.terminate()
        link.expect_bytes(b"DRAIN 0\n\n")
        link.send(b"PING 0\n\n")
        link.expect_bytes(b"PONG 0\n\n")
        link.send(b"MOVED 2 1 0\n\n")
        expect(link.until_finished(2, 100), (1, []))
        expect(gateway.handler.wait(PATIENCE), 0)
        link.expect_end()


def answers_much_larger_than_questions(stage):
    """do not fill the memory when many questions come in one read."""
    with FakeGateway(stage, "test/probe") as gateway:
        link = gateway.accept(WELCOME + OPEN)
        link.until_finished(1, 100)
        before = peak_memory_kb(gateway.handler)
        n_questions = 400  # 1.5 MB each
        link.send(b"".join(b"MSG %d 1 %d t 5\nflood\n" % (n + 2, n + 1) for n in range(n_questions)))
        time.sleep(0.5)
        expect(len(link.until_finished(n_questions + 1, 1048576)[1]), 5 * n_questions)
        grown = peak_memory_kb(gateway.handler) - before
        if grown > 300000:  # half of it all; Ruby collects its garbage late
            raise Mismatch(f"the handler has grown by {grown} kB")


def peak_memory_kb(process):
    lines = pathlib.Path(f"/proc/{process.pid}/status").read_text(encoding="ascii").split("\n")
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def a_gateway_that_does_not_read(stage):
    """is not read either, before the memory fills; and nothing is lost."""
    with FakeGateway(stage, "examples/echo") as gateway:
        link = gateway.accept(WELCOME + OPEN)
        link.sock.settimeout(1)
        message = bytes(65536)
        n_sent = 1
        with contextlib.suppress(TimeoutError):
            while n_sent < 256:
                left = b"MSG %d 1 %d b 65536\n%s\n" % (n_sent + 1, n_sent, message)
                n_sent += 1
                while left:
                    left = left[link.sock.send(left):]
        if n_sent > 100:
            raise Mismatch(f"took {n_sent} messages of 64 KiB")
        sender = threading.Thread(target=lambda: (link.sock.settimeout(PATIENCE), link.sock.sendall(left)))
        sender.start()
        expect(link.until_finished(n_sent, 1048576)[1], [message] * (n_sent - 1))
        sender.join()


LIBRARIES = (  # language and folder, interpreter, suffix of its programs, checks of what only some can
    ("node", "node", "mjs", ()),
    ("python", "python3", "py", (another_thread, answers_much_larger_than_questions)),
    ("ruby", "ruby", "rb", (another_thread, answers_much_larger_than_questions)),
    ("php", "php", "php", ()),
    ("perl", "perl", "pl", ()),
)
CHECKS = (echo, echo_byte_by_byte, links_again, chat_reaches_all, chat_ends_on_term, kick_has_its_code, death,
          planned_restart, more_than_a_frame, a_failing_callback, the_door, senseless_gateways, one_write,
          what_belongs_together, drain_is_said_once, a_gateway_that_does_not_read)


def check(build_dir, library, what, tally):
    folder, interpreter, suffix, _ = library
    name = f"{folder}: {what.__name__.replace('_', ' ')}"
    with tempfile.TemporaryDirectory(prefix="postern-wire.") as place:
        stage = Stage(build_dir, place, lambda program: [interpreter, f"{ROOT}/handlers/{folder}/{program}.{suffix}"])
        try:
            stage.start_gateway()
            what(stage)
            tally.note(name, None)
        except (Mismatch, OSError, subprocess.TimeoutExpired) as trouble:
            tally.note(name, f"{trouble!r}\n{stage.said()[-3000:]}")
        finally:
            stage.end()
            stage.log.close()


def main(arguments):
    build_dir = str(pathlib.Path(arguments[0]).resolve())
    tally = Tally()
    for library in LIBRARIES:
        if arguments[1:] and library[0] not in arguments[1:]:
            continue
        if shutil.which(library[1]) is None:
            tally.skip(library[0], f"there is no {library[1]}")
            continue
        for what in CHECKS + library[3]:
            check(build_dir, library, what, tally)
    print(f"{tally.passed} passed, {tally.failed} failed")
    return 1 if tally.failed or not tally.passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

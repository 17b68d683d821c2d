"""Transcripts: text files of steps on named connections. tests/wire/README.md is the grammar.

parse() turns a file into tests of (line number, connection, verb, rest, details); Runner plays one test.
"""
import json
import re
import secrets
import time

from peer import OPCODES, WEBSOCKET_ACCEPT, WEBSOCKET_KEY, Mismatch, Peer, shown

METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT", "BREW")


class TranscriptError(Exception):
    """The transcript itself is wrong."""


class Step:
    """One line with the indented lines below it."""

    def __init__(self, number, connection, verb, rest):
        self.number = number
        self.connection = connection
        self.verb = verb
        self.rest = rest
        self.details = []


class Test:
    def __init__(self, name):
        self.name = name
        self.steps = []


class Transcript:
    """`options` of the server it needs, and its tests."""

    def __init__(self, name):
        self.name = name
        self.options = []
        self.tests = []


def parse(name, text):
    transcript = Transcript(name)
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if line[0] in " \t":
            if not transcript.tests or not transcript.tests[-1].steps:
                raise TranscriptError(f"{name}:{number}: an indented line needs a step above it")
            transcript.tests[-1].steps[-1].details.append((number, line.strip()))
            continue
        match = re.fullmatch(r"(?:@(\w+) )?(\S+)(?: (.*))?", line)
        if not match:
            raise TranscriptError(f"{name}:{number}: not a step: {line}")
        connection, verb, rest = match.groups()
        if verb == "server":
            transcript.options += rest.split()
        elif verb == "test":
            transcript.tests.append(Test(rest))
        elif not transcript.tests:
            raise TranscriptError(f"{name}:{number}: a step before the first 'test'")
        else:
            transcript.tests[-1].steps.append(Step(number, connection or "main", verb, rest or ""))
    return transcript


ESCAPES = {"r": "\r", "n": "\n", "t": "\t", "0": "\0", "\\": "\\"}


def unescape(text):
    """Bytes of a transcript's text: \\r \\n \\t \\0 \\\\ and \\xHH for a byte; the rest is UTF-8."""
    out = bytearray()
    for match in re.finditer(r"\\x([0-9a-fA-F]{2})|\\(.)|([^\\]+)", text, re.S):
        byte, escape, plain = match.groups()
        if byte:
            out.append(int(byte, 16))
        elif escape:
            if escape not in ESCAPES:
                raise TranscriptError(f"unknown escape \\{escape}")
            out += ESCAPES[escape].encode()
        else:
            out += plain.encode()
    return bytes(out)


class Runner:
    """Plays one test. `places`: {"http": (host, port), "unix": path or None}."""

    def __init__(self, places, patience):
        self.places = places
        self.patience = patience
        self.peers = {}
        self.methods = {}  # connection -> methods of the requests not yet answered
        self.variables = {
            "SID": secrets.token_hex(6),
            "SID2": secrets.token_hex(6),
            "HOST": "%s:%d" % places["http"],
            "KEY": WEBSOCKET_KEY,
            "ACCEPT": WEBSOCKET_ACCEPT,
        }

    def play(self, test):
        """None, or (line, why) of the first step that failed."""
        step = None
        try:
            for step in test.steps:
                self.play_step(step)
        except Mismatch as mismatch:
            return step.number, f"{step.verb} {step.rest}".rstrip() + f"\n  {mismatch}"
        except (TranscriptError, OSError) as error:
            return step.number, str(error)
        finally:
            for peer in self.peers.values():
                peer.close()
        return None

    # -- values --------------------------------------------------------------------------------------

    def expand(self, text):
        """${NAME} is a variable, ${x*100} a hundred x."""
        def value(match):
            repeated = re.fullmatch(r"(.+)\*(\d+)", match.group(1))
            if repeated:
                return repeated.group(1) * int(repeated.group(2))
            if match.group(1) not in self.variables:
                raise TranscriptError(f"no variable {match.group(1)}")
            return self.variables[match.group(1)]
        return re.sub(r"\$\{([^}]+)\}", value, text)

    def data(self, text):
        return unescape(self.expand(text))

    def compare(self, what, want, got):
        """`want` is exact text, or ~ and a regex that the whole must match; its named groups become variables."""
        if want == "~" or want.startswith("~ "):
            match = re.fullmatch(self.expand(want[2:]).encode(), got, re.S)
            if not match:
                raise Mismatch(f"expected {what} like: {want[2:]}\n  got: {shown(got)}")
            self.variables.update({name: value.decode("latin-1") for name, value in match.groupdict().items()})
        elif got != self.data(want):
            raise Mismatch(f"expected {what}: {shown(self.data(want))}\n  got: {shown(got)}")

    # -- connections -----------------------------------------------------------------------------------

    def peer(self, name):
        if name not in self.peers:
            self.peers[name] = Peer(self.places["http"], self.patience)
        return self.peers[name]

    def play_step(self, step):
        if step.verb in METHODS:
            self.do_request(step)
            return
        action = getattr(self, "do_" + ACTIONS.get(step.verb, step.verb).replace("-", "_"), None)
        if action is None:
            raise TranscriptError(f"unknown step '{step.verb}'")
        action(step)

    def do_unix(self, step):
        if not self.places["unix"]:
            raise TranscriptError("this transcript needs the handlers' socket (--socket PATH)")
        self.peers[step.connection] = Peer(self.places["unix"], self.patience)

    def do_raw_send(self, step):
        self.peer(step.connection).send(self.data(step.rest))

    def do_raw_expect(self, step):
        self.peer(step.connection).expect_bytes(self.data(step.rest))

    def do_raw_regex(self, step):
        match = self.peer(step.connection).expect_regex(self.expand(step.rest).encode())
        self.variables.update({name: value.decode("latin-1") for name, value in match.groupdict().items()})

    def do_close(self, step):
        self.peer(step.connection).close()
        del self.peers[step.connection]

    def do_half_close(self, step):
        self.peer(step.connection).half_close()

    def do_reset(self, step):
        self.peer(step.connection).reset()
        del self.peers[step.connection]

    def do_expect_close(self, step):
        """`expect-close anything`: whatever comes before the end does not matter."""
        self.peer(step.connection).expect_end(step.rest == "anything")

    def do_silence(self, step):
        self.peer(step.connection).expect_silence(float(step.rest))

    def do_sleep(self, step):
        time.sleep(float(step.rest))

    def do_set(self, step):
        name, _, value = step.rest.partition(" ")
        self.variables[name] = self.expand(value)

    # -- HTTP ------------------------------------------------------------------------------------------

    def do_request(self, step):
        """METHOD /path with indented `Name: value`, `body TEXT`, `chunked TEXT`, `version 1.0`, `no Host`."""
        fields, body, version, bare, is_chunked = [], None, "1.1", set(), False
        for _, line in step.details:
            word, _, rest = line.partition(" ")
            if word in ("body", "chunked"):
                body = (body or b"") + self.data(rest)
                is_chunked = word == "chunked"
            elif word == "version":
                version = rest
            elif word == "no":
                bare.add(rest)
            else:
                fields.append(self.data(line))
        names = {field.split(b":")[0].lower() for field in fields} | {name.lower().encode() for name in bare}
        if b"host" not in names:
            fields.insert(0, f"Host: {self.variables['HOST']}".encode())
        if is_chunked:
            fields.append(b"Transfer-Encoding: chunked")
            body = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:1], body[1:]) if part) + b"0\r\n\r\n"
        elif (body is not None or step.verb == "POST") and b"content-length" not in names:
            fields.append(b"Content-Length: %d" % len(body or b""))
        line = f"{step.verb} {self.expand(step.rest)} HTTP/{version}".encode()
        self.peer(step.connection).send(b"\r\n".join([line] + fields + [b"", b""]) + (body or b""))
        self.methods.setdefault(step.connection, []).append(step.verb)

    def do_answer(self, step):
        """HTTP STATUS with indented `Name: value`, `Name ~ regex`, `no Name`, `body TEXT`, `body ~ regex`, `stream`."""
        peer = self.peer(step.connection)
        answer = peer.read_head()
        waiting = self.methods.get(step.connection) or ["GET"]
        method = waiting.pop(0) if answer.status >= 200 else waiting[0]
        is_stream = any(line == "stream" for _, line in step.details)
        if not is_stream and answer.status != 101:
            peer.read_body(answer, method)
        if str(answer.status) not in step.rest.split("|"):
            raise Mismatch(f"expected status {step.rest}\n  got: {answer.status} {shown(answer.body)}")
        for number, line in step.details:
            try:
                self.check_answer(answer, line)
            except Mismatch as mismatch:
                raise Mismatch(f"line {number}: {mismatch}") from mismatch

    def check_answer(self, answer, line):
        word, _, rest = line.partition(" ")
        if word == "stream":
            return
        if word == "body":
            self.compare("body", rest, answer.body)
        elif word == "no":
            if answer.values(rest):
                raise Mismatch(f"expected no {rest}\n  got: {answer.values(rest)}")
        elif word == "version":
            if answer.version != "HTTP/" + rest:
                raise Mismatch(f"expected version {rest}\n  got: {answer.version}")
        elif rest.startswith("~") or word.endswith(":"):
            name = word.rstrip(":")
            values = answer.values(name)
            if len(values) != 1:
                raise Mismatch(f"expected one {name}\n  got: {values}")
            self.compare(name, rest, values[0].encode("latin-1"))
        else:
            raise TranscriptError(f"unknown check '{line}'")

    def do_chunk(self, step):
        """One chunk of a streaming answer, no more and no less."""
        self.compare("chunk", step.rest, self.peer(step.connection).read_chunk())

    def do_last_chunk(self, step):
        data = self.peer(step.connection).read_chunk()
        if data:
            raise Mismatch(f"expected the last chunk\n  got: {shown(data)}")

    # -- WebSocket ---------------------------------------------------------------------------------------

    def do_ws_open(self, step):
        """ws-open /path: the handshake, with indented fields of the request."""
        fields = "".join(self.expand(line) + "\r\n" for _, line in step.details)
        peer = self.peer(step.connection)
        peer.send((f"GET {self.expand(step.rest)} HTTP/1.1\r\nHost: {self.variables['HOST']}\r\n"
                   f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                   f"Sec-WebSocket-Key: {WEBSOCKET_KEY}\r\n{fields}\r\n").encode())
        answer = peer.read_head()
        if answer.status != 101:
            raise Mismatch(f"expected status 101\n  got: {answer.status}")
        if answer.value("Sec-WebSocket-Accept") != WEBSOCKET_ACCEPT:
            raise Mismatch(f"wrong Sec-WebSocket-Accept: {answer.values('Sec-WebSocket-Accept')}")

    def do_ws_send(self, step):
        """ws-send [first|more|last] [unmasked] KIND [PAYLOAD]; close takes CODE REASON; binary takes hex."""
        words = step.rest.split(" ")
        fin, masked, opcode = True, True, None
        while words[0] in ("first", "more", "last", "unmasked"):
            word = words.pop(0)
            if word == "unmasked":
                masked = False
            else:
                fin = word == "last"
                opcode = None if word == "first" else 0
        kind = words.pop(0)
        rest = " ".join(words)
        if kind == "binary":
            payload = bytes.fromhex(self.expand(rest))
        elif kind == "close" and rest:
            code, _, reason = rest.partition(" ")
            payload = int(code).to_bytes(2, "big") + self.data(reason)
        else:
            payload = self.data(rest)
        self.peer(step.connection).ws_send(OPCODES[kind] if opcode is None else opcode, payload, fin, masked)

    def do_ws_expect(self, step):
        """ws-expect KIND [PAYLOAD or ~ regex]; close takes CODE [REASON]."""
        want_kind, _, rest = step.rest.partition(" ")
        kind, payload = self.peer(step.connection).ws_read()
        if kind != want_kind:
            raise Mismatch(f"expected a {want_kind} frame\n  got: {kind} {shown(payload)}")
        if kind == "close":
            code = str(int.from_bytes(payload[:2], "big")) if payload else ""
            want_code, _, reason = rest.partition(" ")
            if code not in want_code.split("|"):
                raise Mismatch(f"expected close code {want_code}\n  got: {code} {shown(payload[2:])}")
            if reason:
                self.compare("close reason", reason, payload[2:])
        elif kind == "binary":
            if payload != bytes.fromhex(self.expand(rest)):
                raise Mismatch(f"expected: {rest}\n  got: {payload.hex()}")
        else:
            self.compare("payload", rest, payload)

    # -- the handlers' link ------------------------------------------------------------------------------

    def do_link_send(self, step):
        """link-send VERB arg...: the length is counted; indented `payload TEXT` or nested `frame VERB arg... : TEXT`."""
        payload = b""
        for _, line in step.details:
            word, _, rest = line.partition(" ")
            if word == "payload":
                payload += self.data(rest)
            elif word == "frame":
                words, _, inner = rest.partition(" : ")
                data = self.data(inner)
                payload += f"{self.expand(words)} {len(data)}\n".encode() + data + b"\n"
            else:
                raise TranscriptError(f"unknown detail '{line}'")
        self.peer(step.connection).link_send(self.expand(step.rest).split(" "), payload)

    def do_link_expect(self, step):
        """link-expect VERB arg...: `*` is any one word; indented `payload TEXT`, `payload ~ regex`, `json KEY VALUE`."""
        words, payload = self.peer(step.connection).link_read()
        want = self.expand(step.rest).split(" ")
        if len(words) != len(want) or any(w not in ("*", g) for w, g in zip(want, words)):
            raise Mismatch(f"expected: {step.rest}\n  got: {' '.join(words)} {shown(payload)}")
        for _, line in step.details:
            word, _, rest = line.partition(" ")
            if word == "payload":
                self.compare("payload", rest, payload)
            elif word == "json":
                key, _, value = rest.partition(" ")
                got = json.loads(payload)
                if got.get(key) != json.loads(self.expand(value)):
                    raise Mismatch(f"expected {key} to be {value}\n  got: {shown(payload)}")
            else:
                raise TranscriptError(f"unknown detail '{line}'")


# Signs, and words that are no names for a method.
ACTIONS = {">": "raw_send", "<": "raw_expect", "<~": "raw_regex", "HTTP": "answer"}

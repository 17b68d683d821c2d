"""postern: the Python handler library, one file without packages (Python 3.9 or later). Wire: handlers/PROTOCOL.md.

    class Echo(postern.Handler):
        def on_message(self, session, data):
            session.send(data)

    Echo("/run/postern/handlers.sock").run()

One thread does all: it reads what has come, calls the on_... methods in order, and writes all that they have sent, to
whichever session, with the acknowledgement in one BATCH: both take effect or neither. So a method that takes long holds
up all sessions. Sessions belong to the thread of run(); from another one say handler.call(session.send, "news"). Only
call(), stop() and drain() may be used in any thread, and in signal handlers too.

When the link ends its sessions are forgotten here (they live on at the gateway and come back with on_open and
`resumed`), and run() connects again after 50 ms to 1 s, for ever. Above 1 MiB that the gateway has not taken nothing
more is read and nothing called.
"""
import base64
import collections
import json
import re
import selectors
import socket
import sys
import time
import traceback

LINE_MAX_BYTES = 1024
REASON_MAX_BYTES = 123
STATE_MAX_BYTES = 4096
ACK_BYTES = 32  # more than an ACK frame, kept free in every batch
READ_BYTES = 256 * 1024
UNSENT_PAUSE_BYTES = 1024 * 1024
RETRY_FIRST_S, RETRY_MAX_S = 0.05, 1.0
WELCOME_TIMEOUT_S = 10.0
LAST_WORDS_TIMEOUT_S = 1.0
TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]*")


def frame(head, payload=b""):
    return b"%s %d\n%s\n" % (head.encode(), len(payload), payload)


class LinkEnded(Exception):
    """Why there is no link any more; with a code where the gateway is told, too."""

    def __init__(self, why, code=None):
        super().__init__(why)
        self.code = code


class Reader:
    """Cuts what a socket delivers into frames, however it is split."""

    def __init__(self, max_frame):
        self.max_frame = max_frame
        self._buffer, self._at = bytearray(), 0
        self._need = 1  # a large frame is looked at again when it is whole

    def feed(self, chunk):
        del self._buffer[:self._at]
        self._at = 0
        self._buffer += chunk

    def next(self):
        """(words without the length, payload) of the next frame, None until it is whole."""
        data, at = self._buffer, self._at
        if len(data) - at < self._need:
            return None
        lf = data.find(b"\n", at, at + LINE_MAX_BYTES)
        if lf < 0 and len(data) - at >= LINE_MAX_BYTES:
            raise LinkEnded("a frame's first line is too long", "bad-frame")
        if lf < 0:
            return None
        *words, digits = data[at:lf].decode("latin-1").split(" ")
        if not words or not digits.isdecimal() or len(digits) > 15 or int(digits) > self.max_frame:
            raise LinkEnded("a frame's length is missing or over max_frame", "bad-frame")
        end = lf + 1 + int(digits)
        if end >= len(data):
            self._need = end + 1 - at
            return None
        if data[end] != 10:
            raise LinkEnded("a payload is not followed by a line feed", "bad-frame")
        self._at, self._need = end + 1, 1
        return words, bytes(data[lf + 1:end])


class Session:
    """One client, as seen over one link. Attributes of your own may be set on it. What sends returns False when the
    session has ended, and raises ValueError on what the protocol does not allow."""

    def __init__(self, link, handle, info):
        self._link, self._handle, self._is_decided = link, handle, False
        for name in ("id", "mount", "path", "query", "dialect", "transport", "remote", "origin", "subprotocol"):
            setattr(self, name, info.get(name, ""))
        self.headers = info.get("headers", {})
        self.subprotocols = info.get("subprotocols", [])
        self.resumed = info.get("resumed", False)
        self.saved_state = base64.b64decode(info["state"]) if "state" in info else None  # what state() left, elsewhere
        self.sequence = 0  # of the message being delivered: the same on every link
        self.is_again = False  # of that message: a link that had it before has died with it
        self.is_open = True
        self.is_paused = False

    def send(self, data):
        """One message: a str is text, bytes are binary."""
        payload = data.encode() if isinstance(data, str) else bytes(memoryview(data))
        if len(payload) > self._link.reader.max_frame:
            raise ValueError(f"a message is larger than max_frame ({self._link.reader.max_frame})")
        return self._put(f"MSG {self._handle} {'t' if isinstance(data, str) else 'b'}", payload)

    def kick(self, code=1000, reason=""):
        """Ends the client's session; no on_message follows, but on_close does."""
        return self._end("KICK", code, reason)

    def reject(self, code=3000, reason=""):
        """Turns a waiting client away."""
        return self._end("REJECT", code, reason)

    def accept(self, subprotocol=""):
        """Lets a waiting client in; `subprotocol` is one that it offered, else the gateway turns it away."""
        if not TOKEN.fullmatch(subprotocol):
            raise ValueError("a subprotocol is a token of HTTP")
        if self._is_decided:
            return False
        self._is_decided = True
        return self._put(f"ACCEPT {self._handle}", subprotocol.encode())

    def state(self, data):
        """Leaves up to 4,096 bytes with the gateway for whichever handler takes the session over."""
        payload = data.encode() if isinstance(data, str) else bytes(memoryview(data))
        if len(payload) > STATE_MAX_BYTES:
            raise ValueError("a state has at most 4096 bytes")
        return self._put(f"STATE {self._handle}", payload)

    def _end(self, verb, code, reason):
        if code != 1000 and not 3000 <= code <= 4999:
            raise ValueError("a close code is 1000 or 3000 to 4999")
        if len(reason.encode()) > REASON_MAX_BYTES:
            raise ValueError("a reason has at most 123 bytes")
        is_put = self._put(f"{verb} {self._handle} {code:d}", reason.encode())
        self.is_open, self._is_decided = False, True
        return is_put

    def _put(self, head, payload):
        if self.is_open:
            self._link.unit.append(frame(head, payload))
        return self.is_open


class Link:
    """One connection to the gateway: handles and delivery numbers die with it."""

    def __init__(self, handler):
        self.handler = handler
        self.reader = Reader(handler.options["max_frame"])
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.setblocking(False)
        self.sessions = {}  # by handle
        self.is_up = self.has_drained = False
        self.n_taken = self.n_finished = self.n_acked = 0  # numbers of deliveries
        self.unit = []  # frames of the callback that is running
        self.batch, self.batch_bytes = [], 0  # frames of those before it
        self.unsent = bytearray()

    # -- what is sent --------------------------------------------------------------------------------

    def finish(self, number):
        """Adds the unit to the batch, whole where it fits. One too large for a batch spreads over several, and its
        number is acknowledged in the last."""
        room = self.reader.max_frame - ACK_BYTES
        if self.batch_bytes + sum(map(len, self.unit)) > room:
            self.close_batch()
        for one in self.unit:
            if self.batch_bytes + len(one) > room:
                self.close_batch()
            if len(one) > room:
                self.unsent += one
            else:
                self.batch.append(one)
                self.batch_bytes += len(one)
        self.unit = []
        self.n_finished = number

    def close_batch(self):
        if self.n_finished > self.n_acked:
            self.batch.append(frame(f"ACK {self.n_finished}"))
            self.n_acked = self.n_finished
        if self.batch:
            self.unsent += self.batch[0] if len(self.batch) == 1 else frame("BATCH", b"".join(self.batch))
        self.batch, self.batch_bytes = [], 0

    def flush(self):
        self.finish(self.n_finished)  # what was sent outside of deliveries
        self.close_batch()
        if self.handler._is_draining and self.is_up and not self.has_drained:
            self.has_drained = True
            self.unsent += frame("DRAIN")
        if self.unsent:
            try:
                del self.unsent[:self.socket.send(self.unsent)]
            except BlockingIOError:
                pass

    # -- what comes ----------------------------------------------------------------------------------

    def take(self, words, payload):
        verb, *args = words
        if not self.is_up and verb not in ("WELCOME", "ERROR"):
            raise LinkEnded("the first frame is not WELCOME", "bad-verb")
        if verb in ("OPEN", "MSG", "CLOSE", "MOVED"):
            self.take_delivery(verb, int(args[0]), int(args[1]), args[2:], payload)
        elif verb == "WELCOME":
            self.is_up = True
            self.reader.max_frame = min(self.reader.max_frame, json.loads(payload).get("max_frame", sys.maxsize))
            self.handler._tell(self.handler.on_link)
        elif verb == "PING":
            self.unsent += frame("PONG", payload)
        elif verb in ("PAUSE", "RESUME") and int(args[0]) in self.sessions:
            session = self.sessions[int(args[0])]
            session.is_paused = verb == "PAUSE"
            self.handler._tell(self.handler.on_pause if session.is_paused else self.handler.on_resume, session)
        elif verb == "DRAIN":
            self.handler._tell(self.handler.on_drain)
        elif verb == "ERROR":
            raise LinkEnded(f"the gateway says {' '.join(args)}: {payload.decode(errors='replace')}")
        # else: a later version's verb

    def take_delivery(self, verb, number, handle, args, payload):
        if number != self.n_taken + 1:
            raise LinkEnded("a delivery's number does not follow the one before", "bad-verb")
        if (verb == "OPEN") == (handle in self.sessions):
            raise LinkEnded("OPEN for a handle in use, or a delivery for one that is not open", "bad-handle")
        self.n_taken = number
        tell, handler = self.handler._tell, self.handler
        if verb == "OPEN":
            session = self.sessions[handle] = Session(self, handle, json.loads(payload))
            tell(handler.on_open, session)
            if handler.options["auto_accept"]:
                session.accept()
        elif verb == "MSG":
            session = self.sessions[handle]
            session.sequence, session.is_again = int(args[0]), args[2:] == ["again"]
            if session.is_open:
                tell(handler.on_message, session, payload.decode() if args[1] == "t" else payload)
        elif verb == "CLOSE":
            session = self.sessions.pop(handle)
            session.is_open = False
            tell(handler.on_close, session, int(args[0]), payload.decode(errors="replace"))
        else:
            session = self.sessions[handle]
            tell(handler.on_moved, session)  # has the last word: what it sends or leaves as state still counts
            session.is_open = False
            del self.sessions[handle]
        self.finish(number)

    # -- turns ---------------------------------------------------------------------------------------

    def serve(self):
        """One turn after the other, until LinkEnded or OSError."""
        options = {key: value for key, value in self.handler.options.items() if value is not None}
        del options["auto_accept"]
        self.socket.connect(self.handler.path)
        self.unsent += frame("HELLO 1", json.dumps({**options, "features": ["batch"]}).encode())
        deadline = time.monotonic() + WELCOME_TIMEOUT_S
        while True:
            is_behind = self.work()
            self.flush()
            if self.handler._is_stopped:
                raise LinkEnded("stopped")
            has_room = len(self.unsent) <= UNSENT_PAUSE_BYTES
            wanted = (selectors.EVENT_READ if has_room and not is_behind else 0) | (
                selectors.EVENT_WRITE if self.unsent else 0)
            is_due = has_room and bool(is_behind or self.handler._calls)
            left = 0 if is_due else None if self.is_up else max(deadline - time.monotonic(), 0)
            if self.handler._wait(left, self.socket, wanted) & selectors.EVENT_READ:
                self.read()
            elif left == 0 and not is_due:
                raise LinkEnded("no WELCOME")

    def work(self):
        """Does what there is to do while what is unsent leaves room. True: there is more."""
        try:
            while len(self.unsent) <= UNSENT_PAUSE_BYTES:
                found = self.reader.next()
                if found is None:
                    self.handler._run_calls()
                    return False
                self.take(*found)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise LinkEnded(f"a frame of the gateway does not keep to the protocol: {error!r}", "bad-frame") from error
        return True

    def read(self):
        try:
            chunk = self.socket.recv(READ_BYTES)
        except BlockingIOError:
            return
        if not chunk:
            raise LinkEnded("the gateway has closed the link")
        self.reader.feed(chunk)

    def end(self, error):
        """Says why where the gateway is at fault, sends what has finished, and forgets the sessions."""
        for session in self.sessions.values():
            session.is_open = False
        self.sessions.clear()
        try:
            if isinstance(error, LinkEnded):
                self.close_batch()
                self.unsent += frame(f"ERROR {error.code}", str(error).encode()) if error.code else b""
                self.socket.settimeout(LAST_WORDS_TIMEOUT_S)
                self.socket.sendall(self.unsent)
        except OSError:
            pass  # the gateway is gone
        self.socket.close()


class Handler:
    """Connects to the gateway, and again whenever the link ends, until stop(). Override what you need of on_..."""

    def __init__(self, path, app="app", client="python/0.1", mounts=None, token=None, max_frame=1048576,
                 auto_accept=True):
        self.path = path  # of the gateway's handler socket
        self.options = {"app": app, "client": client, "mounts": mounts, "token": token, "max_frame": max_frame,
                        "auto_accept": auto_accept}
        self._link = None
        self._is_stopped = self._is_draining = False
        self._calls = collections.deque()
        self._alarm, self._bell = socket.socketpair()  # what is written to the one wakes the loop by the other
        self._alarm.setblocking(False)
        self._bell.setblocking(False)

    def on_open(self, session): """A session begins, or goes on here: session.resumed."""
    def on_message(self, session, data): """A str or bytes; session.sequence and .is_again belong to it."""
    def on_close(self, session, code, reason): """It has ended."""
    def on_moved(self, session): """It goes on at another handler; only after drain()."""
    def on_pause(self, session): """The client takes less than is sent."""
    def on_resume(self, session): """It can take more again."""
    def on_link(self): """The gateway has said WELCOME."""
    def on_unlink(self, why): """The link has ended, or could not be had."""
    def on_drain(self): """The gateway is about to end."""

    def on_error(self, error, session):
        """A method has failed. Its delivery counts as finished, for it would only fail again."""
        traceback.print_exception(type(error), error, error.__traceback__)

    @property
    def sessions(self):
        """Those that are open now."""
        return [session for session in self._link.sessions.values() if session.is_open] if self._link else []

    def run(self):
        """Serves until stop()."""
        delay = RETRY_FIRST_S
        with selectors.PollSelector() as self._selector:
            self._selector.register(self._bell, selectors.EVENT_READ)
            while not self._is_stopped:
                delay = RETRY_FIRST_S if self._run_link() else min(delay * 2, RETRY_MAX_S)
                again_at = time.monotonic() + delay
                while not self._is_stopped and time.monotonic() < again_at:
                    self._wait(max(again_at - time.monotonic(), 0))
                    self._run_calls()
        self._is_stopped = self._is_draining = False

    def stop(self):
        """Ends run() once what has finished is sent. The sessions live on at the gateway."""
        self._is_stopped = True
        self._wake()

    def drain(self):
        """Before a planned end: no new sessions come, and those that are here go on at another handler where there is
        one, each when it has nothing in flight (on_moved). Also on later links, until stop()."""
        self._is_draining = True
        self._wake()

    def call(self, function, *args):
        """Runs it in the thread of run(), soon."""
        self._calls.append((function, args))
        self._wake()

    def _wake(self):
        try:
            self._alarm.send(b"!")
        except BlockingIOError:
            pass  # it is awake as it is

    def _run_link(self):
        """True: the gateway had said WELCOME."""
        link = self._link = Link(self)
        error = None
        try:
            link.serve()
        except (LinkEnded, OSError) as ended:
            error = ended
        finally:
            self._link = None
            link.end(error)
        self._tell(self.on_unlink, str(error))
        return link.is_up

    def _wait(self, seconds, sock=None, wanted=0):
        """What the socket is ready for, 0 after so many seconds or when woken."""
        ready = 0
        if wanted:
            self._selector.register(sock, wanted)
        for key, events in self._selector.select(seconds):
            if key.fileobj is self._bell:
                self._bell.recv(4096)
            else:
                ready = events
        if wanted:
            self._selector.unregister(sock)
        return ready

    def _run_calls(self):
        for _ in range(len(self._calls)):
            function, args = self._calls.popleft()
            self._tell(function, *args)

    def _tell(self, function, *args):
        try:
            function(*args)
        except Exception as error:  # whatever it was, the others must not suffer
            session = args[0] if args and isinstance(args[0], Session) else None
            if function != self.on_error:
                self._tell(self.on_error, error, session)

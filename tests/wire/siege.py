"""What the attack tests share: a daemon with limits of its own, its figures from /proc, a fresh client that is timed in
a process of its own, and a swarm of connections on one thread.

Environment: POSTERN_LONG=1 the long forms, POSTERN_SEED the numbers of the random attacks, POSTERN_WORKERS how many
threads the daemon gets. Clients come from all of 127.0.0.0/24, so that neither the kernel's ports nor a limit for each
address ends an attack early.

    siege.py PORT       the fresh client: runs until stdin ends, then prints its figures as JSON
"""
import contextlib
import heapq
import itertools
import json
import os
import pathlib
import resource
import select
import selectors
import shutil
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True

from peer import WEBSOCKET_KEY, Mismatch, Peer
from run import free_port

IS_LONG = os.environ.get("POSTERN_LONG", "") not in ("", "0")
SEED = int(os.environ.get("POSTERN_SEED", "1"))
WORKERS = int(os.environ.get("POSTERN_WORKERS", "1"))
PATIENCE = 10
MOST_LATENCY_MS = 5000  # for machines that do much else; the aim is 50 on a calm one
IP_BIND_ADDRESS_NO_PORT = 24  # not in Python's socket module
SANITIZER_WORDS = ("ERROR: AddressSanitizer", "ERROR: LeakSanitizer", "WARNING: ThreadSanitizer", "runtime error:")
WEBSOCKET_OPEN = (f"GET /echo/websocket HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                  f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {WEBSOCKET_KEY}\r\n\r\n").encode()
WEBSOCKET_HELLO = b"\x81\x82\0\0\0\0hi"  # a zero key leaves the payload as it is
WEBSOCKET_CLOSE = b"\x88\x80\0\0\0\0"


def post(path, body=b"", fields=""):
    return f"POST {path} HTTP/1.1\r\nHost: a\r\n{fields}Content-Length: {len(body)}\r\n\r\n".encode() + body


def get(path):
    return f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode()


FORM = "Content-Type: application/x-www-form-urlencoded\r\n"


def raise_own_limit():
    """A client of thousands of connections needs as many descriptors as it may have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


# -- connections -----------------------------------------------------------------------------------

sources = itertools.cycle([f"127.0.0.{n}" for n in range(2, 252)])


def connect(port, is_small=False):
    """A non-blocking connection. `is_small`: as little room as the kernel allows, so that a peer that does not read
    blocks the gateway soon; on the loopback it would take megabytes else."""
    sock = socket.socket()
    if is_small:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
    sock.setsockopt(socket.SOL_IP, IP_BIND_ADDRESS_NO_PORT, 1)
    sock.bind((next(sources), 0))
    sock.settimeout(PATIENCE)
    sock.connect(("127.0.0.1", port))
    sock.setblocking(False)
    return sock


def send(sock, data):
    """False when the gateway has ended the connection, or takes no more."""
    try:
        return sock.send(data) == len(data)
    except OSError:
        return False


def receive(sock):
    """What is there; b"" at the end of the stream, by FIN or RST."""
    try:
        return sock.recv(65536)
    except BlockingIOError:
        return None
    except OSError:
        return b""


def reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def await_end(sock, seconds=PATIENCE):
    """For a swarm: reads to the end of the stream. False when there is none within `seconds`."""
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        if (yield sock, left) and receive(sock) == b"":
            return True
    return False


def await_bytes(sock, mark):
    """For a swarm: reads until `mark` has come. False when the stream ends or stays silent before."""
    got = b""
    while mark not in got:
        data = receive(sock) if (yield sock, PATIENCE) else b""
        if data == b"":
            return False
        got += data or b""
    return True


def swarm(attacks, width):
    """Runs generators, `width` at a time. Each yields (socket, seconds) and gets back whether the socket became
    readable in that time. A generator that raises OSError (its connection was cut) is over."""
    attacks, selector, timers, n_alive, ticket = iter(attacks), selectors.DefaultSelector(), [], 0, itertools.count()
    is_over = False

    def step(attack, value):
        nonlocal n_alive
        try:
            sock, seconds = attack.send(value)
        except (StopIteration, OSError):
            n_alive -= 1
            return
        entry = [attack, sock]
        selector.register(sock, selectors.EVENT_READ, entry)
        heapq.heappush(timers, (time.monotonic() + seconds, next(ticket), entry))

    def wake(entry, value):
        attack, sock = entry
        entry[0] = None
        selector.unregister(sock)
        step(attack, value)

    while not is_over or n_alive:
        while not is_over and n_alive < width:
            attack = next(attacks, None)
            is_over = attack is None
            if not is_over:
                n_alive += 1
                step(attack, None)
        while timers and timers[0][2][0] is None:
            heapq.heappop(timers)
        if not timers:
            continue
        for key, _ in selector.select(max(0, timers[0][0] - time.monotonic())):
            wake(key.data, True)
        while timers and (timers[0][2][0] is None or timers[0][0] <= time.monotonic()):
            entry = heapq.heappop(timers)[2]
            if entry[0] is not None:
                wake(entry, False)
    selector.close()


# -- the daemon ------------------------------------------------------------------------------------

def make_certificate(folder):
    cert, key = os.path.join(folder, "cert.pem"), os.path.join(folder, "key.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2",
                    "-out", cert, "-keyout", key], check=True, capture_output=True)
    return cert, key


def wait_until(condition, seconds):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


class Daemon:
    """posternd with the conformance handler behind it. `disconnect_s` is the mounts' disconnect delay; `limits` are
    keys of the config's "limits"; with `descriptors` it may open no more than so many."""

    def __init__(self, build_dir, limits=None, disconnect_s=1, descriptors=None):
        self.build_dir = pathlib.Path(build_dir).resolve()
        self.disconnect_s = disconnect_s
        self.folder = tempfile.mkdtemp(prefix="postern-siege.")
        self.path = os.path.join(self.folder, "h.sock")
        self.port, self.tls_port = free_port(), free_port()
        self.cert, key = make_certificate(self.folder)
        common = {"origins": ["*"], "disconnect_delay": f"{disconnect_s}s", "response_limit": "64m"}
        config = {
            "listen": f"127.0.0.1:{self.port}", "workers": WORKERS, "drain": "0s", "log": {"level": "warn"},
            "tls": {"listen": f"127.0.0.1:{self.tls_port}", "cert": self.cert, "key": key},
            "handlers": {"socket": self.path}, "limits": limits or {},
            "mounts": [{"path": "/echo", **common}, {"path": "/amplify", **common}],
        }
        config_path = os.path.join(self.folder, "postern.json")
        pathlib.Path(config_path).write_text(json.dumps(config), encoding="utf-8")

        def limit():
            if descriptors is not None:
                resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))

        self.handler = None
        with open(os.path.join(self.folder, "log"), "w", encoding="utf-8") as log:
            self.gateway = subprocess.Popen([self.build_dir / "posternd", "--config", config_path], stderr=log,
                                            preexec_fn=limit)
        if not wait_until(lambda: os.path.exists(self.path) or not self.is_alive(), PATIENCE):
            raise RuntimeError("no handlers' socket")
        self.restart_handler()
        if not wait_until(lambda: not self.is_alive() or echo_round(self.port) is None, PATIENCE):
            raise RuntimeError("the daemon does not serve:\n" + self.said())
        time.sleep(0.1)
        self.base_descriptors, self.base_bytes = self.n_descriptors(), self.memory_bytes()
        self.has_sanitizer = "POSTERN_SANITIZE:STRING=\n" not in (self.build_dir / "CMakeCache.txt").read_text()

    def restart_handler(self):
        self.end_handler()
        self.handler = subprocess.Popen([self.build_dir / "conformance-handler", self.path], stdout=subprocess.DEVNULL)

    def end_handler(self):
        if self.handler is not None:
            self.handler.kill()
            self.handler.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.gateway.kill()
        self.gateway.wait()
        self.end_handler()
        shutil.rmtree(self.folder)

    def is_alive(self):
        return self.gateway.poll() is None

    def n_descriptors(self):
        return len(os.listdir(f"/proc/{self.gateway.pid}/fd"))

    def memory_bytes(self):
        """What is resident."""
        return int(pathlib.Path(f"/proc/{self.gateway.pid}/statm").read_text().split()[1]) * resource.getpagesize()

    def peak_bytes(self):
        """The most that has ever been resident."""
        status = pathlib.Path(f"/proc/{self.gateway.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) << 10

    def cpu_s(self):
        words = pathlib.Path(f"/proc/{self.gateway.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    def said(self):
        return pathlib.Path(self.folder, "log").read_text(encoding="utf-8", errors="replace")

    def complaint(self):
        """The sanitizers' words, None when there are none."""
        said = self.said()
        return said[-4000:] if any(word in said for word in SANITIZER_WORDS) else None

    def count_sessions(self):
        """How many sessions live. Their handler is ended, so that they are offered to this link instead; one session
        of our own is the proof that the offers come. The daemon has no handler afterwards."""
        own = connect(self.port)
        own.settimeout(PATIENCE)
        own.sendall(WEBSOCKET_OPEN + WEBSOCKET_HELLO)
        wait_until(lambda: (receive(own) or b"").endswith(b"hi"), PATIENCE)
        self.end_handler()
        link, n = Peer(self.path, 1), 0
        link.link_send(["HELLO", "1"], b"{}")
        with contextlib.suppress(Mismatch):  # nothing for a second: that was all
            while True:
                n += link.link_read()[0][0] == "OPEN"
        own.close()
        link.close()
        if n == 0:
            raise RuntimeError("not even a session of our own was offered")
        return n - 1

    def end(self):
        """The daemon's exit code after SIGTERM."""
        self.gateway.terminate()
        try:
            return self.gateway.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            return "none within 10 s"

    def tls_context(self, version=None):
        context = ssl.create_default_context(cafile=self.cert)
        if version is not None:
            context.minimum_version = context.maximum_version = version
        return context


def check_aftermath(daemon, tally, seconds, most_left_bytes=None):
    """After every attack: the daemon lives, has let go of all (within `seconds`; of the memory all but so much), and
    ends well."""
    tally.note("the daemon lives", None if daemon.is_alive() else daemon.said()[-4000:])
    began, base = time.monotonic(), daemon.base_descriptors
    back = wait_until(lambda: daemon.n_descriptors() <= base, seconds)
    took = time.monotonic() - began
    tally.note(f"descriptors are back to {base} after {took:.1f} s", None if back else f"{daemon.n_descriptors()}")
    time.sleep(daemon.disconnect_s + 0.5)
    numbers = (daemon.base_bytes, daemon.peak_bytes(), daemon.memory_bytes())
    words = "resident before %.1f, at most %.1f, after all %.1f MiB" % tuple(n / (1 << 20) for n in numbers)
    if most_left_bytes is None:
        print("# " + words)
    else:
        tally.note(words, None if numbers[2] - numbers[0] <= most_left_bytes else f"{most_left_bytes} may be left")
    n_sessions = daemon.count_sessions()
    tally.note("no session is left", None if n_sessions == 0 else f"{n_sessions}")
    code = daemon.end()
    tally.note("it ends with 0, and no sanitizer complains",
               None if code == 0 and daemon.complaint() is None else f"{code}\n{daemon.said()[-4000:]}")


# -- the fresh client ------------------------------------------------------------------------------

def echo_round(port):
    """A new client opens a WebSocket, hears its message back, says goodbye. None, or what went wrong."""
    try:
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as sock:
            sock.sendall(WEBSOCKET_OPEN + WEBSOCKET_HELLO)
            got = b""
            while not got.endswith(b"\x81\x02hi"):
                data = sock.recv(4096)
                if not data:
                    return f"ended after {got[-40:]!r}"
                got += data
            sock.sendall(WEBSOCKET_CLOSE)
            while sock.recv(4096):
                pass
            return None
    except OSError as error:
        return str(error)


class FreshClient:
    """Asks again and again while the `with` lasts; `report` afterwards has n, errors, worst_ms and p99_ms."""

    def __init__(self, daemon):
        self.command = [sys.executable, os.path.abspath(__file__), str(daemon.port)]

    def __enter__(self):
        self.child = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        return self

    def __exit__(self, *_):
        out, _ = self.child.communicate()
        self.report = json.loads(out)

    def note(self, tally):
        report = self.report
        words = f"worst {report['worst_ms']:.1f} ms, p99 {report['p99_ms']:.1f} ms of {report['n']}"
        good = report["n"] > 0 and not report["errors"] and report["worst_ms"] <= MOST_LATENCY_MS
        tally.note(f"a fresh client is served meanwhile: {words}", None if good else f"{report['errors'][:5]}")


def run_fresh_client(port):
    took_ms, errors = [], []
    while not select.select([sys.stdin], [], [], 0.01)[0]:
        began = time.monotonic()
        error = echo_round(port)
        took_ms.append((time.monotonic() - began) * 1000)
        if error is not None:
            errors.append(error)
    took_ms.sort()
    json.dump({"n": len(took_ms), "errors": errors, "worst_ms": took_ms[-1],
               "p99_ms": took_ms[len(took_ms) * 99 // 100]}, sys.stdout)


if __name__ == "__main__":
    run_fresh_client(int(sys.argv[1]))

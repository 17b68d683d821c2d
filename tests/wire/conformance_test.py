#!/usr/bin/env python3
"""scripts/conformance keeps its word: READY line, HUP, a polite and a quick end, handlers that come and go.

    conformance_test.py BUILD_DIR        a few seconds; TAP, exit 1 when any check failed
"""
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True

from run import ROOT, Tally, free_port

SCRIPT = str(ROOT / "scripts/conformance")


def is_alive(pid):
    try:
        # A zombie answers to signal 0 as well, so its state is looked at.
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until(condition, seconds):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


class Conformance:
    def __init__(self, build_dir, *options):
        self.port = free_port()
        self.log = tempfile.TemporaryFile("w+")
        self.child = subprocess.Popen([SCRIPT, "--port", str(self.port), "--build-dir", build_dir, *options],
                                      stdout=subprocess.PIPE, stderr=self.log, text=True)
        self.ready = self.child.stdout.readline().strip()
        self.words = dict(word.split("=", 1) for word in self.ready.split() if "=" in word)

    def pids(self):
        return [int(pid) for key in ("pid", "handler") if key in self.words for pid in self.words[key].split(",")]

    def end(self, how=signal.SIGTERM):
        """(exit code, seconds it took)"""
        began = time.monotonic()
        self.child.send_signal(how)
        try:
            code = self.child.wait(10)
        except subprocess.TimeoutExpired:
            self.child.kill()
            code = "killed"
        return code, time.monotonic() - began

    def said(self):
        self.log.seek(0)
        return self.log.read()

    def echo(self, patience=3.0):
        """One message to /echo's bare WebSocket and back, or what came instead."""
        with socket.create_connection(("127.0.0.1", self.port), patience) as sock:
            sock.sendall(b"GET /echo/websocket HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                         b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: cG9zdGVybi13aXJlLWtleQ==\r\n\r\n")
            sock.sendall(b"\x81\x82\0\0\0\0hi")
            got = b""
            try:
                while not got.endswith(b"\x81\x02hi"):
                    data = sock.recv(4096)
                    if not data:
                        break
                    got += data
            except TimeoutError:
                pass
            return got[-4:]


def check_plain(build_dir, tally):
    server = Conformance(build_dir, "--heartbeat", "7s", "--disconnect", "2s", "--workers", "2")
    want = f"READY http://127.0.0.1:{server.port} pid="
    tally.note("READY names the URL, the gateway and the handler",
               None if server.ready.startswith(want) and len(server.pids()) == 2 else f"{server.ready}\n{server.said()}")
    if not server.pids():
        return
    names = [pathlib.Path(f"/proc/{pid}/comm").read_text().strip() for pid in server.pids()]
    tally.note("the pids are those of the programs, not of wrappers",
               None if names == ["posternd", "conformance-han"] else f"{names}")
    got = server.echo()
    tally.note("a message comes back", None if got == b"\x81\x02hi" else f"{got}")
    server.child.send_signal(signal.SIGHUP)
    time.sleep(0.3)
    alive = all(is_alive(pid) for pid in server.pids()) and server.child.poll() is None
    tally.note("HUP ends nothing", None if alive else server.said())
    with socket.create_connection(("127.0.0.1", server.port)) as waiting:
        waiting.sendall(b"POST /echo/0/s/xhr HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n" * 2)
        time.sleep(0.2)
        code, seconds = server.end()
    tally.note("TERM ends it within 3 s with 0, sessions or not",
               None if code == 0 and seconds < 3 else f"exit {code} after {seconds:.1f} s\n{server.said()}")
    gone = wait_until(lambda: not any(is_alive(pid) for pid in server.pids()), 1)
    tally.note("no child is left", None if gone else f"{server.pids()}")


def check_handlers(build_dir, tally):
    with tempfile.TemporaryDirectory(prefix="postern-wire.") as folder:
        path = folder + "/h.sock"
        dead = socket.socket(socket.AF_UNIX)
        dead.bind(path)
        dead.close()  # leaves the file behind: a dead socket
        server = Conformance(build_dir, "--handler", "none", "--socket", path)
        good = server.words.get("socket") == path and "handler" not in server.words
        tally.note("--handler none names the socket, over a dead one", None if good else server.ready + server.said())
        if not server.pids():
            return
        command = [build_dir + "/conformance-handler", path]
        for number in (1, 2):
            handler = subprocess.Popen(command, stderr=subprocess.DEVNULL)
            got = server.echo()
            tally.note(f"handler {number} serves", None if got == b"\x81\x02hi" else f"{got}\n{server.said()}")
            handler.kill()
            handler.wait()
        code, _ = server.end(signal.SIGINT)
        tally.note("INT ends it too", None if code == 0 else f"exit {code}")


def check_usage(build_dir, tally):
    for options, want in ((["--upstream", "http://127.0.0.1:1"], "later"), (["--tls-port", "1"], "--cert FILE"),
                          (["--admin", "/x"], "later"), (["--profile", "suite"], "later"),
                          (["--no-such"], "unknown option"), (["--port", "x"], "number")):
        done = subprocess.run([SCRIPT, *options], capture_output=True, text=True, check=False)
        good = done.returncode == 2 and want in done.stderr and done.stdout == ""
        tally.note(f"{options[0]} is refused with a sentence", None if good else f"{done.returncode} {done.stderr}")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = subprocess.run([SCRIPT, "--port", port, "--build-dir", build_dir], capture_output=True, text=True,
                              check=False, timeout=30)
        tally.note("a port in use is an error", None if done.returncode == 1 and done.stderr else done.stderr)


def check_orphans(build_dir, tally):
    server = Conformance(build_dir)
    os.kill(server.child.pid, signal.SIGKILL)
    server.child.wait()
    gone = wait_until(lambda: not any(is_alive(pid) for pid in server.pids()), 5)
    tally.note("kill -9 of the script leaves no child either", None if gone else f"{server.pids()}")


def main(arguments):
    build_dir = str(pathlib.Path(arguments[0]).resolve())
    tally = Tally()
    for check in (check_plain, check_handlers, check_usage, check_orphans):
        check(build_dir, tally)
    print(f"{tally.passed} passed, {tally.failed} failed")
    return 1 if tally.failed or not tally.passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

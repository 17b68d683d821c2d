#!/usr/bin/env python3
"""Plays transcripts against a conformance server. tests/wire/README.md is the grammar of the files.

    run.py --build-dir build/release [FILE...]       starts scripts/conformance for each file, on a free port
    run.py --url http://127.0.0.1:8081 [FILE...]     uses a server that runs; files that need options are skipped
    run.py --self-test

Prints TAP and, as the last line, `N passed, N failed`. Exit 1 when any failed or none ran.
"""
import argparse
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import urllib.parse

sys.dont_write_bytecode = True  # a test leaves nothing behind in the source tree

from steps import Runner, TranscriptError, parse

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """scripts/conformance with a transcript's options; ended on leaving the `with`."""

    def __init__(self, build_dir, options):
        self.folder = tempfile.TemporaryDirectory(prefix="postern-wire.")
        self.log = open(pathlib.Path(self.folder.name) / "log", "w+", encoding="utf-8", errors="replace")
        port = free_port()
        self.places = {"http": ("127.0.0.1", port), "unix": None}
        command = [str(ROOT / "scripts/conformance"), "--port", str(port), "--build-dir", str(build_dir)]
        if "--handler" in options:
            self.places["unix"] = self.folder.name + "/handlers.sock"
            command += ["--socket", self.places["unix"]]
        self.child = subprocess.Popen(command + options, stdout=subprocess.PIPE, stderr=self.log, text=True)

    def __enter__(self):
        line = self.child.stdout.readline()
        if not line.startswith("READY "):
            self.end()
            raise RuntimeError("the conformance server did not start:\n" + self.said())
        return self

    def __exit__(self, *_):
        self.end()
        self.folder.cleanup()

    def said(self):
        self.log.flush()
        return pathlib.Path(self.log.name).read_text(encoding="utf-8", errors="replace")

    def end(self):
        self.child.send_signal(signal.SIGTERM)
        try:
            self.child.wait(10)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
        self.child.stdout.close()


class Tally:
    def __init__(self):
        self.passed = 0
        self.failed = 0

    def note(self, name, trouble):
        number = self.passed + self.failed + 1
        if trouble is None:
            self.passed += 1
            print(f"ok {number} - {name}", flush=True)
        else:
            self.failed += 1
            print(f"not ok {number} - {name}")
            print("".join(f"  # {line}\n" for line in trouble.split("\n")), end="", flush=True)

    def skip(self, name, why):
        self.passed += 1
        print(f"ok {self.passed + self.failed} - {name} # skip {why}", flush=True)


def play_all(transcript, places, patience, only, tally):
    for test in transcript.tests:
        if only and only not in test.name:
            continue
        trouble = Runner(places, patience).play(test)
        tally.note(f"{transcript.name}: {test.name}",
                   trouble and f"{transcript.name}.txt:{trouble[0]}: {trouble[1]}")


def play_file(path, arguments, tally):
    transcript = parse(path.stem, path.read_text(encoding="utf-8"))
    if arguments.url:
        if transcript.options and not arguments.socket:
            print(f"# skipped {path.name}: it needs a server with {' '.join(transcript.options)}")
            return
        url = urllib.parse.urlsplit(arguments.url)
        places = {"http": (url.hostname, url.port or 80), "unix": arguments.socket}
        play_all(transcript, places, arguments.patience, arguments.only, tally)
        return
    with Server(arguments.build_dir, transcript.options) as server:
        play_all(transcript, server.places, arguments.patience, arguments.only, tally)
        code = server.child.poll()
        if code is not None:
            tally.note(f"{transcript.name}: the server lives on", f"it ended with {code}:\n{server.said()}")
        elif tally.failed:
            print("".join(f"  # {line}\n" for line in server.said().split("\n")[-40:]), end="")


# --- self-test: transcripts against a server of a few canned bytes ------------------------------------

CANNED = (b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nabc"
          b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\no\n\r\n0\r\n\r\n"
          b"\x81\x02hi\x88\x05\x0b\xb8bye"
          b"ERROR bad-frame 3\nwhy\n")
GOOD = """
GET /x
HTTP 200
  Content-Type: text/plain
  Content-Length ~ [0-9]+
  no Set-Cookie
  body abc
HTTP 200
  stream
chunk o\\n
last-chunk
ws-expect text hi
ws-expect close 3000 bye
link-expect ERROR bad-frame
  payload ~ (?P<WORD>w.*)
expect-close
"""
# What is changed in GOOD, and a word of the complaint.
SPOILED = [
    ("HTTP 200", "HTTP 404", "expected status 404"),
    ("body abc", "body abd", "expected body: abd"),
    ("no Set-Cookie", "no Content-Type", "expected no Content-Type"),
    ("Content-Type: text/plain", "Content-Type: text/html", "expected Content-Type: text/html"),
    ("Content-Type: text/plain", "Allow: GET", "expected one Allow"),
    ("~ [0-9]+", "~ [a-z]+", "expected Content-Length like"),
    ("chunk o\\n", "chunk oo\\n", "expected chunk: oo"),
    ("last-chunk\n", "chunk x\nlast-chunk\n", "expected chunk: x"),
    ("text hi", "binary 6869", "expected a binary frame"),
    ("3000 bye", "3001 bye", "expected close code 3001"),
    ("3000 bye", "3000 by", "expected close reason"),
    ("bad-frame", "bad-verb", "expected: ERROR bad-verb"),
    ("expect-close", "silence 0.2", "it ended"),
    ("expect-close", "< more", "the connection ended"),
    ("link-expect", "whistle", "unknown step 'whistle'"),
]


def canned_server(data):
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        connection, _ = listener.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(data)
        listener.close()
    threading.Thread(target=serve, daemon=True).start()
    return listener.getsockname()


def self_test(tally):
    def trouble_of(text):
        test = parse("self", "test t\n" + text).tests[0]
        places = {"http": canned_server(CANNED), "unix": None}
        return Runner(places, 1.0).play(test)

    trouble = trouble_of(GOOD)
    tally.note("a transcript that is right passes", trouble and str(trouble))
    for old, new, word in SPOILED:
        trouble = trouble_of(GOOD.replace(old, new, 1))
        tally.note(f"'{new.strip()}' is caught", None if trouble and word in trouble[1] else f"got {trouble}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", help="a running conformance server")
    parser.add_argument("--socket", help="with --url: the handlers' socket of that server")
    parser.add_argument("--build-dir", type=pathlib.Path, default=ROOT / "build/release")
    parser.add_argument("--patience", type=float, default=5.0, help="seconds to wait for each answer")
    parser.add_argument("--only", help="only tests whose name has this word")
    parser.add_argument("--self-test", action="store_true")
    parser.add_argument("files", nargs="*", type=pathlib.Path)
    arguments = parser.parse_args()
    tally = Tally()
    if arguments.self_test:
        self_test(tally)
    for path in [] if arguments.self_test else arguments.files or sorted(HERE.glob("*.txt")):
        try:
            play_file(path, arguments, tally)
        except (TranscriptError, RuntimeError, OSError) as error:
            tally.note(path.name, str(error))
    print(f"1..{tally.passed + tally.failed}")
    print(f"{tally.passed} passed, {tally.failed} failed")
    return 1 if tally.failed or not tally.passed else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""A real nginx in front: many users' polls and sends over upstream connections that all of them share.

    nginx_test.py BUILD_DIR        under 20 s; TAP, exit 1 when any check failed, 77 when there is no nginx

Each user polls and sends by xhr over keep-alive connections of its own to nginx, which puts the requests of all of
them on its few to the gateway (nginx.conf), plain and with TLS. Nothing may be lost, doubled or overtaken. Users of
every other transport are among them; they come and go, some at a time. POSTERN_WORKERS (4) and POSTERN_NGINX_USERS
(200) change the size; without an nginx the test is skipped, but with CI=true it fails.
"""
import asyncio
import os
import pathlib
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True

import crowd
from conformance_test import wait_until
from run import ROOT, Tally, free_port
from tls_test import Server, make_certificate

WORKERS = os.environ.get("POSTERN_WORKERS", "4")
N_USERS = int(os.environ.get("POSTERN_NGINX_USERS", "200"))
N_ROUNDS = 10
N_AT_ONCE = 30  # each one's poll holds an upstream connection while it waits
KEEPALIVE = 32


def find_nginx():
    places = [shutil.which("nginx"), "/usr/sbin/nginx", ROOT / "build/deps/usr/sbin/nginx"]
    return next((place for place in places if place and os.access(place, os.X_OK)), None)


class Nginx:
    def __init__(self, program, folder, server):
        self.ports = {"plain": free_port(), "TLS": free_port()}
        config = pathlib.Path(ROOT / "tests/wire/nginx.conf").read_text(encoding="utf-8")
        for name, value in {"FOLDER": folder, "KEEPALIVE": KEEPALIVE,
                            "PLAIN_PORT": self.ports["plain"], "PLAIN_UPSTREAM": f"127.0.0.1:{server.port}",
                            "TLS_PORT": self.ports["TLS"], "TLS_UPSTREAM": f"127.0.0.1:{server.tls_port}"}.items():
            config = config.replace(f"@{name}@", str(value))
        path = pathlib.Path(folder, "nginx.conf")
        path.write_text(config, encoding="utf-8")
        self.log = open(pathlib.Path(folder, "nginx.log"), "w+", encoding="utf-8", errors="replace")
        self.child = subprocess.Popen([program, "-e", "stderr", "-p", folder, "-c", path], stderr=self.log)

    def is_up(self):
        try:
            socket.create_connection(("127.0.0.1", self.ports["TLS"])).close()
            return True
        except OSError:
            return self.child.poll() is not None

    def end(self):
        """What it has complained of."""
        self.child.terminate()
        try:
            self.child.wait(10)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
        self.log.seek(0)
        return self.log.read()


def n_connections_to(port):
    """How many local ones there are or were in the last minute: TIME_WAIT counts."""
    lines = pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]
    return sum(line.split()[2].endswith(f":{port:04X}") for line in lines)


async def user(number, kind, port):
    """One session's life. How many requests it made and messages it got back."""
    pool = crowd.Pool([(("127.0.0.1", port), None)])
    session = kind(f"u{number}", pool)
    await session.open()
    try:
        for _ in range(N_ROUNDS):
            await session.send(*(random.choice((10, 10, 200, 3000)) for _ in range(random.randrange(1, 4))))
            await session.settled(at_most=random.choice((0, 6)))
            await asyncio.sleep(random.random() * 0.05)
        await session.settled()
    finally:
        await session.end(with_reset=False)
        pool.close()
    return pool.n_requests, session.book.n_back


async def all_users(port):
    turnstile = asyncio.Semaphore(N_AT_ONCE)

    async def in_turn(number):
        async with turnstile:
            others = crowd.TRANSPORTS[1:]
            kind = others[number // 10 % len(others)] if number % 10 == 0 else crowd.Polling
            return await user(number, kind, port)
    return await asyncio.gather(*(in_turn(number) for number in range(N_USERS)), return_exceptions=True)


def check_upstream(name, port, tally):
    """How many requests were made."""
    began = time.monotonic()
    outcomes = asyncio.run(all_users(port))
    faults = [repr(outcome) for outcome in outcomes if isinstance(outcome, BaseException)]
    good = [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]
    n_requests, n_messages = sum(each[0] for each in good), sum(each[1] for each in good)
    tally.note(f"{name} upstream: every message of {N_USERS} users once and in order",
               f"{len(faults)} users failed:\n" + "\n".join(faults[:5]) if faults else None)
    print(f"# {n_messages} messages in {n_requests} requests, {time.monotonic() - began:.1f} s", flush=True)
    return n_requests


def run_all(program, build_dir, folder, tally):
    server = Server(build_dir, *make_certificate(folder), "--workers", WORKERS)
    try:
        nginx = Nginx(program, folder, server)
        try:
            wait_until(nginx.is_up, 20)
            n_requests = check_upstream("plain", nginx.ports["plain"], tally)
            n_connections = n_connections_to(server.port)
            tally.note(f"{n_requests} requests shared {n_connections} upstream connections",
                       None if n_connections * 4 < n_requests else "too many for that")
            check_upstream("TLS", nginx.ports["TLS"], tally)
        finally:
            said = nginx.end()
        tally.note("nginx had nothing to complain of", said[:2000] or None)
    finally:
        code, _ = server.end()
    tally.note("the gateway ends with 0", None if code == 0 else f"{code}\n{server.said()[-2000:]}")
    tally.note("no sanitizer has spoken", crowd.sanitizer_report(server.said()))


def main(arguments):
    program = find_nginx()
    if program is None:
        print("# skipped: there is no nginx; scripts/deps test brings one")
        return 1 if os.environ.get("CI") == "true" else 77
    tally = Tally()
    with tempfile.TemporaryDirectory(prefix="postern-nginx.") as folder:
        run_all(program, os.path.abspath(arguments[0]), folder, tally)
    print(f"{tally.passed} passed, {tally.failed} failed")
    return 1 if tally.failed or not tally.passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

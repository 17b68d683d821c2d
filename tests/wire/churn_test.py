#!/usr/bin/env python3
"""Sessions of every transport come, talk and go in every way while handlers are killed and started again.

    churn_test.py BUILD_DIR        about 10 s; TAP, exit 1 when any check failed

Polls and sends travel on keep-alive connections that all sessions share, plain and TLS, so that with several workers
connections move between them all the time. A handler in three is killed with -9 every second or so. No session may
end by itself, and each message comes back once and in order (handler_death_test.py looks at that from both sides). Meant
for the thread sanitizer's build, too: any sanitizer's word fails it. POSTERN_WORKERS (4) and POSTERN_CHURN_SECONDS (6)
change the size.
"""
import asyncio
import os
import pathlib
import random
import ssl
import sys
import tempfile
import time

sys.dont_write_bytecode = True

import crowd
from conformance_test import wait_until
from run import Tally
from tls_test import Server, make_certificate

WORKERS = os.environ.get("POSTERN_WORKERS", "4")
SECONDS = float(os.environ.get("POSTERN_CHURN_SECONDS", "6"))
N_AT_ONCE = 40
N_HANDLERS = 3


class Churn:
    """What the players share."""

    def __init__(self, build_dir, server, socket_path):
        context = server.context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self.pool = crowd.Pool([(("127.0.0.1", server.port), None), (("127.0.0.1", server.tls_port), context)])
        self.deadline = time.monotonic() + SECONDS
        self.command = [os.path.join(build_dir, "conformance-handler"), socket_path]
        self.handlers = []
        self.faults = []
        self.counts = {"sessions": 0, "messages": 0, "sent": 0, "kills": 0}

    def is_over(self):
        return time.monotonic() > self.deadline or len(self.faults) > 0

    async def start_handler(self):
        handler = await asyncio.create_subprocess_exec(*self.command, stdout=asyncio.subprocess.PIPE,
                                                       stderr=asyncio.subprocess.DEVNULL)
        self.handlers.append(handler)
        line = await asyncio.wait_for(handler.stdout.readline(), crowd.PATIENCE)
        if line != b"linked\n":
            raise crowd.Fault(f"a handler was not linked but said {line}")

    async def kill_handlers(self):
        while not self.is_over():
            await asyncio.sleep(random.uniform(0.5, 1))
            victim = self.handlers.pop(random.randrange(len(self.handlers)))
            victim.kill()
            await victim.wait()
            self.counts["kills"] += 1
            await self.start_handler()

    async def stop_handlers(self):
        for handler in self.handlers:
            handler.terminate()
            await handler.wait()

    async def talk(self, session, until):
        await session.open()
        while time.monotonic() < until:
            await session.send(*(random.choice((5, 60, 60, 4000)) for _ in range(random.choice((1, 3, 12)))))
            await session.settled(at_most=random.choice((0, 30)))
            await asyncio.sleep(random.random() * 0.1)
        if random.random() < 0.8:
            await session.settled()

    async def visit(self, number):
        """One session from its beginning to its end, of whatever kind these are."""
        session = random.choice(crowd.TRANSPORTS)(f"s{number}", self.pool)
        lifetime = random.choice((0, 0.3, 1, 3, 6))
        try:
            await self.talk(session, min(self.deadline, time.monotonic() + lifetime))
        finally:
            await session.end(with_reset=random.random() < 0.5)
            self.counts["messages"] += session.book.n_back
            self.counts["sent"] += session.book.n_sent

    async def visitor(self, first):
        number = first
        while not self.is_over():
            try:
                await self.visit(number)
            except (crowd.Fault, OSError, EOFError) as fault:
                self.faults.append(f"s{number}: {fault!r}")
            self.counts["sessions"] += 1
            number += N_AT_ONCE

    async def run(self):
        await asyncio.gather(*(self.start_handler() for _ in range(N_HANDLERS)))
        try:
            await asyncio.gather(self.kill_handlers(), *(self.visitor(first) for first in range(N_AT_ONCE)))
        finally:
            self.pool.close()
            await self.stop_handlers()


def n_descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def check_churn(build_dir, server, socket_path, tally):
    pid = server.pids()[0]
    n_before = n_descriptors(pid)
    churn = Churn(build_dir, server, socket_path)
    asyncio.run(churn.run())
    counts = churn.counts
    print("# " + ", ".join(f"{count} {what}" for what, count in counts.items()), flush=True)
    tally.note("no session ended by itself, none lost, doubled or reordered a message",
               "\n".join(churn.faults[:5]) or None)
    is_much = counts["kills"] > 1 and counts["sessions"] > N_AT_ONCE and counts["messages"] > counts["sent"] / 2
    tally.note("enough has happened, and most of what was sent came back", None if is_much else str(counts))
    is_free = wait_until(lambda: n_descriptors(pid) <= n_before, 20)
    tally.note("the gateway closed all that it opened", None if is_free else f"{n_before} -> {n_descriptors(pid)}")


def main(arguments):
    build_dir = os.path.abspath(arguments[0])
    tally = Tally()
    with tempfile.TemporaryDirectory(prefix="postern-churn.") as folder:
        socket_path = str(pathlib.Path(folder, "h.sock"))
        server = Server(build_dir, *make_certificate(folder), "--workers", WORKERS, "--handler", "none",
                        "--socket", socket_path, "--heartbeat", "2s")
        try:
            check_churn(build_dir, server, socket_path, tally)
        finally:
            code, _ = server.end()
        tally.note("the gateway ends with 0", None if code == 0 else f"{code}\n{server.said()[-2000:]}")
        tally.note("no sanitizer has spoken", crowd.sanitizer_report(server.said()))
    print(f"{tally.passed} passed, {tally.failed} failed")
    return 1 if tally.failed or not tally.passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

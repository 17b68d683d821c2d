#!/usr/bin/env python3
"""kill -9 a handler and no user notices: none ended, none lost, none twice, none out of order.

    handler_death_test.py BUILD_DIR        some 25 s; TAP, exit 1 when any check failed

Clients of every transport talk with two handlers (counting_handler.py) behind a gateway of several workers, while one of
the handlers is killed at random every second, once both, and each is at once started again. The clients' books must be
whole, and so must be those that the handlers hand on in STATE, up to the last message of sessions that end while there
is no handler. Then a planned restart of both by DRAIN, under the same load. Then a message that ends every handler which
gets it: its own session ends with 1011, and no other.

POSTERN_LONG=1: 2,000 sessions for a minute, a kill every 2 s, both for 5 s. POSTERN_WORKERS (4) are the gateway's
threads, POSTERN_SESSIONS and POSTERN_SECONDS change the size. Meant for sanitizers' builds, too: a word of theirs fails it.
"""
import asyncio
import os
import pathlib
import random
import signal
import sys
import tempfile
import time

sys.dont_write_bytecode = True

import crowd
from conformance_test import Conformance
from peer import OPCODES
from run import Tally

IS_LONG = os.environ.get("POSTERN_LONG") == "1"
WORKERS = os.environ.get("POSTERN_WORKERS", "4")
N_SESSIONS = int(os.environ.get("POSTERN_SESSIONS", "2000" if IS_LONG else "80"))
SECONDS = float(os.environ.get("POSTERN_SECONDS", "60" if IS_LONG else "8"))
KILL_EVERY = 2 if IS_LONG else 1
NOBODY_FOR = 5 if IS_LONG else 1.5
N_HANDLERS = 2
PAUSE = 2 if IS_LONG else 0.1  # of a client between two bursts
HANDLER = str(pathlib.Path(__file__).with_name("counting_handler.py"))


class Handlers:
    """Two that run, and what they have said. Who is killed is started again."""

    def __init__(self, path):
        self.path = path
        self.running = []
        self.readers = []
        self.faults = []
        self.closed = {}  # name: (count, code)
        self.n_again = 0
        self.n_died = 0  # of a message
        self.are_kept = False

    async def start(self):
        process = await asyncio.create_subprocess_exec(sys.executable, HANDLER, self.path,
                                                       stdout=asyncio.subprocess.PIPE)
        linked = asyncio.get_running_loop().create_future()
        self.running.append(process)
        self.readers.append(asyncio.create_task(self.read(process, linked)))
        await asyncio.wait_for(linked, crowd.PATIENCE)
        return process

    async def read(self, process, linked):
        while line := (await process.stdout.readline()).decode().split():
            if line[0] == "linked":
                linked.set_result(None)
            elif line[0] == "again":
                self.n_again += 1
            elif line[0] == "closed":
                self.closed[line[1]] = (int(line[2]), int(line[3]))
            else:
                self.faults.append(" ".join(line))
        await process.wait()
        if self.are_kept and process in self.running:  # it was not we who ended it
            self.n_died += 1
            self.running.remove(process)
            await self.start()

    async def kill(self, process):
        self.running.remove(process)
        process.kill()
        await process.wait()

    async def restart_politely(self, process):
        """Its exit code, after all its sessions have moved."""
        self.running.remove(process)
        await self.start()
        process.send_signal(signal.SIGTERM)
        return await asyncio.wait_for(process.wait(), crowd.PATIENCE)

    async def end(self):
        self.are_kept = False
        for process in list(self.running):
            await self.kill(process)
        await asyncio.gather(*self.readers)


class Crowd:
    """Clients that talk until they are told to stop."""

    def __init__(self, port):
        self.pool = crowd.Pool([(("127.0.0.1", port), None)])
        self.sessions = [crowd.TRANSPORTS[i % len(crowd.TRANSPORTS)](f"s{i}", self.pool)
                         for i in range(N_SESSIONS)]
        self.faults = []
        self.deadline = 0.0

    def n_sent(self):
        return sum(session.book.n_sent for session in self.sessions)

    async def guarded(self, session, doing):
        try:
            await doing
        except (crowd.Fault, OSError, EOFError) as fault:
            self.faults.append(f"{session.book.name} {type(session).__name__}: {fault!r}")

    async def together(self, what):
        await asyncio.gather(*(self.guarded(session, what(session)) for session in self.sessions))

    async def open(self, session):
        await asyncio.sleep(random.random() * N_SESSIONS / 500)
        await session.open()

    async def talk(self, session):
        while time.monotonic() < self.deadline and not self.faults:
            await session.send(*(random.choice((5, 60, 60, 2000)) for _ in range(random.choice((1, 3, 8)))))
            await session.settled(at_most=random.choice((0, 20)))
            await asyncio.sleep(random.random() * 2 * PAUSE)
        await session.settled()

    async def talk_for(self, seconds):
        self.deadline = time.monotonic() + seconds
        await self.together(self.talk)

    async def leave(self, session):
        """A few last words, which nobody waits for."""
        await session.send(5, 60, 5)
        await session.end(with_reset=False)


async def kill_now_and_then(crowd_, handlers):
    n_kills = 0
    both_at = time.monotonic() + SECONDS / 2
    while time.monotonic() < crowd_.deadline - KILL_EVERY and not crowd_.faults:
        await asyncio.sleep(random.uniform(0.5, 1.5) * KILL_EVERY)
        if both_at and time.monotonic() > both_at:
            both_at = None
            for process in list(handlers.running):
                await handlers.kill(process)
            await asyncio.sleep(NOBODY_FOR)
            await asyncio.gather(handlers.start(), handlers.start())
            n_kills += 2
        else:
            await handlers.kill(random.choice(handlers.running))
            await handlers.start()
            n_kills += 1
    return n_kills


def check_books(crowd_, handlers, tally, when):
    faults = crowd_.faults + handlers.faults
    tally.note(f"{when}: no client was closed, none lost, doubled or reordered a message, nor did STATE",
               "\n".join(faults[:5]) or None)


async def deaths(crowd_, handlers, tally):
    began = time.monotonic()
    talking = asyncio.create_task(crowd_.talk_for(SECONDS))
    await asyncio.sleep(0)
    n_kills = await kill_now_and_then(crowd_, handlers)
    await talking
    check_books(crowd_, handlers, tally, "kill -9")
    print(f"# {n_kills} kills, {crowd_.n_sent()} messages of {N_SESSIONS} sessions in {time.monotonic() - began:.0f} s, "
          f"{handlers.n_again} came again", flush=True)
    is_much = n_kills >= 4 and handlers.n_again > 0 and crowd_.n_sent() > 10 * N_SESSIONS
    tally.note("enough has happened", None if is_much else "too few kills, messages, or that came again")


async def planned_restart(crowd_, handlers, tally):
    n_before = handlers.n_again
    talking = asyncio.create_task(crowd_.talk_for(3))
    codes = []
    for process in list(handlers.running):
        await asyncio.sleep(0.5)
        try:
            codes.append(await handlers.restart_politely(process))
        except TimeoutError:
            codes.append("still has sessions")
    await talking
    check_books(crowd_, handlers, tally, "DRAIN")
    tally.note("both handlers went when their last session had moved", None if codes == [0, 0] else str(codes))
    tally.note("and nothing had to come again", None if handlers.n_again == n_before else str(handlers.n_again - n_before))


class Doomed(crowd.RawWebSocket):
    """Sends what no handler survives, and waits for its end."""

    def on_ws_frame(self, first, payload):
        if first == 0x80 | OPCODES["close"]:
            self.code.set_result(int.from_bytes(payload[:2]))
        else:
            super().on_ws_frame(first, payload)

    async def code_of_its_end(self):
        self.code = asyncio.get_running_loop().create_future()
        await self.open()
        await self.write([f"{self.book.name}.die"])
        code = await asyncio.wait_for(self.code, crowd.PATIENCE)
        self.receiver.cancel()
        await asyncio.gather(self.receiver, return_exceptions=True)
        self.link.close()
        return code


async def poison(crowd_, handlers, tally):
    handlers.are_kept = True
    talking = asyncio.create_task(crowd_.talk_for(3))
    try:
        code = await Doomed("doomed", crowd_.pool).code_of_its_end()
    except TimeoutError:
        code = "nothing"
    await talking
    handlers.are_kept = False
    check_books(crowd_, handlers, tally, "a poison message")
    tally.note("the session with the poison ends with 1011", None if code == 1011 else str(code))
    tally.note("after four handlers had died of it", None if handlers.n_died == 4 else str(handlers.n_died))


async def last_words(crowd_, handlers, tally):
    """All leave while no handler is there to hear it; the next one is told all of it."""
    for process in list(handlers.running):
        await handlers.kill(process)
    await crowd_.together(crowd_.leave)
    await asyncio.gather(*(handlers.start() for _ in range(N_HANDLERS)))
    wanted = {session.book.name: session.book.n_sent for session in crowd_.sessions}
    deadline = time.monotonic() + crowd.PATIENCE
    while not wanted.keys() <= handlers.closed.keys() and time.monotonic() < deadline:
        await asyncio.sleep(0.1)
    wrong = [f"{name}: sent {n}, STATE says {handlers.closed.get(name)}" for name, n in wanted.items()
             if handlers.closed.get(name, (None,))[0] != n]
    check_books(crowd_, handlers, tally, "the end")
    tally.note("the last handler's books have all that the clients have said", "\n".join(wrong[:5]) or None)


async def play(port, path, tally):
    handlers = Handlers(path)
    crowd_ = Crowd(port)
    try:
        await asyncio.gather(*(handlers.start() for _ in range(N_HANDLERS)))
        await crowd_.together(crowd_.open)
        for act in (deaths, planned_restart, poison, last_words):
            if not crowd_.faults:
                await act(crowd_, handlers, tally)
    finally:
        crowd_.pool.close()
        await handlers.end()


def main(arguments):
    tally = Tally()
    with tempfile.TemporaryDirectory(prefix="postern-death.") as folder:
        path = str(pathlib.Path(folder, "h.sock"))
        server = Conformance(os.path.abspath(arguments[0]), "--workers", WORKERS, "--handler", "none", "--socket", path)
        try:
            asyncio.run(play(server.port, path, tally))
        finally:
            code, _ = server.end()
        tally.note("the gateway ends with 0", None if code == 0 else f"{code}\n{server.said()[-2000:]}")
        tally.note("no sanitizer has spoken", crowd.sanitizer_report(server.said()))
    print(f"{tally.passed} passed, {tally.failed} failed")
    return 1 if tally.failed or not tally.passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

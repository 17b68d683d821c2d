#!/usr/bin/env python3
"""Out of descriptors: 2,000 clients come to a daemon that may have 256, and stay; then handlers' links take those that
are kept from clients. It does not spin, does not fill the log, goes on serving who is in, lets a handler that starts
again link in the middle of it, and serves newcomers as soon as the flood is over.

    descriptors_test.py BUILD_DIR        some seconds; TAP, exit 1 when any check failed; see siege.py
"""
import socket
import sys
import time

sys.dont_write_bytecode = True

from run import Tally
from siege import (WEBSOCKET_OPEN, WORKERS, Daemon, await_bytes, check_aftermath, connect, echo_round, raise_own_limit,
                   send, swarm)

N_DESCRIPTORS = 256
N_FLOOD = 2000
N_LINKS = 100       # more than the daemon keeps from clients
WATCH_S = 3
MOST_CPU = 0.5      # of one core, over WATCH_S
MOST_LINES = 3 * (WATCH_S + 2) * WORKERS  # over WATCH_S: one a second for each listener, and one for the cap
MOST_RECOVERY_S = 3
DISCONNECT_S = 1


class Inmate:
    """A WebSocket session from before the flood."""

    def __init__(self, port):
        self.sock = connect(port)
        self.n_echoed = 0
        send(self.sock, WEBSOCKET_OPEN)
        self.exchange(b"\r\n\r\n")
        self.n_echoed = 0

    def exchange(self, mark):
        def wait():
            self.n_echoed += yield from await_bytes(self.sock, mark)
        swarm([wait()], 1)

    def echo(self):
        """Seconds a message took there and back."""
        began = time.monotonic()
        send(self.sock, b"\x81\x82\0\0\0\0hi")
        self.exchange(b"\x81\x02hi")
        return time.monotonic() - began


def link(path):
    """A connection to the handlers' socket that never says anything."""
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(path)
    return sock


def watch(daemon, inmate, flood, tally):
    """What a full daemon does, while it is full and more clients come."""
    inmate.n_echoed = 0
    lines, cpu, began, n_asked, worst = len(daemon.said().splitlines()), daemon.cpu_s(), time.monotonic(), 0, 0
    while (took := time.monotonic() - began) < WATCH_S:
        worst = max(worst, inmate.echo())
        n_asked += 1
        flood.extend(connect(daemon.port) for _ in range(10))
        time.sleep(0.05)
    share = (daemon.cpu_s() - cpu) / took
    tally.note(f"it does not spin: {share * 100:.0f} % of a core", None if share < MOST_CPU else "more than allowed")
    n_lines = len(daemon.said().splitlines()) - lines
    tally.note(f"the log has {n_lines} more lines after {took:.1f} s",
               None if 1 <= n_lines <= MOST_LINES else f"1 to {MOST_LINES} are allowed\n{daemon.said()[-1000:]}")
    tally.note(f"a session from before goes on: {n_asked} messages, worst {worst * 1000:.1f} ms",
               None if inmate.n_echoed == n_asked else f"{inmate.n_echoed} came back")


def main(arguments):
    tally = Tally()
    raise_own_limit()
    with Daemon(arguments[0], disconnect_s=DISCONNECT_S, descriptors=N_DESCRIPTORS) as daemon:
        inmate = Inmate(daemon.port)
        began = time.monotonic()
        flood = [connect(daemon.tls_port if i % 4 == 3 else daemon.port) for i in range(N_FLOOD)]
        print(f"# {N_FLOOD} came in {time.monotonic() - began:.1f} s")
        time.sleep(0.5)
        n_held = daemon.n_descriptors()
        tally.note(f"{n_held} descriptors are in use", None if n_held < N_DESCRIPTORS else "none is left for handlers")
        daemon.end_handler()
        time.sleep(0.3)  # whoever waits for a descriptor may take the one that is free now
        daemon.restart_handler()
        took = inmate.echo()
        tally.note(f"a handler that starts again serves after {took:.1f} s",
                   None if inmate.n_echoed == 1 and took <= MOST_RECOVERY_S else "too late")
        links = [link(daemon.path) for _ in range(N_LINKS)]
        time.sleep(0.5)
        n_held = daemon.n_descriptors()
        tally.note("then it is full", None if n_held >= N_DESCRIPTORS - 1 else f"{n_held}")
        watch(daemon, inmate, flood, tally)
        for sock in links + flood:
            sock.close()
        began = time.monotonic()
        trouble = echo_round(daemon.port)
        took = time.monotonic() - began
        tally.note(f"after the flood a fresh client is served within {took * 1000:.0f} ms",
                   trouble if took <= MOST_RECOVERY_S else f"{trouble or 'too late'}")
        inmate.sock.close()
        check_aftermath(daemon, tally, DISCONNECT_S + 2)
    print(f"{tally.passed} passed, {tally.failed} failed")
    return 1 if tally.failed or not tally.passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

#!/usr/bin/env python3
"""The policy request of Flash players: answered at the start of a connection to flash.listen, and nowhere else.

    flash_test.py BUILD_DIR        a few seconds; TAP, exit 1 when any check failed
"""
import os
import pathlib
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True

from conformance_test import wait_until
from peer import Mismatch, Peer
from run import Tally, free_port

ASK = b"<policy-file-request/>\0"
LIMIT = 1.0  # seconds for a head
CAP = 8
PATIENCE = 10


def policy(ports):
    rows = "".join(f'  <allow-access-from domain="{host}" to-ports="{ports["plain"]},{ports["flash"]}"/>\n'
                   for host in ("app.example", "*.b.example"))
    return ('<?xml version="1.0"?>\n<!DOCTYPE cross-domain-policy SYSTEM '
            '"http://www.macromedia.com/xml/dtds/cross-domain-policy.dtd">\n'
            f"<cross-domain-policy>\n{rows}</cross-domain-policy>\n").encode() + b"\0"


class Player(Peer):
    def __init__(self, ports, place="flash"):
        super().__init__(("127.0.0.1", ports[place]), PATIENCE)

    def expect_status(self, status):
        answer = self.read_head()
        self.read_body(answer, "GET")
        if answer.status != status:
            raise Mismatch(f"expected {status}, got {answer.status}")


def asked_whole(ports):
    player = Player(ports)
    player.send(ASK)
    player.expect_bytes(policy(ports))
    player.expect_end()


def asked_in_pieces(ports):
    for cut in range(1, len(ASK)):
        player = Player(ports)
        player.send(ASK[:cut])
        player.expect_silence(0.01)
        player.send(ASK[cut:])
        player.expect_bytes(policy(ports))
        player.expect_end()
    player = Player(ports)
    for byte in ASK:
        player.send(bytes([byte]))
    player.expect_bytes(policy(ports))
    player.expect_end()


def what_follows_is_dropped(ports):
    player = Player(ports)
    player.send(ASK + b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n" + ASK)
    player.expect_bytes(policy(ports))
    player.expect_end()


def anything_else_is_400(ports):
    for other in (b"<policy-file-request/>x", b"<policy-file-request/>\r\n\r\n", b"<policy-file-request>\0",
                  b"<POLICY-FILE-REQUEST/>\0", b"<\0", b" " + ASK):
        player = Player(ports)
        player.send(other)
        player.expect_status(400)
        player.expect_end()


def others_are_served(ports):
    player = Player(ports)
    player.send(b"GET /a/info HTTP/1.1\r\nHost: a\r\n\r\n")
    player.expect_status(200)
    player.send(ASK)  # not the first bytes
    player.expect_status(400)
    player.expect_end()


def another_listener_does_not_know_it(ports):
    player = Player(ports, "plain")
    player.send(ASK)
    player.expect_status(400)
    player.expect_end()


def half_a_request_has_a_deadline(ports):
    player = Player(ports)
    player.send(ASK[:-1])
    player.expect_status(408)
    player.expect_end()


def asking_takes_a_place(ports):
    """Over the cap a player is closed like anybody, and its end gives the place back."""
    held = [Player(ports) for _ in range(CAP - 1)]
    for player in held:
        player.send(b"GET /a/info HTTP/1.1\r\nHost: a\r\n\r\n")
        player.expect_status(200)
    asking = Player(ports)
    asking.send(ASK[:5])
    asking.expect_silence(LIMIT / 4)  # it has its place: the next one may be another worker's, and faster
    Player(ports).expect_end()
    asking.send(ASK[5:])
    asking.expect_bytes(policy(ports))
    asking.expect_end()
    for player in (*held, asking):
        player.close()

    def is_served():
        player = Player(ports)
        try:
            player.send(ASK)
            player.expect_bytes(policy(ports))
        except Mismatch:
            return False
        finally:
            player.close()
        return True
    if not wait_until(is_served, 5):
        raise Mismatch("no place came back")


CHECKS = (asked_whole, asked_in_pieces, what_follows_is_dropped, anything_else_is_400, others_are_served,
          another_listener_does_not_know_it, half_a_request_has_a_deadline, asking_takes_a_place)


def configure(folder, ports, workers):
    config = os.path.join(folder, "postern.json")
    pathlib.Path(config).write_text(
        f'{{"listen": "127.0.0.1:{ports["plain"]}", "workers": {workers}, "log": {{"level": "error"}},'
        f'"flash": {{"listen": "127.0.0.1:{ports["flash"]}", "domains": ["app.example", "*.b.example"]}},'
        f'"handlers": {{"socket": "{folder}/h.sock"}},'
        f'"limits": {{"head_timeout": "{LIMIT * 1000:.0f}ms", "connections": {CAP}}},'
        f'"mounts": [{{"path": "/a"}}]}}', encoding="utf-8")
    return config


def main(arguments):
    build_dir = pathlib.Path(arguments[0]).resolve()
    tally = Tally()
    for workers in (1, 3):
        ports = {"plain": free_port(), "flash": free_port()}
        with tempfile.TemporaryDirectory(prefix="postern-flash.") as folder:
            gateway = subprocess.Popen([build_dir / "posternd", "--config", configure(folder, ports, workers)])
            try:
                wait_until(lambda: os.path.exists(f"{folder}/h.sock"), 10)
                for check in CHECKS:
                    trouble = None
                    try:
                        check(ports)
                    except (Mismatch, OSError) as error:
                        trouble = f"{error}"
                    tally.note(f"{check.__name__.replace('_', ' ')}, {workers} workers", trouble)
            finally:
                gateway.terminate()
                code = gateway.wait(10)
            tally.note("it ends with 0", None if code == 0 else f"{code}")
    print(f"{tally.passed} passed, {tally.failed} failed")
    return 1 if tally.failed or not tally.passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

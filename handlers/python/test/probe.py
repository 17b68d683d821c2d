"""probe: what tests/wire/sdk_test.py asks of every library, beyond echo and chat. Usage: python3 probe.py SOCKET

    kick        KICK 3999 "Go away!"
    keep TEXT   STATE TEXT, and the answer "kept"
    flood       five messages of 300,000 bytes in one turn
    fail        the callback fails after it has sent "failing"
    later TEXT  TEXT, sent by another thread 0.1 s later (where the library has call)
    else        SEQUENCE again|new STATE|- TEXT
A session with the query "reject" is rejected with 4001 "Sign in first"; with "choose" it is let in with the
subprotocol x.v2. TERM is a planned restart: DRAIN, and the end when all sessions have moved.
"""
import pathlib
import signal
import sys
import threading

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import postern


class Probe(postern.Handler):
    def on_open(self, session):
        if session.query == "reject":
            session.reject(4001, "Sign in first")
        elif session.query == "choose":
            session.accept("x.v2")

    def on_message(self, session, data):
        if data == "kick":
            session.kick(3999, "Go away!")
        elif data.startswith("keep "):
            session.state(data[5:])
            session.send("kept")
        elif data == "flood":
            for letter in "abcde":
                session.send(letter * 300000)
        elif data == "fail":
            session.send("failing")
            raise RuntimeError("as asked")
        elif data.startswith("later "):
            threading.Timer(0.1, self.call, (session.send, data[6:])).start()
        else:
            state = (session.saved_state or b"-").decode()
            session.send(f"{session.sequence} {'again' if session.is_again else 'new'} {state} {data}")

    def on_moved(self, session):
        if self.sessions == [session]:
            self.stop()


probe = Probe(sys.argv[1], app="probe")
signal.signal(signal.SIGTERM, lambda *_: probe.drain())
probe.run()

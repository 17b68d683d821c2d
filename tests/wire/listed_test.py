#!/usr/bin/env python3
"""Mounts with a list of origins that name jsonp and the iframe page: who may embed them, and who may not.

    listed_test.py BUILD_DIR        a second; TAP, exit 1 when any check failed

The conformance server has no such mount: its list is `*`, or names nothing.
"""
import http.client
import json
import pathlib
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True

from conformance_test import wait_until
from run import Tally, free_port

LISTED = "https://app.example"
MOUNTS = [
    {"path": "/listed", "origins": ["same-origin", LISTED], "transports": ["xhr", "jsonp", "iframe"]},
    {"path": "/only", "origins": LISTED, "transports": ["eventsource", "iframe"], "sockjs_url": "https://cdn.example/s.js"},
    {"path": "/any", "origins": ["null", "*"], "transports": "xhr"},
    {"path": "/"},
]
CROSS = {"Sec-Fetch-Site": "cross-site"}
FROM_LISTED = {**CROSS, "Referer": LISTED + "/page"}
FROM_EVIL = {**CROSS, "Referer": "https://evil.example/?" + LISTED}

# (what, path, request's fields, status, what must stand in the answer, what must not)
CASES = [
    ("a listed page embeds the iframe page", "/listed/iframe.html", FROM_LISTED, 200,
     f"Content-Security-Policy: frame-ancestors 'self' {LISTED}\r\n", "Expires"),
    ("its script lies below the mount", "/listed/iframe.html", {}, 200, 'src="/listed/sockjs.min.js"', "X-Frame-Options"),
    ("the iframe page is asked for each time", "/listed/iframe.html", {}, 200, "Cache-Control: no-cache\r\n", "public"),
    ("another page gets no iframe page", "/listed/iframe.html", FROM_EVIL, 403, "", "SockJS"),
    ("nor one that hides", "/listed/iframe.html", CROSS, 403, "", "SockJS"),
    ("a listed page polls by jsonp", "/listed/0/a/jsonp?c=x", FROM_LISTED, 200, '/**/x("o");', "Access-Control-Allow"),
    ("so does one of the same origin", "/listed/0/b/jsonp?c=x", {"Sec-Fetch-Site": "same-origin"}, 200, '/**/x("o");', "*:*"),
    ("and a browser that says nothing", "/listed/0/c/jsonp?c=x", {}, 200, '/**/x("o");', "*:*"),
    ("another page does not", "/listed/0/d/jsonp?c=x", FROM_EVIL, 403, "", "x("),
    ("nor does one that hides", "/listed/0/d/jsonp?c=x", CROSS, 403, "", "x("),
    ("what a mount does not name is off", "/listed/0/e/htmlfile?c=x", FROM_LISTED, 404, "", ""),
    ("a script URL of one's own", "/only/iframe.html", FROM_LISTED, 200, 'src="https://cdn.example/s.js"', "'self'"),
    ("the same origin can be off the list", "/only/0/a/eventsource", {"Sec-Fetch-Site": "same-origin"}, 403, "", "data"),
    ("the iframe page is on for any", "/any/iframe.html", FROM_EVIL, 200, "public", "Content-Security-Policy"),
    ("but jsonp is not where it is not named", "/any/0/a/jsonp?c=x", {}, 404, "", ""),
    ("the client below a mount at the root", "/sockjs.min.js", FROM_EVIL, 200, "SockJS", ""),
    ("no jsonp without a word", "/0/a/jsonp?c=x", {}, 404, "", ""),
    ("no iframe page without a word", "/iframe.html", {}, 404, "", ""),
]


def ask(port, path, fields):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path, headers=fields)
    answer = connection.getresponse()
    text = "".join(f"{name}: {value}\r\n" for name, value in answer.getheaders()) + "\r\n" + answer.read().decode()
    connection.close()
    return answer.status, text


def is_up(port):
    try:
        return ask(port, "/any", {})[0] == 200
    except OSError:
        return False


def main(arguments):
    port = free_port()
    tally = Tally()
    with tempfile.TemporaryDirectory(prefix="postern-listed.") as folder:
        config = pathlib.Path(folder, "postern.json")
        config.write_text(json.dumps({"listen": f"127.0.0.1:{port}", "drain": 0, "log": {"level": "error"},
                                      "handlers": {"socket": f"{folder}/h.sock"}, "mounts": MOUNTS}), encoding="utf-8")
        gateway = subprocess.Popen([pathlib.Path(arguments[0], "posternd"), "--config", config])
        try:
            tally.note("the gateway is up", None if wait_until(lambda: is_up(port), 10) else "it does not answer")
            for what, path, fields, status, wanted, unwanted in CASES:
                got, text = ask(port, path, fields)
                good = got == status and wanted in text and not (unwanted and unwanted in text)
                tally.note(what, None if good else f"{got} {text[:400]}")
        finally:
            gateway.terminate()
            gateway.wait(10)
    print(f"{tally.passed} passed, {tally.failed} failed")
    return 1 if tally.failed or not tally.passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

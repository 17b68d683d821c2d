#!/usr/bin/env python3
"""Fails when an #include goes up or sideways through the floors (docs/ARCHITECTURE.md section 2).

    layers.py [SOURCE_DIR]     checks gateway/ and transports/
    layers.py --self-test      plants wrong includes in a temporary tree and wants each one reported

Also refused: cycles between headers, includes not written from the folder above ("base/err.h"),
and outside libraries in rooms that must not know them.
"""
import pathlib
import re
import sys
import tempfile

# folder -> folders whose headers it may include
ALLOWED = {
    "base": "base",
    "wire": "base wire",
    "net": "base net",
    "http": "base wire net http",
    "core": "base core",
    "dialect": "base wire http core dialect",
    "transports": "base wire http core transports",
    "backend": "base wire net backend",
    "proxy": "base wire net http upstream proxy",
    "upstream": "base wire net upstream",
    "cluster": "base net cluster",
    "edge": "base wire net http core backend cluster edge",
}
ALLOWED = {folder: set(names.split()) for folder, names in ALLOWED.items()}
# The process knows every floor.
ALLOWED["server"] = set(ALLOWED) | {"server"}

# outside library -> the only folders that may know it
OUTSIDE = {"event2": {"net"}, "cjson": {"server", "edge"}, "openssl": {"net", "wire"},
           "zlib.h": {"wire"}}

# The C SDK of handlers/: a program of its own, known only to the process that can start one (--demo).
SDK_HEADER = "postern.h"

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.M)


def sources(root):
    """(folder, path) of each C file in the rooms, in a stable order."""
    for path in sorted(root.glob("gateway/*/**/*.[ch]")):
        yield path.relative_to(root / "gateway").parts[0], path
    for path in sorted(root.glob("transports/**/*.[ch]")):
        yield "transports", path


def target_of(root, name):
    """The file that `name` means, from the two include roots."""
    for base in (root / "gateway", root):
        if (base / name).is_file():
            return base / name
    return None


def check_one(root, folder, path, graph):
    """Problems of one file; its own headers go into `graph` for the search for cycles."""
    where = path.relative_to(root)
    if folder not in ALLOWED:
        yield f"{where}: folder '{folder}' has no row in tests/lint/layers.py"
        return
    text = path.read_text(encoding="utf-8")
    for match in INCLUDE.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        quote, name = match.groups()
        room = name.split("/")[0]
        if room in OUTSIDE:
            if folder not in OUTSIDE[room]:
                only = " and ".join(sorted(OUTSIDE[room]))
                yield f"{where}:{line}: <{name}> is for {only} only"
            continue
        if quote == "<":
            continue
        if name == SDK_HEADER:
            if folder != "server":
                yield f'{where}:{line}: "{name}" of the handler SDK is for server only'
            continue
        target = target_of(root, name)
        if "/" not in name or ".." in name.split("/") or target is None:
            yield (f'{where}:{line}: "{name}" is no header of ours; write includes from the folder '
                   'above, as in "base/err.h"')
            continue
        graph.setdefault(path, []).append(target)
        if room not in ALLOWED[folder]:
            may = " ".join(sorted(ALLOWED[folder]))
            yield f'{where}:{line}: {folder} may not include "{name}" (it may: {may})'


def cycles(root, graph):
    """Each cycle between files once, found depth first."""
    done, found = set(), set()

    def visit(path, trail):
        if path in trail:
            ring = trail[trail.index(path):]
            first = ring.index(min(ring))
            found.add(tuple(ring[first:] + ring[:first]))
            return
        if path in done:
            return
        for target in graph.get(path, []):
            visit(target, trail + [path])
        done.add(path)

    for path in sorted(graph):
        visit(path, [])
    for ring in sorted(found):
        names = [str(path.relative_to(root)) for path in ring + ring[:1]]
        yield "include cycle: " + " -> ".join(names)


def check(root):
    """(files read, problems) of the tree under `root`."""
    problems, graph, count = [], {}, 0
    for folder, path in sources(root):
        count += 1
        problems += check_one(root, folder, path, graph)
    return count, problems + list(cycles(root, graph))


# Each: files of a tiny tree, and the words of the one problem expected (None: no problem).
SELF_TEST = [
    ("downward includes pass", {
        "gateway/base/a.h": "#include <stdint.h>\n",
        "gateway/core/b.c": '#include "base/a.h"\n',
        "transports/t.c": '#include "base/a.h"\n#include "transports/t.h"\n',
        "transports/t.h": "",
        "gateway/net/n.c": "#include <event2/event.h>\n",
        "gateway/server/m.c": '#include "transports/t.h"\n#include <cjson/cJSON.h>\n',
    }, None),
    ("base may not look up", {
        "gateway/base/a.c": '#include "core/b.h"\n', "gateway/core/b.h": "",
    }, 'base may not include "core/b.h"'),
    ("wire may not know net", {
        "gateway/wire/a.c": '\n  #  include "net/b.h"\n', "gateway/net/b.h": "",
    }, 'gateway/wire/a.c:2: wire may not include "net/b.h"'),
    ("net may not know wire", {
        "gateway/net/a.c": '#include "wire/b.h"\n', "gateway/wire/b.h": "",
    }, 'net may not include "wire/b.h"'),
    ("core knows base only", {
        "gateway/core/a.c": '#include "http/b.h"\n', "gateway/http/b.h": "",
    }, 'core may not include "http/b.h"'),
    ("edge may not know transports", {
        "gateway/edge/a.c": '#include "transports/b.h"\n', "transports/b.h": "",
    }, 'edge may not include "transports/b.h"'),
    ("transports may not know dialects", {
        "transports/a.c": '#include "dialect/b.h"\n', "gateway/dialect/b.h": "",
    }, 'transports may not include "dialect/b.h"'),
    ("libevent outside net", {"gateway/core/a.c": "#include <event2/event.h>\n"},
     "is for net only"),
    ("cJSON in wire", {"gateway/wire/a.c": "#include <cjson/cJSON.h>\n"},
     "is for edge and server only"),
    ("OpenSSL in http", {"gateway/http/a.c": '#include "openssl/ssl.h"\n'},
     "is for net and wire only"),
    ("zlib in transports", {"transports/a.c": "#include <zlib.h>\n"}, "is for wire only"),
    ("neighbour without its folder", {
        "gateway/base/a.c": '#include "b.h"\n', "gateway/base/b.h": "",
    }, "write includes from the folder above"),
    ("the handler SDK in server passes", {"gateway/server/a.c": '#include "postern.h"\n'}, None),
    ("the handler SDK in edge", {"gateway/edge/a.c": '#include "postern.h"\n'},
     "is for server only"),
    ("a room that is not in the table", {"gateway/attic/a.c": ""}, "'attic' has no row"),
    ("a cycle of three headers", {
        "gateway/base/a.h": '#include "base/b.h"\n',
        "gateway/base/b.h": '#include "base/c.h"\n',
        "gateway/base/c.h": '#include "base/a.h"\n',
    }, "include cycle: gateway/base/a.h -> gateway/base/b.h -> gateway/base/c.h -> gateway/base/a.h"),
    ("a header that includes itself", {"gateway/base/a.h": '#include "base/a.h"\n'},
     "include cycle: gateway/base/a.h -> gateway/base/a.h"),
]


def self_test():
    failed = 0
    for name, files, want in SELF_TEST:
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            for path, text in files.items():
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                (root / path).write_text(text, encoding="utf-8")
            problems = check(root)[1]
        good = problems == [] if want is None else len(problems) == 1 and want in problems[0]
        failed += not good
        print(("ok" if good else "not ok") + " - " + name)
        if not good:
            print(f"    wanted: {want}\n    got: {problems}")
    return 1 if failed else 0


def main(arguments):
    if arguments == ["--self-test"]:
        return self_test()
    default = pathlib.Path(__file__).resolve().parents[2]
    root = pathlib.Path(arguments[0]).resolve() if arguments else default
    count, problems = check(root)
    if count == 0:
        problems.append(f"no C file found in gateway/ and transports/ of {root}")
    for problem in problems:
        print(problem, file=sys.stderr)
    if not problems:
        print(f"{count} files keep to their floors")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

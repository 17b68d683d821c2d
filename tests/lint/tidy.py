#!/usr/bin/env python3
"""Runs clang-tidy over the .c files of a compile_commands.json, several at a time.

    tidy.py BUILD_DIR [FILE...]     only these files, when some are named

A file whose text after preprocessing passed before, under the same rules, is not looked at again;
the stamps lie in BUILD_DIR/tidy, so a fresh clone checks everything.
"""
import concurrent.futures
import hashlib
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys


def command_of(entry):
    """The compile command as a list, without what makes an output."""
    words = entry.get("arguments") or shlex.split(entry["command"])
    kept, skip = [], False
    for word in words:
        if skip or word in ("-o", "-MF", "-MT"):
            skip = not skip
            continue
        if word not in ("-c", "-MD", "-MMD"):
            kept.append(word)
    return kept


def stamp_of(entry, rules):
    """A hash of all that clang-tidy would see, or None when the file does not preprocess."""
    done = subprocess.run(command_of(entry) + ["-E", "-o", "-"], cwd=entry["directory"],
                          capture_output=True, check=False)
    if done.returncode != 0:
        return None
    # Comments can hold NOLINT, and -E drops them: the file itself counts too.
    return hashlib.sha256(rules + done.stdout + pathlib.Path(entry["file"]).read_bytes()).hexdigest()


def check(entry, build, rules):
    """(file, passed, output)"""
    stamp = stamp_of(entry, rules)
    mark = build / "tidy" / stamp if stamp else None
    if mark and mark.exists():
        return entry["file"], True, ""
    done = subprocess.run(["clang-tidy", "--quiet", "-p", str(build), entry["file"]],
                          capture_output=True, text=True, check=False)
    if done.returncode == 0 and mark:
        mark.touch()
    said = [line for line in (done.stdout + done.stderr).split("\n")
            if line and not re.fullmatch(r"\d+ warnings?.* generated\.", line)]
    return entry["file"], done.returncode == 0, "\n".join(said)


def main(arguments):
    build = pathlib.Path(arguments[0]).resolve()
    wanted = {str(pathlib.Path(name).resolve()) for name in arguments[1:]}
    entries = {entry["file"]: entry for entry in json.loads((build / "compile_commands.json").read_text())
               if entry["file"].endswith(".c")}
    chosen = [entry for name, entry in sorted(entries.items()) if not wanted or name in wanted]
    root = pathlib.Path(__file__).resolve().parents[2]
    version = subprocess.run(["clang-tidy", "--version"], capture_output=True, check=True).stdout
    rules = version + (root / ".clang-tidy").read_bytes()
    (build / "tidy").mkdir(exist_ok=True)
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for name, passed, output in pool.map(lambda entry: check(entry, build, rules), chosen):
            if not passed:
                failed += 1
                print(f"{os.path.relpath(name, root)}:\n{output}", file=sys.stderr)
    print(f"clang-tidy: {len(chosen) - failed} of {len(chosen)} files are clean")
    return 1 if failed or not chosen else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

